"""The guide is denoised where its noise costs more than the filter, and every judgement keeps the noise."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from wald_cases import DATA, case, product, psnr, surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block
from dualsr_geo.fusion.guide_noise.outliers import without_outliers
from dualsr_geo.fusion.subspace import estimate_subspace
from dualsr_geo.fusion.wald.pair_noise import PairNoise
from dualsr_geo.models.registry import load_model
from dualsr_geo.serialization import to_json
from dualsr_geo.surveying.guide_denoising import AGREEMENT_FACTOR, strengths
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.surveying.survey import Survey

RATIO = 4
OPTIONS = SurveyOptions(RATIO, psf=Psf.from_mtf(RATIO))


def noisy(guide: np.ndarray, share: float, seed: int = 3) -> np.ndarray:
    """Add white noise of this share of the guide's largest value."""
    noise = np.random.default_rng(seed).standard_normal(guide.shape)
    return (guide + share * guide.max() * noise).astype(np.float32)


@pytest.fixture(scope="module")
def sample() -> synthetic.Sample:
    return synthetic.make((41, 53), bands=16, seed=1)


@pytest.fixture(scope="module")
def noisy_guide(sample) -> np.ndarray:
    return noisy(sample.guide, 0.02)


@pytest.fixture(scope="module")
def survey(sample, noisy_guide) -> Survey:
    return surveyed(sample.scene, noisy_guide, OPTIONS)


def test_a_noisy_guide_is_measured_and_denoised_and_the_product_gains(sample, noisy_guide, survey):
    denoising = survey.denoising
    assert denoising is not None
    assert denoising.filter is not None
    assert denoising.noise.level == pytest.approx(0.02 * sample.guide.max(), rel=0.15)
    as_it_is = surveyed(sample.scene, noisy_guide, replace(OPTIONS, denoise=False))
    assert as_it_is.denoising is None
    clean, rough = (product(sample.scene, noisy_guide, s)[0] for s in (survey, as_it_is))
    assert psnr(clean, sample.reference) > psnr(rough, sample.reference) + 2


def test_a_clean_guide_is_left_as_it_is(sample):
    clean, off = (surveyed(sample.scene, sample.guide, replace(OPTIONS, denoise=d)) for d in (True, False))
    assert clean.guide_filter is None
    with_it, without = (psnr(product(sample.scene, sample.guide, s)[0], sample.reference) for s in (clean, off))
    assert with_it == pytest.approx(without, abs=0.05)


@pytest.mark.parametrize("tile", [13, 16, 29])
def test_tiled_is_whole_with_a_denoised_shifted_and_holed_guide(sample, noisy_guide, tile):
    guide = np.roll(noisy_guide, (1, -2), (1, 2))
    guide[:, 60:71, 90:120] = np.nan
    survey = surveyed(sample.scene, guide, SurveyOptions(RATIO))
    assert survey.guide_filter is not None
    assert survey.placement.moved_px != (0.0, 0.0)
    whole, tiled = (product(sample.scene, guide, survey, tile=t)[0] for t in (1000, tile))
    assert np.abs(tiled - whole).max() <= 1e-5 * np.ptp(sample.scene)


def test_a_survey_with_a_filter_is_the_same_after_json(survey, sample, noisy_guide):
    value = json.loads(json.dumps(to_json(survey), allow_nan=False))
    again = Survey.from_json(value, load_model("regression"))
    assert to_json(again) == to_json(survey)
    made, remade = (product(sample.scene, noisy_guide, s)[0] for s in (survey, again))
    np.testing.assert_array_equal(made, remade)


def test_a_one_band_guide_with_detail_of_its_own_is_left_as_it_is(sample):
    """What the bands do not explain of a pan is not noise of the finest detail: a filter would remove it."""
    rng = np.random.default_rng(0)
    own = np.kron(rng.standard_normal((41, 53)), np.ones((RATIO, RATIO)))
    pan = sample.guide.mean(0, keepdims=True) + 0.05 * own.astype(np.float32)
    survey = surveyed(sample.scene, noisy(pan, 0.002), OPTIONS)
    assert survey.denoising is not None
    noise = survey.denoising.noise
    assert noise.from_scene[0] > AGREEMENT_FACTOR * noise.from_guide[0]
    assert survey.guide_filter is None


def test_filters_are_tried_from_weak_to_strong(survey):
    assert survey.denoising is not None
    white = survey.denoising.noise
    levels = strengths(white)
    assert all((a <= b).all() for a, b in itertools.pairwise(levels))
    np.testing.assert_array_equal(levels[0], white.level)
    compressed = replace(white, white=False)
    np.testing.assert_allclose(strengths(compressed), [white.level / 2, white.level])


def test_the_pairs_of_a_noisy_guide_keep_its_noise(survey, sample):
    assert survey.denoising is not None
    assert survey.denoising.pair_noise is not None
    assert survey.denoising.weights_noise is None
    silent = surveyed(sample.scene, sample.guide, OPTIONS).denoising
    assert silent is not None
    assert silent.loss_db < survey.denoising.loss_db


@pytest.mark.parametrize("bands", [1, 3])
def test_pair_noise_has_its_covariance_and_is_the_same_every_time(bands):
    amplitudes = np.random.default_rng(bands).standard_normal((bands, bands)).astype(np.float32)
    guide = torch.zeros(bands, 211, 303)
    noise = PairNoise(amplitudes)
    first, second = (noise.added(guide, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(first, second)
    covariance = np.cov(first.flatten(1).numpy()).reshape(bands, bands)
    expected = amplitudes @ amplitudes.T
    np.testing.assert_allclose(covariance, expected, atol=0.03 * np.abs(expected).max())


def test_outliers_are_where_guide_and_scene_differ():
    rng = np.random.default_rng(0)
    cube = torch.from_numpy(rng.standard_normal((4, 37, 29)).astype(np.float32))
    guide = torch.from_numpy(np.kron(cube[:2].numpy(), np.ones((2, 2), np.float32)))
    guide = guide + 0.01 * torch.from_numpy(rng.standard_normal(guide.shape).astype(np.float32))
    guide[:, 10:30, 8:28] += 3
    psf = Psf(2, (0.5, 0.5), (0.5, 0.5), 0, 0)
    space = estimate_subspace(cube.flatten(1).numpy(), np.ones(37 * 29, np.float32))
    (block,) = without_outliers([Block(cube, torch.ones(37, 29), guide)], psf, space)
    assert not block.weight[5:15, 4:14].any()
    block.weight[5:15, 4:14] = 1
    assert block.weight.mean() > 0.99


@pytest.mark.skipif(not DATA.is_dir(), reason="without shared/data")
@pytest.mark.parametrize(("share", "gain_db"), [(0.01, 4.0), (0.003, 1.0)])
def test_a_real_scene_gains_by_a_denoised_guide(share, gain_db):
    one = case("sponges 4 M rgb")
    cut = replace(one, reference=one.reference[:, 128:384, 128:384], scene=one.scene[:, 32:96, 32:96])
    guide = noisy(one.guide[:, 128:384, 128:384], share)
    scores = []
    for denoise in (True, False):
        survey = surveyed(cut.scene, guide, replace(OPTIONS, denoise=denoise))
        scores.append(psnr(product(cut.scene, guide, survey)[0], cut.reference))
    assert scores[0] > scores[1] + gain_db
