"""The training-free model: the scene's spectral components regressed on the guide.

A candidate says how a component follows the guide: by one line for the whole scene, by
lines that change from place to place, by lines that change with the guide's colour, or not
at all. What a candidate fits on the lr grid is linear in two things: planes of coefficients
that are upsampled and multiplied by the guide, and features of a single guide pixel. So the
weighted mean of all candidates costs little more than one
(research/algorithm-lab-2.md, A1c: "fuse first").

A better candidate is one more class with a `fit` method, and an entry in `CANDIDATES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import Operator
from dualsr_geo.fusion.local_regression import Moments
from dualsr_geo.fusion.scene_regression import Mixture, SceneRegression


def standardise(guide: torch.Tensor, fit: SceneRegression) -> torch.Tensor:
    """Return a guide (guide band, y, x) in standardised units."""
    mean = torch.as_tensor(fit.guide_mean, dtype=guide.dtype, device=guide.device)
    std = torch.as_tensor(fit.guide_std, dtype=guide.dtype, device=guide.device)
    return (guide - mean[:, None, None]) / std[:, None, None]


def clip_guide(guide: torch.Tensor, fit: SceneRegression) -> torch.Tensor:
    """Return a standardised guide inside the range in which slopes were fitted, with a margin."""
    low = torch.as_tensor(fit.guide_low, device=guide.device)[:, None, None]
    high = torch.as_tensor(fit.guide_high, device=guide.device)[:, None, None]
    return torch.minimum(torch.maximum(guide, low), high)


@dataclass(frozen=True)
class Parts:
    """A fitted candidate: ``features . P + sum_i up(slopes_i) * guide_i + up(intercept)``.

    Attributes
    ----------
    features : Tensor, shape (component, feature)
    slopes : Tensor, shape (guide band, component, y, x), or None
    intercept : Tensor, shape (component, y, x), or None
    """

    features: torch.Tensor
    slopes: torch.Tensor | None = None
    intercept: torch.Tensor | None = None


@dataclass(frozen=True)
class Pair:
    """A window of the scene and its guide, ready for the candidates.

    Attributes
    ----------
    components : Tensor, shape (component, y, x)
        Spectral coefficients of the lr window.
    guide_lr : Tensor, shape (guide band, y, x)
        The clipped, standardised guide, degraded.
    features : Tensor, shape (feature, ratio * y, ratio * x)
        Pixel features of the guide: those of each mixture, the guide itself, and 1.
    features_lr : Tensor, shape (feature, y, x)
        The same, degraded.
    guide : Tensor, shape (guide band, ratio * y, ratio * x)
        The clipped, standardised guide.
    weight : Tensor, shape (y, x), or None
        How valid a pixel is, 0..1; None where all are.
    fit : SceneRegression
    operator : Operator
    """

    components: torch.Tensor
    guide_lr: torch.Tensor
    features: torch.Tensor
    features_lr: torch.Tensor
    guide: torch.Tensor
    weight: torch.Tensor | None
    fit: SceneRegression
    operator: Operator
    _cache: dict[float, Moments] = field(default_factory=dict, compare=False)

    def moments(self, width: float) -> Moments:
        """Return the guide's window means and covariances for a Gaussian window, lr px."""
        if width not in self._cache:
            self._cache[width] = Moments.of(self.guide_lr, width, self.weight)
        return self._cache[width]

    def line(self) -> torch.Tensor:
        """Return the feature coefficients of the scene-wide regression."""
        out = self.components.new_zeros(len(self.components), len(self.features))
        out[:, -len(self.guide) - 1 : -1] = self._tensor(self.fit.slope)
        out[:, -1] = self._tensor(self.fit.intercept)
        return out

    def mixture(self, clusters: int) -> torch.Tensor:
        """Return the feature coefficients of a mixture, scene-wide regression included."""
        out = self.line()
        first = 0
        for k, mixture in self.fit.mixtures.items():
            last = first + mixture.coefficients.shape[1]
            if k == clusters:
                out[:, first:last] = self._tensor(mixture.coefficients)
            first = last
        return out

    def left_by(self, features: torch.Tensor) -> torch.Tensor:
        """Return what these feature coefficients leave unexplained on the lr grid."""
        fitted = features @ self.features_lr.flatten(1)
        return self.components - fitted.view_as(self.components)

    def _tensor(self, value: NDArray[np.float32]) -> torch.Tensor:
        return torch.as_tensor(value, device=self.components.device)


def pair(
    components: torch.Tensor,
    guide: torch.Tensor,
    fit: SceneRegression,
    operator: Operator,
    weight: torch.Tensor | None = None,
) -> Pair:
    """Prepare a window for the candidates.

    Parameters
    ----------
    components : Tensor, shape (component, y, x)
    guide : Tensor, shape (guide band, ratio * y, ratio * x)
        In its own units, without NaN.
    fit : SceneRegression
    operator : Operator
        The window's degradation.
    weight : Tensor, shape (y, x), optional
        How valid a pixel is, 0..1.
    """
    plain = standardise(guide, fit)
    clipped = clip_guide(plain, fit)
    features = _all_features(plain, clipped, fit)
    features_lr = operator.degrade(features)
    guide_lr = operator.degrade(clipped)
    return Pair(components, guide_lr, features, features_lr, clipped, weight, fit, operator)


