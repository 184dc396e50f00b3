"""Anchor bands: the few bands that a network corrects, and the weights that carry the correction to all.

A network runs on the anchor bands, so its cost does not grow with the number of bands. Its correction reaches
every band by the scene's own linear relations. The estimate that is corrected has all bands, so where the
anchor bands explain nothing the result equals that without a network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

# 8 anchor bands lose at most 0.05 dB against all bands on five scenes, and cost a sixth to a tenth on 128 bands
# (examples/benchmark/anchors.py).
ANCHOR_COUNT = 8
# Anchor bands of scenes of at most so many bands, which have fewer directions: against all bands 3 of 4 lose at most
# 0.002 dB (SN6), 4 of 6 and 8 at most 0.009 dB (Sentinel-2, Landsat, WorldView-2), as `examples/benchmark/anchors.py
# --scenes wv2 sn6 --guides own` shows, and cost half.
ANCHORS_OF_FEW = ((4, 3), (8, 4))
# Ridge of the regression on the anchor bands, as a share of their variance.
RIDGE = 1e-4
# A band is not corrected where the anchor bands explain less than the first share of its variance (R2), corrected
# fully from the second on, and in part between the two.
UNUSED_R2, TRUSTED_R2 = 0.5, 0.9
# Anchor bands are chosen on about so many pixels.
CHOICE_PX = 4000


@dataclass(frozen=True)
class AnchorBands:
    """The anchor bands of a scene; part of the survey.

    Attributes
    ----------
    bands : tuple of int
        Indices, ascending.
    spread : array of float32, shape (band, anchor)
        A band's correction is the sum of the anchor bands' corrections by these weights. The row of
        an anchor band is 1 for itself and 0 for the others.
    """

    bands: tuple[int, ...]
    spread: NDArray[np.float32]


def anchor_count(bands: int) -> int:
    """Return the largest number of anchor bands of the guided network for a scene of so many bands."""
    return next((count for most, count in ANCHORS_OF_FEW if bands <= most), ANCHOR_COUNT)


def choose_anchor_bands(
    spectra: NDArray[np.float32], weight: NDArray[np.float32], count: int = ANCHOR_COUNT
) -> AnchorBands:
    """Choose the anchor bands of a scene and estimate the weights that carry them to all bands.

    Parameters
    ----------
    spectra : array, shape (band, pixel)
        Without NaN.
    weight : array, shape (pixel,)
        0..1, how valid a pixel is.
    count : int
        Of anchor bands; with no more bands than that, every band is an anchor band.

    Returns
    -------
    AnchorBands
        The bands by QR with pivoting, the weights by ridge regression of all bands on them.
    """
    if len(spectra) <= count:
        return AnchorBands(tuple(range(len(spectra))), np.eye(len(spectra), dtype=np.float32))
    used = weight > 0
    x, w = spectra[:, used].astype(np.float64), weight[used].astype(np.float64)
    x -= ((x * w).sum(1) / w.sum())[:, None]
    bands = _pivots(x, count)
    covariance = (x * w) @ x.T / w.sum()
    spread = _regression(covariance, bands)
    spread *= _trust(covariance, bands, spread)[:, None]
    spread[list(bands)] = np.eye(len(bands))
    return AnchorBands(bands, spread.astype(np.float32))


def _pivots(x: NDArray[np.float64], count: int) -> tuple[int, ...]:
    """Return the bands that span the others best, by QR with pivoting."""
    sample = x[:, :: max(1, x.shape[1] // CHOICE_PX)]
    pivots = qr(sample.T, mode="r", pivoting=True)[1]
    return tuple(sorted(map(int, pivots[:count])))


def _regression(covariance: NDArray[np.float64], bands: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the slopes of all bands on the anchor bands, (band, anchor)."""
    own = covariance[np.ix_(bands, bands)]
    scale = np.sqrt(np.maximum(np.diag(own), 1e-30))
    correlation = own / np.outer(scale, scale) + RIDGE * np.eye(len(bands))
    slope = np.linalg.solve(correlation, covariance[list(bands)] / scale[:, None])
    return np.asarray((slope / scale[:, None]).T)


def _trust(covariance: NDArray[np.float64], bands: tuple[int, ...], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the correction that a band gets, by how well the anchor bands explain it, 0..1."""
    own, cross = covariance[np.ix_(bands, bands)], covariance[:, list(bands)]
    variance = np.diag(covariance)
    residual = variance - 2 * (spread * cross).sum(1) + ((spread @ own) * spread).sum(1)
    r2 = 1 - residual / np.maximum(variance, 1e-30)
    return np.asarray(((r2 - UNUSED_R2) / (TRUSTED_R2 - UNUSED_R2)).clip(0, 1))
