"""Sub-pixel upsampling to one band as one convolution.

Its convolutions and shuffles have nothing but sums between them: away from the edge they are one
5 x 5 convolution of the lr features, whose outputs are the sub-pixels, at ratio 4 a thirtieth of the
work. At the edge each of them sees zeros around, so the outermost lr pixels go step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from dualsr_geo.models.networks.layers import Conv

# lr pixels that it sees around one, at any ratio.
REACH = 2
STRIP = 1 + REACH


class SubPixel:
    """Upsampling by convolutions, each followed by a shuffle, and a last convolution to one band.

    Parameters
    ----------
    layers : sequence of Conv
        From the features to `step**2` times as many.
    steps : sequence of int
        How many times finer each shuffle makes them, as many as layers.
    tail : Conv
        From the features to one.
    """

    def __init__(self, layers: Sequence[Conv], steps: Sequence[int], tail: Conv) -> None:
        self.layers, self.steps, self.tail = tuple(layers), tuple(steps), tail
        self.ratio = prod(self.steps)
        self.weight, self.bias = self._weight(), self._bias()

    def __call__(self, features: Tensor) -> Tensor:
        """Map (tile, feature, y, x) to (tile, 1, ratio * y, ratio * x)."""
        if min(features.shape[2:]) < STRIP:
            return self._stepwise(features)
        inner = functional.conv2d(features, self.weight, self.bias, padding=REACH)
        made = functional.pixel_shuffle(inner, self.ratio).contiguous()
        for axis in (2, 3):
            length, r = features.shape[axis], self.ratio
            made.narrow(axis, 0, r).copy_(self._end(features, axis, last=False))
            made.narrow(axis, (length - 1) * r, r).copy_(self._end(features, axis, last=True))
        return made

    def _end(self, features: Tensor, axis: int, *, last: bool) -> Tensor:
        """Return what is made of the first or the last lr pixels of an axis."""
        side, ratio = _cut(features, axis, STRIP, last=last), 1
        for layer, step in zip(self.layers, self.steps, strict=True):
            ratio *= step
            side = _cut(functional.pixel_shuffle(layer(side), step), axis, ratio + REACH, last=last)
        return _cut(self.tail(side), axis, ratio, last=last)

    def _stepwise(self, features: Tensor) -> Tensor:
        for layer, step in zip(self.layers, self.steps, strict=True):
            features = functional.pixel_shuffle(layer(features), step)
        made: Tensor = self.tail(features)
        return made

    def _weight(self) -> Tensor:
        """Return what each sub-pixel of an lr pixel takes from the features, (sub-pixel, feature, 5, 5).

        That is each step's adjoint, the last step first, applied to each sub-pixel alone.
        """
        weight = self.tail.weight
        taken = torch.eye(self.ratio**2, dtype=weight.dtype, device=weight.device)
        taken = functional.conv_transpose2d(taken.reshape(-1, 1, self.ratio, self.ratio), weight)
        offset = -1
        for layer, step in zip(reversed(self.layers), reversed(self.steps), strict=True):
            before = offset % step
            after = -(taken.shape[2] + before) % step
            taken = functional.pixel_unshuffle(functional.pad(taken, (before, after, before, after)), step)
            taken = functional.conv_transpose2d(taken, layer.weight)
            offset = (offset - before) // step - 1
        return taken

    def _bias(self) -> Tensor:
        nothing = self.tail.weight.new_zeros((1, self.tail.in_channels, 1 + 2 * REACH, 1 + 2 * REACH))
        inner = slice(REACH * self.ratio, (1 + REACH) * self.ratio)
        return self._stepwise(nothing)[..., inner, inner].flatten()


def _cut(x: Tensor, axis: int, length: int, *, last: bool) -> Tensor:
    return x.narrow(axis, x.shape[axis] - length if last else 0, length)
