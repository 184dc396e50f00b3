"""The unguided_task of the published networks: degradations, guides, samples, and that something is learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.training.config import TrainingConfig
from dualsr_geo.training.dataset import CAVE_NM, Reference
from dualsr_geo.training.degradations import DECIMATIONS, blur_and_decimate, degrade, draw_kernel
from dualsr_geo.training.simulated_guides import NIKON_D700, responses
from dualsr_geo.training.tasks.published_task import PublishedTask
from dualsr_geo.training.trainer import train


def scene(name="a", bands=7, shape=(61, 47), seed=0):
    """Smooth, so that a network finds something to learn."""
    y, x = (np.linspace(0, 6, n) for n in shape)
    k = np.arange(bands)[:, None, None] + seed
    cube = 0.5 + 0.3 * np.sin(3 * y[:, None] + 0.2 * k) * np.cos(4 * x + 0.1 * k)
    return Reference(name, cube.astype(np.float32), np.linspace(400, 700, bands))


def task(name="coarsenet", **changes):
    guide = {"coarsenet": "rgb", "coarsr": "none"}[name]
    usual = {"width": 8, "guide": guide, "degradation": "mtf", "batch_size": 2, "patch": 16}
    return PublishedTask(
        name, [scene(), scene("b", 9, (40, 90), 3)], [scene("v", 6, (33, 29), 5)], **{"ratio": 2, **usual, **changes}
    )


# ---- degradations ------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from([2, 3, 4, 8]), st.sampled_from(DECIMATIONS))
def test_a_kernel_keeps_values_where_the_lr_pixels_are(seed, ratio, way):
    """A ramp stays a ramp: each lr pixel holds the value at its own centre."""
    taps = draw_kernel(np.random.default_rng(seed), ratio, way, published=False)
    n = 12
    y, x = np.meshgrid(np.arange(n * ratio), np.arange((n + 1) * ratio), indexing="ij")
    lr = blur_and_decimate(torch.from_numpy(2.0 * y - x)[None].float(), taps, ratio, way)[0].numpy()
    centre = ratio * np.arange(n + 1) + (ratio - 1) / 2
    wanted = 2 * centre[:n, None] - centre
    inner = slice(5, -5) if ratio == 2 else slice(4, -4) if ratio < 8 else slice(3, -3)
    # A kernel wider than its window is cut on one side if it is not centred.
    cut = way == "direct"
    tolerance = 0.5 * ratio if cut else 2e-3 * ratio
    np.testing.assert_allclose(lr[inner, inner], wanted[inner, inner], atol=tolerance)


@pytest.mark.parametrize("ratio", [4, 8])
def test_the_published_kernels_are_displaced(ratio):
    """By up to ten pixels at ratio 8, as docs/networks.md describes."""
    rng = np.random.default_rng(0)
    off = []
    for _ in range(200):
        taps = draw_kernel(rng, ratio, "bicubic", published=True)
        at = np.arange(len(taps)) - (len(taps) - 1) / 2
        off.append((taps.sum(1) @ at, taps.sum(0) @ at))
    assert np.abs(off).max() > ratio
    assert np.mean(np.abs(np.array(off)).max(1) > 0.3) > 0.9


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_bicubic_is_that_of_pillow(ratio):
    values = np.random.default_rng(0).random((1, 12 * ratio, 9 * ratio), np.float32)
    lr = degrade(np.random.default_rng(0), torch.from_numpy(values), ratio, "bicubic", 0.3)
    wanted = np.asarray(Image.fromarray(values[0]).resize((9, 12), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(lr[0].numpy(), wanted, atol=1e-5)


def test_mtf_is_the_psf_of_that_gain():
    cube = torch.rand(3, 24, 40)
    lr = degrade(np.random.default_rng(0), cube, 4, "mtf", 0.2)
    torch.testing.assert_close(lr, operator(Psf.from_mtf(4, 0.2), (6, 10)).degrade(cube))


# ---- guides ------------------------------------------------------------------------------


def test_a_camera_on_caves_bands_is_its_table():
    result = responses("rgb", 31, CAVE_NM)
    np.testing.assert_allclose(result, NIKON_D700 / NIKON_D700.sum(1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(NIKON_D700.sum(1), [255, 203, 251])


@pytest.mark.parametrize(
    "nm", [np.linspace(380, 2400, 200), np.array([450.0, 550, 650, 850]), np.linspace(700, 400, 9)]
)
def test_responses_sum_to_one_and_red_is_red(nm):
    result = responses("rgb", len(nm), nm)
    np.testing.assert_allclose(result.sum(1), 1, rtol=1e-6)
    assert np.all(np.diff(result @ nm) < 0)
    assert np.all(result[:, (nm < 400) | (nm > 700)] == 0)


def test_pan_is_the_mean():
    np.testing.assert_allclose(responses("pan", 7, None), np.full((1, 7), 1 / 7), rtol=1e-6)


def test_a_camera_needs_visible_bands():
    with pytest.raises(InputError, match="wavelengths are not known.*--guide pan"):
        responses("rgb", 5, None)
    with pytest.raises(InputError, match="Only 2 of 4 bands are within 400..700 nm, a camera needs 3"):
        responses("rgb", 4, np.array([500.0, 600, 900, 1000]))


# ---- samples -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["coarsr", "coarsenet"])
@pytest.mark.parametrize("degradation", ["bicubic", "mtf", "kernels", "published-kernels"])
def test_samples_depend_on_seed_and_step_only(name, degradation):
    first, again = task(name, degradation=degradation), task(name, degradation=degradation)
    first.batch(0)
    for a, b in zip(first.batch(3), again.batch(3), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert not torch.equal(first.batch(3)[2], first.batch(4)[2])
    assert not torch.equal(first.batch(3)[2], task(name, seed=1).batch(3)[2])


@pytest.mark.parametrize(
    ("name", "guide", "guide_bands"), [("coarsenet", "rgb", 3), ("coarsenet", "pan", 1), ("coarsr", "none", 0)]
)
@pytest.mark.parametrize(("ratio", "patch"), [(2, 16), (3, 15), (4, 28)])
def test_samples_have_their_shapes_and_range(name, guide, guide_bands, ratio, patch):
    lr, guide_hr, reference = task(name, guide=guide, ratio=ratio, patch=patch, bands=6).batch(0)
    assert lr.shape == (2, 6, patch // ratio, patch // ratio)
    assert guide_hr.shape == (2, guide_bands, patch, patch)
    assert reference.shape == (2, 6, patch, patch)
    assert 0 <= float(reference.min()) <= float(reference.max()) <= 1


def test_lr_is_the_reference_degraded_with_its_surroundings():
    """Away from the patch's edge the margin has no effect; at the edge it is the reference's own."""
    lr, _, reference = task("coarsr", ratio=2, patch=28).batch(1)
    without_margin = operator(Psf.from_mtf(2, 0.3), (14, 14)).degrade(reference)
    torch.testing.assert_close(lr[..., 3:-3, 3:-3], without_margin[..., 3:-3, 3:-3], atol=1e-5, rtol=0)
    assert float((lr - without_margin).abs().max()) > 1e-3


def test_the_guide_is_the_reference_by_the_camera_responses():
    one = PublishedTask("coarsenet", [scene()], [], 2, 8, "rgb", "mtf", batch_size=2, patch=16)
    _, guide, reference = one.batch(0)
    guide_hr = torch.einsum("gb,nbyx->ngyx", torch.from_numpy(responses("rgb", 7, np.linspace(400, 700, 7))), reference)
    torch.testing.assert_close(guide, guide_hr)


@pytest.mark.parametrize("name", ["coarsr", "coarsenet"])
@pytest.mark.parametrize("bf16", [False, True])
def test_it_learns(tmp_path, name, bf16):
    torch.set_num_threads(1)
    taught = task(name)
    with torch.inference_mode():
        before = taught.validate(taught.network())["v"]
    result = train(taught, TrainingConfig(name, 12, rate=3e-3, bf16=bf16), tmp_path)
    losses = [row.split(",")[2] for row in (tmp_path / "log.csv").read_text().splitlines()[1:]]
    assert np.mean([float(v) for v in losses[-4:]]) < np.mean([float(v) for v in losses[:4]])
    assert result.scores["v"]["psnr"] > before["psnr"]


def test_an_epoch_is_the_papers():
    assert task("coarsr", batch_size=64).epoch == 3  # 24 patches, 3 scales, 2 references
    assert task("coarsenet", batch_size=16).epoch == 24  # 64 patches


def test_contradictions_are_one_clear_line():
    with pytest.raises(OptionError, match="--patch 17 is not a multiple of --scale 2. Give e.g. 16"):
        task(patch=17)
    with pytest.raises(OptionError, match="--network coarsr takes no --guide rgb. Give --guide none"):
        task("coarsr", guide="rgb")
    with pytest.raises(OptionError, match="--network coarsenet takes no --guide none. Give --guide rgb or pan"):
        task(guide="none")
    with pytest.raises(OptionError, match="--bands 2 is less than the 3 that coarsenet reads"):
        task(bands=2)
    with pytest.raises(InputError, match="v has 6 bands, coarsr learns from 7"):
        task("coarsr", bands=7)
    with pytest.raises(InputError, match="b has 40 x 90 pixels, a patch has 44 x 44"):
        task(patch=44)
