"""CoarSR, the coarse stage of DualSR: it sharpens one band after another, without a guide.

Li, Yuan, Jia and Wang, "Dual-Stage Approach Toward Hyperspectral Image Super-Resolution", IEEE TIP
31:7252-7263, 2022.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.errors import InputError, ScaleError
from dualsr_geo.models.networks import published_checkpoint
from dualsr_geo.models.networks.alba import Lead
from dualsr_geo.models.networks.architecture import Architecture, BandNetwork
from dualsr_geo.models.networks.layers import Conv, Narrow, Residual, channels_last
from dualsr_geo.models.networks.piecewise import keep_freed_memory
from dualsr_geo.models.networks.published_checkpoint import CheckpointSizes, PublishedCheckpoint, Reader
from dualsr_geo.models.networks.subpixel import REACH_LR_PX, SubPixel
from dualsr_geo.models.weights import Card

MIN_BANDS = 5
TITLE = "CoarSR of DualSR"
# A weight that only this network's checkpoints have.
KEY = "GFM_intra_one.gamma_inter"
# Factors of the shuffles of the sub-pixel upsampling, by ratio.
SHUFFLES = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}
# Reach of the features and of the upsampling, lr pixels; the recurrence is 1 x 1.
HALO_LR_PX = 22 + REACH_LR_PX
# Most lr pixels, of one or several bands, that go through the features together, by device: a device is slow
# on few pixels.
MAX_PX_TOGETHER = {"cpu": 1 << 15, "cuda": 1 << 20}


class Branch(nn.Module):
    """Two residual units and a skip around them, section III-A2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = Residual(width), Residual(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (tile, feature, y, x) to the same shape; reach 4 pixels."""
        residual: Tensor = self.second(self.first(x))
        return residual.add_(x)


class SpectralFusion(nn.Module):
    """Alternative spectral fusion: within each group of bands, then between the three.

    Section III-A2. The groups are separate tensors here, not an axis of one: the published
    1 x 3 x 3 convolution is the same plane convolution of each, the 3 x 1 x 1 one a sum over
    neighbours.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = nn.ModuleList(Branch(width) for _ in range(3))
        self.mix = nn.ModuleList(Conv(3 * width, width, 1) for _ in range(3))
        self.after = nn.ModuleList(Branch(width) for _ in range(3))
        self.scale = nn.Parameter(torch.ones(3))
        self.spatial = Conv(width, width)
        self.spectral = Conv(3 * width, width, 1)
        self.joined = Conv(width, width)

    def forward(self, groups: list[Tensor]) -> list[Tensor]:
        """Map three groups (tile, feature, y, x) to the same; reach 10 pixels."""
        joined = torch.cat([branch(group) for branch, group in zip(self.before, groups, strict=True)], 1)
        mixed = [
            after(mix(joined)).add_(group) * scale
            for mix, after, group, scale in zip(self.mix, self.after, groups, self.scale, strict=True)
        ]
        return [self._join(mixed, k) for k in range(3)]

    def _join(self, groups: list[Tensor], k: int) -> Tensor:
        """Fuse a group with its neighbours; the outer groups have one only."""
        first, end = max(0, k - 1), min(3, k + 2)
        width = groups[k].shape[1]
        weight = self.spectral.weight[:, (first - k + 1) * width : (end - k + 1) * width]
        spectral = functional.conv2d(torch.cat(groups[first:end], 1), weight, self.spectral.bias)
        residual: Tensor = self.joined((self.spatial(groups[k]) + spectral).relu_())
        return groups[k] + residual


class CoarSR(BandNetwork):
    """Coarse stage of DualSR.

    Differences from the published code that do not change the result: the learned scalars before a
    convolution are part of its weights, as are weight normalisation and, if a checkpoint has it
    (the published code switches it on by accident, the paper has none), batch normalisation; bands
    go through the features together, since only the 1 x 1 recurrence is sequential.

    The bicubic skip connection is torch's (``a = -0.75``, pixel centres aligned), as in training
    from torch data; the published scripts use a function that SciPy no longer has.

    Parameters
    ----------
    ratio : int
        2, 3, 4 or 8.
    width : int
        Features; 64 in the paper.
    published : bool
        Give every band the neighbours of band 0, an error of the published loop. By default each
        band has its own, as in the paper.

    Raises
    ------
    ScaleError
        If the ratio is another one.
    """

    def __init__(self, ratio: int, width: int = 64, *, published: bool = False) -> None:
        super().__init__()
        if ratio not in SHUFFLES:
            raise ScaleError(f"CoarSR sharpens {', '.join(map(str, SHUFFLES))} times, not {ratio}. Give one of these.")
        self.ratio, self.published = ratio, published
        self.heads = nn.ModuleList(Conv(bands, width) for bands in (1, 3, 3))
        self.fusions = nn.ModuleList(SpectralFusion(width) for _ in range(2))
        self.reduce = Conv(3 * width, width, 1)
        self.body = Conv(width, width)
        self.context = Conv(2 * width, width, 1)
        self.upsampling = nn.ModuleList(Conv(width, step**2 * width) for step in SHUFFLES[ratio])
        self.tail = Narrow(width)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors only

    def lowered(self, dtype: torch.dtype = torch.bfloat16) -> Self:
        """Convert the branches of the fusion to `dtype`, and return the network.

        Sums, inputs, the recurrence and outputs stay in float32.
        """
        for fusion in self.fusions:
            fusion.before.to(dtype)
            fusion.after.to(dtype)
        return self

    def forward(self, lr: Tensor) -> Tensor:
        """Return all bands of tiles, shape (tile, band, ratio * y, ratio * x); takes what `bands` takes."""
        return torch.stack(list(self.bands(lr)), dim=1)

    def stream(self, cube: Tensor, guide: Tensor | None = None, lead: Lead | None = None) -> Iterator[Tensor]:  # noqa: ARG002  # it has no blocks
        """Yield one band (ratio * y, ratio * x) after another of a cube (band, y, x); otherwise as `bands`."""
        if guide is not None:
            raise InputError("CoarSR takes no guide, and one is given. Leave it out, or use CoarseNet's weights.")
        return (band[0] for band in self.bands(cube[None]))

    def bands(self, lr: Tensor) -> Iterator[Tensor]:
        """Yield one band of all tiles after another.

        Parameters
        ----------
        lr : Tensor of float32, shape (tile, band, y, x)
            Values 0..1 where the weights are published ones.

        Yields
        ------
        Tensor of float32, shape (tile, ratio * y, ratio * x)
            Not clipped.

        Raises
        ------
        InputError
            If there are fewer than 5 bands.
        """
        tiles, count, height, width = lr.shape
        if count < MIN_BANDS:
            raise InputError(f"CoarSR reads {MIN_BANDS} bands at a time, the scene has {count}. Give more bands.")
        picks = neighbours(count, published=self.published)
        max_px = MAX_PX_TOGETHER.get(lr.device.type, MAX_PX_TOGETHER["cpu"])
        together = max(1, max_px // (tiles * height * width))
        keep_freed_memory()
        upsample = SubPixel([cast("Conv", layer) for layer in self.upsampling], SHUFFLES[self.ratio], self.tail)
        state: Tensor | None = None
        for start in range(0, count, together):
            chosen = picks[start : start + together]
            features, state = self._recur(*self._features(lr[:, chosen].flatten(0, 1)), state, len(chosen))
            smooth = self._smooth(lr[:, start : start + together])
            yield from (smooth + upsample(features).reshape(smooth.shape)).unbind(1)

    def _smooth(self, lr: Tensor) -> Tensor:
        return functional.interpolate(lr, scale_factor=self.ratio, mode="bicubic", align_corners=False)

    def _features(self, five: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and skip connection of bands with their neighbours, (tile and band, 5, y, x).

        Neighbouring band partition, equations (1) to (4): the band by itself, with the nearer two,
        with the farther two.
        """
        heads = [
            head(channels_last(five[:, k])) for head, k in zip(self.heads, ([0], [1, 0, 2], [3, 0, 4]), strict=True)
        ]
        groups = heads
        for fusion in self.fusions:
            groups = [group.add_(head) for group, head in zip(fusion(groups), heads, strict=True)]
        features: Tensor = self.body(self.reduce(torch.cat(groups, 1)))
        return features.add_(heads[0]), heads[0]

    def _recur(self, inputs: Tensor, skip: Tensor, state: Tensor | None, count: int) -> tuple[Tensor, Tensor]:
        """Fuse each band's features with those of the band before: feature context fusion, equation (5)."""
        bands = []
        for features in inputs.unflatten(0, (-1, count)).unbind(1):  # type: ignore[no-untyped-call]  # torch's
            state = features if state is None else self.context(torch.cat([features, state], 1))
            bands.append(state)
        assert state is not None
        return torch.stack(bands, 1).flatten(0, 1) + skip, state


def neighbours(count: int, *, published: bool = False) -> list[list[int]]:
    """Return for each band its number and those of its neighbours, the nearer two first.

    Parameters
    ----------
    count : int
        Bands, at least 5.
    published : bool
        Return the neighbours of band 0 for all bands.
    """
    n = count
    edges = {0: (1, 2, 3, 4), 1: (0, 2, 3, 4), n - 2: (n - 3, n - 1, n - 5, n - 4), n - 1: (n - 2, n - 3, n - 4, n - 5)}
    inner = ((i - 1, i + 1, i - 2, i + 2) for i in range(n))
    return [[i, *(edges[0] if published else edges.get(i, usual))] for i, usual in enumerate(inner)]


def checkpoint_sizes(state: Mapping[str, Tensor]) -> CheckpointSizes:
    """Return ratio, width and batch normalisation of a checkpoint in the authors' layout.

    Raises
    ------
    InputError
        If it is of another network or ratio.
    """
    published_checkpoint.require_key(state, KEY, TITLE)
    keys = published_checkpoint.without_prefix(state)
    (width,) = published_checkpoint.shape_of(state, "head_group_one.bias", 1)
    steps = [keys[k].shape[0] for k in (f"tail.0.{2 * i}.bias" for i in range(len(keys))) if k in keys]
    ratio = {tuple(step**2 * width for step in parts): ratio for ratio, parts in SHUFFLES.items()}.get(tuple(steps))
    if ratio is None:
        raise InputError(
            f"The upsampling of the checkpoint has {steps or 'no'} channels at width {width}: none of the ratios "
            f"{', '.join(map(str, SHUFFLES))}. It is of another version than the published one."
        )
    norms = any(key.endswith("running_var") for key in keys)
    return CheckpointSizes(ratio, width, batch_norm=norms)


_WORDS = ("one", "two", "three")


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of a `CoarSR` from a checkpoint in the authors' layout.

    Raises
    ------
    InputError
        If it is of another network, lacks entries, or has some that have no place.
    """
    sizes = checkpoint_sizes(state)
    assert sizes.ratio is not None
    reader, weights = Reader(state), _Weights()
    for k, word in enumerate(_WORDS):
        weights.put(f"heads.{k}", reader.conv(f"head_group_{word}"))
    for k, word in enumerate(_WORDS[:2]):
        _fusion(reader, weights, word, f"fusions.{k}", sizes.width)
    weight, bias = reader.conv("rnn_reduceD.0")
    weights.put("context", (_scaled(weight, reader.take("gamma_rnn"), sizes.width), bias))
    weights.put("reduce", reader.conv("last_reduceD.0"))
    weights.put("body", reader.conv("conv.0"))
    for k in range(len(SHUFFLES[sizes.ratio])):
        weights.put(f"upsampling.{k}", reader.conv(f"tail.0.{2 * k}"))
    weights.put("tail", reader.conv("tail.1"))
    reader.finish()
    with torch.device("meta"):
        network = CoarSR(sizes.ratio, sizes.width)
    return published_checkpoint.float32(weights, network)


class _Weights(dict[str, Tensor]):
    def put(self, name: str, layer: tuple[Tensor, Tensor]) -> None:
        self[f"{name}.weight"], self[f"{name}.bias"] = layer


def _scaled(weight: Tensor, scalars: Tensor, width: int) -> Tensor:
    """Multiply the scalars of groups of inputs into the weight."""
    return weight * scalars.repeat_interleave(width).reshape(1, -1, 1, 1)


def _fusion(reader: Reader, weights: _Weights, word: str, name: str, width: int) -> None:
    intra, inter = f"GFM_intra_{word}", f"GFM_inter_{word}.threeunit"
    scalars = reader.take(f"{intra}.gamma")
    for k, group in enumerate(_WORDS):
        _branch(reader, weights, f"{intra}.left_{group}_body.body.0", f"{name}.before.{k}")
        _branch(reader, weights, f"{intra}.right_{group}_body.body.0", f"{name}.after.{k}")
        weight, bias = reader.conv(f"{intra}.fusion_{group}.0")
        weights.put(f"{name}.mix.{k}", (_scaled(weight, scalars[k], width), bias))
    weights[f"{name}.scale"] = reader.take(f"{intra}.gamma_inter")
    for theirs, ours in {"spatial": "spatial", "spatial_one": "joined"}.items():
        weight, bias = reader.conv(f"{inter}.{theirs}")
        weights.put(f"{name}.{ours}", (weight.squeeze(2), bias))
    weight, bias = reader.conv(f"{inter}.spectral")
    weights.put(f"{name}.spectral", (weight.transpose(1, 2).reshape(width, 3 * width, 1, 1), bias))


def _branch(reader: Reader, weights: _Weights, theirs: str, ours: str) -> None:
    for unit, name in enumerate(("first", "second")):
        body = f"{theirs}.{unit}.body"
        second = 3 if reader.has(f"{body}.1.running_var") else 2
        weights.put(f"{ours}.{name}.first", reader.normalised(f"{body}.0", f"{body}.1"))
        weights.put(f"{ours}.{name}.second", reader.normalised(f"{body}.{second}", f"{body}.{second + 1}"))


def _build(card: Card, tensors: Mapping[str, Tensor], published: bool) -> CoarSR:  # noqa: FBT001  # a callable's type has no keywords
    network = CoarSR(card.ratio, card.width, published=published)
    network.load_state_dict(dict(tensors))
    return network


ARCHITECTURE = Architecture(
    "coarsr",
    build=_build,
    # Measured as peak memory at 384 to 1200 hr pixels: 23 to 30 widths on the lr grid.
    planes=lambda width, ratio: -(-32 * width // ratio**2),
    halo=HALO_LR_PX,
    min_bands=MIN_BANDS,
    checkpoint=PublishedCheckpoint(TITLE, KEY, checkpoint_sizes, from_published),
)
