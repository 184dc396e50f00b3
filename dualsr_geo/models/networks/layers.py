"""Layers of the networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Conv(nn.Conv2d):
    """A convolution with zero padding that keeps the shape and takes values of any dtype.

    It computes in the dtype of its weights, so that some layers of a network may be in bfloat16
    while its sums, inputs and outputs stay in float32.
    """

    def __init__(self, inputs: int, outputs: int, size: int = 3) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (tile, feature, y, x) to the same y, x."""
        return super().forward(x.to(self.weight.dtype))

    def rectified(self, x: Tensor) -> Tensor:
        """Return the ReLU of `forward`, in one pass where torch can."""
        if not is_fused(x, self.weight):
            return functional.relu_(self(x))
        return rectified(x, self.weight, self.bias, self._margins)

    def added(self, x: Tensor, other: Tensor) -> Tensor:
        """Return the sum of `forward` and a tensor of its shape, in one pass where torch can."""
        if not is_fused(x, self.weight):
            # torch's addition of two dtypes is ten times slower.
            alike: Tensor = self(x).to(other.dtype)
            return alike.add_(other)
        once = [1, 1]
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(  # noqa: SLF001  # has no public name
            x, other, self.weight, self.bias, self._margins, once, once, 1, "add", 1.0, None, [], None
        )
        return fused

    @property
    def _margins(self) -> list[int]:
        return [size // 2 for size in self.kernel_size]


def is_fused(x: Tensor, weight: Tensor) -> bool:
    """Return whether a convolution and what follows are computed in one pass: by oneDNN, in float32, without autograd."""
    return (
        not torch.is_grad_enabled()
        and x.is_cpu
        and x.dtype == weight.dtype == torch.float32
        and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    )


def rectified(
    x: Tensor, weight: Tensor, bias: Tensor | None, margins: Sequence[int], stride: Sequence[int] = (1, 1)
) -> Tensor:
    """Return the ReLU of a convolution with zeros in the margins, in one pass; see `is_fused`."""
    fused: Tensor = torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001  # has no public name
        x, weight, bias, list(margins), list(stride), [1, 1], 1, "relu", [], ""
    )
    return fused


class Narrow(Conv):
    """A 3 x 3 convolution to one feature, as one matrix product for all nine taps, then shifted and added.

    On a CPU torch's convolution to one feature takes six times as long.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__(inputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (tile, feature, y, x) to (tile, 1, y, x)."""
        assert self.bias is not None
        taps = self.weight[0].flip(1, 2).flatten(1).t() @ x.flatten(2)
        return functional.fold(taps, x.shape[2:], 3, padding=1) + self.bias


class Residual(nn.Module):
    """Two convolutions with a ReLU between, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Conv(width, width)
        self.second = Conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (tile, feature, y, x) to the same shape; reach 2 pixels."""
        return self.second.added(self.first.rectified(x), x)


def compose(conv: Conv, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Compose a convolution and a 1 x 1 convolution after it.

    Parameters
    ----------
    conv : Conv
    weight : Tensor, shape (feature, feature between)
        Of the 1 x 1 convolution.

    Returns
    -------
    weight : Tensor, shape (feature, feature before, y, x)
    bias : Tensor, shape (feature,)
        Without that of the 1 x 1 convolution.
    """
    assert conv.bias is not None
    return torch.einsum("om,miyx->oiyx", weight, conv.weight), weight @ conv.bias


def channels_last(x: Tensor) -> Tensor:
    """Return values with their features last in memory, which convolutions on a CPU are fastest with."""
    return x.contiguous(memory_format=torch.channels_last)
