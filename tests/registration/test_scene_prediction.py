"""One band, or two, against a guide of more bands: blur and shift are found from what the guide explains of the band."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from degradations import degraded
from scipy.ndimage import gaussian_filter
from wald_cases import surveyed

from dualsr_geo import synthetic
from dualsr_geo.registration.guide_regression import RegressionBlock
from dualsr_geo.registration.scene_prediction import predicting_direction
from dualsr_geo.surveying.sampling import SurveyOptions

RATIO = 4
GAIN = 0.3


@lru_cache(maxsize=1)
def optical() -> np.ndarray:
    """Return an image of six bands on the target grid, (band, y, x)."""
    return synthetic.make((48, 56), bands=6, ratio=RATIO, seed=3).reference


@lru_cache(maxsize=2)
def temperature(relief_k: float = 4.0) -> np.ndarray:
    """Return a temperature that falls with a difference of two bands, of which no band shows the sign, in kelvin."""
    bands = optical()
    index = (bands[4] - bands[1]) / (bands[4] + bands[1] + 0.1)
    relief = gaussian_filter(np.random.default_rng(1).standard_normal(index.shape), 40)
    return (300 - 12 * index + relief_k * relief / relief.std())[None].astype(np.float32)


def scene(noise_k: float = 0.1) -> np.ndarray:
    low = degraded(temperature(), RATIO, GAIN)
    return (low + noise_k * np.random.default_rng(2).standard_normal(low.shape)).astype(np.float32)


@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-5, 6)])
def test_a_shift_is_undone(shift):
    survey = surveyed(scene(), np.roll(optical(), shift, (1, 2)), SurveyOptions(RATIO, changes=True))
    assert survey.placement.source == "estimated gaussian"
    np.testing.assert_allclose(survey.placement.shift_px, shift, atol=0.5)


def test_the_blur_is_found_in_kelvin_and_in_celsius():
    true = -2 * np.log(GAIN)
    widths = []
    for offset in (0.0, -273.15):
        survey = surveyed(scene() + np.float32(offset), optical(), SurveyOptions(RATIO, changes=True))
        assert survey.placement.source == "estimated gaussian"
        widths.append(survey.psf.sigma_px)
    np.testing.assert_allclose(widths, RATIO / np.pi * np.sqrt(true), rtol=0.2)
    np.testing.assert_allclose(*widths, rtol=1e-3)


def test_two_bands_are_enough_too():
    both = np.concatenate([scene(), degraded(optical()[2:3], RATIO, GAIN)])
    survey = surveyed(both, np.roll(optical(), (3, 2), (1, 2)), SurveyOptions(RATIO, changes=True))
    np.testing.assert_allclose(survey.placement.shift_px, (3, 2), atol=0.5)


def test_the_direction_follows_the_band_and_not_the_brightness():
    fine = optical().astype(np.float64)
    centred = fine - fine.mean((1, 2), keepdims=True)
    low = scene(0.0).astype(np.float64)
    block = RegressionBlock(low - low.mean(), centred, np.ones(low.shape[1:]))
    (made,) = predicting_direction([block], RATIO)
    assert made.guide.shape == (1, *fine.shape[1:])
    detail = temperature()[0] - gaussian_filter(temperature()[0], 3.0 * RATIO, mode="nearest")
    brightness = centred.mean(0) - gaussian_filter(centred.mean(0), 3.0 * RATIO, mode="nearest")
    followed, bright = (abs(np.corrcoef(plane.ravel(), detail.ravel())[0, 1]) for plane in (made.guide[0], brightness))
    assert followed > 0.8
    assert followed > bright + 0.2


def test_constant_and_few_pixels_are_no_error():
    block = RegressionBlock(np.zeros((1, 20, 20)), np.zeros((3, 80, 80)), np.ones((20, 20)))
    (made,) = predicting_direction([block], RATIO)
    assert np.isfinite(made.guide).all()
    small = RegressionBlock(np.ones((1, 5, 5)), np.ones((3, 20, 20)), np.ones((5, 5)))
    assert predicting_direction([small], RATIO)[0].guide.shape == (1, 20, 20)
    assert predicting_direction([], RATIO) == []
