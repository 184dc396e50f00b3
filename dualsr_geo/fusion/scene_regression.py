"""Regressions on the guide that are fitted once for the whole scene, on the survey's sample.

One regression for all pixels, regressions of its residual that change with the guide's colour, and, for a guide
of several bands, regressions for all pixels that rely less on its weak directions. The fit uses no random numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import vq

from dualsr_geo.fusion.few_bands.logarithms import LogarithmPixels

# Ridge of the scene-wide regression, as a share of the guide's sum of squares.
SCENE_RIDGE = 1e-5
# Ridge of the high-pass regression, in units of the mean variance of the guide's detail.
HIGH_PASS_RIDGE = 1e-3
# Ridges of a cluster's slopes, in units of the guide's variance, and of its intercept.
SLOPE_RIDGE, INTERCEPT_RIDGE = 3e-2, 1e-4
CLUSTER_STEPS = 15
# Clusters are found on at most about twice so many pixels.
CLUSTER_PIXELS = 20000
# Local and cluster-wise slopes hold where they were fitted: the guide is clipped to its range on the lr grid, widened
# on either side by this share of the range. Glints of 4 times the range lose 0.3 dB.
RANGE_MARGIN = 1.0
# Numbers of clusters of the two regressions by colour.
CLUSTER_COUNTS = (6, 8)


@dataclass(frozen=True)
class LinearRegression:
    """One regression for the whole scene on the standardised guide.

    Attributes
    ----------
    slope : array, shape (component, guide band)
    intercept : array, shape (component,)
    """

    slope: NDArray[np.float32]
    intercept: NDArray[np.float32]

    def combined(self, rows: NDArray[np.float32]) -> LinearRegression:
        """Return the regression of linear combinations (combination, component) of the components."""
        return LinearRegression(rows @ self.slope, rows @ self.intercept)


@dataclass(frozen=True)
class ClusterRegression:
    """Regressions on the guide that change with its colour.

    Attributes
    ----------
    centres : array, shape (cluster, guide band)
        Standardised guide units.
    width : float
        Root mean squared distance to the nearest centre, standardised units.
    coefficients : array, shape (component, cluster * (guide band + 1))
        Slopes and intercept of every cluster, for the residual of the scene-wide regression.
    """

    centres: NDArray[np.float32]
    width: float
    coefficients: NDArray[np.float32]


@dataclass(frozen=True)
class SceneRegression:
    """The regressions that the candidates share in the whole scene; part of the survey.

    Attributes
    ----------
    guide_mean, guide_std : array, shape (guide band,)
        Of the degraded guide, physical units.
    guide_low, guide_high : array, shape (guide band,)
        The range in which local and cluster-wise slopes are used, standardised units.
    slope : array, shape (component, guide band)
    intercept : array, shape (component,)
        The scene-wide regression on the standardised guide.
    clusters : dict of int to ClusterRegression
        By number of clusters, see `CLUSTER_COUNTS`.
    lines : dict of str to LinearRegression
        Other regressions of the whole scene on a guide of several bands, see `fit_scene_regression`: ``"high-pass"``
        and ``"principal"``; for scenes of few bands ``"logarithms"``, on the bands and then their logarithms. Empty for a
        guide of one band.
    direction : array, shape (guide band,), or None
        First principal direction of the standardised guide, which has unit variance along it. None for a guide of one band.
    lowest : array, shape (guide band,), or None
        Of the logarithms, see `dualsr_geo.fusion.few_bands.logarithms.lowest_values`; None where they are not used.
    """

    guide_mean: NDArray[np.float32]
    guide_std: NDArray[np.float32]
    guide_low: NDArray[np.float32]
    guide_high: NDArray[np.float32]
    slope: NDArray[np.float32]
    intercept: NDArray[np.float32]
    clusters: dict[int, ClusterRegression]
    lines: dict[str, LinearRegression] = field(default_factory=dict)
    direction: NDArray[np.float32] | None = None
    lowest: NDArray[np.float32] | None = None

    def combined(self, rows: NDArray[np.float32]) -> SceneRegression:
        """Return the regressions of linear combinations of the components.

        Parameters
        ----------
        rows : array, shape (combination, component)
        """
        clusters = {k: replace(c, coefficients=rows @ c.coefficients) for k, c in self.clusters.items()}
        lines = {name: line.combined(rows) for name, line in self.lines.items()}
        return replace(self, slope=rows @ self.slope, intercept=rows @ self.intercept, clusters=clusters, lines=lines)


@dataclass(frozen=True)
class GuideFit:
    """Regressions of a scene on its guide, and how they are mixed.

    Attributes
    ----------
    fit : SceneRegression
    mixture : array, shape (component, candidate)
        Weights of the candidates by component; rows sum to 1.
    weights : array, shape (band or component, candidate)
        Weights of the candidates by band on clean scenes, by component on noisy ones; a Wald pair
        makes a mixture of its own of them.
    """

    fit: SceneRegression
    mixture: NDArray[np.float32]
    weights: NDArray[np.float64]


def fit_scene_regression(
    components: NDArray[np.float32],
    guide: NDArray[np.float32],
    weight: NDArray[np.float32],
    high_pass: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    logarithms: LogarithmPixels | None = None,
) -> SceneRegression:
    """Fit the regressions of a whole scene to its sample.

    Parameters
    ----------
    components : array, shape (component, pixel)
        Spectral coefficients of the sample.
    guide : array, shape (guide band, pixel)
        The degraded guide at the same pixels.
    weight : array, shape (pixel,)
        0..1, how valid a pixel is.
    high_pass : (array, array), optional
        `components` and `guide` without their low frequencies, see `dualsr_geo.fusion.blocks.high_pass`; by default
        they themselves.
    logarithms : LogarithmPixels, optional
        Of the guide at the same pixels; None where they are not used.
    """
    used = weight > 0
    z, w = components[:, used].astype(np.float64), weight[used].astype(np.float64)
    raw = guide[:, used].astype(np.float64)
    mean = (raw * w).sum(1) / w.sum()
    std = np.sqrt(((raw - mean[:, None]) ** 2 * w).sum(1) / w.sum())
    # A constant guide band explains nothing, in whatever unit.
    std = np.where(std > 1e-6 * np.abs(mean).clip(1e-12), std, 1.0)
    y = (raw - mean[:, None]) / std[:, None]
    slope, intercept = _scene_wide(z, y, w)
    residual = z - slope @ y - intercept[:, None]
    low, high = y.min(1), y.max(1)
    margin = RANGE_MARGIN * (high - low)
    direction = _principal_direction(y, w) if len(y) > 1 else None
    fine = (z, y) if high_pass is None else (high_pass[0][:, used], high_pass[1][:, used] / std[:, None])
    lines = {} if direction is None else _lines(z, y, w, fine, direction)
    if logarithms is not None:
        logs = logarithms.values[:, used], logarithms.fine[:, used]
        lines["logarithms"] = _logarithmic(z, w, fine, *logs)
    return SceneRegression(
        guide_mean=mean.astype(np.float32),
        guide_std=std.astype(np.float32),
        guide_low=(low - margin).astype(np.float32),
        guide_high=(high + margin).astype(np.float32),
        slope=slope.astype(np.float32),
        intercept=intercept.astype(np.float32),
        clusters={count: _fit_clusters(residual, y, w, count) for count in CLUSTER_COUNTS},
        lines=lines,
        direction=None if direction is None else direction.astype(np.float32),
        lowest=None if logarithms is None else logarithms.lowest,
    )


def _principal_direction(y: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the direction (guide band,) of the largest variance of y (guide band, pixel), whose variance is made 1."""
    values, vectors = np.linalg.eigh((y * w) @ y.T / w.sum())
    # The sign of an eigenvector is arbitrary; fix it, so that every run agrees.
    sign = np.sign(vectors[np.abs(vectors[:, -1]).argmax(), -1])
    return np.asarray(sign * vectors[:, -1] / np.sqrt(max(values[-1], 1e-12)))


