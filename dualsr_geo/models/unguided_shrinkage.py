"""Shrinkage factor of the unguided correction, estimated on degraded versions of the scene.

Two things can be wrong with a scene, and its Wald pair shows only the first. It may hold less than
its grid promises (resampled, compressed, noisy): then what the network finds on the scene degraded
by 2 is not in it. Or it may be sharper than its PSF (sharpened, aliased, a PSF merely assumed):
then the degraded scene, whose PSF is known, is no example of it. But the correction then grows from
the degraded scene to the scene itself, while real detail hardly changes from one scale to the next.

All is measured at ratio 2, whatever the scene's: pairs of larger ratios are small, and mislead (on
jasper at ratio 8 the pair of ratio 4 has a best factor of -2.5, that of ratio 2 0.8, and 1.2 was right).
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

RATIO = 2
# Bands that are corrected; 16 give the same factor.
BANDS = 4
# The scene, and its versions degraded by 2 and 4; each keeps so many pixels on both sides.
SCALES, MIN_SIDE_PX = 3, 4
# MTF gains that the network was trained on.
TRAINED_GAINS = (0.03, 0.9)
PRIOR = Prior(mean=1.0, std=0.4, transfer_std=0.2)
# The factor is divided by this power of the excess energy. 0.5 would reduce the correction to the energy of the
# coarser scales; leaving out one of seven scenes in turn, the others chose 0.6 five times, 0.5 and 0.8 once.
EXCESS_POWER = 0.6
NOISE_SEED = 1


@dataclass(frozen=True)
class UnguidedEvidence(Evidence):
    """How a correction does on a scene and its degraded versions.

    Attributes
    ----------
    excess : float
        Energy of the correction on the scene over that on its degraded versions (geometric mean); 1 if unknown.
    """

    excess: float = 1.0


@dataclass(frozen=True)
class _Scale:
    """The scene at one scale, as the network reads it."""

    cubes: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]
    levels: Levels


def unguided_shrinkage_factor(evidence: UnguidedEvidence) -> float:
    """Return how much of the correction is used, 0..1: the best factor with its prior, less the excess."""
    factor = PRIOR.combined([evidence.best], [evidence.error])
    return min(max(factor, 0.0), 1.0) / math.pow(max(evidence.excess, 1.0), EXCESS_POWER)


def evidence_of_scales(
    network: Network,
    blocks: Sequence[tuple[Tensor, Tensor]],
    psf: Psf,
    space: Subspace,
    noise: NDArray[np.floating],
) -> UnguidedEvidence:
    """Correct the scene and its degraded versions at ratio 2, and compare.

    Parameters
    ----------
    network : callable
        `UnguidedNetwork`, or what is called like it.
    blocks : sequence of (Tensor, Tensor), shapes (band, y, x) and (y, x)
        The sample, filled, and how valid its pixels are, 0..1.
    psf : Psf
        The surveyed blur, of any ratio.
    space : Subspace
    noise : array, shape (band,)
        Standard deviations, 0 where noise cannot be told from signal.

    Returns
    -------
    UnguidedEvidence
        Of size 0 for scenes too small to be degraded.
    """
    blocks = [(c, w) for c, w in blocks if min(w.shape) >= RATIO * MIN_SIDE_PX]
    if not blocks:
        return UnguidedEvidence(np.zeros(1), np.zeros(1))
    twin = _twin(psf)
    observed = [unguided_correction.observed(space, cube, components(space, cube)) for cube, _ in blocks]
    weights = [weight for _, weight in blocks]
    inputs = UnguidedInputs.of(space, stack(observed), stack(weights), noise, BANDS)
    bands = list(inputs.anchors.bands)
    scales = _scales(_Scale(tuple(observed), tuple(weights), inputs.levels), twin, space)
    corrections = [[_correction(network, cube, s.levels, bands, twin) for cube in s.cubes] for s in scales]
    scene, *coarser = (_energy(c, scale.weights) for c, scale in zip(corrections, scales, strict=True))
    excess = scene / max(math.prod(coarser) ** (1 / len(coarser)), 1e-300)
    starts = [_start(cube, space, bands, twin) for cube in scales[1].cubes]
    sums = [
        sums_by_part(c, truth[bands, : x.shape[1], : x.shape[2]] - x, weight, RATIO)
        for c, truth, x, weight in zip(corrections[1], observed, starts, scales[1].weights, strict=True)
    ]
    gain, size = np.concatenate(sums, 1)
    return UnguidedEvidence(gain, size, excess=excess)


def _twin(psf: Psf) -> Psf:
    """Return the PSF of ratio 2 that keeps as much at the lr Nyquist frequency."""
    gains = (min(max(gain, TRAINED_GAINS[0]), TRAINED_GAINS[1]) for gain in unguided_correction.nyquist_gains(psf))
    y, x = (RATIO / math.pi * math.sqrt(-2 * math.log(gain)) for gain in gains)
    return Psf.gaussian(RATIO, (y, x))


def _scales(scene: _Scale, twin: Psf, space: Subspace) -> list[_Scale]:
    generator = torch.Generator().manual_seed(NOISE_SEED)
    out = [scene]
    while len(out) < SCALES and min(min(w.shape) for w in out[-1].weights) >= RATIO * MIN_SIDE_PX:
        out.append(_degraded(out[-1], twin, space, generator))
    return out


def _degraded(scale: _Scale, twin: Psf, space: Subspace, generator: torch.Generator) -> _Scale:
    cubes, weights = [], []
    for cube, weight in zip(scale.cubes, scale.weights, strict=True):
        y, x = (n // RATIO for n in weight.shape)
        op = operator(twin, (y, x))
        lr = op.degrade(cube[:, : RATIO * y, : RATIO * x])
        if not space.keeps_rest:
            z = components(space, lr)
            lr = unguided_correction.observed(space, lr, z + space.noise * torch.randn(z.shape, generator=generator))
        cubes.append(lr)
        weights.append(op.degrade(weight[: RATIO * y, : RATIO * x]).clamp(0, 1))
    levels = Levels.of(stack(cubes), stack(weights), scale.levels.noise)
    return _Scale(tuple(cubes), tuple(weights), levels)


def _correction(network: Network, cube: Tensor, levels: Levels, bands: Sequence[int], twin: Psf) -> Tensor:
    shape = (cube.shape[1], cube.shape[2])
    closed = consistency(twin, shape, [0.0] * len(bands), operator(twin, shape))
    return unguided_correction.correct(network, cube, levels, bands, twin, closed)


def _start(cube: Tensor, space: Subspace, bands: Sequence[int], twin: Psf) -> Tensor:
    """Return the start of some bands: on clean scenes the closed form of each, on noisy ones that of the components."""
    shape, mean = (cube.shape[1], cube.shape[2]), torch.from_numpy(space.mean)[bands, None, None]
    if space.keeps_rest:
        planes, expand = cube[bands] - mean, torch.eye(len(bands))
    else:
        planes, expand = components(space, cube), torch.from_numpy(space.expand)[bands]
    ridges = ridge(planes.double().square().mean((1, 2)).numpy(), space.noise).tolist()
    hr = consistency(twin, shape, ridges, operator(twin, shape)).spread(planes)
    return (expand @ hr.flatten(1)).view(-1, *hr.shape[1:]) + mean


def _energy(corrections: Sequence[Tensor], weights: Sequence[Tensor]) -> float:
    """Return the mean square of a correction over the valid pixels of all blocks."""
    sums, counts = zip(*map(_square, corrections, weights), strict=True)
    return float(np.sum(sums) / max(np.sum(counts), 1e-300))


def _square(correction: Tensor, weight: Tensor) -> tuple[float, float]:
    valid = weight.double().repeat_interleave(RATIO, 0).repeat_interleave(RATIO, 1)
    return float((correction.square().sum(0) * valid).sum()), float(valid.sum())
