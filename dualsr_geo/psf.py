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
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize
from skimage.registration import phase_cross_correlation

from dualsr_geo.degrade import DEFAULT_MTF_GAIN, Psf, blur_matrix

Array = NDArray[np.float64]

COMPONENTS = 12
# lr pixels at a block's rim that the blur sees only in part.
RIM = 2
# Below 12 lr pixels nothing can be estimated; taps need 24 (A3).
SMALLEST_SIDE = 12
SMALLEST_SIDE_TAPS = 24
# Taps are kept where they explain at least 5 % more than the Gaussian (A3).
TAPS_GAIN = 0.05
# Smoothness of the taps, weakest first: the first that gives plausible taps is taken. Real pairs differ
# by more than blur (date, adjacency), which weakly smoothed taps soak up in wild ends: -0.18 on WorldView-2.
TAPS_SMOOTH = (1e-3, 1e-2, 1e-1)
# A plausible tap is not below this share of the largest; bicubic sampling gives -0.07.
TAPS_LOWEST = -0.1
TAPS_REACH = 1.6
TAPS_STEPS = 6
# The search starts at this width (lr px; an MTF gain of 0.42) and steps by hr px and by log width.
START_SIGMA = 0.42
FIRST_STEPS = (0.6, 0.6, 0.35, 0.35)
# Search range of the shift, lr pixels.
FARTHEST = 2.0
# An optimum counts if half a pixel of shift, or a quarter of the width, costs 1 % of the rest.
FLAT = 0.01
# MTF gains at Nyquist outside this range are no optics.
GAINS = (0.02, 0.97)


@dataclass(frozen=True)
class Piece:
    """A block of the sample for the estimate.

    Attributes
    ----------
    components : array, shape (component, y, x)
    guide : array, shape (guide band, ratio * y, ratio * x)
        Centred.
    weight : array, shape (y, x)
        0 where a pixel must not count.
    """

    components: Array
    guide: Array
    weight: Array


@dataclass(frozen=True)
class Estimate:
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
    """

    psf: Psf
    unexplained: float
    shift_px: tuple[float, float]
    shift_reliable: bool
    width_reliable: bool
    kind: str
    check_px: tuple[float, float]


class Fit:
    """The regression of the degraded guide on the scene, for any blur."""

    def __init__(self, pieces: Sequence[Piece], ratio: int) -> None:
        self.pieces = pieces
        self.ratio = ratio
        self.used = [_inside(p.weight) for p in pieces]
        rows = [np.vstack([p.components[:, u], np.ones(u.sum())]).T for p, u in zip(pieces, self.used, strict=True)]
        self.basis = np.linalg.qr(np.concatenate(rows))[0]

    def degraded(self, psf: Psf) -> Array:
        """Return the degraded guide at the pixels that count, (guide band, pixel)."""
        out = []
        for piece, used in zip(self.pieces, self.used, strict=True):
            height, width = used.shape
            dy = blur_matrix(psf.taps_y, psf.start_y, self.ratio, height, 0, height)
            dx = blur_matrix(psf.taps_x, psf.start_x, self.ratio, width, 0, width)
            out.append((dy @ (piece.guide @ dx.T))[:, used])
        return np.concatenate(out, 1)

    def unexplained(self, psf: Psf) -> float:
        """Return 1 - R2, 0..1."""
        d = self.degraded(psf)
        d = d - d.mean(1, keepdims=True)
        d = d / np.maximum(np.sqrt((d**2).sum(1, keepdims=True)), 1e-30)
        return float(1 - ((d @ self.basis) ** 2).sum() / len(d))


def _inside(weight: Array) -> NDArray[np.bool_]:
    used = weight > 0.999
    used[:RIM], used[-RIM:] = False, False
    used[:, :RIM], used[:, -RIM:] = False, False
    return np.asarray(used)


def estimate(pieces: Sequence[Piece], ratio: int) -> Estimate | None:
    """Estimate blur and shift.

    Parameters
    ----------
    pieces : sequence of Piece
        Blocks of the sample.
    ratio : int
        GSD lr / GSD hr.

    Returns
    -------
    Estimate or None
        None where the sample is too small to say anything.
    """
    large = [p for p in pieces if min(p.weight.shape) >= SMALLEST_SIDE]
    if not large or sum(int(_inside(p.weight).sum()) for p in large) < 4 * COMPONENTS:
        return None
    fit = Fit(large, ratio)
    check = _phase_shift(large[0], ratio)
    dy, dx, sy, sx = _search(fit, check)
    psf = Psf.gaussian(ratio, (sy, sx), (dy, dx))
    rest = fit.unexplained(psf)
    shift_ok, width_ok = _curved(fit, (dy, dx, sy, sx), rest)
    agrees = max(abs(dy - check[0]), abs(dx - check[1])) < ratio
    taps = _plausible_taps(fit, psf) if _side(large) >= SMALLEST_SIDE_TAPS and width_ok else psf
    better = fit.unexplained(taps)
    kind = "taps" if better < (1 - TAPS_GAIN) * rest else "gaussian"
    chosen = taps if kind == "taps" else psf
    return Estimate(chosen, min(rest, better), chosen.shift_px, shift_ok and agrees, width_ok, kind, check)


def _side(pieces: Sequence[Piece]) -> int:
    return max(int(min(p.weight.shape)) for p in pieces)


def _search(fit: Fit, check: tuple[float, float]) -> tuple[float, float, float, float]:
    """Minimise over shift and width, from no shift, half a pixel pitch, and the phase's shift."""
    ratio = fit.ratio

    def cost(p: Array) -> float:
        if max(abs(p[0]), abs(p[1])) > FARTHEST * ratio or np.abs(p[2:]).max() > 3:
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


