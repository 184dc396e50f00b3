"""Our own network without a guide: where it begins, how far it sees, every ratio."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unguided_cases import random_unguided_network

from dualsr_geo.errors import ScaleError
from dualsr_geo.models.networks.unguided import OUTPUT_UNIT_STD, PLANES, RATIOS, UnguidedNetwork


@given(st.integers(2, 32), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=25)
def test_untrained_it_corrects_nothing_at_any_ratio_and_size(ratio, height, width):
    correction = UnguidedNetwork(8, 1)(torch.randn(2, PLANES, height, width), ratio)
    assert correction.shape == (2, ratio * height, ratio * width)
    assert not correction.any()


@pytest.mark.parametrize("ratio", [5, 6, 7, 8, 12, 16, 32])
def test_ratios_without_sub_pixels_of_their_own_resample_those_of_eight(ratio):
    network = UnguidedNetwork(8, 1)
    torch.nn.init.constant_(network.tails["8"].bias, 2.0)
    with torch.inference_mode():
        correction = network(torch.randn(1, PLANES, 5, 7), ratio)
    torch.testing.assert_close(correction, torch.full((1, 5 * ratio, 7 * ratio), 2 * OUTPUT_UNIT_STD))


@pytest.mark.parametrize("ratio", [2, 3, 4, 8, 5, 16])
@torch.inference_mode()
def test_a_pixel_is_felt_within_reach_and_nowhere_else(ratio):
    network = random_unguided_network()
    here, size = 15, 31
    planes = torch.randn(1, PLANES, size, size + 2)
    other = planes.clone()
    other[:, :, here, here] += 3
    changed = (network(planes, ratio) != network(other, ratio))[0].nonzero() // ratio
    near = int((changed - here).abs().max())
    assert network.reach - (ratio <= RATIOS[-1]) >= near >= network.reach - 2


@pytest.mark.parametrize("ratio", [5, 6, 7])
@torch.inference_mode()
def test_ratios_below_eight_average_its_sub_pixels(ratio):
    """A common multiple of both grids is the oracle: repeated to it, then averaged."""
    network, planes = random_unguided_network(), torch.randn(2, PLANES, 5, 4)
    fine = network(planes, 8)[:, None].repeat_interleave(ratio, 2).repeat_interleave(ratio, 3)
    torch.testing.assert_close(network(planes, ratio), torch.nn.functional.avg_pool2d(fine, 8)[:, 0])


def test_it_has_between_a_tenth_and_half_a_million_parameters():
    assert 1e5 < sum(p.numel() for p in UnguidedNetwork().parameters()) < 5e5


@pytest.mark.parametrize("ratio", [1, 33])
def test_other_ratios_are_refused(ratio):
    with pytest.raises(ScaleError, match=f"2 to 32 times, not {ratio}"):
        UnguidedNetwork(8, 1)(torch.randn(1, PLANES, 4, 4), ratio)


@torch.inference_mode()
def test_weights_tell_their_network():
    network, planes = random_unguided_network(24, 3), torch.randn(1, PLANES, 6, 5)
    again = UnguidedNetwork.of(network.state_dict())
    assert (again.width, again.depth, again.reach) == (24, 3, network.reach)
    assert torch.equal(again(planes, 3), network(planes, 3))
