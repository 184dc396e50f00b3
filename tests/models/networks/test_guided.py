"""The network with a guide: begins at nothing, sees as far as it says, folds where the scene does."""

from __future__ import annotations

import pytest
import torch
from guided_cases import random_guided_network, random_inputs, random_relations
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.models.networks.guided import CANDIDATES, GAINS, GuidedNetwork, averaged_px


@given(st.integers(1, 3), st.integers(1, 23), st.integers(1, 23), st.sampled_from([2, 3, 4, 7, 8, 12, 16, 32]))
@settings(max_examples=15, deadline=None)
@torch.inference_mode()
def test_an_untrained_network_says_nothing_on_any_size(tiles, height, width, ratio):
    logits, residual = GuidedNetwork(8, 1)(*random_inputs(tiles, height, width), ratio, (ratio, 3 * ratio))
    assert logits.shape == (tiles, CANDIDATES, height, width)
    assert residual.shape == (tiles, height, width)
    assert not logits.any()
    assert not residual.any()


@given(
    st.sampled_from([2, 3, 4, 5, 8, 16]),
    st.integers(1, 3),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([1, 3]),
    st.integers(0, 1),
)
@settings(max_examples=8, deadline=None)
@torch.inference_mode()
def test_a_tile_with_its_reach_equals_the_whole(ratio, depth, top, left, orientations, contexts):
    network = random_guided_network(depth=depth, contexts=contexts).double()
    reach = network.reach(ratio)
    height, width = (2 * reach + 3 + top) * ratio, (2 * reach + 4 + left) * ratio
    planes, constants = (v.double() for v in random_inputs(2, height, width))
    options = {"orientations": orientations, "relations": random_relations(2).double()}
    whole = network(planes, constants, ratio, **options)
    # The core is three rows and four columns of lr pixels.
    cut = planes[..., top * ratio :, left * ratio :]
    part = network(cut, constants, ratio, (top * ratio, left * ratio), **options)
    core = (..., slice(reach * ratio, (reach + 3) * ratio), slice(reach * ratio, (reach + 4) * ratio))
    for expected, some in zip(whole, part, strict=True):
        wanted = expected[..., top * ratio :, left * ratio :][core]
        torch.testing.assert_close(some[core], wanted, atol=1e-9, rtol=0)


@torch.inference_mode()
def test_the_reach_is_no_larger_than_it_must_be():
    network = random_guided_network(depth=2)
    planes, constants = random_inputs(1, 120, 120)
    before = network(planes, constants, 4)[1]
    planes[..., 60, 60] += 10
    moved = torch.nonzero((network(planes, constants, 4)[1] - before)[0].abs() > 0)
    far = float((moved - 60).abs().max())
    assert (network.reach(4) - 1) * 4 <= far <= network.reach(4) * 4


@pytest.mark.parametrize(("ratio", "pixels"), [(2, 1), (8, 1), (9, 2), (16, 2), (17, 3), (32, 4)])
def test_above_ratio_eight_pixels_are_averaged(ratio, pixels):
    assert averaged_px(ratio) == pixels


def test_it_has_the_width_and_depth_of_its_arguments():
    count = sum(p.numel() for p in GuidedNetwork().parameters())
    assert 100_000 <= count <= 500_000


@torch.inference_mode()
def test_a_network_begun_with_weights_of_fewer_contexts_computes_what_they_compute():
    before, (planes, constants) = random_guided_network(depth=2), random_inputs(3, 20, 16)
    network = GuidedNetwork(8, 2, 2).begun_with(before.state_dict())
    pairs = zip(before(planes, constants, 4), network(planes, constants, 4, relations=random_relations(3)), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(b, a)
    assert network.is_joint


@torch.inference_mode()
def test_constants_change_the_answer():
    network = random_guided_network()
    planes, constants = random_inputs(1, 16, 16)
    assert not torch.equal(network(planes, constants, 4)[0], network(planes, constants + 1, 4)[0])


def test_fused_convolutions_equal_those_with_autograd():
    network = random_guided_network()
    planes, constants = random_inputs(1, 128, 96)
    assert torch.is_grad_enabled()
    plain = network(planes, constants, 4)
    with torch.inference_mode():
        fused = network(planes, constants, 4)
    for a, b in zip(plain, fused, strict=True):
        torch.testing.assert_close(b, a.detach(), rtol=0, atol=1e-5 * float(a.detach().abs().max()))


@torch.inference_mode()
def test_lowered_weights_answer_nearly_alike():
    planes, constants = random_inputs(2, 24, 20)
    full, low = (n(planes, constants, 4)[1] for n in (random_guided_network(), random_guided_network().lowered()))
    assert low.dtype == torch.float32
    assert float((full - low).abs().max()) < 0.03 * float(full.abs().max())


@given(st.integers(3, 12), st.integers(3, 12), st.integers(0, 3), st.booleans())
@settings(max_examples=8, deadline=None)
@torch.inference_mode()
def test_over_all_lays_a_turned_scene_gives_the_turned_answer(height, width, turns, mirrored):
    network = random_guided_network().double()
    planes, constants = (v.double() for v in random_inputs(1, 2 * height, 2 * width))

    def laid(x):
        turned = torch.rot90(x, turns, (-2, -1))
        return turned.flip(-1) if mirrored else turned

    swapped = constants.clone()
    if turns % 2:
        swapped[:, list(GAINS)] = constants[:, list(GAINS[::-1])]
    plain = network(planes, constants, 4, orientations=8)
    turned = network(laid(planes), swapped, 4, orientations=8)
    for a, b in zip(plain, turned, strict=True):
        torch.testing.assert_close(laid(a), b)
    assert not torch.allclose(plain[1], network(planes, constants, 4)[1])
