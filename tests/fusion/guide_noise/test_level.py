"""The level of the guide's noise: from its detail, from the scene, and from its numbers."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from wald_cases import DATA, load, responses

from dualsr_geo.degradation.noise import estimate_noise, is_noisy
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block
from dualsr_geo.fusion.guide_noise.level import NoiseLevel, estimate_noise_level
from dualsr_geo.fusion.guide_noise.quantisation import lattice_steps
from dualsr_geo.fusion.subspace import estimate_subspace
from dualsr_geo.serialization import from_json, to_json

RATIO = 4
PSF = Psf.from_mtf(RATIO)
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no folder {DATA}")


@pytest.fixture(scope="module")
def made():
    """Return a textured cube (12, 180, 236) in 0..1, and a guide of three of its sums."""
    rng = np.random.default_rng(4)
    maps = np.stack([gaussian_filter(rng.standard_normal((180, 236)), s) for s in (0.8, 2, 5, 9)])
    maps /= maps.std((1, 2), keepdims=True)
    cube = np.einsum("bc,cyx->byx", rng.uniform(0, 1, (12, 4)), maps)
    cube = ((cube - cube.min()) / np.ptp(cube)).astype(np.float32)
    share = rng.dirichlet(np.ones(12), 3)
    return cube, np.einsum("gb,byx->gyx", share, cube).astype(np.float32)


def level_of(guide, scene, *, weight=None, valid=None, psf=PSF):
    noise = estimate_noise([scene], [np.ones(scene.shape[1:], np.float32)])
    flat = scene.reshape(len(scene), -1)
    noisy = is_noisy(noise, flat.std(1))
    space = estimate_subspace(flat, np.ones(flat.shape[1], np.float32), noise if noisy else None)
    weight = torch.ones(scene.shape[1:]) if weight is None else weight
    planes = torch.from_numpy(guide)
    valid = torch.ones(guide.shape[1:], dtype=torch.bool) if valid is None else valid
    return estimate_noise_level([planes], [valid], [Block(torch.from_numpy(scene), weight, planes)], psf, space, noise)


def degraded(cube, psf=PSF):
    shape = cube.shape[1] // psf.ratio, cube.shape[2] // psf.ratio
    return operator(psf, shape).degrade(torch.from_numpy(cube)).numpy()


def noisy(guide, share, seed=0):
    noise = np.random.default_rng(seed).standard_normal(guide.shape)
    return (guide + share * np.percentile(guide, 99.9) * noise).astype(np.float32)


def truth_of(found, guide, clean):
    return np.sqrt((np.einsum("bd,byx->dyx", found.directions, guide - clean) ** 2).mean((1, 2)))


def jpeg(guide, quality):
    file, top = io.BytesIO(), guide.max()
    Image.fromarray(np.round(guide / top * 255).astype(np.uint8).transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
    return (np.asarray(Image.open(file)).transpose(2, 0, 1) / 255 * top).astype(np.float32)


@pytest.mark.parametrize("share", [0.001, 0.003, 0.01])
@pytest.mark.parametrize("bands", [1, 2, 3])
def test_level_of_white_noise_in_a_textured_scene(made, share, bands):
    cube, guide = made
    guide = guide[:bands]
    with_noise = noisy(guide, share)
    found = level_of(with_noise, degraded(cube))
    assert found.white
    np.testing.assert_allclose(found.level, truth_of(found, with_noise, guide), rtol=0.15)
    assert (found.error > 0).all()
    assert (found.error < 0.2 * found.level).all()


def test_a_clean_guide_has_hardly_any_noise(made):
    cube, guide = made
    found = level_of(guide, degraded(cube))
    assert (found.level < 1e-4 * guide.max()).all()
    # Its texture looks like noise to the estimate from the guide only.
    assert (found.from_guide > 10 * found.level).all()


@needs_data
@pytest.mark.data
@pytest.mark.parametrize("share", [0.001, 0.003, 0.01])
@pytest.mark.parametrize("name", ["sponges", "jasper"])
@pytest.mark.parametrize("kind", ["rgb", "pan"])
def test_level_of_real_scenes(name, share, kind):
    scene = load(name)
    part = np.s_[:, : min(scene.cube.shape[1], 256) // 4 * 4, : min(scene.cube.shape[2], 256) // 4 * 4]
    cube = np.ascontiguousarray(scene.cube[part])
    guide = np.einsum("gb,byx->gyx", responses(scene, kind), cube).astype(np.float32)
    with_noise = noisy(guide, share)
    found = level_of(with_noise, degraded(cube))
    np.testing.assert_allclose(found.level, truth_of(found, with_noise, guide), rtol=0.15)


@pytest.mark.parametrize("levels", [255, 20, 7])
def test_level_is_at_least_the_quantisation_error(made, levels):
    cube, guide = made
    coarse = (np.round(guide * levels) / levels).astype(np.float32)
    found = level_of(coarse, degraded(cube))
    np.testing.assert_allclose(found.step, 1 / levels / np.sqrt(12), rtol=0.01)
    assert (found.level >= found.step).all()
    assert (found.level < 1.5 * found.step).all()


@pytest.mark.parametrize("scale", [1, 1e-4, 1 / 255, 2.0])
@pytest.mark.parametrize("offset", [0, -0.1])
def test_step_of_scaled_integers(scale, offset):
    integers = np.random.default_rng(0).integers(3, 4000, 5000)
    values = (integers * scale + offset).astype(np.float32)
    assert lattice_steps([values])[0] == pytest.approx(scale, rel=2e-3)


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).random(20000).astype(np.float32),
        np.random.default_rng(1).random(30).astype(np.float32).repeat(40),
        (np.arange(256) / 255).astype(np.float32) ** 2.2,
        np.full(50, 7, np.float32),
    ],
    ids=["continuous", "few", "gamma", "constant"],
)
def test_no_step_without_a_lattice(values):
    assert lattice_steps([values])[0] == 0


@pytest.mark.parametrize("quality", [75, 90])
def test_jpeg_is_not_white(made, quality):
    cube, guide = made
    compressed = jpeg(guide, quality)
    found = level_of(compressed, degraded(cube))
    assert not found.white
    assert (found.level > 3 * found.from_guide).all()


def test_constant_band_and_equal_bands(made):
    cube, guide = made
    with_noise = noisy(guide[:1], 0.01)
    # A constant band, and the same band twice: one direction varies.
    guide = np.concatenate([with_noise, np.full_like(with_noise, 0.3), with_noise])
    found = level_of(guide, degraded(cube))
    expected = np.sqrt(2) * (with_noise - made[1][:1]).std()
    np.testing.assert_allclose(found.level, [expected, 0, 0], rtol=0.15)
    found = level_of(np.full((1, 180, 236), 0.3, np.float32), degraded(cube))
    assert found.level == 0


def test_saturated_places_do_not_hide_the_noise(made):
    cube, guide = made
    limit = np.percentile(guide, 60)
    with_noise = np.minimum(noisy(guide, 0.01), limit).astype(np.float32)
    found = level_of(with_noise, degraded(cube))
    assert (found.from_guide > 0.008 * guide.max()).all()


def test_changed_and_missing_pixels_are_left_out(made):
    cube, guide = made
    with_noise = noisy(guide, 0.003)
    disturbed = with_noise.copy()
    disturbed[:, 40:120, 60:160] = with_noise[:, 40:120, 60:160][:, ::-1]
    weight = torch.ones(45, 59)
    weight[8:32, 13:42] = 0
    found, other = (level_of(disturbed, degraded(cube), weight=w) for w in (weight, None))
    np.testing.assert_allclose(found.level, truth_of(found, with_noise, guide), rtol=0.15)
    assert (other.from_scene > 2 * found.from_scene).all()
    valid = torch.ones(180, 236, dtype=torch.bool)
    valid[40:120, 60:160] = False
    disturbed[:, 40:120, 60:160] = -9999
    whole = level_of(disturbed, degraded(cube), weight=weight, valid=valid)
    np.testing.assert_allclose(whole.level, found.level, rtol=0.05)


def test_noise_of_the_scene_is_not_taken_for_that_of_the_guide(made):
    cube, guide = made
    scene = degraded(cube)
    scene = (scene + 0.03 * np.random.default_rng(2).standard_normal(scene.shape)).astype(np.float32)
    with_noise = noisy(guide, 0.01)
    found = level_of(with_noise, scene)
    assert is_noisy(estimate_noise([scene], [np.ones(scene.shape[1:], np.float32)]), scene.std((1, 2)))
    truth = truth_of(found, with_noise, guide)
    assert (found.level > 0.7 * truth).all()
    assert (found.level < 1.3 * truth).all()


def test_no_guide_no_level(made):
    cube, guide = made
    scene = degraded(cube)
    assert level_of(guide, scene, valid=torch.zeros(180, 236, dtype=torch.bool)) is None
    assert level_of(guide[:0], scene) is None


def test_without_any_common_pixel_the_guide_decides(made):
    cube, guide = made
    found = level_of(noisy(guide, 0.01), degraded(cube), weight=torch.zeros(45, 59))
    np.testing.assert_array_equal(found.from_scene, found.from_guide)
    assert np.isfinite(found.level).all()


def test_level_as_json(made):
    cube, guide = made
    found = level_of(noisy(guide, 0.01), degraded(cube))
    again = from_json(NoiseLevel, to_json(found))
    for name in ("mean", "directions", "from_guide", "from_scene", "step", "level", "error"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert again.white == found.white
    np.testing.assert_allclose(found.directions.T @ found.directions, np.eye(3), atol=1e-6)
    assert replace(found, white=False).white is False


@pytest.mark.parametrize("compressed", [False, True])
def test_a_response_that_the_bands_do_not_explain_is_not_noise(made, compressed):
    cube, guide = made
    gamma = ((guide / guide.max()) ** (1 / 2.2)).astype(np.float32)
    light = 1 + 0.3 * np.sin(np.linspace(0, 9, 236, dtype=np.float32))
    for other in (gamma, guide * light):
        shown = jpeg(other, 90) if compressed else other
        found = level_of(shown, degraded(cube))
        assert found.from_scene[0] > 5 * found.level[0]
        assert (found.level < (0.01 if compressed else 0.002) * shown.max()).all()


def test_interpolated_noise_is_found_by_the_scene(made):
    cube, guide = made
    noise = noisy(guide, 0.01) - guide
    smooth = noise.copy()
    # The mean of two neighbours along both axes, as an interpolation halfway: its finest detail is lost.
    for axis in (1, 2):
        smooth = (smooth + np.roll(smooth, 1, axis)) / 2
    found = level_of(guide + smooth, degraded(cube))
    assert (found.from_guide < 0.5 * found.level).all()
    np.testing.assert_allclose(found.level, noise.std((1, 2)).mean(), rtol=0.2)
