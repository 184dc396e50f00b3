"""The survey of a scene, its sample, and the placement of the guide."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import shift as scipy_shift
from wald_cases import crop, product, psnr, surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import InputError
from dualsr_geo.fusion.blocks import MAX_WHOLE_PX, band_means, bands_with_data
from dualsr_geo.models.registry import load_model
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.registration.scene_blur.assumption import FALLBACK_GAIN
from dualsr_geo.registration.shift import guide_margin, move_guide
from dualsr_geo.serialization import to_json
from dualsr_geo.surveying.estimation import estimate_survey
from dualsr_geo.surveying.sampling import BLOCK_COUNT, BLOCK_SIDE_PX, Sample, SurveyOptions, sample_windows
from dualsr_geo.surveying.survey import Survey

RATIO = 4
sides = st.integers(1, 3000)


@pytest.fixture(scope="module")
def sample() -> synthetic.Sample:
    return synthetic.make((41, 53), bands=16, seed=1)


def again(survey: Survey) -> Survey:
    """Return the survey after a round trip through JSON."""
    return Survey.from_json(json.loads(json.dumps(to_json(survey), allow_nan=False)), load_model("regression"))


# ---- the sample --------------------------------------------------------------------------


@given(sides, sides)
def test_sampled_windows_are_inside_few_and_disjoint(height, width):
    windows = sample_windows((height, width))
    assert sum(math.prod(w.shape) for w in windows) <= max(MAX_WHOLE_PX, BLOCK_COUNT * BLOCK_SIDE_PX**2)
    assert 1 <= len(windows) <= BLOCK_COUNT
    for w in windows:
        assert 0 <= w.y0 < w.y1 <= height
        assert 0 <= w.x0 < w.x1 <= width
    for i, a in enumerate(windows):
        for b in windows[:i]:
            assert a.y1 <= b.y0 or b.y1 <= a.y0 or a.x1 <= b.x0 or b.x1 <= a.x0


@given(st.integers(1, 256), st.integers(1, 256))
def test_small_scenes_are_sampled_whole(height, width):
    assert sample_windows((height, width)) == [Window(0, height, 0, width)]


@given(st.integers(300, 3000), st.integers(300, 3000))
def test_large_scenes_are_sampled_from_end_to_end(height, width):
    windows = sample_windows((height, width))
    assert len(windows) == BLOCK_COUNT
    for low, high, length in (("y0", "y1", height), ("x0", "x1", width)):
        assert min(getattr(w, low) for w in windows) <= length / 3
        assert max(getattr(w, high) for w in windows) >= 2 * length / 3


def test_the_survey_of_a_large_scene_reads_only_its_sample():
    """NaN outside the sample changes nothing."""
    big = synthetic.make((300, 280), ratio=2, bands=5, seed=3)
    survey = surveyed(big.scene, big.guide, SurveyOptions(2))
    only = np.full_like(big.scene, np.nan)
    for w in sample_windows((300, 280)):
        only[(slice(None), *w.slices)] = big.scene[(slice(None), *w.slices)]
    assert to_json(surveyed(only, big.guide, SurveyOptions(2))) == to_json(survey)


def test_bands_without_data_are_left_out():
    cubes = [torch.full((4, 6, 7), math.nan), torch.full((4, 6, 7), math.nan)]
    cubes[0][1], cubes[1][1] = 2.0, 4.0
    cubes[0][2, 0, :7], cubes[1][2, 0, :7] = 1.0, 1.0  # 14 pixels, two too few
    cubes[1][3] = 5.0
    assert bands_with_data(cubes) == (1, 3)
    assert band_means([c[[1, 3]] for c in cubes]).tolist() == [3.0, 5.0]


def test_a_scene_without_data_is_refused():
    with pytest.raises(InputError, match=r"no valid pixel in 42 sampled ones.*--nodata"):
        estimate_survey([Sample(np.full((3, 6, 7), np.nan, np.float32), None)], SurveyOptions(2))


# ---- the survey --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        SurveyOptions(RATIO),
        SurveyOptions(RATIO, psf=Psf.from_mtf(RATIO, 0.25)),
        SurveyOptions(RATIO, model=load_model("bicubic")),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_json_round_trip_is_exact(sample, options, noise):
    scene = sample.scene + np.float32(noise) * np.random.default_rng(0).standard_normal(sample.scene.shape, np.float32)
    survey = surveyed(scene, sample.guide, options)
    read = again(survey)
    assert to_json(read) == to_json(survey)
    for name in ("mean", "relevance", "response"):
        np.testing.assert_array_equal(getattr(read.guide, name), getattr(survey.guide, name))
    for name in ("noise", "noise_error", "ridges"):
        np.testing.assert_array_equal(getattr(read.statistics, name), getattr(survey.statistics, name))
    if options.model.spectral:
        np.testing.assert_array_equal(read.model_state.ridges, survey.model_state.ridges)
        np.testing.assert_array_equal(read.model_state.fit.mixture, survey.model_state.fit.mixture)
        ours, theirs = (product(scene, sample.guide, k)[0] for k in (survey, read))
        np.testing.assert_array_equal(ours, theirs)


def test_without_a_guide_json_is_exact_too(sample):
    survey = surveyed(sample.scene, None, SurveyOptions(RATIO))
    assert survey.model_state is None
    assert to_json(again(survey)) == to_json(survey)


def test_the_survey_of_a_clean_scene_has_all_estimates(sample):
    survey = surveyed(sample.scene, sample.guide, SurveyOptions(RATIO))
    assert survey.used == tuple(range(16))
    assert survey.statistics.low == pytest.approx(float(sample.scene.min()))
    assert survey.placement.source.startswith("estimated")
    assert survey.psf.sigma_px == pytest.approx(Psf.from_mtf(RATIO).sigma_px, rel=0.02)
    assert survey.placement.shift_px == pytest.approx((0, 0), abs=0.05)
    assert survey.placement.moved_px == (0.0, 0.0)
    assert survey.notes == ()
    assert survey.space.keeps_rest
    np.testing.assert_allclose(survey.model_state.fit.mixture.sum(1), 1, atol=1e-5)


def test_the_survey_does_not_depend_on_random_state(sample):
    surveys = []
    for seed in (0, 77):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002  # the legacy global generator is what is tested
        surveys.append(to_json(surveyed(sample.scene, sample.guide, SurveyOptions(RATIO))))
    assert surveys[0] == surveys[1]


def test_bands_without_valid_pixels_are_not_used(sample):
    scene = sample.scene.copy()
    scene[[0, 7]] = np.nan
    survey = surveyed(scene, sample.guide, SurveyOptions(RATIO))
    assert survey.used == (1, 2, 3, 4, 5, 6, *range(8, 16))
    assert len(survey.guide.relevance) == len(survey.space.mean) == 14


def test_relevance_is_r_squared(sample):
    survey = surveyed(sample.scene, sample.guide, SurveyOptions(RATIO, psf=Psf.from_mtf(RATIO)))
    lr = synthetic.degrade(sample.guide, Psf.from_mtf(RATIO), (41, 53)).reshape(3, -1)
    design = np.vstack([lr, np.ones(lr.shape[1])]).T.astype(float)
    flat = sample.scene.reshape(16, -1).astype(float)
    residual = flat.T - design @ np.linalg.lstsq(design, flat.T, rcond=None)[0]
    np.testing.assert_allclose(survey.guide.relevance, 1 - residual.var(0) / flat.var(1), atol=1e-3)


def test_a_band_of_noise_is_irrelevant(sample):
    scene = sample.scene.copy()
    scene[5] = np.random.default_rng(0).random(scene[5].shape)
    survey = surveyed(scene, sample.guide, SurveyOptions(RATIO))
    assert survey.guide.relevance[5] < 0.05
    assert survey.guide.relevance[4] > 0.5


def test_the_response_is_that_of_the_guide():
    sample = synthetic.make((41, 53), bands=16)
    weights = np.zeros((1, 16), np.float32)
    weights[0, 3:7] = [0.1, 0.4, 0.4, 0.1]
    guide = np.einsum("gb,byx->gyx", weights, sample.reference)
    survey = surveyed(sample.scene, guide, SurveyOptions(RATIO, psf=Psf.from_mtf(RATIO)))
    assert (survey.guide.response >= 0).all()
    lr = np.einsum("gb,byx->gyx", weights, sample.scene)
    np.testing.assert_allclose(np.einsum("gb,byx->gyx", survey.guide.response, sample.scene).std(), lr.std(), rtol=1e-2)


def test_a_noisy_scene_gets_ridges_and_a_clean_one_none():
    clean, noisy = (synthetic.make((41, 53), bands=16, seed=1, noise=n) for n in (0.0, 0.02))
    a, b = (surveyed(s.scene, s.guide, SurveyOptions(RATIO)) for s in (clean, noisy))
    assert not a.model_state.ridges.any()
    assert not a.statistics.ridges.any()
    assert (b.model_state.ridges > 0).all()
    # Where a guide explains a component, its residual holds less signal: the ridge is larger.
    assert (b.model_state.ridges >= b.statistics.ridges).all()
    assert float(np.median(b.statistics.noise)) == pytest.approx(0.02, rel=0.1)


def test_a_guide_that_covers_too_little_is_noted(sample):
    guide = np.full_like(sample.guide, np.nan)
    guide[:, :12, :12] = sample.guide[:, :12, :12]
    survey = surveyed(sample.scene, guide, SurveyOptions(RATIO))
    assert survey.model_state is None
    assert "covers too little" in survey.notes[-1]


def test_a_guide_without_valid_pixels_counts_as_none(sample):
    survey = surveyed(sample.scene, np.full_like(sample.guide, np.nan), SurveyOptions(RATIO))
    assert survey.model_state is None
    assert survey.guide is None


def test_half_a_guide_sharpens_as_well_where_it_reaches(sample):
    guide = sample.guide.copy()
    guide[:, :, 120:] = np.nan
    survey = surveyed(sample.scene, guide, SurveyOptions(RATIO))
    assert survey.model_state is not None
    result = product(sample.scene, guide, survey)[0]
    whole = product(sample.scene, sample.guide, surveyed(sample.scene, sample.guide, SurveyOptions(RATIO)))[0]
    near = np.s_[:, :, :90]
    assert psnr(result[near], sample.reference[near]) > psnr(whole[near], sample.reference[near]) - 1


# ---- placement ---------------------------------------------------------------------------


def test_a_shifted_guide_is_moved_back():
    undisplaced, moved = (synthetic.make((41, 53), bands=16, seed=1, shift_px=s) for s in ((0.0, 0.0), (1.5, -0.7)))
    survey = surveyed(moved.scene, moved.guide, SurveyOptions(RATIO))
    assert survey.placement.shift_px == pytest.approx((1.5, -0.7), abs=0.05)
    assert survey.placement.moved_px == survey.placement.shift_px
    assert survey.psf.shift_px == pytest.approx((0, 0), abs=0.05)
    assert survey.notes == ()
    result = product(moved.scene, moved.guide, survey)[0]
    best = product(
        undisplaced.scene, undisplaced.guide, surveyed(undisplaced.scene, undisplaced.guide, SurveyOptions(RATIO))
    )[0]
    stays = surveyed(moved.scene, moved.guide, SurveyOptions(RATIO, coregister="off"))
    residual = product(moved.scene, moved.guide, stays)[0]
    # Interpolating the guide costs it some of its finest detail; leaving it costs far more.
    assert psnr(result, undisplaced.reference) > psnr(best, undisplaced.reference) - 1.5
    assert psnr(result, undisplaced.reference) > psnr(residual, undisplaced.reference) + 5


@pytest.mark.parametrize("shift", [(5.2, -3.4), (-6.2, 7.4)])
def test_a_large_displacement_is_undone_though_phase_correlation_underestimates_it(shift):
    moved = synthetic.make((60, 80), ratio=4, guide="pan", seed=7, noise=1e-3, shift_px=shift)
    survey = surveyed(moved.scene, moved.guide, SurveyOptions(4))
    assert survey.placement.shift_px == pytest.approx(shift, abs=0.05)
    assert survey.placement.moved_px == survey.placement.shift_px
    assert survey.notes == ()


def test_with_coregister_off_the_guide_stays_and_the_shift_is_noted():
    moved = synthetic.make((41, 53), bands=16, seed=1, shift_px=(1.5, -0.7))
    survey = surveyed(moved.scene, moved.guide, SurveyOptions(RATIO, coregister="off"))
    assert survey.placement.shift_px == pytest.approx((1.5, -0.7), abs=0.05)
    assert survey.placement.moved_px == (0.0, 0.0)
    assert survey.psf.shift_px == survey.placement.shift_px
    words = ("1.5 px too low", "0.7 px too far left", "--coregister auto")
    assert any(all(word in note for word in words) for note in survey.notes)


def test_a_given_blur_is_taken_as_it_is(sample):
    wrong = Psf.gaussian(RATIO, (0.8, 2.7), (1.0, 0.0))
    survey = surveyed(sample.scene, sample.guide, SurveyOptions(RATIO, psf=wrong))
    assert survey.psf == wrong
    assert survey.placement.source == "given"
    assert survey.placement.shift_px == (0.0, 0.0)
    assert "0.80 x 2.70 px wide, +1.00 px down" in survey.notes[0]
    assert "leave out --psf" in survey.notes[0]
    assert surveyed(sample.scene, sample.guide, SurveyOptions(RATIO, psf=Psf.from_mtf(RATIO))).notes == ()


def test_standard_errors_of_blur_shift_and_noise_are_estimated(sample):
    survey = surveyed(sample.scene, sample.guide, SurveyOptions(RATIO))
    assert all(0 < e < 0.05 for e in (*survey.placement.shift_error_px, *survey.placement.sigma_error_px))
    assert survey.statistics.noise_error.shape == survey.statistics.noise.shape
    tiny = synthetic.make((9, 10), bands=16)
    unknown = surveyed(tiny.scene, tiny.guide, SurveyOptions(RATIO))
    assert unknown.placement.shift_error_px is None
    assert to_json(again(unknown)) == to_json(unknown)


def test_a_sensors_blur_that_the_scene_contradicts_is_noted(sample):
    survey = surveyed(sample.scene, sample.guide, SurveyOptions(RATIO, mtf_gain=0.75))
    assumed = Psf.from_mtf(RATIO, 0.75).sigma_px[0]
    assert survey.placement.source.startswith("estimated")
    assert any(f"{assumed:.3f} px" in n and "the scene's is used" in n for n in survey.notes)
    shown, error = survey.psf.sigma_px[0], survey.placement.sigma_error_px[0]
    assert f"{shown:.3f} +- {error:.3f} x" in survey.notes[0]


def test_a_sensors_blur_that_the_scene_confirms_is_used(sample):
    survey = surveyed(sample.scene, sample.guide, SurveyOptions(RATIO, mtf_gain=0.302))
    assert survey.placement.source == "sensor"
    assert survey.psf.sigma_px == pytest.approx(Psf.from_mtf(RATIO, 0.302).sigma_px, rel=1e-4)
    assert survey.notes == ()


def test_in_noise_a_small_difference_of_blur_is_no_contradiction():
    """A difference of 2 % in width is significant without noise only."""
    wide = math.exp(-0.5 * (math.pi * Psf.from_mtf(RATIO).sigma_px[0] * 1.02 / RATIO) ** 2)
    sources = []
    for noise in (0.0, 0.1):
        sample = synthetic.make((41, 53), bands=16, seed=1, noise=noise)
        sources.append(surveyed(sample.scene, sample.guide, SurveyOptions(RATIO, mtf_gain=wide)).placement.source)
    assert sources == ["estimated gaussian", "sensor"]


@pytest.mark.parametrize(("gain", "source"), [(None, "assumed"), (0.4, "sensor")])
def test_a_tiny_scene_uses_a_narrow_blur_or_the_sensors(gain, source):
    tiny = synthetic.make((9, 10), bands=16)
    survey = surveyed(tiny.scene, tiny.guide, SurveyOptions(RATIO, mtf_gain=gain))
    assert survey.psf.sigma_px == pytest.approx(Psf.from_mtf(RATIO, gain or FALLBACK_GAIN).sigma_px)
    assert survey.placement.source == source
    assert "the sample is too small" in survey.notes[0]
    if gain is None:
        assert f"{FALLBACK_GAIN:g}" in survey.placement.assumption
    else:
        assert f"The sensor blur of {survey.psf.sigma_px[0]:.2f} px is assumed" in survey.notes[0]


def test_a_guide_of_another_place_is_not_moved(sample):
    other = synthetic.make((41, 53), seed=9).guide
    survey = surveyed(sample.scene, other, SurveyOptions(RATIO))
    assert survey.placement.shift_px == survey.placement.moved_px == (0.0, 0.0)
    assert "could not be estimated" in survey.notes[0]
    assert survey.psf.sigma_px[0] <= Psf.from_mtf(RATIO).sigma_px[0] + 1e-9


def test_a_constant_guide_does_no_harm(sample):
    survey = surveyed(sample.scene, np.full_like(sample.guide, 0.3), SurveyOptions(RATIO))
    result = product(sample.scene, np.full_like(sample.guide, 0.3), survey)[0]
    unguided = product(sample.scene, None, surveyed(sample.scene, None, SurveyOptions(RATIO)), model="interpolation")[0]
    assert np.isfinite(result).all()
    assert psnr(result, sample.reference) > psnr(unguided, sample.reference) - 0.5
    assert survey.guide.relevance.max() < 0.01


@given(st.tuples(st.floats(-8, 8), st.floats(-8, 8)))
def test_the_margin_holds_what_a_move_needs(shift):
    assert guide_margin((0.0, 0.0)) == 0
    assert guide_margin(shift) <= sample_margin(RATIO)
    if shift != (0.0, 0.0):
        assert guide_margin(shift) >= max(map(abs, shift))


def test_moving_is_scipys_shift_and_cuts_the_margin():
    guide = synthetic.make((30, 31), seed=2).guide
    margin = guide_margin((1.3, -0.6))
    moved = move_guide(guide, (1.3, -0.6), margin)
    assert moved.shape == (3, 120 - 2 * margin, 124 - 2 * margin)
    wanted = np.stack([scipy_shift(g, (-1.3, 0.6), order=5) for g in guide])[:, margin:-margin, margin:-margin]
    assert np.std(moved - wanted) < 0.03 * np.std(guide - guide.mean((1, 2), keepdims=True))
    np.testing.assert_array_equal(move_guide(guide, (0.0, 0.0), 3), guide[:, 3:-3, 3:-3])
    np.testing.assert_array_equal(move_guide(guide, (0.0, 0.0), 0), guide)


def test_crop_is_nan_outside():
    result = crop(np.ones((1, 4, 5), np.float32), Window(-1, 3, 3, 7))
    assert np.isnan(result[0]).tolist() == [[True] * 4] + [[False, False, True, True]] * 3
