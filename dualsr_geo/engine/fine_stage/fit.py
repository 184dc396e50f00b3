"""Fit a fine stage to a scene, and estimate the shrinkage of its correction.

Both use a bounded sample, so that the cost does not grow with the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.fine_stage.trial import (
    FineStageTrial,
    Piece,
    fine_stage_shrinkage,
    trial_options,
    try_fine_stage,
    with_margin,
    with_shrinkage_of,
)
from dualsr_geo.engine.tiles import crops, fine_stage
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.fine_stage import FineStage, FineStageInput, Scales
from dualsr_geo.engine.tiles.sharpen import fine_stage_input
from dualsr_geo.fusion import anchor_bands
from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.wald.pairs import pair_ratios
from dualsr_geo.models.correction import PairEvidence
from dualsr_geo.models.definition import FITTED, is_refined
from dualsr_geo.models.networks.backprojection import halved
from dualsr_geo.models.shrinkage import Evidence
from dualsr_geo.raster.windows import Tile, Window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.serialization import write_atomically
from dualsr_geo.surveying.estimation import estimate_survey
from dualsr_geo.surveying.sampling import Sample, SurveyOptions, sample_windows
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.threads import one_thread

# Margin with which a crop is sharpened, lr px; the rest of the halo changes a tile, but not a fit.
MARGIN_LR = 8
# Number of crops: as many as have FIT_PX hr pixels together, margins included, but at least MIN_CROPS.
FIT_PX, MIN_CROPS = 2**18, 4

# Reads a window of the scene, and `guide_window` of the guide; NaN where they have no value.
Read = Callable[[Tile], tuple[NDArray[np.float32], NDArray[np.float32] | None]]


def fit_fine_stage(context: TileContext, options: SurveyOptions, read: Read) -> FineStage | None:
    """Fit the fine stage to a scene.

    Parameters
    ----------
    context : TileContext
        With the survey.
    options : SurveyOptions
        Of the survey.
    read : callable
        Reads a tile inside one of `sample_windows`.

    Returns
    -------
    FineStage or None
        None for a fine stage without a fit. The shrinkage factor is 0 if the correction is not supported by the
        Wald pairs, or if the scene is too small for one.
    """
    if not is_refined(context.model, context.fine):
        return None
    pieces = [_piece(read, w) for w in sample_windows(context.shape)]
    with one_thread(), torch.inference_mode():
        anchors = _anchors(context, pieces)
        if context.fine in FITTED and not context.guided:
            return FineStage(context.fine, anchors, 0.0)
        each = {r: try_fine_stage(context, options, pieces, r) for r in _ratios(context, pieces)}
        # A guide that covers little of the scene may cover too little of its Wald pair.
        trials = {r: t for r, t in each.items() if t is not None and t.context.guided == context.guided}
        if not trials:
            return FineStage(context.fine, anchors, 0.0)
        if context.fine in FITTED:
            return _fitted(context, pieces, trials, anchors)
        return _projected(context, options, pieces, trials, anchors)


def fit_fine_stage_once(path: Path, context: TileContext, options: SurveyOptions, read: Read) -> FineStage | None:
    """Fit the fine stage and write it to a file, or read the file if an interrupted run wrote it."""
    if path.exists():
        return FineStage.read(path, context.model)
    stage = fit_fine_stage(context, options, read)
    if stage is not None:
        write_atomically(path, stage.to_bytes())
    return stage


def _piece(read: Read, window: Window) -> Piece:
    tile = Tile(0, window, window)
    return Piece(tile, *read(tile))


def _ratios(context: TileContext, pieces: Sequence[Piece]) -> list[int]:
    """Return the ratios of the trials: those that the model supports, and even ones for back-projection."""
    if context.model.only_ratio is not None:
        return [context.model.only_ratio]
    side = max((p.cube.shape[1:] for p in pieces), key=min)
    ratios = pair_ratios((side[0], side[1]), context.ratio)
    # Back-projection uses the largest even ratio only: at ratio 2, V is the scene itself.
    return ratios if context.fine in FITTED else [r for r in ratios if r % 2 == 0][-1:]


def _anchors(context: TileContext, pieces: Sequence[Piece]) -> AnchorBands:
    """Choose the bands that the fine stage corrects, from the scene's spectra."""
    space, cubes = context.survey.space, [p.cube[list(context.survey.used)] for p in pieces]
    spectra = np.concatenate([c.reshape(len(c), -1) for c in cubes], 1)
    valid = np.isfinite(spectra)
    spectra = np.where(valid, spectra, space.mean[:, None])
    if not space.keeps_rest:
        spectra = space.expand @ space.components(spectra) + space.mean[:, None]
    return anchor_bands.choose_anchor_bands(spectra, valid.mean(0, dtype=np.float32))


def _shrunk(stage: FineStage, evidence: dict[int, Evidence]) -> FineStage:
    basis = tuple(PairEvidence(ratio, e.best, e.error) for ratio, e in evidence.items())
    return replace(stage, share=fine_stage_shrinkage(list(evidence.values())), evidence=basis)


# ---- FineNet -----------------------------------------------------------------------------


