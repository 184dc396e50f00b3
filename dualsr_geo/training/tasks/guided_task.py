"""Training task of the guided network: correct the training-free start towards a reference.

Every sample is surveyed and started as a scene is, so that the network is trained on the inputs of
a product. That takes longer than a step, so samples are kept in a pool and used in several steps.
The closed form is inside the loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import InputError
from dualsr_geo.models.guided_correction import detail, without_observed_part
from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.training import augmentation, simulated_guides
from dualsr_geo.training.augmentation import Floats, Rng
from dualsr_geo.training.tasks.guided_samples import (
    GuidedSample,
    draw_anchors,
    guided_sample,
    sample_loss,
    scene_window,
    survey_arrays,
)

# Default fields of `TrainingConfig`.
CONFIG: Mapping[str, Any] = {
    "steps": 20_000,
    "rate": 1.5e-3,
    "schedule": "cosine",
    "warmup": 100,
    "optimiser": "adamw",
    "weight_decay": 1e-4,
    "largest_gradient": 1.0,
    "average": 0.999,
    "bf16": True,
}
# Shares of the samples by ratio.
RATIO_SHARES = {2: 0.12, 3: 0.08, 4: 0.45, 5: 0.03, 6: 0.05, 8: 0.27}
# Sides of the patches of each ratio, lr pixels; small scenes need small ones.
SIDES_LR_PX = {2: (48, 64, 96), 3: (32, 48, 64), 4: (24, 32, 48, 64), 5: (20, 32), 6: (16, 32), 8: (12, 24, 32)}
# Side of the smallest patch, lr pixels.
MIN_SIDE_LR_PX = 10
# Samples of a step.
SAMPLES_PER_STEP = 2
# Samples in the pool, and steps after which one is replaced.
POOL_SIZE, STEPS_PER_SAMPLE = 32, 8
# The share of unusual samples falls from 1 to this.
FINAL_UNUSUAL_SHARE = 0.35
# Share of the samples with noise, and the range of its standard deviation, in those of the lr bands.
NOISY_SHARE, NOISE_STDS = 0.3, (0.02, 0.15)
# The same of the guides, whose noise is at most this.
NOISY_GUIDE_SHARE, MAX_GUIDE_NOISE_STD = 0.1, 0.01
# Of usual samples: range of the MTF gains at the lr Nyquist frequency, and share of MATLAB's bicubic reduction.
USUAL_GAINS, USUAL_CUBIC_SHARE = (0.2, 0.4), 0.15
# A patch with less contrast than this share of its scene's is drawn again, so many times.
MIN_CONTRAST_SHARE, MAX_DRAWS = 0.1, 6
# Ratio of the validation.
VALIDATION_RATIO = 4


@dataclass(frozen=True)
class GuidedTask:
    """Training of the guided network on patches of references.

    Attributes
    ----------
    references : mapping of str to array, shape (band, y, x)
        Scenes without nodata, any units.
    cameras : mapping of str to sequence of array, shape (guide band, band)
        Responses of real guides to these references; others are drawn at random.
    validation : mapping of str to (array, array)
        Scenes (band, y, x) and their guides (guide band, y, x).
    seed : int
    unusual_samples : int
        Number of samples over which the share of unusual ones falls to its last value.
    width, depth : int
        Of the network.
    """

    references: Mapping[str, Floats]
    cameras: Mapping[str, Sequence[Floats]] = field(default_factory=dict)
    validation: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)
    seed: int = 0
    unusual_samples: int = 300
    width: int = 32
    depth: int = 5
    _pool: dict[int, GuidedSample] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, cube in self.references.items():
            if min(cube.shape[1:]) < 2 * MIN_SIDE_LR_PX:
                raise InputError(
                    f"The reference {name} has {cube.shape[1]} x {cube.shape[2]} pixels, fewer than {2 * MIN_SIDE_LR_PX} "
                    "a side. Leave it out."
                )
        if not self.references:
            raise InputError("There are 0 references to learn from. Give at least 1.")

    def network(self) -> GuidedNetwork:
        """Return the network before its first step."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return GuidedNetwork(self.width, self.depth)

    def batch(self, step: int) -> list[GuidedSample]:
        """Return some anchors of some samples of the pool."""
        rng = np.random.default_rng((self.seed, 1, step))
        newest = POOL_SIZE - 1 + step // STEPS_PER_SAMPLE
        chosen = rng.choice(np.arange(newest - POOL_SIZE + 1, newest + 1), SAMPLES_PER_STEP, replace=False)
        for old in [i for i in self._pool if i <= newest - POOL_SIZE]:
            del self._pool[old]
        return [draw_anchors(rng, self._pooled(int(i))) for i in chosen]

    def loss(self, network: nn.Module, batch: Sequence[GuidedSample]) -> Tensor:
        """Return the error of the corrected start in units of the start's own error."""
        return torch.stack([sample_loss(network, sample) for sample in batch]).mean()

    def validate(self, network: nn.Module) -> dict[str, dict[str, float]]:
        """Return PSNR and spectral angle of each scene, of the start and corrected."""
        with torch.inference_mode():
            return {name: _validate(network, *pair) for name, pair in self.validation.items()}

    def sample(self, index: int) -> GuidedSample:
        """Draw and prepare a sample; the same one for the same index and seed."""
        unusual_share = 1 - (1 - FINAL_UNUSUAL_SHARE) * min(1.0, index / max(self.unusual_samples, 1))
        for attempt in range(MAX_DRAWS):
            rng = np.random.default_rng((self.seed, 0, index, attempt))
            sample = self._draw(rng, unusual=rng.random() < unusual_share)
            if sample is not None:
                return sample
        raise InputError(
            f"{MAX_DRAWS} patches of {sorted(self.references)} have no contrast, or no detail that a guide explains. "
            "Give other references."
        )

    def _pooled(self, index: int) -> GuidedSample:
        if index not in self._pool:
            self._pool[index] = self.sample(index)
        return self._pool[index]

    def _draw(self, rng: Rng, *, unusual: bool) -> GuidedSample | None:
        """Draw a sample; None if it has too little contrast, or no detail that the guide explains."""
        ratio = int(rng.choice(list(RATIO_SHARES), p=list(RATIO_SHARES.values())))
        name = self._draw_reference(rng, ratio)
        if name is None:
            return None
        scene = self.references[name]
        shortest = min(scene.shape[1:])
        sides = [s for s in SIDES_LR_PX[ratio] if s * ratio <= shortest] or [shortest // ratio]
        patch = augmentation.draw_patch(rng, scene, int(rng.choice(sides)) * ratio, np.arange(len(scene)))
        if patch.std((1, 2)).mean() < MIN_CONTRAST_SHARE * scene.std((1, 2)).mean():
            return None
        responses = simulated_guides.draw_responses(rng, len(patch), self.cameras.get(name, ()), unusual=unusual)
        guide = np.einsum("gb,byx->gyx", responses, patch).astype(np.float32)
        cube = simulated_guides.vary_spectrum(rng, patch, unusual=unusual)
        psf, assumed_psf = augmentation.draw_psfs(rng, ratio) if unusual else _draw_usual_psf(rng, ratio)
        return _prepare(rng, cube, guide, psf, assumed_psf, noisy=rng.random() < NOISY_SHARE)

    def _draw_reference(self, rng: Rng, ratio: int) -> str | None:
        names = [n for n, c in self.references.items() if min(c.shape[1:]) >= MIN_SIDE_LR_PX * ratio]
        return str(rng.choice(names)) if names else None


# ---- samples -----------------------------------------------------------------------------


def _draw_usual_psf(rng: Rng, ratio: int) -> tuple[Psf, Psf]:
    if rng.random() < USUAL_CUBIC_SHARE:
        psf = augmentation.matlab_bicubic(ratio)
    else:
        psf = Psf.from_mtf(ratio, float(rng.uniform(*USUAL_GAINS)))
    return psf, psf


def _prepare(rng: Rng, cube: Floats, guide: Floats, psf: Psf, assumed_psf: Psf, *, noisy: bool) -> GuidedSample | None:
    """Degrade a reference, survey it and compute its start; None if the survey makes no use of the guide."""
    reference = torch.from_numpy(cube)
    shape = cube.shape[1] // psf.ratio, cube.shape[2] // psf.ratio
    lr = operator(psf, shape).degrade(reference).numpy()
    if noisy:
        level = float(np.exp(rng.uniform(*np.log(NOISE_STDS)))) * lr.std((1, 2)).mean()
        lr = lr + level * rng.standard_normal(lr.shape, np.float32)
    if rng.random() < NOISY_GUIDE_SHARE:
        level = rng.uniform(0, MAX_GUIDE_NOISE_STD) * guide.std((1, 2)).mean()
        guide = guide + level * rng.standard_normal(guide.shape, np.float32)
    survey = survey_arrays(lr, guide, assumed_psf)
    if survey.model_state is None:
        return None
    window, inputs = scene_window(survey, lr, guide)
    return guided_sample(window, inputs, reference, inputs.anchors.bands)


def _validate(network: nn.Module, cube: Floats, guide: Floats) -> dict[str, float]:
    """Degrade a scene by the usual gain, and score start and corrected start on its anchors."""
    ratio = VALIDATION_RATIO
    height, width = (n // ratio * ratio for n in cube.shape[1:])
    reference = np.ascontiguousarray(cube[:, :height, :width] / cube.max())
    psf = Psf.from_mtf(ratio)
    lr = operator(psf, (height // ratio, width // ratio)).degrade(torch.from_numpy(reference)).numpy()
    scaled_guide = np.ascontiguousarray(guide[:, :height, :width] / cube.max(), np.float32)
    window, inputs = scene_window(survey_arrays(lr, scaled_guide, psf), lr, scaled_guide)
    sample = guided_sample(window, inputs, torch.from_numpy(reference), inputs.anchors.bands)
    given = sample.network_input
    mixture = network(given.planes, given.constants, ratio, relations=given.relations)
    corrected = sample.start + without_observed_part(window, inputs, detail(given, *mixture), sample.anchors)
    bands = list(sample.anchors)
    level = torch.zeros(1) if inputs.spectral else torch.from_numpy(window.space.mean)[bands, None, None]
    return {
        **_scores(sample.start + level, sample.reference + level, "start_"),
        **_scores(corrected + level, sample.reference + level, ""),
    }


def _scores(estimate: Tensor, reference: Tensor, prefix: str) -> dict[str, float]:
    square = float((estimate - reference).double().square().mean())
    cosine = functional.cosine_similarity(estimate.double(), reference.double(), dim=0).clamp(-1, 1)
    angle = float(torch.rad2deg(torch.acos(cosine)).mean())
    return {f"{prefix}psnr": 10 * math.log10(1 / square), f"{prefix}sam": angle}
