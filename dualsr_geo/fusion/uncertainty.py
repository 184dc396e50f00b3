"""Uncertainty of a product: the standard deviation of the error of every band and pixel.

The level of a band is calibrated on the scene's own Wald pairs (`dualsr_geo.surveying.error_calibration`). Its
distribution over the pixels follows predictors that a tile computes, and the sensor's noise is added:

    sigma^2 = ((size_b prod_j (f_j / mean f_j + 0.1)^beta_j)^2 + floor_b^2) h(brightness)^2

The predictors f_j of a pixel are the detail that the product has beyond its own low frequencies and, where there
is a guide, the disagreement of the candidate regressions. Their means over the scene are part of the survey, so
that a tile is a pure function.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.consistency import Consistency
from dualsr_geo.degradation.operators import BLOCK_LR, Banded
from dualsr_geo.fusion import candidates
from dualsr_geo.fusion.coarse_stage import GuidedStart
from dualsr_geo.fusion.error_model import ErrorLevel, ErrorModel
from dualsr_geo.fusion.local_regression import REACH_WIDTHS, gaussian_window
from dualsr_geo.fusion.regression_inputs import prepare_inputs
from dualsr_geo.raster.windows import Window

# Exponents of the predictors: of detail and disagreement where there is a guide, and of detail where there is none.
GUIDED_DETAIL_EXPONENT, DISAGREEMENT_EXPONENT, UNGUIDED_DETAIL_EXPONENT = 0.5, 0.4, 0.9
# Added to a predictor, as a share of its mean: where it is 0 the error is not.
PREDICTOR_OFFSET = 0.1
# Widths of the Gaussians that smooth the predictors: of detail in lr pixels, of disagreement in hr pixels. Both
# end at `REACH_WIDTHS` widths.
DETAIL_WIDTH_LR, DISAGREEMENT_WIDTH_PX = 1 / 2.5, 1.0
# Leading components whose disagreement counts; 8 give the coverage of all to within 0.001.
LEADING_COMPONENTS = 8


@dataclass(frozen=True)
class ConsistentStart:
    """The training-free estimate of a window, as spectral components.

    Attributes
    ----------
    expand : Tensor, shape (band, component)
    components : Tensor, shape (component, y, x)
    hr : Tensor, shape (component, ratio * y, ratio * x)
        The estimate, consistent with the scene.
    closed : Consistency
        Where the guide is used; everywhere without one.
    guided : GuidedStart or None
    weight : Tensor, shape (y, x), or None
        How valid a pixel is, 0..1; None where all are.
    """

    expand: Tensor
    components: Tensor
    hr: Tensor
    closed: Consistency
    guided: GuidedStart | None
    weight: Tensor | None


@dataclass(frozen=True)
class ErrorPredictors:
    """Predictors of the error in the core of a window; bands are computed when they are read.

    Attributes
    ----------
    expand : Tensor, shape (band, component)
    detail : Tensor, shape (component, Y, X)
        The estimate without its own low frequencies, on the core and a margin.
    smooth : (Banded, Banded)
        From the core and its margin to the core, along y and x.
    disagreement : Tensor, shape (pair of leading components, Y, X), or None
        Mean products of the candidates' differences from the estimate, smoothed, on the core; the square of
        a band's disagreement is a sum of them. None without a guide.
    brightness : Tensor, shape (Y, X)
        Mean of the estimate over the bands, less that of the scene, on the core.
    """

    expand: Tensor
    detail: Tensor
    smooth: tuple[Banded, Banded]
    disagreement: Tensor | None
    brightness: Tensor

    def bands(self, rows: slice) -> tuple[Tensor, Tensor | None]:
        """Return detail and disagreement of some bands, (band, Y, X) each, physical units."""
        expand = self.expand[rows]
        unsmoothed = (expand @ self.detail.flatten(1)).abs_().view(-1, *self.detail.shape[1:])
        detail = _smoothed(unsmoothed, self.smooth)
        if self.disagreement is None:
            return detail, None
        first, second = _pairs(expand)
        square = (expand[:, first] * expand[:, second]) @ self.disagreement.flatten(1)
        return detail, square.clamp_min_(0).sqrt_().view_as(detail)


def _pairs(expand: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pairs of leading components of (band, component), first and second of each."""
    count = min(LEADING_COMPONENTS, expand.shape[1])
    first, second = torch.triu_indices(count, count, device=expand.device)
    return first, second


def _smoothed(planes: Tensor, smooth: tuple[Banded, Banded]) -> Tensor:
    rows, columns = smooth
    return columns.columns(rows.rows(planes))


def error_predictors(start: ConsistentStart, core: Window, ratio: int) -> ErrorPredictors:
    """Return the predictors of the error in a window's core.

    Parameters
    ----------
    start : ConsistentStart
    core : Window
        lr pixels, in the window's own coordinates.
    ratio : int
    """
    height, width = start.components.shape[1:]
    margin = math.ceil(REACH_WIDTHS * max(DETAIL_WIDTH_LR, DISAGREEMENT_WIDTH_PX / ratio))
    outer, inner = core.grown(margin).clipped((height, width)).scaled(ratio), core.scaled(ratio)
    rows, columns = outer.slices
    operator = start.closed.operator
    low_y, low_x = operator.cubic_y.cut(rows.start, rows.stop), operator.cubic_x.cut(columns.start, columns.stop)
    detail = start.hr[:, rows, columns] - low_y.rows(low_x.columns(operator.degrade(start.hr)))
    narrow, broad = (
        (
            _window(range(outer.y0, outer.y1), range(inner.y0, inner.y1), width_px, ratio, detail.device),
            _window(range(outer.x0, outer.x1), range(inner.x0, inner.x1), width_px, ratio, detail.device),
        )
        for width_px in (DISAGREEMENT_WIDTH_PX, DETAIL_WIDTH_LR * ratio)
    )
    disagreement = None if start.guided is None else _smoothed(_disagreement(start, outer), narrow)
    inner_rows, inner_columns = inner.slices
    brightness = torch.tensordot(start.expand.mean(0), start.hr[:, inner_rows, inner_columns], 1)
    return ErrorPredictors(start.expand, detail, broad, disagreement, brightness)


