"""Q2n: quality of blocks of spectra, each spectrum taken as one hypercomplex number.

After A. Garzelli and F. Nencini, "Hypercomplex quality assessment of multi/hyperspectral images", IEEE GRSL 6(4),
2009, with the block normalisation of the pansharpening toolbox (G. Vivone et al., IEEE GRSM 9(1), 2021).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.raster.windows import Tiling

BLOCK_PX = 32
# A band with a smaller relative standard deviation is constant in a block: float32 rounding of interpolated constants
# is below it, one count of a 16-bit band in one of 1024 pixels above it.
MAX_CONSTANT_STD = 4e-7


def block_sums(
    estimate: NDArray[np.floating], reference: NDArray[np.floating], valid: NDArray[np.bool_]
) -> tuple[float, float]:
    """Sum the quality of all blocks of 32 x 32 pixels, each weighted by its number of valid pixels.

    Blocks begin at the first pixel of the arrays; those at the end may be smaller.

    Parameters
    ----------
    estimate, reference : array, shape (band, y, x)
    valid : array of bool, shape (y, x)
        Whether a pixel is valid in every band of both.

    Returns
    -------
    tuple of float
        The sum, and its number of pixels. A block of one pixel has no variance and is left out.
    """
    total, pixels = 0.0, 0
    height, width = valid.shape
    for block in Tiling((height, width), BLOCK_PX, 0):
        rows, columns = block.core.slices
        block_valid = valid[rows, columns]
        count = int(block_valid.sum())
        if count < 2:
            continue
        parts = (a[:, rows, columns].astype(np.float64) for a in (estimate, reference))
        spectra = (p.reshape(len(p), -1) if count == block_valid.size else p[:, block_valid] for p in parts)
        total += count * block_quality(*spectra)
        pixels += count
    return total, pixels


def block_quality(estimate: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Return Q of one block, 0..1: correlation, contrast and mean of spectra as hypercomplex numbers.

    Constant bands pad the number of bands to a power of two. Every band is normalised by the mean and the standard
    deviation of the reference in the block, plus one, as in the toolbox. Where the reference is constant, the toolbox
    divides by epsilon; here such a band is normalised by the RMS distance of the estimate from the reference, so that
    its cost is bounded, and zero if the estimate equals the reference.

    Parameters
    ----------
    estimate, reference : array, shape (band, pixel)
        At least two pixels, all finite.
    """
    bands, pixels = reference.shape
    reference_mean, estimate_mean = reference.mean(1), estimate.mean(1)
    centred = reference - reference_mean[:, None], estimate - estimate_mean[:, None]
    shift = estimate_mean - reference_mean
    variances = np.stack([np.einsum("bp,bp->b", c, c) / pixels for c in centred])
    covariance = centred[0] @ centred[1].T / pixels
    unit = np.sqrt(variances[0] * pixels / (pixels - 1))
    tolerance = MAX_CONSTANT_STD * np.abs(reference_mean)
    constant = unit <= tolerance
    if constant.any():
        distance = np.sqrt(variances[1] + shift**2)
        equal = constant & (distance <= tolerance)
        unit = np.where(constant, np.where(equal, 1, distance), unit)
        variances[0, constant] = variances[1, equal] = shift[equal] = 0
        covariance[constant] = covariance[:, equal] = 0
    spread = float((variances / unit**2).sum())
    size = 1 << (bands - 1).bit_length()
    # The normalised mean is 1 in every band of the reference, and in the padding bands of the estimate.
    square = float(((1 + shift / unit) ** 2).sum()) + size - bands
    bias: float = 2 * math.sqrt(size * square) / (size + square)
    return bias if spread == 0 else bias * 2 / spread * _modulus(covariance / unit[:, None] / unit)


def _modulus(covariance: NDArray[np.float64]) -> float:
    """Return the modulus of the hypercomplex covariance, given the covariance of the bands (band, band)."""
    bands = len(covariance)
    signs, others = _products(1 << (bands - 1).bit_length())
    padded = np.zeros(signs.shape)
    padded[:bands, :bands] = covariance
    components = (np.take_along_axis(padded, others, axis=1) * signs).sum(0)
    return float(np.sqrt((components**2).sum()))


@lru_cache(maxsize=8)
def _products(size: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the signs and indices of the products of z and conjugate w, both of shape (i, k).

    Component k of their product is the sum over i of sign z_i w_(i xor k).
    """
    conjugate = np.where(np.arange(size) > 0, -1.0, 1.0)
    others = np.arange(size)[:, None] ^ np.arange(size)
    return np.take_along_axis(signs(size) * conjugate, others, axis=1), others


def signs(size: int) -> NDArray[np.float64]:
    """Return the signs of the products of units, e_i e_j = sign(i, j) e_(i xor j), shape (size, size).

    They follow from the Cayley-Dickson construction as in the toolbox's `onion_mult`:
    (a, b) (c, d) = (a c - d* b, a* d* + c b*), where * is the conjugate. Components in the upper half have the
    toolbox's sign, which does not change a modulus.

    Parameters
    ----------
    size : int
        A power of two.
    """
    table = np.ones((1, 1))
    while len(table) < size:
        star = np.where(np.arange(len(table)) > 0, -1.0, 1.0)
        table = np.block(
            [
                [table, star[:, None] * star * table],
                [star[:, None] * table.T, -star * table.T],
            ]
        )
    return table
