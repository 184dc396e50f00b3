"""Q2n: the quality of a block of spectra, each taken as one hypercomplex number.

After A. Garzelli and F. Nencini, "Hypercomplex quality assessment of multi/hyperspectral images", IEEE GRSL 6(4),
2009, with the block normalisation of the pansharpening toolbox (G. Vivone et al., IEEE GRSM 9(1), 2021).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.raster.windows import Tiling

BLOCK = 32
# Relative standard deviation below which a band is constant in a block: what float32 leaves of interpolated
# constants is less, one count of a 16 bit band in one of 1024 pixels is more.
CONSTANT = 4e-7


def block_sums(
    estimate: NDArray[np.floating], reference: NDArray[np.floating], valid: NDArray[np.bool_]
) -> tuple[float, float]:
    """Sum the quality of all blocks of 32 x 32 pixels, each as often as it has valid pixels.

    Blocks begin at the arrays' first pixel; those at the end may be smaller.

    Parameters
    ----------
    estimate, reference : array, shape (band, y, x)
    valid : array of bool, shape (y, x)
        Where every band of both is valid.

    Returns
    -------
    tuple of float
        The sum, and the number of pixels in it. A block of one pixel has no statistics and is left out.
    """
    total, pixels = 0.0, 0
    height, width = valid.shape
    for block in Tiling((height, width), BLOCK, 0):
        rows, columns = block.core.slices
        inside = valid[rows, columns]
        count = int(inside.sum())
        if count < 2:
            continue
        parts = (a[:, rows, columns].astype(np.float64) for a in (estimate, reference))
        made, truth = (p.reshape(len(p), -1) if count == inside.size else p[:, inside] for p in parts)
        total += count * block_quality(made, truth)
        pixels += count
    return total, pixels


def block_quality(estimate: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Return Q of one block, 0..1: correlation, contrast and mean of spectra as hypercomplex numbers.

    Bands are filled up to a power of two by constant ones. Every band is measured from the reference's mean in
    the block and in its standard deviations, plus one, as the toolbox does. The toolbox divides by epsilon where
    the reference is constant; here such a band is measured in the estimate's own RMS distance from it, so that it
    costs the block something bounded, and nothing where the estimate is right.

    Parameters
    ----------
    estimate, reference : array, shape (band, pixel)
        At least two pixels, all finite.
    """
    bands, pixels = reference.shape
    centre, mean = reference.mean(1), estimate.mean(1)
    truth, made, shift = reference - centre[:, None], estimate - mean[:, None], mean - centre
    variances = np.stack([np.einsum("bp,bp->b", c, c) / pixels for c in (truth, made)])
    covariance = truth @ made.T / pixels
    unit = np.sqrt(variances[0] * pixels / (pixels - 1))
    constant = unit <= CONSTANT * np.abs(centre)
    if constant.any():
        distance = np.sqrt(variances[1] + shift**2)
        right = constant & (distance <= CONSTANT * np.abs(centre))
        unit = np.where(constant, np.where(right, 1, distance), unit)
        variances[0, constant] = variances[1, right] = shift[right] = 0
        covariance[constant] = covariance[:, right] = 0
    spread = float((variances / unit**2).sum())
    size = 1 << (bands - 1).bit_length()
    # The reference's mean is 1 in every band, and the estimate's in the bands that fill up.
    square = float(((1 + shift / unit) ** 2).sum()) + size - bands
    bias: float = 2 * math.sqrt(size * square) / (size + square)
    return bias if spread == 0 else bias * 2 / spread * _modulus(covariance / unit[:, None] / unit)


def _modulus(covariance: NDArray[np.float64]) -> float:
    """Return the modulus of the hypercomplex covariance, from that of the bands (band, band)."""
    bands = len(covariance)
    signs, others = _products(1 << (bands - 1).bit_length())
    filled = np.zeros(signs.shape)
    filled[:bands, :bands] = covariance
    components = (np.take_along_axis(filled, others, axis=1) * signs).sum(0)
    return float(np.sqrt((components**2).sum()))


@lru_cache(maxsize=8)
def _products(size: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Say which products of z and conjugate w make up component k of their product.

    Returns signs and indices, both (i, k): component k is the sum over i of sign z_i w_(i xor k).
    """
    conjugate = np.where(np.arange(size) > 0, -1.0, 1.0)
    others = np.arange(size)[:, None] ^ np.arange(size)
    return np.take_along_axis(signs(size) * conjugate, others, axis=1), others


def signs(size: int) -> NDArray[np.float64]:
    """Return the signs of the products of units, e_i e_j = sign(i, j) e_(i xor j), shape (size, size).

    By Cayley and Dickson's doubling as the toolbox's `onion_mult` has it:
    (a, b) (c, d) = (a c - d* b, a* d* + c b*), where * is the conjugate.
    The sign of components in the upper half is the toolbox's, too; a modulus does not see it.

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
