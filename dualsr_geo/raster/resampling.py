"""Resampling of an image to another grid."""

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

# Guide pixels along a side of a target pixel above which pixels are averaged: cubic convolution would
# leave some out (noise of 2 m pixels resampled to 10 m: an average has its standard deviation of 57.5,
# cubic gives 46.9).
AVERAGE_ABOVE = 1.5
# Error of GDAL's approximate transformer, px. With its default of 0.125, 67 % of pixels depend on the
# window; with this one windows agree to the last place of a float32 (GDAL 3.10 and 3.12). rasterio
# refuses 0.
TOLERANCE_PX = 1e-6


def resample(values: NDArray[np.float32], box: GeoBox, target: GeoBox, oversampling: float) -> NDArray[np.float32]:
    """Resample an image to another grid.

    Parameters
    ----------
    values : array, shape (band, y, x)
        NaN where invalid, which may differ from band to band.
    box, target : GeoBox
        The grid of the image and that of the result.
    oversampling : float
        Image pixels along a side of a target pixel.

    Returns
    -------
    array, shape (band, y, x)
        Averages if `oversampling` is above `AVERAGE_ABOVE`, else cubic convolution, with a kernel as
        wide as a target pixel where that is the larger; NaN where no valid pixel is near.
    """
    (crs, affine), (target_crs, target_affine) = _places(box, target)
    count, height, width = values.shape
    profile = {"driver": "GTiff", "interleave": "band", "dtype": "float32", "nodata": math.nan}
    # Without these GDAL takes the width of the kernel from the shape of each window, and windows differ.
    scale = {"XSCALE": min(1.0, 1 / oversampling), "YSCALE": min(1.0, 1 / oversampling)}
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
                resampling=Resampling.average if oversampling > AVERAGE_ABOVE else Resampling.cubic,
                tolerance=TOLERANCE_PX,
                nodata=math.nan,
                dtype="float32",
                UNIFIED_SRC_NODATA="NO",
                **scale,
            ) as warped,
        ):
            resampled: NDArray[np.float32] = warped.read()
    return resampled


def _places(box: GeoBox, target: GeoBox) -> tuple[tuple[CRS, Affine], tuple[CRS, Affine]]:
    """Return CRS and affine of two grids as GDAL takes them."""
    if box.crs != target.crs:
        return (_crs(box), box.affine), (_crs(target), target.affine)
    # Within one CRS only the relative place matters; GDAL needs a CRS, which a grid may not have.
    # One pixel from the origin, because rasterio takes an identity for a missing georeference and warns.
    first = Affine.translation(1, 1)
    return (CRS.from_epsg(3857), first), (CRS.from_epsg(3857), first @ ~box.affine @ target.affine)


def _crs(box: GeoBox) -> CRS:
    return CRS.from_user_input(str(box.crs))
