"""A fine stage tried on the scene's own Wald pair, from survey to product, as the scene itself will be.

The sample is degraded once more and sharpened back by the same model; what the fine stage adds there
is compared with what the start lacks. That says how large the start's error is, and how much of the
correction is worth having.
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
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.windows import Tile, Window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.registration.shift import guide_margin, move_guide
from dualsr_geo.survey import wald_pairs
from dualsr_geo.survey.estimation import estimate_survey
from dualsr_geo.survey.sampling import Sample, SurveyOptions
from dualsr_geo.survey.shrinkage import Evidence, by_parts
from dualsr_geo.survey.survey import Survey

# What is used of a correction that nothing is known about.
USUAL = 0.0
# How far the best shares of scenes lie from that, and of a scene from its Wald pair (standard deviations):
# of 22 corrections that pairs recommended, ten would have cost something (docs/fine.md).
SPREAD, DOUBT = 0.4, 0.6
LEAST = 0.05
# A Wald pair has at least so many pixels on a side.
SMALLEST_SIDE = 4


@dataclass(frozen=True)
class Piece:
    """A window of the scene as read, for `fine_stage_input`.

    Attributes
    ----------
    tile : Tile
    cube : array, shape (band, y, x)
        Of the padded window, NaN where nothing is.
    guide : array, shape (guide band, Y, X), or None
        Of `window.guide_window`.
    """

    tile: Tile
    cube: NDArray[np.float32]
    guide: NDArray[np.float32] | None


@dataclass(frozen=True)
class FineStageTrial:
    """The scene's Wald pair, sharpened but for the fine stage.

    Attributes
    ----------
    work : TileContext
        Of the pair; the shape is that of its first piece.
    pieces : tuple of Piece
        Each a scene of its own.
    truths : tuple of Tensor, shape (band, ratio * y, ratio * x)
    weights : tuple of Tensor, shape (y, x)
    """

    work: TileContext
    pieces: tuple[Piece, ...]
    truths: tuple[torch.Tensor, ...]
    weights: tuple[torch.Tensor, ...]

    def views(self, work: TileContext, anchors: AnchorBands) -> list[FineStageInput]:
        """Return the starts of all pieces on the anchors; `work` says what they are shown."""
        each = (replace(work, shape=piece.cube.shape[1:]) for piece in self.pieces)
        return [fine_stage_input(w, p.tile, p.cube, p.guide, anchors) for w, p in zip(each, self.pieces, strict=True)]

    def lacking(self, views: Sequence[FineStageInput], anchors: AnchorBands) -> list[torch.Tensor]:
        """Return what the start of each piece lacks, (anchor, ratio * y, ratio * x)."""
        return [truth[list(anchors.bands)] - v.start for truth, v in zip(self.truths, views, strict=True)]

    def error(self, views: Sequence[FineStageInput], anchors: AnchorBands) -> NDArray[np.float32]:
        """Return the start's root mean square error on each anchor."""
        wrong, ratio = self.lacking(views, anchors), self.work.ratio
        valid = [w.repeat_interleave(ratio, 0).repeat_interleave(ratio, 1) for w in self.weights]
        square = sum((x.double().square() * w).sum((1, 2)) for x, w in zip(wrong, valid, strict=True))
        return (torch.as_tensor(square) / sum(float(w.sum()) for w in valid)).sqrt().float().numpy()

    def judge(self, refinement: FineStage, views: Sequence[FineStageInput]) -> Evidence:
        """Compare what a refinement adds with what the start lacks."""
        lacking = self.lacking(views, refinement.anchors)
        made = (correct(replace(refinement, share=1.0), v) for v in views)
        scale = torch.from_numpy(self.error(views, refinement.anchors)).clamp_min(1e-12)[:, None, None]
        sums = [
            by_parts(m / scale, x / scale, w, self.work.ratio)
            for m, x, w in zip(made, lacking, self.weights, strict=True)
        ]
        return Evidence(*np.concatenate(sums, 1))


def fine_stage_shrinkage(evidence: Sequence[Evidence]) -> float:
    """Return how much of a correction is used, 0..1: nothing, unless Wald pairs are sure that it helps."""
    sure = [SPREAD**-2] + [1 / (DOUBT**2 + e.error**2) for e in evidence]
    # A pair that asks for more than there is says no more than that all is right.
    said = float(np.average([USUAL] + [min(e.best, 1.0) for e in evidence], weights=sure))
    return said if said >= LEAST else 0.0


