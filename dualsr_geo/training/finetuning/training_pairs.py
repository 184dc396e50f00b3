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

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import (
    candidates,
    change_detection,
    coarse_stage,
    subspace,
)
from dualsr_geo.fusion.blocks import Block, central_block, components, stack
from dualsr_geo.fusion.hole_filling import fill_holes
from dualsr_geo.fusion.prepared_guide import PreparedGuide, prepare_guide
from dualsr_geo.fusion.regression_inputs import prepare_inputs
from dualsr_geo.fusion.scene_regression import SceneRegression, fit_scene_regression
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.models.guided_correction import GuidedWindow
from dualsr_geo.models.guided_inputs import GuidedInputs
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.registration.shift import move_guide
from dualsr_geo.survey import wald_pairs
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
        return wald_pairs.ratios(max((b.shape for b in self.blocks), key=min), self.known.psf.ratio)


def sampled(samples: Sequence[Sample], known: Survey, most_px: int) -> Sampled:
    """Fill a scene's sample and move its guide, as the survey does; keep about `most_px` lr pixels."""
    margin = sample_margin(known.psf.ratio)
    assert known.guide_mean is not None
    blocks = []
    for sample in samples[:: max(1, sum(s.cube[0].size for s in samples) // most_px)]:
        assert sample.guide is not None
        cube, weight = fill_holes(torch.from_numpy(sample.cube)[list(known.used)], torch.from_numpy(known.space.mean))
        moved = torch.from_numpy(move_guide(sample.guide, known.moved_px, margin))
        op = operator(known.psf, (cube.shape[1], cube.shape[2]))
        guide = prepare_guide(moved, torch.from_numpy(known.guide_mean), op)
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
    space, psf = scene.known.space, scene.known.psf
    grams = [wald_pairs.errors(scene.blocks, psf, r, space) for r in scene.ratios]
    found = wald_pairs.weights(grams, by_energy=not space.keeps_rest)
    made = []
    for ratio in sorted(scene.ratios, reverse=True):
        shared = _shared(scene, ratio, found)
        for (block, truth), whole, cells in zip(shared.pairs, scene.blocks, held, strict=True):
            cut = np.s_[: truth.shape[1], : truth.shape[2]]
            valid = whole.weight[cut] > ALL_VALID
            learned = _learned(cells, max(1, side // MARGIN))[cut] & valid
            own = ratio == max(scene.ratios)
            if not bool(learned.any()):
                continue
            made.append(Pair(_prepared(shared, block, truth), own, truth, cells[cut] * valid, learned))
    return made


@dataclass(frozen=True)
class _Shared:
    """What the pairs of one ratio share; as in `gate.ask`."""

    pairs: list[tuple[Block, Tensor]]
    blur: Psf
    space: Subspace
    fit: SceneRegression
    mixture: NDArray[np.float32]
    terms: GuidedInputs


def _shared(scene: Sampled, ratio: int, found: NDArray[np.float64]) -> _Shared:
    space, blur = scene.known.space, Psf.from_mtf(ratio)
    both = wald_pairs.degraded(scene.blocks, scene.known.psf, ratio, space)
    spectra, weight = stack([b.cube for b, _ in both]), stack([b.weight for b, _ in both])
    guide = stack([operator(blur, b.shape).degrade(b.guide) for b, _ in both])
    own = subspace.estimate_subspace(spectra, weight) if space.keeps_rest else space
    fit = fit_scene_regression(own.components(spectra), guide, weight)
    mixture = (own.share() @ found if own.keeps_rest else found).astype(np.float32)
    return _Shared(both, blur, own, fit, mixture, GuidedInputs.of(own, fit, mixture, spectra, guide, weight))


def _prepared(shared: _Shared, block: Block, truth: Tensor) -> Prepared:
    """Make the start of a pair, and show it as the network will see it."""
    space, blur, mixture = shared.space, shared.blur, torch.from_numpy(shared.mixture)
    op = operator(blur, block.shape)
    z = components(space, block.cube)
    left = z - op.degrade(candidates.fit_mixture(prepare_inputs(z, block.guide, shared.fit, op, block.weight), mixture)
                          .evaluate(0, space.count))  # fmt: skip
    lams = wald_pairs.ridge((left.double() ** 2).mean((1, 2)).numpy(), space.noise).tolist()
    closed = consistency(blur, block.shape, lams, op)
    guided = coarse_stage.GuidedStart(PreparedGuide(block.guide, None, None), shared.fit, mixture)
    hr = coarse_stage.sharpen(z, block.weight, guided, closed, closed)
    window = GuidedWindow(space, block.cube, z, hr, guided, blur, closed, block.weight)
    return shown(window, shared.terms, truth, shared.terms.anchors.bands)
