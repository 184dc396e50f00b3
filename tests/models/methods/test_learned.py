"""By how much our networks may correct: gated or not, guided wholly, partly or not at all."""

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
from dualsr_geo.survey.sampling import SurveyOptions
from dualsr_geo.survey.survey import Survey

SHAPE = (45, 52)


@pytest.fixture(scope="module")
def sample():
    return synthetic.make(SHAPE, bands=7, seed=3)


def known(sample, guide, model="auto", **wishes):
    return surveyed(sample.scene, guide, SurveyOptions(4, psf=Psf.from_mtf(4), model=load_model(model), **wishes))


def test_what_is_not_gated_corrects_wholly_and_asks_nothing(sample):
    for guide in (sample.guide, None):
        found = known(sample, guide, "learned").model_state.correction
        assert (found.unguided.share, found.unguided_evidence, found.guided_evidence) == (1, (), ())
        assert guide is None or found.guided.share == 1


def test_a_guided_scene_is_asked_with_its_guide(sample):
    found = known(sample, sample.guide).model_state.correction
    assert [e.ratio for e in found.guided_evidence] == pair_ratios(SHAPE, 4)
    assert 0 <= found.guided.share <= 1
    assert (found.unguided.share, found.unguided_evidence) == (PRIOR.mean, ())


def test_a_scene_alone_is_asked_without(sample):
    found = known(sample, None).model_state.correction
    assert found.guided is None
    (evidence,) = found.unguided_evidence
    assert (evidence.ratio, evidence.excess > 0) == (2, True)
    assert 0 < found.unguided.share <= 1


def test_where_the_guide_ends_both_are_asked(sample):
    guide = sample.guide.copy()
    guide[:, :, 150:] = np.nan
    found = known(sample, guide).model_state.correction
    assert found.guided_evidence
    assert found.unguided_evidence


def test_what_was_asked_is_carried_exactly(sample):
    seen = known(sample, None)
    again = Survey.from_json(json.loads(json.dumps(to_json(seen), allow_nan=False)), load_model("auto"))
    assert again.model_state.correction.unguided_evidence == seen.model_state.correction.unguided_evidence
    assert again.model_state.correction.unguided.share == seen.model_state.correction.unguided.share


def test_a_scene_too_small_to_ask_is_carried_as_json():
    small = synthetic.make((9, 11), bands=3, seed=1)
    seen = known(small, small.guide)
    again = Survey.from_json(json.loads(json.dumps(to_json(seen), allow_nan=False)), load_model("auto"))
    assert to_json(again) == to_json(seen)


@pytest.mark.parametrize(("wanted", "anchors"), [(None, 7), (3, 3), (10**9, 7), (1, 1)])
def test_anchors_are_as_many_as_wanted(sample, wanted, anchors):
    seen = known(sample, sample.guide, anchors=wanted)
    assert len(seen.model_state.correction.guided.anchors.bands) == anchors
    assert len(seen.model_state.correction.unguided.anchors.bands) == anchors
    assert np.isfinite(product(sample.scene, sample.guide, seen, model="auto")[0]).all()


def test_noise_alone_is_not_sharpened():
    rng = np.random.default_rng(0)
    scene = (0.3 + 0.05 * rng.standard_normal((5, 48, 48))).astype(np.float32)
    seen = surveyed(scene, None, SurveyOptions(4, psf=Psf.from_mtf(4), model=load_model("auto")))
    made = product(scene, None, seen, model="auto")[0]
    plain = product(scene, None, seen, model="interpolation")[0]
    assert np.abs(made - plain).std() < 0.05 * scene.std()
