"""The fine stage: make an estimate agree with what the sensor measured.

Area-to-point kriging in closed form. With the prior ``S = exp(-distance / 2 ratio)`` along
each axis, the correction of an estimate X for an observation L is

    X + My (L - degrade(X)) Mx^T,        M = S D^T (D S D^T + mu I)^-1,

cut to entries within `REACH_LR` lr pixels, so that a tile is exact
(research/algorithm-lab-2.md, A1b). Noisy data need a ridge `lam` that does not separate; the
same form summed over the leading singular pairs of ``1 / (ey ex + lam)`` replaces it
(A1 line 2). Plain iterated back-projection is not
offered: it multiplies the noise (46.8 -> 28.7 dB, algorithm-lab.md section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import BLOCK_LR, Banded, Operator, blur_matrix
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.raster.windows import Window

REACH_LR = 8
# Small ridges separate well and the general form would need a longer reach; above, it is the
# other way round (measured on jasper and sponges with noise 3/255).
SEPARABLE_BELOW = 0.01
RIDGE = 1e-3
# Singular pairs kept: six are within 0.1 dB of all even where a ridge is small; two lose 4 dB.
NOISY_TERMS = 6
# Interior rows of M do not depend on the axis' length; long axes reuse those of a short one
# and keep its border rows (A1a: rows >= 12 lr px from the border differ by 3e-6).
SHORT_AXIS = 64
LONG_AXIS = 96
BORDER_ROWS = 16

# Shape (hr, lr): how a residual along one axis is spread on the target grid.
Gain = NDArray[np.float64]
Pair = tuple[Banded, Banded]


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of D S D^T of one axis and the two maps that build M from them."""

    values: NDArray[np.float64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]

    def gain(self, factors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return S D^T U diag(factors) U^T, shape (hr, lr)."""
        return (self.left * factors) @ self.right.T


@lru_cache(maxsize=64)
def _spectrum(taps: tuple[float, ...], start: int, ratio: int, length: int) -> Spectrum:
    blur = blur_matrix(taps, start, ratio, length, 0, length)
    at = np.arange(length * ratio)
    prior = np.exp(-np.abs(at[:, None] - at) / (2.0 * ratio))
    spread = prior @ blur.T
    values, vectors = np.linalg.eigh(blur @ spread)
    return Spectrum(np.clip(values, 0, None), spread @ vectors, vectors)


@lru_cache(maxsize=256)
def _axis_pairs(psf: Psf, lengths: tuple[int, int], lam: float) -> tuple[tuple[Gain, Gain], ...]:
    """Return the (My, Mx) terms for short axes; `lam` is 0 for clean data."""
    sy = _spectrum(psf.taps_y, psf.start_y, psf.ratio, lengths[0])
    sx = _spectrum(psf.taps_x, psf.start_x, psf.ratio, lengths[1])
    if lam <= SEPARABLE_BELOW:
        mu = max(RIDGE, _axis_ridge(lam, sy.values.max(), sx.values.max()))
        terms = [(1 / (sy.values + mu), 1 / (sx.values + mu))]
    else:
        # Weighted by what the gain multiplies in the end, S D^T, whose norm is the root of e.
        wy, wx = np.sqrt(sy.values).clip(1e-6), np.sqrt(sx.values).clip(1e-6)
        u, s, vt = np.linalg.svd(np.outer(wy, wx) / (np.outer(sy.values, sx.values) + RIDGE + lam))
        terms = [(u[:, j] * np.sqrt(s[j]) / wy, vt[j] * np.sqrt(s[j]) / wx) for j in range(min(NOISY_TERMS, len(s)))]
    return tuple((_cut(sy.gain(a), psf.ratio), _cut(sx.gain(b), psf.ratio)) for a, b in terms)


def _axis_ridge(lam: float, top_y: float, top_x: float) -> float:
    """Return the ridge per axis that keeps as much of a constant residual as `lam` does in 2-D."""
    return float((np.sqrt(1 + lam / (top_y * top_x)) - 1) * np.sqrt(top_y * top_x))


def _cut(gain: NDArray[np.float64], ratio: int) -> NDArray[np.float64]:
    rows, columns = gain.shape
    distance = (np.arange(rows)[:, None] + 0.5) / ratio - 0.5 - np.arange(columns)
    kept = np.where(np.abs(distance) <= REACH_LR, gain, 0.0)
    # What a constant residual loses by the cut is given back, else an offset between guide and
    # scene would leak (2.4 dB where a noisy scene has no guide).
    lost = (gain.sum(1) - kept.sum(1))[:, None]
    return np.asarray(kept + lost * np.abs(kept) / np.abs(kept).sum(1, keepdims=True))


def _slice(gain: NDArray[np.float64], ratio: int, length: int, low: int, high: int) -> NDArray[np.float64]:
    """Return rows and columns low..high (lr) of M for an axis of `length`, from a short axis' M."""
    short = gain.shape[1]
    if short == length:
        return gain[low * ratio : high * ratio, low:high]
    out = np.zeros(((high - low) * ratio, high - low))
    middle = short // 2
    for i in range(low, high):
        source = i if i < BORDER_ROWS else short - (length - i) if length - i <= BORDER_ROWS else middle
        first, last = max(0, source - REACH_LR - 1), min(short, source + REACH_LR + 2)
        first, last = max(first, low - i + source), min(last, high - i + source)
        to = slice(first - source + i - low, last - source + i - low)
        out[(i - low) * ratio : (i - low + 1) * ratio, to] = gain[source * ratio : (source + 1) * ratio, first:last]
    return out


@dataclass(frozen=True)
class Consistency:
    """The closed form on one window, for groups of components that share a ridge.

    Attributes
    ----------
    operator : Operator
        The window's degradation.
    groups : tuple of tuple of (Tensor, Tensor)
        The (My, Mx) terms of each distinct ridge.
    group_of : tuple of int
        Which group a component (or band) belongs to.
    """

    operator: Operator
    groups: tuple[tuple[Pair, ...], ...]
    group_of: tuple[int, ...]

    def residual(self, estimate: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Return observed - degrade(estimate), shape (component, y, x)."""
        return observed - self.operator.degrade(estimate)

    def spread(self, residual: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Return the correction on the target grid for components `first`, `first` + 1, ...

        (component, y, x) -> (component, ratio * y, ratio * x)
        """
        wanted = self.group_of[first : first + len(residual)]
        if len(set(wanted)) == 1:
            return _sum_terms(self.groups[wanted[0]], residual)
        return torch.cat([_sum_terms(self.groups[g], r[None]) for g, r in zip(wanted, residual, strict=True)])

    def __call__(self, estimate: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Return the estimate made consistent with the observation."""
        return estimate + self.spread(self.residual(estimate, observed))


def _sum_terms(terms: Sequence[Pair], residual: torch.Tensor) -> torch.Tensor:
    parts = [my.rows(mx.columns(residual)) for my, mx in terms]
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


def consistency(
    psf: Psf,
    shape: tuple[int, int],
    lams: Sequence[float],
    operator: Operator,
    window: Window | None = None,
) -> Consistency:
    """Return the closed form for a window of a scene.

    Parameters
    ----------
    psf : Psf
        The surveyed blur.
    shape : (int, int)
        Rows and columns of the whole scene, lr pixels.
    lams : sequence of float
        Noise variance over prior variance of each component; 0 on clean data.
    operator : Operator
        The degradation of the same window.
    window : Window, optional
        The part needed, lr pixels; the whole scene if left out.
    """
    win = window or Window(0, shape[0], 0, shape[1])
    lengths = tuple(n if n <= LONG_AXIS else SHORT_AXIS for n in shape)
    distinct = sorted(set(lams))
    device = operator.blur_y.parts[0][4].device
    groups = []
    for lam in distinct:
        pairs = _axis_pairs(psf, (lengths[0], lengths[1]), lam)
        cut = [
            (
                Banded(_slice(my, psf.ratio, shape[0], win.y0, win.y1), BLOCK_LR * psf.ratio, device),
                Banded(_slice(mx, psf.ratio, shape[1], win.x0, win.x1), BLOCK_LR * psf.ratio, device),
            )
            for my, mx in pairs
        ]
        groups.append(tuple(cut))
    return Consistency(operator, tuple(groups), tuple(distinct.index(lam) for lam in lams))
