"""Registry of the networks that `dualsr-geo train` can train: task, default config and card of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualsr_geo.errors import InputError, OptionError, ScaleError
from dualsr_geo.models.architectures import architecture_of
from dualsr_geo.models.weights import Card
from dualsr_geo.training.augmentation import Floats
from dualsr_geo.training.dataset import Reference
from dualsr_geo.training.degradations import Degradation
from dualsr_geo.training.simulated_guides import GUIDE_BANDS, GuideKind, responses
from dualsr_geo.training.task import TrainingTask
from dualsr_geo.training.tasks.guided_scenes import MIN_SIDE_LR_PX, RATIO_SHARES
from dualsr_geo.training.tasks.guided_task import CONFIG as GUIDED_CONFIG
from dualsr_geo.training.tasks.guided_task import GuidedTask
from dualsr_geo.training.tasks.published_task import Name, PublishedTask
from dualsr_geo.training.tasks.unguided_task import CONFIG as UNGUIDED_CONFIG
from dualsr_geo.training.tasks.unguided_task import SIDES_LR_PX as UNGUIDED_SIDES_LR_PX
from dualsr_geo.training.tasks.unguided_task import UnguidedTask

# Of both papers: Adam, 1e-4, halved every 30 epochs.
PUBLISHED_CONFIG = {"rate": 1e-4, "schedule": "halving"}
HALVING_EPOCHS = 30
# The papers do not say how many; the rate is 1e-6 after 200.
EPOCHS = 200
# Features of the networks of both papers.
PUBLISHED_WIDTH = 64
# Smallest and largest ratio, and smallest and largest value of each other number; the upper ends are far beyond use.
RATIOS = (2, 32)
RANGES = {
    "width": (1, 4096),
    "patch": (1, 2**16),
    "batch": (1, 2**16),
    "bands": (0, 4096),
    "validation_side": (0, 2**20),
    "seed": (0, 2**63 - 1),
}


@dataclass(frozen=True)
class TaskOptions:
    """Options of a task; None for the network's own default.

    Attributes
    ----------
    scale : int
    width : int, optional
    guide : str, optional
        ``"rgb"``, ``"pan"`` or ``"none"``.
    degradation : str, optional
        See `degradations.degrade`.
    mtf_gain : float
        MTF at the lr Nyquist frequency, of ``degradation="mtf"``.
    patch, batch : int, optional
        Side of a patch, hr pixels; patches of a step.
    bands : int
        In sequence; 0 for all.
    validation_side : int
        Side of the square of each validation scene that is scored, hr pixels; 0 for all.
    published : bool
        Train what the authors' code computes, its errors included.
    seed : int

    Notes
    -----
    `guided` and `alone` read `width`, `seed` and, for validation, `guide` only: they learn all
    ratios, blurs and guides at once.
    """

    scale: int = 4
    width: int | None = None
    guide: GuideKind | None = None
    degradation: Degradation | None = None
    mtf_gain: float = 0.3
    patch: int | None = None
    batch: int | None = None
    bands: int = 0
    validation_side: int = 0
    published: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges of the options.

        Raises
        ------
        ScaleError
            If the scale is none.
        OptionError
            If another value is out of range.
        """
        low, high = RATIOS
        if not low <= self.scale <= high:
            raise ScaleError(f"--scale {self.scale} is not a ratio of a network. Give {low}..{high}.")
        for name, (least, largest) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= largest:
                raise OptionError(
                    f"--{name.replace('_', '-')} {value} is not within {least}..{largest}. Give a value in this range."
                )
        if not 0 < self.mtf_gain < 1:
            raise OptionError(f"--mtf-gain {self.mtf_gain:g} is not between 0 and 1. Give e.g. 0.3.")


@dataclass(frozen=True)
class TrainableNetwork:
    """A network that can be trained.

    Attributes
    ----------
    side : callable
        options -> side of the patches, hr pixels: no reference may be smaller.
    task : callable
        (references, validation, options) -> the task.
    config : callable
        task -> default fields of its `TrainingConfig`.
    card : callable
        options -> the card of the weights, before training.
    """

    side: Callable[[TaskOptions], int]
    task: Callable[[Sequence[Reference], Sequence[Reference], TaskOptions], TrainingTask]
    config: Callable[[Any], Mapping[str, Any]]  # takes the task that `task` returns
    card: Callable[[TaskOptions], Card]


