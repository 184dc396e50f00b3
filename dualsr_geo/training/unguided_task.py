"""The lesson of our own network without a guide: what the training-free start lacks of references.

The recipe is research/algorithm-lab-2.md B1's, for all ratios at once. The closed form is inside
the loss: only what degrades to nothing is learned.
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
from dualsr_geo.models.networks.unguided import UnguidedNetwork
from dualsr_geo.models.unguided_correction import Levels, correct, moved, null_space_part, nyquist_gains, planes
from dualsr_geo.survey.wald_pairs import ridge
from dualsr_geo.training import augmentation
from dualsr_geo.training.augmentation import Floats, Rng

# How it is learned (values of `Course`); the shipped weights took 20 000 steps.
COURSE: Mapping[str, Any] = {
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
# How often a ratio is drawn, and the sides of its patches, lr pixels; small scenes need small ones.
RATIOS = {2: 0.15, 3: 0.08, 4: 0.57, 8: 0.2}
SIDES = {2: (24, 32), 3: (16, 24), 4: (16, 24, 32), 8: (12, 16, 24)}
# Patches of a step, and bands of a patch.
PATCHES, BANDS = 4, 5
NOISY_SHARE, NOISE = 0.2, (0.01, 0.2)
# Levels are the scene's, as inference has them, or the patch's, by which all patches count alike.
SCENE_LEVELS = 0.5
# A patch with less contrast than this share of its scene's is drawn again, a few times.
LEAST_CONTRAST, DRAWS = 0.05, 6
# The error of a start counts as no less than this share of a band's deviation.
LEAST_ERROR = 0.004
# Errors count by their square up to so many times the start's error. From 1 on, as the lab had it,
# the network says the median of what may be and corrects a fifth to a third too little.
OUTLIER = 4.0
# Patches with much to gain count more, by the root of their error, within these bounds.
WEIGHTS = (0.2, 3.0)
# Validation: ratio, blur by the usual gain, and this many bands.
VALIDATED, VALIDATION_BANDS = 4, 5


@dataclass(frozen=True)
class View:
    """How the patches of a step are seen.

    Attributes
    ----------
    blur, said : Psf
        What degrades them, and what the closed form takes it for.
    side : int
        lr pixels.
    """

    blur: Psf
    said: Psf
    side: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns on the lr grid."""
        return self.side, self.side

    @cached_property
    def degrading(self) -> Operator:
        """What makes the lr patch."""
        return operator(self.blur, self.shape)

    def closed(self, lams: Sequence[float], device: torch.device | str = "cpu") -> Consistency:
        """Return the closed form for bands of these ridges, by what is known."""
        return consistency(self.said, self.shape, lams, operator(self.said, self.shape, device=device))


@dataclass(frozen=True)
class Batch:
    """Bands of several patches, all seen alike.

    Attributes
    ----------
    planes : Tensor, shape (sample, plane, y, x)
    start, reference : Tensor, shape (sample, ratio * y, ratio * x)
    std, error : Tensor, shape (sample,)
        The band's deviation, and the root mean square of what the start lacks.
    view : View
    """

    planes: Tensor
    start: Tensor
    reference: Tensor
    std: Tensor
    error: Tensor
    view: View


