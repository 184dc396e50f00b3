"""Symmetrical aggregation unit of SFPN: streams of scene and guide features that exchange shared features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.models.networks.alba import LENDERS, Similar, with_lent_features
from dualsr_geo.models.networks.layers import Conv, Residual, channels_last, compose
from dualsr_geo.models.networks.piecewise import PIECE_SIDE_PX, Workspace

# Side of a piece with the features of the lenders, which make it four times as deep; output pixels.
AGGREGATED_PIECE_SIDE_PX = PIECE_SIDE_PX // 2


@dataclass(frozen=True)
class Exchange:
    """The exchange of a unit as one convolution, with a part for each stream.

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

    The blocks at both ends are residual, as in the published code; in the paper's figure they are not.

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
        """Dtype that the unit computes in."""
        return self.aggregate.weight.dtype

    def lower_to(self, dtype: torch.dtype) -> None:
        """Convert the unit to `dtype`, except the weights of the exchange, which are composed in float32 first."""
        for part in (self.scene_in, self.guide_in, self.scene_out, self.guide_out, self.aggregate):
            part.to(dtype)

    def exchange(self) -> Exchange:
        """Compose the exchange.

        The lower half of both streams' features goes through one convolution, the upper half
        through another, both results through a third, all linear. So the three are one
        convolution, which takes a tenth less time and no copies, and its part on the guide does not
        depend on the scene.
        """
        low, high = self.reduce.weight[:, :, 0, 0].chunk(2, dim=1)
        lower, lower_bias = compose(self.lower, low)
        upper, upper_bias = compose(self.upper, high)
        assert self.reduce.bias is not None
        bias = self.reduce.bias + lower_bias + upper_bias
        halves = zip(lower.chunk(2, dim=1), upper.chunk(2, dim=1), strict=True)
        scene, guide = (torch.cat(pair, 1).to(self.dtype) for pair in halves)
        return Exchange(channels_last(scene), channels_last(guide), bias.to(self.dtype))

    def guide_side(self, exchange: Exchange, guide: Tensor) -> tuple[Tensor, Tensor]:
        """Return the guide's stream after its first block, and its part of the exchange; reach 3 pixels.

        Parameters
        ----------
        exchange : Exchange
        guide : Tensor, shape (tile, feature, y, x)
            The guide's stream before the unit.
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
            Key of the result's memory in the workspace.
        exchange : Exchange
        blocks : Similar
            With weights of the unit's dtype.
        scene, guide : Tensor of float32, shape (tile, feature, y, x)
        side : (Tensor, Tensor)
            From `guide_side`.
        """
        guide_block, guide_part = side
        scene_block, exchanged = space.run("scene side", partial(self._scene_side, exchange), 3, scene, guide_part)
        step = partial(self._aggregate, exchanged)
        (aggregated,) = space.run("aggregated", step, 1, blocks.source, blocks.weight, side=AGGREGATED_PIECE_SIDE_PX)
        return space.run(name, self._finish, 2, aggregated, scene_block, guide_block, scene, guide)

    def _scene_side(self, exchange: Exchange, scene: Tensor, guide_part: Tensor) -> tuple[Tensor, Tensor]:
        scene = self.scene_in(scene)
        return scene, functional.conv2d(scene.to(self.dtype), exchange.scene, padding=1).add_(guide_part)

    def _aggregate(self, exchanged: Tensor, source: Tensor, weight: Tensor) -> tuple[Tensor]:
        return (self.aggregate(with_lent_features(exchanged, source, weight)),)

    def _finish(
        self, aggregated: Tensor, scene: Tensor, guide: Tensor, scene_skip: Tensor, guide_skip: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Add the aggregated features to both streams, run their second blocks, and add the unit's inputs."""
        aggregated = aggregated.to(scene.dtype)
        scene = self.scene_out(scene + aggregated).add_(scene_skip)
        return scene, self.guide_out(guide + aggregated).add_(guide_skip)
