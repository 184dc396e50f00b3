"""CoarseNet, the coarse stage of SFPN: it sharpens one band after another, with a guide.

Li, Gong, Yuan and Wang, "Symmetrical Feature Propagation Network for Hyperspectral Image
Super-Resolution", IEEE TGRS 60, 2022.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.errors import InputError
from dualsr_geo.models.networks import published_checkpoint
from dualsr_geo.models.networks.alba import BLOCK_LR_PX, Lead, Similar, similar
from dualsr_geo.models.networks.architecture import Architecture, BandNetwork
from dualsr_geo.models.networks.layers import Conv, Narrow, channels_last, compose
from dualsr_geo.models.networks.piecewise import Workspace
from dualsr_geo.models.networks.propagation import Exchange, Propagation
from dualsr_geo.models.networks.published_checkpoint import CheckpointSizes, PublishedCheckpoint, Reader
from dualsr_geo.models.weights import Card

MIN_BANDS = 3
TITLE = "CoarseNet of SFPN"
# A weight that only this network's checkpoints have.
KEY = "gamma_speContext"
# Number of symmetrical aggregation units, D of section IV-B.
UNITS = 2
# Every band depends on the one before, so no halo is exact. With 12 lr pixels an error of 6e-6 of the range
# remains, with 15 float32's rounding, at ratios 2, 4 and 8 (docs/networks.md; weights trained on CAVE, up to
# 191 bands).
HALO_LR_PX = 15
# Largest difference between tiled and whole, share of the data range.
SEAM = 1e-6


@dataclass(frozen=True)
class BandInvariants:
    """Intermediate results that do not depend on the band, computed once per tile.

    Attributes
    ----------
    head : Tensor, shape (tile, feature, y, x)
        The guide's features.
    plane : Tensor, shape (tile, 1, y, x)
        Their contribution to every band.
    blocks : Similar
    units : list of Propagation
    exchanges : list of Exchange
        One per unit.
    side : (Tensor, Tensor), shape (tile, feature, y, x)
        `Propagation.guide_side` of the first unit.
    enter, leave : (Tensor, Tensor)
        Composed weight and bias: `CoarseNet._entering`, `CoarseNet._leaving`.
    space : Workspace
    """

    head: Tensor
    plane: Tensor
    blocks: Similar
    units: list[Propagation]
    exchanges: list[Exchange]
    side: tuple[Tensor, ...]
    enter: tuple[Tensor, Tensor]
    leave: tuple[Tensor, Tensor]
    space: Workspace


class CoarseNet(BandNetwork):
    """Coarse stage of SFPN.

    Differences from the published code that do not change the result: the learned scalars before a
    convolution are part of its weights, as is weight normalisation; what depends on the guide only
    is computed once per tile; blocks are fetched by number.

    Parameters
    ----------
    ratio : int
    width : int
        Features, an even number; 64 in the paper.
    guide_bands : int
    published : bool
        Compare blocks as the published code does, see `alba.similar`. By default as in the paper.
    clip : (float, float) or None
        Range to which each band is clipped before the next one uses it, as in the published code,
        whose data are in 0..1. None for no clipping.
    """

    def __init__(
        self,
        ratio: int,
        width: int = 64,
        guide_bands: int = 3,
        *,
        published: bool = False,
        clip: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        super().__init__()
        self.ratio, self.guide_bands, self.published, self.clip = ratio, guide_bands, published, clip
        self.scene_head = Conv(3, width)
        self.guide_head = Conv(guide_bands, width)
        self.previous_head = Conv(1, width)
        self.spectral_context = Conv(2 * width, width, 1)
        self.units = nn.ModuleList(Propagation(width) for _ in range(UNITS))
        self.low = nn.ModuleList()
        self.scene_fusion = Conv(UNITS * width, width, 1)
        self.guide_fusion = Conv(UNITS * width, width, 1)
        self.fusion = Conv(2 * width, width)
        self.feature_context = Conv(2 * width, width, 1)
        self.tail = Narrow(width)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors only

    @property
    def block(self) -> int:
        """Side of a block, hr pixels."""
        return BLOCK_LR_PX * self.ratio

    def lowered(self, dtype: torch.dtype = torch.bfloat16) -> Self:
        """Convert the units, nine tenths of the work, to `dtype` after the first band, and return the network.

        The first band, similarities, sums, inputs, the fusion after the units and outputs stay in
        float32. With the fusion in bfloat16 bands had errors of up to 4e-3 of the range. The first
        band has none before it: in bfloat16 its error was 1.2e-3, that of the others 0.5e-3
        (docs/speed.md).
        """
        self.low = copy.deepcopy(self.units)
        for unit in self.low:
            cast("Propagation", unit).lower_to(dtype)
        return self

    def forward(self, lr: Tensor, guide: Tensor, lead: Lead | None = None) -> Tensor:
        """Return all bands of tiles, shape (tile, band, ratio * y, ratio * x); takes what `bands` takes."""
        return torch.stack(list(self.bands(lr, guide, lead)), dim=1)

    def stream(self, cube: Tensor, guide: Tensor | None = None, lead: Lead | None = None) -> Iterator[Tensor]:
        """Yield one band (ratio * y, ratio * x) after another of a cube (band, y, x); otherwise as `bands`."""
        if guide is None:
            raise InputError(f"CoarseNet needs a guide of {self.guide_bands} bands, and none is given.")
        return (band[0] for band in self.bands(cube[None], guide[None], lead))

    def bands(self, lr: Tensor, guide: Tensor, lead: Lead | None = None) -> Iterator[Tensor]:
        """Yield one band of all tiles after another.

        Parameters
        ----------
        lr : Tensor of float32, shape (tile, band, y, x)
            Values 0..1 where the weights are published ones.
        guide : Tensor of float32, shape (tile, guide band, ratio * y, ratio * x)
        lead : (int, int), optional
            hr pixels (y, x) of the first blocks that are before the tiles, `alba.lead_at`; by
            default each tile is a whole scene.

        Yields
        ------
        Tensor of float32, shape (tile, ratio * y, ratio * x)
            Clipped to `clip`.

        Raises
        ------
        InputError
            If there are fewer than 3 bands, or the guide does not have the shape that the weights need.
        """
        self._require(lr, guide)
        invariants = self._prepare(guide, lead)
        run = invariants.space.run
        band = context = None
        for i in range(lr.shape[1]):
            if i == 1 and self.low:
                invariants = replace(
                    invariants, **self._units(self.low, invariants.head, invariants.blocks, invariants.space)
                )
            wide = functional.interpolate(lr[:, _triple(i, lr.shape[1])], scale_factor=self.ratio, mode="nearest")
            (scene,) = run("enter", partial(self._enter, invariants), 1, wide, *_optional(band))
            streams = self._propagate(invariants, scene)
            # The band before is read while this one is computed, so two memories alternate.
            leave = partial(self._leave, invariants)
            context, band = run(
                f"leave {i % 2}", leave, 3, *streams, wide, invariants.head, invariants.plane, *_optional(context)
            )
            yield band[:, 0].clone()

    def _require(self, lr: Tensor, guide: Tensor) -> None:
        bands = lr.shape[1]
        if bands < MIN_BANDS:
            raise InputError(f"CoarseNet reads {MIN_BANDS} bands at a time, the scene has {bands}. Give more bands.")
        if guide.shape[1] != self.guide_bands:
            raise InputError(
                f"The guide has {guide.shape[1]} bands, the weights were trained for {self.guide_bands}. "
                f"Give a guide of {self.guide_bands} bands, or other weights."
            )
        wanted = tuple(n * self.ratio for n in lr.shape[2:])
        if tuple(guide.shape[2:]) != wanted:
            raise InputError(
                f"The guide has {guide.shape[2]} x {guide.shape[3]} pixels, but {self.ratio} times the scene's "
                f"{lr.shape[2]} x {lr.shape[3]} are {wanted[0]} x {wanted[1]}. Give a guide on that grid."
            )

    def _prepare(self, guide: Tensor, lead: Lead | None) -> BandInvariants:
        blocks, space = similar(guide, self.block, lead, published=self.published), Workspace()
        head, plane = space.run("guide head", self._guide_head, 2, guide)
        return BandInvariants(
            head=head,
            plane=plane,
            enter=self._entering(),
            leave=self._leaving(),
            space=space,
            **self._units(self.units, head, blocks, space),
        )

    def _units(self, units: nn.ModuleList, head: Tensor, blocks: Similar, space: Workspace) -> dict[str, Any]:
        """Return the fields of `BandInvariants` that depend on the units' dtype."""
        chosen = [cast("Propagation", unit) for unit in units]
        exchanges = [unit.exchange() for unit in chosen]
        side = space.run("guide side", partial(chosen[0].guide_side, exchanges[0]), 3, head)
        return {"blocks": blocks.to(chosen[0].dtype), "units": chosen, "exchanges": exchanges, "side": side}

    def _guide_head(self, guide: Tensor) -> tuple[Tensor, Tensor]:
        head = self.guide_head(channels_last(guide))
        return head, self.tail(head)

    def _entering(self) -> tuple[Tensor, Tensor]:
        """Compose equation (4) and the spectral context, for a band with its neighbours and the band before."""
        current, before = self.spectral_context.weight[:, :, 0, 0].chunk(2, dim=1)
        scene, scene_bias = compose(self.scene_head, current)
        previous, previous_bias = compose(self.previous_head, before)
        assert self.spectral_context.bias is not None
        return channels_last(torch.cat([scene, previous], 1)), self.spectral_context.bias + scene_bias + previous_bias

    def _leaving(self) -> tuple[Tensor, Tensor]:
        """Compose the fusion of the streams and its part of the fusion with the band before."""
        weight, bias = compose(self.fusion, self.feature_context.weight[:, :, 0, 0].chunk(2, dim=1)[0])
        assert self.feature_context.bias is not None
        return channels_last(weight), self.feature_context.bias + bias

    def _propagate(self, invariants: BandInvariants, scene: Tensor) -> list[Tensor]:
        """Return the streams after each unit: scene, guide, scene, guide."""
        streams: list[Tensor] = []
        guide, side = invariants.head, invariants.side
        for k, (unit, exchange) in enumerate(zip(invariants.units, invariants.exchanges, strict=True)):
            if k > 0:
                side = invariants.space.run(f"guide side {k}", partial(unit.guide_side, exchange), 3, guide)
            scene, guide = unit(invariants.space, f"unit {k}", exchange, invariants.blocks, scene, guide, side)
            streams += [scene, guide]
        return streams

    def _enter(self, invariants: BandInvariants, wide: Tensor, previous: Tensor | None = None) -> tuple[Tensor]:
        """Return features of a band, its neighbours and the band before: equation (4), spectral context."""
        if previous is None:
            return (self.scene_head(channels_last(wide)),)
        return (functional.conv2d(channels_last(torch.cat([wide, previous], 1)), *invariants.enter, padding=1),)

    def _leave(
        self,
        invariants: BandInvariants,
        scene_1: Tensor,
        guide_1: Tensor,
        scene_2: Tensor,
        guide_2: Tensor,
        wide: Tensor,
        head: Tensor,
        plane: Tensor,
        context: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Fuse the streams, then with the band before, and compute the band: equations (10) to (13)."""
        scene = self.scene_fusion(torch.cat([scene_1, scene_2], 1)).add_(self.scene_head(channels_last(wide)))
        guide = self.guide_fusion(torch.cat([guide_1, guide_2], 1)).add_(head)
        both = torch.cat([scene, guide], 1)
        if context is None:
            fused = self.fusion(both)
        else:
            weight = self.feature_context.weight.chunk(2, dim=1)[1]
            fused = functional.conv2d(both, *invariants.leave, padding=1).add_(functional.conv2d(context, weight))
        assert self.tail.bias is not None
        band = self.tail(fused) + (plane - self.tail.bias)
        return fused, band if self.clip is None else band.clamp(*self.clip)


def _optional(x: Tensor | None) -> tuple[Tensor, ...]:
    return () if x is None else (x,)


def _triple(i: int, bands: int) -> list[int]:
    """Return the numbers of a band and its neighbours, the band's in the middle."""
    if i == 0:
        return [1, 0, 2]
    return [i - 1, i, i - 2] if i == bands - 1 else [i - 1, i, i + 1]


def checkpoint_sizes(state: Mapping[str, Tensor]) -> CheckpointSizes:
    """Return width and guide bands of a checkpoint in the authors' layout; the ratio leaves no trace in it.

    Raises
    ------
    InputError
        If it is of another network.
    """
    published_checkpoint.require_key(state, KEY, TITLE)
    width, guide_bands, _, _ = published_checkpoint.shape_of(state, "rgb_head.weight", 4)
    return CheckpointSizes(None, width, guide_bands=guide_bands)


# The authors' names of the convolutions, and those of this package.
_UNIT = {
    "unit_hsi_1.m.0": "scene_in.first",
    "unit_hsi_1.m.2": "scene_in.second",
    "unit_rgb_1.m.0": "guide_in.first",
    "unit_rgb_1.m.2": "guide_in.second",
    "unit_hsi_2.m.0": "scene_out.first",
    "unit_hsi_2.m.2": "scene_out.second",
    "unit_rgb_2.m.0": "guide_out.first",
    "unit_rgb_2.m.2": "guide_out.second",
    "fusion.unit_hsi": "lower",
    "fusion.unit_rgb": "upper",
    "fusion.reduce": "reduce",
    "fusion.aggregate.speFusion": "aggregate",
}
_PLAIN = {
    "hsi_head": "scene_head",
    "rgb_head": "guide_head",
    "spe_head": "previous_head",
    "hsi_rgb_end.0": "tail",
}
# Convolutions whose inputs are each multiplied by a learned scalar.
_SCALED = {
    "speFusion": ("spectral_context", "gamma_speContext"),
    "bottleneck.hsi_fusion": ("scene_fusion", "gamma_hsi"),
    "bottleneck.rgb_fusion": ("guide_fusion", "gamma_rgb"),
    "bottleneck.fusion": ("fusion", "bottleneck.gamma"),
    "feaFusion": ("feature_context", "gamma_feaContext"),
}


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of a `CoarseNet` from a checkpoint in the authors' layout.

    Raises
    ------
    InputError
        If it is of another network, lacks entries, or has some that have no place.
    """
    sizes = checkpoint_sizes(state)
    reader = Reader(state)
    weights: dict[str, Tensor] = {}
    names = dict(_PLAIN)
    for k in range(UNITS):
        reader.take(f"inter_body.{k}.fusion.aggregate.gamma")  # unused by the published code
        names |= {f"inter_body.{k}.{theirs}": f"units.{k}.{ours}" for theirs, ours in _UNIT.items()}
    for theirs, ours in names.items():
        weights[f"{ours}.weight"], weights[f"{ours}.bias"] = reader.conv(theirs)
    for theirs, (ours, scalars) in _SCALED.items():
        weight, weights[f"{ours}.bias"] = reader.conv(theirs)
        weights[f"{ours}.weight"] = weight * reader.take(scalars).repeat_interleave(sizes.width).reshape(1, -1, 1, 1)
    reader.finish()
    with torch.device("meta"):
        network = CoarseNet(2, sizes.width, sizes.guide_bands)
    return published_checkpoint.float32(weights, network)


def _build(card: Card, tensors: Mapping[str, Tensor], published: bool) -> CoarseNet:  # noqa: FBT001  # a callable's type has no keywords
    network = CoarseNet(card.ratio, card.width, card.guide_bands, published=published)
    network.load_state_dict(dict(tensors))
    return network


ARCHITECTURE = Architecture(
    "coarsenet",
    build=_build,
    # Measured as peak memory at 384 to 1200 hr pixels: 17 to 20 widths on the hr grid.
    planes=lambda width, _: 20 * width,
    halo=HALO_LR_PX,
    seam=SEAM,
    block=BLOCK_LR_PX,
    guided=True,
    min_bands=MIN_BANDS,
    checkpoint=PublishedCheckpoint(TITLE, KEY, checkpoint_sizes, from_published),
)
