"""Anchors: a few bands that stand for all, and how what is done to them reaches the others.

A network's cost must not grow with the bands. It runs on the anchors; its correction reaches every
band by the scene's own linear relations. The start itself is made for every band, so what the
anchors do not tell is as good as without a network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

# 8 lose 0.05 dB at most against all bands on five scenes, and cost a sixth to a tenth on 128 bands
# (examples/benchmark/anchors.py).
ANCHOR_COUNT = 8
# Share of an anchor's variance that the regression takes for noise.
RIDGE = 1e-4
# A band that the anchors explain this badly (R2) gets no correction; from the second on all of it.
EXPLAINED = (0.5, 0.9)
# The anchors are chosen on about this many pixels.
CHOICE_PX = 4000


@dataclass(frozen=True)
class AnchorBands:
    """Which bands stand for all.

    Attributes
    ----------
    bands : tuple of int
        Their indices, ascending.
    spread : array of float32, shape (band, anchor)
        A band's correction is the sum of the anchors' corrections by these weights. An anchor's
        own row is 1 for itself and 0 for the others.
    """

    bands: tuple[int, ...]
    spread: NDArray[np.float32]


def choose_anchor_bands(
    spectra: NDArray[np.float32], weight: NDArray[np.float32], count: int = ANCHOR_COUNT
) -> AnchorBands:
    """Choose anchors and learn how they spread.

    Parameters
    ----------
    spectra : array, shape (band, pixel)
        Without NaN.
    weight : array, shape (pixel,)
        0..1, how valid a pixel is.
    count : int
        Most anchors; with no more bands than that, every band is its own anchor.

    Returns
    -------
    AnchorBands
        Chosen by QR with pivoting; spread by ridge regression of all bands on them.
    """
    if len(spectra) <= count:
        return AnchorBands(tuple(range(len(spectra))), np.eye(len(spectra), dtype=np.float32))
    used = weight > 0
    x, w = spectra[:, used].astype(np.float64), weight[used].astype(np.float64)
    x -= ((x * w).sum(1) / w.sum())[:, None]
    bands = _chosen(x, count)
    covariance = (x * w) @ x.T / w.sum()
    spread = _spread(covariance, bands)
    spread *= _trust(covariance, bands, spread)[:, None]
    spread[list(bands)] = np.eye(len(bands))
    return AnchorBands(bands, spread.astype(np.float32))


def _chosen(x: NDArray[np.float64], count: int) -> tuple[int, ...]:
    """Return the bands that span the others best, by pivots."""
    some = x[:, :: max(1, x.shape[1] // CHOICE_PX)]
    pivots = qr(some.T, mode="r", pivoting=True)[1]
    return tuple(sorted(map(int, pivots[:count])))


def _spread(covariance: NDArray[np.float64], bands: tuple[int, ...]) -> NDArray[np.float64]:
    own = covariance[np.ix_(bands, bands)]
    scale = np.sqrt(np.maximum(np.diag(own), 1e-30))
    like = own / np.outer(scale, scale) + RIDGE * np.eye(len(bands))
    slope = np.linalg.solve(like, covariance[list(bands)] / scale[:, None])
    return np.asarray((slope / scale[:, None]).T)


def _trust(covariance: NDArray[np.float64], bands: tuple[int, ...], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much of the correction a band gets, by how well the anchors explain it."""
    own, cross = covariance[np.ix_(bands, bands)], covariance[:, list(bands)]
    variance = np.diag(covariance)
    left = variance - 2 * (spread * cross).sum(1) + ((spread @ own) * spread).sum(1)
    explained = 1 - left / np.maximum(variance, 1e-30)
    low, high = EXPLAINED
    return np.asarray(((explained - low) / (high - low)).clip(0, 1))
