"""The noise of bands, from their spectral and their spatial neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from mixed_spectra import ONES, mixed_spectra

from dualsr_geo import synthetic
from dualsr_geo.degradation.noise import (
    BLOCK_PX,
    MIN_SPECTRAL_BANDS,
    estimate_noise,
    estimate_spatial_noise,
    estimate_spectral_noise,
    is_noisy,
)


def whole(cube):
    return [cube], [np.ones(cube.shape[1:], np.float32)]


@pytest.mark.parametrize("noise", [0.003, 0.01, 0.03])
def test_known_noise_is_recovered(noise):
    found = estimate_spectral_noise(mixed_spectra(noise=noise), ONES)
    np.testing.assert_allclose(np.median(found), noise, rtol=0.05)
    np.testing.assert_allclose(found, noise, rtol=0.12)


def test_noise_that_differs_between_bands_is_recovered():
    x = mixed_spectra()
    levels = np.linspace(0.005, 0.02, 31)
    x = x + (levels[:, None] * np.random.default_rng(1).standard_normal(x.shape)).astype(np.float32)
    found = estimate_spectral_noise(x, ONES)
    np.testing.assert_allclose(found, levels, rtol=0.12)


def test_pixels_without_weight_do_not_count():
    x = mixed_spectra(noise=0.01)
    weight = ONES.copy()
    weight[1500:] = 0
    spoilt = x.copy()
    spoilt[:, 1500:] = 1e3 * np.random.default_rng(3).random((31, 1500), np.float32)
    np.testing.assert_array_equal(
        estimate_spectral_noise(spoilt, weight), estimate_spectral_noise(x[:, :1500], ONES[:1500])
    )


def test_clean_is_clean_and_noisy_is_noisy():
    clean, noisy = mixed_spectra(), mixed_spectra(noise=0.01)
    assert not is_noisy(estimate_spectral_noise(clean, ONES), clean.std(1))
    assert is_noisy(estimate_spectral_noise(noisy, ONES), noisy.std(1))


def test_a_constant_scene_has_no_noise():
    x = np.full((31, 3000), 0.25, np.float32)
    found = estimate_spectral_noise(x, ONES)
    assert found.tolist() == [0.0] * 31
    assert not is_noisy(found, x.std(1).astype(np.float64))


@pytest.mark.parametrize("pixels", [16, 24, 40])
def test_few_pixels_give_finite_noise(pixels):
    assert np.isfinite(estimate_spectral_noise(mixed_spectra(pixels=pixels), ONES[:pixels])).all()


# ---- few bands ---------------------------------------------------------------------------


@pytest.mark.parametrize("bands", [2, 4, 8])
@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_noise_of_few_bands_is_recovered(bands, noise):
    cube = synthetic.make((97, 61), bands=bands, seed=3).scene
    spoilt = cube + np.random.default_rng(0).normal(0, noise, cube.shape).astype(np.float32)
    found = estimate_spatial_noise(*whole(spoilt))
    np.testing.assert_allclose(found, noise, rtol=0.35)
    assert is_noisy(found, spoilt.std((1, 2)))


@pytest.mark.parametrize("bands", [3, 6])
def test_a_clean_scene_of_few_bands_is_clean(bands):
    cube = synthetic.make((97, 61), bands=bands, seed=3).scene
    assert not is_noisy(estimate_spatial_noise(*whole(cube)), cube.std((1, 2)))


def test_pure_white_noise_is_measured():
    cube = np.random.default_rng(0).normal(5, 0.3, (3, 120, 111)).astype(np.float32)
    np.testing.assert_allclose(estimate_spatial_noise(*whole(cube)), 0.3, rtol=0.05)


def test_planes_and_quadratics_are_no_noise():
    y, x = np.mgrid[:60, :50].astype(np.float32)
    cube = np.stack([y + 2 * x, y * x / 30, x**2 / 20, 3 - y**2 / 9])
    assert estimate_spatial_noise(*whole(cube)).max() < 1e-4 * cube.std()


def test_holes_do_not_count():
    random = np.random.default_rng(0)
    cube = random.normal(0, 1, (2, 90, 90)).astype(np.float32)
    weight = np.ones((90, 90), np.float32)
    weight[20:37, 50:70] = 0
    filled = np.where(weight > 0, cube, 1e6 * random.random((90, 90)).astype(np.float32))
    np.testing.assert_allclose(estimate_spatial_noise([filled], [weight]), 1, rtol=0.06)


def test_one_band_and_tiny_scenes_tell_nothing():
    random = np.random.default_rng(0)
    for shape in ((1, 80, 80), (4, 2, 300), (4, 3 * BLOCK_PX, 2 * BLOCK_PX)):
        assert estimate_spatial_noise(*whole(random.random(shape).astype(np.float32))).tolist() == [0.0] * shape[0]


def test_pieces_are_one_scene():
    cube = np.random.default_rng(0).normal(0, 1, (3, 80, 80)).astype(np.float32)
    pieces = [cube[:, :40], cube[:, 40:]]
    found = estimate_spatial_noise(pieces, [np.ones((40, 80), np.float32)] * 2)
    np.testing.assert_allclose(found, 1, rtol=0.06)


def test_many_bands_are_judged_by_their_spectra():
    x = mixed_spectra(noise=0.01).reshape(31, 60, 50)
    np.testing.assert_array_equal(estimate_noise(*whole(x)), estimate_spectral_noise(x.reshape(31, -1), ONES))
    assert MIN_SPECTRAL_BANDS <= 31
