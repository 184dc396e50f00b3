"""The coarse stage of one window: a model along the spectrum, from filled lr values to hr values.

Everything here is a pure function of a scene window, a guide window and the survey's values;
its support is finite, so a tile with its halo gives what the whole scene would give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from dualsr_geo.degradation.consistency import Consistency
from dualsr_geo.degradation.operators import Operator
from dualsr_geo.fusion import candidates
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.prepared_guide import PreparedGuide
from dualsr_geo.fusion.regression_inputs import prepare_inputs
from dualsr_geo.fusion.scene_regression import SceneRegression

# Components evaluated at once: keeps planes in the cache.
CHUNK = 8


@dataclass(frozen=True)
class GuidedStart:
    """What the regressions need in one window.

    Attributes
    ----------
    guide : PreparedGuide
    fit : SceneRegression
        Their scene-wide part.
    mixture : Tensor, shape (component, candidate)
        Weights of the candidates.
    """

    guide: PreparedGuide
    fit: SceneRegression
    mixture: torch.Tensor


def sharpen(
    components: torch.Tensor,
    weight: torch.Tensor | None,
    guided: GuidedStart | None,
    closed: Consistency,
    alone: Consistency,
    *,
    consistent: bool = True,
) -> torch.Tensor:
    """Sharpen the spectral components of a window.

    Parameters
    ----------
    components : Tensor, shape (component, y, x)
    weight : Tensor, shape (y, x), or None
        How valid a pixel is.
    guided : GuidedStart or None
        None without a guide.
    closed, alone : Consistency
        The fine stage where the guide is, and where it is not.
    consistent : bool
        Whether the fine stage runs.

    Returns
    -------
    Tensor, shape (component, ratio * y, ratio * x)
    """
    operator = closed.operator
    start = None if guided is None else _start(components, weight, guided, operator)
    blend = None if guided is None else guided.guide.blend
    out = components.new_empty(len(components), operator.cubic_y.shape[0], operator.cubic_x.shape[0])
    for first, last in _chunks(len(components)):
        observed = components[first:last]
        made = None if start is None else start.evaluate(first, last)
        if made is not None and consistent:
            made += closed.spread(_known(closed.residual(made, observed), weight), first)
        if made is None or blend is not None:
            plain = alone.spread(observed, first) if consistent else operator.upsample(observed)
            made = plain if made is None or blend is None else torch.lerp(plain, made, blend)
        out[first:last] = made
    return out


def _start(
    components: torch.Tensor, weight: torch.Tensor | None, guided: GuidedStart, operator: Operator
) -> candidates.FittedMixture:
    both = _both(weight, guided.guide.weight)
    pair = prepare_inputs(components, guided.guide.values, guided.fit, operator, both)
    return candidates.fit_mixture(pair, guided.mixture)


def _both(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
    return b if a is None else a if b is None else a * b


def _known(residual: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Continue a residual into holes from its neighbours, so that nothing rings at their edge."""
    if weight is None:
        return residual
    hole = residual.new_full((), torch.nan)
    return fill_holes(torch.where(weight > 0, residual, hole), residual.new_zeros(len(residual)))[0]


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    return ((i, min(i + CHUNK, count)) for i in range(0, count, CHUNK))
