"""What the networks are result of: against torch's own convolutions."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  # as torch's own documentation has it

from dualsr_geo.models.networks.layers import Conv, Narrow, Residual, channels_last, compose


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 2), (9, 13)])
def test_a_convolution_to_one_feature(shape):
    x = torch.rand(2, 6, *shape, dtype=torch.float64)
    narrow = Narrow(6).double()
    wanted = F.conv2d(x, narrow.weight, narrow.bias, padding=1)
    for given in (x, channels_last(x)):
        torch.testing.assert_close(narrow(given), wanted)


def test_a_convolution_followed_by_another():
    first, second = Conv(3, 5).double(), Conv(5, 4, 1).double()
    x = torch.rand(1, 3, 7, 6, dtype=torch.float64)
    weight, bias = compose(first, second.weight[:, :, 0, 0])
    torch.testing.assert_close(F.conv2d(x, weight, bias + second.bias, padding=1), second(first(x)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sum_keeps_the_type_that_came_in(dtype):
    torch.manual_seed(0)
    block, x = Residual(4), torch.rand(1, 4, 6, 5)
    with torch.no_grad():
        wanted = x + block.second(block.first(x).relu())
        result = block.to(dtype)(x)
    assert result.dtype == torch.float32
    # Only the residual was rounded, to 8 bits.
    assert (result - wanted).abs().max() <= (1e-6 if dtype == torch.float32 else 2**-6 * (wanted - x).abs().max())
