"""Wald pairs of a scene for fine-tuning, and the blocks that are held out of the training.

The scene is the reference, the guide degraded to its pixels is the guide, and the scene degraded once
more is sharpened. Starts and inputs of the network are those of `dualsr_geo.models.guided_shrinkage`.
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
from dualsr_geo.fusion.wald.candidate_weights import scene_weights
from dualsr_geo.fusion.wald.pairs import WaldPairs
from dualsr_geo.models.guided_inputs import GuidedInputs, GuidedWindow
from dualsr_geo.models.guided_shrinkage import guided_window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.surveying.sampling import Sample
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.training.tasks.guided_samples import GuidedSample, guided_sample

# Number of held-out blocks that their side is chosen for, and the fewest for choosing and scoring weights.
TARGET_BLOCKS, MIN_BLOCKS = 32, 8
# Least side of a held-out block, lr pixels of the pair.
MIN_SIDE_LR_PX = 3
# The margin around a held-out block that is not trained on is its side divided by this: at least half a lr pixel
# of the pair, beyond which detail is hardly correlated.
SIDES_PER_MARGIN = 6
# Least weight of scene and guide of a pixel of the reference.
MIN_VALID_WEIGHT = 0.999


@dataclass(frozen=True)
class TrainingPair:
    """A sampled window of a scene as a Wald pair.

    Attributes
    ----------
    sample : GuidedSample
        With all its anchors.
    window : GuidedWindow
    inputs : GuidedInputs
    own_ratio : bool
        Whether it is of the scene's own ratio; only such pairs are scored.
    reference : Tensor, shape (band, Y, X)
        The scene, physical units.
    held_out : Tensor of int, shape (Y, X)
        Number of the held-out block, from 1 on; 0 elsewhere.
    mask : Tensor of bool, shape (Y, X)
        Pixels that the loss counts.
    """

    sample: GuidedSample
    window: GuidedWindow
    inputs: GuidedInputs
    own_ratio: bool
    reference: Tensor
    held_out: Tensor
    mask: Tensor

    @property
    def ratio(self) -> int:
        """Ratio by which the scene was degraded."""
        return self.sample.ratio

    @cached_property
    def start(self) -> Tensor:
        """The start of all bands, (band, Y, X), physical units."""
        window = self.window
        if self.inputs.spectral:
            centred = torch.einsum("bk,kyx->byx", window.expand, window.hr)
        else:
            centred = window.start(range(len(self.reference)), spectral=False)
        return centred + torch.from_numpy(window.space.mean)[:, None, None]


@dataclass(frozen=True)
class SampledScene:
    """A sample of a scene, and its survey.

    Attributes
    ----------
    blocks : tuple of Block
        The sampled windows that the guide covers, with the guide registered to the scene.
    survey : Survey
        With a guide.
    """

    blocks: tuple[Block, ...]
    survey: Survey

    @property
    def ratios(self) -> list[int]:
        """Ratios of the Wald pairs, 2 first."""
        return self.wald_pairs.ratios

    @cached_property
    def wald_pairs(self) -> WaldPairs:
        """Wald pairs of the scene, each made once."""
        denoising = self.survey.denoising
        noise = None if denoising is None else denoising.pair_noise
        return WaldPairs(self.blocks, self.survey.psf, self.survey.space, noise)


def sample_scene_blocks(samples: Sequence[Sample], survey: Survey, max_px: int) -> SampledScene:
    """Fill the holes of a sample and register its guide, as the survey does; use about `max_px` lr pixels."""
    margin = sample_margin(survey.psf.ratio)
    assert survey.guide is not None
    blocks = []
    for sample in samples[:: max(1, sum(s.cube[0].size for s in samples) // max_px)]:
        assert sample.guide is not None
        cube, weight = fill_holes(torch.from_numpy(sample.cube)[list(survey.used)], torch.from_numpy(survey.space.mean))
        moved = torch.from_numpy(survey.registered(sample.guide, margin))
        op = operator(survey.psf, (cube.shape[1], cube.shape[2]))
        guide = prepare_guide(moved, torch.from_numpy(survey.guide.mean), op)
        if guide is not None and survey.changes is not None:
            guide, _ = change_detection.withhold_changes(survey.changes, cube, guide, op)
        if guide is not None:
            ones = torch.ones(cube.shape[1:])
            weights = [ones if w is None else w for w in (weight, guide.weight)]
            block, side = Block(cube, weights[0] * weights[1], guide.values), int(max_px**0.5)
            blocks.append(central_block(block, survey.psf.ratio, side) if cube[0].numel() > side**2 else block)
    return SampledScene(tuple(blocks), survey)


# ---- held-out blocks ---------------------------------------------------------------------


def held_side(shapes: Sequence[tuple[int, int]], ratio: int) -> int | None:
    """Return the side of held-out blocks, pixels of the scene; None if the windows are too small for `MIN_BLOCKS`.

    Parameters
    ----------
    shapes : sequence of (int, int)
        Rows and columns of the sampled windows.
    ratio : int
        Of the Wald pair; the side is a multiple of the ratio.
    """
    min_side = MIN_SIDE_LR_PX * ratio
    for side in range(max(map(min, shapes)) // 3 // ratio * ratio, min_side, -ratio):
        if _count(shapes, side) >= TARGET_BLOCKS:
            return side
    return min_side if _count(shapes, min_side) >= MIN_BLOCKS else None


def _count(shapes: Sequence[tuple[int, int]], side: int) -> int:
    return sum((height // side // 2) * (width // side // 2) for height, width in shapes)


def held_out_blocks(shape: tuple[int, int], side: int, first: int) -> NDArray[np.int32]:
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
        Number of the held-out block; 0 elsewhere. Odd and even numbers alternate along y and x.
    """
    out = np.zeros(shape, np.int32)
    rows, columns = shape[0] // side // 2, shape[1] // side // 2
    for i in range(rows):
        for j in range(columns):
            # Serpentine, so that odd and even numbers alternate along y, too, for any number of columns.
            number = first + i * columns + (j if i % 2 == 0 else columns - 1 - j)
            y, x = (2 * i + 1) * side, (2 * j + 1) * side
            out[y : y + side, x : x + side] = number
    return out


