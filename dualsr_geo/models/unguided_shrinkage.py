"""Shrinkage factor of the unguided correction, estimated on degraded versions of the scene.

A Wald pair shows one of two faults of a scene. A scene with less detail than its grid can hold (resampled,
compressed, noisy) lacks the detail that the network predicts on the scene degraded by 2, which lowers the
best factor. A scene sharper than its PSF (sharpened, aliased, with an assumed PSF) differs from its degraded
version, whose PSF is known, so that the pair does not represent it. There the energy of the correction grows
from the degraded scene to the scene itself, whereas that of real detail is similar at both scales.

The evidence is measured at ratio 2 for every ratio of the scene, because pairs of larger ratios are small and
unreliable: on Jasper Ridge at ratio 8 the best factor is 1.2, 0.8 on the pair of ratio 2, and -2.5 on that of 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import components, stack
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.wald.starts import ridge
from dualsr_geo.models import unguided_correction
from dualsr_geo.models.shrinkage import Evidence, Prior, sums_by_part
from dualsr_geo.models.unguided_correction import Levels, Network, UnguidedInputs

# Ratio of the Wald pair.
RATIO = 2
# Number of bands that are corrected; 16 give the same factor.
BAND_COUNT = 4
# Number of scales: the scene, and its versions degraded by 2 and 4.
SCALE_COUNT = 3
# Smallest side of a degraded block, px.
MIN_SIDE_PX = 4
# Range of MTF gains in the training data.
TRAINED_GAINS = (0.03, 0.9)
PRIOR = Prior(mean=1.0, std=0.4, transfer_std=0.2)
# The factor is divided by this power of the excess energy; 0.5 would give the correction the energy at the coarser
# scales. Leaving out one of seven scenes in turn, the others select 0.6 five times, 0.5 and 0.8 once.
EXCESS_POWER = 0.6
NOISE_SEED = 1


@dataclass(frozen=True)
class UnguidedEvidence(Evidence):
    """Evidence of a scene and its degraded versions.

    Attributes
    ----------
    excess : float
        Energy of the correction on the scene over the geometric mean of that on its degraded versions; 1 if unknown.
    """

    excess: float = 1.0


@dataclass(frozen=True)
class _Scale:
    """The sample at one scale, as the network reads it."""

    cubes: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]
    levels: Levels


def unguided_shrinkage_factor(evidence: UnguidedEvidence) -> float:
    """Return the shrinkage factor of the correction, 0..1, reduced by the excess energy."""
    factor = PRIOR.combined([evidence.best], [evidence.error])
    return min(max(factor, 0.0), 1.0) / math.pow(max(evidence.excess, 1.0), EXCESS_POWER)


def evidence_of_scales(
    network: Network,
    blocks: Sequence[tuple[Tensor, Tensor]],
    psf: Psf,
    space: Subspace,
    noise: NDArray[np.floating],
) -> UnguidedEvidence:
    """Correct the sample and its degraded versions at ratio 2, and compare the corrections.

    Parameters
    ----------
    network : callable
        As in `unguided_correction.correct`.
    blocks : sequence of (Tensor, Tensor), shapes (band, y, x) and (y, x)
        The filled sample, and the validity of its pixels, 0..1.
    psf : Psf
        Blur of the scene, of any ratio.
    space : Subspace
    noise : array, shape (band,)
        Standard deviation of the noise; 0 where it cannot be separated from the signal.

    Returns
    -------
    UnguidedEvidence
        With `size` 0 for scenes too small to be degraded.
    """
    blocks = [(c, w) for c, w in blocks if min(w.shape) >= RATIO * MIN_SIDE_PX]
    if not blocks:
        return UnguidedEvidence(np.zeros(1), np.zeros(1))
    psf_2 = _psf_of_ratio_2(psf)
    observed = [unguided_correction.observed(space, cube, components(space, cube)) for cube, _ in blocks]
    weights = [weight for _, weight in blocks]
    inputs = UnguidedInputs.of(space, stack(observed), stack(weights), noise, BAND_COUNT)
    bands = list(inputs.anchors.bands)
    scales = _scales(_Scale(tuple(observed), tuple(weights), inputs.levels), psf_2, space)
    corrections = [[_correction(network, cube, s.levels, bands, psf_2) for cube in s.cubes] for s in scales]
    scene, *coarser = (_energy(c, scale.weights) for c, scale in zip(corrections, scales, strict=True))
    excess = scene / max(math.prod(coarser) ** (1 / len(coarser)), 1e-300)
    starts = [_start(cube, space, bands, psf_2) for cube in scales[1].cubes]
    sums = [
        sums_by_part(c, truth[bands, : x.shape[1], : x.shape[2]] - x, weight, RATIO)
        for c, truth, x, weight in zip(corrections[1], observed, starts, scales[1].weights, strict=True)
    ]
    gain, size = np.concatenate(sums, 1)
    return UnguidedEvidence(gain, size, excess=excess)


def _psf_of_ratio_2(psf: Psf) -> Psf:
    """Return the Gaussian PSF of ratio 2 with the same gains at the lr Nyquist frequency."""
    gains = (min(max(gain, TRAINED_GAINS[0]), TRAINED_GAINS[1]) for gain in unguided_correction.nyquist_gains(psf))
    y, x = (RATIO / math.pi * math.sqrt(-2 * math.log(gain)) for gain in gains)
    return Psf.gaussian(RATIO, (y, x))


def _scales(scene: _Scale, psf: Psf, space: Subspace) -> list[_Scale]:
    """Return the scene and its degraded versions, as many as the size of the sample allows."""
    generator = torch.Generator().manual_seed(NOISE_SEED)
    out = [scene]
    while len(out) < SCALE_COUNT and min(min(w.shape) for w in out[-1].weights) >= RATIO * MIN_SIDE_PX:
        out.append(_degraded(out[-1], psf, space, generator))
    return out


def _degraded(scale: _Scale, psf: Psf, space: Subspace, generator: torch.Generator) -> _Scale:
    """Return the sample degraded by 2; on noisy scenes with the noise of the components added again."""
    cubes, weights = [], []
    for cube, weight in zip(scale.cubes, scale.weights, strict=True):
        y, x = (n // RATIO for n in weight.shape)
        op = operator(psf, (y, x))
        lr = op.degrade(cube[:, : RATIO * y, : RATIO * x])
        if not space.keeps_rest:
            z = components(space, lr)
            lr = unguided_correction.observed(space, lr, z + space.noise * torch.randn(z.shape, generator=generator))
        cubes.append(lr)
        weights.append(op.degrade(weight[: RATIO * y, : RATIO * x]).clamp(0, 1))
    levels = Levels.of(stack(cubes), stack(weights), scale.levels.noise)
    return _Scale(tuple(cubes), tuple(weights), levels)


def _correction(network: Network, cube: Tensor, levels: Levels, bands: Sequence[int], psf: Psf) -> Tensor:
    """Return the correction of some bands of a block, (band, Y, X)."""
    shape = (cube.shape[1], cube.shape[2])
    closed = consistency(psf, shape, [0.0] * len(bands), operator(psf, shape))
    return unguided_correction.correct(network, cube, levels, bands, psf, closed)


def _start(cube: Tensor, space: Subspace, bands: Sequence[int], psf: Psf) -> Tensor:
    """Return the start of some bands by the closed form, of each band or, on noisy scenes, of the components."""
    shape, mean = (cube.shape[1], cube.shape[2]), torch.from_numpy(space.mean)[bands, None, None]
    if space.keeps_rest:
        planes, expand = cube[bands] - mean, torch.eye(len(bands))
    else:
        planes, expand = components(space, cube), torch.from_numpy(space.expand)[bands]
    ridges = ridge(planes.double().square().mean((1, 2)).numpy(), space.noise).tolist()
    hr = consistency(psf, shape, ridges, operator(psf, shape)).spread(planes)
    return (expand @ hr.flatten(1)).view(-1, *hr.shape[1:]) + mean


def _energy(corrections: Sequence[Tensor], weights: Sequence[Tensor]) -> float:
    """Return the mean square of a correction over the valid pixels of all blocks."""
    sums, counts = zip(*map(_square, corrections, weights), strict=True)
    return float(np.sum(sums) / max(np.sum(counts), 1e-300))


def _square(correction: Tensor, weight: Tensor) -> tuple[float, float]:
    valid = weight.double().repeat_interleave(RATIO, 0).repeat_interleave(RATIO, 1)
    return float((correction.square().sum(0) * valid).sum()), float(valid.sum())
