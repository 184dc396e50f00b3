"""Checks for repeated pixels and for detail from another image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from wald_cases import surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.raster.repeated_pixels import note_repeated_pixels, repetition
from dualsr_geo.surveying.input_checks import MIN_RELATIVE_VARIETY, note_borrowed_detail, variety
from dualsr_geo.surveying.sampling import SurveyOptions


def repeated(cube: np.ndarray, y: int, x: int) -> np.ndarray:
    return cube.repeat(y, 1).repeat(x, 2)


@settings(max_examples=30, deadline=None)
@given(y=st.integers(2, 4), x=st.integers(2, 5), top=st.integers(0, 3), left=st.integers(0, 3), bands=st.integers(1, 4))
def test_repeated_pixels_are_counted_wherever_the_piece_begins(y, x, top, left, bands):
    cube = np.random.default_rng(0).random((bands, 13, 17)).astype(np.float32)
    assert repetition([repeated(cube, y, x)[:, top:, left:]]) == (y, x)


def test_a_repetition_by_a_fraction_is_found():
    """Nearest neighbours from 2.4 m pixels on a 1 m grid."""
    cube = np.random.default_rng(0).random((3, 40, 50))
    at = (np.arange(96) / 2.4).astype(int)
    y, x = repetition([cube[:, at][:, :, at]])
    assert (y, x) == pytest.approx((2.4, 2.4), abs=0.1)


def test_several_pieces_with_holes():
    cube = np.random.default_rng(0).random((3, 20, 22))
    pieces = [repeated(cube, 2, 2), repeated(cube, 2, 2)[:, 1:, 3:].copy()]
    pieces[0][:, 5:9, 8:30] = np.nan
    assert repetition(pieces) == (2, 2)


@pytest.mark.parametrize("change", ["none", "border", "rows", "quantised", "flat", "single"])
def test_scenes_as_measured_have_no_repetition(change):
    cube = synthetic.make((41, 53), bands=5, seed=1).scene.copy()
    if change == "border":
        cube[:, :, :20], cube[:, 30:] = 0, 0
    if change == "rows":
        cube[:, 7] = cube[:, 6]
    if change == "quantised":
        cube = np.round(cube * 40) / 40
    if change == "flat":
        cube[:] = 0.2
    if change == "single":
        cube = cube[:1]
    assert repetition([cube]) == (1, 1)
    assert note_repeated_pixels(repetition([cube]), "scene") == []


@pytest.mark.parametrize("noise", [0.0, 0.005])
@pytest.mark.parametrize("bands", [4, 8, 31])
def test_detail_of_a_measured_scene_varies_among_bands(bands, noise):
    for seed in range(4):
        scene = synthetic.make((60, 71), bands=bands, seed=seed, noise=noise).scene
        assert variety([scene]) > 1.5 * MIN_RELATIVE_VARIETY


def test_one_image_added_to_all_bands_is_found():
    """Component substitution: every band gets the same detail, times a gain."""
    sample = synthetic.make((30, 41), bands=8, guide="pan", seed=2)
    op = operator(Psf.from_mtf(4), (30, 41))
    scene, guide = torch.from_numpy(sample.scene), torch.from_numpy(sample.guide)
    gains = torch.linspace(0.7, 1.3, 8)[:, None, None]
    sharpened = (op.upsample(scene) + gains * (guide - op.upsample(op.degrade(guide)))).numpy()
    assert variety([sharpened]) < MIN_RELATIVE_VARIETY
    assert f"{variety([sharpened]):.0%} as varied" in note_borrowed_detail([sharpened])[0]


@pytest.mark.parametrize(
    "cube", [np.ones((5, 40, 40)), np.zeros((5, 9, 50)), np.random.default_rng(0).random((2, 50, 50))]
)
def test_flat_small_and_two_band_scenes_have_no_variety(cube):
    assert variety([cube]) is None
    assert note_borrowed_detail([cube]) == []


def test_the_survey_notes_repeated_pixels_of_scene_and_guide():
    sample = synthetic.make((24, 31), bands=5, guide="rgb", seed=1)
    scene = repeated(sample.scene, 2, 2)
    guide = repeated(sample.guide, 2, 2)
    survey = surveyed(scene, guide, SurveyOptions(4))
    assert "scene's pixels are repeated 2.0 x 2.0 times (nearest-neighbour upsampling)" in survey.notes[0]
    assert "guide's pixels are repeated 2.0 x 2.0 times" in survey.notes[1]
    assert "gdalwarp" in survey.notes[0]
