"""Products without a guide have the guard on spectra, tiles as the whole; where a guide is used nothing changes."""

import numpy as np
import pytest
import torch
from made_up_scenes import RATIO, SEEDS, made_up, reduced_by
from wald_cases import product, psnr, surveyed

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.evaluation import metrics
from dualsr_geo.fusion import spectral_guard
from dualsr_geo.fusion.blocks import Block
from dualsr_geo.fusion.wald.pairs import WaldPairs
from dualsr_geo.models.methods import _guard
from dualsr_geo.models.methods._guard import floor_of
from dualsr_geo.models.registry import load_model
from dualsr_geo.surveying.sampling import SurveyOptions


def options(model):
    return SurveyOptions(RATIO, model=load_model(model), changes=False)


@pytest.fixture(scope="module")
def truth():
    return made_up(SEEDS[1], 212)


@pytest.fixture(scope="module")
def lr(truth):
    return reduced_by(truth, "imresize")


@pytest.mark.parametrize("model", ["interpolation", "auto"])
@pytest.mark.parametrize("tile", [16, 23])
def test_tiled_is_whole_with_holes(lr, model, tile):
    scene = lr.copy()
    scene[:, 20:24, 30:33] = np.nan
    survey = surveyed(scene, None, options(model))
    whole, tiled = (product(scene, None, survey, tile=t, model=model)[0] for t in (1000, tile))
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(tiled))
    assert np.nanmax(np.abs(tiled - whole)) <= 1e-5 * np.ptp(whole[np.isfinite(whole)])


@pytest.mark.parametrize("model", ["interpolation", "auto"])
def test_the_guard_acts_and_lowers_the_angle(truth, lr, model, monkeypatch):
    survey = surveyed(lr, None, options(model))
    after = product(lr, None, survey, model=model)[0]
    monkeypatch.setattr(_guard, "floor_of", lambda _: None)
    before = product(lr, None, survey, model=model)[0]
    assert np.abs(after - before).max() > 1e-3 * np.ptp(before)
    assert metrics.sam(after, truth) < metrics.sam(before, truth)
    assert psnr(after, truth) > psnr(before, truth) - 0.1


def test_where_the_guide_is_used_nothing_is_guarded(truth, lr, monkeypatch):
    guide = truth[:3].copy()
    whole = surveyed(lr, guide, options("auto"))
    used = product(lr, guide, whole, model="auto")[0]
    guide[:, :, 100:] = np.nan
    part = surveyed(lr, guide, options("auto"))
    after = product(lr, guide, part, model="auto")[0]
    monkeypatch.setattr(_guard, "floor_of", lambda _: None)
    np.testing.assert_array_equal(product(lr, truth[:3], whole, model="auto")[0], used)
    before = product(lr, guide, part, model="auto")[0]
    inside, outside = np.s_[:, :, :80], np.s_[:, :, 116:]
    np.testing.assert_allclose(after[inside], before[inside], atol=1e-6)
    assert np.abs(after[outside] - before[outside]).max() > 1e-3


@pytest.mark.parametrize(("mean", "guarded"), [([1, 1], False), ([1, 2, 3], True), ([1, -2, -3], False)])
def test_scenes_of_two_bands_or_without_intensity_have_no_guard(mean, guarded):
    space = type("Space", (), {"mean": np.array(mean, np.float32)})()
    assert (floor_of(space) is not None) == guarded
    assert not guarded or floor_of(space) == spectral_guard.FLOOR_SHARE * 2


def test_blocks_of_wald_pairs_are_guarded(lr, monkeypatch):
    chosen = load_model("interpolation")
    cube = torch.from_numpy(lr)
    weight = torch.ones(cube.shape[1:])
    space = surveyed(lr, None, options("interpolation")).space
    block = Block(cube, weight, torch.zeros(0, cube.shape[1] * RATIO, cube.shape[2] * RATIO))
    pair = WaldPairs([block], Psf.from_mtf(RATIO, 0.5), space).of_ratio(2)
    (after,) = chosen.restore(pair, None)
    monkeypatch.setattr(_guard, "floor_of", lambda _: None)
    (before,) = chosen.restore(pair, None)
    assert float((after - before).abs().max()) > 1e-3
    torch.testing.assert_close(after.mean(0), before.mean(0), atol=0.05, rtol=0)
