"""Levels and factors of classes, against errors of known size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dualsr_geo.fusion.error_model import BrightnessFactors
from dualsr_geo.surveying.error_classes import (
    HALF_OWN_PX,
    brightness_factors,
    classes_of,
    coverage_record,
    pair_coverage,
    shrunk_levels,
)

RNG = np.random.default_rng(0)


def heavy_tailed(bands: int, pixels: int) -> np.ndarray:
    """Absolute errors; those of the last band have heavier tails than the others, of the same mean."""
    errors = np.abs(RNG.standard_normal((bands, pixels)))
    errors[-1] = RNG.exponential(errors[0].mean(), pixels) ** 1.5
    errors[-1] *= errors[0].mean() / errors[-1].mean()
    return errors.astype(np.float32)


def test_large_pairs_have_the_quantile_of_every_band():
    errors = heavy_tailed(5, 20000)
    level = shrunk_levels(errors, 100 * HALF_OWN_PX)
    assert (errors <= level[:, None]).mean(1) == pytest.approx(0.9, abs=0.005)


def test_small_pairs_share_the_shape_of_the_distribution():
    errors = heavy_tailed(5, 20000)
    small, large = (shrunk_levels(errors, pixels)[-1] for pixels in (1, 100 * HALF_OWN_PX))
    assert small < 0.95 * large
    assert small == pytest.approx(np.quantile(errors[0], 0.9), rel=0.03)


def test_bands_without_errors_have_no_level():
    assert shrunk_levels(np.zeros((3, 50), np.float32), 50).tolist() == [0, 0, 0]


def test_bright_pixels_with_larger_errors_get_larger_factors():
    brightness = RNG.uniform(0, 1, 8000).astype(np.float32)
    errors = np.abs(RNG.standard_normal((4, 8000)) * (1 + 3 * brightness)).astype(np.float32)
    plain = np.abs(RNG.standard_normal((4, 8000))).astype(np.float32)
    classes = classes_of(brightness)
    grown, flat = (brightness_factors(e / np.quantile(e, 0.9), brightness, classes).factor for e in (errors, plain))
    assert (np.diff(grown / flat) > 0).all()
    assert grown[-1] / grown[0] > flat[-1] / flat[0] * 1.4


def test_factors_are_interpolated_and_constant_beyond_their_places():
    factors = BrightnessFactors(np.array([0, 1, 1, 3], np.float32), np.array([1, 2, 2, 8], np.float32))
    at = factors.at(torch.tensor([-5.0, 0.0, 0.5, 1.0, 2.0, 3.0, 9.0]))
    torch.testing.assert_close(at, torch.tensor([1.0, 1.0, 2**0.5, 2.0, 4.0, 8.0, 8.0]))


def test_scenes_of_one_brightness_have_finite_factors():
    brightness = np.zeros(100, np.float32)
    factors = brightness_factors(np.ones((2, 100), np.float32), brightness, classes_of(brightness))
    assert np.isfinite(factors.factor).all()
    assert torch.isfinite(factors.at(torch.zeros(3))).all()


def test_coverage_is_by_band_and_class():
    inside = np.array([[True, True, False, False], [True, True, True, True]])
    one = pair_coverage(inside, np.array([0, 1, 2, 3], np.int8), np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.int8))
    assert one.band.tolist() == [0.5, 1.0]
    assert one.brightness.tolist() == [1.0, 1.0, 0.5, 0.5]
    assert one.detail.tolist() == [1.0, 1.0, 0.5, 0.5]
    record = coverage_record(one, (0, 2), 3)
    assert (record["all"], record["per_band"]) == (0.75, [0.5, None, 1.0])
    assert record["per_brightness_quartile"] == record["per_detail_quartile"] == [1.0, 1.0, 0.5, 0.5]
    assert coverage_record(None, (0,), 1) is None
