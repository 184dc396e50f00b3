"""Training task of the unguided network: correct the training-free start towards a reference.

One network learns all ratios. The closed form is inside the loss: only the part of a correction
that degrades to nothing is learned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.degradation.consistency import Consistency, consistency
from dualsr_geo.degradation.operators import Operator, operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import InputError
from dualsr_geo.fusion.wald.starts import ridge
from dualsr_geo.models.networks.unguided import UnguidedNetwork
from dualsr_geo.models.unguided_correction import Levels, correct, moved, null_space_part, nyquist_gains, planes
from dualsr_geo.training import augmentation
from dualsr_geo.training.augmentation import Floats, Rng

# Default fields of `TrainingConfig`; the shipped weights took 20 000 steps.
CONFIG: Mapping[str, Any] = {
    "steps": 20_000,
    "rate": 2e-3,
    "schedule": "cosine",
    "warmup": 200,
    "optimiser": "adamw",
    "weight_decay": 1e-4,
    "largest_gradient": 1.0,
    "average": 0.998,
    "bf16": True,
}
# Shares of the steps by ratio.
RATIO_SHARES = {2: 0.15, 3: 0.08, 4: 0.57, 8: 0.2}
# Sides of the patches of each ratio, lr pixels; small scenes need small ones.
SIDES_LR_PX = {2: (24, 32), 3: (16, 24), 4: (16, 24, 32), 8: (12, 16, 24)}
# Patches of a step, and bands of a patch.
PATCHES_PER_STEP, BANDS_PER_PATCH = 4, 5
# Share of the patches with noise, and the range of its standard deviation, in those of the lr bands.
NOISY_SHARE, NOISE_STDS = 0.2, (0.01, 0.2)
# Share of the patches whose bands are standardised by the scene's mean and deviation, as a product's are;
# the others, by their own, have equal weights.
SCENE_LEVELS_SHARE = 0.5
# Least variance of a noisy band, in variances of the noise, and least deviation of any, share of its mean.
MIN_NOISY_VARIANCE, MIN_STD_SHARE = 0.02, 1e-6
# A patch with less contrast than this share of its scene's is drawn again, so many times.
MIN_CONTRAST_SHARE, MAX_DRAWS = 0.05, 6
# Least error of a start that the loss is divided by, in standard deviations of the band.
MIN_ERROR_STD = 0.004
# The loss is quadratic up to so many times the start's error. With 1 the network learns the median of the
# possible corrections, and corrects a fifth to a third too little.
HUBER_BETA = 4.0
# Bounds of the weights of a step's bands, which grow with the root of their errors.
WEIGHT_BOUNDS = (0.2, 3.0)
# Of validation: the ratio, and the number of bands.
VALIDATION_RATIO, VALIDATION_BANDS = 4, 5


@dataclass(frozen=True)
class Observation:
    """Degradation of the patches of a step.

    Attributes
    ----------
    psf, assumed_psf : Psf
        The one that degrades them, and the one that the closed form is given.
    side : int
        lr pixels.
    """

    psf: Psf
    assumed_psf: Psf
    side: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns on the lr grid."""
        return self.side, self.side

    @cached_property
    def operator(self) -> Operator:
        """Operator that degrades a patch."""
        return operator(self.psf, self.shape)

    def closed_form(self, lams: Sequence[float], device: torch.device | str = "cpu") -> Consistency:
        """Return the closed form of the assumed PSF for bands of these ridges."""
        return consistency(self.assumed_psf, self.shape, lams, operator(self.assumed_psf, self.shape, device=device))


@dataclass(frozen=True)
class Batch:
    """Bands of several patches of the same degradation.

    Attributes
    ----------
    planes : Tensor, shape (sample, plane, y, x)
    start, reference : Tensor, shape (sample, ratio * y, ratio * x)
    std, error : Tensor, shape (sample,)
        The band's deviation, and the root mean square error of the start.
    observation : Observation
    """

    planes: Tensor
    start: Tensor
    reference: Tensor
    std: Tensor
    error: Tensor
    observation: Observation


