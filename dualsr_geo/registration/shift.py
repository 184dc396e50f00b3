"""Shifts of images by fractions of a pixel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from dualsr_geo.raster.windows import Window

# Samples on either side of a position that `shift_image` reads.
SHIFT_SUPPORT_PX = 6


def shift_image(values: NDArray[np.float32], dy: float, dx: float) -> NDArray[np.float32]:
    """Shift an image by a fraction of a pixel: ``out[y, x] = in[y + dy, x + dx]``.

    By a Lanczos-windowed sinc over `SHIFT_SUPPORT_PX` samples on either side, so that a value depends on
    nothing farther from its position, and not on where the window begins. A missing sample counts as the
    nearest one to the position, so that holes neither grow nor ring.

    Parameters
    ----------
    values : array, shape (band, y, x)
        NaN where invalid.
    dy, dx : float
        Rows and columns, pixels; shifts by whole pixels are exact.

    Returns
    -------
    array, shape (band, y, x)
        NaN where the nearest sample is invalid or outside.
    """
    (row, tail_y), (column, tail_x) = _whole_and_rest(dy), _whole_and_rest(dx)
    nearest = _rolled(values, row, column)
    if tail_y == tail_x == 0:
        return nearest
    # Interpolated before the shift by whole pixels, which drops samples that the interpolation needs.
    valid = np.isfinite(values)
    filled = np.where(valid, values, np.float32(0))
    total = _rolled(_convolved(filled, tail_y, tail_x), row, column)
    weight = _rolled(_convolved(valid.astype(np.float32), tail_y, tail_x), row, column)
    return total + (1 - weight) * nearest


def _whole_and_rest(distance: float) -> tuple[int, float]:
    whole = math.floor(distance + 0.5)
    return whole, distance - whole


def _rolled(values: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Return values shifted by whole pixels, NaN outside."""
    out = np.full_like(values, np.nan)
    source = Window(0, values.shape[1], 0, values.shape[2]).moved(rows, columns)
    part = source.clipped((values.shape[1], values.shape[2]))
    out[:, *part.within(source).slices] = values[:, *part.slices]
    return out


def _convolved(values: NDArray[np.float32], tail_y: float, tail_x: float) -> NDArray[np.float32]:
    for axis, tail in ((1, tail_y), (2, tail_x)):
        if tail:
            values = correlate1d(values, _lanczos(tail), axis=axis, mode="constant", cval=0.0)
    return values


def _lanczos(tail: float) -> NDArray[np.float64]:
    """Return the weights of samples ``-SHIFT_SUPPORT_PX..SHIFT_SUPPORT_PX`` for the value at `tail`."""
    distance = np.arange(-SHIFT_SUPPORT_PX, SHIFT_SUPPORT_PX + 1) - tail
    weights = np.sinc(distance) * np.sinc(distance / SHIFT_SUPPORT_PX) * (abs(distance) < SHIFT_SUPPORT_PX)
    scaled: NDArray[np.float64] = weights / weights.sum()
    return scaled


def guide_margin(moved_px: tuple[float, float]) -> int:
    """Return how many hr pixels beyond a window `move_guide` reads."""
    if moved_px == (0.0, 0.0):
        return 0
    return int(np.ceil(max(map(abs, moved_px)))) + SHIFT_SUPPORT_PX


def move_guide(guide: NDArray[np.float32], moved_px: tuple[float, float], margin: int) -> NDArray[np.float32]:
    """Undo the shift of a guide window against the scene, and cut its margin.

    Parameters
    ----------
    guide : array, shape (guide band, Y + 2 * margin, X + 2 * margin)
    moved_px : (float, float)
        Shift of the guide's content, downwards and to the right, hr pixels.
    margin : int
        hr pixels that are cut on every side.

    Returns
    -------
    array, shape (guide band, Y, X)
    """
    if moved_px != (0.0, 0.0):
        guide = shift_image(guide, *moved_px)
    inner = slice(margin, -margin or None)
    return np.ascontiguousarray(guide[:, inner, inner])
