"""The note on a guide whose first principal direction serves better than its bands."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from wald_cases import surveyed

from dualsr_geo import synthetic
from dualsr_geo.models.methods.regression import MIN_PRINCIPAL_GAIN_DB
from dualsr_geo.models.registry import load_model
from dualsr_geo.serialization import to_json
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.surveying.survey import Survey

MODEL = load_model("regression")


@pytest.fixture(scope="module")
def sample():
    return synthetic.make((24, 27), bands=8, seed=5)


def test_the_note_has_the_number_of_bands_and_the_gain(sample):
    state = surveyed(sample.scene, sample.guide, SurveyOptions(4, model=MODEL)).model_state
    (note,) = MODEL.notes(replace(state, principal_gain_db=1.25))
    assert "its 3 bands" in note
    assert "1.2 dB" in note
    assert "--rgb" in note
    assert MODEL.notes(replace(state, principal_gain_db=0.9 * MIN_PRINCIPAL_GAIN_DB)) == ()


def test_bands_that_help_are_not_noted(sample):
    survey = surveyed(sample.scene, sample.guide, SurveyOptions(4, model=MODEL))
    assert survey.model_state.principal_gain_db < 0
    assert not any("principal" in note for note in survey.notes)


def test_a_guide_of_one_band_has_no_gain_and_survives_json(sample):
    survey = surveyed(sample.scene, sample.guide[:1], SurveyOptions(4, model=MODEL))
    assert survey.model_state.principal_gain_db == -math.inf
    back = Survey.from_json(json.loads(json.dumps(to_json(survey))), MODEL)
    assert back.model_state.principal_gain_db == -math.inf
    assert MODEL.notes(back.model_state) == ()
    assert MODEL.notes(None) == ()
