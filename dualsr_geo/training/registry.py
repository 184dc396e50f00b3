"""The networks that `dualsr-geo train` knows, a line each: how each makes its lesson and its card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualsr_geo.errors import InputError
from dualsr_geo.models.architectures import architecture_of
from dualsr_geo.models.weights import Card
from dualsr_geo.training.augmentation import Floats
from dualsr_geo.training.dataset import Reference
from dualsr_geo.training.degradations import Degradation
from dualsr_geo.training.guided_task import COURSE as GUIDED_COURSE
from dualsr_geo.training.guided_task import LEAST_SIDE, RATIOS, GuidedTask
from dualsr_geo.training.published_task import Name, PublishedTask
from dualsr_geo.training.simulated_guides import GUIDE_BANDS, GuideKind, responses
from dualsr_geo.training.task import TrainingTask
from dualsr_geo.training.unguided_task import COURSE as LONE_COURSE
from dualsr_geo.training.unguided_task import SIDES as LONE_SIDES
from dualsr_geo.training.unguided_task import UnguidedTask

# Both papers: Adam, 1e-4, halved every 30 epochs. How many epochs there are is ours: the rate is 1e-6 by then.
PUBLISHED_COURSE = {"rate": 1e-4, "schedule": "halving"}
HALVED_EPOCHS = 30
EPOCHS = 200


@dataclass(frozen=True)
class Options:
    """What a user may say of a lesson; None for the network's own default.

    Attributes
    ----------
    scale : int
    width : int, optional
    guide : str, optional
        ``"rgb"``, ``"pan"`` or ``"none"``.
    degradation : str, optional
        See `blurs.degraded`.
    mtf_gain : float
    patch, batch : int, optional
        Side of a patch, hr pixels; patches of a step.
    bands : int
        In sequence; 0 for all.
    validation_side : int
        hr pixels of each validation scene; 0 for all.
    published : bool
        Train what the authors' code computes, its slips included.
    seed : int

    Of these our own networks know `width`, `seed` and, for validation, `guide`: they learn all ratios,
    blurs and guides at once.
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


@dataclass(frozen=True)
class TrainableNetwork:
    """A network that can be trained.

    Attributes
    ----------
    side : callable
        Options -> side of the patches, hr pixels: no reference may be smaller.
    lesson : callable
        (references, validation, options) -> the lesson.
    course : callable
        The lesson's values of a `Course`, where the user says nothing.
    card : callable
        Options -> the card of the weights, before training.
    """

    side: Callable[[Options], int]
    lesson: Callable[[Sequence[Reference], Sequence[Reference], Options], TrainingTask]
    course: Callable[[Any], Mapping[str, Any]]  # takes what `lesson` made
    card: Callable[[Options], Card]


def _published(name: Name, guide: GuideKind, degradation: Degradation, patch_lr: int, batch: int) -> TrainableNetwork:
    """Return the subject of a published network by its paper's values."""

    def side(options: Options) -> int:
        return options.patch or patch_lr * options.scale

    def lesson(learned: Sequence[Reference], validation: Sequence[Reference], options: Options) -> PublishedTask:
        slips = options.published and degradation == "kernels"
        return PublishedTask(
            name=name,
            references=learned,
            validation=validation,
            ratio=options.scale,
            width=options.width or 64,
            guide=options.guide or guide,
            degradation=options.degradation or ("published-kernels" if slips else degradation),
            gain=options.mtf_gain,
            batch_size=options.batch or batch,
            patch=side(options),
            bands=options.bands,
            validation_side=options.validation_side,
            published=options.published,
            seed=options.seed,
        )

    def course(made: PublishedTask) -> Mapping[str, Any]:
        return {**PUBLISHED_COURSE, "steps": EPOCHS * made.epoch, "halve_every": HALVED_EPOCHS * made.epoch}

    def card(options: Options) -> Card:
        guide_bands = GUIDE_BANDS[options.guide or guide]
        return architecture_of(name).card(options.scale, options.width or 64, guide_bands=guide_bands)

    return TrainableNetwork(side, lesson, course, card)


def _alone() -> TrainableNetwork:
    """Return our network without a guide."""

    def lesson(learned: Sequence[Reference], validation: Sequence[Reference], options: Options) -> UnguidedTask:
        scenes, held = ({r.name: r.cube for r in part} for part in (learned, validation))
        return UnguidedTask(scenes, held, options.seed, **_width(options))

    def card(options: Options) -> Card:
        return architecture_of("alone").card(0, options.width or UnguidedTask.width)

    side = max(ratio * min(sides) for ratio, sides in LONE_SIDES.items())
    return TrainableNetwork(lambda _: side, lesson, lambda _: LONE_COURSE, card)


def _guided() -> TrainableNetwork:
    """Return our network with a guide."""

    def lesson(learned: Sequence[Reference], validation: Sequence[Reference], options: Options) -> GuidedTask:
        cameras = {r.name: _cameras(r) for r in learned}
        held = {r.name: (r.cube, _seen_by(r, options.guide or "pan")) for r in validation}
        return GuidedTask({r.name: r.cube for r in learned}, cameras, held, options.seed, **_width(options))

    def card(options: Options) -> Card:
        return architecture_of("guided").card(0, options.width or GuidedTask.width)

    return TrainableNetwork(lambda _: LEAST_SIDE * max(RATIOS), lesson, lambda _: GUIDED_COURSE, card)


def _width(options: Options) -> dict[str, Any]:
    return {} if options.width is None else {"width": options.width}


def _seen_by(reference: Reference, kind: GuideKind) -> Floats:
    weights = responses(kind, len(reference.cube), reference.wavelengths_nm)
    seen: Floats = np.einsum("gb,byx->gyx", weights, reference.cube)
    return seen


def _cameras(reference: Reference) -> list[Floats]:
    """Return what a camera would make of a reference, where it sees enough of it."""
    try:
        return [responses("rgb", len(reference.cube), reference.wavelengths_nm)]
    except InputError:
        return []


SUBJECTS: Mapping[str, TrainableNetwork] = {
    "coarsr": _published("coarsr", "none", "bicubic", 32, 64),
    "coarsenet": _published("coarsenet", "rgb", "kernels", 12, 16),
    "alone": _alone(),
    "guided": _guided(),
}
