"""The residual is smoothed where the scene's pixels would show as a lattice, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from wald_cases import product, psnr, surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.models.registry import load_model
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.surveying.survey import Survey


def sample(seed: int = 1, ratio: int = 4, shape: tuple[int, int] = (30, 34)) -> synthetic.Sample:
    return synthetic.make(shape, ratio=ratio, bands=5, seed=seed)


def doubled(one: synthetic.Sample) -> np.ndarray:
    return one.scene.repeat(2, 1).repeat(2, 2)


def unsmoothed(survey: Survey) -> Survey:
    return replace(survey, model_state=replace(survey.model_state, smoothing=None))


def lattice(scene: np.ndarray, guide: np.ndarray, survey: Survey) -> float:
    (statistics,) = product(scene, guide, survey)[1]
    return statistics.artefacts.lattice


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_repeated_pixels_leave_no_lattice_and_a_better_product(seed):
    one = sample(seed)
    scene = doubled(one)
    survey = surveyed(scene, one.guide, SurveyOptions(2))
    plain, smoothing = unsmoothed(survey), survey.model_state.smoothing
    assert smoothing.passes in (1, 2)
    assert smoothing.lattice_unsmoothed > 0.1 > smoothing.lattice
    assert lattice(scene, one.guide, survey) < 0.5 * lattice(scene, one.guide, plain)
    made, rough = (product(scene, one.guide, s)[0] for s in (survey, plain))
    assert psnr(made, one.reference) > psnr(rough, one.reference) + 0.5
    (note,) = (n for n in survey.notes if "lattice" in n)
    assert f"smoothed over {2 * smoothing.passes + 1} pixels" in note


def test_a_lattice_is_found_where_no_pixel_is_repeated():
    # Resampled to half the pixel size, with noise, so that no two pixels are equal.
    one = sample(4)
    scene = doubled(one)
    scene = scene + np.random.default_rng(0).normal(0, 1e-3 * scene.std(), scene.shape).astype(np.float32)
    survey = surveyed(scene, one.guide, SurveyOptions(2))
    assert not any("repeated 2" in n for n in survey.notes)
    assert survey.model_state.smoothing.passes >= 1
    assert lattice(scene, one.guide, survey) < 0.5 * lattice(scene, one.guide, unsmoothed(survey))


@pytest.mark.parametrize("ratio", [2, 4])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_scene_as_measured_is_not_smoothed(ratio, noise):
    one = synthetic.make((48, 50), ratio=ratio, bands=5, seed=2, noise=noise)
    survey = surveyed(one.scene, one.guide, SurveyOptions(ratio))
    assert survey.model_state.smoothing is None
    assert not any("lattice" in n for n in survey.notes)


def test_fringes_of_a_blur_far_too_wide_are_smoothed():
    one = synthetic.make((40, 42), ratio=4, bands=6, seed=3)
    bands, height, width = one.reference.shape
    box = one.reference.reshape(bands, height // 4, 4, width // 4, 4).mean((2, 4))
    survey = surveyed(box, one.guide, SurveyOptions(4, psf=Psf.from_mtf(4, 0.05)))
    smoothing = survey.model_state.smoothing
    assert smoothing.fringes > 1.6
    assert any("fringes of colour" in n or "lattice" in n for n in survey.notes)
    made, rough = (product(box, one.guide, s)[0] for s in (survey, unsmoothed(survey)))
    assert psnr(made, one.reference) > psnr(rough, one.reference) + 0.5


def test_a_scene_too_small_for_the_figure_is_smoothed_once_if_its_pixels_are_repeated():
    one = sample(5, shape=(12, 13))
    survey = surveyed(doubled(one), one.guide, SurveyOptions(2))
    smoothing = survey.model_state.smoothing
    assert (smoothing.passes, smoothing.lattice) == (1, None)
    assert any("smoothed over 3 pixels" in n for n in survey.notes)
    assert surveyed(one.scene, one.guide, SurveyOptions(4)).model_state.smoothing is None


@pytest.mark.parametrize("model", ["regression", "auto"])
def test_tiles_equal_the_whole_and_a_stored_survey_gives_the_same(model):
    one = sample(6, shape=(34, 37))
    scene, chosen = doubled(one), load_model(model)
    scene[:, 20:23, 31:33] = np.nan
    # The usual blur is given: repeated pixels look like a blur of a whole pixel, which no halo is made for.
    survey = surveyed(scene, one.guide, SurveyOptions(2, model=chosen, psf=Psf.from_mtf(2)))
    whole = product(scene, one.guide, survey, model=model)[0]
    tiled = product(scene, one.guide, survey, model=model, tile=19)[0]
    assert np.isfinite(whole).all(0).mean() > 0.99
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.ptp(one.scene))
    stored = Survey.from_json(json.loads(json.dumps(survey.to_json())), chosen)
    np.testing.assert_array_equal(product(scene, one.guide, stored, model=model)[0], whole)
