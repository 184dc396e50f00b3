"""GDAL's own pansharpening, through its VRT driver, to compare models with."""

from __future__ import annotations

import os
from xml.sax.saxutils import escape

import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from dualsr_geo.errors import InputError
from dualsr_geo.io.readers.dataset_cache import reason
from dualsr_geo.raster import grid

# Side of the blocks that are read and written at once, hr pixels.
BLOCK_PX = 512


def pansharpen(
    scene: str | os.PathLike[str], pan: str | os.PathLike[str], output: str | os.PathLike[str], target: GeoBox
) -> None:
    """Sharpen a raster with GDAL's weighted Brovey, equal weights, cubic interpolation.

    Parameters
    ----------
    scene : path
        A raster that GDAL opens.
    pan : path
        One band, on a finer grid of the same CRS.
    output : path
        A GeoTIFF with the scene's scale and offset.
    target : GeoBox
        The product's grid, which must be a part of the pan image's grid.

    Raises
    ------
    InputError
        If the grids do not fit, or GDAL refuses.
    """
    top, left = _offset(pan, target)
    height, width = target.shape
    try:
        with rasterio.open(scene) as lr, rasterio.open(_vrt(scene, pan, lr.count)) as sharpened:
            profile = {**sharpened.profile, "driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256}
            profile |= {"height": height, "width": width, "transform": target.affine, "nodata": lr.nodata}
            with rasterio.open(output, "w", BIGTIFF="IF_SAFER", **profile) as out:
                out.scales, out.offsets = lr.scales, lr.offsets
                for y in range(0, height, BLOCK_PX):
                    for x in range(0, width, BLOCK_PX):
                        size = min(BLOCK_PX, width - x), min(BLOCK_PX, height - y)
                        values = sharpened.read(window=RasterioWindow(left + x, top + y, *size))
                        out.write(values, window=RasterioWindow(x, y, *size))
    except RasterioError as error:
        raise InputError(
            f"GDAL cannot pansharpen {os.fspath(scene)}: {reason(error)}. Leave gdal-brovey out of --models."
        ) from error


def _offset(pan: str | os.PathLike[str], target: GeoBox) -> tuple[int, int]:
    """Return the first pixel of the target in the pan image (y, x), which must contain the target.

    GDAL's product covers scene and pan image together; it begins with the pan image if that covers the scene.
    """
    with rasterio.open(pan) as file:
        box = GeoBox(file.shape, file.transform, file.crs)
    offset = grid.offset_px(target, box)
    if offset is None or not all(
        o >= 0 and o + n <= m for o, n, m in zip(offset, target.shape, box.shape, strict=True)
    ):
        raise InputError(
            f"GDAL pansharpens on the pan image's own grid ({box.shape[0]} x {box.shape[1]} pixels of "
            f"{grid.gsd(box):.4g}), which does not contain the product's ({target.shape[0]} x {target.shape[1]} of "
            f"{grid.gsd(target):.4g}). Leave gdal-brovey out of --models, or align the guide."
        )
    return offset


def _vrt(scene: str | os.PathLike[str], pan: str | os.PathLike[str], count: int) -> str:
    """Return the VRT's XML."""
    scene_file, pan_file = (escape(os.path.abspath(os.fspath(p))) for p in (scene, pan))
    weights = ",".join([f"{1 / count:.17g}"] * count)
    spectral = "".join(
        f'<SpectralBand dstBand="{i}"><SourceFilename>{scene_file}</SourceFilename><SourceBand>{i}</SourceBand></SpectralBand>'
        for i in range(1, count + 1)
    )
    return (
        '<VRTDataset subClass="VRTPansharpenedDataset"><PansharpeningOptions>'
        f"<AlgorithmOptions><Weights>{weights}</Weights></AlgorithmOptions><Resampling>Cubic</Resampling>"
        f"<PanchroBand><SourceFilename>{pan_file}</SourceFilename><SourceBand>1</SourceBand></PanchroBand>"
        f"{spectral}</PansharpeningOptions></VRTDataset>"
    )
