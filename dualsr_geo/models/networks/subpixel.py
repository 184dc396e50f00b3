"""Sub-pixel upsampling to one band as one convolution.

Its convolutions and shuffles are linear: away from the edge they are one 5 x 5 convolution of the lr
features, whose outputs are the sub-pixels, at ratio 4 a thirtieth of the work. At the edge each
step is padded by zeros, so the outermost lr pixels are computed step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from dualsr_geo.models.networks.layers import Conv

# lr pixels around one that the result depends on, at any ratio.
REACH_LR_PX = 2
# Width of a strip at the edge from which its outermost lr pixel is computed, lr pixels.
STRIP_LR_PX = 1 + REACH_LR_PX


class SubPixel:
    """Upsampling by convolutions, each followed by a shuffle, and a last convolution to one band.

    Parameters
    ----------
    layers : sequence of Conv
        From the features to `step**2` times as many.
    steps : sequence of int
        Factor of each shuffle, one per layer.
    tail : Conv
        From the features to one.
    """

    def __init__(self, layers: Sequence[Conv], steps: Sequence[int], tail: Conv) -> None:
        self.layers, self.steps, self.tail = tuple(layers), tuple(steps), tail
        self.ratio = prod(self.steps)
        self.weight, self.bias = self._weight(), self._bias()

    def __call__(self, features: Tensor) -> Tensor:
        """Map (tile, feature, y, x) to (tile, 1, ratio * y, ratio * x)."""
        if min(features.shape[2:]) < STRIP_LR_PX:
            return self._stepwise(features)
        inner = functional.conv2d(features, self.weight, self.bias, padding=REACH_LR_PX)
        band = functional.pixel_shuffle(inner, self.ratio).contiguous()
        for axis in (2, 3):
            length, r = features.shape[axis], self.ratio
            band.narrow(axis, 0, r).copy_(self._end(features, axis, last=False))
            band.narrow(axis, (length - 1) * r, r).copy_(self._end(features, axis, last=True))
        return band

    def _end(self, features: Tensor, axis: int, *, last: bool) -> Tensor:
        """Return the sub-pixels of the first or the last lr pixels of an axis."""
        side, ratio = _cut(features, axis, STRIP_LR_PX, last=last), 1
        for layer, step in zip(self.layers, self.steps, strict=True):
            ratio *= step
            side = _cut(functional.pixel_shuffle(layer(side), step), axis, ratio + REACH_LR_PX, last=last)
        return _cut(self.tail(side), axis, ratio, last=last)

    def _stepwise(self, features: Tensor) -> Tensor:
        for layer, step in zip(self.layers, self.steps, strict=True):
            features = functional.pixel_shuffle(layer(features), step)
        band: Tensor = self.tail(features)
        return band

    def _weight(self) -> Tensor:
        """Return the weights of the features in each sub-pixel of an lr pixel, (sub-pixel, feature, 5, 5).

        They are the adjoint of the steps, the last step first, applied to each sub-pixel.
        """
        weight = self.tail.weight
        unit = torch.eye(self.ratio**2, dtype=weight.dtype, device=weight.device)
        adjoint = functional.conv_transpose2d(unit.reshape(-1, 1, self.ratio, self.ratio), weight)
        offset = -1
        for layer, step in zip(reversed(self.layers), reversed(self.steps), strict=True):
            before = offset % step
            after = -(adjoint.shape[2] + before) % step
            adjoint = functional.pixel_unshuffle(functional.pad(adjoint, (before, after, before, after)), step)
            adjoint = functional.conv_transpose2d(adjoint, layer.weight)
            offset = (offset - before) // step - 1
        return adjoint

    def _bias(self) -> Tensor:
        zeros = self.tail.weight.new_zeros((1, self.tail.in_channels, 1 + 2 * REACH_LR_PX, 1 + 2 * REACH_LR_PX))
        inner = slice(REACH_LR_PX * self.ratio, (1 + REACH_LR_PX) * self.ratio)
        return self._stepwise(zeros)[..., inner, inner].flatten()


def _cut(x: Tensor, axis: int, length: int, *, last: bool) -> Tensor:
    return x.narrow(axis, x.shape[axis] - length if last else 0, length)
