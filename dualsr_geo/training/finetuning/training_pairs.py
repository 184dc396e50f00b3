"""What one scene teaches: its own Wald pairs, and which of their pixels are held out.

The scene is the reference, its guide degraded to it the guide, and the scene degraded once more what
is to be sharpened. Start and terms are made as `dualsr_geo.survey.guided_shrinkage` makes them, so that the network is
taught on what it will see. Some blocks of the scene are never learned on: they choose and judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.operators import operator
from dualsr_geo.fusion import change_detection
from dualsr_geo.fusion.blocks import Block, central_block
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.prepared_guide import prepare_guide
from dualsr_geo.fusion.wald.candidate_weights import candidate_errors, candidate_weights
from dualsr_geo.fusion.wald.pairs import WaldPairs
from dualsr_geo.models.guided_inputs import GuidedInputs
from dualsr_geo.models.guided_shrinkage import guided_window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.registration.shift import move_guide
from dualsr_geo.survey.sampling import Sample
from dualsr_geo.survey.survey import Survey
from dualsr_geo.training.guided_task import Prepared, shown

# Held-out blocks that are aimed at, and the fewest that can both choose and judge.
WANTED, FEWEST = 32, 8
# Least side of a held-out block, lr pixels of the pair.
LEAST_SIDE = 3
# No pixel nearer to a held-out block than a sixth of its side is learned: half a lr pixel of the pair
# or more, beyond which the detail that is to be learned hardly resembles itself.
MARGIN = 6
# A pixel is a reference where scene and guide are all there.
ALL_VALID = 0.999


@dataclass(frozen=True)
class Pair:
    """A sampled window of a scene as a Wald pair.

    Attributes
    ----------
    prepared : Prepared
        With all its anchors.
    own : bool
        Whether it is of the scene's own ratio, and so judges.
    reference : Tensor, shape (band, Y, X)
        The scene, physical units.
    held : Tensor of int, shape (Y, X)
        Number of the held-out block, from 1 on; 0 where none is.
    learned : Tensor of bool, shape (Y, X)
        Where the loss counts.
    """

    prepared: Prepared
    own: bool
    reference: Tensor
    held: Tensor
    learned: Tensor

    @property
    def ratio(self) -> int:
        """By which the scene was degraded."""
        return self.prepared.window.psf.ratio

    @cached_property
    def start(self) -> Tensor:
        """The start of all bands, (band, Y, X), physical units."""
        window = self.prepared.window
        if self.prepared.terms.spectral:
            made = torch.einsum("bk,kyx->byx", window.expand, window.hr)
        else:
            made = window.start(range(len(self.reference)), spectral=False)
        return made + torch.from_numpy(window.space.mean)[:, None, None]


@dataclass(frozen=True)
class Sampled:
    """A scene as it was surveyed.

    Attributes
    ----------
    blocks : tuple of Block
        What of the sample a guide covers, the guide moved onto the scene.
    known : Survey
        With a guide.
    """

    blocks: tuple[Block, ...]
    known: Survey

    @property
    def ratios(self) -> list[int]:
        """The ratios of its Wald pairs, 2 first."""
        return self.wald_pairs.ratios

    @cached_property
    def wald_pairs(self) -> WaldPairs:
        """The scene's Wald pairs, each made once."""
        return WaldPairs(self.blocks, self.known.psf, self.known.space)