def _lines(
    z: NDArray[np.float64],
    y: NDArray[np.float64],
    w: NDArray[np.float64],
    fine: tuple[NDArray[Any], NDArray[Any]],
    direction: NDArray[np.float64],
) -> dict[str, LinearRegression]:
    """Return the other regressions of z on y (guide band, pixel), and on its high frequencies in `fine`."""
    slopes = {
        "high-pass": _slope(*fine, w, HIGH_PASS_RIDGE),
        "principal": _slope(z, direction[None] @ y, w, 0.0) @ direction[None],
    }
    # The standardised guide has a mean of zero.
    intercept = ((z * w).sum(1) / w.sum()).astype(np.float32)
    return {name: LinearRegression(slope.astype(np.float32), intercept) for name, slope in slopes.items()}


def _logarithmic(
    z: NDArray[np.float64],
    w: NDArray[np.float64],
    fine: tuple[NDArray[Any], NDArray[Any]],
    values: NDArray[np.float32],
    fine_values: NDArray[np.float32],
) -> LinearRegression:
    """Return the regression of high frequencies on those of the bands and of their logarithms."""
    mean = (values * w).sum(1) / w.sum()
    std = np.sqrt(((values - mean[:, None]) ** 2 * w).sum(1) / w.sum())
    std = np.where(std > 0, std, 1.0)
    slope = _slope(fine[0], np.concatenate([fine[1], fine_values / std[:, None]]), w, HIGH_PASS_RIDGE)
    slope[:, len(std) :] /= std
    intercept = (z * w).sum(1) / w.sum() - slope[:, len(std) :] @ mean
    return LinearRegression(slope.astype(np.float32), intercept.astype(np.float32))


