"""What a fine stage takes from the whole scene: its fit, and by how much it is used.

All is learned from a bounded sample, so the cost does not grow with the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine import fine_stage_trial
from dualsr_geo.engine.fine_stage_trial import FineStageTrial, Piece
from dualsr_geo.engine.tiles import crops, fine_stage
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.fine_stage import FineStage, FineStageInput, Scales
from dualsr_geo.engine.tiles.sharpen import fine_stage_input
from dualsr_geo.fusion import anchor_bands
from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.models.correction import PairEvidence
from dualsr_geo.models.definition import FITTED, is_refined
from dualsr_geo.models.networks.backprojection import halved
from dualsr_geo.raster.windows import Tile, Window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.registration.shift import guide_margin, move_guide
from dualsr_geo.serialization import write_atomically
from dualsr_geo.survey import wald_pairs
from dualsr_geo.survey.estimation import estimate_survey
from dualsr_geo.survey.sampling import Sample, SurveyOptions, sample_windows
from dualsr_geo.survey.shrinkage import Evidence
from dualsr_geo.survey.survey import Survey
from dualsr_geo.threads import one_thread

# lr pixels around a crop that its start is made with; the rest of its error lies in the halo of tiles, not here.
MARGIN = 8
# All crops that a start is made for have no more hr pixels than this, margins included, or are four.
FIT_PX = 2**18

# What lies in a window of the scene, and in the guide where `window.guide_window` says; NaN where nothing is.
Read = Callable[[Tile], tuple[NDArray[np.float32], NDArray[np.float32] | None]]


def fit(work: TileContext, wishes: SurveyOptions, read: Read) -> FineStage | None:
    """Fit the fine stage to a scene.

    Parameters
    ----------
    work : TileContext
        Surveyed.
    wishes : SurveyOptions
        What the survey was asked.
    read : callable
        Reads a tile within one of `sample_windows`.

    Returns
    -------
    FineStage or None
        None where the fine stage needs nothing. Its share is 0 where it would not help, or where
        the scene is too small to say so.
    """
    if not is_refined(work.model, work.fine):
        return None
    pieces = [_piece(read, w) for w in sample_windows(work.shape)]
    with one_thread(), torch.inference_mode():
        chosen = _anchors(work, pieces)
        if work.fine in FITTED and not work.guided:
            return FineStage(work.fine, chosen, 0.0)
        ratios = _ratios(work, pieces)
        tried = {r: fine_stage_trial.try_fine_stage(work, wishes, pieces, r) for r in ratios}
        # A guide that covers little of the scene may cover too little of its pair.
        known = {r: t for r, t in tried.items() if t is not None and t.work.guided == work.guided}
        if not known:
            return FineStage(work.fine, chosen, 0.0)
        if work.fine in FITTED:
            return _fitted(work, pieces, known, chosen)
        return _projected(work, wishes, pieces, known, chosen)


def fit_once(path: Path, work: TileContext, wishes: SurveyOptions, read: Read) -> FineStage | None:
    """Fit the fine stage as `fit` does and keep it in a file, or take it from there if it was."""
    if path.exists():
        return FineStage.read(path)
    found = fit(work, wishes, read)
    if found is not None:
        write_atomically(path, found.to_bytes())
    return found


def _piece(read: Read, window: Window) -> Piece:
    tile = Tile(0, window, window)
    return Piece(tile, *read(tile))


def _ratios(work: TileContext, pieces: Sequence[Piece]) -> list[int]:
    """Return the ratios that are rehearsed: those that the model makes, and even ones where half of it is wanted."""
    if work.model.weights is not None:
        return [work.model.weights.ratio]
    side = max((p.cube.shape[1:] for p in pieces), key=min)
    found = wald_pairs.ratios((side[0], side[1]), work.ratio)
    # Ratio 2 says nothing of projections at larger ones: there V is the scene itself.
    return found if work.fine in FITTED else [r for r in found if r % 2 == 0][-1:]


def _anchors(work: TileContext, pieces: Sequence[Piece]) -> AnchorBands:
    """Choose the bands that the fine stage corrects, as the scene's spectra have it."""
    space, cubes = work.survey.space, [p.cube[list(work.survey.used)] for p in pieces]
    spectra = np.concatenate([c.reshape(len(c), -1) for c in cubes], 1)
    there = np.isfinite(spectra)
    spectra = np.where(there, spectra, space.mean[:, None])
    if not space.keeps_rest:
        spectra = space.expand @ space.components(spectra) + space.mean[:, None]
    return anchor_bands.choose_anchor_bands(spectra, there.mean(0, dtype=np.float32))


def _settled(known: FineStage, said: dict[int, Evidence]) -> FineStage:
    asked = tuple(PairEvidence(ratio, e.best, e.error) for ratio, e in said.items())
    return replace(known, share=fine_stage_trial.fine_stage_shrinkage(list(said.values())), asked=asked)


# ---- FineNet -----------------------------------------------------------------------------


