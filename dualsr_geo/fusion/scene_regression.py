"""What the regressions take from the whole scene: one line, clusters of the guide, its range.

Fitted once, on the survey's sample; deterministic, with no random numbers anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import vq

# Ridge of the scene-wide regression, relative to the guide's sum of squares.
GLOBAL_RIDGE = 1e-5
# Ridge of a cluster's regression, in units of the guide's variance, and of its constant term.
CLUSTER_RIDGE = (3e-2, 1e-4)
CLUSTER_STEPS = 15
CLUSTER_PIXELS = 20000
# Local and cluster-wise slopes hold where they were fitted: the guide is clipped to its lr
# range widened by this much of itself. Glints of 4x the range cost 0.3 dB (lab-2, A2).
GUIDE_MARGIN = 1.0
# Numbers of clusters of the two clusters.
CLUSTERS = (6, 8)


@dataclass(frozen=True)
class ClusterRegression:
    """Regressions on the guide that change with its colour.

    Attributes
    ----------
    centres : array, shape (cluster, guide band)
        In standardised guide units.
    width : float
        Root mean squared distance to the nearest centre.
    coefficients : array, shape (component, cluster * (guide band + 1))
        Of what the scene-wide regression leaves.
    """

    centres: NDArray[np.float32]
    width: float
    coefficients: NDArray[np.float32]


@dataclass(frozen=True)
class SceneRegression:
    """What the candidates need to know of the whole scene; part of the survey.

    Attributes
    ----------
    guide_mean, guide_std : array, shape (guide band,)
        Of the degraded guide, in its own units.
    guide_low, guide_high : array, shape (guide band,)
        Where local slopes may be used, standardised units.
    slope : array, shape (component, guide band)
    intercept : array, shape (component,)
        The scene-wide regression on the standardised guide.
    clusters : dict of int to ClusterRegression
        By number of clusters.
    """

    guide_mean: NDArray[np.float32]
    guide_std: NDArray[np.float32]
    guide_low: NDArray[np.float32]
    guide_high: NDArray[np.float32]
    slope: NDArray[np.float32]
    intercept: NDArray[np.float32]
    clusters: dict[int, ClusterRegression]

    def combined(self, rows: NDArray[np.float32]) -> SceneRegression:
        """Return the regressions of linear combinations of the components.

        Parameters
        ----------
        rows : array, shape (combination, component)
        """
        clusters = {k: replace(c, coefficients=rows @ c.coefficients) for k, c in self.clusters.items()}
        return replace(self, slope=rows @ self.slope, intercept=rows @ self.intercept, clusters=clusters)


@dataclass(frozen=True)
class GuideFit:
    """What the survey found of a guide.

    Attributes
    ----------
    fit : SceneRegression
    mixture : array, shape (component, candidate)
    weights : array, shape (band or component, candidate)
        Weights of the candidates, of which Wald pairs make clusters of their own.
    """

    fit: SceneRegression
    mixture: NDArray[np.float32]
    weights: NDArray[np.float64]


def fit_scene_regression(
    components: NDArray[np.float32], guide: NDArray[np.float32], weight: NDArray[np.float32]
) -> SceneRegression:
    """Fit everything that the candidates take from the whole scene.

    Parameters
    ----------
    components : array, shape (component, pixel)
        Spectral coefficients of the lr sample.
    guide : array, shape (guide band, pixel)
        The degraded guide at the same pixels.
    weight : array, shape (pixel,)
        0..1, how valid a pixel is.

    Returns
    -------
    SceneRegression
        Deterministic: no random numbers anywhere.
    """
    used = weight > 0
    z, w = components[:, used].astype(np.float64), weight[used].astype(np.float64)
    raw = guide[:, used].astype(np.float64)
    mean = (raw * w).sum(1) / w.sum()
    std = np.sqrt(((raw - mean[:, None]) ** 2 * w).sum(1) / w.sum())
    # A constant guide band says nothing; any unit will do for it.
    std = np.where(std > 1e-6 * np.abs(mean).clip(1e-12), std, 1.0)
    y = (raw - mean[:, None]) / std[:, None]
    slope, intercept = _line(z, y, w)
    rest = z - slope @ y - intercept[:, None]
    low, high = y.min(1), y.max(1)
    margin = GUIDE_MARGIN * (high - low)
    return SceneRegression(
        guide_mean=mean.astype(np.float32),
        guide_std=std.astype(np.float32),
        guide_low=(low - margin).astype(np.float32),
        guide_high=(high + margin).astype(np.float32),
        slope=slope.astype(np.float32),
        intercept=intercept.astype(np.float32),
        clusters={k: _fit_mixture(rest, y, w, k) for k in CLUSTERS},
    )


def _line(
    z: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    design = np.vstack([y, np.ones_like(w)])
    gram = (design * w) @ design.T
    gram[np.diag_indices(len(y))] *= 1 + GLOBAL_RIDGE
    gram[np.diag_indices(len(y))] += 1e-9 * w.sum()
    solution = np.asarray(np.linalg.solve(gram, (design * w) @ z.T).T, np.float64)
    return solution[:, :-1], solution[:, -1]


def _fit_mixture(
    rest: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64], clusters: int
) -> ClusterRegression:
    step = max(1, y.shape[1] // CLUSTER_PIXELS)
    centres, width = _clusters(y[:, ::step].T, clusters)
    share = _membership(y, centres, width)
    design = np.vstack([y, np.ones_like(w)])
    ridge = np.diag([CLUSTER_RIDGE[0]] * len(y) + [CLUSTER_RIDGE[1]])
    rows = []
    for member in share * w:
        gram = (design * member) @ design.T + ridge * max(member.sum(), 1e-6)
        rows.append(np.linalg.solve(gram, (design * member) @ rest.T))
    coefficients = np.concatenate(rows).T
    return ClusterRegression(centres.astype(np.float32), width, coefficients.astype(np.float32))


def _clusters(pixels: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], float]:
    """Lloyd's algorithm from a fixed start: equal blocks along the first principal axis.

    Random starts moved one scene by 1.1 dB (lab-2, line 6).
    """
    _, vectors = np.linalg.eigh(np.cov(pixels.T).reshape(pixels.shape[1], -1))
    axis = vectors[:, -1] * np.sign(vectors[:, -1].sum() or 1.0)
    order = np.argsort((pixels - pixels.mean(0)) @ axis, kind="stable")
    blocks = np.array_split(order, count)
    centres = np.stack([pixels[b].mean(0) if len(b) else pixels.mean(0) for b in blocks])
    for _ in range(CLUSTER_STEPS):
        centres = _moved(centres, pixels, vq(pixels, centres)[0])
    label, _ = vq(pixels, centres)
    width = math.sqrt(float(((pixels - centres[label]) ** 2).sum(1).mean()))
    return centres, max(width, 1e-6)


def _moved(centres: NDArray[np.float64], pixels: NDArray[np.float64], label: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the means of the clusters; an empty one keeps its centre (a guide of few values has few)."""
    members = np.bincount(label, minlength=len(centres))
    totals = [np.bincount(label, weights=column, minlength=len(centres)) for column in pixels.T]
    means = np.stack(totals, 1) / np.maximum(members, 1)[:, None]
    return np.where(members[:, None] > 0, means, centres)


def _membership(y: NDArray[np.float64], centres: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    distance = (centres**2).sum(1)[:, None] - 2 * centres @ y
    logit = -distance / (2 * width**2)
    share = np.exp(logit - logit.max(0))
    return np.asarray(share / share.sum(0))
