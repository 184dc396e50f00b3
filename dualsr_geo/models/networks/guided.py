"""Our own network with a guide: how the candidates of one band mix at each pixel, and a small rest.

It corrects the training-free start of one band at a time (research/algorithm-lab.md, section 2).
It reads planes on the target grid, folded two by two, in units of the scene, and answers with
logits of the candidates and a residual. The last convolution begins at zero, so an untrained
network mixes as the start does and adds nothing.

What is known of the scene as a whole, such as the ratio, enters after the first convolution, so
one set of weights serves all ratios. Above ratio 8 it reads averages of several pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.models.networks.architecture import Architecture
from dualsr_geo.models.networks.layers import Conv, Residual, last

# The start, seven differences of candidates, four errors, two neighbours, three planes of the guide.
PLANES = 17
# Error, ratio, noise, kind, two gains, and the weights of the candidates.
CONSTANTS = 13
CANDIDATES = 7
# Pixels folded into features along each axis.
FOLD = 2
# The ratio up to which it reads every pixel.
FINEST_RATIO = 8
# Which constants are gains along y and x: a quarter turn makes columns of rows.
GAINS = (4, 5)
# The eight ways to lay a square, half a turn second: quarter turns, and whether columns are reversed.
LAYS = ((0, False), (2, False), (1, False), (3, False), (0, True), (2, True), (1, True), (3, True))
# How much of its second convolution a block starts with, so that a deep sum begins small.
FIRST_SHARE = 0.2


class GuidedNetwork(nn.Module):
    """Planes of bands and constants to logits of the candidates and a residual.

    Parameters
    ----------
    width : int
        Features.
    depth : int
        Residual blocks.
    """

    def __init__(self, width: int = 32, depth: int = 5) -> None:
        super().__init__()
        self.width, self.depth = width, depth
        self.first = Conv(PLANES * FOLD**2, width)
        self.told = nn.Linear(CONSTANTS, width)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(depth)))
        self.last = Conv(width, (CANDIDATES + 1) * FOLD**2)
        self._begin()

    def _begin(self) -> None:
        with torch.no_grad():
            for block in self.blocks.children():
                assert isinstance(block, Residual)
                block.second.weight.mul_(FIRST_SHARE)
            nn.init.zeros_(self.last.weight)
            assert self.last.bias is not None
            nn.init.zeros_(self.last.bias)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return the network that these weights are of, with them; their shapes tell width and depth."""
        depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
        network = cls(tensors["first.weight"].shape[0], depth)
        network.load_state_dict(dict(tensors))
        return network

    def reach(self, ratio: int) -> int:
        """Return how many lr pixels far it sees: two folded pixels a block, first and last, and the fold itself."""
        far = (FOLD * (2 * self.depth + 2) + FOLD) * step(ratio)
        return -(-far // ratio)

    def lowered(self, dtype: torch.dtype = torch.bfloat16) -> Self:
        """Let all convolutions but the last compute in `dtype`, and return the network."""
        self.first.to(dtype)
        self.blocks.to(dtype)
        return self

    def forward(
        self, planes: Tensor, constants: Tensor, ratio: int, origin: tuple[int, int] = (0, 0), *, lays: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Return how each pixel's candidates mix, and what is added.

        Parameters
        ----------
        planes : Tensor, shape (tile, plane, Y, X)
            On the target grid; see `dualsr_geo.models.guided_correction`.
        constants : Tensor, shape (tile, constant)
        ratio : int
        origin : (int, int)
            Row and column of the first pixel on the scene's target grid: where pixels are folded
            must not depend on the tile.
        lays : int
            Over how many of the eight flips and quarter turns the answer is averaged, 1 to 8. Each
            costs one more pass.

        Returns
        -------
        logits : Tensor, shape (tile, candidate, Y, X)
        residual : Tensor, shape (tile, Y, X)
        """
        size = planes.shape[2:]
        grain = FOLD * step(ratio)
        before = origin[0] % grain, origin[1] % grain
        after = tuple(-(n + b) % grain for n, b in zip(size, before, strict=True))
        if any(before + after):
            planes = functional.pad(planes, (before[1], after[1], before[0], after[0]), mode="replicate")
        ways = [self._laid(planes, constants, step(ratio), *way) for way in LAYS[:lays]]
        made = ways[0] if lays == 1 else torch.stack(ways).mean(0)
        made = made[..., before[0] : before[0] + size[0], before[1] : before[1] + size[1]]
        return made[:, :-1], made[:, -1]

    def _laid(self, planes: Tensor, constants: Tensor, coarser: int, turns: int, mirrored: bool) -> Tensor:  # noqa: FBT001
        if turns % 2:
            order = torch.arange(constants.shape[1])
            order[list(GAINS)] = order[list(GAINS[::-1])]
            constants = constants[:, order]
        turned = torch.rot90(planes, turns, (2, 3))
        made = self._folded(turned.flip(3) if mirrored else turned, constants, coarser)
        return torch.rot90(made.flip(3) if mirrored else made, -turns, (2, 3))

    def _folded(self, planes: Tensor, constants: Tensor, coarser: int) -> Tensor:
        if coarser > 1:
            planes = functional.avg_pool2d(planes, coarser)
        seen = last(functional.pixel_unshuffle(planes, FOLD))
        features = (self.first(seen) + self.told(constants).to(self.first.weight.dtype)[:, :, None, None]).relu()
        made = functional.pixel_shuffle(self.last(self.blocks(features)), FOLD).float()
        if coarser > 1:
            made = functional.interpolate(made, scale_factor=coarser, mode="bilinear", align_corners=False)
        return made


def step(ratio: int) -> int:
    """Return how many target pixels along an axis the network takes as one."""
    return -(-ratio // FINEST_RATIO)


ARCHITECTURE = Architecture(
    "guided",
    build=lambda _card, tensors, _published: GuidedNetwork.of(tensors),
    # Four anchor bands at once, each with the planes that the network reads, its features and its result.
    planes=lambda _width, _ratio: 250,
    # For start, network and closed form together: 14 leave 2e-6 of the data range at ratio 8, 18 leave 4e-8
    # at any ratio.
    halo=18,
    seam=4e-6,
    guided=True,
    standalone=False,
)
