"""GDAL's own pansharpening, through its VRT driver: the outside contender of an evaluation."""

from __future__ import annotations

import os
from xml.sax.saxutils import escape

import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window as Pane

from dualsr_geo.errors import InputError
from dualsr_geo.handles import reason

# Read and written at once, hr pixels.
BLOCK = 512


def pansharpen(scene: str | os.PathLike[str], pan: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Sharpen a raster with GDAL's weighted Brovey, equal weights, cubic interpolation.

    Parameters
    ----------
    scene : path
        A raster that GDAL opens.
    pan : path
        Of one band, on a finer grid of the same CRS.
    output : path
        A GeoTIFF with the scene's scale and offset.

    Raises
    ------
    InputError
        If GDAL cannot do it.
    """
    try:
        with rasterio.open(scene) as low, rasterio.open(_document(scene, pan, low.count)) as sharp:
            profile = {**sharp.profile, "driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256}
            profile |= {"BIGTIFF": "IF_SAFER", "nodata": low.nodata}
            with rasterio.open(output, "w", **profile) as out:
                out.scales, out.offsets = low.scales, low.offsets
                for y in range(0, sharp.height, BLOCK):
                    for x in range(0, sharp.width, BLOCK):
                        pane = Pane(x, y, min(BLOCK, sharp.width - x), min(BLOCK, sharp.height - y))
                        out.write(sharp.read(window=pane), window=pane)
    except RasterioError as error:
        raise InputError(f"GDAL cannot pansharpen {os.fspath(scene)}: {reason(error)}. Leave its model out.") from error


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
