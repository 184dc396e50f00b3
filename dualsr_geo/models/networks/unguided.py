"""The unguided network: a correction of one band, from that band and its neighbours.

It computes on the lr grid: one body for all ratios, and a last convolution for each, whose channels
are the sub-pixels. Its output is a correction to the closed form, in standard deviations of the band;
only the part that degrades to nothing is used. The last convolutions are initialised to zero, so an
untrained network corrects nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.errors import ScaleError
from dualsr_geo.models.networks.architecture import Architecture
from dualsr_geo.models.networks.layers import Conv, Residual, channels_last

# Offsets of the bands that the network reads: the band and its neighbours.
NEIGHBOURS = (0, -1, 1, -2, 2)
# Number of planes: these bands, MTF gains along y and x, and the noise.
PLANES = len(NEIGHBOURS) + 3
# Ratios with a last convolution of their own.
RATIOS = (2, 3, 4, 8)
# Ratios above the largest of these that the correction is interpolated to.
INTERPOLATED_RATIOS = (16, 32)
MIN_RATIO, MAX_RATIO = 2, 32
# Unit of the last convolutions, standard deviations of a band.
OUTPUT_UNIT_STD = 0.3
# Factor on the initial weights of the second convolution of a block, so that the sum over the blocks starts small.
INITIAL_RESIDUAL_SCALE = 0.2


class UnguidedNetwork(nn.Module):
    """Maps planes of bands, (tile, plane, y, x), to their correction, (tile, ratio * y, ratio * x).

    Parameters
    ----------
    width : int
        Features.
    depth : int
        Residual blocks.
    """

    def __init__(self, width: int = 48, depth: int = 4) -> None:
        super().__init__()
        self.width, self.depth = width, depth
        self.first = Conv(PLANES, width)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(depth)))
        self.tails = nn.ModuleDict({str(ratio): Conv(width, ratio**2) for ratio in RATIOS})
        self._begin()

    def _begin(self) -> None:
        with torch.no_grad():
            for block in self.blocks.children():
                assert isinstance(block, Residual)
                block.second.weight.mul_(INITIAL_RESIDUAL_SCALE)
            for tail in self.tails.values():
                assert isinstance(tail, Conv)
                nn.init.zeros_(tail.weight)
                assert tail.bias is not None
                nn.init.zeros_(tail.bias)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return the network with these weights; width and depth are read from their shapes."""
        depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
        network = cls(tensors["first.weight"].shape[0], depth)
        network.load_state_dict(dict(tensors))
        return network

    @property
    def reach(self) -> int:
        """Reach, lr pixels: two per block, one each for first and last convolution and for ratios above 8."""
        return 2 * self.depth + 3

    def forward(self, planes: Tensor, ratio: int) -> Tensor:
        """Return the correction of each tile.

        Parameters
        ----------
        planes : Tensor, shape (tile, plane, y, x)
            Bands in standard deviations from their mean, then constants; see `dualsr_geo.models.unguided_correction`.
        ratio : int
            2 to 32. A ratio without a last convolution of its own uses that of the next larger one, or
            that of 8 interpolated to 16 or 32, and averages the sub-pixels.

        Returns
        -------
        Tensor, shape (tile, ratio * y, ratio * x)
            In standard deviations of the band.

        Raises
        ------
        ScaleError
            If the ratio is not in this range.
        """
        if not MIN_RATIO <= ratio <= MAX_RATIO:
            raise ScaleError(f"The network sharpens {MIN_RATIO} to {MAX_RATIO} times, not {ratio}.")
        features = self.first(channels_last(planes)).relu()
        # A skip connection around all blocks.
        features = features + self.blocks(features)
        tail_ratio = next((r for r in RATIOS if r >= ratio), RATIOS[-1])
        detail = functional.pixel_shuffle(self.tails[str(tail_ratio)](features).float() * OUTPUT_UNIT_STD, tail_ratio)
        fine = next(r for r in (tail_ratio, *INTERPOLATED_RATIOS) if r >= ratio)
        if fine > tail_ratio:
            # By an integer factor, else the rounding of the weights would depend on the tile.
            detail = functional.interpolate(detail, scale_factor=fine // tail_ratio, mode="bicubic")
        return (detail if fine == ratio else _average(detail, fine, ratio))[:, 0]


def _average(detail: Tensor, fine: int, ratio: int) -> Tensor:
    """Average `fine` x `fine` pixels of each lr pixel to `ratio` x `ratio`, by the areas that they share."""
    y, x = (n // fine for n in detail.shape[2:])
    source, target = torch.arange(fine) / fine, torch.arange(ratio)[:, None] / ratio
    overlap = torch.minimum(source + 1 / fine, target + 1 / ratio) - torch.maximum(source, target)
    weight = (overlap.clamp_min(0) * ratio).to(detail)
    pixels = detail.reshape(-1, y, fine, x, fine)
    return torch.einsum("ab,nybxd,cd->nyaxc", weight, pixels, weight).reshape(-1, 1, y * ratio, x * ratio)


ARCHITECTURE = Architecture(
    "alone",
    build=lambda _card, tensors, _published: UnguidedNetwork.of(tensors),
    # Four anchor bands at once, each with the planes that the network reads, its features and its result.
    planes=lambda _width, _ratio: 250,
    # For network and closed form together: 16 leave 9e-6 of the data range where SFPN's blur rings longest
    # and 2e-6 elsewhere, 18 leave 5e-7.
    halo=18,
    standalone=False,
)
