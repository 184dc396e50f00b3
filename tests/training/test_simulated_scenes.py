"""Scenes of one image's texture and another's spectra: real spectra, edges where the texture has them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.training.simulated_scenes import with_spectra


def texture(height: int, width: int) -> np.ndarray:
    """Return an image of two halves that differ in colour."""
    image = np.full((3, height, width), 0.2, np.float32)
    image[:, :, width // 2 :] = np.array([0.9, 0.5, 0.1], np.float32)[:, None, None]
    return image + 0.001 * np.random.default_rng(0).random(image.shape).astype(np.float32)


def spectra(bands: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 1, (bands, 50)).astype(np.float32)


@given(st.integers(0, 99), st.integers(1, 12), st.integers(6, 20), st.integers(6, 20))
@settings(max_examples=12, deadline=None)
def test_each_pixel_is_a_mixture_of_the_given_spectra(seed, bands, height, width):
    scene = with_spectra(np.random.default_rng(seed), texture(height, width), spectra(bands))
    assert scene.shape == (bands, height, width)
    assert scene.dtype == np.float32
    assert np.isfinite(scene).all()
    # Sums of positive spectra are within the cone that they span: no ratio of two bands is outside theirs.
    if bands > 1:
        ratios, allowed = scene[0] / scene[1], spectra(bands)[0] / spectra(bands)[1]
        assert allowed.min() * 0.999 <= ratios.min() <= ratios.max() <= allowed.max() * 1.001


def test_spectra_change_where_the_texture_does():
    changes = []
    for seed in range(12):
        scene = with_spectra(np.random.default_rng(seed), texture(16, 20), spectra(8))
        unit = scene / np.linalg.norm(scene, axis=0)
        step = np.linalg.norm(np.diff(unit, axis=2), axis=0).mean(0)
        changes.append(step[9] > 5 * np.delete(step, 9).max())
    assert np.mean(changes) > 0.7


def test_the_same_numbers_give_the_same_scene():
    first, second = (with_spectra(np.random.default_rng(5), texture(9, 11), spectra(4)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
