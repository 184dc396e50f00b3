"""GDAL's own pansharpening, through its VRT driver: the outside contender of an evaluation."""

from __future__ import annotations

import os
from xml.sax.saxutils import escape

import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.windows import Window as Pane

from dualsr_geo.errors import InputError
from dualsr_geo.io.readers.dataset_cache import reason
from dualsr_geo.raster import grid

# Read and written at once, hr pixels.
BLOCK = 512


def pansharpen(
    scene: str | os.PathLike[str], pan: str | os.PathLike[str], output: str | os.PathLike[str], target: GeoBox
) -> None:
    """Sharpen a raster with GDAL's weighted Brovey, equal weights, cubic interpolation.

    Parameters
    ----------
    scene : path
        A raster that GDAL opens.
    pan : path
        Of one band, on a finer grid of the same CRS.
    output : path
        A GeoTIFF with the scene's scale and offset.
    target : GeoBox
        The product's grid; the pan image must lie on it.

    Raises
    ------
    InputError
        If the grids do not fit, or GDAL refuses.
    """
    top, left = _place(pan, target)
    height, width = target.shape
    try:
        with rasterio.open(scene) as low, rasterio.open(_document(scene, pan, low.count)) as sharp:
            profile = {**sharp.profile, "driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256}
            profile |= {"height": height, "width": width, "transform": target.affine, "nodata": low.nodata}
            with rasterio.open(output, "w", BIGTIFF="IF_SAFER", **profile) as out:
                out.scales, out.offsets = low.scales, low.offsets
                for y in range(0, height, BLOCK):
                    for x in range(0, width, BLOCK):
                        size = min(BLOCK, width - x), min(BLOCK, height - y)
                        out.write(sharp.read(window=Pane(left + x, top + y, *size)), window=Pane(x, y, *size))
    except RasterioError as error:
        raise InputError(f"GDAL cannot pansharpen {os.fspath(scene)}: {reason(error)}. Leave its model out.") from error


def _place(pan: str | os.PathLike[str], target: GeoBox) -> tuple[int, int]:
    """Return where the target begins in the pan image (y, x), which must hold all of it.

    GDAL's product covers scene and pan together; it begins with the pan image where that covers the scene.
    """
    with rasterio.open(pan) as file:
        box = GeoBox(file.shape, file.transform, file.crs)
    at = grid.offset_px(target, box)
    ends = () if at is None else [o >= 0 and o + n <= m for o, n, m in zip(at, target.shape, box.shape, strict=True)]
    if at is None or not all(ends):
        raise InputError(
            f"GDAL pansharpens on the pan image's own grid ({box.shape[0]} x {box.shape[1]} pixels of "
            f"{grid.gsd(box):.4g}), which does not hold the product's ({target.shape[0]} x {target.shape[1]} of "
            f"{grid.gsd(target):.4g}). Leave its model out, or align the guide."
        )
    return at


def _document(scene: str | os.PathLike[str], pan: str | os.PathLike[str], count: int) -> str:
    """Return the VRT's XML."""
    low, high = (escape(os.path.abspath(os.fspath(p))) for p in (scene, pan))
    weights = ",".join([f"{1 / count:.17g}"] * count)
    spectral = "".join(
        f'<SpectralBand dstBand="{i}"><SourceFilename>{low}</SourceFilename><SourceBand>{i}</SourceBand></SpectralBand>'
        for i in range(1, count + 1)
    )
    return (
        '<VRTDataset subClass="VRTPansharpenedDataset"><PansharpeningOptions>'
        f"<AlgorithmOptions><Weights>{weights}</Weights></AlgorithmOptions><Resampling>Cubic</Resampling>"
        f"<PanchroBand><SourceFilename>{high}</SourceFilename><SourceBand>1</SourceBand></PanchroBand>"
        f"{spectral}</PansharpeningOptions></VRTDataset>"
    )
