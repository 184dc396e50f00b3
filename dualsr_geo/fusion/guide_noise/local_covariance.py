"""The local covariance of the guide's directions, and the shrinkage of their details by it.

What varies with a strong direction is kept in a weak one, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dualsr_geo.fusion.guide_noise.convolution import Taps, convolve

# Directions with which all others may vary. The covariances of the weaker ones with each other are left out, so that
# the cost grows with the number of directions and not with its square; up to four directions nothing is left out.
LEADING = 3

# Added to a square before it is inverted: below the square of a float32's rounding of the noise's variance.
TINY = 1e-30

# A pivot below this share of the largest variance is rounding of float32: of an edge of a thousand times the noise.
ROUNDING_SHARE = 1e-6

# The planes of a symmetric matrix at every pixel, by row and column, row >= column.
Matrix = dict[tuple[int, int], Tensor]


def local_covariance(details: Tensor, window: Taps) -> Matrix:
    """Return the local second moments of details.

    Parameters
    ----------
    details : Tensor, shape (direction, Y, X)
    window : tuple of float
        Taps of the window along an axis; its support is lost on every side.
    """
    pairs = [(i, j) for i in range(len(details)) for j in range(i + 1) if i == j or j < LEADING]
    products = details.new_empty(len(pairs), *details.shape[1:])
    for product, (i, j) in zip(products, pairs, strict=True):
        torch.mul(details[i], details[j], out=product)
    return dict(zip(pairs, convolve(products, window).unbind(), strict=True))


def thresholded(details: Tensor, covariance: Matrix, threshold: float) -> list[Tensor]:
    """Return details with their local principal directions shrunk: the first pass, which needs no signal.

    One sweep of Jacobi rotations turns the leading directions to nearly those of the covariance, the strongest first.
    L D L' of what is left corrects the rest.

    Parameters
    ----------
    details : Tensor, shape (direction, y, x)
    covariance : mapping of Tensor, shape (y, x)
        Of the noisy details; overwritten.
    threshold : float
        Variance that is subtracted.
    """
    new, count = list(details), len(details)
    rotations = []
    for j in range(min(count, LEADING)):
        for i in range(j + 1, min(count, LEADING)):
            cosine, sine = _rotate(covariance, i, j, count)
            new[j], new[i] = _turned(new[j], new[i], cosine, sine)
            rotations.append((i, j, cosine, sine))
    lower, inverse = _factorised(covariance)
    new = _forward(new, lower)
    for plane, reciprocal in zip(new, inverse, strict=True):
        plane.mul_(reciprocal.mul_(-threshold).add_(1).clamp_min_(0))
    for i in reversed(range(count)):
        for j in range(i):
            if (i, j) in lower:
                new[i].addcmul_(lower[i, j], new[j])
    for i, j, cosine, sine in reversed(rotations):
        new[j], new[i] = _turned(new[j], new[i], cosine, sine.neg_())
    return new


def _rotate(matrix: Matrix, i: int, j: int, count: int) -> tuple[Tensor, Tensor]:
    """Turn rows and columns i > j so that they no longer covary, the larger variance first; return cosine and sine."""
    first, second, cross = matrix[j, j], matrix[i, i], matrix[i, j]
    half = (first - second).mul_(0.5)
    # Cosine of twice the angle, in two halves.
    ratio = half * (half * half).addcmul_(cross, cross).add_(TINY).rsqrt_()
    cosine = (0.5 * ratio).add_(0.5).clamp_min_(0).sqrt_()
    sine = ratio.mul_(-0.5).add_(0.5).clamp_min_(0).sqrt_().copysign_(cross)
    square, product = sine * sine, sine * cosine
    change = (2 * product).mul_(cross).addcmul_(square, half, value=-2)
    crossed = cross.mul(square.mul_(-2).add_(1)).addcmul_(product, half, value=-2)
    matrix[j, j], matrix[i, i], matrix[i, j] = first + change, second - change, crossed
    for k in range(count):
        if k not in (i, j):
            one, other = (max(j, k), min(j, k)), (max(i, k), min(i, k))
            p, q = matrix[one], matrix[other]
            matrix[one], matrix[other] = _turned(p, q, cosine, sine)
    return cosine, sine


def _turned(first: Tensor, second: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
    """Return two planes turned by an angle."""
    return (cosine * first).addcmul_(sine, second), (cosine * second).addcmul_(sine, first, value=-1)


def wiener(details: Tensor, covariance: Matrix, noise: float) -> list[Tensor]:
    """Return the Wiener estimate of details, S (S + n I)^-1 d: the second pass.

    Parameters
    ----------
    details : Tensor, shape (direction, y, x)
    covariance : mapping of Tensor, shape (y, x)
        S, of the signal; overwritten.
    noise : float
        n, variance of the noise.
    """
    for i in range(len(details)):
        covariance[i, i].add_(noise)
    lower, inverse = _factorised(covariance)
    solved = _forward(list(details), lower)
    for plane, reciprocal in zip(solved, inverse, strict=True):
        plane.mul_(reciprocal)
    for i in reversed(range(len(details))):
        for j in range(i + 1, len(details)):
            if (j, i) in lower:
                solved[i].addcmul_(lower[j, i], solved[j], value=-1)
    return [torch.add(d, s, alpha=-noise) for d, s in zip(details, solved, strict=True)]


def _factorised(matrix: Matrix) -> tuple[Matrix, list[Tensor]]:
    """Return L below its diagonal, and the inverse of D, of a matrix L D L'; the matrix is overwritten."""
    count = 1 + max(i for i, _ in matrix)
    least = matrix[0, 0].abs()
    for i in range(1, count):
        least = torch.maximum(least, matrix[i, i])
    least = least.mul_(ROUNDING_SHARE).clamp_min_(TINY)
    lower, inverse = {}, []
    for j in range(count):
        inverse.append(torch.maximum(matrix[j, j], least).reciprocal_())
        below = [i for i in range(j + 1, count) if (i, j) in matrix]
        for i in below:
            lower[i, j] = matrix[i, j] * inverse[j]
        for i in below:
            for k in below:
                if (i, k) in matrix:
                    matrix[i, k].addcmul_(lower[i, j], matrix[k, j], value=-1)
    return lower, inverse


def _forward(details: Sequence[Tensor], lower: Matrix) -> list[Tensor]:
    """Return L^-1 d, in new planes."""
    out = [d.clone() for d in details]
    for i in range(1, len(details)):
        for j in range(i):
            if (i, j) in lower:
                out[i].addcmul_(lower[i, j], out[j], value=-1)
    return out
