"""Components that are worth a regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block, stack
from dualsr_geo.fusion.subspace import Subspace, estimate_subspace
from dualsr_geo.fusion.wald.component_choice import MIN_COMPONENTS, chosen_components

PSF, SIDE, BANDS = Psf.from_mtf(4), 40, 60


def scene(amplitudes: list[float], fine: int) -> tuple[Block, Subspace]:
    """Return a scene of planes of these amplitudes, the first of which have detail, and the others none."""
    generator = torch.Generator().manual_seed(0)
    op = operator(PSF, (SIDE, SIDE))
    rough = torch.randn(len(amplitudes), 4 * SIDE, 4 * SIDE, generator=generator)
    smooth = torch.nn.functional.interpolate(
        torch.randn(1, len(amplitudes), 4, 4, generator=generator), (SIDE, SIDE), mode="bicubic", align_corners=True
    )[0]
    planes = torch.cat([op.degrade(rough[:fine]), smooth[fine:]])
    planes = planes / planes.flatten(1).std(1)[:, None, None] * torch.tensor(amplitudes)[:, None, None]
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(BANDS, len(amplitudes))))[0]
    cube = 100 + torch.einsum("bk,kyx->byx", torch.from_numpy(basis).float(), planes)
    block = Block(cube, torch.ones(SIDE, SIDE), rough[:1])
    return block, estimate_subspace(stack([cube]), np.ones(SIDE * SIDE, np.float32))


def test_components_without_detail_are_left_out():
    block, space = scene([10.0] * 14 + [1.0] * 10, fine=14)
    assert space.count == 24
    assert chosen_components([block], PSF, space) == 14


def test_components_with_detail_are_kept():
    block, space = scene([10.0] * 24, fine=24)
    assert chosen_components([block], PSF, space) == space.count == 24


def test_of_a_few_components_none_is_left_out():
    block, space = scene([10.0] + [1.0] * (MIN_COMPONENTS - 1), fine=1)
    assert chosen_components([block], PSF, space) == space.count == MIN_COMPONENTS
    block, space = scene([10.0] * 4 + [0.3] * MIN_COMPONENTS, fine=4)
    assert chosen_components([block], PSF, space) == MIN_COMPONENTS < space.count


def test_a_noisy_scene_keeps_all_components_since_it_drops_the_rest():
    block, space = scene([10.0] * 14 + [1.0] * 10, fine=14)
    noisy = Subspace(space.mean, space.expand, space.scale, 0.1)
    assert chosen_components([block], PSF, noisy) == noisy.count


def test_detail_of_dark_pixels_counts_by_its_angle():
    block, space = scene([10.0] * 14 + [1.0] * 10, fine=14)
    weak = torch.from_numpy(space.expand[:, -1])[:, None, None]
    waves = torch.zeros(SIDE, SIDE)
    waves[:8, :8] = 2.0 * (-1.0) ** torch.arange(8)
    bright = Block(block.cube + weak * waves, block.weight, block.guide)
    dark = Block(torch.where(waves != 0, 0.05, 1.0) * bright.cube, block.weight, block.guide)
    of_bright, of_dark = (
        chosen_components([b], PSF, estimate_subspace(stack([b.cube]), np.ones(SIDE * SIDE, np.float32)))
        for b in (bright, dark)
    )
    assert of_bright <= of_dark


def test_pixels_without_weight_do_not_count():
    block, space = scene([10.0] * 14 + [1.0] * 10, fine=14)
    spoilt = block.cube.clone()
    spoilt[:, :4] += 50 * torch.randn(BANDS, 4, SIDE, generator=torch.Generator().manual_seed(1))
    weight = torch.ones(SIDE, SIDE)
    # The interpolation of detail reaches a few pixels farther.
    weight[:14] = 0
    assert chosen_components([Block(spoilt, weight, block.guide)], PSF, space) == pytest.approx(14, abs=1)


def test_leading_components_are_a_copy_and_the_same_object_where_nothing_is_left_out():
    _, space = scene([10.0] * 6, fine=6)
    assert space.leading(6) is space
    np.testing.assert_array_equal(space.leading(3).expand, space.expand[:, :3])
    np.testing.assert_array_equal(space.leading(3).project, space.project[:3])
