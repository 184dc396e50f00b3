"""Spectral components."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_spectra import ONES, mixed_spectra

from dualsr_geo.degradation.noise import _pastur_lower_half, marchenko_pastur_range
from dualsr_geo.fusion import subspace


@given(st.integers(2, 40), st.booleans(), st.integers(0, 99))
@settings(max_examples=25)
def test_projecting_what_was_expanded_changes_nothing(bands, noisy, seed):
    x = mixed_spectra(bands, 300, noise=0.01, seed=seed)
    level = np.random.default_rng(seed).uniform(0.005, 0.02, bands) if noisy else None
    space = subspace.estimate_subspace(x, ONES[:300], level)
    np.testing.assert_allclose(space.project @ space.expand, np.eye(space.count), atol=2e-5)
    z = space.components(x)
    again = space.components(space.expand @ z + space.mean[:, None])
    np.testing.assert_allclose(again, z, atol=1e-5 * max(1, np.abs(z).max()))


def test_a_clean_subspace_carries_the_scene():
    x = mixed_spectra()
    space = subspace.estimate_subspace(x, ONES)
    assert space.count == 3  # four materials, whose shares sum to one
    assert space.keeps_rest
    np.testing.assert_allclose(space.expand @ space.components(x) + space.mean[:, None], x, atol=1e-3)


def test_a_noisy_subspace_drops_the_noise():
    clean, x = mixed_spectra(pixels=3000), mixed_spectra(noise=0.01)
    space = subspace.estimate_subspace(x, ONES, np.full(31, 0.01))
    assert space.count == 3
    assert not space.keeps_rest
    assert space.noise == pytest.approx(0.01)
    kept = space.expand @ space.components(x) + space.mean[:, None]
    assert np.std(kept - clean) < 0.4 * 0.01


def test_white_noise_has_the_two_components_that_every_subspace_has():
    x = np.random.default_rng(0).normal(0, 1, (50, 400)).astype(np.float32)
    assert subspace.estimate_subspace(x, ONES[:400], np.ones(50)).count == 2


def test_the_basis_is_numpys_svd():
    x = mixed_spectra(20, 500)
    space = subspace.estimate_subspace(x, ONES[:500])
    left = np.linalg.svd(x.astype(float) - x.mean(1, keepdims=True, dtype=float), full_matrices=False)[0]
    np.testing.assert_allclose(np.abs(left[:, : space.count].T @ space.expand), np.eye(space.count), atol=1e-3)


def test_signs_do_not_depend_on_the_pixels_order():
    x = mixed_spectra(noise=0.01)
    a, b = subspace.estimate_subspace(x, ONES), subspace.estimate_subspace(np.ascontiguousarray(x[:, ::-1]), ONES)
    np.testing.assert_allclose(a.expand[:, :3], b.expand[:, :3], atol=1e-4)


def test_shares_of_the_bands_sum_to_one():
    share = subspace.estimate_subspace(mixed_spectra(), ONES).share()
    assert share.shape == (3, 31)
    assert (share >= 0).all()
    np.testing.assert_allclose(share.sum(1), 1)


def test_marchenko_pastur_against_drawn_noise():
    x = np.random.default_rng(0).standard_normal((60, 600))
    values = np.linalg.eigvalsh(x @ x.T / 600)
    low, high = marchenko_pastur_range(60 / 600)
    assert values[0] == pytest.approx(low, rel=0.15)
    assert values[-1] == pytest.approx(high, rel=0.15)
    assert values[:30].mean() == pytest.approx(_pastur_lower_half(60 / 600), rel=0.02)
