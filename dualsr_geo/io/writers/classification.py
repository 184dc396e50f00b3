"""The scene classification of a product next to its sharpened bands: the nearest class for each of their pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio import windows
from rasterio.crs import CRS
from rasterio.errors import RasterioError

from dualsr_geo.errors import OutputError
from dualsr_geo.io.writers.creation_options import THREADS
from dualsr_geo.io.writers.destination import Destination
from dualsr_geo.raster import grid
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.windows import Window

# Names and colors (red, green, blue) of the classes of Sen2Cor, of ESA's Sentinel-2 Products Specification Document
# (L2A SCL) and SNAP.
CLASSES: Mapping[int, tuple[str, tuple[int, int, int]]] = {
    0: ("no_data", (0, 0, 0)),
    1: ("saturated_or_defective", (255, 0, 0)),
    2: ("dark_area", (47, 47, 47)),
    3: ("cloud_shadow", (100, 50, 0)),
    4: ("vegetation", (0, 160, 0)),
    5: ("not_vegetated", (255, 230, 90)),
    6: ("water", (0, 0, 255)),
    7: ("unclassified", (128, 128, 128)),
    8: ("cloud_medium_probability", (192, 192, 192)),
    9: ("cloud_high_probability", (255, 255, 255)),
    10: ("thin_cirrus", (100, 200, 255)),
    11: ("snow", (255, 150, 255)),
}
# What the name of the file has after that of the product.
SUFFIX = "_SCL.tif"
BLOCK_PX = 512


def classification_path(product: str) -> str:
    """Return the path of the classification of a product: ``out.zarr`` has ``out_SCL.tif``."""
    return f"{product.removesuffix(PurePath(product).suffix)}{SUFFIX}"


def write_classification(scene: Scene, target: GeoBox, destination: Destination) -> None:
    """Write the classes of a scene on the grid of a product as a COG with a color table, at once.

    Parameters
    ----------
    scene : Scene
        One band of classes, with a grid of the CRS and the axes of the target; NaN is written as 0.
    target : GeoBox
    destination : Destination
        Of the file.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with destination.locked():
        work = destination.work_directory
        work.remove()
        work.create()
        stage, output = (destination.folder / name for name in ("stage.tif", "product.tif"))
        try:
            _write(scene, target, stage)
            rasterio.shutil.copy(
                str(stage),
                str(output),
                driver="COG",
                COMPRESS="DEFLATE",
                OVERVIEW_RESAMPLING="NEAREST",
                NUM_THREADS=THREADS,
            )
            stage.unlink()
            destination.put_file(output)
        except (OSError, RasterioError) as error:
            raise OutputError(
                f"{destination.path} cannot be written: {' '.join(str(error.__cause__ or error).split())}. Make room, and run "
                "again with --resume."
            ) from error
        finally:
            work.remove()


def _write(scene: Scene, target: GeoBox, stage: object) -> None:
    height, width = (int(n) for n in target.shape)
    form = {"driver": "GTiff", "count": 1, "height": height, "width": width, "dtype": "uint8", "nodata": 0}
    tiles = {
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "compress": "deflate",
        "BIGTIFF": "IF_SAFER",
    }
    crs = None if target.crs is None else CRS.from_wkt(target.crs.to_wkt())
    rows, columns = _nearest(scene, target)
    with rasterio.open(stage, "w", **form, **tiles, crs=crs, transform=target.affine) as file:
        file.write_colormap(1, {value: (*color, 255) for value, (_, color) in CLASSES.items()})
        file.descriptions = ("SCL",)
        names = " ".join(name for name, _ in CLASSES.values())
        file.update_tags(1, flag_values=" ".join(map(str, CLASSES)), flag_meanings=names)
        for y in range(0, height, BLOCK_PX):
            part = rows[y : y + BLOCK_PX]
            file.write(_classes(scene, part, columns), 1, window=windows.Window(0, y, width, len(part)))


def _nearest(scene: Scene, target: GeoBox) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the row and the column of the scene whose pixel holds the centre of each row and column of the target."""
    y, x = grid.pixel_centres(target)
    inverse = ~scene.geobox.affine
    height, width = scene.shape
    columns = np.floor(inverse.a * x + inverse.c).astype(np.intp)
    rows = np.floor(inverse.e * y + inverse.f).astype(np.intp)
    return rows.clip(-1, height), columns.clip(-1, width)


def _classes(scene: Scene, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Return the classes at rows and columns of the scene, 0 outside."""
    height, width = scene.shape
    inside_rows, inside_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    out = np.zeros((len(rows), len(columns)), np.uint8)
    if not (inside_rows.any() and inside_columns.any()):
        return out
    y0, y1 = int(rows[inside_rows].min()), int(rows[inside_rows].max()) + 1
    x0, x1 = int(columns[inside_columns].min()), int(columns[inside_columns].max()) + 1
    cube = np.nan_to_num(scene.source.read(Window(y0, y1, x0, x1))[0])
    picked = cube[np.ix_(rows[inside_rows] - y0, columns[inside_columns] - x0)]
    out[np.ix_(inside_rows, inside_columns)] = picked.astype(np.uint8)
    return out
