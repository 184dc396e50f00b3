"""Filling, the guide's holes, and the components of a window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.degradation import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import coarse_stage, subspace
from dualsr_geo.fusion.hole_filling import FILL_REACH, fill_holes
from dualsr_geo.fusion.prepared_guide import PreparedGuide, prepare_guide
from dualsr_geo.fusion.scene_regression import fit_scene_regression
from dualsr_geo.fusion.spectra import core_spectra
from dualsr_geo.raster.windows import Window

NAN = float("nan")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape, np.float32))


@given(st.integers(1, 3), st.integers(2, 20), st.integers(2, 20), st.floats(-50, 50, width=32), st.integers(0, 99))
def test_constants_are_filled_exactly(bands, height, width, value, seed):
    cube = torch.full((bands, height, width), value)
    cube[noise(bands, height, width, seed=seed) < 0.6] = NAN
    filled, _ = fill_holes(cube, torch.full((bands,), value))
    torch.testing.assert_close(filled, torch.full_like(cube, value), rtol=1e-5, atol=1e-5)


def test_what_is_valid_stays_to_the_bit():
    cube = noise(3, 17, 12)
    hole = noise(3, 17, 12, seed=1) < 0.3
    filled, weight = fill_holes(torch.where(hole, NAN, cube), cube.mean((1, 2)))
    assert bool((filled == cube)[~hole].all())
    torch.testing.assert_close(weight, (~hole).float().mean(0))


def test_without_holes_nothing_is_done():
    cube = noise(2, 5, 7)
    filled, weight = fill_holes(cube, torch.zeros(2))
    assert filled is cube
    assert weight is None


def test_a_pixel_is_filled_from_its_reach_only():
    cube = noise(1, 30, 30)
    cube[0, 15, 15] = NAN
    far = cube.clone()
    far[0, :, : 15 - FILL_REACH] += 100
    far[0, 15 + FILL_REACH + 1 :] -= 70
    near = cube.clone()
    near[0, 15, 15 - FILL_REACH] += 100
    a, b, c = (fill_holes(x, torch.zeros(1))[0][0, 15, 15] for x in (cube, far, near))
    assert float(a) == pytest.approx(float(b), abs=1e-6)
    assert float(c) > float(a) + 0.01


@pytest.mark.parametrize("size", [1, 5, 12, 30])
def test_a_hole_of_any_size_is_filled_within_the_range_of_the_scene(size):
    cube = noise(2, 30, 30) + 3
    cube[:, :size, :size] = NAN
    filled, _ = fill_holes(cube, torch.tensor([3.5, 3.4]))
    assert bool(torch.isfinite(filled).all())
    assert float(filled.amin()) >= 3
    assert float(filled.amax()) <= 4
    if size > FILL_REACH:
        assert filled[:, 0, 0].tolist() == pytest.approx([3.5, 3.4])


def guide_with_hole(where: tuple[slice, slice]) -> tuple[torch.Tensor, PreparedGuide]:
    guide = noise(2, 60, 80) + 5
    guide[(slice(None), *where)] = NAN
    ready = prepare_guide(guide, torch.tensor([5.5, 5.5]), operator(Psf.from_mtf(4), (15, 20)))
    assert ready is not None
    return guide, ready


@pytest.mark.parametrize("where", [np.s_[20:33, 41:50], np.s_[:, 40:], np.s_[0:1, 0:1], np.s_[7:60, 0:3]])
def test_where_the_guide_is_missing_it_is_not_used(where):
    guide, ready = guide_with_hole(where)
    missing = torch.isnan(guide).any(0)
    assert float(ready.blend[missing].max()) == 0
    lr = missing.view(15, 4, 20, 4).any(3).any(1)
    assert float(ready.weight[lr].max()) < 1
    assert bool(torch.isfinite(ready.values).all())
    assert bool((ready.values == guide)[:, ~missing].all())
    assert 0 <= float(ready.blend.min())
    assert float(ready.blend.max()) <= 1


def test_the_ramp_reaches_one_within_five_lr_pixels_and_does_not_fall():
    _, ready = guide_with_hole(np.s_[:, 40:])
    row = ready.blend[30]
    assert row[:20].tolist() == [1.0] * 20
    assert bool((row[1:] <= row[:-1]).all())
    assert 0 < float(row[28]) < 1


def test_a_guide_that_is_everywhere_or_nowhere():
    op, mean = operator(Psf.from_mtf(2), (5, 6)), torch.zeros(1)
    whole = prepare_guide(noise(1, 10, 12), mean, op)
    assert whole is not None
    assert whole.weight is None
    assert whole.blend is None
    assert prepare_guide(torch.full((1, 10, 12), NAN), mean, op) is None


def window(seed: int = 0, noisy: bool = False) -> tuple:
    """Return a subspace, a cube and its components, all of a 13 x 16 scene of 20 bands."""
    rng = np.random.default_rng(seed)
    cube = (rng.random((20, 5)) @ rng.random((5, 13 * 16))).astype(np.float32)
    cube += rng.normal(0, 0.02, cube.shape).astype(np.float32)
    space = subspace.estimate_subspace(cube, np.ones(208, np.float32), np.full(20, 0.02) if noisy else None)
    z = torch.from_numpy(space.components(cube)).view(-1, 13, 16)
    return space, torch.from_numpy(cube).view(20, 13, 16), z


@pytest.mark.parametrize("noisy", [False, True])
def test_bands_are_mean_components_and_rest(noisy):
    space, cube, z = window(noisy=noisy)
    op, core = operator(Psf.from_mtf(3), (13, 16)), Window(6, 30, 9, 48)
    hr = op.upsample(z)
    made = core_spectra(space, cube, z, hr, op, core).bands(slice(3, 9))
    mean, expand = torch.from_numpy(space.mean)[:, None, None], torch.from_numpy(space.expand)
    wanted = mean + torch.einsum("bk,kyx->byx", expand, hr)
    if not noisy:
        wanted += op.upsample(cube - mean - torch.einsum("bk,kyx->byx", expand, z))
    torch.testing.assert_close(made, wanted[3:9, 6:30, 9:48], atol=1e-5, rtol=0)


def test_a_rest_that_is_rounding_is_dropped():
    space, _, z = window()
    carried = torch.einsum("bk,kyx->byx", torch.from_numpy(space.expand), z)
    cube = carried + torch.from_numpy(space.mean)[:, None, None]
    op = operator(Psf.from_mtf(3), (13, 16))
    assert core_spectra(space, cube, z, op.upsample(z), op, Window(0, 39, 0, 48)).rest is None


@given(st.integers(0, 20))
@settings(max_examples=5)
def test_sharpen_blends_between_with_and_without_the_guide(seed):
    _, _, z = window(seed)
    psf = Psf.from_mtf(3)
    op = operator(psf, (13, 16))
    guide = noise(2, 39, 48, seed=seed)
    fit = fit_scene_regression(z.flatten(1).numpy(), op.degrade(guide).flatten(1).numpy(), np.ones(208, np.float32))
    mixture = torch.full((len(z), 7), 1 / 7)
    closed = consistency.consistency(psf, (13, 16), [0.0] * len(z), op)
    blend = noise(39, 48, seed=seed + 1)

    def made(blend: torch.Tensor | None, *, consistent: bool = True) -> torch.Tensor:
        guided = coarse_stage.GuidedStart(PreparedGuide(guide, None, blend), fit, mixture)
        return coarse_stage.sharpen(z, None, guided, closed, closed, consistent=consistent)

    unguided = coarse_stage.sharpen(z, None, None, closed, closed)
    torch.testing.assert_close(made(torch.zeros(39, 48)), unguided)
    torch.testing.assert_close(made(torch.ones(39, 48)), made(None))
    torch.testing.assert_close(made(blend), blend * made(None) + (1 - blend) * unguided, atol=1e-5, rtol=0)
    torch.testing.assert_close(unguided, closed.spread(z), atol=1e-6, rtol=0)
    left, before = (closed.residual(x, z).norm() for x in (made(None), made(None, consistent=False)))
    assert float(left) < 0.05 * float(before)


def test_without_guide_and_consistency_it_is_bicubic():
    _, _, z = window()
    op = operator(Psf.from_mtf(3), (13, 16))
    closed = consistency.consistency(Psf.from_mtf(3), (13, 16), [0.0] * len(z), op)
    made = coarse_stage.sharpen(z, None, None, closed, closed, consistent=False)
    torch.testing.assert_close(made, op.upsample(z), atol=1e-6, rtol=0)
