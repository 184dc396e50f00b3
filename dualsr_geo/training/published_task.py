"""The lessons of the published networks: CoarSR of DualSR and CoarseNet of SFPN, as their papers train them.

L1 between bands and reference; patches turned, mirrored and at three scales. All bands of a patch
pass in sequence in the papers; here a run of them may be drawn instead, which is quicker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.evaluation.metrics import scores
from dualsr_geo.evaluation.metrics.image_pair import pair
from dualsr_geo.models.architectures import architecture_of
from dualsr_geo.models.networks.coarsenet import CoarseNet
from dualsr_geo.models.networks.coarsr import CoarSR
from dualsr_geo.training.dataset import Reference
from dualsr_geo.training.degradations import Degradation, Rng, degraded
from dualsr_geo.training.simulated_guides import GUIDE_BANDS, GuideKind, responses

Name = Literal["coarsr", "coarsenet"]
# Both papers' scales of the references.
SCALES = (1.0, 0.75, 0.5)
# lr pixels around a patch that are degraded with it and then cut away: its own edge is no scene's edge.
MARGIN = 2
# Draws of validation are of another kind than any step's.
VALIDATION_SEED = 1 << 40


@dataclass(frozen=True)
class PublishedTask:
    """What CoarSR or CoarseNet is to learn.

    Attributes
    ----------
    name : str
        ``"coarsr"`` or ``"coarsenet"``.
    references, validation : sequence of Reference
    ratio, width : int
    guide : str
        Of CoarseNet: ``"rgb"`` or ``"pan"``.
    degradation : str
        See `blurs.degraded`.
    gain : float
        MTF gain at the lr Nyquist frequency of ``"mtf"``.
    batch_size, patch : int
        Patches of a step; side of one, hr pixels.
    bands : int
        How many pass in sequence; 0 for all.
    validation_side : int
        hr pixels in the middle of each scene that are validated; 0 for the whole.
    published : bool
        Train the published code's network, its slips included.
    seed : int

    Raises
    ------
    OptionError
        If patch and ratio, or network and guide, contradict each other.
    InputError
        If a reference has too few bands or pixels.
    """

    name: Name
    references: Sequence[Reference]
    validation: Sequence[Reference]
    ratio: int
    width: int = 64
    guide: GuideKind = "none"
    degradation: Degradation = "bicubic"
    gain: float = 0.3
    batch_size: int = 16
    patch: int = 96
    bands: int = 0
    validation_side: int = 96
    published: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options against each other and against the references."""
        if self.patch < self.ratio or self.patch % self.ratio:
            near = max(1, round(self.patch / self.ratio)) * self.ratio
            raise OptionError(f"--patch {self.patch} is no multiple of --scale {self.ratio}. Give e.g. {near}.")
        architecture = architecture_of(self.name)
        if architecture.guided != (self.guide != "none"):
            wanted = "rgb or pan" if architecture.guided else "none"
            raise OptionError(f"--network {self.name} takes no --guide {self.guide}. Give --guide {wanted}.")
        least = max(architecture.min_bands, self.bands)
        if 0 < self.bands < architecture.min_bands:
            raise OptionError(f"--bands {self.bands} is less than the {least} that {self.name} reads. Give more.")
        for reference in (*self.references, *self.validation):
            count, height, width = reference.cube.shape
            if count < least:
                raise InputError(f"{reference.name} has {count} bands, {self.name} learns from {least}. Leave it out.")
            if min(height, width) < self.ratio * (1 + 2 * MARGIN):
                raise InputError(f"{reference.name} has {height} x {width} pixels, too few. Leave it out.")
        self._whole_patch_fits()

    def _whole_patch_fits(self) -> None:
        for reference in self.references:
            height, width = reference.cube.shape[1:]
            if min(height, width) < self.patch:
                raise InputError(
                    f"{reference.name} has {height} x {width} pixels, a patch has {self.patch} x {self.patch}. "
                    "Leave it out, or give a smaller --patch."
                )

    @property
    def epoch(self) -> int:
        """Steps that see as many patches as the paper cuts of all references, at every scale."""
        return math.ceil(RECIPES[self.name].patches * len(SCALES) * len(self.references) / self.batch_size)

    def network(self) -> nn.Module:
        """Return the network with torch's usual random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return RECIPES[self.name].network(self)

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """Return lr (patch, band, y, x), guide and reference (patch, band, ratio * y, ratio * x) of a step."""
        rng = np.random.default_rng((self.seed, step))
        return tuple(map(torch.stack, zip(*(self._sample(rng) for _ in range(self.batch_size)), strict=True)))

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        """Return the mean absolute error, equation (14) of SFPN."""
        device = next(network.parameters()).device
        lr, guide, reference = (part.to(device) for part in batch)
        return (_made(network, lr, guide).float() - reference).abs().mean()

    def validate(self, network: nn.Module) -> dict[str, dict[str, float]]:
        """Return PSNR (dB, peak 1) and spectral angle (degrees) of every validation scene."""
        return {r.name: self._scores(network, r, k) for k, r in enumerate(self.validation)}

    def _scores(self, network: nn.Module, reference: Reference, number: int) -> dict[str, float]:
        side = self.validation_side or max(reference.cube.shape[1:])
        rows, columns = (_middle(n, side, self.ratio) for n in reference.cube.shape[1:])
        cube = torch.from_numpy(np.ascontiguousarray(reference.cube[:, rows, columns]))
        rng = np.random.default_rng((self.seed, VALIDATION_SEED + number))
        lr = degraded(rng, cube, self.ratio, self.degradation, self.gain)
        device = next(network.parameters()).device
        made = _made(network, lr[None].to(device), self._guide(reference, cube)[None].to(device))[0]
        estimate, truth = made.float().clamp(0, 1).cpu().numpy(), cube.numpy()
        # A network that has learned nothing yet is scored as well.
        found = scores.measure(pair(estimate, truth, one_unit=False), {"spectra"}, peak=1.0)
        return {"psnr": found.psnr_db, "sam": found.sam_deg}

    @cached_property
    def _responses(self) -> Mapping[str, Tensor]:
        return {
            r.name: torch.from_numpy(responses(self.guide, len(r.cube), r.wavelengths_nm))
            for r in (*self.references, *self.validation)
        }

    @cached_property
    def _run(self) -> int:
        """Bands of a sample: of all references the same."""
        return self.bands or min(len(r.cube) for r in self.references)

    def _guide(self, reference: Reference, cube: Tensor) -> Tensor:
        return torch.einsum("gb,byx->gyx", self._responses[reference.name], cube)

    def _sample(self, rng: Rng) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a patch: lr, guide, reference."""
        reference = self.references[int(rng.integers(len(self.references)))]
        cube = _turned(rng, self._cut(rng, reference))
        if RECIPES[self.name].rolled:
            cube = cube.roll(tuple(rng.integers(0, self.patch, 2).tolist()), (1, 2))
        first = int(rng.integers(0, len(cube) - self._run + 1))
        some = cube[first : first + self._run]
        around = (cube.shape[1] - self.patch) // 2
        lr = degraded(rng, some, self.ratio, self.degradation, self.gain)
        inner = slice(around, around + self.patch)
        inner_lr = slice(around // self.ratio, (around + self.patch) // self.ratio)
        guide = self._guide(reference, cube[:, inner, inner])
        return lr[:, inner_lr, inner_lr], guide, some[:, inner, inner]

    def _cut(self, rng: Rng, reference: Reference) -> Tensor:
        """Cut a square of a reference and bring it to the patch's size and, where there is room, its margin."""
        shortest = min(reference.cube.shape[1:])
        bordered = self.patch + 2 * MARGIN * self.ratio
        side = bordered if shortest >= bordered else self.patch
        scale = float(rng.choice([s for s in SCALES if math.ceil(side / s) <= shortest]))
        from_side = math.ceil(side / scale)
        y, x = (int(rng.integers(0, n - from_side + 1)) for n in reference.cube.shape[1:])
        cut = torch.from_numpy(reference.cube[:, y : y + from_side, x : x + from_side])
        if from_side == side:
            return cut
        return functional.interpolate(cut[None], (side, side), mode="bicubic", antialias=True)[0].clamp(0, 1)


@dataclass(frozen=True)
class Recipe:
    """What differs between the trainings of the two papers.

    Attributes
    ----------
    network : callable
        task -> the network with torch's random weights.
    patches : int
        That an epoch cuts of each reference at each scale.
    rolled : bool
        Whether patches are rolled along y and x.
    """

    network: Callable[[PublishedTask], nn.Module]
    patches: int
    rolled: bool


def _coarsr(task: PublishedTask) -> CoarSR:
    return CoarSR(task.ratio, task.width, published=task.published)


def _coarsenet(task: PublishedTask) -> CoarseNet:
    # Without a cut of its bands: no gradient passes where a value is cut.
    return CoarseNet(task.ratio, task.width, GUIDE_BANDS[task.guide], published=task.published, clip=None)


RECIPES = {
    "coarsr": Recipe(_coarsr, patches=24, rolled=False),
    "coarsenet": Recipe(_coarsenet, patches=64, rolled=True),
}


def _made(network: nn.Module, lr: Tensor, guide: Tensor) -> Tensor:
    made: Tensor = network(lr, guide) if guide.shape[1] else network(lr)
    return made


def _turned(rng: Rng, cube: Tensor) -> Tensor:
    turned = torch.rot90(cube, int(rng.integers(4)), (1, 2))
    return turned.flip(2) if rng.random() < 0.5 else turned


def _middle(length: int, side: int, ratio: int) -> slice:
    """Return at most `side` pixels in the middle, a multiple of the ratio."""
    kept = min(length, side) // ratio * ratio
    start = (length - kept) // 2
    return slice(start, start + kept)
