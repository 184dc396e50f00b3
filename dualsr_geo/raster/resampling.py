"""Images between grids: put on another one, or moved by a fraction of a pixel."""

from __future__ import annotations

import math

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

# Where a target pixel holds more guide pixels than this across, cubic would leave some out
# (noise of 2 m seen at 10 m: average keeps its std of 57.5, cubic gives 46.9; geo-io.md section 5).
AVERAGE_ABOVE = 1.5
# GDAL's default of 0.125 px made 67 % of pixels depend on the window; with this one windows agree
# to the last place of a float32 (GDAL 3.10 and 3.12). rasterio refuses 0.
TOLERANCE_PX = 1e-6


def resample(values: NDArray[np.float32], box: GeoBox, target: GeoBox, finer: float) -> NDArray[np.float32]:
    """Put an image on another grid.

    Parameters
    ----------
    values : array, shape (band, y, x)
        NaN where invalid, which differs from band to band.
    box, target : GeoBox
        The image's grid and the one wanted.
    finer : float
        How many image pixels lie along a side of a target pixel.

    Returns
    -------
    array, shape (band, y, x)
        Averages if `finer` is above `AVERAGE_ABOVE`, else cubic convolution, widened to the
        target's pixel where that is the larger; NaN where no valid pixel is near.
    """
    (crs, affine), (target_crs, target_affine) = _places(box, target)
    count, height, width = values.shape
    profile = {"driver": "GTiff", "interleave": "band", "dtype": "float32", "nodata": math.nan}
    # GDAL would take the kernel's width from each window's shape; given, windows agree.
    scale = {"XSCALE": min(1.0, 1 / finer), "YSCALE": min(1.0, 1 / finer)}
    with MemoryFile() as memory:
        with memory.open(count=count, height=height, width=width, transform=affine, **profile) as file:
            file.write(values)
        with (
            memory.open() as file,
            WarpedVRT(
                file,
                src_crs=crs,
                crs=target_crs,
                transform=target_affine,
                height=target.shape[0],
                width=target.shape[1],
                resampling=Resampling.average if finer > AVERAGE_ABOVE else Resampling.cubic,
                tolerance=TOLERANCE_PX,
                nodata=math.nan,
                dtype="float32",
                UNIFIED_SRC_NODATA="NO",
                **scale,
            ) as warped,
        ):
            moved: NDArray[np.float32] = warped.read()
    return moved


def _places(box: GeoBox, target: GeoBox) -> tuple[tuple[CRS, Affine], tuple[CRS, Affine]]:
    """Return CRS and affine of two grids as GDAL takes them."""
    if box.crs != target.crs:
        return (_crs(box), box.affine), (_crs(target), target.affine)
    # Within one CRS only the relative place counts, and a grid may have no CRS, which GDAL wants.
    # One pixel off the origin, because rasterio warns of an identity as of no georeference.
    first = Affine.translation(1, 1)
    return (CRS.from_epsg(3857), first), (CRS.from_epsg(3857), first @ ~box.affine @ target.affine)


def _crs(box: GeoBox) -> CRS:
    return CRS.from_user_input(str(box.crs))