def _curved(fit: Fit, at: tuple[float, ...], rest: float) -> tuple[bool, bool]:
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
    inside = max(abs(dy), abs(dx)) < 0.98 * FARTHEST * ratio
    return shift > FLAT and inside, width > FLAT and plausible


def _phase_shift(piece: Piece, ratio: int) -> tuple[float, float]:
    """Return how far the guide lies from the scene by phase correlation, hr pixels."""
    blur = Psf.from_mtf(ratio, DEFAULT_MTF_GAIN)
    fit = Fit([piece], ratio)
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
    dy, dx = (float(np.clip(s, -FARTHEST, FARTHEST)) * ratio for s in shift)
    return dy, dx


# ---- taps --------------------------------------------------------------------------------


def _plausible_taps(fit: Fit, start: Psf) -> Psf:
    """Return the least smoothed taps that look like optics, or the Gaussian."""
    for smooth in TAPS_SMOOTH:
        taps = _taps(fit, start, smooth)
        if all(min(t) > TAPS_LOWEST * max(t) for t in (taps.taps_y, taps.taps_x)):
            return taps
    return start


def _taps(fit: Fit, start: Psf, smooth: float) -> Psf:
    """Estimate the taps themselves, one axis after the other, from the Gaussian."""
    ratio, centre = fit.ratio, (fit.ratio - 1) / 2
    widest = max(*start.shift_px, 0.0)
    first = math.floor(centre - TAPS_REACH * ratio + min(*start.shift_px, 0.0))
    last = math.ceil(centre + TAPS_REACH * ratio + widest)
    at = np.arange(first, last + 1)
    ky, kx = (
        _normalised(np.interp(at, np.arange(s, s + len(t)), t, left=0, right=0))
        for t, s in ((start.taps_y, start.start_y), (start.taps_x, start.start_x))
    )
    for _ in range(TAPS_STEPS):
        ky = _axis_taps(fit, kx, first, smooth, axis=0)
        kx = _axis_taps(fit, ky, first, smooth, axis=1)
    return Psf(ratio, tuple(ky.tolist()), tuple(kx.tolist()), first, first)


def _normalised(taps: Array) -> Array:
    return np.asarray(taps / taps.sum())


def _axis_taps(fit: Fit, other: Array, first: int, stiffness: float, axis: int) -> Array:
    """Solve for the taps of one axis: the smallest generalised eigenvector of (rest, all)."""
    count = len(other)
    total, rest = np.zeros((count, count)), np.zeros((count, count))
    samples = [_samples(p, u, other, first, fit.ratio, axis) for p, u in zip(fit.pieces, fit.used, strict=True)]
    for band in range(len(fit.pieces[0].guide)):
        f = np.concatenate([s[band] for s in samples])
        f = f - f.mean(0)
        f = f / math.sqrt(max(f.var(0).mean(), 1e-30))
        q = fit.basis.T @ f
        total += f.T @ f
        rest += f.T @ f - q.T @ q
    bend = -2 * np.eye(count) + np.eye(count, k=1) + np.eye(count, k=-1)
    level = np.diag(total).mean()
    smooth = stiffness * level * (bend.T @ bend)
    _, vectors = eigh(rest + smooth, total + 1e-9 * level * np.eye(count), subset_by_index=[0, 0])
    return _normalised(vectors[:, 0])


def _samples(piece: Piece, used: NDArray[np.bool_], other: Array, first: int, ratio: int, axis: int) -> Array:
    """Return the guide at every tap of one axis, blurred along the other, (guide band, pixel, tap)."""
    height, width = used.shape
    length = (height, width)[axis]
    taps = tuple(other.tolist())
    at = ratio * np.arange(length)[:, None] + first + np.arange(len(other))
    at = np.clip(at, 0, length * ratio - 1)
    if axis == 0:
        blurred = piece.guide @ blur_matrix(taps, first, ratio, width, 0, width).T
        return np.asarray(blurred[:, at].transpose(0, 1, 3, 2)[:, used])
    blurred = blur_matrix(taps, first, ratio, height, 0, height) @ piece.guide
    return np.asarray(blurred[:, :, at][:, used])
