"""Detail assessments on the scene's Wald pair, against those with the truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from wald_cases import product, surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.models.registry import load_model
from dualsr_geo.serialization import from_json, to_json
from dualsr_geo.surveying import detail
from dualsr_geo.surveying.detail import DetailAssessment, Piece
from dualsr_geo.surveying.detail_assessment import MIN_SIDE_PX
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.surveying.survey import Survey

RATIO = 4
NAMES = ("improvement", "guide", "neither")


def assess(
    scene: np.ndarray, guide: np.ndarray | None, model: str = "regression", ratio: int = RATIO
) -> DetailAssessment:
    options = SurveyOptions(ratio, psf=Psf.from_mtf(ratio), model=load_model(model), detail=True)
    assessment = surveyed(scene, guide, options).detail
    assert assessment is not None
    return assessment


def mean(values: np.ndarray) -> float:
    return float(np.nanmean(values))


@pytest.fixture(scope="module")
def sample() -> synthetic.Sample:
    return synthetic.make((61, 77), bands=7, seed=1)


@pytest.fixture(scope="module")
def with_guide(sample) -> DetailAssessment:
    return assess(sample.scene, sample.guide)


def pasted(guide: np.ndarray) -> np.ndarray:
    """Replace a quarter of a guide by bricks."""
    out = guide.copy()
    height, width = (n // 2 for n in guide.shape[1:])
    y, x = np.mgrid[:height, :width]
    bricks = 2.0 * ((y // 9 + x // 7) % 2) - 1
    level, contrast = (f((1, 2))[:, None, None] for f in (guide.mean, guide.std))
    out[:, :height, :width] = level + contrast * bricks
    return out


@pytest.mark.parametrize("model", ["regression", "auto"])
def test_texture_that_only_the_guide_has_is_attributed_to_the_guide(sample, model):
    before, after = assess(sample.scene, sample.guide, model), assess(sample.scene, pasted(sample.guide), model)
    assert mean(after.guide) > 1.4 * mean(before.guide)
    assert mean(after.guide) - mean(before.guide) > 0.03
    assert mean(after.improvement) < mean(before.improvement) - 0.1
    # The scene itself contradicts it, too.
    assert mean(after.contradicted) > 4 * mean(before.contradicted)


@pytest.mark.parametrize("seed", [1, 5])
def test_the_assessment_is_near_that_with_the_truth(seed):
    sample = synthetic.make((61, 77), bands=7, seed=seed)
    survey = surveyed(sample.scene, sample.guide, SurveyOptions(RATIO, psf=Psf.from_mtf(RATIO), detail=True))
    restored = torch.from_numpy(product(sample.scene, sample.guide, survey)[0])
    op, truth, guide = operator(survey.psf, (61, 77)), *map(torch.from_numpy, (sample.reference, sample.guide))
    interpolated, low = (op.upsample(op.degrade(planes)) for planes in (truth, guide))
    valid = torch.ones(restored.shape[1:], dtype=torch.bool)
    true = detail.measure([Piece(restored, truth, interpolated, guide - low, valid)], np.zeros(7), RATIO)
    assert mean(survey.detail.improvement) == pytest.approx(mean(true.improvement), abs=0.15)
    assert mean(survey.detail.hallucination) == pytest.approx(mean(true.hallucination), abs=0.1)


def test_a_guide_adds_detail(sample, with_guide):
    unguided = assess(sample.scene, None)
    assert mean(unguided.improvement) < mean(with_guide.improvement) - 0.2
    np.testing.assert_array_equal(unguided.guide, 0)
    assert unguided.contradicted is None


def test_a_guide_that_shows_nothing_of_the_scene_is_hardly_followed(sample):
    other = synthetic.make((61, 77), bands=7, seed=9).guide
    assessment, unguided = assess(sample.scene, other), assess(sample.scene, None)
    assert mean(assessment.improvement) == pytest.approx(mean(unguided.improvement), abs=0.1)
    assert mean(assessment.guide) < 0.15


def test_the_networks_improve_detail(sample):
    before, after = assess(sample.scene, None), assess(sample.scene, None, "learned")
    assert mean(after.improvement) > mean(before.improvement) + 0.02


@pytest.mark.parametrize("guided", [True, False])
def test_the_assessment_does_not_depend_on_units(sample, guided):
    guide = sample.guide if guided else None
    one, many = assess(sample.scene, guide), assess(3000 * sample.scene, guide)
    for name in NAMES:
        np.testing.assert_allclose(getattr(many, name), getattr(one, name), atol=0.02)


def test_a_noisy_scene_improves_less(sample, with_guide):
    rng = np.random.default_rng(0)
    noisy = (sample.scene + 0.2 * sample.scene.std() * rng.standard_normal(sample.scene.shape)).astype(np.float32)
    assessment = assess(noisy, sample.guide)
    assert mean(assessment.improvement) < mean(with_guide.improvement)
    assert all(np.isfinite(getattr(assessment, name)).all() for name in NAMES)


def test_holes_change_little(sample, with_guide):
    scene, guide = sample.scene.copy(), sample.guide.copy()
    scene[:, 5:9, 40:52] = np.nan
    scene[2, 30:33, 10:15] = np.nan
    guide[:, -30:, :40] = np.nan
    assessment = assess(scene, guide)
    for name in NAMES:
        assert mean(getattr(assessment, name)) == pytest.approx(mean(getattr(with_guide, name)), abs=0.05)


def test_a_guide_that_covers_too_little_counts_as_none(sample):
    guide = np.full_like(sample.guide, np.nan)
    guide[:, :8, :8] = 1
    assessment, unguided = assess(sample.scene, guide), assess(sample.scene, None)
    np.testing.assert_allclose(assessment.improvement, unguided.improvement, atol=1e-6)


@pytest.mark.parametrize("model", ["auto", "regression"])
@pytest.mark.parametrize("guided", [True, False])
def test_one_band(model, guided):
    sample = synthetic.make((31, 45), bands=1, seed=2)
    assessment = assess(sample.scene, sample.guide if guided else None, model)
    assert assessment.improvement.shape == (1,)
    assert 0 < assessment.improvement[0] <= 1


def test_bands_without_data_have_no_share(sample):
    scene = sample.scene.copy()
    scene[3] = np.nan
    assert assess(scene, sample.guide).improvement.shape == (6,)


@pytest.mark.parametrize(("side", "ratio", "wald"), [(12, 4, 2), (19, 4, 3), (25, 4, 4), (31, 2, 2), (49, 8, 8)])
def test_the_pair_is_the_largest_that_leaves_enough(side, ratio, wald):
    sample = synthetic.make((side, side + 5), bands=3, seed=3, ratio=ratio)
    assert assess(sample.scene, None, ratio=ratio).ratio == wald


def test_a_scene_too_small_to_be_degraded_has_no_assessment():
    sample = synthetic.make((2 * MIN_SIDE_PX - 1, 40), bands=3, seed=3)
    options = SurveyOptions(RATIO, psf=Psf.from_mtf(RATIO), detail=True)
    assert surveyed(sample.scene, sample.guide, options).detail is None


def test_a_scene_without_contrast_has_no_detail():
    flat = np.full((2, 30, 34), 0.25, np.float32)
    assert np.isnan(assess(flat, None).improvement).all()


def test_without_the_option_there_is_no_assessment(sample):
    assert surveyed(sample.scene, None, SurveyOptions(RATIO, psf=Psf.from_mtf(RATIO))).detail is None


def test_the_survey_in_json_contains_the_assessment(sample):
    survey = surveyed(sample.scene, sample.guide, SurveyOptions(RATIO, psf=Psf.from_mtf(RATIO), detail=True))
    back = from_json(Survey, json.loads(json.dumps(to_json(survey), allow_nan=False)))
    for name in (*NAMES, "contradicted"):
        np.testing.assert_array_equal(getattr(back.detail, name), getattr(survey.detail, name))
