"""Trial of a fine stage on the scene's Wald pair, which is surveyed and sharpened as the scene is.

The correction by the fine stage is compared with the error of the coarse estimate. The result is the size of
that error, and the shrinkage factor of the correction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.fine_stage import FineStage, FineStageInput, correct
from dualsr_geo.engine.tiles.sharpen import fine_stage_input
from dualsr_geo.fusion import change_detection
from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.fusion.blocks import MIN_VALID_PX, Block
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.prepared_guide import prepare_guide
from dualsr_geo.fusion.wald.pairs import degrade_sample
from dualsr_geo.models.definition import Model
from dualsr_geo.models.shrinkage import Evidence, Prior, sums_by_part
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.windows import Tile, Window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.surveying.estimation import estimate_survey
from dualsr_geo.surveying.sampling import Sample, SurveyOptions
from dualsr_geo.surveying.survey import Survey

# The prior mean is 0, because ten of 22 corrections that Wald pairs recommended would have increased the error
# (docs/fine.md).
PRIOR = Prior(mean=0.0, std=0.4, transfer_std=0.6)
# Smallest shrinkage factor; the gain of a smaller one is not worth the time of the correction.
MIN_FACTOR = 0.05
# Smallest side of a Wald pair, px.
MIN_SIDE_PX = 4
# Smallest validity of a degraded pixel that counts, 0..1.
MIN_VALIDITY = 0.5


@dataclass(frozen=True)
class Piece:
    """A window of the scene as read, the input of `fine_stage_input`.

    Attributes
    ----------
    tile : Tile
    cube : array, shape (band, y, x)
        The scene in the padded window, NaN where it has no value.
    guide : array, shape (guide band, Y, X), or None
        The guide in `guide_window`.
    """

    tile: Tile
    cube: NDArray[np.float32]
    guide: NDArray[np.float32] | None


@dataclass(frozen=True)
class FineStageTrial:
    """The scene's Wald pair, ready to be sharpened.

    Attributes
    ----------
    context : TileContext
        Context of the pair, without a fine stage; its shape is that of the first piece.
    pieces : tuple of Piece
        The degraded blocks, each of which is a whole scene.
    truths : tuple of Tensor, shape (band, ratio * y, ratio * x)
    weights : tuple of Tensor, shape (y, x)
    """

    context: TileContext
    pieces: tuple[Piece, ...]
    truths: tuple[torch.Tensor, ...]
    weights: tuple[torch.Tensor, ...]

    def views(self, context: TileContext, anchors: AnchorBands) -> list[FineStageInput]:
        """Return the coarse estimates of all pieces on the anchors."""
        each = (replace(context, shape=piece.cube.shape[1:]) for piece in self.pieces)
        return [fine_stage_input(c, p.tile, p.cube, p.guide, anchors) for c, p in zip(each, self.pieces, strict=True)]

    def lacking(self, views: Sequence[FineStageInput], anchors: AnchorBands) -> list[torch.Tensor]:
        """Return the truth of each piece less its estimate, (anchor, ratio * y, ratio * x)."""
        return [truth[list(anchors.bands)] - v.start for truth, v in zip(self.truths, views, strict=True)]

    def error(self, views: Sequence[FineStageInput], anchors: AnchorBands) -> NDArray[np.float32]:
        """Return the root mean square error of the estimate on each anchor, (anchor,)."""
        errors, ratio = self.lacking(views, anchors), self.context.ratio
        valid = [w.repeat_interleave(ratio, 0).repeat_interleave(ratio, 1) for w in self.weights]
        square = sum((x.double().square() * w).sum((1, 2)) for x, w in zip(errors, valid, strict=True))
        return (torch.as_tensor(square) / sum(float(w.sum()) for w in valid)).sqrt().float().numpy()

    def judge(self, stage: FineStage, views: Sequence[FineStageInput]) -> Evidence:
        """Compare the correction by a fine stage with the error of the estimate."""
        lacking = self.lacking(views, stage.anchors)
        corrections = (correct(replace(stage, share=1.0), v) for v in views)
        scale = torch.from_numpy(self.error(views, stage.anchors)).clamp_min(1e-12)[:, None, None]
        sums = [
            sums_by_part(c / scale, x / scale, w, self.context.ratio)
            for c, x, w in zip(corrections, lacking, self.weights, strict=True)
        ]
        return Evidence(*np.concatenate(sums, 1))


def fine_stage_shrinkage(evidence: Sequence[Evidence]) -> float:
    """Return the shrinkage factor of a correction, 0..1; 0 unless the Wald pairs clearly support it."""
    # Best factors are limited to 1, the whole correction.
    factor = PRIOR.combined([min(e.best, 1.0) for e in evidence], [e.error for e in evidence])
    return factor if factor >= MIN_FACTOR else 0.0


def try_fine_stage(
    context: TileContext, options: SurveyOptions, pieces: Sequence[Piece], ratio: int
) -> FineStageTrial | None:
    """Degrade a sample of the scene by a ratio, and estimate its survey.

    Parameters
    ----------
    context : TileContext
        Of the scene.
    options : SurveyOptions
        Of the survey of the scene.
    pieces : sequence of Piece
        The sample, tiles without halo.
    ratio : int
        Ratio of the Wald pair.

    Returns
    -------
    FineStageTrial or None
        None for a scene too small to be degraded.
    """
    survey = context.survey
    blocks = [_block(context, p) for p in pieces if min(p.cube.shape[1:]) >= MIN_SIDE_PX * ratio]
    noise = None if survey.denoising is None else survey.denoising.pair_noise
    pairs = degrade_sample(blocks, survey.psf, ratio, survey.space, noise)
    if sum(int((b.weight > MIN_VALIDITY).sum()) for b, _ in pairs) < MIN_VALID_PX:
        return None
    cubes = [np.where(b.weight.numpy() > MIN_VALIDITY, b.cube.numpy(), np.nan).astype(np.float32) for b, _ in pairs]
    guides = [b.guide.numpy() if survey.guide is not None else None for b, _ in pairs]
    margin = sample_margin(ratio)
    samples = [Sample(c, None if g is None else with_margin(g, margin)) for c, g in zip(cubes, guides, strict=True)]
    estimated = estimate_survey(samples, trial_options(options, ratio, Psf.from_mtf(ratio)))
    trial = replace(
        context,
        shape=cubes[0].shape[1:],
        count=len(survey.used),
        ratio=ratio,
        survey=with_shrinkage_of(estimated, survey, context.model),
        packing=_float32(len(survey.used)),
        fine_stage=None,
    )
    windows = [Window(0, c.shape[1], 0, c.shape[2]) for c in cubes]
    degraded = tuple(Piece(Tile(0, w, w), c, g) for w, c, g in zip(windows, cubes, guides, strict=True))
    truths, weights = tuple(t for _, t in pairs), tuple((b.weight > MIN_VALIDITY).float() for b, _ in pairs)
    return FineStageTrial(trial, degraded, truths, weights)


def _block(context: TileContext, piece: Piece) -> Block:
    """Return a filled piece with its registered guide."""
    survey, cube = context.survey, torch.from_numpy(piece.cube[list(context.survey.used)])
    filled, weight = fill_holes(cube, torch.from_numpy(survey.space.mean))
    both = torch.ones(filled.shape[1:]) if weight is None else weight
    if piece.guide is None or survey.guide is None:
        return Block(filled, both, filled.new_zeros(0, *(n * context.ratio for n in both.shape)))
    moved = torch.from_numpy(survey.registered(piece.guide))
    op = operator(survey.psf, (both.shape[0], both.shape[1]))
    ready = prepare_guide(moved, torch.from_numpy(survey.guide.mean), op)
    if ready is None:
        return Block(filled, both * 0, moved.nan_to_num())
    if survey.changes is not None:
        ready, _ = change_detection.withhold_changes(survey.changes, filled, ready, op)
    return Block(filled, both if ready.weight is None else both * ready.weight, ready.values)


def with_margin(guide: NDArray[np.float32], margin: int) -> NDArray[np.float32]:
    """Return a guide with a margin of NaN."""
    return np.pad(guide, ((0, 0), (margin, margin), (margin, margin)), constant_values=np.nan)


def trial_options(options: SurveyOptions, ratio: int, psf: Psf) -> SurveyOptions:
    """Return the options of the survey of a degraded or halved scene, whose blur is known."""
    return replace(
        options,
        ratio=ratio,
        psf=psf,
        coregister="off",
        model=options.model.for_trial(),
        uncertainty=False,
        detail=False,
        changes=False,
        denoise=False,
    )


def with_shrinkage_of(survey: Survey, scene: Survey, model: Model) -> Survey:
    """Return a survey with the shrinkage factors of the survey of the scene."""
    return replace(survey, model_state=model.with_shrinkage_of(survey.model_state, scene.model_state))


def _float32(bands: int) -> Packing:
    return Packing("float32", (1.0,) * bands, (0.0,) * bands, math.nan)
