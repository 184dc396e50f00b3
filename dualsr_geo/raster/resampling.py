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
from scipy.ndimage import correlate1d

from dualsr_geo.raster.windows import Window

# Where a target pixel holds more guide pixels than this across, cubic would leave some out
# (noise of 2 m seen at 10 m: average keeps its std of 57.5, cubic gives 46.9; geo-io.md section 5).
AVERAGE_ABOVE = 1.5
# GDAL's default of 0.125 px made 67 % of pixels depend on the window; with this one windows agree
# to the last place of a float32 (GDAL 3.10 and 3.12). rasterio refuses 0.
TOLERANCE_PX = 1e-6
# Samples on either side of a displaced one that `shift` looks at.
SHIFT_SUPPORT_PX = 6


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


def shift(values: NDArray[np.float32], dy: float, dx: float) -> NDArray[np.float32]:
    """Move an image's content by a fraction of a pixel: ``out[y, x] = in[y + dy, x + dx]``.

    A Lanczos-windowed sinc over `SHIFT_SUPPORT_PX` samples on either side, so a pixel depends
    on nothing farther than that from where it is taken, and not on where the window begins.
    A missing sample counts as the nearest one to the place, so holes neither grow nor ring.

    Parameters
    ----------
    values : array, shape (band, y, x)
        NaN where invalid.
    dy, dx : float
        Rows and columns, in pixels; whole pixels are moved exactly.

    Returns
    -------
    array, shape (band, y, x)
        NaN where the nearest sample is invalid or outside.
    """
    (row, tail_y), (column, tail_x) = _whole_and_rest(dy), _whole_and_rest(dx)
    centre = _moved(values, row, column)
    if tail_y == tail_x == 0:
        return centre
    # Interpolated first and moved after, so samples that the move drops are still seen.
    known = np.isfinite(values)
    filled = np.where(known, values, np.float32(0))
    total = _moved(_convolved(filled, tail_y, tail_x), row, column)
    weight = _moved(_convolved(known.astype(np.float32), tail_y, tail_x), row, column)
    return total + (1 - weight) * centre


def _whole_and_rest(distance: float) -> tuple[int, float]:
    whole = math.floor(distance + 0.5)
    return whole, distance - whole


def _moved(values: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Move by whole pixels; NaN comes in from outside."""
    out = np.full_like(values, np.nan)
    wanted = Window(0, values.shape[1], 0, values.shape[2]).moved(rows, columns)
    part = wanted.clipped((values.shape[1], values.shape[2]))
    out[:, *part.within(wanted).slices] = values[:, *part.slices]
    return out


def _convolved(values: NDArray[np.float32], tail_y: float, tail_x: float) -> NDArray[np.float32]:
    for axis, tail in ((1, tail_y), (2, tail_x)):
        if tail:
            values = correlate1d(values, _lanczos(tail), axis=axis, mode="constant", cval=0.0)
    return values


def _lanczos(tail: float) -> NDArray[np.float64]:
    """Return the weights of samples ``-SHIFT_SUPPORT_PX..SHIFT_SUPPORT_PX`` for the value at `tail`."""
    away = np.arange(-SHIFT_SUPPORT_PX, SHIFT_SUPPORT_PX + 1) - tail
    weights = np.sinc(away) * np.sinc(away / SHIFT_SUPPORT_PX) * (abs(away) < SHIFT_SUPPORT_PX)
    scaled: NDArray[np.float64] = weights / weights.sum()
    return scaled
