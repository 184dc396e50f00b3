"""The guided network: weights of the candidates at each pixel of the anchors, and a residual.

It corrects the training-free start of a few anchors, bands or components, with one set of weights for each. Its
input are planes on the target grid, folded two by two, in units of the scene; its output are logits of the
candidates and a residual. Between its blocks the anchors exchange features (`spectral_context`); networks
without these layers correct each anchor by itself. The last convolution is initialised to zero, so an untrained
network changes nothing.

Constants of the scene, such as the ratio, are added after the first convolution, so one set of
weights serves all ratios. Above ratio 8 the network reads averages of several pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.models.networks.architecture import Architecture
from dualsr_geo.models.networks.layers import Conv, Residual, channels_last, is_fused, rectified
from dualsr_geo.models.networks.spectral_context import SpectralContext
from dualsr_geo.raster.windows import Tile, Tiling, Window

# Number of planes: the start, seven differences of candidates, four errors, two neighbours, three of the guide.
PLANES = 17
# Number of constants: error, noise, ratio, spectral or not, two gains, the weights of the candidates, and relations
# to the guide. Networks of version 0.1 do not read the last.
CONSTANTS, CONSTANTS_BEFORE = 16, 13
CANDIDATES = 7
# Pixels along each axis that are folded into features.
FOLD = 2
# Largest ratio at which the network reads every pixel.
MAX_FULL_RATIO = 8
# Positions of the gains along y and x among the constants; a quarter turn swaps them.
GAINS = (4, 5)
# The eight orientations of a square for test-time augmentation, half a turn second: quarter turns, and
# whether columns are reversed.
ORIENTATIONS = ((0, False), (2, False), (1, False), (3, False), (0, True), (2, True), (1, True), (3, True))
# Largest side of a piece of one anchor, pixels. Its reach adds a fifth to the pixels; larger pieces are not faster, and
# take memory. Pieces of all anchors at once are smaller.
PIECE_SIDE_PX, JOINT_PIECE_SIDE_PX = 512, 320
# Factor on the initial weights of the second convolution of a block, so that the sum over the blocks starts small.
INITIAL_RESIDUAL_SCALE = 0.2


class GuidedNetwork(nn.Module):
    """Maps planes of bands and constants to logits of the candidates and a residual.

    Parameters
    ----------
    width : int
        Features.
    depth : int
        Residual blocks.
    contexts : int
        Number of the first blocks before which the anchors exchange features.
    """

    def __init__(self, width: int = 32, depth: int = 5, contexts: int = 0) -> None:
        super().__init__()
        self.width, self.depth = width, depth
        self.first = Conv(PLANES * FOLD**2, width)
        self.constant_count = CONSTANTS if contexts else CONSTANTS_BEFORE
        # The name of a tensor in the weights files of this network.
        self.told = nn.Linear(self.constant_count, width)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(depth)))
        self.contexts = nn.ModuleList(SpectralContext(width) for _ in range(contexts))
        self.last = Conv(width, (CANDIDATES + 1) * FOLD**2)
        self._begin()

    def _begin(self) -> None:
        with torch.no_grad():
            for block in self.blocks.children():
                assert isinstance(block, Residual)
                block.second.weight.mul_(INITIAL_RESIDUAL_SCALE)
            nn.init.zeros_(self.last.weight)
            assert self.last.bias is not None
            nn.init.zeros_(self.last.bias)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Return the network with these weights; its sizes are read from their names and shapes."""
        depth, contexts = (
            len({name.split(".")[1] for name in tensors if name.startswith(f"{layers}.")})
            for layers in ("blocks", "contexts")
        )
        network = cls(tensors["first.weight"].shape[0], depth, contexts)
        network.load_state_dict(dict(tensors))
        return network

    def begun_with(self, tensors: Mapping[str, Tensor]) -> Self:
        """Load weights of a network of this width and depth, which may have fewer contexts; return the network.

        It then computes what they compute, until it is trained.
        """
        own = self.state_dict()
        # Constants that they do not read have the weight zero.
        padded = {
            k: functional.pad(v, (0, own[k].shape[1] - v.shape[1])) if v.dim() == 2 else v for k, v in tensors.items()
        }
        self.load_state_dict(own | padded)
        return self

    @property
    def is_joint(self) -> bool:
        """Whether the correction of an anchor depends on the others, so that all are given at once."""
        return len(self.contexts) > 0

    def reach(self, ratio: int) -> int:
        """Return the reach, lr pixels: two folded pixels per block, first and last convolution, and the fold."""
        reach_px = (FOLD * (2 * self.depth + 2) + FOLD) * averaged_px(ratio)
        return -(-reach_px // ratio)

    def pieces(self, region: Window, shape: tuple[int, int], ratio: int, origin: tuple[int, int]) -> Iterator[Tile]:
        """Yield pieces of a region with what the network reads around them, pixels of the target grid.

        The network's output on the core of each piece equals that on the whole window. The cores cover the region,
        and a few pixels before it at most.

        Parameters
        ----------
        region : Window
            Part of the window.
        shape : (int, int)
            Of the window.
        ratio : int
        origin : (int, int)
            As in `forward`.
        """
        averaged = averaged_px(ratio)
        cell = FOLD * averaged
        # Pieces begin where folded pixels begin.
        y0, x0 = region.y0 - (origin[0] + region.y0) % cell, region.x0 - (origin[1] + region.x0) % cell
        frame = region.y1 - y0, region.x1 - x0
        count = -(-max(frame) // (JOINT_PIECE_SIDE_PX if self.is_joint else PIECE_SIDE_PX))
        side = -(-max(frame) // (count * cell)) * cell
        # A cell for each convolution after the other, and one for the interpolation of averaged pixels.
        reach = cell * (2 * self.depth + 2 + (averaged > 1))
        for piece in Tiling(frame, side, reach):
            core = piece.core.moved(y0, x0)
            yield Tile(piece.index, core.clipped(shape), core.grown(reach).clipped(shape))

    def lowered(self, dtype: torch.dtype = torch.bfloat16) -> Self:
        """Convert all convolutions but the last to `dtype`, and return the network."""
        self.blocks.to(dtype)
        for context in self.contexts:
            context.down.to(dtype)
            context.up.to(dtype)
        return self

    def forward(
        self,
        planes: Tensor,
        constants: Tensor,
        ratio: int,
        origin: tuple[int, int] = (0, 0),
        *,
        relations: Tensor | None = None,
        orientations: int = 1,
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of the candidates at each pixel, and the residual.

        Parameters
        ----------
        planes : Tensor, shape (anchor, plane, Y, X)
            On the target grid; see `dualsr_geo.models.guided_correction`.
        constants : Tensor, shape (anchor, constant)
        ratio : int
        origin : (int, int)
            Row and column of the first pixel on the scene's target grid, so that the folded pixels
            do not depend on the tile.
        relations : Tensor, shape (anchor, anchor, relation), optional
            See `spectral_context.relation_features`. Without them each anchor is corrected by itself.
        orientations : int
            Number of the eight flips and quarter turns over which the result is averaged (test-time
            augmentation), 1 to 8. Each takes one more pass.

        Returns
        -------
        logits : Tensor, shape (anchor, candidate, Y, X)
        residual : Tensor, shape (anchor, Y, X)
        """
        size = planes.shape[2:]
        cell = FOLD * averaged_px(ratio)
        before = origin[0] % cell, origin[1] % cell
        after = tuple(-(n + b) % cell for n, b in zip(size, before, strict=True))
        if any(before + after):
            planes = functional.pad(planes, (before[1], after[1], before[0], after[0]), mode="replicate")
        constants = constants[:, : self.constant_count]
        outputs = [
            self._oriented(planes, constants, relations, averaged_px(ratio), *o) for o in ORIENTATIONS[:orientations]
        ]
        output = outputs[0] if orientations == 1 else torch.stack(outputs).mean(0)
        output = output[..., before[0] : before[0] + size[0], before[1] : before[1] + size[1]]
        return output[:, :-1], output[:, -1]

    def _oriented(
        self,
        planes: Tensor,
        constants: Tensor,
        relations: Tensor | None,
        averaged: int,
        turns: int,
        mirrored: bool,  # noqa: FBT001  # one of `ORIENTATIONS`
    ) -> Tensor:
        if turns % 2:
            order = torch.arange(constants.shape[1])
            order[list(GAINS)] = order[list(GAINS[::-1])]
            constants = constants[:, order]
        if not (turns or mirrored):
            return self._folded(planes, constants, relations, averaged)
        rotated = torch.rot90(planes, turns, (2, 3))
        output = self._folded(rotated.flip(3) if mirrored else rotated, constants, relations, averaged)
        return torch.rot90(output.flip(3) if mirrored else output, -turns, (2, 3))

    def _folded(self, planes: Tensor, constants: Tensor, relations: Tensor | None, averaged: int) -> Tensor:
        if averaged > 1:
            planes = functional.avg_pool2d(planes, averaged)
        features = self._first(planes, self.told(constants))
        for number, block in enumerate(self.blocks):
            if number < len(self.contexts):
                features = self.contexts[number](features, relations)
            features = block(features)
        output = functional.pixel_shuffle(self.last(features), FOLD).float()
        if averaged > 1:
            output = functional.interpolate(output, scale_factor=averaged, mode="bilinear", align_corners=False)
        return output

    def _first(self, planes: Tensor, added: Tensor) -> Tensor:
        """Return the features of planes (anchor, plane, Y, X), to which constants (anchor, feature) are added.

        Pixels are folded by the convolution itself: along x, folded pixels are neighbours in memory, and along y
        it takes every second row.
        """
        anchors, count, height, width = planes.shape
        rows = channels_last(planes).permute(0, 2, 3, 1).reshape(anchors, height, width // FOLD, FOLD * count)
        pairs = rows.permute(0, 3, 1, 2)
        folded = self.first.weight.view(self.width, count, FOLD, FOLD, *self.first.kernel_size)
        # From (feature, plane, within y, within x, y, x) to (feature, (within x, plane), (y, within y), x).
        weight = channels_last(folded.permute(0, 3, 1, 4, 2, 5).flatten(3, 4).flatten(1, 2))
        stride, padding = (FOLD, 1), (FOLD, 1)
        assert self.first.bias is not None
        if is_fused(pairs, weight):
            biases = self.first.bias + added
            each = [rectified(pairs[i : i + 1], weight, biases[i], padding, stride) for i in range(anchors)]
            return each[0] if anchors == 1 else torch.cat(each)
        features = functional.conv2d(pairs.to(weight.dtype), weight, self.first.bias, stride, padding)
        return (features + added.to(features.dtype)[:, :, None, None]).relu()


def averaged_px(ratio: int) -> int:
    """Return the number of target pixels along an axis that the network averages before it reads them."""
    return -(-ratio // MAX_FULL_RATIO)


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