def _all_features(plain: torch.Tensor, clipped: torch.Tensor, fit: SceneRegression) -> torch.Tensor:
    """Return membership x (guide, 1) of every mixture, then the guide itself, and 1."""
    design = torch.cat([clipped, torch.ones_like(clipped[:1])])
    shares = [_membership(clipped, m) for m in fit.mixtures.values()]
    width = len(design)
    out = plain.new_empty(sum(map(len, shares)) * width + width, *plain.shape[1:])
    first = 0
    for share in shares:
        last = first + len(share) * width
        torch.mul(share[:, None], design, out=out[first:last].view(-1, width, *plain.shape[1:]))
        first = last
    out[first:-1], out[-1] = plain, 1.0
    return out


def _membership(guide: torch.Tensor, mixture: Mixture) -> torch.Tensor:
    """Return how far each pixel belongs to each cluster, (cluster, y, x); sums to 1."""
    centres = torch.as_tensor(mixture.centres, device=guide.device)
    distance = torch.addmm((centres**2).sum(1)[:, None], centres, guide.flatten(1), alpha=-2)
    return torch.softmax(distance / (-2 * mixture.width**2), 0).view(-1, *guide.shape[1:])


# ---- the candidates ----------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One regression for the whole scene."""

    def fit(self, pair: Pair) -> Parts:
        """Return the fitted parts."""
        return Parts(pair.line())


@dataclass(frozen=True)
class Local:
    """The scene-wide regression, and its residual regressed in a Gaussian window (lr px)."""

    width: float
    ridge: float

    def fit(self, pair: Pair) -> Parts:
        """Return the fitted parts."""
        line = pair.line()
        return Parts(line, *pair.moments(self.width).regress(pair.left_by(line), self.ridge))


@dataclass(frozen=True)
class Clustered:
    """Regressions that change with the guide's colour."""

    clusters: int

    def fit(self, pair: Pair) -> Parts:
        """Return the fitted parts."""
        return Parts(pair.mixture(self.clusters))


@dataclass(frozen=True)
class ClusteredLocal:
    """Regressions that change with colour, and their residual regressed locally."""

    clusters: int
    width: float
    ridge: float

    def fit(self, pair: Pair) -> Parts:
        """Return the fitted parts."""
        mixture = pair.mixture(self.clusters)
        return Parts(mixture, *pair.moments(self.width).regress(pair.left_by(mixture), self.ridge))


@dataclass(frozen=True)
class Unguided:
    """No guide: the component's mean, which consistency then turns into kriging."""

    def fit(self, pair: Pair) -> Parts:
        """Return the fitted parts."""
        return Parts(torch.zeros_like(pair.line()))


Candidate = Line | Local | Clustered | ClusteredLocal | Unguided

# Widths and ridges: algorithm-lab.md section 7.3.
CANDIDATES: tuple[Candidate, ...] = (
    Local(1.0, 1e-3),
    Local(1.5, 3e-2),
    Local(1.5, 0.5),
    Line(),
    Clustered(6),
    ClusteredLocal(8, 1.5, 1e-2),
    Unguided(),
)


@dataclass(frozen=True)
class Start:
    """The weighted mean of all candidates, fitted on the lr grid and not yet evaluated."""

    pair: Pair
    parts: Parts

    def evaluate(self, first: int, last: int) -> torch.Tensor:
        """Return components first..last on the target grid, (component, ratio * y, ratio * x)."""
        pair, parts = self.pair, self.parts
        out = parts.features[first:last] @ pair.features.flatten(1)
        out = out.view(-1, *pair.features.shape[1:])
        if parts.intercept is not None:
            out += pair.operator.upsample(parts.intercept[first:last])
        if parts.slopes is not None:
            for slope, guide in zip(parts.slopes, pair.guide, strict=True):
                out.addcmul_(pair.operator.upsample(slope[first:last]), guide)
        return out


def mix(pair: Pair, weights: torch.Tensor, candidates: Sequence[Candidate] = CANDIDATES) -> Start:
    """Fit all candidates and take their weighted mean.

    Parameters
    ----------
    pair : Pair
        The window.
    weights : Tensor, shape (component, candidate)
        Each row sums to 1.
    candidates : sequence of Candidate
        In the order of the weights' columns.
    """
    total: Parts | None = None
    for candidate, weight in zip(candidates, weights.T, strict=True):
        if bool((weight != 0).any()):
            total = _add(total, candidate.fit(pair), weight)
    return Start(pair, total or Unguided().fit(pair))


def _add(total: Parts | None, parts: Parts, weight: torch.Tensor) -> Parts:
    plane = weight[:, None, None]
    scaled = Parts(
        parts.features * weight[:, None],
        None if parts.slopes is None else parts.slopes * plane,
        None if parts.intercept is None else parts.intercept * plane,
    )
    if total is None:
        return scaled
    return Parts(
        total.features + scaled.features,
        _sum(total.slopes, scaled.slopes),
        _sum(total.intercept, scaled.intercept),
    )


def _sum(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
    return b if a is None else a if b is None else a + b
