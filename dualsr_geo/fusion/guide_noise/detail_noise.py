"""Noise of a guide from its own finest detail: its frequencies near the diagonal Nyquist frequency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, minimum_filter

from dualsr_geo.degradation.noise import BLOCK_PX, MIN_BLOCKS, SMOOTHEST_PERCENT

# Fourth differences along both axes, of gain 1 on white noise. Images fall off towards high frequencies, noise does not:
# with Haar's diagonal, real pans of WorldView-2 and SpaceNet 6 without noise have 0.54 and 0.97 % of the range, with
# these 0.15 and 0.26 %.
DIFFERENCES = np.array([1.0, -4.0, 6.0, -4.0, 1.0]) / np.sqrt(70.0)
# Of white noise, a tenth of 8 x 8 blocks of these has a root mean square below this (simulated, 8 x 500 x 500 pixels).
CALMEST_RMS = 0.737
# The median of the absolute values of normal noise of standard deviation 1.
NORMAL_MEDIAN = 0.6745
# Seed of the dither that is added to quantised values before the median is taken.
DITHER_SEED = 3

# Diagonal detail (direction, y, x) of one window, NaN where a pixel in its support is missing.
Diagonal = NDArray[np.float32]


def diagonal_detail(planes: NDArray[np.float32], valid: NDArray[np.bool_]) -> Diagonal:
    """Return the finest diagonal detail, (direction, Y - 4, X - 4), of the noise's own standard deviation.

    Parameters
    ----------
    planes : array, shape (direction, Y, X)
    valid : array of bool, shape (Y, X)
    """
    reach = len(DIFFERENCES) // 2
    if min(valid.shape) <= 2 * reach:
        return np.full((len(planes), 0, 0), np.nan, np.float32)
    inner = (slice(None), slice(reach, -reach), slice(reach, -reach))
    detail = convolve1d(convolve1d(planes, DIFFERENCES, axis=1), DIFFERENCES, axis=2)[inner]
    whole = minimum_filter(valid, len(DIFFERENCES))[inner[1:]]
    return np.asarray(np.where(whole, detail, np.float32(np.nan)), np.float32)


def detail_noise(diagonals: Sequence[Diagonal], quantisation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation of the noise of each direction, (direction,).

    The smaller of two estimates: the median of the absolute coefficients, and the calmest tenth of blocks of
    8 x 8 coefficients. Texture of the guide increases both.

    Parameters
    ----------
    diagonals : sequence of array, shape (direction, y, x)
        Of `diagonal_detail`.
    quantisation : array, shape (direction,)
        Standard deviation of the quantisation error; the median of quantised values is quantised, too, so that
        they are dithered first.
    """
    count = len(diagonals[0])
    noise = np.zeros(count)
    rng = np.random.default_rng(DITHER_SEED)
    for i in range(count):
        values = np.concatenate([d[i][np.isfinite(d[i])] for d in diagonals]).astype(np.float64)
        if len(values) == 0:
            continue
        dithered = values + quantisation[i] * rng.standard_normal(len(values))
        median = float(np.median(np.abs(dithered))) / NORMAL_MEDIAN
        noise[i] = np.sqrt(max(median**2 - quantisation[i] ** 2, 0.0))
        calm = np.concatenate([_block_rms(d[i]) for d in diagonals])
        if len(calm) >= MIN_BLOCKS:
            noise[i] = min(noise[i], float(np.percentile(calm, SMOOTHEST_PERCENT)) / CALMEST_RMS)
    return noise


def _block_rms(plane: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the root mean squares of the blocks that have no missing coefficient, (block,)."""
    rows, columns = (n // BLOCK_PX for n in plane.shape)
    blocks = plane[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    square = (blocks.astype(np.float64) ** 2).mean((1, 3)).ravel()
    return np.asarray(np.sqrt(square[np.isfinite(square)]))
