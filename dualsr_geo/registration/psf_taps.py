"""The non-parametric PSF: taps that are estimated one by one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from dualsr_geo.degradation.operators import blur_matrix
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.registration.guide_regression import Array, GuideRegression, RegressionBlock

# Penalties on the second differences of the taps, in this order: the first that gives plausible taps is used. Pairs
# of real images differ by more than blur (date, adjacency), to which taps of little smoothness fit: -0.18 on WorldView-2.
SMOOTHNESS = (1e-3, 1e-2, 1e-1)
# Plausible taps are not below this share of the largest one; bicubic sampling has -0.07.
MIN_TAP_SHARE = -0.1
# Support on either side of the pixel's centre, lr pixels.
REACH_LR = 1.6
# Alternations between the two axes.
STEPS = 6


def fit_nonparametric_psf(fit: GuideRegression, start: Psf) -> Psf:
    """Return the least smoothed PSF that is plausible, or the start where none is.

    Parameters
    ----------
    fit : GuideRegression
    start : Psf
        The Gaussian that explains most.
    """
    for smoothness in SMOOTHNESS:
        psf = _fitted(fit, start, smoothness)
        if all(min(t) > MIN_TAP_SHARE * max(t) for t in (psf.taps_y, psf.taps_x)):
            return psf
    return start


def _fitted(fit: GuideRegression, start: Psf, smoothness: float) -> Psf:
    """Fit the taps of one axis after the other, from the start's."""
    ratio, centre = fit.ratio, (fit.ratio - 1) / 2
    first = math.floor(centre - REACH_LR * ratio + min(*start.shift_px, 0.0))
    last = math.ceil(centre + REACH_LR * ratio + max(*start.shift_px, 0.0))
    position = np.arange(first, last + 1)
    ky, kx = (
        _normalised(np.interp(position, np.arange(s, s + len(t)), t, left=0, right=0))
        for t, s in ((start.taps_y, start.start_y), (start.taps_x, start.start_x))
    )
    for _ in range(STEPS):
        ky = _axis_taps(fit, kx, first, smoothness, axis=0)
        kx = _axis_taps(fit, ky, first, smoothness, axis=1)
    return Psf(ratio, tuple(ky.tolist()), tuple(kx.tolist()), first, first)


def _normalised(taps: Array) -> Array:
    return np.asarray(taps / taps.sum())


def _axis_taps(fit: GuideRegression, other: Array, first: int, smoothness: float, axis: int) -> Array:
    """Return the taps of one axis: the smallest generalised eigenvector of (unexplained, total) energy."""
    count = len(other)
    total, unexplained = np.zeros((count, count)), np.zeros((count, count))
    samples = [_samples(b, u, other, first, fit.ratio, axis) for b, u in zip(fit.blocks, fit.used, strict=True)]
    for band in range(len(fit.blocks[0].guide)):
        f = np.concatenate([s[band] for s in samples])
        f = f - f.mean(0)
        f = f / math.sqrt(max(f.var(0).mean(), 1e-30))
        q = fit.basis.T @ f
        total += f.T @ f
        unexplained += f.T @ f - q.T @ q
    second = -2 * np.eye(count) + np.eye(count, k=1) + np.eye(count, k=-1)
    level = np.diag(total).mean()
    penalty = smoothness * level * (second.T @ second)
    _, vectors = eigh(unexplained + penalty, total + 1e-9 * level * np.eye(count), subset_by_index=[0, 0])
    return _normalised(vectors[:, 0])


def _samples(block: RegressionBlock, used: NDArray[np.bool_], other: Array, first: int, ratio: int, axis: int) -> Array:
    """Return the guide at every tap of one axis, blurred along the other, (guide band, pixel, tap)."""
    height, width = used.shape
    length = (height, width)[axis]
    taps = tuple(other.tolist())
    position = ratio * np.arange(length)[:, None] + first + np.arange(len(other))
    position = np.clip(position, 0, length * ratio - 1)
    if axis == 0:
        blurred = block.guide @ blur_matrix(taps, first, ratio, width, 0, width).T
        return np.asarray(blurred[:, position].transpose(0, 1, 3, 2)[:, used])
    blurred = blur_matrix(taps, first, ratio, height, 0, height) @ block.guide
    return np.asarray(blurred[:, :, position][:, used])
