"""Anchors: exact where bands are linear in them, nothing where they do not tell."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.fusion import anchor_bands
from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.serialization import from_json, to_json


def linear_scene(bands: int, rank: int, pixels: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return spectra (band, pixel) that are linear in `rank` fields, and the mixing (band, rank)."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(bands, rank))
    return (mixing @ rng.normal(size=(rank, pixels)) + 5).astype(np.float32), mixing


@given(st.integers(17, 60), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=20)
def test_a_correction_reaches_bands_linear_in_the_anchors_exactly(bands, rank, seed):
    spectra, mixing = linear_scene(bands, rank, seed=seed)
    found = anchor_bands.choose_anchor_bands(spectra, np.ones(spectra.shape[1], np.float32), 8)
    fields = np.random.default_rng(seed + 1).normal(size=(rank, 11))
    truth = mixing @ fields
    spread = found.spread @ truth[list(found.bands)]
    # The regression takes 1e-4 of an anchor's variance for noise.
    assert np.abs(spread - truth).max() < 5e-3 * np.abs(truth).max()
    assert (spread[list(found.bands)] == np.float32(truth[list(found.bands)])).all() or np.allclose(
        spread[list(found.bands)], truth[list(found.bands)], rtol=1e-6
    )


@pytest.mark.parametrize("bands", [1, 2, 7, 8])
def test_with_few_bands_each_is_its_own_anchor(bands):
    spectra, _ = linear_scene(bands, 2)
    found = anchor_bands.choose_anchor_bands(spectra, np.ones(spectra.shape[1], np.float32))
    assert found.bands == tuple(range(bands))
    assert (found.spread == np.eye(bands)).all()


def test_bands_that_the_anchors_do_not_explain_get_no_correction():
    spectra, _ = linear_scene(40, 3)
    # More unlike bands than anchors, too weak to be chosen before the others.
    spectra[20:] = 0.01 * np.random.default_rng(1).normal(size=spectra[20:].shape)
    found = anchor_bands.choose_anchor_bands(spectra, np.ones(spectra.shape[1], np.float32), 8)
    left = [b for b in range(20, 40) if b not in found.bands]
    assert len(left) == 15
    assert not found.spread[left].any()
    assert found.spread[:20].any(1).all()


def test_pixels_without_weight_are_not_looked_at():
    spectra, _ = linear_scene(30, 3)
    weight = np.ones(spectra.shape[1], np.float32)
    weight[::3] = 0
    wild = spectra.copy()
    wild[:, ::3] = 1e4 * np.random.default_rng(2).normal(size=wild[:, ::3].shape)
    assert (
        anchor_bands.choose_anchor_bands(wild, weight, 8).bands
        == anchor_bands.choose_anchor_bands(spectra, weight, 8).bands
    )
    assert (
        anchor_bands.choose_anchor_bands(wild, weight, 8).spread
        == anchor_bands.choose_anchor_bands(spectra, weight, 8).spread
    ).all()


def test_json_gives_back_the_same_value():
    spectra, _ = linear_scene(20, 4)
    found = anchor_bands.choose_anchor_bands(spectra, np.ones(spectra.shape[1], np.float32), 9)
    again = from_json(AnchorBands, json.loads(json.dumps(to_json(found))))
    assert again.bands == found.bands
    assert (again.spread == found.spread).all()
    assert again.spread.dtype == np.float32
