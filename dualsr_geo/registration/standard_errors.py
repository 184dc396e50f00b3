"""How certain the survey's estimates are: of blur and shift, and of the noise of bands.

Both ask parts of the scene how far they agree, since the errors of one part are alike: a model that
fits one roof badly fits all of it badly.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.registration.guide_regression import Array, GuideRegression

# Sides of the parts that are to agree, lr pixels.
PART = 8
# Steps of the derivatives: hr pixels of shift, logarithms of width.
STEPS = (0.05, 0.05, 0.01, 0.01)
# The search itself ends within this, hr pixels and logarithms.
SEARCHED_PX, SEARCHED_LOG = 0.005, 0.002

Pair = tuple[float, float]


def blur_standard_errors(fit: GuideRegression, shift_px: Pair, sigma_px: Pair) -> tuple[Pair, Pair]:
    """Return the standard errors of an estimated Gaussian.

    With the residual r of the regression and its derivatives J by shift and logarithm of width,
    the parameters vary by A^-1 (sum_k s_k s_k') A^-1, where A = J'J and s_k is J'r summed over a
    part of the scene (Liang and Zeger, 1986).

    Parameters
    ----------
    fit : GuideRegression
    shift_px, sigma_px : (float, float)
        Where the least is unexplained, y and x, hr pixels.

    Returns
    -------
    (float, float), (float, float)
        Of the shift and of the width, hr pixels; infinite where the scene says nothing.
    """
    at = np.array([*shift_px, *np.log(sigma_px)])
    left = _left(fit, at)
    slopes = []
    for index, step in enumerate(STEPS):
        move = np.zeros(4)
        move[index] = step
        slopes.append((_left(fit, at + move) - _left(fit, at - move)) / (2 * step))
    flat = np.stack(slopes).reshape(4, -1)
    curvature = flat @ flat.T
    # A flat guide has no slope at all; another one that is not told from none has no inverse.
    if np.linalg.cond(curvature) > 1 / np.finfo(float).eps:
        return (math.inf, math.inf), (math.inf, math.inf)
    said = np.stack([np.bincount(_parts(fit), weights=row) for row in (np.stack(slopes) * left).sum(1)])
    inverse = np.linalg.inv(curvature)
    variance = np.diag(inverse @ (said @ said.T) @ inverse)
    searched = np.array([SEARCHED_PX, SEARCHED_PX, SEARCHED_LOG, SEARCHED_LOG])
    dy, dx, sy, sx = np.hypot(np.sqrt(variance), searched).tolist()
    return (dy, dx), (sy * sigma_px[0], sx * sigma_px[1])


def _left(fit: GuideRegression, at: Array) -> Array:
    """Return what the scene does not explain of the degraded guide, each band of unit length, (guide band, pixel)."""
    d = fit.degraded(Psf.gaussian(fit.ratio, (math.exp(at[2]), math.exp(at[3])), (at[0], at[1])))
    d = d - d.mean(1, keepdims=True)
    d = d / np.maximum(np.sqrt((d**2).sum(1, keepdims=True)), 1e-30)
    return np.asarray(d - (d @ fit.basis) @ fit.basis.T)


def _parts(fit: GuideRegression) -> NDArray[np.intp]:
    """Return which part every pixel that counts belongs to, (pixel,)."""
    numbers, first = [], 0
    for used in fit.used:
        rows, columns = (-(-n // PART) for n in used.shape)
        y, x = np.nonzero(used)
        numbers.append(first + y // PART * columns + x // PART)
        first += rows * columns
    return np.concatenate(numbers)
