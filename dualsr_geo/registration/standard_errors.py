"""Standard errors of the estimated blur and shift.

They follow from the agreement of parts of the scene, because errors within a part are correlated: a model that
fits one pixel of a roof badly fits the whole roof badly.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.registration.guide_regression import Array, GuideRegression

# Side of the parts, lr pixels.
PART_LR = 8
# Steps of the numerical derivatives: by shift, hr pixels, and by the logarithm of width; y and x each.
DERIVATIVE_STEPS = (0.05, 0.05, 0.01, 0.01)
# The search for the optimum ends within these distances: hr pixels, and logarithms of width.
SEARCH_TOLERANCE_PX, SEARCH_TOLERANCE_LOG = 0.005, 0.002

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
        The estimate, y and x, hr pixels.

    Returns
    -------
    (float, float), (float, float)
        Of the shift and of the width, hr pixels; infinite where the scene does not determine them.
    """
    optimum = np.array([*shift_px, *np.log(sigma_px)])
    residual = scaled_residual(fit, optimum)
    slopes = []
    for index, step in enumerate(DERIVATIVE_STEPS):
        move = np.zeros(4)
        move[index] = step
        slopes.append((scaled_residual(fit, optimum + move) - scaled_residual(fit, optimum - move)) / (2 * step))
    flat = np.stack(slopes).reshape(4, -1)
    curvature = flat @ flat.T
    # The curvature of a flat guide is 0, or 0 but for rounding, and has no inverse.
    if np.linalg.cond(curvature) > 1 / np.finfo(float).eps:
        return (math.inf, math.inf), (math.inf, math.inf)
    parts = _parts(fit)
    scores = np.stack([np.bincount(parts, weights=row) for row in (np.stack(slopes) * residual).sum(1)])
    inverse = np.linalg.inv(curvature)
    variance = np.diag(inverse @ (scores @ scores.T) @ inverse)
    tolerance = np.array([SEARCH_TOLERANCE_PX, SEARCH_TOLERANCE_PX, SEARCH_TOLERANCE_LOG, SEARCH_TOLERANCE_LOG])
    dy, dx, sy, sx = np.hypot(np.sqrt(variance), tolerance).tolist()
    return (dy, dx), (sy * sigma_px[0], sx * sigma_px[1])


def scaled_residual(fit: GuideRegression, parameters: Array) -> Array:
    """Return the residual of the degraded guide, each band scaled to unit length, (guide band, pixel)."""
    dy, dx, sy, sx = parameters
    d = fit.degraded(Psf.gaussian(fit.ratio, (math.exp(sy), math.exp(sx)), (dy, dx)))
    d = d - d.mean(1, keepdims=True)
    d = d / np.maximum(np.sqrt((d**2).sum(1, keepdims=True)), 1e-30)
    return np.asarray(d - (d @ fit.basis) @ fit.basis.T)


def _parts(fit: GuideRegression) -> NDArray[np.intp]:
    """Return the number of the part of every pixel that counts, (pixel,)."""
    numbers, first = [], 0
    for used in fit.used:
        rows, columns = (-(-n // PART_LR) for n in used.shape)
        y, x = np.nonzero(used)
        numbers.append(first + y // PART_LR * columns + x // PART_LR)
        first += rows * columns
    return np.concatenate(numbers)
