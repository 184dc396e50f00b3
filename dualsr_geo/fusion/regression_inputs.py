"""What the candidate regressions read of one window."""

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

    def scene_wide(self) -> torch.Tensor:
        """Return the feature coefficients of the scene-wide regression."""
        out = self.components.new_zeros(len(self.components), len(self.features))
        out[:, -len(self.guide) - 1 : -1] = self._tensor(self.fit.slope)
        out[:, -1] = self._tensor(self.fit.intercept)
        return out

    def clustered(self, clusters: int) -> torch.Tensor:
        """Return the feature coefficients of a mixture, scene-wide regression included."""
        out = self.scene_wide()
        first = 0
        for k, mixture in self.fit.clusters.items():
            last = first + mixture.coefficients.shape[1]
            if k == clusters:
                out[:, first:last] = self._tensor(mixture.coefficients)
            first = last
        return out

    def residual(self, features: torch.Tensor) -> torch.Tensor:
        """Return what these feature coefficients leave unexplained on the lr grid."""
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
    return RegressionInputs(components, guide_lr, features, features_lr, clipped, weight, fit, operator)


def _all_features(plain: torch.Tensor, clipped: torch.Tensor, fit: SceneRegression) -> torch.Tensor:
    """Return membership x (guide, 1) of every mixture, then the guide itself, and 1."""
    design = torch.cat([clipped, torch.ones_like(clipped[:1])])
    shares = [_membership(clipped, m) for m in fit.clusters.values()]
    width = len(design)
    out = plain.new_empty(sum(map(len, shares)) * width + width, *plain.shape[1:])
    first = 0
    for share in shares:
        last = first + len(share) * width
        torch.mul(share[:, None], design, out=out[first:last].view(-1, width, *plain.shape[1:]))
        first = last
    out[first:-1], out[-1] = plain, 1.0
    return out


def _membership(guide: torch.Tensor, mixture: ClusterRegression) -> torch.Tensor:
    """Return how far each pixel belongs to each cluster, (cluster, y, x); sums to 1."""
    centres = torch.as_tensor(mixture.centres, device=guide.device)
    distance = torch.addmm((centres**2).sum(1)[:, None], centres, guide.flatten(1), alpha=-2)
    return torch.softmax(distance / (-2 * mixture.width**2), 0).view(-1, *guide.shape[1:])
