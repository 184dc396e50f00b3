"""The stages of a tile, from the windows as read to its bands: prepare, reconstruct, refine.

inputs   = prepare(context, tile, cube, guide)      fill holes, register and check the guide
estimate = reconstruct(context, inputs)             the coarse stage: the model
estimate = refine(context, inputs, estimate)        the fine stage, if one is fitted to the scene
bands    = estimate.bands(rows)                     computed on demand
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.operators import Operator, operator
from dualsr_geo.engine.tiles import fine_stage
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.fine_stage import FineStage, FineStageInput
from dualsr_geo.fusion import change_detection
from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.prepared_guide import PreparedGuide, prepare_guide
from dualsr_geo.fusion.spectra import DetailPlanes
from dualsr_geo.models.correction import faded
from dualsr_geo.models.networks.backprojection import halved
from dualsr_geo.models.reconstruction import Reconstruction, WindowInputs
from dualsr_geo.raster.windows import Tile, Window


@dataclass(frozen=True, eq=False)
class TileInputs:
    """A tile's windows, filled and registered.

    Attributes
    ----------
    window : WindowInputs
        Inputs of the model.
    tile : Tile
    core : Window
        The core in the padded window, lr pixels.
    coverage : float
        Share of the core that the guide reaches, 0..1.
    withheld : float
        Share of the core where the guide shows something else and is not used, 0..1.
    cube : array, shape (band, y, x)
        The scene as read.
    guide : array, shape (guide band, Y, X), or None
        The guide as read.
    """

    window: WindowInputs
    tile: Tile
    core: Window
    coverage: float
    withheld: float
    cube: NDArray[np.float32]
    guide: NDArray[np.float32] | None

    @property
    def device(self) -> torch.device:
        """The device that computes the tile."""
        return self.window.cube.device


def prepare(
    context: TileContext,
    tile: Tile,
    cube: NDArray[np.float32],
    guide: NDArray[np.float32] | None,
    *,
    whole: bool = False,
) -> TileInputs:
    """Fill the holes of a tile's windows, and register its guide.

    Parameters
    ----------
    context : TileContext
    tile : Tile
    cube : array, shape (band, y, x)
        The scene in the padded window, physical units, NaN where it has no value.
    guide : array, shape (guide band, Y, X), or None
        The guide in `guide_window`, NaN where it does not reach.
    whole : bool
        Whether to sharpen all of the padded window rather than the core, for a fine stage.
    """
    survey, device, padded = context.survey, torch.device(context.device), tile.padded
    core, everything = tile.core.within(padded), padded.within(padded)
    scene = torch.from_numpy(np.ascontiguousarray(cube[list(survey.used)])).to(device)
    values, weight = fill_holes(scene, torch.from_numpy(survey.space.mean).to(device))
    op = operator(survey.psf, context.shape, padded, device)
    ready, coverage, withheld = _guide(context, values, guide, core, op)
    # A fine stage that corrects the estimate reads the halo, too.
    part = everything if whole or context.refines else core
    window = WindowInputs(
        values, weight, ready, op, survey.psf, survey.statistics, context.shape, padded, part, context.consistent,
        context.fine,
    )  # fmt: skip
    return TileInputs(window, tile, core, coverage, withheld, cube, guide)


def _guide(
    context: TileContext, cube: Tensor, guide: NDArray[np.float32] | None, core: Window, op: Operator
) -> tuple[PreparedGuide | None, float, float]:
    """Return the registered guide, the share of the core that it reaches, and the share where it is withheld."""
    survey = context.survey
    if guide is None or survey.guide is None or not context.guided:
        return None, 0.0, 0.0
    moved = survey.registered(guide, device=context.device)
    coverage = float(np.isfinite(moved[(slice(None), *core.scaled(context.ratio).slices)]).all(0).mean())
    mean = torch.from_numpy(survey.guide.mean).to(cube.device)
    ready = prepare_guide(torch.from_numpy(moved).to(cube.device), mean, op)
    if ready is None or survey.changes is None:
        return ready, coverage, 0.0
    ready, unchanged = change_detection.withhold_changes(survey.changes, cube, ready, op)
    return ready, coverage, 1 - float(unchanged[core.slices].mean())


def reconstruct(context: TileContext, inputs: TileInputs) -> Reconstruction:
    """Return the coarse estimate of the window by the run's model."""
    return context.model.reconstruct(inputs.window, context.survey.model_state)


def refine(context: TileContext, inputs: TileInputs, estimate: Reconstruction) -> Reconstruction:
    """Return the estimate corrected by the fitted fine stage; without one, the estimate itself."""
    stage = context.fine_stage
    if stage is None or not context.refines:
        return estimate
    estimate = estimate.held()
    view = stage_input(context, inputs, estimate, stage.anchors)
    planes = fine_stage.correct(stage, view).flatten(1)
    return estimate.with_detail(DetailPlanes(planes, torch.from_numpy(stage.anchors.spread).to(planes)))


def stage_input(
    context: TileContext, inputs: TileInputs, estimate: Reconstruction, anchors: AnchorBands
) -> FineStageInput:
    """Return the inputs of a fine stage: the estimate of the padded window on the anchor bands."""
    rows, window = list(anchors.bands), inputs.window
    start = torch.cat([estimate.bands(slice(i, i + 1)) for i in rows])
    valid = faded(start, window.blend, window.weight)
    closed = window.plain_closed_form(len(rows)) if window.consistent else None
    view = FineStageInput(start, window.observed[rows], window.operator, window.psf, closed, valid)
    stage = context.fine_stage
    if stage is not None and stage.is_projected:
        return replace(view, half=_half(context, inputs, stage, anchors))
    if window.guide is None:
        return view
    return replace(view, guide=window.guide.values, missed=_missed(context, inputs, estimate, window.guide))


def _missed(context: TileContext, inputs: TileInputs, estimate: Reconstruction, guide: PreparedGuide) -> Tensor:
    """Return the misfit of the guide, (guide band, Y, X), see `FineStageInput`."""
    window = inputs.window
    assert context.survey.guide is not None
    assert context.survey.guide.response is not None
    response = torch.from_numpy(context.survey.guide.response).to(window.cube)
    residual = window.operator.degrade(guide.values) - torch.einsum("gb,byx->gyx", response, window.observed)
    return guide.values - estimate.through(response) - window.operator.upsample(residual)


def _half(context: TileContext, inputs: TileInputs, stage: FineStage, anchors: AnchorBands) -> Tensor:
    """Return the anchor bands sharpened by half the ratio; at ratio 2, those of the scene."""
    rows, guide = list(anchors.bands), inputs.guide
    if stage.half is None:
        return inputs.window.observed[rows]
    if guide is not None:
        guide = halved(torch.from_numpy(context.survey.registered(guide))).numpy()
    half = replace(context, ratio=context.ratio // 2, survey=stage.half, fine_stage=None)
    estimate = reconstruct(half, prepare(half, inputs.tile, inputs.cube, guide, whole=True)).held()
    return torch.cat([estimate.bands(slice(i, i + 1)) for i in rows])