def _disagreement(start: ConsistentStart, outer: Window) -> Tensor:
    """Return mean products of the candidates less the estimate, for pairs of leading components, (pair, Y, X)."""
    first, second = _pairs(start.expand)
    total = start.hr.new_zeros(len(first), *outer.shape)
    for difference in _differences(start, outer):
        for out, k, j in zip(total, first.tolist(), second.tolist(), strict=True):
            # Both orders of a pair.
            out.addcmul_(difference[k], difference[j], value=(2 - (k == j)) / (len(candidates.usable(1)) - 1))
    return total


def _differences(start: ConsistentStart, outer: Window) -> Iterator[Tensor]:
    """Yield the candidates, consistent, less the estimate, (leading component, Y, X).

    The last candidate, which reads no guide, is left out: its difference is the guide's detail. So are those for
    guides of several bands, which differ little from the others where these agree.
    """
    guided, closed = start.guided, start.closed
    assert guided is not None
    count = min(LEADING_COMPONENTS, len(start.components))
    weight = guided.guide.weight
    if start.weight is not None:
        weight = start.weight if weight is None else weight * start.weight
    fit = guided.fit.combined(np.eye(count, len(start.components), dtype=np.float32))
    inputs = prepare_inputs(start.components[:count], guided.guide.values, fit, closed.operator, weight)
    for index in candidates.usable(1)[:-1]:
        weights = torch.zeros(count, len(candidates.CANDIDATES)).to(start.hr)
        weights[:, index] = 1
        estimate = candidates.fit_mixture(inputs, weights).evaluate(0, count)
        estimate += closed.spread(closed.residual(estimate, inputs.components))
        yield (estimate - start.hr[:count])[(slice(None), *outer.slices)]


def _window(inputs: range, outputs: range, width: float, ratio: int, device: torch.device) -> Banded:
    """Return a Gaussian from the pixels of a core and its margin to those of the core."""
    return Banded(gaussian_window(outputs, inputs, width, REACH_WIDTHS * width), BLOCK_LR * ratio, device)


def relative_error(detail: Tensor, disagreement: Tensor | None, means: Sequence[NDArray[np.float32] | None]) -> Tensor:
    """Return the error of pixels over its value where all predictors have their means, (band, ...).

    Parameters
    ----------
    detail, disagreement : Tensor, shape (band, ...)
        `disagreement` is None without a guide.
    means : (array, array or None), shape (band,)
        The predictors' means over the scene.
    """
    if disagreement is None or means[1] is None:
        return _power(detail, means[0], UNGUIDED_DETAIL_EXPONENT)
    return _power(detail, means[0], GUIDED_DETAIL_EXPONENT).mul_(_power(disagreement, means[1], DISAGREEMENT_EXPONENT))


def _power(predictor: Tensor, mean: NDArray[np.float32] | None, exponent: float) -> Tensor:
    assert mean is not None
    scale = _column(mean, predictor).clamp_min(torch.finfo(predictor.dtype).tiny)
    return (predictor / scale + PREDICTOR_OFFSET).pow_(exponent)


def standard_deviation(model: ErrorModel, predictors: ErrorPredictors, rows: slice, blend: Tensor | None) -> Tensor:
    """Return the standard deviation of the error of some bands of a core.

    Parameters
    ----------
    model : ErrorModel
    predictors : ErrorPredictors
    rows : slice
        Of the used bands.
    blend : Tensor, shape (Y, X), or None
        Weight of the guide, 0..1; None where it is used everywhere, and without a guide.

    Returns
    -------
    Tensor, shape (band, Y, X)
        Physical units.
    """
    detail, disagreement = predictors.bands(rows)
    level, floor = None if disagreement is None else model.guided, model.floor[rows]
    square = None if level is None else _square(level, floor, detail, disagreement, predictors.brightness, rows)
    if square is None or blend is not None:
        unguided = _square(model.unguided, floor, detail, None, predictors.brightness, rows)
        square = unguided if square is None or blend is None else torch.lerp(unguided, square, blend)
    return square.sqrt_()


def _square(
    level: ErrorLevel,
    floor: NDArray[np.float32],
    detail: Tensor,
    disagreement: Tensor | None,
    brightness: Tensor,
    rows: slice,
) -> Tensor:
    means = level.detail[rows], None if level.disagreement is None else level.disagreement[rows]
    square = relative_error(detail, disagreement, means).mul_(_column(level.size[rows], detail)).square_()
    square.add_(_column(floor, square).square())
    return square if level.brightness is None else square.mul_(level.brightness.at(brightness).square_())


def _column(values: NDArray[np.float32], like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like).view(-1, *[1] * (like.ndim - 1))
