"""The inputs of the candidate regressions in one window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import Operator
from dualsr_geo.fusion.few_bands.logarithms import logarithms
from dualsr_geo.fusion.local_regression import Moments
from dualsr_geo.fusion.scene_regression import ClusterRegression, SceneRegression

# Size of the planes of a strip of rows, bytes, and fewest rows of a strip.
STRIP_BYTES = 1 << 20
MIN_STRIP_ROWS = 4
# The key of the logarithms among the features.
LOGARITHMS = -1
# Smallest logarithm of a membership over the largest one of the pixel.
MIN_LOG_MEMBERSHIP = -40.0


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
class GuideFeatures:
    """Pixel features of a window's guide, formed a few rows at a time, because all of them leave the cache.

    They are membership x (guide, 1) of every cluster regression, the guide's logarithms if the fit has them, then the guide
    itself, and 1.

    Attributes
    ----------
    standardised, clipped : Tensor, shape (guide band, Y, X)
    fit : SceneRegression
    """

    standardised: torch.Tensor
    clipped: torch.Tensor
    fit: SceneRegression

    @cached_property
    def spans(self) -> dict[int, slice]:
        """The features of each cluster regression by its number of clusters, under `LOGARITHMS` those, under 0 the others."""
        width, first, out = len(self.clipped) + 1, 0, {}
        for count, regression in self.fit.clusters.items():
            out[count] = slice(first, first + len(regression.centres) * width)
            first = out[count].stop
        if self.fit.lowest is not None:
            out[LOGARITHMS] = slice(first, first + len(self.clipped))
            first = out[LOGARITHMS].stop
        out[0] = slice(first, first + width)
        return out

    def __len__(self) -> int:
        """Return the number of features."""
        return int(self.spans[0].stop)

    def used_by(self, coefficients: torch.Tensor) -> tuple[int, ...]:
        """Return the keys of `spans` whose coefficients (component, feature) are not all 0; at least one."""
        used = tuple(key for key, span in self.spans.items() if bool(coefficients[:, span].any()))
        return used or (0,)

    def strips(self, planes: int) -> Iterator[slice]:
        """Yield strips of rows, of which so many planes stay in the cache."""
        height, width = self.clipped.shape[1:]
        rows = max(MIN_STRIP_ROWS, STRIP_BYTES // (4 * planes * width))
        rows = rows if self.clipped.device.type == "cpu" else height
        return (slice(low, min(low + rows, height)) for low in range(0, height, rows))

    def rows(self, rows: slice = slice(None), keys: Sequence[int] | None = None) -> torch.Tensor:
        """Return the features of some rows, (feature, y, X).

        Parameters
        ----------
        rows : slice
            Of the target grid.
        keys : sequence of int, optional
            Of `spans`; by default all.
        """
        keys = tuple(self.spans) if keys is None else keys
        clipped, width = self.clipped[:, rows], len(self.clipped) + 1
        sizes = [self.spans[key].stop - self.spans[key].start for key in keys]
        out = clipped.new_empty(sum(sizes), *clipped.shape[1:])
        for key, part in zip(keys, torch.split(out, sizes), strict=True):
            if key == LOGARITHMS:
                part[:] = self._logarithms(rows)
            elif key:
                membership = _membership(clipped, self.fit.clusters[key])
                each = part.view(-1, width, *clipped.shape[1:])
                torch.mul(membership[:, None], clipped, out=each[:, :-1])
                each[:, -1] = membership
            else:
                part[:-1], part[-1] = self.standardised[:, rows], 1.0
        return out

    def _logarithms(self, rows: slice) -> torch.Tensor:
        assert self.fit.lowest is not None
        like = self.clipped
        mean, std = (torch.as_tensor(v).to(like)[:, None, None] for v in (self.fit.guide_mean, self.fit.guide_std))
        return logarithms(like[:, rows] * std + mean, self.fit.lowest)

    def degraded(self, key: int, operator: Operator) -> torch.Tensor:
        """Return the features of a key of `spans` on the lr grid, (feature, y, x)."""
        span = self.spans[key]
        count = span.stop - span.start
        out = self.clipped.new_empty(count, self.clipped.shape[1], operator.blur_x.shape[0])
        for rows in self.strips(count):
            out[:, rows] = operator.blur_x.columns(self.rows(rows, (key,)))
        return operator.blur_y.rows(out)


@dataclass(frozen=True)
class RegressionInputs:
    """A window of the scene and its guide, prepared for the candidates.

    Attributes
    ----------
    components : Tensor, shape (component, y, x)
        Spectral coefficients of the lr window.
    guide_lr : Tensor, shape (guide band, y, x)
        The clipped, standardised guide, degraded.
    features : GuideFeatures
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
    features: GuideFeatures
    guide: torch.Tensor
    weight: torch.Tensor | None
    fit: SceneRegression
    operator: Operator
    _cache: dict[tuple[float, bool], Moments] = field(default_factory=dict, compare=False)
    _degraded: dict[int, torch.Tensor] = field(default_factory=dict, compare=False)

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
        slope, count = self.fit.lines[name].slope, len(self.guide)
        out = self._line(slope[:, :count], self.fit.lines[name].intercept)
        if slope.shape[1] > count:
            out[:, self.features.spans[LOGARITHMS]] = self._tensor(slope[:, count:])
        return out

    def _line(self, slope: NDArray[np.float32], intercept: NDArray[np.float32]) -> torch.Tensor:
        out = self.components.new_zeros(len(self.components), len(self.features))
        out[:, -len(self.guide) - 1 : -1] = self._tensor(slope)
        out[:, -1] = self._tensor(intercept)
        return out

    def clustered(self, clusters: int) -> torch.Tensor:
        """Return the feature coefficients of a cluster regression, the scene-wide one included, (component, feature)."""
        out = self.scene_wide()
        out[:, self.features.spans[clusters]] = self._tensor(self.fit.clusters[clusters].coefficients)
        return out

    def residual(self, features: torch.Tensor) -> torch.Tensor:
        """Return what these feature coefficients do not explain on the lr grid, (component, y, x)."""
        residual = self.components.flatten(1)
        for key in self.features.used_by(features):
            if key not in self._degraded:
                self._degraded[key] = self.features.degraded(key, self.operator)
            residual = torch.addmm(
                residual, features[:, self.features.spans[key]], self._degraded[key].flatten(1), alpha=-1
            )
        return residual.view_as(self.components)

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
    features = GuideFeatures(standardised, clipped, fit)
    return RegressionInputs(components, operator.degrade(clipped), features, clipped, weight, fit, operator)


def _membership(guide: torch.Tensor, regression: ClusterRegression) -> torch.Tensor:
    """Return the membership of each pixel in each cluster, (cluster, y, x), 0..1; sums to 1."""
    centres = torch.as_tensor(regression.centres, device=guide.device)
    # Squared distance but for |guide|^2, which the softmax cancels.
    scale = 1 / (2 * regression.width**2)
    distance = torch.addmm((-scale * (centres**2).sum(1))[:, None], centres * (2 * scale), guide.flatten(1))
    # A softmax whose smallest values are rounding of the largest, but not denormal: those take ten times as long.
    distance.sub_(distance.amax(0)).clamp_(min=MIN_LOG_MEMBERSHIP).exp_()
    return distance.div_(distance.sum(0)).view(-1, *guide.shape[1:])
