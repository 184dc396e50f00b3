"""Scenes of one or two bands: the guide is used where it explains them, and left out where it shows something else."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from degradations import degraded
from scipy.ndimage import gaussian_filter
from wald_cases import product, surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import candidates, change_detection, subspace
from dualsr_geo.fusion.blocks import Block
from dualsr_geo.fusion.few_bands.logarithms import lowest_values, with_logarithms
from dualsr_geo.serialization import from_json, to_json
from dualsr_geo.surveying.estimation import lower_limit
from dualsr_geo.surveying.sampling import SurveyOptions

RATIO = 4
OPTIONS = SurveyOptions(RATIO, changes=True)
# lr pixels that show something else.
CHANGED = np.s_[14:30, 20:40]


@lru_cache(maxsize=1)
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a temperature in kelvin, its scene, and optical bands."""
    bands = synthetic.make((48, 56), bands=6, ratio=RATIO, seed=3).reference
    index = (bands[4] - bands[1]) / (bands[4] + bands[1] + 0.1)
    rng = np.random.default_rng(1)
    relief, own = (gaussian_filter(rng.standard_normal(index.shape), width) for width in (40, 3))
    truth = (300 - 12 * index + 4 * relief / relief.std() + 0.4 * own / own.std())[None].astype(np.float32)
    return truth, degraded(truth, RATIO, 0.3), bands


def rms(made: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((made - truth)[:, 8:-8, 8:-8].astype(float) ** 2)))


def withheld(statistics) -> float:
    return sum(s.withheld for s in statistics) / (48 * 56)


def test_a_guide_that_explains_the_band_is_not_left_out_and_gains():
    truth, scene, bands = case()
    survey = surveyed(scene, bands, OPTIONS)
    assert survey.changes.lowest is not None
    made, statistics = product(scene, bands, survey)
    unguided = product(scene, None, surveyed(scene, None, SurveyOptions(RATIO)), model="interpolation")[0]
    assert withheld(statistics) < 0.2
    assert rms(made, truth) < 0.6 * rms(unguided, truth)
    assert abs(float((made - truth).mean())) < 0.02


def test_a_tile_equals_the_whole():
    _, scene, bands = case()
    survey = surveyed(scene, bands, OPTIONS)
    whole, tiled = (product(scene, bands, survey, tile=tile)[0] for tile in (1000, 16))
    np.testing.assert_allclose(tiled, whole, atol=1e-5 * np.ptp(scene))


def test_logarithms_are_ratios_and_values_without_one_are_left_out():
    guide = torch.tensor([[[4.0, 8.0, 0.0]], [[-1.0, -2.0, -3.0]]])
    lowest = lowest_values(guide.flatten(1).numpy())
    np.testing.assert_allclose(lowest, [0.2, 0.0])
    made = with_logarithms(guide, lowest).numpy()
    np.testing.assert_array_equal(made[:2], guide.numpy())
    np.testing.assert_allclose(made[2, 0], np.log([20, 40, 1]), rtol=1e-6)
    assert not made[3].any()


def test_an_index_of_two_bands_is_restored_by_the_logarithms():
    truth, scene, bands = case()
    survey = surveyed(scene, bands, SurveyOptions(RATIO))
    weights = survey.model_state.fit.mixture[0]
    assert weights[[candidates.CANDIDATES.index(c) for c in candidates.OF_FEW_BANDS]].sum() > 0.2
    without = np.where([c in candidates.OF_FEW_BANDS for c in candidates.CANDIDATES], 0, weights)[None]
    fit = replace(survey.model_state.fit, mixture=(without / without.sum()).astype(np.float32))
    other = replace(survey, model_state=replace(survey.model_state, fit=fit))
    assert rms(product(scene, bands, survey)[0], truth) < rms(product(scene, bands, other)[0], truth)


