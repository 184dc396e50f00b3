"""What the published networks are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Conv(nn.Conv2d):
    """A convolution that keeps the shape, zeros around, and takes values of any type.

    It computes in the type of its weights, so that a network may hold some of them in bfloat16
    while its sums and what enters and leaves it stay in float32.
    """

    def __init__(self, inputs: int, outputs: int, size: int = 3) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (tile, feature, y, x) to the same y, x."""
        return super().forward(x.to(self.weight.dtype))


class Residual(nn.Module):
    """Two convolutions with a ReLU between, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Conv(width, width)
        self.second = Conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (tile, feature, y, x) to the same shape; sees 2 pixels far."""
        made: Tensor = self.second(self.first(x).relu_())
        return made.add_(x) if made.dtype == x.dtype else x + made


def last(x: Tensor) -> Tensor:
    """Return values with their features last in memory, as convolutions on a CPU want them."""
    return x.contiguous(memory_format=torch.channels_last)
