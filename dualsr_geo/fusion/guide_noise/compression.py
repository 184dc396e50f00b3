"""Recognise an image that was compressed as JPEG, from the grid of its blocks of 8 x 8 pixels.

JPEG rounds the cosine coefficients of each block, most of the high ones to zero. Cosine transforms of eight pixels
that begin where a block begins therefore have smaller high coefficients than those that begin elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

BLOCK_PX = 8
# The coefficients of the highest frequencies: the sum of both indices, from 0, is at least this.
FIRST_COEFFICIENT = 9
# Percentiles of their size that are compared: the smallest are rounded to zero even in strong texture, the middle ones
# in smooth images.
PERCENTILES = (15, 50)
# An image is compressed where the logarithm of a percentile is below that at all other positions by this. Eight real
# guides have at most 0.05, of JPEG qualities 75 to 97 0.15 and more.
MIN_GAP = 0.1
# The gap that is needed of fewer blocks than these, whose percentiles vary by chance: of 81 windows of 64 x 64 pixels of clean guides
# the largest gap is 0.16, of JPEG of remote sensing images the smallest 0.3.
MANY_BLOCKS, MIN_GAP_OF_FEW = 100, 0.2
# Fewer blocks are not examined.
MIN_BLOCKS = 36
# Smallest side of a window that is examined, and the largest part of a window that is used, px.
MIN_SIDE_PX, MAX_SIDE_PX = 64, 256


def is_compressed(guides: Sequence[NDArray[np.float32]], valid: Sequence[NDArray[np.bool_]]) -> bool:
    """Return whether a guide shows the blocks of JPEG; False if it was resampled since, or is too small.

    Parameters
    ----------
    guides : sequence of array, shape (guide band, Y, X)
    valid : sequence of array of bool, shape (Y, X)
    """
    guide, mask = max(zip(guides, valid, strict=True), key=lambda pair: int(pair[1].sum()))
    rows, columns = (slice(max(0, (n - MAX_SIDE_PX) // 2), (n + MAX_SIDE_PX) // 2) for n in mask.shape)
    plane, mask = guide[:, rows, columns].mean(0, dtype=np.float64), mask[rows, columns]
    if min(mask.shape) < MIN_SIDE_PX or not mask.any():
        return False
    has_many = mask.sum() >= MANY_BLOCKS * BLOCK_PX**2
    return _gap(np.where(mask, plane, np.nan)) >= (MIN_GAP if has_many else MIN_GAP_OF_FEW)


def _gap(plane: NDArray[np.float64]) -> float:
    """Return by how much the high coefficients are smaller at the best position than at all others.

    Blocks with missing pixels (NaN) are left out: filled with a constant they have no high coefficients, where the edge of
    a guide happens to be.
    """
    least = 1e-6 * np.nanstd(plane) + 1e-300
    sizes = np.array(
        [_sizes(along_x, y) for along_x in (_transformed(plane, x) for x in range(BLOCK_PX)) for y in range(BLOCK_PX)]
    )
    if not np.isfinite(sizes).all():
        return 0.0
    smallest, second = np.sort(np.log(sizes + least), axis=0)[:2]
    return float((second - smallest).max())


def _transformed(plane: NDArray[np.float64], first: int) -> NDArray[np.float64]:
    """Return the cosine transform of each eight pixels of the last axis from a position on, (..., block, coefficient)."""
    count = (plane.shape[-1] - first) // BLOCK_PX
    blocks = plane[..., first : first + BLOCK_PX * count].reshape(*plane.shape[:-1], count, BLOCK_PX)
    return np.asarray(dct(blocks, norm="ortho", axis=-1))


def _sizes(along_x: NDArray[np.float64], first: int) -> NDArray[np.float64]:
    """Return percentiles of the size of the high coefficients of blocks that begin at this row; NaN of too few blocks."""
    coefficients = np.abs(_transformed(along_x.transpose(1, 2, 0), first))
    index = np.arange(BLOCK_PX)
    high = index[:, None] + index >= FIRST_COEFFICIENT
    sizes = coefficients.transpose(0, 2, 1, 3)[..., high]
    whole = sizes[np.isfinite(sizes).all(-1)]
    return np.percentile(whole, PERCENTILES) if len(whole) >= MIN_BLOCKS else np.full(len(PERCENTILES), np.nan)