def test_the_unit_does_not_matter():
    _, scene, bands = case()
    kelvin = product(scene, bands, surveyed(scene, bands, OPTIONS))[0]
    for factor, offset in ((1.0, -310.0), (1000.0, 0.0), (-1.0, 0.0)):
        other = (factor * scene.astype(np.float64) + offset).astype(np.float32)
        made = product(other, bands, surveyed(other, bands, OPTIONS))[0]
        np.testing.assert_allclose((made.astype(np.float64) - offset) / factor, kelvin, atol=0.02)


def test_a_change_is_found_in_one_band():
    truth, scene, bands = case()
    changed = bands.copy()
    rows, columns = (slice(s.start * RATIO, s.stop * RATIO) for s in CHANGED)
    changed[:, rows, columns] = bands[:, ::-1, ::-1][:, rows, columns]
    survey = surveyed(scene, changed, OPTIONS)
    blocks = Block(torch.from_numpy(scene), torch.ones(scene.shape[1:]), torch.from_numpy(changed))
    low = torch.from_numpy(degraded(changed, RATIO, 0.3))
    use = survey.changes.guide_use(blocks.cube, low, None).numpy()
    inside = np.zeros(use.shape, bool)
    inside[CHANGED] = True
    assert use[inside].mean() < 0.5
    assert use[~inside].mean() > 0.75
    used = product(scene, changed, surveyed(scene, changed, SurveyOptions(RATIO)))[0]
    left = product(scene, changed, survey)[0]
    fine = inside.repeat(RATIO, 0).repeat(RATIO, 1)
    assert np.abs(left - truth)[0, fine].mean() < np.abs(used - truth)[0, fine].mean()


def test_as_many_bands_as_the_guide_or_three_are_predicted_from_the_scene():
    _, scene, bands = case()
    low = degraded(bands, RATIO, 0.3)
    for cube, guide, from_guide in (
        (scene, bands, True),
        (scene, bands[:1], False),
        (low[:2], bands, True),
        (low[:2], bands[:2], False),
        (low[:3], bands, False),
    ):
        flat = np.ascontiguousarray(cube).reshape(len(cube), -1)
        space = subspace.estimate_subspace(flat, np.ones(flat.shape[1], np.float32))
        cube_tensor = torch.from_numpy(np.ascontiguousarray(cube))
        block = Block(cube_tensor, torch.ones(cube.shape[1:]), torch.from_numpy(np.ascontiguousarray(guide)))
        model, _ = change_detection.fit_change_model([block], Psf.from_mtf(RATIO), space)
        assert (model.lowest is not None) == from_guide
        again = from_json(change_detection.ChangeModel, to_json(model))
        assert (again.lowest is not None) == from_guide


def test_a_constant_guide_band_does_no_harm():
    _, scene, bands = case()
    constant = np.concatenate([bands, np.full_like(bands[:1], 7.0)])
    made = product(scene, constant, surveyed(scene, constant, OPTIONS))[0]
    assert np.isfinite(made).all()


def test_a_guide_that_explains_little_is_reported_with_the_share():
    _, scene, bands = case()
    noise = 3.0 * gaussian_filter(np.random.default_rng(5).standard_normal(scene.shape[1:]), 1.5)
    other = (scene + 12 * noise / noise.std() * 0.6).astype(np.float32)
    notes = surveyed(other, bands, OPTIONS).notes
    assert any("of the scene's variance" in note for note in notes), notes
    assert not any("of the scene's variance" in note for note in surveyed(scene, bands, OPTIONS).notes)


@pytest.mark.parametrize(
    ("low", "high", "bands", "limit"),
    [
        (0.01, 0.5, 1, 0.01),
        (-0.01, 0.5, 1, -0.01),
        (290.0, 320.0, 1, 282.5),
        (290.0, 320.0, 4, 282.5),
        (-15.0, 25.0, 1, -25.0),
        (-15.0, 25.0, 4, -15.0),
        (300.0, 300.0, 1, 300.0),
    ],
)
def test_temperatures_may_fall_below_the_coldest_pixel(low, high, bands, limit):
    assert lower_limit(low, high, bands) == pytest.approx(limit)
