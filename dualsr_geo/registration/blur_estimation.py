"""Blur and shift of the scene against its guide, estimated from the two.

The degraded guide is regressed on the scene's leading spectral components; the blur and
shift that leave the least unexplained are the estimate. It finds shifts to 0.02 px and widths
to 0.5 % on clean data (algorithm-lab.md section 5). Where the PSF is no Gaussian its taps are
estimated one by one (algorithm-lab-2.md A3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from skimage.registration import phase_cross_correlation

from dualsr_geo.degradation.psf import DEFAULT_MTF_GAIN, Psf
from dualsr_geo.registration import standard_errors
from dualsr_geo.registration.guide_regression import Array, GuideRegression, RegressionBlock, inside
from dualsr_geo.registration.psf_taps import fit_nonparametric_psf

COMPONENT_COUNT = 12
# Below 12 lr pixels nothing can be estimated; taps need 24 (A3).
SMALLEST_SIDE = 12
SMALLEST_SIDE_TAPS = 24
# Taps are kept where they explain at least 5 % more than the Gaussian (A3).
TAPS_GAIN = 0.05
# The search starts at this width (lr px; an MTF gain of 0.42) and steps by hr px and by log width.
START_SIGMA = 0.42
FIRST_STEPS = (0.6, 0.6, 0.35, 0.35)
# Search range of the shift, lr pixels.
MAX_SHIFT_LR = 2.0
# An optimum counts if half a pixel of shift, or a quarter of the width, costs 1 % of the rest.
FLAT = 0.01
# An optimum that lies a lr pixel or more from the check counts if it leaves less than this share of what is left there.
FAR_BETTER = 0.5
# MTF gains at Nyquist outside this range are no optics.
GAINS = (0.02, 0.97)


@dataclass(frozen=True)
class BlurEstimate:
    """An estimated PSF.

    Attributes
    ----------
    psf : Psf
    unexplained : float
        1 - R2 of the degraded guide on the scene, 0..1.
    shift_px : (float, float)
        How far the guide's content lies below and right of the scene's, hr pixels.
    shift_reliable, width_reliable : bool
    kind : str
        ``"gaussian"`` or ``"taps"``.
    check_px : (float, float)
        The shift by phase correlation (scikit-image), hr pixels, to about a quarter lr pixel.
    shift_error_px, sigma_error_px : (float, float)
        Standard errors of shift and width along y and x, hr pixels; of taps, those of the Gaussian
        that they began from.
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


def estimate_blur(pieces: Sequence[RegressionBlock], ratio: int) -> BlurEstimate | None:
    """Estimate blur and shift.

    Parameters
    ----------
    pieces : sequence of RegressionBlock
        Blocks of the sample.
    ratio : int
        GSD lr / GSD hr.

    Returns
    -------
    BlurEstimate or None
        None where the sample is too small to say anything.
    """
    large = [p for p in pieces if min(p.weight.shape) >= SMALLEST_SIDE]
    if not large or sum(int(inside(p.weight).sum()) for p in large) < 4 * COMPONENT_COUNT:
        return None
    fit = GuideRegression(large, ratio)
    check = _phase_shift(large[0], ratio)
    dy, dx, sy, sx = _search(fit, check)
    psf = Psf.gaussian(ratio, (sy, sx), (dy, dx))
    rest = fit.unexplained(psf)
    shift_ok, width_ok = _curved(fit, (dy, dx, sy, sx), rest)
    agrees = max(abs(dy - check[0]), abs(dx - check[1])) < ratio or _far_better(fit, check, (sy, sx), rest)
    taps = fit_nonparametric_psf(fit, psf) if _side(large) >= SMALLEST_SIDE_TAPS and width_ok else psf
    better = fit.unexplained(taps)
    kind = "taps" if better < (1 - TAPS_GAIN) * rest else "gaussian"
    chosen = taps if kind == "taps" else psf
    errors = standard_errors.blur_standard_errors(fit, (dy, dx), (sy, sx))
    return BlurEstimate(chosen, min(rest, better), chosen.shift_px, shift_ok and agrees, width_ok, kind, check, *errors)


