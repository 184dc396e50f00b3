"""The coarse stage of one window: its spectral components, from the lr grid to the target grid.

It is a pure function of a scene window, a guide window and the survey's values, and of finite support: a tile
with its halo gives the values that the whole scene gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from dualsr_geo.degradation.consistency import Consistency
from dualsr_geo.degradation.operators import Operator
from dualsr_geo.fusion.candidates import fit_mixture
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.prepared_guide import PreparedGuide
from dualsr_geo.fusion.regression_inputs import RegressionInputs, prepare_inputs
from dualsr_geo.fusion.scene_regression import SceneRegression

# Components that are evaluated together; more of them leave the cache.
CHUNK_COMPONENTS = 8


@dataclass(frozen=True)
class GuidedStart:
    """The guide of a window and the regressions on it.

    Attributes
    ----------
    guide : PreparedGuide
    fit : SceneRegression
    mixture : Tensor, shape (component, candidate)
        Weights of the candidates.
    passes : int
        How often the residual is smoothed before the closed form adds it.
    inputs : RegressionInputs, optional
        Those of `regression_inputs`, where they are needed more than once; they take much memory.
    """

    guide: PreparedGuide
    fit: SceneRegression
    mixture: torch.Tensor
    passes: int = 0
    inputs: RegressionInputs | None = None

    def regression_inputs(
        self, components: torch.Tensor, weight: torch.Tensor | None, operator: Operator
    ) -> RegressionInputs:
        """Return the inputs of the candidates; the parameters are those of `sharpen`."""
        if self.inputs is not None:
            return self.inputs
        both = _product(weight, self.guide.weight)
        return prepare_inputs(components, self.guide.values, self.fit, operator, both)

    def with_inputs(self, components: torch.Tensor, weight: torch.Tensor | None, operator: Operator) -> GuidedStart:
        """Return the same with the inputs of the candidates."""
        return replace(self, inputs=self.regression_inputs(components, weight, operator))


def sharpen(
    components: torch.Tensor,
    weight: torch.Tensor | None,
    guided: GuidedStart | None,
    closed: Consistency,
    closed_unguided: Consistency,
    *,
    consistent: bool = True,
) -> torch.Tensor:
    """Sharpen the spectral components of a window.

    Parameters
    ----------
    components : Tensor, shape (component, y, x)
    weight : Tensor, shape (y, x), or None
        How valid a pixel is, 0..1; None where all are.
    guided : GuidedStart or None
        None without a guide.
    closed, closed_unguided : Consistency
        Data consistency where the guide is used, and where it is not.
    consistent : bool
        Whether the result is made consistent with the scene.

    Returns
    -------
    Tensor, shape (component, ratio * y, ratio * x)
    """
    operator, blend = closed.operator, None if guided is None else guided.guide.blend
    out = None
    if guided is not None:
        mixture = fit_mixture(guided.regression_inputs(components, weight, operator), guided.mixture)
        out, degraded = mixture.evaluate_degraded()
        if consistent:
            closed.add_spread(out, smoothed(continued(components - degraded, weight), guided.passes))
        if blend is None:
            return out
    return _blended(components, out, blend, closed_unguided, consistent=consistent)


def _blended(
    components: torch.Tensor,
    guided: torch.Tensor | None,
    blend: torch.Tensor | None,
    closed: Consistency,
    *,
    consistent: bool,
) -> torch.Tensor:
    """Return the components without a guide, blended with those that have one, where there are such."""
    operator = closed.operator
    out = components.new_empty(len(components), operator.cubic_y.shape[0], operator.cubic_x.shape[0])
    for first, last in _chunks(len(components)):
        observed = components[first:last]
        estimate = closed.spread(observed, first) if consistent else operator.upsample(observed)
        if guided is not None and blend is not None:
            estimate = torch.lerp(estimate, guided[first:last], blend)
        out[first:last] = estimate
    return out


def _product(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
    return b if a is None else a if b is None else a * b


def continued(residual: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Continue a residual into holes from its neighbours, so that nothing rings at their edge."""
    if weight is None:
        return residual
    hole = residual.new_full((), torch.nan)
    return fill_holes(torch.where(weight > 0, residual, hole), residual.new_zeros(len(residual)))[0]


def smoothed(planes: torch.Tensor, passes: int) -> torch.Tensor:
    """Return planes (..., y, x) smoothed by [1 2 1] / 4 along both axes; edges are repeated."""
    for _ in range(passes):
        p = torch.nn.functional.pad(planes, (1, 1, 1, 1), mode="replicate")
        p = (p[..., :-2, :] + 2 * p[..., 1:-1, :] + p[..., 2:, :]) / 4
        planes = (p[..., :-2] + 2 * p[..., 1:-1] + p[..., 2:]) / 4
    return planes


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    return ((i, min(i + CHUNK_COMPONENTS, count)) for i in range(0, count, CHUNK_COMPONENTS))
