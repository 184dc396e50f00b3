"""The inputs of the candidate regressions in one window."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import Operator
from dualsr_geo.fusion.local_regression import Moments
from dualsr_geo.fusion.scene_regression import ClusterRegression, SceneRegression


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
class RegressionInputs:
    """A window of the scene and its guide, prepared for the candidates.

    Attributes
    ----------
    components : Tensor, shape (component, y, x)
        Spectral coefficients of the lr window.
    guide_lr : Tensor, shape (guide band, y, x)
        The clipped, standardised guide, degraded.
    features : Tensor, shape (feature, ratio * y, ratio * x)
        Pixel features of the guide: those of each cluster regression, the standardised guide, and 1.
    features_lr : Tensor, shape (feature, y, x)
        The same, degraded.
    guide : Tensor, shape (guide band, ratio * y, ratio * x)
        The clipped, standardised guide.
    weight : Tensor, shape (y, x), or None
        How valid a pixel is, 0..1; None where all are.
    fit : SceneRegression
    operator : Operator
        The window's degradation.
    """

    components: torch.Tensor
    guide_lr: torch.Tensor
    features: torch.Tensor
    features_lr: torch.Tensor
    guide: torch.Tensor
    weight: torch.Tensor | None
    fit: SceneRegression
    operator: Operator
    _cache: dict[tuple[float, bool], Moments] = field(default_factory=dict, compare=False)

    def moments(self, width: float, *, principal: bool = False) -> Moments:
        """Return the guide's means and covariances in a Gaussian window.

        Parameters
        ----------
        width : float
            lr pixels.
        principal : bool
            Whether the guide is reduced to its first principal direction, of which it has several bands.
        """
        key = width, principal
        if key not in self._cache:
            guide = self.guide_lr
            if principal:
                guide = torch.einsum("g,gyx->yx", self.direction, guide)[None]
            self._cache[key] = Moments.of(guide, width, self.weight)
        return self._cache[key]

    @property
    def direction(self) -> torch.Tensor:
        """The first principal direction of a guide of several bands, (guide band,)."""
        assert self.fit.direction is not None
        return self._tensor(self.fit.direction)

    def scene_wide(self) -> torch.Tensor:
        """Return the feature coefficients of the scene-wide regression, (component, feature)."""
        return self._line(self.fit.slope, self.fit.intercept)

    def line(self, name: str) -> torch.Tensor:
        """Return the feature coefficients of another regression of `SceneRegression.lines`, (component, feature)."""
        return self._line(self.fit.lines[name].slope, self.fit.lines[name].intercept)

    def _line(self, slope: NDArray[np.float32], intercept: NDArray[np.float32]) -> torch.Tensor:
        out = self.components.new_zeros(len(self.components), len(self.features))
        out[:, -len(self.guide) - 1 : -1] = self._tensor(slope)
        out[:, -1] = self._tensor(intercept)
        return out

    def clustered(self, clusters: int) -> torch.Tensor:
        """Return the feature coefficients of a cluster regression, the scene-wide one included, (component, feature)."""
        out = self.scene_wide()
        first = 0
        for count, regression in self.fit.clusters.items():
            last = first + regression.coefficients.shape[1]
            if count == clusters:
                out[:, first:last] = self._tensor(regression.coefficients)
            first = last
        return out

    def residual(self, features: torch.Tensor) -> torch.Tensor:
        """Return what these feature coefficients do not explain on the lr grid, (component, y, x)."""
        fitted = features @ self.features_lr.flatten(1)
        return self.components - fitted.view_as(self.components)

    def _tensor(self, value: NDArray[np.float32]) -> torch.Tensor:
        return torch.as_tensor(value, device=self.components.device)


def prepare_inputs(
    components: torch.Tensor,
    guide: torch.Tensor,
    fit: SceneRegression,
    operator: Operator,
    weight: torch.Tensor | None = None,
) -> RegressionInputs:
    """Return the inputs of the candidates in one window.

    Parameters
    ----------
    components : Tensor, shape (component, y, x)
    guide : Tensor, shape (guide band, ratio * y, ratio * x)
        Physical units, without NaN.
    fit : SceneRegression
    operator : Operator
        The window's degradation.
    weight : Tensor, shape (y, x), optional
        How valid a pixel is, 0..1.
    """
    standardised = standardise(guide, fit)
    clipped = clip_guide(standardised, fit)
    features = _all_features(standardised, clipped, fit)
    features_lr = operator.degrade(features)
    guide_lr = operator.degrade(clipped)
    return RegressionInputs(components, guide_lr, features, features_lr, clipped, weight, fit, operator)


def _all_features(standardised: torch.Tensor, clipped: torch.Tensor, fit: SceneRegression) -> torch.Tensor:
    """Return membership x (guide, 1) of every cluster regression, then the guide itself, and 1."""
    design = torch.cat([clipped, torch.ones_like(clipped[:1])])
    memberships = [_membership(clipped, regression) for regression in fit.clusters.values()]
    width = len(design)
    out = clipped.new_empty(sum(map(len, memberships)) * width + width, *clipped.shape[1:])
    first = 0
    for membership in memberships:
        last = first + len(membership) * width
        torch.mul(membership[:, None], design, out=out[first:last].view(-1, width, *clipped.shape[1:]))
        first = last
    out[first:-1], out[-1] = standardised, 1.0
    return out


def _membership(guide: torch.Tensor, regression: ClusterRegression) -> torch.Tensor:
    """Return the membership of each pixel in each cluster, (cluster, y, x), 0..1; sums to 1."""
    centres = torch.as_tensor(regression.centres, device=guide.device)
    # Squared distance but for |guide|^2, which the softmax cancels.
    distance = torch.addmm((centres**2).sum(1)[:, None], centres, guide.flatten(1), alpha=-2)
    return torch.softmax(distance / (-2 * regression.width**2), 0).view(-1, *guide.shape[1:])
