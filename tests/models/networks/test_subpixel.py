"""Upsampling as one convolution: against its steps one after another."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dualsr_geo.models.networks.coarsr import SHUFFLES
from dualsr_geo.models.networks.layers import Conv
from dualsr_geo.models.networks.subpixel import SubPixel


def steps_of(ratio: int, width: int = 3) -> tuple[list[Conv], Conv, nn.Sequential]:
    torch.manual_seed(ratio)
    layers, tail = [Conv(width, step**2 * width).double() for step in SHUFFLES[ratio]], Conv(width, 1).double()
    one_by_one = [
        m for layer, step in zip(layers, SHUFFLES[ratio], strict=True) for m in (layer, nn.PixelShuffle(step))
    ]
    return layers, tail, nn.Sequential(*one_by_one, tail)


@given(
    ratio=st.sampled_from(sorted(SHUFFLES)), tiles=st.integers(1, 2), height=st.integers(1, 9), width=st.integers(1, 9)
)
@settings(max_examples=40, deadline=None)
def test_one_convolution_is_its_steps(ratio, tiles, height, width):
    layers, tail, one_by_one = steps_of(ratio)
    features = torch.rand(tiles, 3, height, width, dtype=torch.float64) - 0.5
    with torch.inference_mode():
        result = SubPixel(layers, SHUFFLES[ratio], tail)(features)
        torch.testing.assert_close(result, one_by_one(features), rtol=0, atol=1e-12)


@pytest.mark.parametrize("ratio", sorted(SHUFFLES))
def test_gradients_are_those_of_the_steps(ratio):
    layers, tail, one_by_one = steps_of(ratio)
    features = torch.rand(1, 3, 7, 5, dtype=torch.float64)
    weights = list(one_by_one.parameters())
    result = torch.autograd.grad(SubPixel(layers, SHUFFLES[ratio], tail)(features).square().sum(), weights)
    wanted = torch.autograd.grad(one_by_one(features).square().sum(), weights)
    for one, other in zip(result, wanted, strict=True):
        torch.testing.assert_close(one, other)