def _slope(z: NDArray[Any], y: NDArray[Any], w: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """Return slopes (component, guide band) with a ridge in units of the mean variance of y (guide band, pixel)."""
    z, y = (v - (v * w).sum(1, keepdims=True) / w.sum() for v in (z.astype(np.float64), y.astype(np.float64)))
    covariance = (y * w) @ y.T
    covariance += (ridge * np.trace(covariance) / len(y) + 1e-9 * w.sum()) * np.eye(len(y))
    return np.asarray(np.linalg.solve(covariance, (y * w) @ z.T).T)


def _scene_wide(
    z: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return slopes (component, guide band) and intercepts (component,) of z on y (guide band, pixel)."""
    design = np.vstack([y, np.ones_like(w)])
    gram = (design * w) @ design.T
    gram[np.diag_indices(len(y))] *= 1 + SCENE_RIDGE
    gram[np.diag_indices(len(y))] += 1e-9 * w.sum()
    solution = np.asarray(np.linalg.solve(gram, (design * w) @ z.T).T, np.float64)
    return solution[:, :-1], solution[:, -1]


def _fit_clusters(
    residual: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64], count: int
) -> ClusterRegression:
    step = max(1, y.shape[1] // CLUSTER_PIXELS)
    centres, width = _clusters(y[:, ::step].T, count)
    membership = _membership(y, centres, width)
    design = np.vstack([y, np.ones_like(w)])
    ridge = np.diag([SLOPE_RIDGE] * len(y) + [INTERCEPT_RIDGE])
    rows = []
    for weight in membership * w:
        gram = (design * weight) @ design.T + ridge * max(weight.sum(), 1e-6)
        rows.append(np.linalg.solve(gram, (design * weight) @ residual.T))
    coefficients = np.concatenate(rows).T
    return ClusterRegression(centres.astype(np.float32), width, coefficients.astype(np.float32))


def _clusters(pixels: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], float]:
    """Return the centres (cluster, guide band) of pixels (pixel, guide band), and their width.

    Lloyd's algorithm from a fixed start, equal blocks along the first principal axis: random starts change
    one scene's result by 1.1 dB.
    """
    _, vectors = np.linalg.eigh(np.cov(pixels.T).reshape(pixels.shape[1], -1))
    axis = vectors[:, -1] * np.sign(vectors[:, -1].sum() or 1.0)
    order = np.argsort((pixels - pixels.mean(0)) @ axis, kind="stable")
    blocks = np.array_split(order, count)
    centres = np.stack([pixels[b].mean(0) if len(b) else pixels.mean(0) for b in blocks])
    for _ in range(CLUSTER_STEPS):
        centres = _cluster_means(centres, pixels, vq(pixels, centres)[0])
    label, _ = vq(pixels, centres)
    width = math.sqrt(float(((pixels - centres[label]) ** 2).sum(1).mean()))
    return centres, max(width, 1e-6)


def _cluster_means(
    centres: NDArray[np.float64], pixels: NDArray[np.float64], label: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return the means of the clusters; an empty cluster keeps its centre (a guide of few values has few)."""
    members = np.bincount(label, minlength=len(centres))
    totals = [np.bincount(label, weights=column, minlength=len(centres)) for column in pixels.T]
    means = np.stack(totals, 1) / np.maximum(members, 1)[:, None]
    return np.where(members[:, None] > 0, means, centres)


def _membership(y: NDArray[np.float64], centres: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return the membership of each pixel of y (guide band, pixel), (cluster, pixel), 0..1; columns sum to 1."""
    distance = (centres**2).sum(1)[:, None] - 2 * centres @ y
    logit = -distance / (2 * width**2)
    membership = np.exp(logit - logit.max(0))
    return np.asarray(membership / membership.sum(0))
