"""The classic baselines: GDAL's Brovey, and what GSA and MTF-GLP-HPM restore exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from wald_cases import product, psnr, surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.evaluation.gdal_pansharpening import pansharpen
from dualsr_geo.fusion.injection import fit_injection
from dualsr_geo.models.registry import load_model
from dualsr_geo.serialization import to_json
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.surveying.survey import Survey

RULES = ("brovey", "gsa", "mtf-glp-hpm")
RATIO = 4
PSF = Psf.from_mtf(RATIO)


@pytest.fixture(scope="module")
def sample() -> synthetic.Sample:
    return synthetic.make((37, 52), bands=7, seed=3)


def without_floor(known):
    return replace(known, statistics=replace(known.statistics, low=-np.inf))


def known_of(scene, guide, psf=PSF) -> Survey:
    return surveyed(scene, guide, SurveyOptions(psf.ratio, psf=psf, model=load_model("gsa")))


def write(path, cube, gsd):
    at = from_origin(500000, 6000000, gsd, gsd)
    profile = {"count": len(cube), "height": cube.shape[1], "width": cube.shape[2], "dtype": "float64"}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32633", transform=at, **profile) as f:
        f.write(cube.astype(np.float64))
    return path


def test_brovey_is_gdals(sample, tmp_path):
    pan = sample.guide.mean(0, keepdims=True)
    scene, guide = write(tmp_path / "a&b.tif", sample.scene, 8.0), write(tmp_path / "pan.tif", pan, 8.0 / RATIO)
    target = GeoBox(pan.shape[1:], from_origin(500000, 6000000, 2.0, 2.0), "EPSG:32633")
    pansharpen(scene, guide, tmp_path / "out.tif", target)
    with rasterio.open(tmp_path / "out.tif") as f:
        wanted = f.read()
    known = without_floor(known_of(sample.scene, pan))
    made = product(sample.scene, pan, known, model="brovey")[0]
    # GDAL cuts its kernel at the scene's edge, we repeat the edge; inside they are the same.
    inner = (..., slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(made[inner], wanted[inner], rtol=2e-5)
    assert np.abs(made - wanted).max() < 0.2 * np.ptp(wanted)


@pytest.mark.parametrize("rule", ["gsa", "mtf-glp-hpm"])
@pytest.mark.parametrize("bands", [1, 3])
def test_bands_that_are_the_guides_are_restored(rule, bands, sample):
    guide = sample.guide[:1]
    slopes = np.array([0.7, 1.9, 0.2])[:bands]
    truth = slopes[:, None, None] * guide + 0.1
    height, width = (n // RATIO for n in guide.shape[1:])
    scene = operator(PSF, (height, width)).degrade(torch.from_numpy(truth.astype(np.float32))).numpy()
    made = product(scene, guide, without_floor(known_of(scene, guide)), model=rule)[0]
    np.testing.assert_allclose(made, truth, atol=2e-4)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("tile", [16, 23])
def test_tiled_is_whole_with_holes_and_half_a_guide(rule, tile, sample):
    scene, guide = sample.scene.copy(), sample.guide.copy()
    scene[:, 9:14, 20:27] = np.nan
    scene[2, 25:, :5] = np.nan
    guide[:, :, 130:] = np.nan
    known = known_of(scene, guide)
    whole, tiled = (product(scene, guide, known, model=rule, tile=t)[0] for t in (1000, tile))
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(tiled))
    assert np.isnan(whole).mean() == pytest.approx(np.isnan(scene).mean())
    assert np.nanmax(np.abs(tiled - whole)) <= 1e-5 * np.nanmax(whole)


def test_where_the_guide_is_missing_it_is_bicubic(sample):
    guide = sample.guide.copy()
    guide[:, :, 100:] = np.nan
    made = product(sample.scene, guide, known_of(sample.scene, guide), model="gsa")[0]
    unguided = product(sample.scene, None, known_of(sample.scene, None), model="bicubic")[0]
    np.testing.assert_allclose(made[:, :, 108:], unguided[:, :, 108:], rtol=1e-5)
    assert np.abs(made[:, :, :80] - unguided[:, :, :80]).max() > 0.01


def test_they_beat_bicubic_on_a_scene_that_its_guide_explains():
    # In the infrared the guide's regression comes near zero, where a modulation has no meaning.
    sample = synthetic.make((37, 52), seed=3, wavelengths_nm=np.linspace(450.0, 700.0, 6))
    known = known_of(sample.scene, sample.guide)
    score = {m: psnr(product(sample.scene, sample.guide, known, model=m)[0], sample.reference) for m in RULES}
    plain = psnr(product(sample.scene, None, known, model="bicubic")[0], sample.reference)
    assert score["gsa"] > plain + 3
    assert score["mtf-glp-hpm"] > plain + 3


def test_consistency_may_follow(sample):
    known = known_of(sample.scene, sample.guide)
    op = operator(PSF, sample.scene.shape[1:])
    for rule, fine, most in (("gsa", "consistency", 2e-3), ("gsa", "none", np.inf)):
        made = product(sample.scene, sample.guide, without_floor(known), model=rule, fine=fine)[0]
        wrong = np.abs(op.degrade(torch.from_numpy(made)).numpy() - sample.scene).max()
        assert wrong < most
    assert wrong > 2e-3


def test_gain_and_intensity_are_numpys():
    random = np.random.default_rng(1)
    spectra = random.random((5, 900)).astype(np.float32)
    guide = (np.array([[0.2, 0.5, 0, 0, 0.3], [0, 0, 1, 0.4, 0]]) @ spectra + 0.1).astype(np.float32)
    weight = (np.arange(900) >= 30).astype(np.float32)
    spoilt = spectra.copy()
    spoilt[:, :30] = 9
    found = fit_injection(spoilt, guide, weight)
    np.testing.assert_allclose(found.intensity[:, :-1], [[0.2, 0.5, 0, 0, 0.3], [0, 0, 1, 0.4, 0]], atol=1e-5)
    np.testing.assert_allclose(found.intensity[:, -1], 0.1, atol=1e-5)
    for band, (which, gain) in enumerate(zip(found.guide_band.astype(int), found.gain, strict=True)):
        cov = np.cov(guide[which, 30:], spectra[band, 30:])
        assert gain == pytest.approx(cov[0, 1] / cov[0, 0], rel=1e-4)
    assert found.guide_band.tolist() == [0, 0, 1, 1, 0]
    design = np.vstack([guide[:, 30:], np.ones(870)])
    wanted = np.linalg.lstsq(design.T, spectra[:, 30:].T, rcond=None)[0].T
    np.testing.assert_allclose(found.synthesis, wanted, atol=1e-4)


def test_dark_and_constant_scenes_stay_finite():
    guide = torch.rand(1, 24, 20, generator=torch.Generator().manual_seed(0))
    cube = torch.zeros(2, 6, 5)
    cube[1] = 0.5
    known = fit_injection(
        cube.flatten(1).numpy(), np.random.default_rng(0).random((1, 30), np.float32), np.ones(30, np.float32)
    )
    op = operator(PSF, (6, 5))
    for rule in RULES:
        made = load_model(rule).inject(known, cube * (rule != "brovey"), guide, op)(op.upsample(cube), slice(0, 2))
        assert torch.isfinite(made).all()
    flat = load_model("gsa").inject(known, cube, guide, op)(op.upsample(cube), slice(0, 2))
    torch.testing.assert_close(flat, op.upsample(cube), atol=1e-5, rtol=0)


def test_the_survey_keeps_it_to_the_last_bit(sample):
    import json

    known = known_of(sample.scene, sample.guide)
    again = Survey.from_json(json.loads(json.dumps(to_json(known))), load_model("gsa"))
    for name in ("intensity", "guide_band", "gain", "synthesis"):
        np.testing.assert_array_equal(getattr(again.model_state, name), getattr(known.model_state, name))