def try_fine_stage(
    work: TileContext, wishes: SurveyOptions, pieces: Sequence[Piece], ratio: int
) -> FineStageTrial | None:
    """Degrade a sample of the scene by a ratio and survey that.

    Parameters
    ----------
    work : TileContext
        Of the scene.
    wishes : SurveyOptions
        What its survey was asked.
    pieces : sequence of Piece
        The sample, tiles without halo.
    ratio : int
        Of the Wald pair.

    Returns
    -------
    FineStageTrial or None
        None of a scene too small to be degraded.
    """
    known = work.survey
    blocks = [_block(work, p) for p in pieces if min(p.cube.shape[1:]) >= SMALLEST_SIDE * ratio]
    pairs = wald_pairs.degraded(blocks, known.psf, ratio, known.space)
    if sum(int((b.weight > 0.5).sum()) for b, _ in pairs) < MIN_VALID_PX:
        return None
    guided, margin = known.guide_mean is not None, sample_margin(ratio)
    cubes = [np.where(b.weight.numpy() > 0.5, b.cube.numpy(), np.nan).astype(np.float32) for b, _ in pairs]
    guides = [b.guide.numpy() if guided else None for b, _ in pairs]
    samples = [Sample(c, None if g is None else bordered(g, margin)) for c, g in zip(cubes, guides, strict=True)]
    found = estimate_survey(samples, trial_options(wishes, ratio, Psf.from_mtf(ratio)))
    made = replace(
        work, count=len(known.used), ratio=ratio, survey=with_shrinkage_of(found, known), packing=_floats(known)
    )
    made = replace(made, shape=cubes[0].shape[1:], refinement=None)
    tiles = [Window(0, c.shape[1], 0, c.shape[2]) for c in cubes]
    sharpened = tuple(Piece(Tile(0, w, w), c, g) for w, c, g in zip(tiles, cubes, guides, strict=True))
    truths, weights = tuple(t for _, t in pairs), tuple((b.weight > 0.5).float() for b, _ in pairs)
    return FineStageTrial(made, sharpened, truths, weights)


def _block(work: TileContext, piece: Piece) -> Block:
    known, cube = work.survey, torch.from_numpy(piece.cube[list(work.survey.used)])
    filled, weight = fill_holes(cube, torch.from_numpy(known.space.mean))
    both = torch.ones(filled.shape[1:]) if weight is None else weight
    if piece.guide is None or known.guide_mean is None:
        return Block(filled, both, filled.new_zeros(0, *(n * work.ratio for n in both.shape)))
    moved = torch.from_numpy(move_guide(piece.guide, known.moved_px, guide_margin(known.moved_px)))
    op = operator(known.psf, (both.shape[0], both.shape[1]))
    ready = prepare_guide(moved, torch.from_numpy(known.guide_mean), op)
    if ready is None:
        return Block(filled, both * 0, moved.nan_to_num())
    if known.changes is not None:
        ready, _ = change_detection.withhold_changes(known.changes, filled, ready, op)
    return Block(filled, both if ready.weight is None else both * ready.weight, ready.values)


def bordered(guide: NDArray[np.float32], margin: int) -> NDArray[np.float32]:
    """Return a guide with a margin of nothing."""
    return np.pad(guide, ((0, 0), (margin, margin), (margin, margin)), constant_values=np.nan)


def trial_options(wishes: SurveyOptions, ratio: int, psf: Psf) -> SurveyOptions:
    """Return what another survey of the scene is asked, whose blur is known; the networks' shares are `with_shrinkage_of`."""
    ours = wishes.ours and replace(wishes.ours, gated=False)
    return replace(
        wishes, ratio=ratio, psf=psf, coregister="off", ours=ours, uncertainty=False, detail=False, changes=False
    )


def with_shrinkage_of(found: Survey, known: Survey) -> Survey:
    """Return a survey in which our networks correct by as much as in another."""
    mine, theirs = found.correction, known.correction
    if mine is None or theirs is None:
        return found
    alone = replace(mine.alone, share=theirs.alone.share)
    told = mine.guided
    if told is not None:
        told = replace(told, share=0.0 if theirs.guided is None else theirs.guided.share)
    return replace(found, correction=replace(mine, alone=alone, guided=told))


def _floats(known: Survey) -> Packing:
    bands = len(known.used)
    return Packing("float32", (1.0,) * bands, (0.0,) * bands, math.nan)
