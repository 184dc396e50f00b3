"""Our own network without a guide: the detail of one band, from that band and its neighbours.

It works on the lr grid (research/algorithm-lab-2.md, B1): one body for all ratios and a last
convolution for each, whose channels are the sub-pixels. What it returns is in units of the band's
standard deviation and is a correction to the closed form; only the part that degrades to nothing
is ever used. The last convolutions begin at zero, so an untrained network corrects nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.errors import ScaleError
from dualsr_geo.models.networks.architecture import Architecture
from dualsr_geo.models.networks.layers import Conv, Residual, last

# The band and its neighbours -1, +1, -2, +2; MTF gains along y and x, and the noise.
NEIGHBOURS = (0, -1, 1, -2, 2)
PLANES = len(NEIGHBOURS) + 3
RATIOS = (2, 3, 4, 8)
LEAST_RATIO, MOST_RATIO = 2, 32
# The last convolutions' unit, in standard deviations of a band (the lab's).
UNIT = 0.3
# How much of its second convolution a block starts with, so that a deep sum begins small.
FIRST_SHARE = 0.2


class UnguidedNetwork(nn.Module):
    """Planes of bands, (tile, plane, y, x), to their correction, (tile, ratio * y, ratio * x).

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
                block.second.weight.mul_(FIRST_SHARE)
            for tail in self.tails.values():
                assert isinstance(tail, Conv)
                nn.init.zeros_(tail.weight)
                assert tail.bias is not None
                nn.init.zeros_(tail.bias)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return the network that these weights are of, with them; their shapes tell width and depth."""
        depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
        network = cls(tensors["first.weight"].shape[0], depth)
        network.load_state_dict(dict(tensors))
        return network

    @property
    def reach(self) -> int:
        """How many lr pixels far it sees: two a block, the first and last convolution, one above ratio 8."""
        return 2 * self.depth + 3

    def forward(self, planes: Tensor, ratio: int) -> Tensor:
        """Return the correction of each tile.

        Parameters
        ----------
        planes : Tensor, shape (tile, plane, y, x)
            Bands in standard deviations from their mean, then constants; see `dualsr_geo.models.unguided_correction`.
        ratio : int
            2 to 32. Those without a last convolution of their own average the sub-pixels of 8, which
            are interpolated to 16 or 32 before that where the ratio is larger.

        Returns
        -------
        Tensor, shape (tile, ratio * y, ratio * x)
            In standard deviations of the band.

        Raises
        ------
        ScaleError
            If the ratio is none of these.
        """
        if not LEAST_RATIO <= ratio <= MOST_RATIO:
            raise ScaleError(f"The network sharpens {LEAST_RATIO} to {MOST_RATIO} times, not {ratio}.")
        features = self.first(last(planes)).relu()
        # The body's own sum keeps the first features: a long skip.
        features = features + self.blocks(features)
        made = next((r for r in RATIOS if r >= ratio), RATIOS[-1])
        detail = functional.pixel_shuffle(self.tails[str(made)](features).float() * UNIT, made)
        fine = next(r for r in (made, 16, 32) if r >= ratio)
        if fine > made:
            # By whole numbers, else the weights' rounding would depend on where a tile begins.
            detail = functional.interpolate(detail, scale_factor=fine // made, mode="bicubic")
        return (detail if fine == ratio else _averaged(detail, fine, ratio))[:, 0]


def _averaged(detail: Tensor, fine: int, ratio: int) -> Tensor:
    """Return the means of a finer grid's pixels over those of `ratio`, within each lr pixel."""
    y, x = (n // fine for n in detail.shape[2:])
    at, to = torch.arange(fine) / fine, torch.arange(ratio)[:, None] / ratio
    shared = torch.minimum(at + 1 / fine, to + 1 / ratio) - torch.maximum(at, to)
    share = (shared.clamp_min(0) * ratio).to(detail)
    cut = detail.reshape(-1, y, fine, x, fine)
    return torch.einsum("ab,nybxd,cd->nyaxc", share, cut, share).reshape(-1, 1, y * ratio, x * ratio)


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