def _published(name: Name, guide: GuideKind, degradation: Degradation, patch_lr: int, batch: int) -> TrainableNetwork:
    """Return a published network with the defaults of its paper."""

    def side(options: TaskOptions) -> int:
        return options.patch or patch_lr * options.scale

    def task(training: Sequence[Reference], validation: Sequence[Reference], options: TaskOptions) -> PublishedTask:
        off_centre = options.published and degradation == "kernels"
        return PublishedTask(
            name=name,
            references=training,
            validation=validation,
            ratio=options.scale,
            width=options.width or PUBLISHED_WIDTH,
            guide=options.guide or guide,
            degradation=options.degradation or ("published-kernels" if off_centre else degradation),
            gain=options.mtf_gain,
            batch_size=options.batch or batch,
            patch=side(options),
            bands=options.bands,
            validation_side=options.validation_side,
            published=options.published,
            seed=options.seed,
        )

    def config(task: PublishedTask) -> Mapping[str, Any]:
        return {**PUBLISHED_CONFIG, "steps": EPOCHS * task.epoch, "halve_every": HALVING_EPOCHS * task.epoch}

    def card(options: TaskOptions) -> Card:
        guide_bands = GUIDE_BANDS[options.guide or guide]
        return architecture_of(name).card(options.scale, options.width or PUBLISHED_WIDTH, guide_bands=guide_bands)

    return TrainableNetwork(side, task, config, card)


def _unguided() -> TrainableNetwork:
    def task(training: Sequence[Reference], validation: Sequence[Reference], options: TaskOptions) -> UnguidedTask:
        scenes, validation_scenes = ({r.name: r.cube for r in part} for part in (training, validation))
        return UnguidedTask(scenes, validation_scenes, options.seed, **_width(options))

    def card(options: TaskOptions) -> Card:
        return architecture_of("alone").card(0, options.width or UnguidedTask.width)

    side = max(ratio * min(sides) for ratio, sides in UNGUIDED_SIDES_LR_PX.items())
    return TrainableNetwork(lambda _: side, task, lambda _: UNGUIDED_CONFIG, card)


def _guided() -> TrainableNetwork:
    def task(training: Sequence[Reference], validation: Sequence[Reference], options: TaskOptions) -> GuidedTask:
        cameras = {r.name: _camera_responses(r) for r in training}
        pairs = {r.name: (r.cube, _guide(r, options.guide or "pan")) for r in validation}
        return GuidedTask({r.name: r.cube for r in training}, cameras, pairs, options.seed, **_width(options))

    def card(options: TaskOptions) -> Card:
        return architecture_of("guided").card(0, options.width or GuidedTask.width)

    side = MIN_SIDE_LR_PX * max(RATIO_SHARES)
    return TrainableNetwork(lambda _: side, task, lambda _: GUIDED_CONFIG, card)


def _width(options: TaskOptions) -> dict[str, Any]:
    return {} if options.width is None else {"width": options.width}


def _guide(reference: Reference, kind: GuideKind) -> Floats:
    weights = responses(kind, len(reference.cube), reference.wavelengths_nm)
    guide: Floats = np.einsum("gb,byx->gyx", weights, reference.cube)
    return guide


def _camera_responses(reference: Reference) -> list[Floats]:
    """Return the responses of a camera to a reference; none if too few of its bands are visible."""
    try:
        return [responses("rgb", len(reference.cube), reference.wavelengths_nm)]
    except InputError:
        return []


TRAINABLE_NETWORKS: Mapping[str, TrainableNetwork] = {
    "coarsr": _published("coarsr", "none", "bicubic", 32, 64),
    "coarsenet": _published("coarsenet", "rgb", "kernels", 12, 16),
    "alone": _unguided(),
    "guided": _guided(),
}