def _outside(held_out: Tensor, margin: int) -> Tensor:
    """Return the mask of the pixels farther than a margin from every held-out block."""
    near = torch.nn.functional.max_pool2d((held_out > 0).float()[None], 2 * margin + 1, 1, margin)
    return near[0] == 0


# ---- pairs -------------------------------------------------------------------------------


def training_pairs(scene: SampledScene, side: int, first: int) -> list[TrainingPair]:
    """Return the Wald pairs of a scene: of its own ratio, or the largest that it has room for, and of 2.

    Parameters
    ----------
    scene : SampledScene
    side : int
        Of held-out blocks; the same ones at every ratio.
    first : int
        Number of the first held-out block.
    """
    held_out = []
    for block in scene.blocks:
        held_out.append(torch.from_numpy(held_out_blocks(block.shape, side, first)))
        first = max(first, int(held_out[-1].max()) + 1)
    weights, _ = scene_weights(scene.wald_pairs)
    out = []
    for ratio in sorted(scene.ratios, reverse=True):
        pair = scene.wald_pairs.of_ratio(ratio)
        inputs = GuidedInputs.of(pair.space, pair.guide_fit(weights), pair.spectra, pair.guide, pair.weight)
        windows = [
            guided_window(block, start, pair.blur, pair.space)
            for block, start in zip(pair.blocks, pair.starts(weights), strict=True)
        ]
        for window, truth, block, numbers in zip(windows, pair.truths, scene.blocks, held_out, strict=True):
            inside = np.s_[: truth.shape[1], : truth.shape[2]]
            valid = block.weight[inside] > MIN_VALID_WEIGHT
            mask = _outside(numbers, max(1, side // SIDES_PER_MARGIN))[inside] & valid
            if not bool(mask.any()):
                continue
            sample = guided_sample(window, inputs, truth, inputs.anchors.bands)
            is_own = ratio == max(scene.ratios)
            out.append(TrainingPair(sample, window, inputs, is_own, truth, numbers[inside] * valid, mask))
    return out
