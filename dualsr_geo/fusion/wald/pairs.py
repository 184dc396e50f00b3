"""Wald pairs: the sample degraded once more, with the sample itself as the truth (Wald et al., 1997).

They are the basis of the weights of the candidates, the shrinkage of corrections, the error calibration,
the detail assessment and the fine stage. A survey makes one pair per ratio.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block, central_block, high_pass_pixels, stack
from dualsr_geo.fusion.candidates import CANDIDATES, OF_FEW_BANDS, usable
from dualsr_geo.fusion.few_bands.logarithms import logarithm_pixels
from dualsr_geo.fusion.scene_regression import GuideFit, SceneRegression, fit_scene_regression
from dualsr_geo.fusion.subspace import Subspace, estimate_subspace
from dualsr_geo.fusion.uncertainty import ConsistentStart
from dualsr_geo.fusion.wald.pair_noise import PairNoise
from dualsr_geo.fusion.wald.starts import consistent_start

# Smallest side of a pair of a ratio above 2, px.
MIN_SIDE_PX = 6
# Seeds of the noise that is added to the pairs of noisy scenes, and to those of noisy guides.
NOISE_SEED, GUIDE_NOISE_SEED = 1, 2


def pair_ratios(shape: tuple[int, int], ratio: int) -> list[int]:
    """Return the ratios of a scene's Wald pairs: 2, and the largest that leaves six pixels on a side."""
    side = min(shape)
    largest = next((r for r in (ratio, 4, 3, 2) if r <= ratio and side // r >= MIN_SIDE_PX), 2)
    return sorted({largest, 2})


def degrade_sample(
    blocks: Sequence[Block], psf: Psf, ratio: int, space: Subspace, noise: PairNoise | None = None
) -> list[tuple[Block, Tensor]]:
    """Degrade the sample once more; return each degraded block with its truth.

    Parameters
    ----------
    blocks : sequence of Block
        The sample.
    psf : Psf
        Blur of the scene, which degrades the guide.
    ratio : int
        Ratio of the pair. Its blur is Gaussian with the default MTF gain.
    space : Subspace
        On noisy scenes the truth is the projection on the subspace, and noise is added again.
    noise : PairNoise, optional
        Noise of the guide that the degraded guide keeps.
    """
    blur = Psf.from_mtf(ratio)
    generator, guide_generator = (torch.Generator().manual_seed(s) for s in (NOISE_SEED, GUIDE_NOISE_SEED))
    out = []
    for block in blocks:
        height, width = (n // ratio * ratio for n in block.shape)
        cut = (..., slice(height), slice(width))
        truth = _denoised(block.cube, space)[cut]
        guide = operator(psf, block.shape).degrade(block.guide)[cut]
        if noise is not None:
            guide = noise.added(guide, guide_generator)
        op = operator(blur, (height // ratio, width // ratio))
        lr = op.degrade(truth)
        if not space.keeps_rest:
            # Noise of the components in the bands: space.noise times the norm of the row of expand.
            level = torch.from_numpy(np.linalg.norm(space.expand, axis=1)).clamp_min(0)
            level = space.noise * level / level.median()
            lr = lr + level[:, None, None] * torch.randn(lr.shape, generator=generator)
        weight = op.degrade(block.weight[cut]).clamp(0, 1)
        out.append((Block(lr, weight, guide), truth))
    return out


def _denoised(cube: Tensor, space: Subspace) -> Tensor:
    """Return the projection of a cube on the subspace of a noisy scene; the cube itself on clean scenes."""
    if space.keeps_rest:
        return cube
    flat = cube.flatten(1).cpu().numpy()
    clean = space.expand @ space.components(flat) + space.mean[:, None]
    return torch.from_numpy(clean).view_as(cube)


@dataclass(frozen=True, eq=False)
class WaldPair:
    """The sample degraded once more, with its truth and its regressions.

    Attributes
    ----------
    blur : Psf
        Blur between the truth and the degraded sample; `blur.ratio` is the ratio of the pair.
    blocks : tuple of Block
        The degraded sample; the guide is on the grid of the truth.
    truths : tuple of Tensor, shape (band, ratio * y, ratio * x)
        The sample.
    space : Subspace
        Components of the degraded sample; on noisy scenes those of the scene.
    whole : WaldPair or None
        The pair of which this one is a part.
    """

    blur: Psf
    blocks: tuple[Block, ...]
    truths: tuple[Tensor, ...]
    space: Subspace
    whole: WaldPair | None = None
    _starts: dict[bytes, list[ConsistentStart]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls, blocks: Sequence[Block], psf: Psf, ratio: int, space: Subspace, noise: PairNoise | None = None
    ) -> WaldPair:
        """Degrade a sample; the parameters are those of `degrade_sample`."""
        degraded, truths = zip(*degrade_sample(blocks, psf, ratio, space, noise), strict=True)
        if space.keeps_rest:
            own = estimate_subspace(stack([b.cube for b in degraded]), stack([b.weight for b in degraded]))
            # What the scene does not need is interpolated in its pairs, too.
            space = own.leading(space.count)
        return cls(Psf.from_mtf(ratio), degraded, truths, space)

    @property
    def ratio(self) -> int:
        """Ratio by which the sample is degraded."""
        return self.blur.ratio

    @cached_property
    def spectra(self) -> NDArray[np.float32]:
        """All pixels of the degraded sample, shape (band, pixel)."""
        return stack([b.cube for b in self.blocks])

    @cached_property
    def weight(self) -> NDArray[np.float32]:
        """Validity of the pixels, 0..1, shape (pixel,)."""
        return stack([b.weight for b in self.blocks])

    @cached_property
    def guide(self) -> NDArray[np.float32]:
        """The guide degraded to the same pixels, shape (guide band, pixel)."""
        return stack([operator(self.blur, b.shape).degrade(b.guide) for b in self.blocks])

    @cached_property
    def regression(self) -> SceneRegression:
        """The scene-wide regressions of the degraded sample on the guide; those of the whole pair for a part."""
        if self.whole is not None:
            return self.whole.regression
        fine = high_pass_pixels(self.blocks, self.blur, self.space) if len(self.guide) > 1 else None
        logs = logarithm_pixels(self.blocks, self.blur, self.space)
        return fit_scene_regression(self.space.components(self.spectra), self.guide, self.weight, fine, logs)

    def guide_fit(self, weights: NDArray[np.float64]) -> GuideFit:
        """Return the regressions with these weights of the candidates, (band or component, candidate)."""
        return GuideFit(self.regression, mixture_of(self.space, weights), weights)

    def starts(self, weights: NDArray[np.float64] | None) -> Iterable[ConsistentStart]:
        """Return the training-free start of each block, the unguided one if there are no weights.

        Guided starts are computed once, for shrinkage and error calibration alike. Unguided ones serve the
        calibration only, so they are computed one after another and not kept.
        """
        if weights is None:
            return (consistent_start(b, self.blur, self.space, None) for b in self.blocks)
        key = weights.tobytes()
        if key not in self._starts:
            fit = self.guide_fit(weights)
            self._starts[key] = [consistent_start(b, self.blur, self.space, fit) for b in self.blocks]
        return self._starts[key]

    def part(self, max_blocks: int, side: int) -> WaldPair:
        """Return a pair of the central parts of some blocks, each at most `side` degraded pixels wide and high."""
        blocks, truths = [], []
        step = -(-len(self.blocks) // max_blocks)
        for block, truth in zip(self.blocks[::step], self.truths[::step], strict=True):
            both = Block(block.cube, block.weight, torch.cat([block.guide, truth]))
            cut = central_block(both, self.ratio, side)
            count = len(block.guide)
            blocks.append(Block(cut.cube, cut.weight, cut.guide[:count]))
            truths.append(cut.guide[count:])
        return WaldPair(self.blur, tuple(blocks), tuple(truths), self.space, self)


def mixture_of(space: Subspace, weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the weights of the candidates for each component.

    Parameters
    ----------
    space : Subspace
    weights : array, shape (band or component, candidate)
        By band on clean scenes, by component on noisy ones.
    """
    if not space.keeps_rest:
        return weights.astype(np.float32)
    # A product of another number of columns is rounded differently: scenes of several bands keep theirs.
    few = bool(weights[:, [CANDIDATES.index(c) for c in OF_FEW_BANDS]].any())
    columns = list(usable(2, few=few))
    out = np.zeros((space.count, weights.shape[1]), np.float32)
    out[:, columns] = space.share() @ np.ascontiguousarray(weights[:, columns])
    return out


class WaldPairs:
    """The Wald pairs of one sample, each made once.

    Parameters
    ----------
    blocks : sequence of Block
        The sample.
    psf : Psf
        Blur of the scene.
    space : Subspace
    noise : PairNoise, optional
        Noise of the guide that the pairs keep.
    """

    def __init__(self, blocks: Sequence[Block], psf: Psf, space: Subspace, noise: PairNoise | None = None) -> None:
        self.blocks, self.psf, self.space, self.noise = tuple(blocks), psf, space, noise
        self._pairs: dict[int, WaldPair] = {}

    def of_ratio(self, ratio: int) -> WaldPair:
        """Return the pair of a ratio."""
        if ratio not in self._pairs:
            self._pairs[ratio] = WaldPair.of(self.blocks, self.psf, ratio, self.space, self.noise)
        return self._pairs[ratio]

    @cached_property
    def degraded_twice(self) -> WaldPair:
        """The pair of ratio 2 of the sample degraded by 2."""
        return WaldPair.of(self.of_ratio(2).blocks, Psf.from_mtf(2), 2, self.space, self.noise)

    @property
    def ratios(self) -> list[int]:
        """The ratios that weights and shrinkage are estimated at, 2 first."""
        return pair_ratios(max((b.shape for b in self.blocks), key=min), self.psf.ratio)
