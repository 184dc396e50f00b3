"""How far to believe a product: a standard deviation of its error for every band and pixel.

A level per band, taken once from the scene's own Wald pair (`calibration`), times a fixed shape of
two marks that a tile can see, and a floor of sensor noise
(research/algorithm-lab-2.md, B2: "band Wald level x fixed shape x octave trend + noise floor"):

    sigma^2 = (size_b prod_j (f_j / mean f_j + 0.1)^beta_j)^2 + floor_b^2

The marks f_j of a pixel are the detail that the product has beyond its own low frequencies, and,
where a guide is, how far the candidates of the regression lie apart. Their means over the scene
stand in the survey, so a tile is a pure function here, too.
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
from dualsr_geo.fusion.local_regression import gaussian_window
from dualsr_geo.fusion.regression_inputs import prepare_inputs
from dualsr_geo.raster.windows import Window

# Exponents of the marks: detail and spread where a guide is, detail alone elsewhere.
DETAIL_GUIDED, SPREAD, DETAIL_ALONE = 0.3, 0.4, 0.5
# A mark of zero is no proof; share of its mean.
LEAST_MARK = 0.1
# Detail is smoothed over a lr pixel (width: ratio / 2.5 hr px), spread over a few hr pixels; both
# windows end at 2.5 widths.
DETAIL_WIDTH, SPREAD_WIDTH, WIDTHS = 1 / 2.5, 1.0, 2.5
# Leading components that tell how far candidates lie apart: 8 say the same as all (coverage within 0.001).
LEADING = 8
# The last candidate knows no guide; it would say how sharp the guide is.
GUIDED_COUNT = len(candidates.CANDIDATES) - 1


@dataclass(frozen=True)
class ErrorLevel:
    """How large the errors of one kind of start are.

    Attributes
    ----------
    size : array of float32, shape (band,)
        Standard deviation where all marks are at their means, physical units.
    detail : array of float32, shape (band,)
        Mean of that mark over the scene.
    spread : array of float32, shape (band,), or None
        The same of the other mark; None without a guide.
    ratio : int
        Of the Wald pair.
    trend : float
        How errors grow from the scene degraded by 2 to the scene itself.
    growth : float
        Detail on the target grid over that on the Wald pair.
    """

    size: NDArray[np.float32]
    detail: NDArray[np.float32]
    spread: NDArray[np.float32] | None
    ratio: int
    trend: float
    growth: float


@dataclass(frozen=True)
class ErrorModel:
    """What a tile must know of a scene to say how far it may be off; part of the survey.

    Attributes
    ----------
    floor : array of float32, shape (band,)
        Noise that the sensor would have on the target grid, physical units; 0 on noisy scenes, whose
        Wald pairs have it in them.
    unguided : ErrorLevel
        Where no guide is.
    guided : ErrorLevel or None
        Where one is.
    """

    floor: NDArray[np.float32]
    unguided: ErrorLevel
    guided: ErrorLevel | None = None


@dataclass(frozen=True)
class ConsistentStart:
    """The training-free start of a window, as components; hr planes are held of the whole window.

    Attributes
    ----------
    expand : Tensor, shape (band, component)
    components : Tensor, shape (component, y, x)
    hr : Tensor, shape (component, ratio * y, ratio * x)
    closed : Consistency
        Where the guide is; anywhere without one.
    guided : GuidedStart or None
    weight : Tensor, shape (y, x), or None
        How valid a pixel is.
    """

    expand: Tensor
    components: Tensor
    hr: Tensor
    closed: Consistency
    guided: GuidedStart | None
    weight: Tensor | None


@dataclass(frozen=True)
class ErrorPredictors:
    """What tells of errors in the core of a window; bands are made when asked for.

    Attributes
    ----------
    expand : Tensor, shape (band, component)
    detail : Tensor, shape (component, y, x)
        The start without its own low frequencies, on the core and a margin.
    smooth : (Banded, Banded)
        From the core and its margin to the core, along y and x.
    spread : Tensor, shape (pair of leading components, Y, X), or None
        Mean products of how far the candidates lie from the start, smoothed, on the core: a band's square
        is a sum of them.
    """

    expand: Tensor
    detail: Tensor
    smooth: tuple[Banded, Banded]
    spread: Tensor | None

    def bands(self, rows: slice) -> tuple[Tensor, Tensor | None]:
        """Return detail and spread of some bands, (band, Y, X) each, in their units."""
        expand = self.expand[rows]
        here = (expand @ self.detail.flatten(1)).abs_().view(-1, *self.detail.shape[1:])
        detail = _smoothed(here, self.smooth)
        if self.spread is None:
            return detail, None
        first, second = _pairs(expand)
        square = (expand[:, first] * expand[:, second]) @ self.spread.flatten(1)
        return detail, square.clamp_min_(0).sqrt_().view_as(detail)


def _pairs(expand: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pairs of leading components of (band, component)."""
    some = min(LEADING, expand.shape[1])
    first, second = torch.triu_indices(some, some, device=expand.device)
    return first, second


def _smoothed(planes: Tensor, smooth: tuple[Banded, Banded]) -> Tensor:
    rows, columns = smooth
    return columns.columns(rows.rows(planes))