def _fitted(
    work: TileContext, pieces: Sequence[Piece], known: dict[int, FineStageTrial], chosen: AnchorBands
) -> FineStage:
    """Fit FineNet to the Wald pairs, and to the scene if it helps there."""
    said, error = {}, {}
    for ratio, one in known.items():
        views = one.views(one.work, chosen)
        error[ratio] = one.error(views, chosen)
        scales = Scales.of(views, _response(one.work.survey, chosen), error[ratio])
        state = fine_stage.fit(views, scales).state
        said[ratio] = one.judge(FineStage(work.fine, chosen, 1.0, scales=scales, state=state), views)
    found = _settled(FineStage(work.fine, chosen, 1.0), said)
    if not found.share:
        return found
    views = _crops(work, pieces, chosen)
    # The pair of the largest ratio is the most like the scene.
    scales = Scales.of(views, _response(work.survey, chosen), error[max(error)])
    found = replace(found, scales=scales)
    if work.fine == FITTED[1]:
        return found
    fitted = fine_stage.fit(views, scales)
    return replace(found, state=fitted.state, steps=fitted.steps)


def _response(known: Survey, chosen: AnchorBands) -> NDArray[np.float32]:
    assert known.srf is not None
    return known.srf @ chosen.spread


def _crops(work: TileContext, pieces: Sequence[Piece], chosen: AnchorBands) -> list[FineStageInput]:
    """Return the starts of some varied crops of the sample."""
    side = fine_stage.crop_side(work.ratio)
    wide = side + 2 * MARGIN
    count = min(max(4, FIT_PX // (wide * work.ratio) ** 2), fine_stage.crop_count(work.ratio))
    cubes = [torch.from_numpy(p.cube[list(work.survey.used)]) for p in pieces]
    found = crops.choose(cubes, side, count)
    if not found:
        mean = torch.from_numpy(work.survey.space.mean)
        found = crops.choose([fill_holes(c, mean)[0] for c in cubes], side, count)
    return [_crop(work, pieces[i], w, chosen) for i, w in found]


def _crop(work: TileContext, piece: Piece, core: Window, chosen: AnchorBands) -> FineStageInput:
    """Return the start of a crop, (lr window in the piece's coordinates), made with a margin that is cut again."""
    whole, ratio = piece.tile.padded, work.ratio
    near = core.grown(MARGIN).clipped(whole.shape)
    there = near.moved(whole.y0, whole.x0)
    guide, margin = piece.guide, guide_margin(work.survey.moved_px)
    if guide is not None:
        rows, columns = near.scaled(ratio).moved(margin, margin).grown(margin).slices
        guide = guide[:, rows, columns]
    seen = fine_stage_input(work, Tile(0, there, there), piece.cube[(slice(None), *near.slices)], guide, chosen)
    return seen.cut(core.within(near))


# ---- back-projection ---------------------------------------------------------------------


def _projected(
    work: TileContext,
    wishes: SurveyOptions,
    pieces: Sequence[Piece],
    known: dict[int, FineStageTrial],
    chosen: AnchorBands,
) -> FineStage:
    """Survey the scene at half its ratio, and ask the Wald pair what back-projection is worth."""
    plain = FineStage(work.fine, chosen, 1.0)
    said = {}
    for ratio, one in known.items():
        tried = replace(plain, half=_half(one.work, wishes, one.pieces))
        views = one.views(replace(one.work, refinement=tried), chosen)
        said[ratio] = one.judge(_weighed(tried, views), views)
    found = _settled(plain, said)
    if not found.share:
        return found
    found = replace(found, half=_half(work, wishes, pieces))
    return _weighed(found, _crops(replace(work, refinement=found), pieces, chosen))


def _weighed(found: FineStage, views: Sequence[FineStageInput]) -> FineStage:
    """Return a projection with the scene's mean spectral angle, degrees, at most 1, unless each pixel has its own."""
    if found.fine != "backprojection":
        return found
    flat = torch.cat([fine_stage.angles(v).flatten() for v in views])
    return replace(found, angle=min(1.0, float(flat.mean())))


def _half(work: TileContext, wishes: SurveyOptions, pieces: Sequence[Piece]) -> Survey | None:
    """Survey a scene at half its ratio; None at ratio 2, where that is the scene itself."""
    ratio, known = work.ratio // 2, work.survey
    if ratio < 2:
        return None
    margin, samples = guide_margin(known.moved_px), []
    for piece in pieces:
        guide = None
        if piece.guide is not None:
            moved = torch.from_numpy(move_guide(piece.guide, known.moved_px, margin))
            guide = fine_stage_trial.bordered(halved(moved).numpy(), sample_margin(ratio))
        samples.append(Sample(piece.cube, guide))
    (sy, sx), (dy, dx) = known.psf.sigma_px, known.psf.shift_px
    psf = Psf.gaussian(ratio, (sy / 2, sx / 2), (dy / 2, dx / 2))
    return fine_stage_trial.with_shrinkage_of(
        estimate_survey(samples, fine_stage_trial.trial_options(wishes, ratio, psf)), known
    )
