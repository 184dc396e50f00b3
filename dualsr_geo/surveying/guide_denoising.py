"""The strength with which a guide is denoised, chosen on the scene's own Wald pair.

The pair keeps the guide's noise: noise of the careful estimate is added to the degraded guide, and the guide is
denoised before and after. A filter that is too strong removes detail of the scene, and loses on the pair; one
that is too weak lets noise into the product. A guide that gains nothing is left as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import MIN_VALID_PX, Block, Filled
from dualsr_geo.fusion.candidates import usable
from dualsr_geo.fusion.guide_noise.filter import GuideFilter
from dualsr_geo.fusion.guide_noise.level import NoiseLevel, estimate_noise_level
from dualsr_geo.fusion.guide_noise.outliers import without_outliers
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.wald.candidate_weights import candidate_errors, candidate_weights, mixture_errors
from dualsr_geo.fusion.wald.pair_noise import PairNoise
from dualsr_geo.fusion.wald.pairs import WaldPairs
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.surveying.sampling import guided_blocks

Array = NDArray[np.float32]

# Factor on the estimate from the guide's own detail, for the strongest filter that is tried.
STRONGEST_FACTOR = 1.5
# A stronger filter is chosen only if it lowers the logarithm of the squared error on the pair by at least these:
# the first filter against none, and each one further. 0.01 is 0.04 dB.
FIRST_STEP, FURTHER_STEP = 0.005, 0.02
# Noise that a filter does not remove because it is not white is kept in the pairs with this factor on the estimate
# from the scene: of 0.3, 0.5 and 0.7, the second gives the best products of JPEG guides.
COMPRESSED_FACTOR = 0.5
# Noise that raises the logarithm of the squared error on the pair by less than this does not matter.
NEGLIGIBLE = 0.005
# White noise that raises it by less is not worth trying filters; the step for the first one is five times as large.
LEAST_LOSS = 0.001
# A guide of one band is denoised only where the estimate from the scene exceeds that from the guide by at most this
# factor. Otherwise the guide has detail that the scene's bands do not explain, which a filter takes away with the noise:
# with 1 % of noise the real pans of WorldView-2 and SpaceNet 6 (factors of 1.4 and 2.4) lose 0.2 dB by it.
AGREEMENT_FACTOR = 1.25
# The filters are compared on the central parts of the sample, so many lr pixels in all.
JUDGED_PX = 4096


@dataclass(frozen=True)
class GuideDenoising:
    """The guide's noise, and the filter against it; part of the survey.

    Attributes
    ----------
    noise : NoiseLevel
    filter : GuideFilter or None
        None where no filter gains.
    gain_db : float
        By how much the filter lowers the error on the Wald pair, dB; 0 without a filter.
    loss_db : float
        By how much the noise that is left raises the error on the Wald pair, dB.
    """

    noise: NoiseLevel
    filter: GuideFilter | None
    gain_db: float
    loss_db: float

    @property
    def matters(self) -> bool:
        """Whether the noise changes the product noticeably."""
        return self.filter is not None or self.loss_db > _decibels(NEGLIGIBLE)

    @property
    def pair_noise(self) -> PairNoise | None:
        """The noise that Wald pairs keep to judge corrections and errors; None if it does not matter."""
        if not self.matters:
            return None
        return self.weights_noise or _kept(self.noise, self.filter)

    @property
    def weights_noise(self) -> PairNoise | None:
        """The noise that the pairs of the candidates' weights keep: what a filter leaves of noise that is not white.

        White noise is left out: the weights of a denoised guide are better without it (docs/algorithm.md).
        """
        if self.noise.white or not self.matters:
            return None
        return PairNoise(self.noise.directions * (COMPRESSED_FACTOR * self.noise.from_scene))


@dataclass(frozen=True)
class GuidedSample:
    """The sample of a survey with its guide as read.

    Attributes
    ----------
    filled : tuple of (Tensor, Tensor), shapes (band, y, x) and (y, x)
    guides : tuple of array, shape (guide band, ratio * y + 2 * margin, ratio * x + 2 * margin)
    weights : tuple of Tensor, shape (y, x)
        0 where the guide is not used.
    psf : Psf
    moved_px : (float, float)
        Shift of the guide that is undone, hr pixels.
    space : Subspace
    """

    filled: tuple[Filled, ...]
    guides: tuple[Array, ...]
    weights: tuple[torch.Tensor, ...]
    psf: Psf
    moved_px: tuple[float, float]
    space: Subspace

    def blocks(self, guide_filter: GuideFilter | None) -> list[Block]:
        """Return the blocks with the guide denoised and registered."""
        guides = self.guides if guide_filter is None else [denoised(guide_filter, g) for g in self.guides]
        blocks, _ = guided_blocks(self.filled, guides, self.psf, self.moved_px)
        return [replace(block, weight=weight) for block, weight in zip(blocks, self.weights, strict=True)]

    def central(self, max_px: int) -> GuidedSample:
        """Return the central parts of the windows, at most so many lr pixels in all."""
        if sum(w.numel() for w in self.weights) <= max_px:
            return self
        side, ratio = int((max_px / len(self.weights)) ** 0.5), self.psf.ratio
        margin, filled, guides, weights = 2 * sample_margin(ratio), [], [], []
        for (cube, valid), guide, weight in zip(self.filled, self.guides, self.weights, strict=True):
            rows, columns = (slice(max(0, (n - side) // 2), (n + side) // 2) for n in weight.shape)
            hr_rows, hr_columns = (slice(ratio * s.start, ratio * min(s.stop, n) + margin)
                                   for s, n in zip((rows, columns), weight.shape, strict=True))  # fmt: skip
            filled.append((cube[:, rows, columns], valid[rows, columns]))
            guides.append(guide[:, hr_rows, hr_columns])
            weights.append(weight[rows, columns])
        return replace(self, filled=tuple(filled), guides=tuple(guides), weights=tuple(weights))


def denoised(guide_filter: GuideFilter, guide: Array, device: str | torch.device = "cpu") -> Array:
    """Return a guide (guide band, Y, X) denoised on a device, NaN where it is NaN."""
    return np.asarray(guide_filter(torch.from_numpy(np.ascontiguousarray(guide)).to(device)).cpu().numpy())


def choose_denoising(sample: GuidedSample, scene_noise: NDArray[np.float64]) -> GuideDenoising | None:
    """Estimate the noise of a guide, and choose the filter against it.

    Parameters
    ----------
    sample : GuidedSample
    scene_noise : array, shape (band,)
        Standard deviation of the scene's noise, physical units.

    Returns
    -------
    GuideDenoising or None
        None where the noise cannot be estimated.
    """
    guides = [torch.from_numpy(np.ascontiguousarray(g)) for g in sample.guides]
    valid = [torch.isfinite(g).all(0) for g in guides]
    blocks = without_outliers(sample.blocks(None), sample.psf, sample.space)
    noise = estimate_noise_level(guides, valid, blocks, sample.psf, sample.space, scene_noise)
    if noise is None or not noise.level.any():
        return None
    part = sample.central(JUDGED_PX)
    if sum(int((w > 0).sum()) for w in part.weights) < MIN_VALID_PX:
        return None
    return _chosen(part, noise)


def _chosen(sample: GuidedSample, noise: NoiseLevel) -> GuideDenoising:
    """Return the filter that serves the sample best."""
    blocks = sample.blocks(None)
    clean = _pair_error(blocks, sample, None)
    first = _pair_error(blocks, sample, _kept(noise, None))
    least, chosen = first, None
    # White noise that costs next to nothing leaves a filter nothing to gain.
    is_due = _is_confirmed(noise) and (not noise.white or first - clean > LEAST_LOSS)
    for level in strengths(noise) if is_due else ():
        guide_filter = GuideFilter(noise.mean, noise.directions, level)
        error = _pair_error(sample.blocks(guide_filter), sample, _kept(noise, guide_filter))
        if error < least - (FIRST_STEP if chosen is None else FURTHER_STEP):
            least, chosen = error, guide_filter
    return GuideDenoising(noise, chosen, _decibels(first - least), max(0.0, _decibels(least - clean)))


def _is_confirmed(noise: NoiseLevel) -> bool:
    """Return whether both estimates of the noise of a one-band guide agree; True with more bands."""
    return len(noise.level) > 1 or bool(noise.from_scene[0] <= AGREEMENT_FACTOR * noise.from_guide[0])


def strengths(noise: NoiseLevel) -> list[Array]:
    """Return the levels of the filters that are tried, weakest first, (direction,) each."""
    if not noise.white:
        return [(noise.level / 2).astype(np.float32), noise.level]
    stronger: Array = np.maximum(noise.from_guide, noise.level)
    return [noise.level, stronger, (STRONGEST_FACTOR * stronger).astype(np.float32)]


def _kept(noise: NoiseLevel, guide_filter: GuideFilter | None) -> PairNoise:
    """Return noise of the careful estimate, which the filter then reduces."""
    return PairNoise(noise.directions * noise.level, guide_filter)


def _pair_error(blocks: Sequence[Block], sample: GuidedSample, noise: PairNoise | None) -> float:
    """Return the logarithm of the mixture's squared error in all bands on the Wald pairs that keep the noise."""
    pairs = WaldPairs(blocks, sample.psf, sample.space, noise)
    # The candidates that avoid the guide's weak directions hide what noise in them does.
    errors = [candidate_errors(pairs.of_ratio(ratio), usable(1)) for ratio in pairs.ratios]
    weights = candidate_weights(errors, by_energy=not sample.space.keeps_rest)
    return float(np.mean([np.log(max(mixture_errors(e, weights).sum(), 1e-300)) for e in errors]))


def _decibels(logarithm: float) -> float:
    return 10 / math.log(10) * logarithm
