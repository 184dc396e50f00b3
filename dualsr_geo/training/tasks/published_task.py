"""Training task of the published networks, CoarSR of DualSR and CoarseNet of SFPN, as in their papers.

The loss is the L1 distance of bands and reference; patches are rotated, mirrored and at three
scales. In the papers all bands of a patch pass in sequence; here a run of them may be drawn, which
is faster.
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
from dualsr_geo.training.degradations import Degradation, Rng, degrade
from dualsr_geo.training.simulated_guides import GUIDE_BANDS, GuideKind, responses

Name = Literal["coarsr", "coarsenet"]
# Both papers' scales of the references.
SCALES = (1.0, 0.75, 0.5)
# lr pixels around a patch that are degraded with it and then cut off: its edge is not an edge of the scene.
MARGIN_LR_PX = 2
# Seeds of validation scenes start here, beyond the number of any step.
FIRST_VALIDATION_SEED = 1 << 40
# Peak of the PSNR: references are scaled to 0..1.
PEAK = 1.0


@dataclass(frozen=True)
class PublishedTask:
    """Training of CoarSR or CoarseNet on patches of references.

    Attributes
    ----------
    name : str
        ``"coarsr"`` or ``"coarsenet"``.
    references, validation : sequence of Reference
    ratio, width : int
    guide : str
        Of CoarseNet: ``"rgb"`` or ``"pan"``.
    degradation : str
        See `degradations.degrade`.
    gain : float
        MTF gain at the lr Nyquist frequency of ``"mtf"``.
    batch_size, patch : int
        Patches of a step; side of one, hr pixels.
    bands : int
        Number of bands that pass in sequence; 0 for all.
    validation_side : int
        Side of the central square of each validation scene that is scored, hr pixels; 0 for all.
    published : bool
        Train the network of the published code, its errors included.
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
            raise OptionError(f"--patch {self.patch} is not a multiple of --scale {self.ratio}. Give e.g. {near}.")
        architecture = architecture_of(self.name)
        if architecture.guided != (self.guide != "none"):
            wanted = "rgb or pan" if architecture.guided else "none"
            raise OptionError(f"--network {self.name} takes no --guide {self.guide}. Give --guide {wanted}.")
        min_bands = max(architecture.min_bands, self.bands)
        if 0 < self.bands < architecture.min_bands:
            raise OptionError(f"--bands {self.bands} is less than the {min_bands} that {self.name} reads. Give more.")
        for reference in (*self.references, *self.validation):
            count, height, width = reference.cube.shape
            if count < min_bands:
                raise InputError(
                    f"{reference.name} has {count} bands, {self.name} learns from {min_bands}. Leave it out."
                )
            if min(height, width) < self.ratio * (1 + 2 * MARGIN_LR_PX):
                raise InputError(f"{reference.name} has {height} x {width} pixels, too few. Leave it out.")
        self._require_room_for_patch()

    def _require_room_for_patch(self) -> None:
        for reference in self.references:
            height, width = reference.cube.shape[1:]
            if min(height, width) < self.patch:
                raise InputError(
                    f"{reference.name} has {height} x {width} pixels, a patch has {self.patch} x {self.patch}. "
                    "Leave it out, or give a smaller --patch."
                )

    @property
    def epoch(self) -> int:
        """Steps of an epoch: as many patches as the paper cuts of all references at every scale."""
        return math.ceil(RECIPES[self.name].patches * len(SCALES) * len(self.references) / self.batch_size)

    def network(self) -> nn.Module:
        """Return the network with torch's default random weights."""
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
        return (_sharpen(network, lr, guide).float() - reference).abs().mean()

    def validate(self, network: nn.Module) -> dict[str, dict[str, float]]:
        """Return PSNR (dB, peak 1) and spectral angle (degrees) of every validation scene."""
        return {r.name: self._scores(network, r, k) for k, r in enumerate(self.validation)}

    def _scores(self, network: nn.Module, reference: Reference, number: int) -> dict[str, float]:
        side = self.validation_side or max(reference.cube.shape[1:])
        rows, columns = (_central_slice(n, side, self.ratio) for n in reference.cube.shape[1:])
        cube = torch.from_numpy(np.ascontiguousarray(reference.cube[:, rows, columns]))
        rng = np.random.default_rng((self.seed, FIRST_VALIDATION_SEED + number))
        lr = degrade(rng, cube, self.ratio, self.degradation, self.gain)
        device = next(network.parameters()).device
        product = _sharpen(network, lr[None].to(device), self._guide(reference, cube)[None].to(device))[0]
        estimate, truth = product.float().clamp(0, 1).cpu().numpy(), cube.numpy()
        # Not refused if the units seem to differ: an untrained network is scored as well.
        result = scores.measure(pair(estimate, truth, one_unit=False), {"spectra"}, peak=PEAK)
        return {"psnr": result.psnr_db, "sam": result.sam_deg}

    @cached_property
    def _responses(self) -> Mapping[str, Tensor]:
        return {
            r.name: torch.from_numpy(responses(self.guide, len(r.cube), r.wavelengths_nm))
            for r in (*self.references, *self.validation)
        }

    @cached_property
    def _bands_per_sample(self) -> int:
        """Bands of a sample, the same for all references."""
        return self.bands or min(len(r.cube) for r in self.references)

    def _guide(self, reference: Reference, cube: Tensor) -> Tensor:
        return torch.einsum("gb,byx->gyx", self._responses[reference.name], cube)

    def _sample(self, rng: Rng) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a patch: lr, guide, reference."""
        reference = self.references[int(rng.integers(len(self.references)))]
        cube = _turn(rng, self._cut(rng, reference))
        if RECIPES[self.name].rolled:
            cube = cube.roll(tuple(rng.integers(0, self.patch, 2).tolist()), (1, 2))
        first = int(rng.integers(0, len(cube) - self._bands_per_sample + 1))
        bands = cube[first : first + self._bands_per_sample]
        margin = (cube.shape[1] - self.patch) // 2
        lr = degrade(rng, bands, self.ratio, self.degradation, self.gain)
        inner = slice(margin, margin + self.patch)
        inner_lr = slice(margin // self.ratio, (margin + self.patch) // self.ratio)
        guide = self._guide(reference, cube[:, inner, inner])
        return lr[:, inner_lr, inner_lr], guide, bands[:, inner, inner]

    def _cut(self, rng: Rng, reference: Reference) -> Tensor:
        """Cut a square of a reference and resample it to the patch with its margin, if there is room for one."""
        shortest = min(reference.cube.shape[1:])
        with_margin = self.patch + 2 * MARGIN_LR_PX * self.ratio
        side = with_margin if shortest >= with_margin else self.patch
        scale = float(rng.choice([s for s in SCALES if math.ceil(side / s) <= shortest]))
        cut_side = math.ceil(side / scale)
        y, x = (int(rng.integers(0, n - cut_side + 1)) for n in reference.cube.shape[1:])
        square = torch.from_numpy(reference.cube[:, y : y + cut_side, x : x + cut_side])
        if cut_side == side:
            return square
        return functional.interpolate(square[None], (side, side), mode="bicubic", antialias=True)[0].clamp(0, 1)


@dataclass(frozen=True)
class Recipe:
    """Differences between the trainings of the two papers.

    Attributes
    ----------
    network : callable
        task -> the network with torch's random weights.
    patches : int
        Patches of each reference at each scale in an epoch.
    rolled : bool
        Whether patches are rolled along y and x.
    """

    network: Callable[[PublishedTask], nn.Module]
    patches: int
    rolled: bool


def _coarsr(task: PublishedTask) -> CoarSR:
    return CoarSR(task.ratio, task.width, published=task.published)


def _coarsenet(task: PublishedTask) -> CoarseNet:
    # Without clipping of its bands: a clipped value has no gradient.
    return CoarseNet(task.ratio, task.width, GUIDE_BANDS[task.guide], published=task.published, clip=None)


RECIPES = {
    "coarsr": Recipe(_coarsr, patches=24, rolled=False),
    "coarsenet": Recipe(_coarsenet, patches=64, rolled=True),
}


def _sharpen(network: nn.Module, lr: Tensor, guide: Tensor) -> Tensor:
    product: Tensor = network(lr, guide) if guide.shape[1] else network(lr)
    return product


def _turn(rng: Rng, cube: Tensor) -> Tensor:
    """Rotate a cube by a random number of quarter turns, and mirror it at random."""
    rotated = torch.rot90(cube, int(rng.integers(4)), (1, 2))
    return rotated.flip(2) if rng.random() < 0.5 else rotated


def _central_slice(length: int, side: int, ratio: int) -> slice:
    """Return the central pixels of an axis, at most `side` and a multiple of the ratio."""
    size = min(length, side) // ratio * ratio
    start = (length - size) // 2
    return slice(start, start + size)
