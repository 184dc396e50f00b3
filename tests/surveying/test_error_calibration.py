"""Error levels, against true errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from wald_cases import DATA, case, product, surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block
from dualsr_geo.surveying.error_calibration import GROWTH_RANGE, QUANTILE_STDS, TREND_RANGE, fine_noise
from dualsr_geo.surveying.sampling import SurveyOptions

RATIO = 4


def unguided(cube: torch.Tensor, weight: torch.Tensor) -> Block:
    return Block(cube, weight, torch.zeros(0, *(RATIO * n for n in weight.shape)))


def covered(reference: np.ndarray, result: np.ndarray) -> float:
    bands = len(reference)
    return float((np.abs(result[:bands] - reference) <= QUANTILE_STDS * result[bands:]).mean())


@pytest.mark.skipif(not DATA.is_dir(), reason="the scenes are not here")
@pytest.mark.parametrize(
    "name", ["jasper 4 M rgb", "jasper 4 M pan", "sandiego 4 M rgb", "enmap 4 M pan", "sn6 4 M pan"]
)
def test_nine_tenths_are_covered_on_real_scenes(name):
    one = case(name)
    survey = surveyed(one.scene, one.guide, SurveyOptions(one.ratio, coregister="off", uncertainty=True))
    assert 0.80 <= covered(one.reference, product(one.scene, one.guide, survey)[0]) <= 0.97


@pytest.mark.parametrize("count", [6, 24])
def test_noise_of_the_finer_grid_is_found(count):
    """White noise of 0.01 on the target grid, blurred and decimated with the scene."""
    sample, psf = synthetic.make((60, 75), bands=count, seed=1), Psf.from_mtf(RATIO)
    noise = torch.randn((count, 240, 300), generator=torch.Generator().manual_seed(0))
    cube = torch.from_numpy(sample.scene) + operator(psf, (60, 75)).degrade(0.01 * noise)
    block = Block(cube, torch.ones(60, 75), torch.from_numpy(sample.guide))
    noise_std = fine_noise([block], psf)
    assert np.median(noise_std) == pytest.approx(0.01, rel=0.35)


def test_holes_do_not_count_as_noise():
    sample = synthetic.make((60, 75), bands=14, seed=1)
    cube, weight = torch.from_numpy(sample.scene.copy()), torch.ones(60, 75)
    plain = fine_noise([unguided(cube, weight)], Psf.from_mtf(RATIO))
    holed, valid = cube.clone(), weight.clone()
    holed[:, 10:30, 10:60], valid[10:30, 10:60] = cube.mean((1, 2))[:, None, None], 0
    noise_std = fine_noise([unguided(holed, valid)], Psf.from_mtf(RATIO))
    np.testing.assert_allclose(noise_std, plain, rtol=0.5)


def test_levels_grow_with_the_scene():
    sample = synthetic.make((33, 41), bands=5, seed=2)
    one, ten = (
        surveyed(s, sample.guide, SurveyOptions(RATIO, uncertainty=True)).uncertainty
        for s in (sample.scene, 10 * sample.scene)
    )
    for a, b in ((one.guided, ten.guided), (one.unguided, ten.unguided)):
        np.testing.assert_allclose(b.size, 10 * a.size, rtol=1e-2)
        assert b.trend == pytest.approx(a.trend, rel=1e-2)


def test_a_guide_lowers_the_uncertainty():
    sample = synthetic.make((40, 51), bands=6, seed=2)
    model = surveyed(sample.scene, sample.guide, SurveyOptions(RATIO, uncertainty=True)).uncertainty
    assert np.median(model.guided.size) < np.median(model.unguided.size)


@pytest.mark.parametrize(("side", "ratio", "wald"), [(8, 4, 2), (12, 4, 3), (16, 4, 4), (17, 8, 4), (9, 2, 2)])
def test_the_wald_pair_is_the_largest_that_leaves_four_pixels(side, ratio, wald):
    sample = synthetic.make((side, side + 5), bands=4, seed=3, ratio=ratio)
    level = surveyed(sample.scene, None, SurveyOptions(ratio, uncertainty=True)).uncertainty.unguided
    assert level.ratio == wald
    assert TREND_RANGE[0] <= level.trend <= TREND_RANGE[1]
    assert GROWTH_RANGE[0] <= level.growth <= GROWTH_RANGE[1]


def test_a_scene_without_contrast_has_no_uncertainty():
    flat = np.full((3, 20, 24), 0.25, np.float32)
    model = surveyed(flat, None, SurveyOptions(RATIO, uncertainty=True)).uncertainty
    for values in (model.unguided.size, model.floor):
        assert np.isfinite(values).all()
        assert values.max() < 1e-6


def test_without_the_option_there_is_no_uncertainty():
    sample = synthetic.make((12, 15), bands=3)
    assert surveyed(sample.scene, sample.guide, SurveyOptions(RATIO)).uncertainty is None
