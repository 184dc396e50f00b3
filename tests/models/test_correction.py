"""The learned correction of a product: tiled equals whole, with and without a guide, and at its edge."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
import torch
from wald_cases import product, psnr, surveyed

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.io.writers.output_records import read_record
from dualsr_geo.models.registry import load_model
from dualsr_geo.serialization import to_json
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.surveying.survey import Survey

SHAPE = (61, 97)
MODEL = load_model("auto")


def options(ratio=4, model="auto"):
    """Return options; `learned` corrects fully where `auto` would find that the start needs no correction."""
    return SurveyOptions(ratio, psf=Psf.from_mtf(ratio), model=load_model(model))


@pytest.fixture(scope="module")
def sample():
    return synthetic.make(SHAPE, bands=21, seed=5)


def test_the_survey_in_json_contains_the_correction(sample):
    survey = surveyed(sample.scene, sample.guide, options())
    assert len(survey.model_state.correction.unguided.anchors.bands) == 8
    again = Survey.from_json(json.loads(json.dumps(to_json(survey))), MODEL)
    assert to_json(again) == to_json(survey)


@pytest.mark.parametrize("guided", [True, False])
def test_a_halo_is_enough(sample, guided):
    guide = sample.guide if guided else None
    survey = surveyed(sample.scene, guide, options(model="learned"))
    whole = product(sample.scene, guide, survey, model="learned")[0]
    start = product(sample.scene, guide, survey, model="regression" if guided else "interpolation")[0]
    assert np.abs(whole - start).max() > 1e-3 * np.ptp(whole)
    for tile in (16, 23):
        tiled = product(sample.scene, guide, survey, model="learned", tile=tile)[0]
        assert np.abs(tiled - whole).max() <= 1e-5 * np.ptp(whole)


def test_a_halo_is_enough_with_noise_shift_and_holes():
    sample = synthetic.make((61, 70), bands=14, seed=5, noise=0.02, shift_px=(1.5, -0.7))
    scene, guide = sample.scene.copy(), sample.guide.copy()
    scene[:, 20:27, 30:41] = np.nan
    scene[2, 50:, :9] = np.nan
    guide[:, :, 200:] = np.nan
    guide[:, 90:100, 60:70] = np.nan
    survey = surveyed(scene, guide, SurveyOptions(4, model=MODEL))
    assert survey.space.noise > 0
    whole, tiled = (product(scene, guide, survey, model="learned", tile=t)[0] for t in (1000, 16))
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(tiled))
    assert np.nanmax(np.abs(tiled - whole)) <= 1e-5 * np.ptp(whole[np.isfinite(whole)])


@pytest.mark.parametrize("ratio", [2, 3, 5, 8, 16])
def test_every_ratio(ratio):
    sample = synthetic.make((24, 31), bands=5, ratio=ratio, seed=1)
    survey = surveyed(sample.scene, sample.guide, options(ratio))
    corrected = product(sample.scene, sample.guide, survey, model="learned")[0]
    assert corrected.shape == sample.reference.shape


@pytest.mark.parametrize("bands", [1, 2, 4])
@pytest.mark.parametrize("guided", [True, False])
def test_few_bands(bands, guided):
    sample = synthetic.make((24, 31), bands=bands, seed=2)
    guide = sample.guide if guided else None
    survey = surveyed(sample.scene, guide, options())
    corrected = product(sample.scene, guide, survey, model="learned")[0]
    assert np.isfinite(corrected).all()


def test_the_product_stays_consistent(sample):
    survey = surveyed(sample.scene, None, options())
    corrected = product(sample.scene, None, survey, model="learned")[0]
    start = product(sample.scene, None, survey, model="interpolation")[0]
    op = operator(Psf.from_mtf(4), SHAPE)
    before, after = (
        float((op.degrade(torch.from_numpy(p)) - torch.from_numpy(sample.scene)).square().mean().sqrt())
        for p in (start, corrected)
    )
    assert after <= before + 1e-4 * np.ptp(sample.scene)


def test_the_correction_improves_on_interpolation(sample):
    survey = surveyed(sample.scene, None, options())
    corrected = product(sample.scene, None, survey, model="learned")[0]
    start = product(sample.scene, None, survey, model="interpolation")[0]
    assert psnr(corrected, sample.reference) > psnr(start, sample.reference) + 0.2


def test_in_bfloat16_it_differs_by_less_than_a_thousandth(sample):
    survey = surveyed(sample.scene, sample.guide, options(model="learned"))
    state = survey.model_state
    half = replace(state.correction, guided=replace(state.correction.guided, share=0.5))
    survey = replace(survey, model_state=replace(state, correction=half))
    full, lowered = (
        product(sample.scene, sample.guide, survey, model="learned", precision=p)[0] for p in ("float32", "bfloat16")
    )
    assert 0 < np.abs(full - lowered).max() <= 1e-3 * np.ptp(full)


def test_a_shrinkage_factor_of_0_leaves_the_start(sample):
    survey = surveyed(sample.scene, sample.guide, options())
    scene_state = survey.model_state.correction
    none = replace(scene_state, guided=replace(scene_state.guided, share=0.0))
    state = replace(survey.model_state, correction=none)
    corrected = product(sample.scene, sample.guide, replace(survey, model_state=state), model="learned")[0]
    start = product(sample.scene, sample.guide, survey, model="regression")[0]
    np.testing.assert_array_equal(corrected, start)


def test_a_product_names_the_weights_and_is_whole_on_disk(tmp_path):
    scene, guide = synthetic.write(tmp_path, shape=(40, 33), bands=6, guide="pan", seed=4)
    summary = dualsr_geo.upscale(scene, tmp_path / "p.tif", rgb=guide, model="learned", psf=Psf.from_mtf(4), tile=16)
    assert (summary["model"], summary["shape"]) == ("learned", [160, 132])
    provenance = read_record(str(tmp_path / "p.tif"), "GTiff", "lineage")
    ids = {"guided": "guided", "unguided": "alone"}
    files = sorted((Path(dualsr_geo.__file__).parent / "models/data").glob("*.safetensors"))
    assert provenance["weights_sha256"] == {ids[f.stem]: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    assert provenance["parameters"]["ours"]["guided"]["sha256"] == provenance["weights_sha256"]["guided"]
    # `learned` is not shrunk.
    assert provenance["correction"] == {"guided": {"share": 1.0, "wald_pairs": []}}
    with rioxarray.open_rasterio(scene) as array, rasterio.open(tmp_path / "p.tif") as written:
        lazy = array.dualsr.upscale(rgb=str(guide), model="learned", psf=Psf.from_mtf(4), tile=16)
        np.testing.assert_array_equal(lazy.values, written.read())
