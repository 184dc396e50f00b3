"""The trial of a fine stage on the scene's Wald pair, and the shrinkage of the correction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from wald_cases import crop

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.fine_stage import trial as fine_stage_trial
from dualsr_geo.engine.fine_stage.trial import MIN_FACTOR, Piece, fine_stage_shrinkage, try_fine_stage
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.fusion import anchor_bands
from dualsr_geo.models.definition import with_fine
from dualsr_geo.models.registry import load_model
from dualsr_geo.models.shrinkage import Evidence
from dualsr_geo.raster.windows import Tile, Window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.surveying.estimation import estimate_survey
from dualsr_geo.surveying.sampling import Sample, SurveyOptions

SHAPE = (41, 30)


def agreeing(best: float) -> Evidence:
    return Evidence(best * np.linspace(1, 2, 50), np.linspace(1, 2, 50))


@given(st.lists(st.floats(-20, 20), max_size=3))
def test_a_shrinkage_factor_is_0_or_at_least_the_minimum(bests):
    trial = fine_stage_shrinkage([agreeing(b) for b in bests])
    assert trial == 0 or MIN_FACTOR <= trial < 1


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_more_gain_never_lowers_the_factor(a, b):
    low, high = sorted((a, b))
    assert fine_stage_shrinkage([agreeing(low)]) <= fine_stage_shrinkage([agreeing(high)])


def test_without_evidence_the_factor_is_0():
    assert fine_stage_shrinkage([]) == 0
    assert fine_stage_shrinkage([Evidence(np.array([5.0]), np.array([1.0]))]) == 0
    assert fine_stage_shrinkage([agreeing(0.0)]) == fine_stage_shrinkage([agreeing(-3.0)]) == 0


def test_best_factors_are_limited_to_1():
    assert fine_stage_shrinkage([agreeing(30.0)]) == fine_stage_shrinkage([agreeing(1.0)]) > 0.3


def test_pairs_that_disagree_give_a_factor_of_0():
    assert fine_stage_shrinkage([agreeing(1.0), agreeing(-1.0)]) == 0


def trial_of(model: str = "regression", guide: bool = True, ratio: int = 2, noise: float = 0.0):
    sample = synthetic.make(SHAPE, bands=6, seed=4, noise=noise)
    chosen = with_fine(load_model(model), "consistency")
    psf = Psf.from_mtf(4)
    options = SurveyOptions(4, psf=psf, model=chosen)
    whole = Window(0, SHAPE[0], 0, SHAPE[1])
    guide_window = crop(sample.guide, whole.scaled(4).grown(sample_margin(4))) if guide else None
    survey = estimate_survey([Sample(sample.scene, guide_window)], options)
    bands = len(sample.scene)
    packing = fine_stage_trial._float32(len(survey.used))
    work = TileContext(SHAPE, bands, 4, 64, chosen, "consistency", packing, "cpu", survey)
    piece = Piece(Tile(0, whole, whole), sample.scene, sample.guide if guide else None)
    with torch.inference_mode():
        return sample, work, options, piece, try_fine_stage(work, options, [piece], ratio)


@pytest.mark.parametrize(("model", "guide"), [("regression", True), ("interpolation", False), ("gsa", True)])
@pytest.mark.parametrize("ratio", [2, 4])
def test_the_truth_is_the_scene_itself(model, guide, ratio):
    sample, _, _, _, trial = trial_of(model, guide, ratio)
    height, width = (n // ratio * ratio for n in SHAPE)
    np.testing.assert_array_equal(trial.truths[0].numpy(), sample.scene[:, :height, :width])
    assert trial.pieces[0].cube.shape[1:] == (height // ratio, width // ratio)
    assert trial.context.ratio == ratio
    chosen = anchor_bands.choose_anchor_bands(sample.scene.reshape(6, -1), np.ones(sample.scene[0].size, np.float32))
    with torch.inference_mode():
        views = trial.views(trial.context, chosen)
        error = trial.error(views, chosen)
    error_planes = trial.truths[0] - views[0].start
    np.testing.assert_allclose(error, error_planes.square().mean((1, 2)).sqrt(), rtol=1e-4)
    # A sharpened scene: its error is below the standard deviation of the bands.
    assert (error < 0.7 * sample.scene.std((1, 2))).all()


def test_a_guided_start_is_better_than_an_unguided_one():
    chosen = anchor_bands.AnchorBands(tuple(range(6)), np.eye(6, dtype=np.float32))
    errors = []
    for model, guide in (("regression", True), ("interpolation", False)):
        trial = trial_of(model, guide)[-1]
        with torch.inference_mode():
            errors.append(trial.error(trial.views(trial.context, chosen), chosen).mean())
    assert errors[0] < 0.7 * errors[1]


def test_a_pair_has_the_shrinkage_factors_of_the_scene():
    _, work, _, _, trial = trial_of("auto", True)
    theirs, ours = work.survey.model_state.correction, trial.context.survey.model_state.correction
    assert ours.guided.share == theirs.guided.share
    assert ours.unguided.share == theirs.unguided.share


def test_a_scene_too_small_to_be_degraded_has_no_trial():
    _, work, options, piece, _ = trial_of()
    small = Window(0, 7, 0, 9)
    part = Piece(Tile(0, small, small), piece.cube[:, :7, :9], piece.guide[:, :28, :36])
    assert try_fine_stage(work, options, [part], 2) is None
