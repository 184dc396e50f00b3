"""The standard deviation of a product's error, computed by a tile from the survey's levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from wald_cases import product, surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.fusion.error_model import ErrorLevel, ErrorModel
from dualsr_geo.fusion.uncertainty import (
    DISAGREEMENT_EXPONENT,
    GUIDED_DETAIL_EXPONENT,
    PREDICTOR_OFFSET,
    UNGUIDED_DETAIL_EXPONENT,
    ConsistentStart,
    ErrorPredictors,
    error_predictors,
    relative_error,
)
from dualsr_geo.models.registry import load_model
from dualsr_geo.raster.windows import Window
from dualsr_geo.serialization import to_json
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.surveying.survey import Survey

RATIO, BANDS = 4, 7
OPTIONS = SurveyOptions(RATIO, uncertainty=True)


@pytest.fixture(scope="module")
def sample() -> synthetic.Sample:
    return synthetic.make((41, 53), bands=BANDS, seed=5)


@pytest.fixture(scope="module")
def known(sample) -> Survey:
    return surveyed(sample.scene, sample.guide, OPTIONS)


def deviations(sample, survey: Survey, guide=..., **options) -> np.ndarray:
    return product(sample.scene, sample.guide if guide is ... else guide, survey, **options)[0][BANDS:]


def scaled(level: ErrorLevel | None, by: float) -> ErrorLevel | None:
    return None if level is None else replace(level, size=level.size * np.float32(by))


def of_levels(survey: Survey, guided: float = 1, unguided: float = 1, floor: float = 1) -> Survey:
    model = survey.uncertainty
    levels = scaled(model.unguided, unguided), scaled(model.guided, guided)
    return replace(survey, uncertainty=ErrorModel(model.floor * np.float32(floor), *levels))


def test_json_and_back_is_exact(known):
    again = Survey.from_json(to_json(known), load_model("regression"))
    assert to_json(again) == to_json(known)
    np.testing.assert_array_equal(again.uncertainty.guided.size, known.uncertainty.guided.size)
    assert again.uncertainty.unguided.disagreement is None


@pytest.mark.parametrize(("ratio", "tile"), [(4, 16), (3, 23), (2, 17)])
def test_tiled_is_whole_with_holes_noise_shift_and_half_a_guide(ratio, tile):
    made = synthetic.make((47, 58), bands=13, seed=5, noise=0.02, shift_px=(1.5, -0.7), ratio=ratio)
    scene, guide = made.scene.copy(), made.guide.copy()
    scene[:, 20:27, 30:41] = np.nan
    scene[2, 40:, :9] = np.nan
    guide[:, :, 40 * ratio :] = np.nan
    known = surveyed(scene, guide, SurveyOptions(ratio, uncertainty=True))
    whole, tiled = (product(scene, guide, known, tile=t)[0] for t in (1000, tile))
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(tiled))
    np.testing.assert_array_equal(np.isnan(whole[:13]), np.isnan(whole[13:]))
    assert np.nanmax(np.abs(tiled - whole)) <= 1e-5 * np.ptp(whole[:13][np.isfinite(whole[:13])])


def test_the_product_is_the_same_with_and_without(sample, known):
    with_it = product(sample.scene, sample.guide, known)[0][:BANDS]
    without = product(sample.scene, sample.guide, replace(known, uncertainty=None))[0]
    np.testing.assert_array_equal(with_it, without)


def test_each_level_counts_where_its_start_does(sample, known):
    guide = sample.guide.copy()
    guide[:, :, 100:] = np.nan
    half = of_levels(surveyed(sample.scene, guide, OPTIONS), floor=0)
    means, other = (deviations(sample, k, guide) for k in (half, of_levels(half, guided=3)))
    ratio = other / means
    np.testing.assert_allclose(ratio[:, :, 116:], 1)
    np.testing.assert_allclose(ratio[:, :, :80], 3, rtol=1e-5)
    other = deviations(sample, of_levels(half, unguided=3), guide)
    np.testing.assert_allclose((other / means)[:, :, :80], 1)


def test_a_mere_floor_depends_on_brightness_alone(sample, known):
    flat = of_levels(known, guided=0, unguided=0)
    flat = replace(flat, uncertainty=replace(flat.uncertainty, floor=np.arange(1, BANDS + 1, dtype=np.float32)))
    made = deviations(sample, flat) / np.arange(1, BANDS + 1)[:, None, None]
    np.testing.assert_allclose(made, np.broadcast_to(made[:1], made.shape), rtol=1e-6)
    factors = known.uncertainty.guided.brightness.factor
    assert made.min() == pytest.approx(factors.min(), rel=1e-5)
    assert made.max() == pytest.approx(factors.max(), rel=1e-5)


def test_a_survey_of_an_earlier_version_has_no_factors_of_brightness(sample, known):
    flat = of_levels(known, guided=0, unguided=0)
    guided = replace(flat.uncertainty.guided, brightness=None, coverage=None)
    floor = np.arange(1, BANDS + 1, dtype=np.float32)
    made = deviations(sample, replace(flat, uncertainty=replace(flat.uncertainty, floor=floor, guided=guided)))
    np.testing.assert_allclose(made, np.broadcast_to(floor[:, None, None], made.shape), rtol=1e-6)


def test_no_pixel_is_below_the_floor_of_its_brightness(sample, known):
    lifted = replace(known, uncertainty=replace(known.uncertainty, floor=np.full(BANDS, 0.02, np.float32)))
    assert deviations(sample, lifted).min() >= 0.02 * known.uncertainty.guided.brightness.factor.min() * (1 - 1e-6)


def test_other_units_change_nothing_but_the_units(sample):
    scene, tenfold = sample.scene, 10 * sample.scene
    plain, large = (product(s, sample.guide, surveyed(s, sample.guide, OPTIONS))[0][BANDS:] for s in (scene, tenfold))
    assert np.abs(large / plain - 10).max() < 0.1


def test_figures_add_up_to_the_mean(sample, known):
    made, counted = product(sample.scene, sample.guide, known, tile=16)
    mean = sum(f.deviations for f in counted) / sum(f.deviation_pixels for f in counted)
    np.testing.assert_allclose(mean, made[BANDS:].mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize("guided", [False, True])
def test_the_relative_error_is_the_formula(guided):
    rng = np.random.default_rng(3)
    detail, disagreement = (torch.from_numpy(rng.uniform(0, 4, (3, 50)).astype(np.float32)) for _ in range(2))
    means = tuple(rng.uniform(0.5, 2, 3).astype(np.float32) for _ in range(2))
    got = relative_error(detail, disagreement if guided else None, means).numpy()
    terms = [(m.numpy() / u[:, None] + PREDICTOR_OFFSET) for m, u in zip((detail, disagreement), means, strict=True)]
    want = (
        terms[0] ** GUIDED_DETAIL_EXPONENT * terms[1] ** DISAGREEMENT_EXPONENT
        if guided
        else terms[0] ** UNGUIDED_DETAIL_EXPONENT
    )
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_detail_agrees_with_scipy(known):
    """Away from the edge: Gaussian of ratio / 2.5, cut at 2.5 widths, of |x - up(degrade x)|."""
    rng = np.random.default_rng(0)
    planes = torch.from_numpy(rng.standard_normal((2, 12 * RATIO, 15 * RATIO)).astype(np.float32))
    op = operator(known.psf, (12, 15))
    closed = consistency(known.psf, (12, 15), [0.0, 0.0], op)
    expand = torch.tensor([[1.0, 0.5], [-0.3, 2.0], [0.0, 1.0]])
    start = ConsistentStart(expand, op.degrade(planes), planes, closed, None, None)
    predictors: ErrorPredictors = error_predictors(start, Window(2, 9, 3, 14), RATIO)
    bands = torch.einsum("bk,kyx->byx", expand, planes - op.upsample(op.degrade(planes))).abs().numpy()
    want = np.stack([gaussian_filter(b, RATIO / 2.5, truncate=2.5) for b in bands])[:, 8:36, 12:56]
    np.testing.assert_allclose(predictors.bands(slice(0, 3))[0].numpy(), want, rtol=1e-4, atol=1e-5)
    assert predictors.bands(slice(1, 3))[1] is None
