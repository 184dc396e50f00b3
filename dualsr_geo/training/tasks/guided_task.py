"""Training task of the guided network: correct the training-free start towards a reference.

Every scene is surveyed and started as `upscale` does, so that the network is trained on the inputs of
a product. That takes longer than a step, so parts of scenes are kept in a pool and used in several steps.
The closed form is inside the loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import InputError
from dualsr_geo.models.guided_correction import detail
from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.training.augmentation import Floats
from dualsr_geo.training.sample_workers import SampleWorkers
from dualsr_geo.training.tasks.guided_samples import (
    GuidedSample,
    draw_anchors,
    draw_parts,
    guided_sample,
    inner_pixels,
    sample_loss,
    scene_window,
    survey_arrays,
)
from dualsr_geo.training.tasks.guided_scenes import MIN_SIDE_LR_PX, GuidedScenes

# Default fields of `TrainingConfig`.
CONFIG: Mapping[str, Any] = {
    "steps": 20_000,
    "rate": 8e-4,
    "schedule": "cosine",
    "warmup": 150,
    "optimiser": "adamw",
    "weight_decay": 1e-4,
    "largest_gradient": 1.0,
    "average": 0.999,
    "bf16": True,
}
# Samples of a step.
SAMPLES_PER_STEP = 3
# Scenes in the pool, steps after which one is replaced, and scenes that workers make in advance. A scene takes about
# as long as four steps, so one worker keeps up.
POOL_SIZE, STEPS_PER_SCENE, SCENES_AHEAD = 24, 4, 6
# The share of unusual scenes falls from 1 to this.
FINAL_UNUSUAL_SHARE = 0.35
# A scene without contrast, or detail that its guide explains, is drawn again, so many times.
MAX_DRAWS = 8
# Ratio of the validation.
VALIDATION_RATIO = 4


@dataclass(frozen=True)
class GuidedTask:
    """Training of the guided network on parts of scenes.

    Attributes
    ----------
    references : mapping of str to array, shape (band, y, x)
        Scenes without nodata, any units.
    cameras : mapping of str to sequence of array, shape (guide band, band)
        Responses of real guides to these references; others are drawn at random.
    validation : mapping of str to (array, array)
        Scenes (band, y, x) and their guides (guide band, y, x).
    seed : int
    unusual_scenes : int
        Number of scenes over which the share of unusual ones falls to its last value.
    width, depth, contexts : int
        Of the network.
    textures, pairs, simulated_share, clean_guides
        See `GuidedScenes`.
    workers : int
        Number of processes that make scenes while this one computes the steps.
    """

    references: Mapping[str, Floats]
    cameras: Mapping[str, Sequence[Floats]] = field(default_factory=dict)
    validation: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)
    seed: int = 0
    unusual_scenes: int = 300
    width: int = 32
    depth: int = 5
    contexts: int = 3
    textures: Mapping[str, Floats] = field(default_factory=dict)
    pairs: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)
    simulated_share: float = 0.0
    clean_guides: bool = False
    workers: int = 0
    _pool: dict[int, list[GuidedSample]] = field(default_factory=dict, repr=False, compare=False)

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
            return GuidedNetwork(self.width, self.depth, min(self.contexts, self.depth))

    def batch(self, step: int) -> list[GuidedSample]:
        """Return some parts of some scenes of the pool."""
        rng = np.random.default_rng((self.seed, 1, step))
        newest = POOL_SIZE - 1 + step // STEPS_PER_SCENE
        scenes = range(newest - POOL_SIZE + 1, newest + 1)
        for old in [i for i in self._pool if i < scenes[0]]:
            del self._pool[old]
        for number in scenes:
            if number not in self._pool:
                self._pool[number] = self._workers.sample(number)
        parts = [p for number in scenes for p in self._pool[number]]
        chosen = rng.choice(len(parts), min(SAMPLES_PER_STEP, len(parts)), replace=False)
        return [draw_anchors(rng, parts[int(i)]) for i in chosen]

    def loss(self, network: nn.Module, batch: Sequence[GuidedSample]) -> Tensor:
        """Return the error of the corrected start in units of the start's own error."""
        return torch.stack([sample_loss(network, sample, inner_pixels(sample)) for sample in batch]).mean()

    def validate(self, network: nn.Module) -> dict[str, dict[str, float]]:
        """Return PSNR and spectral angle of each scene, of the start and corrected."""
        with torch.inference_mode():
            return {name: _validate(network, *pair) for name, pair in self.validation.items()}

    def scene(self, number: int) -> list[GuidedSample]:
        """Draw and prepare the parts of a scene; the same ones for the same number and seed."""
        unusual_share = 1 - (1 - FINAL_UNUSUAL_SHARE) * min(1.0, number / max(self.unusual_scenes, 1))
        for attempt in range(MAX_DRAWS):
            rng = np.random.default_rng((self.seed, 0, number, attempt))
            scene = self._scenes.draw(rng, unusual=rng.random() < unusual_share)
            parts = [] if scene is None else draw_parts(rng, scene)
            if parts:
                return parts
        raise InputError(
            f"{MAX_DRAWS} patches of {sorted(self.references)} have no contrast, or no detail that a guide explains. "
            "Give other references."
        )

    @cached_property
    def _scenes(self) -> GuidedScenes:
        return GuidedScenes(
            self.references,
            self.cameras,
            self.textures,
            self.pairs,
            simulated_share=self.simulated_share,
            clean_guides=self.clean_guides,
        )

    @cached_property
    def _workers(self) -> SampleWorkers[list[GuidedSample]]:
        return SampleWorkers(replace(self, validation={}, workers=0, _pool={}).scene, self.workers, SCENES_AHEAD)


def _validate(network: nn.Module, cube: Floats, guide: Floats) -> dict[str, float]:
    """Degrade a scene by the usual gain, and score start and corrected start on its anchors."""
    ratio = VALIDATION_RATIO
    height, width = (n // ratio * ratio for n in cube.shape[1:])
    reference = np.ascontiguousarray(cube[:, :height, :width] / cube.max())
    psf = Psf.from_mtf(ratio)
    lr = operator(psf, (height // ratio, width // ratio)).degrade(torch.from_numpy(reference)).numpy()
    scaled_guide = np.ascontiguousarray(guide[:, :height, :width] / cube.max(), np.float32)
    window, inputs = scene_window(survey_arrays(lr, scaled_guide, psf), lr, scaled_guide)
    bands = list(inputs.anchors.bands)
    sample = guided_sample(window, inputs, torch.from_numpy(reference), inputs.anchors.bands)
    given = sample.network_input
    mixture = network(given.planes, given.constants, ratio, relations=given.relations)
    level = torch.zeros(1) if inputs.spectral else torch.from_numpy(window.space.mean)[bands, None, None]
    start = window.start(bands, spectral=inputs.spectral) + level
    corrected = start + sample.null_space.part(detail(given, *mixture), bands)
    return {**_scores(start, start + sample.lacking, "start_"), **_scores(corrected, start + sample.lacking, "")}


def _scores(estimate: Tensor, reference: Tensor, prefix: str) -> dict[str, float]:
    square = float((estimate - reference).double().square().mean())
    cosine = functional.cosine_similarity(estimate.double(), reference.double(), dim=0).clamp(-1, 1)
    angle = float(torch.rad2deg(torch.acos(cosine)).mean())
    return {f"{prefix}psnr": 10 * math.log10(1 / square), f"{prefix}sam": angle}