def _fitted(
    context: TileContext, pieces: Sequence[Piece], trials: dict[int, FineStageTrial], anchors: AnchorBands
) -> FineStage:
    """Fit FineNet to the Wald pairs, and to the scene if they support the correction."""
    evidence, error = {}, {}
    for ratio, trial in trials.items():
        views = trial.views(trial.context, anchors)
        error[ratio] = trial.error(views, anchors)
        scales = Scales.of(views, _response(trial.context.survey, anchors), error[ratio])
        state = fine_stage.fit(views, scales).state
        evidence[ratio] = trial.judge(FineStage(context.fine, anchors, 1.0, scales=scales, state=state), views)
    stage = _shrunk(FineStage(context.fine, anchors, 1.0), evidence)
    if not stage.share:
        return stage
    views = _crops(context, pieces, anchors)
    # The pair of the largest ratio is most similar to the scene.
    scales = Scales.of(views, _response(context.survey, anchors), error[max(error)])
    stage = replace(stage, scales=scales)
    if context.fine == FITTED[1]:
        return stage
    fitted = fine_stage.fit(views, scales)
    return replace(stage, state=fitted.state, steps=fitted.steps)


def _response(survey: Survey, anchors: AnchorBands) -> NDArray[np.float32]:
    assert survey.guide is not None
    assert survey.guide.response is not None
    return survey.guide.response @ anchors.spread


def _crops(context: TileContext, pieces: Sequence[Piece], anchors: AnchorBands) -> list[FineStageInput]:
    """Return the coarse estimates of varied crops of the sample."""
    side = fine_stage.crop_side(context.ratio)
    padded = side + 2 * MARGIN_LR
    count = min(max(MIN_CROPS, FIT_PX // (padded * context.ratio) ** 2), fine_stage.crop_count(context.ratio))
    cubes = [torch.from_numpy(p.cube[list(context.survey.used)]) for p in pieces]
    windows = crops.choose(cubes, side, count)
    if not windows:
        mean = torch.from_numpy(context.survey.space.mean)
        windows = crops.choose([fill_holes(c, mean)[0] for c in cubes], side, count)
    return [_crop(context, pieces[i], w, anchors) for i, w in windows]


def _crop(context: TileContext, piece: Piece, core: Window, anchors: AnchorBands) -> FineStageInput:
    """Return the coarse estimate of a crop, an lr window in coordinates of the piece, made with a margin."""
    whole, ratio = piece.tile.padded, context.ratio
    near = core.grown(MARGIN_LR).clipped(whole.shape)
    in_scene = near.moved(whole.y0, whole.x0)
    guide, margin = piece.guide, context.survey.guide_margin_px
    if guide is not None:
        rows, columns = near.scaled(ratio).moved(margin, margin).grown(margin).slices
        guide = guide[:, rows, columns]
    cube = piece.cube[(slice(None), *near.slices)]
    return fine_stage_input(context, Tile(0, in_scene, in_scene), cube, guide, anchors).cut(core.within(near))


# ---- back-projection ---------------------------------------------------------------------


def _projected(
    context: TileContext,
    options: SurveyOptions,
    pieces: Sequence[Piece],
    trials: dict[int, FineStageTrial],
    anchors: AnchorBands,
) -> FineStage:
    """Survey the scene at half the ratio, and estimate the shrinkage of back-projection on the Wald pair."""
    plain = FineStage(context.fine, anchors, 1.0)
    evidence = {}
    for ratio, trial in trials.items():
        stage = replace(plain, half=_half(trial.context, options, trial.pieces))
        views = trial.views(replace(trial.context, fine_stage=stage), anchors)
        evidence[ratio] = trial.judge(_with_angle(stage, views), views)
    stage = _shrunk(plain, evidence)
    if not stage.share:
        return stage
    stage = replace(stage, half=_half(context, options, pieces))
    return _with_angle(stage, _crops(replace(context, fine_stage=stage), pieces, anchors))


def _with_angle(stage: FineStage, views: Sequence[FineStageInput]) -> FineStage:
    """Return the stage with the mean spectral angle of the scene, degrees, at most 1, if it uses one."""
    if stage.fine != "backprojection":
        return stage
    flat = torch.cat([fine_stage.angles(v).flatten() for v in views])
    return replace(stage, angle=min(1.0, float(flat.mean())))


def _half(context: TileContext, options: SurveyOptions, pieces: Sequence[Piece]) -> Survey | None:
    """Survey the scene at half the ratio; None at ratio 2, where the result is the scene itself."""
    ratio, survey = context.ratio // 2, context.survey
    if ratio < 2:
        return None
    samples = []
    for piece in pieces:
        guide = None
        if piece.guide is not None:
            moved = torch.from_numpy(survey.registered(piece.guide))
            guide = with_margin(halved(moved).numpy(), sample_margin(ratio))
        samples.append(Sample(piece.cube, guide))
    (sy, sx), (dy, dx) = survey.psf.sigma_px, survey.psf.shift_px
    psf = Psf.gaussian(ratio, (sy / 2, sx / 2), (dy / 2, dx / 2))
    return with_shrinkage_of(estimate_survey(samples, trial_options(options, ratio, psf)), survey, context.model)
