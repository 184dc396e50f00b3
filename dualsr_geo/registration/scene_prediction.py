"""The direction of a guide that predicts a scene of few bands, for the estimation of blur and shift.

Several bands predict the brightness of a guide. One band, such as a temperature, does not: it follows some combination of
the guide's bands, and what it shares with their brightness may be little. That combination then stands for the guide. It is
found by canonical correlation, of one band by a regression on the degraded guide, at the shift at which the guide explains
most. Low frequencies are taken out before: relief and weather make temperatures that no optical band shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.ndimage import gaussian_filter

from dualsr_geo.degradation.psf import DEFAULT_MTF_GAIN, Psf
from dualsr_geo.registration.guide_regression import VALID, Array, GuideRegression, RegressionBlock

# Width of the Gaussian that low frequencies are, lr pixels.
LOW_PASS_LR = 3.0
# Ridge of the guide's covariance, share of its mean variance: a weak direction has much noise.
RIDGE = 1e-2
# Shifts that are compared along an axis, lr pixels, and how far below that of no shift the unexplained variance of another
# one must be: of wrong shifts some explain as much by chance.
SHIFTS_LR = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
SHIFTED_SHARE = 0.98


def predicting_direction(blocks: Sequence[RegressionBlock], ratio: int) -> list[RegressionBlock]:
    """Return the blocks without low frequencies, with a guide of one band: the combination that the scene follows.

    Parameters
    ----------
    blocks : sequence of RegressionBlock
    ratio : int
        GSD lr / GSD hr.
    """
    fine = [_high_pass(b, ratio) for b in blocks]
    if not fine:
        return fine
    fit = GuideRegression(fine, ratio)
    if len(fit.basis) <= 2 * fit.basis.shape[1]:
        return [replace(b, guide=b.guide[:1]) for b in fine]
    weights = _direction(fit, _best_shift(fit))
    return [replace(b, guide=np.tensordot(weights, b.guide, 1)[None]) for b in fine]


def _best_shift(fit: GuideRegression) -> tuple[float, float]:
    """Return the shift, hr pixels, at which the guide explains most of the scene's detail."""
    unexplained = {shift: _unexplained(fit, shift) for shift in product(SHIFTS_LR, SHIFTS_LR)}
    best = min(unexplained, key=lambda shift: unexplained[shift])
    shift = best if unexplained[best] < SHIFTED_SHARE * unexplained[0.0, 0.0] else (0.0, 0.0)
    return shift[0] * fit.ratio, shift[1] * fit.ratio


def _unexplained(fit: GuideRegression, shift_lr: tuple[float, float]) -> float:
    within, between, _ = _covariances(fit, (shift_lr[0] * fit.ratio, shift_lr[1] * fit.ratio))
    return float(1 - eigh(between, within, eigvals_only=True)[-1])


def _direction(fit: GuideRegression, shift_px: tuple[float, float]) -> NDArray[np.float64]:
    """Return the weights of the guide's bands, (guide band,)."""
    within, between, scale = _covariances(fit, shift_px)
    weights = eigh(between, within)[1][:, -1] / scale
    # The sign of an eigenvector is arbitrary; fix it, so that every run agrees.
    return np.asarray(weights * np.sign(weights[np.abs(weights).argmax()] or 1.0))


def _covariances(fit: GuideRegression, shift_px: tuple[float, float]) -> tuple[Array, Array, Array]:
    """Return the covariance of the degraded, scaled guide with a ridge, the part the scene explains, and the scale."""
    sigma = Psf.from_mtf(fit.ratio, DEFAULT_MTF_GAIN).sigma_px
    degraded = fit.degraded(Psf.gaussian(fit.ratio, sigma, shift_px))
    degraded = degraded - degraded.mean(1, keepdims=True)
    scale = np.linalg.norm(degraded, axis=1)
    scale = np.where(scale > 0, scale, 1.0)
    degraded = degraded / scale[:, None]
    within, explained = degraded @ degraded.T, degraded @ fit.basis
    return within + RIDGE * np.eye(len(within)), explained @ explained.T, scale


def _high_pass(block: RegressionBlock, ratio: int) -> RegressionBlock:
    whole = (block.weight > VALID).astype(np.float64)
    fine = whole.repeat(ratio, 0).repeat(ratio, 1)
    return replace(
        block,
        components=_without_low(block.components, whole, LOW_PASS_LR),
        guide=_without_low(block.guide, fine, LOW_PASS_LR * ratio),
    )


def _without_low(planes: Array, weight: Array, width: float) -> Array:
    """Return planes (plane, y, x) less their weighted mean in a Gaussian window."""
    norm = np.maximum(gaussian_filter(weight, width, mode="nearest"), 1e-6)
    return np.stack([p - gaussian_filter(p * weight, width, mode="nearest") / norm for p in planes])
