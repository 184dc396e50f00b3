"""The taps of a PSF that is no Gaussian, estimated one by one (research/algorithm-lab-2.md, A3)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from dualsr_geo.degradation.operators import blur_matrix
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.registration.guide_regression import Array, GuideRegression, RegressionBlock

# Smoothness of the taps, weakest first: the first that gives plausible taps is taken. Real pairs differ
# by more than blur (date, adjacency), which weakly smoothed taps soak up in wild ends: -0.18 on WorldView-2.
TAPS_SMOOTH = (1e-3, 1e-2, 1e-1)
# A plausible tap is not below this share of the largest; bicubic sampling gives -0.07.
TAPS_LOWEST = -0.1
TAPS_REACH = 1.6
TAPS_STEPS = 6


def fit_nonparametric_psf(fit: GuideRegression, start: Psf) -> Psf:
    """Return the least smoothed taps that look like optics, or the Gaussian.

    Parameters
    ----------
    fit : GuideRegression
    start : Psf
        The Gaussian that explains most.
    """
    for smooth in TAPS_SMOOTH:
        taps = _taps(fit, start, smooth)
        if all(min(t) > TAPS_LOWEST * max(t) for t in (taps.taps_y, taps.taps_x)):
            return taps
    return start


def _taps(fit: GuideRegression, start: Psf, smooth: float) -> Psf:
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


def _axis_taps(fit: GuideRegression, other: Array, first: int, stiffness: float, axis: int) -> Array:
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


def _samples(piece: RegressionBlock, used: NDArray[np.bool_], other: Array, first: int, ratio: int, axis: int) -> Array:
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
