"""SFPN's symmetrical aggregation unit: two streams that stay apart and exchange what they share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.models.networks.alba import LENDERS, Similar, lent
from dualsr_geo.models.networks.layers import Conv, Residual, followed, last
from dualsr_geo.models.networks.piecewise import PIECE, Workspace

# Features lent make a tensor four times as deep as others, so its pieces are smaller.
LENT_PIECE = PIECE // 2


@dataclass(frozen=True)
class Exchange:
    """The exchange of a unit as one convolution, a part for each stream.

    Attributes
    ----------
    scene, guide : Tensor, shape (feature, feature, 3, 3)
    bias : Tensor, shape (feature,)
    """

    scene: Tensor
    guide: Tensor
    bias: Tensor


class Propagation(nn.Module):
    """Symmetrical aggregation unit, section III-C, equations (5) to (9).

    The blocks at both ends are residual, as in the published code; the paper draws them without.

    Parameters
    ----------
    width : int
        Features, an even number.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scene_in, self.guide_in = Residual(width), Residual(width)
        self.scene_out, self.guide_out = Residual(width), Residual(width)
        self.lower, self.upper = Conv(width, width), Conv(width, width)
        self.reduce = Conv(2 * width, width, 1)
        self.aggregate = Conv((1 + LENDERS) * width, width)

    @property
    def dtype(self) -> torch.dtype:
        """In what it computes."""
        return self.aggregate.weight.dtype

    def lower_to(self, dtype: torch.dtype) -> None:
        """Compute in `dtype`; the weights of the exchange stay as they are, to be composed first."""
        for part in (self.scene_in, self.guide_in, self.scene_out, self.guide_out, self.aggregate):
            part.to(dtype)

    def exchange(self) -> Exchange:
        """Compose the exchange.

        The lower half of both streams' features goes through one convolution, the upper half
        through another, both results through a third; nothing but sums lies between. So the three
        are one, a tenth cheaper and without copies, and its part on the guide is the guide's alone.
        """
        low, high = self.reduce.weight[:, :, 0, 0].chunk(2, dim=1)
        lower, lower_bias = followed(self.lower, low)
        upper, upper_bias = followed(self.upper, high)
        assert self.reduce.bias is not None
        bias = self.reduce.bias + lower_bias + upper_bias
        halves = zip(lower.chunk(2, dim=1), upper.chunk(2, dim=1), strict=True)
        scene, guide = (torch.cat(pair, 1).to(self.dtype) for pair in halves)
        return Exchange(last(scene), last(guide), bias.to(self.dtype))

    def guide_side(self, exchange: Exchange, guide: Tensor) -> tuple[Tensor, Tensor]:
        """Return the guide's stream after its first block, and its part of what is shared; sees 3 pixels far.

        Parameters
        ----------
        exchange : Exchange
        guide : Tensor, shape (tile, feature, y, x)
            As it came in.
        """
        guide = self.guide_in(guide)
        return guide, functional.conv2d(guide.to(self.dtype), exchange.guide, exchange.bias, padding=1)

    def forward(
        self,
        space: Workspace,
        name: str,
        exchange: Exchange,
        blocks: Similar,
        scene: Tensor,
        guide: Tensor,
        side: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        """Return both streams after the unit.

        Parameters
        ----------
        space : Workspace
        name : str
            Under which it keeps the result.
        exchange : Exchange
        blocks : Similar
            Weights of the unit's type.
        scene, guide : Tensor of float32, shape (tile, feature, y, x)
        side : (Tensor, Tensor)
            From `guide_side`.
        """
        guide_block, share = side
        scene_block, shared = space.run("scene side", partial(self._scene_side, exchange), 3, scene, share)
        lend = partial(self._aggregate, shared)
        (aggregated,) = space.run("aggregated", lend, 1, blocks.source, blocks.weight, side=LENT_PIECE)
        return space.run(name, self._leave, 2, aggregated, scene_block, guide_block, scene, guide)

    def _scene_side(self, exchange: Exchange, scene: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        scene = self.scene_in(scene)
        return scene, functional.conv2d(scene.to(self.dtype), exchange.scene, padding=1).add_(share)

    def _aggregate(self, shared: Tensor, source: Tensor, weight: Tensor) -> tuple[Tensor]:
        return (self.aggregate(lent(shared, source, weight)),)

    def _leave(
        self, aggregated: Tensor, scene: Tensor, guide: Tensor, scene_skip: Tensor, guide_skip: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Add what was aggregated to both streams, run their second blocks, add what came into the unit."""
        aggregated = aggregated.to(scene.dtype)
        scene = self.scene_out(scene + aggregated).add_(scene_skip)
        return scene, self.guide_out(guide + aggregated).add_(guide_skip)
