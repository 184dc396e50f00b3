"""A tile is a pure function: tiles equal the whole, holes stay holes, statistics add up."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from wald_cases import gaussian_matrix, product, psnr, surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.models.registry import load_model
from dualsr_geo.raster.packing import Packing
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.threads import one_thread

RATIO = 4


@pytest.fixture(scope="module")
def sample() -> synthetic.Sample:
    return synthetic.make((61, 97), bands=8, seed=5)


@pytest.fixture(scope="module")
def survey(sample):
    return surveyed(sample.scene, sample.guide, SurveyOptions(RATIO))


def rmse(statistics) -> float:
    return float(np.sqrt(sum(f.square.sum() for f in statistics) / sum(f.pixels.sum() for f in statistics)))


@pytest.mark.parametrize("tile", [16, 23, 64])
def test_tiled_is_whole(sample, survey, tile):
    whole = product(sample.scene, sample.guide, survey)[0]
    tiled = product(sample.scene, sample.guide, survey, tile=tile)[0]
    assert np.abs(tiled - whole).max() <= 1e-5 * np.ptp(whole)


@pytest.mark.parametrize("tile", [16, 40])
def test_tiled_is_whole_when_noisy_shifted_and_holed(tile):
    sample = synthetic.make((61, 70), bands=14, seed=5, noise=0.02, shift_px=(1.5, -0.7))
    scene, guide = sample.scene.copy(), sample.guide.copy()
    scene[:, 20:27, 30:41] = np.nan
    scene[2, 50:, :9] = np.nan
    guide[:, :, 200:] = np.nan
    guide[:, 90:100, 60:70] = np.nan
    survey = surveyed(scene, guide, SurveyOptions(RATIO))
    assert survey.space.noise > 0
    assert survey.placement.moved_px != (0.0, 0.0)
    whole, tiled = (product(scene, guide, survey, tile=t)[0] for t in (1000, tile))
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(tiled))
    assert np.nanmax(np.abs(tiled - whole)) <= 1e-5 * np.ptp(whole[np.isfinite(whole)])


def test_guided_is_better_than_unguided_and_bicubic(sample, survey):
    sharpened = product(sample.scene, sample.guide, survey)[0]
    unguided = product(sample.scene, None, survey, model="interpolation")[0]
    by_bands = surveyed(sample.scene, None, SurveyOptions(RATIO, model=load_model("bicubic")))
    bicubic = product(sample.scene, None, by_bands, model="bicubic")[0]
    ours, kriged, cubic = (psnr(x, sample.reference) for x in (sharpened, unguided, bicubic))
    assert ours > kriged + 6
    assert kriged > cubic + 1


def test_bicubic_is_torchs(sample):
    survey = surveyed(sample.scene, None, SurveyOptions(RATIO, model=load_model("bicubic")))
    sharpened = product(sample.scene, None, survey, model="bicubic", tile=30)[0]
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(sample.scene)[None], scale_factor=RATIO, mode="bicubic", align_corners=False
    )[0].clamp_min(survey.statistics.low)
    np.testing.assert_allclose(sharpened, wanted.numpy(), atol=2e-6)


@pytest.mark.parametrize("model", ["regression", "interpolation"])
def test_degrading_the_product_gives_the_scene_and_statistics_measure_the_difference(sample, model):
    survey = surveyed(sample.scene, sample.guide, SurveyOptions(RATIO, psf=Psf.from_mtf(RATIO)))
    sharpened, statistics = product(sample.scene, sample.guide, survey, model=model)
    dy, dx = (gaussian_matrix(n * RATIO, RATIO, 0.3) for n in (61, 97))
    wrong = (dy @ sharpened @ dx.T - sample.scene)[:, ::4]
    assert np.sqrt((wrong**2).mean()) < 0.02 * sample.scene.std()
    assert rmse(statistics) == pytest.approx(np.sqrt((wrong**2).mean()), rel=1e-3)
    lr, back = sample.scene[:, ::4].astype(float), (dy @ sharpened @ dx.T)[:, ::4]
    cosine = (lr * back).sum(0) / np.linalg.norm(lr, axis=0) / np.linalg.norm(back, axis=0)
    angle = np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).mean()
    assert statistics[0].angle / statistics[0].angles == pytest.approx(angle, rel=1e-3)


def test_statistics_of_tiles_add_up_to_about_those_of_the_whole(sample, survey):
    (whole,), tiles = (product(sample.scene, sample.guide, survey, tile=t)[1] for t in (1000, 20))
    assert sum(t.cut for t in tiles) == pytest.approx(whole.cut, abs=5)
    # Tiles measure where the blur of a pixel is inside the core, here on three fifths of the pixels.
    assert rmse(tiles) == pytest.approx(rmse([whole]), rel=0.5)
    assert sum(t.pixels.sum() for t in tiles) < whole.pixels.sum()
    assert whole.coverage == 1
    assert whole.guided == sum(t.guided for t in tiles) == 61 * 97


def test_holes_stay_holes_band_by_band_and_nothing_else_does(sample):
    scene = sample.scene.copy()
    scene[:, 10:17, 20:31] = np.nan
    scene[3, 30:33] = np.nan
    scene[5] = np.nan
    survey = surveyed(scene, sample.guide, SurveyOptions(RATIO))
    sharpened = product(scene, sample.guide, survey, tile=40)[0]
    np.testing.assert_array_equal(np.isnan(sharpened), np.isnan(scene).repeat(RATIO, 1).repeat(RATIO, 2))
    whole = product(sample.scene, sample.guide, surveyed(sample.scene, sample.guide, SurveyOptions(RATIO)))[0]
    some = np.isfinite(sharpened)
    assert psnr(sharpened[some], sample.reference[some]) > psnr(whole[some], sample.reference[some]) - 1


def test_the_scenes_darkest_values_are_kept_next_to_a_band_without_data(sample):
    """A survey that missed the darkest pixels, and a band of nothing among the others."""
    scene = sample.scene.copy()
    scene[:, 12:20, 40:50] *= 0.2
    holed = scene.copy()
    holed[5] = np.nan
    options = SurveyOptions(RATIO, model=load_model("bicubic"))
    surveys = [surveyed(s, None, options) for s in (scene, holed)]
    low = 0.5 * float(np.median(scene))
    surveys = [replace(s, statistics=replace(s.statistics, low=low)) for s in surveys]
    full, part = (product(s, None, k, model="bicubic")[0] for s, k in zip((scene, holed), surveys, strict=True))
    np.testing.assert_allclose(np.delete(part, 5, 0), np.delete(full, 5, 0), atol=1e-6)


def test_where_the_guide_is_missing_the_product_is_the_unguided_one(sample):
    guide = sample.guide.copy()
    guide[:, :, 160:] = np.nan
    survey = surveyed(sample.scene, guide, SurveyOptions(RATIO))
    sharpened, statistics = product(sample.scene, guide, survey, tile=25)
    unguided = product(sample.scene, None, survey, tile=25)[0]
    np.testing.assert_allclose(sharpened[:, :, 160:], unguided[:, :, 160:], atol=1e-6)
    assert (
        psnr(sharpened[:, :, :120], sample.reference[:, :, :120])
        > psnr(unguided[:, :, :120], sample.reference[:, :, :120]) + 5
    )
    assert sum(f.guided for f in statistics) == pytest.approx(61 * 40)
    assert {round(f.coverage, 3) for f in statistics} == {1.0, 0.6, 0.0}


def test_a_tile_without_data_is_nodata_and_counts_nothing(sample, survey):
    scene = sample.scene.copy()
    scene[:, :32, :32] = np.nan
    pack = Packing("uint16", (1e-4,) * 8, (0.0,) * 8, 65535.0)
    sharpened, statistics = product(scene, sample.guide, survey, tile=32, packing=pack)
    assert (sharpened[:, :128, :128] == 65535).all()
    assert (sharpened[:, 128:] != 65535).all()
    assert (statistics[0].pixels.sum(), statistics[0].angles, statistics[0].guided) == (0, 0, 0)


def test_packed_products_decode_to_the_float_product(sample, survey):
    pack = Packing("uint16", (1e-4,) * 8, (-0.1,) * 8, 0.0)
    packed = product(sample.scene, sample.guide, survey, packing=pack)[0]
    floats = product(sample.scene, sample.guide, survey)[0]
    np.testing.assert_allclose(packed * 1e-4 - 0.1, floats, atol=0.6e-4)


def test_nothing_is_below_the_scenes_minimum(sample, survey):
    sharpened, (tile_statistics,) = product(sample.scene, sample.guide, survey)
    assert sharpened.min() >= np.float32(survey.statistics.low)
    assert tile_statistics.cut > 0


@pytest.mark.parametrize("shape", [(5, 40), (1, 1), (3, 2)])
def test_tiny_scenes(shape):
    sample = synthetic.make(shape, bands=4)
    survey = surveyed(sample.scene, sample.guide, SurveyOptions(RATIO)) if shape == (5, 40) else None
    if survey is None:
        with pytest.raises(ValueError, match=f"{shape[0] * shape[1]} valid pixels? among"):
            surveyed(sample.scene, sample.guide, SurveyOptions(RATIO))
        return
    sharpened = product(sample.scene, sample.guide, survey)[0]
    assert np.isfinite(sharpened).all()


def test_with_any_given_psf_the_product_is_aligned_with_the_guide():
    blur = Psf.gaussian(RATIO, (2.2, 1.4), (1.0, -0.5))
    base = synthetic.make((41, 53), bands=8, seed=6)
    scene = np.einsum("mb,myx->byx", base.spectra, synthetic.degrade(base.abundances, blur, (41, 53)))
    right, wrong = (
        psnr(product(scene, base.guide, surveyed(scene, base.guide, SurveyOptions(RATIO, psf=p)))[0], base.reference)
        for p in (blur, Psf.from_mtf(RATIO))
    )
    assert right > wrong + 2


def test_torch_stays_on_one_thread_until_the_last_tile_is_done():
    """The first tile to end must not change the arithmetic of one that is still at work."""
    before = torch.get_num_threads()
    inside, leave = threading.Event(), threading.Event()
    thread_counts = []

    def other() -> None:
        with one_thread():
            inside.set()
            leave.wait(10)
            thread_counts.append(torch.get_num_threads())
        thread_counts.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    torch.set_num_threads(2)
    try:
        with one_thread():
            thread.start()
            assert inside.wait(10)
            assert torch.get_num_threads() == 1
        leave.set()
        thread.join(10)
        assert thread_counts == [1, 2]
    finally:
        leave.set()
        torch.set_num_threads(before)