def sampled(samples: Sequence[Sample], known: Survey, most_px: int) -> Sampled:
    """Fill a scene's sample and move its guide, as the survey does; keep about `most_px` lr pixels."""
    margin = sample_margin(known.psf.ratio)
    assert known.guide is not None
    blocks = []
    for sample in samples[:: max(1, sum(s.cube[0].size for s in samples) // most_px)]:
        assert sample.guide is not None
        cube, weight = fill_holes(torch.from_numpy(sample.cube)[list(known.used)], torch.from_numpy(known.space.mean))
        moved = torch.from_numpy(move_guide(sample.guide, known.placement.moved_px, margin))
        op = operator(known.psf, (cube.shape[1], cube.shape[2]))
        guide = prepare_guide(moved, torch.from_numpy(known.guide.mean), op)
        if guide is not None and known.changes is not None:
            guide, _ = change_detection.withhold_changes(known.changes, cube, guide, op)
        if guide is not None:
            ones = torch.ones(cube.shape[1:])
            both = [ones if w is None else w for w in (weight, guide.weight)]
            block, side = Block(cube, both[0] * both[1], guide.values), int(most_px**0.5)
            blocks.append(central_block(block, known.psf.ratio, side) if cube[0].numel() > side**2 else block)
    return Sampled(tuple(blocks), known)


# ---- what is held out --------------------------------------------------------------------


def held_side(shapes: Sequence[tuple[int, int]], ratio: int) -> int | None:
    """Return the side of held-out blocks, pixels of the scene; None where windows are too small for enough.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Rows and columns of the sampled windows.
    ratio : int
        Of the Wald pair; the side is a multiple of it.
    """
    least = LEAST_SIDE * ratio
    for side in range(max(map(min, shapes)) // 3 // ratio * ratio, least, -ratio):
        if _count(shapes, side) >= WANTED:
            return side
    return least if _count(shapes, least) >= FEWEST else None


def _count(shapes: Sequence[tuple[int, int]], side: int) -> int:
    return sum((height // side // 2) * (width // side // 2) for height, width in shapes)


def held_out(shape: tuple[int, int], side: int, first: int) -> NDArray[np.int32]:
    """Hold out every other block of every other row of blocks, a quarter of a window.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the window.
    side : int
        Of a block.
    first : int
        Number of the first block.

    Returns
    -------
    array, shape (y, x)
        The block's number; 0 where nothing is held out. Odd and even ones lie side by side.
    """
    out = np.zeros(shape, np.int32)
    rows, columns = shape[0] // side // 2, shape[1] // side // 2
    for i in range(rows):
        for j in range(columns):
            # Serpentine, so that above an odd number lies an even one, however many columns there are.
            number = first + i * columns + (j if i % 2 == 0 else columns - 1 - j)
            y, x = (2 * i + 1) * side, (2 * j + 1) * side
            out[y : y + side, x : x + side] = number
    return out


def _learned(held: Tensor, margin: int) -> Tensor:
    """Return what is no held-out block and not within a margin of one."""
    near = torch.nn.functional.max_pool2d((held > 0).float()[None], 2 * margin + 1, 1, margin)
    return near[0] == 0


# ---- the pairs ---------------------------------------------------------------------------


def pairs(scene: Sampled, side: int, first: int) -> list[Pair]:
    """Return the Wald pairs of a scene, of its own ratio, or what it is large enough for, and of 2.

    Parameters
    ----------
    scene : Sampled
    side : int
        Of held-out blocks; the same ones at every ratio.
    first : int
        Number of the first held-out block.
    """
    held = []
    for block in scene.blocks:
        held.append(torch.from_numpy(held_out(block.shape, side, first)))
        first = max(first, int(held[-1].max()) + 1)
    errors = [candidate_errors(scene.wald_pairs.of_ratio(r)) for r in scene.ratios]
    weights = candidate_weights(errors, by_energy=not scene.known.space.keeps_rest)
    made = []
    for ratio in sorted(scene.ratios, reverse=True):
        pair = scene.wald_pairs.of_ratio(ratio)
        inputs = GuidedInputs.of(pair.space, pair.guide_fit(weights), pair.spectra, pair.guide, pair.weight)
        windows = [
            guided_window(block, start, pair.blur, pair.space)
            for block, start in zip(pair.blocks, pair.starts(weights), strict=True)
        ]
        for window, truth, whole, cells in zip(windows, pair.truths, scene.blocks, held, strict=True):
            cut = np.s_[: truth.shape[1], : truth.shape[2]]
            valid = whole.weight[cut] > ALL_VALID
            learned = _learned(cells, max(1, side // MARGIN))[cut] & valid
            own = ratio == max(scene.ratios)
            if not bool(learned.any()):
                continue
            made.append(
                Pair(shown(window, inputs, truth, inputs.anchors.bands), own, truth, cells[cut] * valid, learned)
            )
    return made
