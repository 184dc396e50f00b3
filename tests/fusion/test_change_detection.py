"""Where the guide shows something else its detail is left out; elsewhere nothing changes."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from wald_cases import product, psnr, surveyed

from dualsr_geo import synthetic, upscale
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import OptionError
from dualsr_geo.fusion import change_detection, subspace
from dualsr_geo.fusion.blocks import Block
from dualsr_geo.serialization import from_json, to_json
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.surveying.survey import Survey

RATIO = 4
OPTIONS = SurveyOptions(RATIO, changes=True)
# A quarter of the scene, lr pixels, and what is farther from that quarter than the blur mixes.
INSIDE = np.s_[16:46, 12:54]


@pytest.fixture(scope="module")
def made() -> synthetic.Sample:
    return synthetic.make((61, 83), bands=8, seed=5)


@pytest.fixture(scope="module")
def pasted(made):
    guide = made.guide.copy()
    rows, columns = (slice(s.start * RATIO, s.stop * RATIO) for s in INSIDE)
    guide[:, rows, columns] = np.roll(made.guide, (120, 170), (1, 2))[:, rows, columns][:, :, ::-1]
    return guide


@pytest.fixture(scope="module")
def known(made, pasted):
    return surveyed(made.scene, pasted, OPTIONS)


def masks(shape, clear=3):
    inside, near = np.zeros(shape, bool), np.zeros(shape, bool)
    inside[INSIDE] = True
    near[tuple(slice(s.start - clear, s.stop + clear) for s in INSIDE)] = True
    return (m.repeat(RATIO, 0).repeat(RATIO, 1) for m in (inside, ~near))


def decibels(made, truth, where):
    return 10 * np.log10(truth.max() ** 2 / np.mean((made - truth)[:, where] ** 2, dtype=float))


def test_an_unchanged_guide_is_used_to_the_last_bit(made):
    for noise in (0.0, 0.02):
        sample = synthetic.make((37, 50), bands=8, seed=5, noise=noise)
        off, auto = (surveyed(sample.scene, sample.guide, w) for w in (SurveyOptions(RATIO), OPTIONS))
        assert auto.changes is not None
        (plain, _), (with_changes, counted) = (product(sample.scene, sample.guide, k) for k in (off, auto))
        np.testing.assert_array_equal(plain, with_changes)
        assert sum(f.withheld for f in counted) == 0


def test_inside_a_change_it_is_as_without_a_guide_and_elsewhere_no_worse(made, pasted, known):
    inside, clear = masks(made.scene.shape[1:])
    unguided = product(made.scene, None, surveyed(made.scene, None, SurveyOptions(RATIO)), model="interpolation")[0]
    plain = surveyed(made.scene, pasted, SurveyOptions(RATIO))
    used = product(made.scene, pasted, plain)[0]
    left, counted = product(made.scene, pasted, known)
    fixed = product(made.scene, pasted, replace(plain, changes=known.changes))[0]
    without, worse, ours = (decibels(p, made.reference, inside) for p in (unguided, used, left))
    # The guide does harm, though less than with candidates for weak directions missing.
    assert worse < without - 0.5
    assert ours > without - 0.2
    before = decibels(used, made.reference, clear)
    assert decibels(fixed, made.reference, clear) > before - 0.05
    # The survey weighs its candidates on fewer pixels.
    assert decibels(left, made.reference, clear) > before - 0.5
    share = sum(f.withheld for f in counted) / made.scene[0].size
    assert share == pytest.approx(30 * 42 / (61 * 83), rel=0.25)


@pytest.mark.parametrize("tile", [16, 27])
def test_tiled_is_whole(made, pasted, known, tile):
    whole, tiled = (product(made.scene, pasted, known, tile=t)[0] for t in (1000, tile))
    assert np.abs(whole - tiled).max() <= 1e-5 * np.ptp(whole)


def test_the_survey_is_not_spoilt_by_a_changed_quarter(made, pasted, known):
    clean = surveyed(made.scene, made.guide, OPTIONS)
    np.testing.assert_allclose(known.psf.sigma_px, clean.psf.sigma_px, rtol=0.02)
    spoilt = surveyed(made.scene, pasted, SurveyOptions(RATIO))
    visible = np.s_[:4]
    np.testing.assert_allclose(known.guide.relevance[visible], clean.guide.relevance[visible], atol=0.01)
    assert np.abs(spoilt.guide.relevance - clean.guide.relevance)[visible].min() > 0.1


def test_it_survives_json(known):
    again = from_json(Survey, json.loads(json.dumps(to_json(known))))
    for name in ("response", "offset", "scale", "floor"):
        np.testing.assert_array_equal(getattr(again.changes, name), getattr(known.changes, name))
    assert again.changes.typical_agreement == known.changes.typical_agreement


@given(st.floats(0.2, 5), st.floats(-3, 3), st.integers(0, 99))
def test_gain_and_offset_are_no_change_and_a_negative_is(gain, offset, seed):
    plane = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, 13, 17)))
    nothing = torch.zeros(2, dtype=torch.float64)
    alike = change_detection.agreement(plane, gain * plane + offset, nothing, None)
    np.testing.assert_allclose(alike.numpy(), 1, atol=1e-6)
    np.testing.assert_allclose(change_detection.agreement(plane, -plane, nothing, None).numpy(), -1, atol=1e-6)
    # What stays below the floor means nothing.
    floor = torch.full((2,), 1e6, dtype=torch.float64)
    np.testing.assert_allclose(change_detection.agreement(plane, -plane, floor, None).numpy(), 1, atol=1e-4)


def test_a_guide_that_nowhere_follows_the_scene_has_not_changed_either(made):
    rng = np.random.default_rng(3)
    cube = torch.from_numpy(made.scene)
    space = subspace.estimate_subspace(made.scene.reshape(8, -1), np.ones(made.scene[0].size, np.float32))
    noise = torch.from_numpy(rng.standard_normal(made.guide.shape).astype(np.float32))
    block = Block(cube, torch.ones(cube.shape[1:]), noise)
    _, left = change_detection.fit_change_model([block], Psf.from_mtf(RATIO), space)
    assert left[0].weight.min() == 1
    few = Block(cube[:, :4, :5], torch.ones(4, 5), noise[:, :16, :20])
    assert change_detection.fit_change_model([few], Psf.from_mtf(RATIO), space)[0] is None


def test_an_unknown_way_is_refused(tmp_path):
    scene, guide = synthetic.write(tmp_path, shape=(16, 16), bands=3)
    with pytest.raises(OptionError, match="--changes maybe is not known. Give auto or off."):
        upscale(scene, rgb=guide, changes="maybe")


# ---- other radiometry --------------------------------------------------------------------


def photographed(guide, quality=None):
    """Return a guide in 8 bits with a gamma and saturated highlights; as a JPEG, whose colours are coarser, too."""
    low, high = np.percentile(guide, (0, 99))
    encoded = np.rint(np.clip((guide - low) / (high - low), 0, 1) ** (1 / 2.2) * 255)
    if quality is None:
        return encoded.astype(np.float32)
    held = io.BytesIO()
    Image.fromarray(encoded.astype(np.uint8).transpose(1, 2, 0)).save(held, "JPEG", quality=quality)
    return np.asarray(Image.open(held), np.float32).transpose(2, 0, 1)


def test_an_aerial_photograph_guides_though_not_as_well(made):
    def score(guide):
        known = surveyed(made.scene, guide, OPTIONS)
        found, counted = product(made.scene, guide, known, model="interpolation" if guide is None else "regression")
        assert sum(f.withheld for f in counted) < 0.01 * made.scene[0].size
        return psnr(found, made.reference)

    unguided, linear = score(None), score(made.guide)
    assert score(photographed(made.guide)) > linear - 1.5
    # Without a guide the blur is estimated from the scene, which makes interpolation better.
    assert score(photographed(made.guide, 95)) > unguided + 1.8
