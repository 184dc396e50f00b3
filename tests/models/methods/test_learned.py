"""Shrinkage factors of a survey: with and without shrinkage, with a guide of all, part or none of the scene."""

from __future__ import annotations

import json

import numpy as np
import pytest
from wald_cases import product, surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.wald.pairs import pair_ratios
from dualsr_geo.models.guided_shrinkage import PRIOR
from dualsr_geo.models.registry import load_model
from dualsr_geo.serialization import to_json
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.surveying.survey import Survey

SHAPE = (45, 52)


@pytest.fixture(scope="module")
def sample():
    return synthetic.make(SHAPE, bands=7, seed=3)


def survey_of(sample, guide, model="auto", **options):
    return surveyed(sample.scene, guide, SurveyOptions(4, psf=Psf.from_mtf(4), model=load_model(model), **options))


def test_without_shrinkage_factors_are_1_and_there_is_no_evidence(sample):
    for guide in (sample.guide, None):
        state = survey_of(sample, guide, "learned").model_state.correction
        assert (state.unguided.share, state.unguided_evidence, state.guided_evidence) == (1, (), ())
        assert guide is None or state.guided.share == 1


def test_a_guided_scene_has_evidence_of_guided_pairs(sample):
    state = survey_of(sample, sample.guide).model_state.correction
    assert [e.ratio for e in state.guided_evidence] == pair_ratios(SHAPE, 4)
    assert 0 <= state.guided.share <= 1
    assert (state.unguided.share, state.unguided_evidence) == (PRIOR.mean, ())


def test_an_unguided_scene_has_evidence_of_its_scales(sample):
    state = survey_of(sample, None).model_state.correction
    assert state.guided is None
    (evidence,) = state.unguided_evidence
    assert (evidence.ratio, evidence.excess > 0) == (2, True)
    assert 0 < state.unguided.share <= 1


def test_a_partly_guided_scene_has_both_kinds_of_evidence(sample):
    guide = sample.guide.copy()
    guide[:, :, 150:] = np.nan
    state = survey_of(sample, guide).model_state.correction
    assert state.guided_evidence
    assert state.unguided_evidence


def test_json_contains_the_evidence(sample):
    survey = survey_of(sample, None)
    again = Survey.from_json(json.loads(json.dumps(to_json(survey), allow_nan=False)), load_model("auto"))
    assert again.model_state.correction.unguided_evidence == survey.model_state.correction.unguided_evidence
    assert again.model_state.correction.unguided.share == survey.model_state.correction.unguided.share


def test_json_round_trip_of_a_scene_without_evidence():
    small = synthetic.make((9, 11), bands=3, seed=1)
    survey = survey_of(small, small.guide)
    again = Survey.from_json(json.loads(json.dumps(to_json(survey), allow_nan=False)), load_model("auto"))
    assert to_json(again) == to_json(survey)


@pytest.mark.parametrize(("requested", "guided", "unguided"), [(None, 3, 7), (3, 3, 3), (10**9, 7, 7), (1, 1, 1)])
def test_the_number_of_anchors_is_an_option(sample, requested, guided, unguided):
    survey = survey_of(sample, sample.guide, anchors=requested)
    assert len(survey.model_state.correction.guided.anchors.bands) == guided
    assert len(survey.model_state.correction.unguided.anchors.bands) == unguided
    assert np.isfinite(product(sample.scene, sample.guide, survey, model="auto")[0]).all()


def test_pure_noise_is_not_sharpened():
    rng = np.random.default_rng(0)
    scene = (0.3 + 0.05 * rng.standard_normal((5, 48, 48))).astype(np.float32)
    survey = surveyed(scene, None, SurveyOptions(4, psf=Psf.from_mtf(4), model=load_model("auto")))
    corrected = product(scene, None, survey, model="auto")[0]
    start = product(scene, None, survey, model="interpolation")[0]
    assert np.abs(corrected - start).std() < 0.05 * scene.std()