@dataclass(frozen=True)
class UnguidedTask:
    """What the network without a guide is to learn.

    Attributes
    ----------
    references, validation : mapping of str to array, shape (band, y, x)
        Scenes without NaN; their units do not matter.
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
        """Check that every ratio has a scene to learn from."""
        for ratio, sides in SIDES.items():
            need = ratio * min(sides)
            if not self._fitting(need):
                raise InputError(
                    f"No reference has {need} x {need} pixels, which a patch of ratio {ratio} needs. Give larger scenes."
                )

    def network(self) -> UnguidedNetwork:
        """Return the network before its first step; it corrects nothing."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return UnguidedNetwork(self.width, self.depth)

    def batch(self, step: int) -> Batch:
        """Return the samples of one step."""
        rng = np.random.default_rng((self.seed, step))
        ratio = int(rng.choice(list(RATIOS), p=list(RATIOS.values())))
        side = int(rng.choice([s for s in SIDES[ratio] if self._fitting(ratio * s)]))
        view = View(*augmentation.psfs(rng, ratio), side)
        columns = zip(*(self._sample(rng, view) for _ in range(PATCHES)), strict=True)
        seen, start, reference, std, error = map(torch.cat, columns)
        return Batch(seen, start, reference, std, error, view)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return how wrong the corrected start is, in units of the start's own error."""
        psf, device = batch.view.said, next(network.parameters()).device
        std, error = batch.std.to(device), batch.error.to(device)
        detail = network(batch.planes.to(device), psf.ratio) * std[:, None, None]
        closed = batch.view.closed([0.0] * len(detail), device)
        with torch.autocast(device.type, enabled=False):
            made = batch.start.to(device) + null_space_part(moved(detail.float(), psf.shift_px), closed)
        wrong = (made - batch.reference.to(device)) / error[:, None, None]
        relative = error / std
        weight = (relative / relative.mean()).sqrt().clamp(*WEIGHTS)
        each = functional.smooth_l1_loss(wrong, torch.zeros_like(wrong), reduction="none", beta=OUTLIER).mean((1, 2))
        return (weight * each).mean()

    def validate(self, network: nn.Module) -> dict[str, dict[str, float]]:
        """Return PSNR and spectral angle of a few bands of each scene, of the start and corrected."""
        with torch.inference_mode():
            return {name: _validated(network, cube) for name, cube in self.validation.items()}

    def _fitting(self, side: int) -> list[str]:
        return [name for name, cube in self.references.items() if min(cube.shape[1:]) >= side]

    @cached_property
    def _levels(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        return {
            name: (cube.mean((1, 2), dtype=np.float64), cube.std((1, 2), dtype=np.float64))
            for name, cube in self.references.items()
        }

    def _sample(self, rng: Rng, view: View) -> tuple[Tensor, ...]:
        """Draw bands of a patch, with their neighbours: planes, start, reference, std, error."""
        size = view.side * view.blur.ratio
        for _ in range(DRAWS):
            name = str(rng.choice(self._fitting(size)))
            scene, (mean, std) = self.references[name], self._levels[name]
            seen = augmentation.bands(rng, len(scene), BANDS)
            some, where = np.unique(seen, return_inverse=True)
            cut = augmentation.patch(rng, scene, size, some)
            if cut.std((1, 2)).mean() > LEAST_CONTRAST * std[some].mean():
                break
        return _seen(rng, view, torch.from_numpy(cut), where.reshape(seen.shape), (mean[some], std[some]))


def _seen(
    rng: Rng, view: View, patch: Tensor, where: NDArray[np.int_], levels: tuple[NDArray[np.float64], ...]
) -> tuple[Tensor, ...]:
    """Degrade a patch (band, Y, X) and return what the network and the loss need of its bands."""
    lr = view.degrading.degrade(patch)
    noise = _noise(rng) * float(lr.std((1, 2)).mean())
    if noise:
        lr = lr + noise * torch.from_numpy(rng.standard_normal(lr.shape, np.float32))
    own = lr.mean((1, 2)), (lr.var((1, 2)) - noise**2).clamp_min(0.02 * noise**2 + 1e-12).sqrt()
    mean, std = own if rng.random() > SCENE_LEVELS else (torch.from_numpy(v).float() for v in levels)
    std = std.clamp_min(1e-6 * float(mean.abs().mean()) + 1e-12)
    normal = (lr - mean[:, None, None]) / std[:, None, None]
    band = where[:, 0]
    seen = planes(normal[where], noise / std[band], nyquist_gains(view.said))
    start, reference = _start(view, lr[band], noise), patch[band]
    error = (start - reference).square().mean((1, 2)).sqrt()
    return seen, start, reference, std[band], torch.maximum(error, LEAST_ERROR * std[band])


def _noise(rng: Rng) -> float:
    """Draw the noise of a patch, standard deviations."""
    level = float(np.exp(rng.uniform(*np.log(NOISE))))
    return level if rng.random() < NOISY_SHARE else 0.0


def _start(view: View, lr: Tensor, noise: float) -> Tensor:
    """Return the closed form alone, band by band."""
    mean = lr.mean((1, 2), keepdim=True)
    around = lr - mean
    lams = ridge(around.square().mean((1, 2)).double().numpy(), noise)
    return mean + view.closed(lams.tolist()).spread(around)


def _validated(network: nn.Module, cube: Floats) -> dict[str, float]:
    """Degrade a scene by the usual gain, and score start and corrected start on evenly spaced bands."""
    height, width = (n // VALIDATED for n in cube.shape[1:])
    reference = torch.from_numpy(cube[:, : height * VALIDATED, : width * VALIDATED] / cube.max())
    psf = Psf.from_mtf(VALIDATED)
    device = next(network.parameters()).device
    known = operator(psf, (height, width), device=device)
    reference = reference.to(device)
    lr = known.degrade(reference)
    flat = lr.flatten(1).cpu().numpy()
    levels = Levels.of(flat, np.ones(flat.shape[1], np.float32), np.zeros(len(flat)))
    some = sorted({int(b) for b in np.linspace(0, len(cube) - 1, VALIDATION_BANDS)})
    closed = consistency(psf, (height, width), [0.0] * len(some), known)
    mean = lr[some].mean((1, 2), keepdim=True)
    start = mean + closed.spread(lr[some] - mean)
    made = start + correct(network, lr, levels, some, psf, closed)
    return {**_scores(start, reference[some], "start_"), **_scores(made, reference[some], "")}


def _scores(estimate: Tensor, reference: Tensor, prefix: str) -> dict[str, float]:
    estimate = estimate.clamp_min(0)
    square = float((estimate - reference).double().square().mean())
    cosine = functional.cosine_similarity(estimate.double(), reference.double(), dim=0).clamp(-1, 1)
    angle = float(torch.rad2deg(torch.acos(cosine)).mean())
    return {f"{prefix}psnr": 10 * math.log10(1 / square), f"{prefix}sam": angle}