def _side(pieces: Sequence[RegressionBlock]) -> int:
    return max(int(min(p.weight.shape)) for p in pieces)


def _search(fit: GuideRegression, check: tuple[float, float]) -> tuple[float, float, float, float]:
    """Minimise over shift and width, from no shift, half a pixel pitch, and the phase's shift."""
    ratio = fit.ratio

    def cost(p: Array) -> float:
        if max(abs(p[0]), abs(p[1])) > MAX_SHIFT_LR * ratio or np.abs(p[2:]).max() > 3:
            return 1.0
        return fit.unexplained(_gaussian(p, ratio))

    half = (ratio - 1) / 2
    found = []
    for start in ((0.0, 0.0), (half, half), check):
        first = np.array([*start, math.log(START_SIGMA), math.log(START_SIGMA)])
        simplex = np.vstack([first, first + np.diag(FIRST_STEPS)])
        options = {"maxfev": 160, "initial_simplex": simplex, "xatol": 0.01, "fatol": 1e-7}
        found.append(minimize(cost, first, method="Nelder-Mead", options=options))
    dy, dx, sy, sx = min(found, key=lambda f: float(f.fun)).x
    return float(dy), float(dx), math.exp(sy) * ratio, math.exp(sx) * ratio


def _gaussian(p: Array, ratio: int) -> Psf:
    return Psf.gaussian(ratio, (math.exp(p[2]) * ratio, math.exp(p[3]) * ratio), (p[0], p[1]))


def _far_better(fit: GuideRegression, check: tuple[float, float], sigma_px: tuple[float, float], rest: float) -> bool:
    """Say whether an optimum far from the check explains so much more that the check must be wrong.

    It compares the guide with what the scene explains of it where it lies; of a guide that lies more than a lr pixel
    off that is much, too, so that the check falls short.
    """
    return rest < FAR_BETTER * fit.unexplained(Psf.gaussian(fit.ratio, sigma_px, check))


def _curved(fit: GuideRegression, at: tuple[float, ...], rest: float) -> tuple[bool, bool]:
    """Say whether the optimum is no plateau, in shift and in width."""
    dy, dx, sy, sx = at
    ratio = fit.ratio

    def costs(*points: tuple[float, float, float, float]) -> float:
        values = [fit.unexplained(Psf.gaussian(ratio, (d, e), (b, c))) for b, c, d, e in points]
        return min(values) / max(rest, 1e-9) - 1

    h = 0.5
    shift = costs((dy + h, dx, sy, sx), (dy - h, dx, sy, sx), (dy, dx + h, sy, sx), (dy, dx - h, sy, sx))
    width = costs((dy, dx, sy * 1.25, sx * 1.25), (dy, dx, sy / 1.25, sx / 1.25))
    gains = [math.exp(-0.5 * (math.pi * s / ratio) ** 2) for s in (sy, sx)]
    plausible = all(GAINS[0] < g < GAINS[1] for g in gains)
    within = max(abs(dy), abs(dx)) < 0.98 * MAX_SHIFT_LR * ratio
    return shift > FLAT and within, width > FLAT and plausible


def _phase_shift(piece: RegressionBlock, ratio: int) -> tuple[float, float]:
    """Return how far the guide lies from the scene by phase correlation, hr pixels."""
    blur = Psf.from_mtf(ratio, DEFAULT_MTF_GAIN)
    fit = GuideRegression([piece], ratio)
    used = fit.used[0]
    target = fit.degraded(blur)
    plane = np.zeros(used.shape)
    explained = np.zeros(used.shape)
    strongest = int(np.argmax(target.var(1)))
    row = target[strongest] - target[strongest].mean()
    plane[used], explained[used] = row, fit.basis @ (fit.basis.T @ row)
    if not explained.any():
        return 0.0, 0.0
    # `shift` moves the second image onto the first; ours is where the guide's content went.
    shift, _, _ = phase_cross_correlation(plane, explained, upsample_factor=10, normalization=None)
    dy, dx = (float(np.clip(s, -MAX_SHIFT_LR, MAX_SHIFT_LR)) * ratio for s in shift)
    return dy, dx
