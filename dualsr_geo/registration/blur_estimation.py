"""Estimation of the scene's blur and of its shift against the guide.

The degraded guide's first principal direction is regressed on the scene's leading spectral components; the blur and
the shift with the least unexplained variance are the estimate. On clean data shifts are within 0.02 px and widths
within 0.5 % (docs/algorithm.md). A PSF that is no Gaussian is estimated without a parametric form.

A guide's other directions, its colours, have little variance and as much noise; JPEG keeps them at half the
resolution. Their noise is averaged by the blur, so that a wider blur leaves less of them unexplained: with all
bands alike, JPEG of quality 75 widens the estimate by up to 12 %, with the first direction by 1 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from skimage.registration import phase_cross_correlation

from dualsr_geo.degradation.psf import DEFAULT_MTF_GAIN, Psf
from dualsr_geo.degradation.psf_spread import PsfSpread
from dualsr_geo.registration import standard_errors
from dualsr_geo.registration.block_blurs import MIN_SPREAD_LR, estimate_block_blurs
from dualsr_geo.registration.guide_regression import Array, GuideRegression, RegressionBlock, inside
from dualsr_geo.registration.psf_taps import fit_nonparametric_psf

# Leading components of the scene in the regression.
COMPONENT_COUNT = 12
# Least side of a block for an estimate, and for a non-parametric one, lr pixels.
MIN_SIDE_LR = 12
MIN_SIDE_NONPARAMETRIC_LR = 24
# A non-parametric PSF is used where it lowers the unexplained variance of the Gaussian by at least this share. Of blurs that
# are no Gaussians it lowers it by 19 % (noise of 3/255) to 99.9 %, of Gaussians by 15 % at most, of real pairs by 11 %.
NONPARAMETRIC_GAIN = 0.17
# The search starts at this width, lr pixels (an MTF gain of 0.42), with these steps of shift, hr pixels, and of the
# logarithm of width; y and x each.
START_SIGMA_LR = 0.42
FIRST_STEPS = (0.6, 0.6, 0.35, 0.35)
# Steps with which the search starts again at the best optimum; without it a sixth of the clean pairs ends 0.4 % off.
LAST_STEPS = (0.05, 0.05, 0.02, 0.02)
# Search range of the shift, lr pixels.
MAX_SHIFT_LR = 2.0
# Search range of the width: logarithm of lr pixels.
MAX_LOG_SIGMA = 3
# An optimum is reliable if half a hr pixel of shift, or a quarter of the width, raises the unexplained variance by at
# least this share.
MIN_RISE = 0.01
# An optimum a lr pixel or more from the check is reliable if its unexplained variance is below this share of the check's.
DISTANT_SHARE = 0.5
# A width whose blocks cannot be compared is narrowed by so many standard errors: displaced guides widen it by one to three.
NARROWING_ERRORS = 2.0
# A shift of a larger standard error is not reliable, and never undone; hr pixels.
MAX_SHIFT_ERROR_PX = 1.0
# Range of MTF gains at the Nyquist frequency that optics have.
MTF_GAIN_RANGE = (0.02, 0.97)


@dataclass(frozen=True)
class BlurEstimate:
    """An estimated blur and shift.

    Attributes
    ----------
    psf : Psf
    unexplained : float
        1 - R2 of the degraded guide on the scene, 0..1.
    shift_px : (float, float)
        Shift of the guide's content against the scene's, downwards and to the right, hr pixels.
    shift_reliable, width_reliable : bool
    kind : str
        ``"gaussian"``, or ``"taps"`` of a non-parametric PSF.
    check_px : (float, float)
        The shift by phase correlation (scikit-image), hr pixels, to about a quarter lr pixel.
    shift_error_px, sigma_error_px : (float, float)
        Standard errors of shift and width along y and x, hr pixels; of a non-parametric PSF those of
        the Gaussian that its estimation starts from. Where the blur differs from place to place, the deviation
        of the width.
    spread : PsfSpread or None
        How far blur and shift differ from place to place; None where they do not.
    whole_sigma_px : (float, float) or None
        Width of the one Gaussian that explains most of the whole scene, where it is not that of `psf`.
    """

    psf: Psf
    unexplained: float
    shift_px: tuple[float, float]
    shift_reliable: bool
    width_reliable: bool
    kind: str
    check_px: tuple[float, float]
    shift_error_px: tuple[float, float]
    sigma_error_px: tuple[float, float]
    spread: PsfSpread | None = None
    whole_sigma_px: tuple[float, float] | None = None


def estimate_blur(blocks: Sequence[RegressionBlock], ratio: int, *, near: bool = False) -> BlurEstimate | None:
    """Estimate the blur of a scene and its guide's shift.

    Parameters
    ----------
    blocks : sequence of RegressionBlock
        The sample.
    ratio : int
        GSD lr / GSD hr.
    near : bool
        Whether the shift is known to be small, so that the search starts from none.

    Returns
    -------
    BlurEstimate or None
        None where the sample is too small.
    """
    large = [b for b in blocks if min(b.weight.shape) >= MIN_SIDE_LR]
    if not large or sum(int(inside(b.weight).sum()) for b in large) < 4 * COMPONENT_COUNT:
        return None
    large = leading_direction(large)
    fit = GuideRegression(large, ratio)
    check = _phase_shift(large[0], ratio)
    dy, dx, sy, sx = _search(fit, (0.0, 0.0) if near else check, near=near)
    gaussian = Psf.gaussian(ratio, (sy, sx), (dy, dx))
    unexplained = fit.unexplained(gaussian)
    shift_ok, width_ok = _is_minimum(fit, (dy, dx, sy, sx), unexplained)
    agrees = max(abs(dy - check[0]), abs(dx - check[1])) < ratio or _is_far_better(fit, check, (sy, sx), unexplained)
    free = fit_nonparametric_psf(fit, gaussian) if _side(large) >= MIN_SIDE_NONPARAMETRIC_LR and width_ok else gaussian
    unexplained_free = fit.unexplained(free)
    kind = "taps" if unexplained_free < (1 - NONPARAMETRIC_GAIN) * unexplained else "gaussian"
    psf = free if kind == "taps" else gaussian
    least, errors = min(unexplained, unexplained_free), standard_errors.blur_standard_errors(fit, (dy, dx), (sy, sx))
    reliable = shift_ok and agrees and max(errors[0]) <= MAX_SHIFT_ERROR_PX
    return BlurEstimate(psf, least, psf.shift_px, reliable, width_ok, kind, check, *errors)


def narrow_estimate(estimate: BlurEstimate, sample: Sequence[RegressionBlock]) -> BlurEstimate:
    """Return a Gaussian narrowed by what widens it: differences between blocks, or its error where there are few.

    Parameters
    ----------
    estimate : BlurEstimate
        Of the sample, as `estimate_blur` returns it; taps are not changed.
    sample : sequence of RegressionBlock

    Returns
    -------
    BlurEstimate
        The same on clean pairs, whose blocks agree.
    """
    psf, whole = estimate.psf, estimate.psf.sigma_px
    if estimate.kind == "taps":
        return estimate
    blocks = estimate_block_blurs(leading_direction(sample), psf.ratio, psf.shift_px)
    if blocks.differ:
        spread, narrow = blocks.spread, blocks.narrow
        # Of the mean of the blocks, which differ by the spread and by their own errors.
        own = np.median(blocks.shift_error_px, axis=0).tolist()
        dy, dx = (math.hypot(s, e) / math.sqrt(len(blocks.shift_px)) for s, e in zip(spread.shift_px, own, strict=True))
        return replace(
            estimate, psf=narrow, shift_px=narrow.shift_px, shift_reliable=max(dy, dx) <= MAX_SHIFT_ERROR_PX,
            width_reliable=True, shift_error_px=(dy, dx), sigma_error_px=spread.sigma_px, spread=spread,
            whole_sigma_px=whole,
        )  # fmt: skip
    if blocks.enough or not estimate.width_reliable:
        return estimate
    sy, sx = (e if e > MIN_SPREAD_LR * psf.ratio else 0.0 for e in estimate.sigma_error_px)
    if not sy and not sx:
        return estimate
    ny, nx = (max(s - NARROWING_ERRORS * e, s / 2) for s, e in zip(whole, (sy, sx), strict=True))
    narrow = Psf.gaussian(psf.ratio, (ny, nx), psf.shift_px)
    return replace(estimate, psf=narrow, spread=PsfSpread((sy, sx), estimate.shift_error_px), whole_sigma_px=whole)


def leading_direction(blocks: Sequence[RegressionBlock]) -> list[RegressionBlock]:
    """Return the blocks with a guide of one band, its first principal direction."""
    flat = [b.guide.reshape(len(b.guide), -1) for b in blocks]
    _, axes = np.linalg.eigh(sum((g @ g.T for g in flat), np.zeros((len(flat[0]), len(flat[0])))))
    return [replace(b, guide=np.tensordot(axes[:, -1:].T, b.guide, 1)) for b in blocks]


def _side(blocks: Sequence[RegressionBlock]) -> int:
    return max(int(min(b.weight.shape)) for b in blocks)


def _search(
    fit: GuideRegression, check: tuple[float, float], *, near: bool = False
) -> tuple[float, float, float, float]:
    """Return shift and width of the least unexplained variance, hr pixels: dy, dx, sy, sx.

    The search starts from no shift, from half a lr pixel, and from the shift by phase correlation; only from
    none where it is known to be near.
    """
    ratio = fit.ratio

    def cost(p: Array) -> float:
        if max(abs(p[0]), abs(p[1])) > MAX_SHIFT_LR * ratio or np.abs(p[2:]).max() > MAX_LOG_SIGMA:
            return 1.0
        return fit.unexplained(_gaussian(p, ratio))

    half = (ratio - 1) / 2
    starts = ((0.0, 0.0),) if near else ((0.0, 0.0), (half, half), check)
    optima = [_descent(cost, np.array([*s, *[math.log(START_SIGMA_LR)] * 2]), FIRST_STEPS, 0.01) for s in starts]
    best = min(optima, key=lambda o: o[1])[0]
    dy, dx, sy, sx = _descent(cost, best, LAST_STEPS, 0.001)[0]
    return float(dy), float(dx), math.exp(sy) * ratio, math.exp(sx) * ratio


def _descent(
    cost: Callable[[Array], float], first: Array, steps: tuple[float, ...], tolerance: float
) -> tuple[Array, float]:
    """Return the optimum that Nelder-Mead finds from a start, and its cost."""
    simplex = np.vstack([first, first + np.diag(steps)])
    options = {"maxfev": 160, "initial_simplex": simplex, "xatol": tolerance, "fatol": 1e-7}
    optimum = minimize(cost, first, method="Nelder-Mead", options=options)
    return np.asarray(optimum.x, np.float64), float(optimum.fun)


def _gaussian(p: Array, ratio: int) -> Psf:
    return Psf.gaussian(ratio, (math.exp(p[2]) * ratio, math.exp(p[3]) * ratio), (p[0], p[1]))


def _is_far_better(
    fit: GuideRegression, check: tuple[float, float], sigma_px: tuple[float, float], unexplained: float
) -> bool:
    """Return whether an optimum far from the check explains so much more that the check must be wrong.

    The check compares the guide with its regression on the scene at no shift. Of a guide that is displaced by more
    than a lr pixel the scene explains much in that position, too, so that the check underestimates the shift.
    """
    return unexplained < DISTANT_SHARE * fit.unexplained(Psf.gaussian(fit.ratio, sigma_px, check))


def _is_minimum(fit: GuideRegression, optimum: tuple[float, ...], unexplained: float) -> tuple[bool, bool]:
    """Return whether the optimum is a distinct minimum within the search range, in shift and in width."""
    dy, dx, sy, sx = optimum
    ratio = fit.ratio

    def rise(*points: tuple[float, float, float, float]) -> float:
        values = [fit.unexplained(Psf.gaussian(ratio, (d, e), (b, c))) for b, c, d, e in points]
        return min(values) / max(unexplained, 1e-9) - 1

    h = 0.5
    shift = rise((dy + h, dx, sy, sx), (dy - h, dx, sy, sx), (dy, dx + h, sy, sx), (dy, dx - h, sy, sx))
    width = rise((dy, dx, sy * 1.25, sx * 1.25), (dy, dx, sy / 1.25, sx / 1.25))
    gains = [math.exp(-0.5 * (math.pi * s / ratio) ** 2) for s in (sy, sx)]
    plausible = all(MTF_GAIN_RANGE[0] < g < MTF_GAIN_RANGE[1] for g in gains)
    within = max(abs(dy), abs(dx)) < 0.98 * MAX_SHIFT_LR * ratio
    return shift > MIN_RISE and within, width > MIN_RISE and plausible


def _phase_shift(block: RegressionBlock, ratio: int) -> tuple[float, float]:
    """Return the shift of the guide against the scene by phase correlation, hr pixels."""
    blur = Psf.from_mtf(ratio, DEFAULT_MTF_GAIN)
    fit = GuideRegression([block], ratio)
    used = fit.used[0]
    target = fit.degraded(blur)
    plane = np.zeros(used.shape)
    explained = np.zeros(used.shape)
    strongest = int(np.argmax(target.var(1)))
    row = target[strongest] - target[strongest].mean()
    plane[used], explained[used] = row, fit.basis @ (fit.basis.T @ row)
    if not explained.any():
        return 0.0, 0.0
    # It registers the second image to the first, so it is the displacement of the guide's content.
    shift, _, _ = phase_cross_correlation(plane, explained, upsample_factor=10, normalization=None)
    dy, dx = (float(np.clip(s, -MAX_SHIFT_LR, MAX_SHIFT_LR)) * ratio for s in shift)
    return dy, dx
