"""Data consistency: the correction of an estimate that makes its degraded version equal the observation.

Area-to-point kriging in closed form. With the prior ``S = exp(-distance / 2 ratio)`` along each axis, the
correction of an estimate X for an observation L is

    X + My (L - degrade(X)) Mx^T,        M = S D^T (D S D^T + mu I)^-1,

with the entries of M cut beyond `REACH_LR` lr pixels, so that a tile equals the whole scene. On noisy data the
ridge `lam` does not separate into axes; the form is then summed over the leading singular pairs of
``1 / (ey ex + lam)``. Plain iterated back-projection is not offered, because it amplifies noise (46.8 -> 28.7 dB).
docs/algorithm.md has the measurements.
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

# Entries of M farther than this from the diagonal are 0, lr pixels.
REACH_LR = 8
# Largest ridge for which the separable form is used: it is accurate for small ridges, for which the general form needs
# a longer reach; for large ones it is the reverse (measured on Jasper Ridge and sponges with noise of 3/255).
SEPARABLE_BELOW = 0.01
# mu on data without noise.
RIDGE = 1e-3
# Number of singular pairs: six are within 0.1 dB of all even for a small ridge; two lose 4 dB.
NOISY_TERMS = 6
# Interior rows of M do not depend on the length of the axis: an axis longer than the second length takes them from one
# of the first length, and so many rows at either end. Rows 12 lr pixels from an end differ by 3e-6.
SHORT_AXIS = 64
LONG_AXIS = 96
BORDER_ROWS = 16

# M of one axis, shape (hr, lr): it carries a residual to the target grid.
Gain = NDArray[np.float64]
Pair = tuple[Banded, Banded]


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of D S D^T of one axis, and the two matrices from which M follows.

    Attributes
    ----------
    values : array, shape (lr,)
    left : array, shape (hr, lr)
        S D^T U, with the eigenvectors U.
    right : array, shape (lr, lr)
        U.
    """

    values: NDArray[np.float64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]

    def gain(self, factors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return S D^T U diag(factors) U^T, shape (hr, lr)."""
        return (self.left * factors) @ self.right.T


@lru_cache(maxsize=64)
def _spectrum(taps: tuple[float, ...], start: int, ratio: int, length: int) -> Spectrum:
    blur = blur_matrix(taps, start, ratio, length, 0, length)
    pixels = np.arange(length * ratio)
    prior = np.exp(-np.abs(pixels[:, None] - pixels) / (2.0 * ratio))
    covariance = prior @ blur.T
    values, vectors = np.linalg.eigh(blur @ covariance)
    return Spectrum(np.clip(values, 0, None), covariance @ vectors, vectors)


@lru_cache(maxsize=256)
def _axis_pairs(psf: Psf, lengths: tuple[int, int], lam: float) -> tuple[tuple[Gain, Gain], ...]:
    """Return the terms (My, Mx) for short axes; `lam` is 0 on data without noise."""
    sy = _spectrum(psf.taps_y, psf.start_y, psf.ratio, lengths[0])
    sx = _spectrum(psf.taps_x, psf.start_x, psf.ratio, lengths[1])
    if lam <= SEPARABLE_BELOW:
        mu = max(RIDGE, _axis_ridge(lam, sy.values.max(), sx.values.max()))
        terms = [(1 / (sy.values + mu), 1 / (sx.values + mu))]
    else:
        # Weighted by the norm of S D^T, the root of the eigenvalues, which the gain multiplies in the end.
        wy, wx = np.sqrt(sy.values).clip(1e-6), np.sqrt(sx.values).clip(1e-6)
        u, s, vt = np.linalg.svd(np.outer(wy, wx) / (np.outer(sy.values, sx.values) + RIDGE + lam))
        terms = [(u[:, j] * np.sqrt(s[j]) / wy, vt[j] * np.sqrt(s[j]) / wx) for j in range(min(NOISY_TERMS, len(s)))]
    return tuple((_cut(sy.gain(a), psf.ratio), _cut(sx.gain(b), psf.ratio)) for a, b in terms)


def _axis_ridge(lam: float, top_y: float, top_x: float) -> float:
    """Return the ridge of each axis that has the effect of `lam` on a constant residual in two dimensions."""
    return float((np.sqrt(1 + lam / (top_y * top_x)) - 1) * np.sqrt(top_y * top_x))


def _cut(gain: NDArray[np.float64], ratio: int) -> NDArray[np.float64]:
    """Return M with its entries beyond the reach at 0, and the same sum in every row."""
    rows, columns = gain.shape
    distance = (np.arange(rows)[:, None] + 0.5) / ratio - 0.5 - np.arange(columns)
    near = np.where(np.abs(distance) <= REACH_LR, gain, 0.0)
    # Without the lost sum a constant offset between estimate and scene would remain in part, which loses 2.4 dB where a
    # noisy scene has no guide.
    lost = (gain.sum(1) - near.sum(1))[:, None]
    return np.asarray(near + lost * np.abs(near) / np.abs(near).sum(1, keepdims=True))


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
        The terms (My, Mx) of each distinct ridge.
    group_of : tuple of int
        Index of the group of each component (or band).
    """

    operator: Operator
    groups: tuple[tuple[Pair, ...], ...]
    group_of: tuple[int, ...]

    def residual(self, estimate: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Return ``observed - degrade(estimate)``, shape (component, y, x)."""
        return observed - self.operator.degrade(estimate)

    def spread(self, residual: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Return the correction on the target grid, (component, ratio * y, ratio * x).

        Parameters
        ----------
        residual : Tensor, shape (component, y, x)
        first : int
            Index of its first component among those of `group_of`.
        """
        groups = self.group_of[first : first + len(residual)]
        if len(set(groups)) == 1:
            return _sum_terms(self.groups[groups[0]], residual)
        return torch.cat([_sum_terms(self.groups[g], r[None]) for g, r in zip(groups, residual, strict=True)])

    def add_spread(self, estimate: torch.Tensor, residual: torch.Tensor, first: int = 0) -> None:
        """Add the correction to an estimate (component, ratio * y, ratio * x) in place; see `spread`."""
        groups = self.group_of[first : first + len(residual)]
        for group in dict.fromkeys(groups):
            some = [i for i, g in enumerate(groups) if g == group]
            for my, mx in self.groups[group]:
                parts = mx.columns(residual[some] if len(some) < len(groups) else residual)
                for i, part in zip(some, parts, strict=True):
                    my.add_rows(part[None], estimate[i : i + 1])

    def __call__(self, estimate: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        """Return the estimate, corrected to be consistent with the observation."""
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
    shape : (int, int)
        Rows and columns of the whole scene, lr pixels.
    lams : sequence of float
        Ridge of each component: noise variance over prior variance; 0 on data without noise.
    operator : Operator
        The degradation of the same window.
    window : Window, optional
        lr pixels; by default the whole scene.
    """
    win = window or Window(0, shape[0], 0, shape[1])
    lengths = tuple(n if n <= LONG_AXIS else SHORT_AXIS for n in shape)
    distinct = sorted(set(lams))
    device = operator.blur_y.device
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
