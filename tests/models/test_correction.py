"""What our own networks add: tiled equals whole, with and without a guide, and where it ends."""

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
from dualsr_geo.survey.sampling import SurveyOptions
from dualsr_geo.survey.survey import Survey

SHAPE = (61, 97)
MODEL = load_model("auto")


def wishes(ratio=4):
    return SurveyOptions(ratio, psf=Psf.from_mtf(ratio), model=MODEL)


@pytest.fixture(scope="module")
def sample():
    return synthetic.make(SHAPE, bands=21, seed=5)


def test_the_survey_carries_it_exactly(sample):
    known = surveyed(sample.scene, sample.guide, wishes())
    assert len(known.model_state.correction.unguided.anchors.bands) == 8
    again = Survey.from_json(json.loads(json.dumps(to_json(known))), MODEL)
    assert to_json(again) == to_json(known)


@pytest.mark.parametrize("guided", [True, False])
def test_a_halo_is_enough(sample, guided):
    guide = sample.guide if guided else None
    known = surveyed(sample.scene, guide, wishes())
    whole = product(sample.scene, guide, known, model="learned")[0]
    plain = product(sample.scene, guide, known, model="regression" if guided else "interpolation")[0]
    assert np.abs(whole - plain).max() > 1e-3 * np.ptp(whole)
    for tile in (16, 23):
        tiled = product(sample.scene, guide, known, model="learned", tile=tile)[0]
        assert np.abs(tiled - whole).max() <= 1e-5 * np.ptp(whole)


def test_a_halo_is_enough_where_noise_shift_and_holes_are():
    sample = synthetic.make((61, 70), bands=14, seed=5, noise=0.02, shift_px=(1.5, -0.7))
    scene, guide = sample.scene.copy(), sample.guide.copy()
    scene[:, 20:27, 30:41] = np.nan
    scene[2, 50:, :9] = np.nan
    guide[:, :, 200:] = np.nan
    guide[:, 90:100, 60:70] = np.nan
    known = surveyed(scene, guide, SurveyOptions(4, model=MODEL))
    assert known.space.noise > 0
    whole, tiled = (product(scene, guide, known, model="learned", tile=t)[0] for t in (1000, 16))
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(tiled))
    assert np.nanmax(np.abs(tiled - whole)) <= 1e-5 * np.ptp(whole[np.isfinite(whole)])


@pytest.mark.parametrize("ratio", [2, 3, 5, 8, 16])
def test_every_ratio(ratio):
    sample = synthetic.make((24, 31), bands=5, ratio=ratio, seed=1)
    known = surveyed(sample.scene, sample.guide, wishes(ratio))
    made = product(sample.scene, sample.guide, known, model="learned")[0]
    assert made.shape == sample.reference.shape


@pytest.mark.parametrize("bands", [1, 2, 4])
@pytest.mark.parametrize("guided", [True, False])
def test_few_bands(bands, guided):
    sample = synthetic.make((24, 31), bands=bands, seed=2)
    guide = sample.guide if guided else None
    known = surveyed(sample.scene, guide, wishes())
    made = product(sample.scene, guide, known, model="learned")[0]
    assert np.isfinite(made).all()


def test_the_product_stays_consistent(sample):
    known = surveyed(sample.scene, None, wishes())
    made = product(sample.scene, None, known, model="learned")[0]
    plain = product(sample.scene, None, known, model="interpolation")[0]
    op = operator(Psf.from_mtf(4), SHAPE)
    before, after = (
        float((op.degrade(torch.from_numpy(p)) - torch.from_numpy(sample.scene)).square().mean().sqrt())
        for p in (plain, made)
    )
    assert after <= before + 1e-4 * np.ptp(sample.scene)


def test_it_adds_what_interpolation_lacks(sample):
    known = surveyed(sample.scene, None, wishes())
    made = product(sample.scene, None, known, model="learned")[0]
    plain = product(sample.scene, None, known, model="interpolation")[0]
    assert psnr(made, sample.reference) > psnr(plain, sample.reference) + 0.2


def test_in_bfloat16_it_differs_by_less_than_a_thousandth(sample):
    known = surveyed(sample.scene, sample.guide, wishes())
    full, lowered = (
        product(sample.scene, sample.guide, known, model="learned", precision=p)[0] for p in ("float32", "bfloat16")
    )
    assert 0 < np.abs(full - lowered).max() <= 1e-3 * np.ptp(full)


def test_no_share_leaves_the_start(sample):
    known = surveyed(sample.scene, sample.guide, wishes())
    found = known.model_state.correction
    none = replace(found, guided=replace(found.guided, share=0.0))
    state = replace(known.model_state, correction=none)
    made = product(sample.scene, sample.guide, replace(known, model_state=state), model="learned")[0]
    plain = product(sample.scene, sample.guide, known, model="regression")[0]
    np.testing.assert_array_equal(made, plain)


def test_a_product_names_the_weights_and_is_whole_on_disk(tmp_path):
    scene, guide = synthetic.write(tmp_path, shape=(40, 33), bands=6, guide="pan", seed=4)
    said = dualsr_geo.upscale(scene, tmp_path / "p.tif", rgb=guide, model="learned", psf=Psf.from_mtf(4), tile=16)
    assert (said["model"], said["shape"]) == ("learned", [160, 132])
    lineage = read_record(str(tmp_path / "p.tif"), "GTiff", "lineage")
    files = sorted((Path(dualsr_geo.__file__).parent / "models/data").glob("*.safetensors"))
    assert lineage["weights_sha256"] == {f.stem: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    assert lineage["parameters"]["ours"]["guided"]["sha256"] == lineage["weights_sha256"]["guided"]
    # As asked for, whatever the scene says.
    assert lineage["correction"] == {"guided": {"share": 1.0, "wald_pairs": []}}
    with rioxarray.open_rasterio(scene) as array, rasterio.open(tmp_path / "p.tif") as written:
        lazy = array.dualsr.upscale(rgb=str(guide), model="learned", psf=Psf.from_mtf(4), tile=16)
        np.testing.assert_array_equal(lazy.values, written.read())
