"""Under a blur that is not given, a product without a guide is not below bicubic."""

import numpy as np
import pytest
from made_up_scenes import RATIO, SEEDS, SEVEN, made_up, reduced_by
from wald_cases import product, psnr, surveyed

from dualsr_geo.models.registry import load_model
from dualsr_geo.surveying.sampling import SurveyOptions


@pytest.fixture(scope="module", params=SEEDS)
def scene(request):
    return made_up(request.param, 256)


def sharpened(lr, model, **known):
    survey = surveyed(lr, None, SurveyOptions(RATIO, model=load_model(model), **known))
    return product(lr, None, survey, model=model)[0], survey


@pytest.mark.parametrize("blur", SEVEN)
def test_auto_is_not_below_bicubic(scene, blur):
    lr = reduced_by(scene, blur)
    sharp, survey = sharpened(lr, "auto")
    assert survey.placement.source == "estimated from the scene"
    assert psnr(sharp, scene) > psnr(sharpened(lr, "bicubic")[0], scene)


@pytest.mark.parametrize("noise", [1 / 255, 5 / 255])
def test_auto_is_not_below_bicubic_in_noise(scene, noise):
    lr = reduced_by(scene, "imresize", noise=noise)
    assert psnr(sharpened(lr, "auto")[0], scene) > psnr(sharpened(lr, "bicubic")[0], scene)


def test_a_scene_without_edges_is_not_below_bicubic():
    y, x = np.mgrid[:160, :192].astype(np.float32) / 160
    smooth = np.stack([0.5 + 0.3 * np.sin(3 * y + k) * np.cos(2 * x) for k in range(4)]).astype(np.float32)
    lr = reduced_by(smooth, "box")
    sharp, survey = sharpened(lr, "auto")
    assert survey.placement.source == "assumed"
    assert "no sharp edge" in survey.placement.assumption
    # At the border, where the scene is not continued, the closed form differs by 1e-3 of the range.
    inner = np.s_[:, 24:-24, 24:-24]
    assert psnr(sharp[inner], smooth[inner]) > psnr(sharpened(lr, "bicubic")[0][inner], smooth[inner])
    assert np.abs(sharp - smooth).max() < 0.02


@pytest.mark.parametrize("fill", ["constant", "noise", "tiny"])
def test_scenes_that_show_no_blur_give_a_product_and_a_sentence(fill):
    shape = (4, 9, 11) if fill == "tiny" else (4, 40, 37)
    lr = np.random.default_rng(0).uniform(0.2, 0.4, shape).astype(np.float32)
    if fill == "constant":
        lr[:] = 0.3
    sharp, survey = sharpened(lr, "auto")
    assert np.isfinite(sharp).all()
    assert "an MTF gain of 0.50 at Nyquist is assumed" in survey.placement.assumption
    if fill == "constant":
        np.testing.assert_allclose(sharp, 0.3, rtol=1e-5)
