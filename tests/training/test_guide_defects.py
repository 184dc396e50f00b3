"""Defects of guides: each is what it says, in the units of the guide."""

from __future__ import annotations

import numpy as np
import pytest

from dualsr_geo.training import guide_defects
from dualsr_geo.training.guide_defects import displaced, draw_defects


def guide(bands: int = 3, height: int = 41, width: int = 37, scale: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    planes = np.stack([np.sin(y / 5 + k) * np.cos(x / (4 + k)) for k in range(bands)])
    return (scale * (1.5 + planes)).astype(np.float32)


def only(monkeypatch, **shares: float) -> None:
    for name in ("SOFT_SHARE", "NOISY_SHARE", "EIGHT_BIT_SHARE", "JPEG_SHARE"):
        monkeypatch.setattr(guide_defects, name, shares.get(name, 0.0))


def test_without_defects_a_guide_is_itself(monkeypatch):
    only(monkeypatch)
    np.testing.assert_array_equal(draw_defects(np.random.default_rng(0), guide()), guide())


def test_noise_is_within_its_range(monkeypatch):
    only(monkeypatch, NOISY_SHARE=1.0)
    levels = []
    for seed in range(30):
        added = draw_defects(np.random.default_rng(seed), guide()) - guide()
        levels.append(added.std() / guide().max())
    assert 0.0009 < min(levels) < 0.003
    assert 0.007 < max(levels) < 0.016


@pytest.mark.parametrize("scale", [0.01, 3000.0])
def test_eight_bits_are_at_most_256_values_half_a_step_away(monkeypatch, scale):
    only(monkeypatch, EIGHT_BIT_SHARE=1.0)
    whole = guide(scale=scale)
    rounded = draw_defects(np.random.default_rng(0), whole)
    assert len(np.unique(rounded)) <= 256
    assert np.abs(rounded - whole).max() <= 0.5001 * (whole.max() - whole.min()) / 255


@pytest.mark.parametrize("bands", [1, 3])
def test_jpeg_errs_by_a_few_of_its_steps(monkeypatch, bands):
    only(monkeypatch, JPEG_SHARE=1.0)
    whole = guide(bands)
    step = (whole.max() - whole.min()) / 255
    error = np.abs(draw_defects(np.random.default_rng(0), whole) - whole) / step
    assert 0.2 < error.mean() < 8


def test_jpeg_holds_no_four_bands(monkeypatch):
    only(monkeypatch, JPEG_SHARE=1.0)
    np.testing.assert_array_equal(draw_defects(np.random.default_rng(0), guide(4)), guide(4))


def test_a_soft_guide_has_the_gain_that_was_drawn(monkeypatch):
    only(monkeypatch, SOFT_SHARE=1.0)
    monkeypatch.setattr(guide_defects, "SOFT_GAINS", (0.3, 0.3))
    # Half the Nyquist frequency, on a level. A Gaussian of gain g at Nyquist has g^(1/4) there; a sampled one also has
    # the alias of three halves of Nyquist, and is divided by its sum.
    waves = 1 + np.tile(np.array([1.0, 0.0, -1.0, 0.0], np.float32), (1, 64, 16))
    soft = draw_defects(np.random.default_rng(0), waves)
    expected = (0.3**0.25 + 0.3**2.25) / (1 + 2 * 0.3**4)
    assert np.abs(soft[:, 8:-8, 8:-8:2] - 1).mean() == pytest.approx(expected, abs=0.02)


def test_a_displacement_is_a_part_of_a_pixel():
    moved = np.stack([displaced(np.random.default_rng(seed), guide(1)) - guide(1) for seed in range(20)])
    slope = np.abs(np.gradient(guide(1)[0])[0]).mean()
    assert 0 < np.abs(moved).mean() < 1.5 * slope
