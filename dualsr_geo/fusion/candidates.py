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
from dataclasses import dataclass

import torch

from dualsr_geo.fusion.regression_inputs import RegressionInputs


@dataclass(frozen=True)
class FittedCandidate:
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


# ---- the candidates ----------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One regression for the whole scene."""

    def fit(self, pair: RegressionInputs) -> FittedCandidate:
        """Return the fitted parts."""
        return FittedCandidate(pair.scene_wide())


@dataclass(frozen=True)
class Local:
    """The scene-wide regression, and its residual regressed in a Gaussian window (lr px)."""

    width: float
    ridge: float

    def fit(self, pair: RegressionInputs) -> FittedCandidate:
        """Return the fitted parts."""
        line = pair.scene_wide()
        return FittedCandidate(line, *pair.moments(self.width).regress(pair.residual(line), self.ridge))


@dataclass(frozen=True)
class Clustered:
    """Regressions that change with the guide's colour."""

    clusters: int

    def fit(self, pair: RegressionInputs) -> FittedCandidate:
        """Return the fitted parts."""
        return FittedCandidate(pair.clustered(self.clusters))


@dataclass(frozen=True)
class ClusteredLocal:
    """Regressions that change with colour, and their residual regressed locally."""

    clusters: int
    width: float
    ridge: float

    def fit(self, pair: RegressionInputs) -> FittedCandidate:
        """Return the fitted parts."""
        mixture = pair.clustered(self.clusters)
        return FittedCandidate(mixture, *pair.moments(self.width).regress(pair.residual(mixture), self.ridge))


@dataclass(frozen=True)
class Unguided:
    """No guide: the component's mean, which consistency then turns into kriging."""

    def fit(self, pair: RegressionInputs) -> FittedCandidate:
        """Return the fitted parts."""
        return FittedCandidate(torch.zeros_like(pair.scene_wide()))


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
class FittedMixture:
    """The weighted mean of all candidates, fitted on the lr grid and not yet evaluated."""

    pair: RegressionInputs
    parts: FittedCandidate

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


def fit_mixture(
    pair: RegressionInputs, weights: torch.Tensor, candidates: Sequence[Candidate] = CANDIDATES
) -> FittedMixture:
    """Fit all candidates and take their weighted mean.

    Parameters
    ----------
    pair : RegressionInputs
        The window.
    weights : Tensor, shape (component, candidate)
        Each row sums to 1.
    candidates : sequence of Candidate
        In the order of the weights' columns.
    """
    total: FittedCandidate | None = None
    for candidate, weight in zip(candidates, weights.T, strict=True):
        if bool((weight != 0).any()):
            total = _add(total, candidate.fit(pair), weight)
    return FittedMixture(pair, total or Unguided().fit(pair))


def _add(total: FittedCandidate | None, parts: FittedCandidate, weight: torch.Tensor) -> FittedCandidate:
    plane = weight[:, None, None]
    scaled = FittedCandidate(
        parts.features * weight[:, None],
        None if parts.slopes is None else parts.slopes * plane,
        None if parts.intercept is None else parts.intercept * plane,
    )
    if total is None:
        return scaled
    return FittedCandidate(
        total.features + scaled.features,
        _sum(total.slopes, scaled.slopes),
        _sum(total.intercept, scaled.intercept),
    )


def _sum(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
    return b if a is None else a if b is None else a + b
