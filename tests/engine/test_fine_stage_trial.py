"""The scene's own Wald pair: what it says of a correction, and how much of that is believed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from wald_cases import crop

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine import fine_stage_trial
from dualsr_geo.engine.fine_stage_trial import MIN_FACTOR, Piece, fine_stage_shrinkage, try_fine_stage
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.fusion import anchor_bands
from dualsr_geo.models.definition import with_fine
from dualsr_geo.models.registry import load_model
from dualsr_geo.models.shrinkage import Evidence
from dualsr_geo.raster.windows import Tile, Window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.survey.estimation import estimate_survey
from dualsr_geo.survey.sampling import Sample, SurveyOptions

SHAPE = (41, 30)


def agreeing(best: float) -> Evidence:
    return Evidence(best * np.linspace(1, 2, 50), np.linspace(1, 2, 50))


@given(st.lists(st.floats(-20, 20), max_size=3))
def test_a_share_lies_between_nothing_and_all(bests):
    found = fine_stage_shrinkage([agreeing(b) for b in bests])
    assert found == 0 or MIN_FACTOR <= found < 1


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_more_gain_never_lowers_the_share(a, b):
    low, high = sorted((a, b))
    assert fine_stage_shrinkage([agreeing(low)]) <= fine_stage_shrinkage([agreeing(high)])


def test_what_nobody_can_judge_is_not_used():
    assert fine_stage_shrinkage([]) == 0
    assert fine_stage_shrinkage([Evidence(np.array([5.0]), np.array([1.0]))]) == 0
    assert fine_stage_shrinkage([agreeing(0.0)]) == fine_stage_shrinkage([agreeing(-3.0)]) == 0


def test_a_pair_that_asks_for_more_than_all_says_all():
    assert fine_stage_shrinkage([agreeing(30.0)]) == fine_stage_shrinkage([agreeing(1.0)]) > 0.3


def test_one_pair_can_forbid_what_another_allows():
    assert fine_stage_shrinkage([agreeing(1.0), agreeing(-1.0)]) == 0


def rehearsed(model: str = "regression", guide: bool = True, ratio: int = 2, noise: float = 0.0):
    sample = synthetic.make(SHAPE, bands=6, seed=4, noise=noise)
    chosen = with_fine(load_model(model), "consistency")
    psf = Psf.from_mtf(4)
    wishes = SurveyOptions(4, psf=psf, model=chosen)
    whole = Window(0, SHAPE[0], 0, SHAPE[1])
    shown = crop(sample.guide, whole.scaled(4).grown(sample_margin(4))) if guide else None
    known = estimate_survey([Sample(sample.scene, shown)], wishes)
    bands = len(sample.scene)
    packing = fine_stage_trial._float32(len(known.used))
    work = TileContext(SHAPE, bands, 4, 64, chosen, "consistency", packing, "cpu", known)
    piece = Piece(Tile(0, whole, whole), sample.scene, sample.guide if guide else None)
    with torch.inference_mode():
        return sample, work, wishes, piece, try_fine_stage(work, wishes, [piece], ratio)


@pytest.mark.parametrize(("model", "guide"), [("regression", True), ("interpolation", False), ("gsa", True)])
@pytest.mark.parametrize("ratio", [2, 4])
def test_the_truth_is_the_scene_itself(model, guide, ratio):
    sample, _, _, _, found = rehearsed(model, guide, ratio)
    height, width = (n // ratio * ratio for n in SHAPE)
    np.testing.assert_array_equal(found.truths[0].numpy(), sample.scene[:, :height, :width])
    assert found.pieces[0].cube.shape[1:] == (height // ratio, width // ratio)
    assert found.context.ratio == ratio
    chosen = anchor_bands.choose_anchor_bands(sample.scene.reshape(6, -1), np.ones(sample.scene[0].size, np.float32))
    with torch.inference_mode():
        views = found.views(found.context, chosen)
        error = found.error(views, chosen)
    wrong = found.truths[0] - views[0].start
    np.testing.assert_allclose(error, wrong.square().mean((1, 2)).sqrt(), rtol=1e-4)
    # It is a sharpened scene: its error is below the bands' own spread.
    assert (error < 0.7 * sample.scene.std((1, 2))).all()


def test_a_guided_start_is_better_than_one_alone():
    chosen = anchor_bands.AnchorBands(tuple(range(6)), np.eye(6, dtype=np.float32))
    errors = []
    for model, guide in (("regression", True), ("interpolation", False)):
        found = rehearsed(model, guide)[-1]
        with torch.inference_mode():
            errors.append(found.error(found.views(found.context, chosen), chosen).mean())
    assert errors[0] < 0.7 * errors[1]


def test_our_networks_correct_a_pair_as_they_correct_the_scene():
    _, work, _, _, found = rehearsed("auto", True)
    theirs, ours = work.survey.model_state.correction, found.context.survey.model_state.correction
    assert ours.guided.share == theirs.guided.share
    assert ours.unguided.share == theirs.unguided.share


def test_a_scene_too_small_to_be_degraded_says_nothing():
    _, work, wishes, piece, _ = rehearsed()
    small = Window(0, 7, 0, 9)
    part = Piece(Tile(0, small, small), piece.cube[:, :7, :9], piece.guide[:, :28, :36])
    assert try_fine_stage(work, wishes, [part], 2) is None