def error_predictors(start: ConsistentStart, core: Window, ratio: int) -> ErrorPredictors:
    """Return the marks of a window's core.

    Parameters
    ----------
    start : ConsistentStart
    core : Window
        lr pixels, in the window's own coordinates.
    ratio : int
    """
    (height, width), margin = start.components.shape[1:], math.ceil(WIDTHS * max(DETAIL_WIDTH, SPREAD_WIDTH / ratio))
    around = core.grown(margin).clipped((height, width))
    near, inner = around.scaled(ratio), core.scaled(ratio)
    rows, columns = near.slices
    operator = start.closed.operator
    low_y, low_x = operator.cubic_y.cut(rows.start, rows.stop), operator.cubic_x.cut(columns.start, columns.stop)
    detail = start.hr[:, rows, columns] - low_y.rows(low_x.columns(operator.degrade(start.hr)))
    fine, broad = (
        (
            _window(range(near.y0, near.y1), range(inner.y0, inner.y1), sigma_px, ratio, detail.device),
            _window(range(near.x0, near.x1), range(inner.x0, inner.x1), sigma_px, ratio, detail.device),
        )
        for sigma_px in (SPREAD_WIDTH, DETAIL_WIDTH * ratio)
    )
    spread = None if start.guided is None else _smoothed(_spread(start, near), fine)
    return ErrorPredictors(start.expand, detail, broad, spread)


def _spread(start: ConsistentStart, near: Window) -> Tensor:
    """Return mean products of the candidates less the start, for all pairs of leading components, (pair, Y, X)."""
    first, second = _pairs(start.expand)
    total = start.hr.new_zeros(len(first), *near.shape)
    for other in _others(start, near):
        for out, k, j in zip(total, first.tolist(), second.tolist(), strict=True):
            # Both orders of a pair.
            out.addcmul_(other[k], other[j], value=(2 - (k == j)) / GUIDED_COUNT)
    return total


def _others(start: ConsistentStart, near: Window) -> Iterator[Tensor]:
    """Yield the candidates, consistent, less the start, (leading component, Y, X)."""
    guided, closed = start.guided, start.closed
    assert guided is not None
    some = min(LEADING, len(start.components))
    weight = guided.guide.weight
    if start.weight is not None:
        weight = start.weight if weight is None else weight * start.weight
    fit = guided.fit.combined(np.eye(some, len(start.components), dtype=np.float32))
    pair = prepare_inputs(start.components[:some], guided.guide.values, fit, closed.operator, weight)
    for index in range(GUIDED_COUNT):
        one = torch.zeros(some, GUIDED_COUNT + 1).to(start.hr)
        one[:, index] = 1
        made = candidates.fit_mixture(pair, one).evaluate(0, some)
        made += closed.spread(closed.residual(made, pair.components))
        yield (made - start.hr[:some])[(slice(None), *near.slices)]


def _window(inputs: range, outputs: range, width: float, ratio: int, device: torch.device) -> Banded:
    """Return a Gaussian from the pixels of a core and its margin to those of the core."""
    return Banded(gaussian_window(outputs, inputs, width, WIDTHS * width), BLOCK_LR * ratio, device)


def relative_error(detail: Tensor, spread: Tensor | None, usual: Sequence[NDArray[np.float32] | None]) -> Tensor:
    """Return by how much pixels are worse than usual, (band, ...), from their marks.

    Parameters
    ----------
    detail, spread : Tensor, shape (band, ...)
        `spread` None without a guide.
    usual : (array, array or None), shape (band,)
        Their means over the scene.
    """
    if spread is None or usual[1] is None:
        return _power(detail, usual[0], DETAIL_ALONE)
    return _power(detail, usual[0], DETAIL_GUIDED).mul_(_power(spread, usual[1], SPREAD))


def _power(mark: Tensor, usual: NDArray[np.float32] | None, exponent: float) -> Tensor:
    assert usual is not None
    mean = _column(usual, mark).clamp_min(torch.finfo(mark.dtype).tiny)
    return (mark / mean + LEAST_MARK).pow_(exponent)


def standard_deviation(known: ErrorModel, seen: ErrorPredictors, rows: slice, blend: Tensor | None) -> Tensor:
    """Return the standard deviation of the error of some bands of a core.

    Parameters
    ----------
    known : ErrorModel
    seen : ErrorPredictors
    rows : slice
        Of the used bands.
    blend : Tensor, shape (Y, X), or None
        How far the guide is used, 0..1; None where it is everywhere, and where there is none.

    Returns
    -------
    Tensor, shape (band, Y, X)
        Physical units.
    """
    detail, spread = seen.bands(rows)
    guided = None if spread is None else known.guided
    square = None if guided is None else _square(guided, detail, spread, rows)
    if square is None or blend is not None:
        alone = _square(known.unguided, detail, None, rows)
        square = alone if square is None or blend is None else torch.lerp(alone, square, blend)
    return square.add_(_column(known.floor[rows], square).square()).sqrt_()


def _square(level: ErrorLevel, detail: Tensor, spread: Tensor | None, rows: slice) -> Tensor:
    usual = level.detail[rows], None if level.spread is None else level.spread[rows]
    return relative_error(detail, spread, usual).mul_(_column(level.size[rows], detail)).square_()


def _column(values: NDArray[np.float32], like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like).view(-1, *[1] * (like.ndim - 1))
