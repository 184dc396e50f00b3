"""Standard errors are as large as the errors, and say what they rest on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dualsr_geo import synthetic
from dualsr_geo.degradation.noise import estimate_noise, noise_standard_errors
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import subspace
from dualsr_geo.registration import blur_estimation, standard_errors
from dualsr_geo.registration.guide_regression import GuideRegression, RegressionBlock

RATIO = 4


def piece(scene: np.ndarray, guide: np.ndarray) -> RegressionBlock:
    flat = scene.reshape(len(scene), -1)
    space = subspace.estimate_subspace(flat, np.ones(flat.shape[1], np.float32))
    z = space.components(flat)[: blur_estimation.COMPONENT_COUNT].reshape(-1, *scene.shape[1:])
    centred = guide - guide.mean((1, 2), keepdims=True)
    return RegressionBlock(z.astype(float), centred.astype(float), np.ones(scene.shape[1:]))


def made(seed: int, noise: float, shape: tuple[int, int] = (33, 46)) -> RegressionBlock:
    sample = synthetic.make(shape, bands=16, seed=seed, noise=noise, shift_px=(0.5, -1.3))
    return piece(sample.scene, sample.guide)


def whole(scene: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [scene], [np.ones(scene.shape[1:], np.float32)]


def test_the_truth_is_within_the_errors():
    """Under noise most estimates are within 2 standard errors, and none is idle; a few parts have long tails."""
    off = []
    for seed in range(8):
        found = blur_estimation.estimate_blur([made(seed, 0.02)], RATIO)
        true = Psf.from_mtf(RATIO).sigma_px
        wrong = np.subtract((*found.shift_px, *found.psf.sigma_px), (0.5, -1.3, *true))
        off.append(wrong / (*found.shift_error_px, *found.sigma_error_px))
    off = np.abs(off)
    assert np.mean(off < 2) > 0.6
    assert off.max() < 8
    assert np.median(off) > 0.2


def test_noise_makes_errors_larger_and_pixels_make_them_smaller():
    small, noisy, large = (
        blur_estimation.estimate_blur([p], RATIO) for p in (made(1, 0.02), made(1, 0.06), made(1, 0.02, (95, 101)))
    )
    for name in ("shift_error_px", "sigma_error_px"):
        one, two, three = (np.mean(getattr(found, name)) for found in (small, noisy, large))
        assert two > 1.5 * one
        assert three < 0.8 * one


def test_blocks_are_parts_of_one_scene():
    """Cut in two, a block says nearly the same of itself."""
    one = made(2, 0.02, (48, 64))
    halves = [
        RegressionBlock(one.components[..., cut], one.guide[..., 4 * cut.start : 4 * cut.stop], one.weight[..., cut])
        for cut in (slice(0, 32), slice(32, 64))
    ]
    at = (0.5, -1.3), Psf.from_mtf(RATIO).sigma_px
    apart, together = (
        np.ravel(standard_errors.blur_standard_errors(GuideRegression(p, RATIO), *at)) for p in (halves, [one])
    )
    np.testing.assert_allclose(apart, together, rtol=0.5)


def test_a_flat_guide_says_nothing():
    scene = synthetic.make((30, 35)).scene
    fit = GuideRegression([piece(scene, np.zeros((1, 120, 140)))], RATIO)
    assert standard_errors.blur_standard_errors(fit, (0.0, 0.0), (1.9, 1.9)) == (
        (math.inf, math.inf),
        (math.inf, math.inf),
    )


@pytest.mark.parametrize("bands", [5, 31])
def test_the_noise_is_within_its_error(bands):
    off = []
    for seed in range(6):
        sample = synthetic.make((57, 43), bands=bands, seed=seed, noise=0.02)
        found, error = estimate_noise(*whole(sample.scene)), noise_standard_errors(*whole(sample.scene))
        off.append((found - 0.02) / error)
    assert np.median(np.abs(off)) < 3
    assert np.median(np.abs(off)) > 0.1


def test_uneven_noise_is_less_certain():
    scene = synthetic.make((57, 43), bands=31, seed=3).scene
    draw = np.random.default_rng(0).standard_normal(scene.shape).astype(np.float32)
    even, uneven = draw * 0.02, draw * np.linspace(0.001, 0.035, 43, dtype=np.float32)
    errors = [np.median(noise_standard_errors(*whole(scene + noise))) for noise in (even, uneven)]
    assert errors[1] > 3 * errors[0]
