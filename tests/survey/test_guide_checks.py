"""Sentences on guides that have no detail to lend, or do not show the scene."""

from __future__ import annotations

import numpy as np
import pytest

from dualsr_geo.survey.guide_checks import note_guide_values, note_irrelevant_guide


@pytest.fixture
def guide() -> np.ndarray:
    return np.random.default_rng(0).integers(10, 250, (3, 71, 93)).astype(np.float32)


def test_an_image_gets_no_note(guide):
    guide[:, :5] = np.nan
    assert note_guide_values([guide]) == []


def test_a_constant_guide_is_noted_with_its_values(guide):
    guide[:] = np.array([3.0, 4.5, 5.0])[:, None, None]
    (note,) = note_guide_values([guide])
    assert "The guide is constant (3, 4.5, 5)" in note
    assert "--rgb" in note


@pytest.mark.parametrize(("value", "end"), [(255.0, "largest"), (0.0, "smallest")])
def test_a_saturated_band_is_noted_with_its_share(guide, value, end):
    guide[1, :20, :] = value
    (note,) = note_guide_values([guide])
    share = 20 * 93 / (71 * 93)
    assert f"{share:.0%} of the pixels of the guide's band 2 have its {end} value, {value:g}" in note


def test_a_guide_of_few_grey_levels_is_noted_with_their_number(guide):
    (note,) = note_guide_values([np.floor(guide / 32)])
    assert "at most 8 different values" in note


def test_a_small_or_empty_guide_gets_no_note(guide):
    assert note_guide_values([np.floor(guide[:, :5, :5] / 32)]) == []
    assert note_guide_values([np.full_like(guide, np.nan)]) == []


@pytest.mark.parametrize(("largest", "noted"), [(0.049, True), (0.051, False)])
def test_a_guide_that_explains_nothing_is_noted(largest, noted):
    notes = note_irrelevant_guide(np.array([0.01, largest], np.float32))
    assert len(notes) == noted
    assert all("at most 4.9%" in note for note in notes)
    assert note_irrelevant_guide(None) == []
