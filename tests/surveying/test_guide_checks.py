"""Sentences on guides that have no detail to lend, or do not show the scene."""

from __future__ import annotations

import numpy as np
import pytest
from wald_cases import surveyed

from dualsr_geo import synthetic
from dualsr_geo.surveying.guide_checks import explained_share, note_guide_values, note_irrelevant_guide
from dualsr_geo.surveying.sampling import SurveyOptions


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


def test_chance_is_left_out_of_what_a_guide_explains():
    rng = np.random.default_rng(0)
    guide, bands = rng.standard_normal((3, 100)), rng.standard_normal((500, 100))
    design = np.vstack([guide, np.ones(100)]).T
    fitted = design @ np.linalg.lstsq(design, bands.T, rcond=None)[0]
    relevance = 1 - ((bands.T - fitted) ** 2).sum(0) / ((bands - bands.mean(1, keepdims=True)) ** 2).sum(1)
    assert relevance.mean() > 0.025
    share = explained_share(relevance.astype(np.float32), 3, 100)
    assert abs(share) < 0.005
    assert "explains 12.3% of the bands' variance" in note_irrelevant_guide(0.1234)
    assert "is not used" in note_irrelevant_guide(0.01)


def test_a_guide_of_noise_is_not_used():
    sample = synthetic.make((41, 53), bands=7, seed=1)
    noise = np.random.default_rng(0).standard_normal(sample.guide.shape).astype(np.float32)
    survey = surveyed(sample.scene, noise, SurveyOptions(4))
    assert survey.model_state is None
    assert any("it seems to show another place, or noise, and is not used" in note for note in survey.notes)
    used = surveyed(sample.scene, sample.guide, SurveyOptions(4))
    assert used.model_state is not None
    assert not any("is not used" in note for note in used.notes)


def test_a_map_of_labels_is_not_used_and_a_posterised_image_is():
    sample = synthetic.make((61, 77), bands=7, seed=1)
    levels = np.floor(sample.guide.mean(0, keepdims=True) / sample.guide.mean(0).max() * 15.99)
    labels = np.random.default_rng(1).permutation(256)[16 * levels.astype(int)].astype(np.float32)
    labels[:, ::2, 1::2] = np.roll(labels, 3, 1)[:, ::2, 1::2]
    drawn, image = (surveyed(sample.scene, guide.astype(np.float32), SurveyOptions(4)) for guide in (labels, levels))
    assert drawn.model_state is None
    (note,) = [n for n in drawn.notes if "map of labels" in n]
    assert f"at most {len(np.unique(labels))} different values" in note
    assert "-expand rgb" in note
    assert image.model_state is not None
    assert any("at most 16 different values" in n for n in image.notes)