@dataclass(frozen=True)
class UnguidedTask:
    """Training of the unguided network on patches of references.

    Attributes
    ----------
    references, validation : mapping of str to array, shape (band, y, x)
        Scenes without NaN, any units.
    seed : int
    width, depth : int
        Of the network.
    """

    references: Mapping[str, Floats]
    validation: Mapping[str, Floats] = field(default_factory=dict)
    seed: int = 0
    width: int = 48
    depth: int = 4

    def __post_init__(self) -> None:
        """Check that every ratio has a scene that is large enough."""
        for ratio, sides in SIDES_LR_PX.items():
            side = ratio * min(sides)
            if not self._large_enough(side):
                raise InputError(
                    f"No reference has {side} x {side} pixels, which a patch of ratio {ratio} needs. Give larger scenes."
                )

    def network(self) -> UnguidedNetwork:
        """Return the network before its first step; it corrects nothing."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return UnguidedNetwork(self.width, self.depth)

    def batch(self, step: int) -> Batch:
        """Return the samples of one step."""
        rng = np.random.default_rng((self.seed, step))
        ratio = int(rng.choice(list(RATIO_SHARES), p=list(RATIO_SHARES.values())))
        side = int(rng.choice([s for s in SIDES_LR_PX[ratio] if self._large_enough(ratio * s)]))
        observation = Observation(*augmentation.draw_psfs(rng, ratio), side)
        columns = zip(*(self._sample(rng, observation) for _ in range(PATCHES_PER_STEP)), strict=True)
        inputs, start, reference, std, error = map(torch.cat, columns)
        return Batch(inputs, start, reference, std, error, observation)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the error of the corrected start in units of the start's own error."""
        psf, device = batch.observation.assumed_psf, next(network.parameters()).device
        std, start_error = batch.std.to(device), batch.error.to(device)
        detail = network(batch.planes.to(device), psf.ratio) * std[:, None, None]
        closed = batch.observation.closed_form([0.0] * len(detail), device)
        # In float32: in bfloat16 a result is not consistent with the scene.
        with torch.autocast(device.type, enabled=False):
            corrected = batch.start.to(device) + null_space_part(moved(detail.float(), psf.shift_px), closed)
        error = (corrected - batch.reference.to(device)) / start_error[:, None, None]
        relative = start_error / std
        weight = (relative / relative.mean()).sqrt().clamp(*WEIGHT_BOUNDS)
        losses = functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=HUBER_BETA)
        return (weight * losses.mean((1, 2))).mean()

    def validate(self, network: nn.Module) -> dict[str, dict[str, float]]:
        """Return PSNR and spectral angle of a few bands of each scene, of the start and corrected."""
        with torch.inference_mode():
            return {name: _validate(network, cube) for name, cube in self.validation.items()}

    def _large_enough(self, side: int) -> list[str]:
        """Return the names of references that hold a patch of this side, hr pixels."""
        return [name for name, cube in self.references.items() if min(cube.shape[1:]) >= side]

    @cached_property
    def _levels(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        return {
            name: (cube.mean((1, 2), dtype=np.float64), cube.std((1, 2), dtype=np.float64))
            for name, cube in self.references.items()
        }

    def _sample(self, rng: Rng, observation: Observation) -> tuple[Tensor, ...]:
        """Draw bands of a patch, with their neighbours: planes, start, reference, std, error."""
        side = observation.side * observation.psf.ratio
        for _ in range(MAX_DRAWS):
            name = str(rng.choice(self._large_enough(side)))
            scene, (mean, std) = self.references[name], self._levels[name]
            with_neighbours = augmentation.draw_bands(rng, len(scene), BANDS_PER_PATCH)
            bands, positions = np.unique(with_neighbours, return_inverse=True)
            patch = augmentation.draw_patch(rng, scene, side, bands)
            if patch.std((1, 2)).mean() > MIN_CONTRAST_SHARE * std[bands].mean():
                break
        neighbours = positions.reshape(with_neighbours.shape)
        return _prepare(rng, observation, torch.from_numpy(patch), neighbours, (mean[bands], std[bands]))


def _prepare(
    rng: Rng,
    observation: Observation,
    patch: Tensor,
    neighbours: NDArray[np.int_],
    levels: tuple[NDArray[np.float64], ...],
) -> tuple[Tensor, ...]:
    """Degrade a patch (band, Y, X) and return planes, start, reference, std and error of its bands.

    `neighbours`, (sample, neighbour), are numbers of bands of the patch, first the sample's own.
    """
    lr = observation.operator.degrade(patch)
    noise = _noise(rng) * float(lr.std((1, 2)).mean())
    if noise:
        lr = lr + noise * torch.from_numpy(rng.standard_normal(lr.shape, np.float32))
    own = lr.mean((1, 2)), (lr.var((1, 2)) - noise**2).clamp_min(MIN_NOISY_VARIANCE * noise**2 + 1e-12).sqrt()
    mean, std = own if rng.random() > SCENE_LEVELS_SHARE else (torch.from_numpy(v).float() for v in levels)
    std = std.clamp_min(MIN_STD_SHARE * float(mean.abs().mean()) + 1e-12)
    standardised = (lr - mean[:, None, None]) / std[:, None, None]
    band = neighbours[:, 0]
    inputs = planes(standardised[neighbours], noise / std[band], nyquist_gains(observation.assumed_psf))
    start, reference = _start(observation, lr[band], noise), patch[band]
    error = (start - reference).square().mean((1, 2)).sqrt()
    return inputs, start, reference, std[band], torch.maximum(error, MIN_ERROR_STD * std[band])


def _noise(rng: Rng) -> float:
    """Draw the noise of a patch, in standard deviations of its bands."""
    level = float(np.exp(rng.uniform(*np.log(NOISE_STDS))))
    return level if rng.random() < NOISY_SHARE else 0.0


def _start(observation: Observation, lr: Tensor, noise: float) -> Tensor:
    """Return the closed form of each band, without a correction."""
    mean = lr.mean((1, 2), keepdim=True)
    centred = lr - mean
    lams = ridge(centred.square().mean((1, 2)).double().numpy(), noise)
    return mean + observation.closed_form(lams.tolist()).spread(centred)


def _validate(network: nn.Module, cube: Floats) -> dict[str, float]:
    """Degrade a scene by the usual gain, and score start and corrected start on evenly spaced bands."""
    ratio = VALIDATION_RATIO
    height, width = (n // ratio for n in cube.shape[1:])
    reference = torch.from_numpy(cube[:, : height * ratio, : width * ratio] / cube.max())
    psf = Psf.from_mtf(ratio)
    device = next(network.parameters()).device
    op = operator(psf, (height, width), device=device)
    reference = reference.to(device)
    lr = op.degrade(reference)
    spectra = lr.flatten(1).cpu().numpy()
    levels = Levels.of(spectra, np.ones(spectra.shape[1], np.float32), np.zeros(len(spectra)))
    bands = sorted({int(b) for b in np.linspace(0, len(cube) - 1, VALIDATION_BANDS)})
    closed = consistency(psf, (height, width), [0.0] * len(bands), op)
    mean = lr[bands].mean((1, 2), keepdim=True)
    start = mean + closed.spread(lr[bands] - mean)
    corrected = start + correct(network, lr, levels, bands, psf, closed)
    return {**_scores(start, reference[bands], "start_"), **_scores(corrected, reference[bands], "")}


def _scores(estimate: Tensor, reference: Tensor, prefix: str) -> dict[str, float]:
    estimate = estimate.clamp_min(0)
    square = float((estimate - reference).double().square().mean())
    cosine = functional.cosine_similarity(estimate.double(), reference.double(), dim=0).clamp(-1, 1)
    angle = float(torch.rad2deg(torch.acos(cosine)).mean())
    return {f"{prefix}psnr": 10 * math.log10(1 / square), f"{prefix}sam": angle}
