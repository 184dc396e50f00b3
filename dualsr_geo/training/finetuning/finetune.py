"""Our network with a guide, fitted to one scene or an archive from its own Wald pairs; no truth is needed.

It begins with weights learned before and goes a short way, at a low rate, with its weights averaged.
Blocks of the scene that are never learned on choose how far it went best, and judge: weights that do
not improve on those it began with, by more than chance gives, are not saved.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from dualsr_geo.engine.options import Options
from dualsr_geo.engine.plan import plan_run
from dualsr_geo.engine.scene_survey import sample_scene, survey_sample
from dualsr_geo.errors import InputError, OptionError, OutputError
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.models import weights
from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.models.registry import SHIPPED
from dualsr_geo.models.weights import Card, read_card, read_tensors
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.registration.shift import move_guide
from dualsr_geo.training import log
from dualsr_geo.training.config import MIN_STEPS, RESERVED_TIME_SHARE, TrainingConfig
from dualsr_geo.training.finetuning.holdout import HoldoutResult, score_blocks, score_holdout
from dualsr_geo.training.finetuning.task import FinetuningTask
from dualsr_geo.training.finetuning.training_pairs import FEWEST, LEAST_SIDE, Pair, Sampled, held_side, pairs, sampled
from dualsr_geo.training.log import Row
from dualsr_geo.training.optimisation import Learner
from dualsr_geo.training.trainer import step_seconds

# lr pixels of all scenes together, and most scenes: both bound memory and the time before the first step.
MOST_PX, MOST_SCENES = 131072, 16
# How it learns. After more steps held-out blocks go on improving and the scene loses: what is learned then
# is how scenes look when degraded twice (SpaceNet: 28.76 dB after 100 steps, 28.65 after 400).
STEPS, RATE, WARMUP, AVERAGE, LARGEST_GRADIENT = 100, 5e-4, 20, 0.98, 0.5
# How much of the way from the weights before is gone in the end. All of it suits the pairs better and
# scenes worse (jasper 36.82 instead of 36.92 dB, sponges 42.52 instead of 42.94).
KEPT = 0.75
# Shares of the steps after which weights may be chosen.
POINTS = (0.2, 0.35, 0.5, 0.75, 1.0)
STEM = "{stem}"


@dataclass(frozen=True)
class FinetuningRequest:
    """What a user asks of a self-fit, besides scenes and guides.

    Attributes
    ----------
    begin : path, optional
        Weights to begin with; the shipped ones if left out.
    minutes : float
        For all of it; `STEPS` steps, which are enough, may take less.
    steps : int, optional
        Instead of `minutes`; the same steps give the same weights on one machine.
    rate : float
        Learning rate at its highest.
    bf16 : bool
        Let torch compute the loss in bfloat16; faster where the CPU has it.
    seed : int
    scale : int, optional
        Ratio; left out, the largest that the guide allows.
    bidx, nodata
        Of the scenes, as for `pipeline.upscale`.
    licence, note : str
        For the card.
    """

    begin: str | os.PathLike[str] | None = None
    minutes: float = 4.0
    steps: int | None = None
    rate: float = RATE
    bf16: bool = False
    seed: int = 0
    scale: int | None = None
    bidx: str | None = None
    nodata: float | None = None
    licence: str = "unknown"
    note: str = ""


def finetune(
    scenes: Sequence[str | os.PathLike[str]],
    rgb: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    request: FinetuningRequest | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> HoldoutResult:
    """Fit our network with a guide to scenes, and write its weights if that pays.

    Parameters
    ----------
    scenes : sequence of path
        Whatever rasterio or Zarr opens.
    rgb : sequence of path
        A guide for each in order, or one pattern with ``{stem}``, relative to the scene's folder.
    output : path
        Weights, safetensors.
    request : FinetuningRequest, optional
    overwrite : bool
        Replace existing weights.
    progress : callable, optional
        Called with lines to print.

    Returns
    -------
    HoldoutResult

    Raises
    ------
    InputError
        If a scene or guide cannot be used, is too small to hold blocks out, or the held-out blocks
        do not improve; nothing is written then.
    OptionError
        If options contradict each other, or scenes and guides.
    OutputError
        If the weights cannot be written, or exist and may not be replaced.
    """
    began, asked, place = time.monotonic(), request or FinetuningRequest(), Path(output)
    _require_free(place, overwrite=overwrite)
    guides = guides_of(scenes, rgb)
    begin = Path(asked.begin) if asked.begin is not None else SHIPPED / "guided.safetensors"
    card, tensors = _begin(begin)
    with torch.no_grad(), threadpool_limits(1, user_api="blas"):
        learned = _learned(scenes, guides, asked)
    lesson = FinetuningTask(learned, tensors, asked.seed)
    course = _course(lesson, asked, began)
    chosen, verdict = _fitted(lesson, course, progress or (lambda _line: None), asked, began)
    verdict.require(begin)
    noted = replace(card, source="dualsr-geo train --rgb", licence=asked.licence, note=_note(asked, begin, verdict))
    weights.save(place, chosen, noted, overwrite=overwrite)
    return verdict


def guides_of(scenes: Sequence[str | os.PathLike[str]], rgb: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return the guide of each scene.

    Raises
    ------
    OptionError
        If their numbers differ.
    """
    if len(rgb) == 1 and STEM in os.fspath(rgb[0]):
        pattern = os.fspath(rgb[0])
        return [Path(s).parent / pattern.replace(STEM, Path(s).stem) for s in scenes]
    if not scenes or len(scenes) != len(rgb):
        raise OptionError(
            f"There are {len(scenes)} scenes and {len(rgb)} guides (--rgb). Give one for each scene in order, or one "
            f"pattern for all, such as --rgb '{STEM}_pan.tif'."
        )
    return [Path(p) for p in rgb]


def _require_free(place: Path, *, overwrite: bool) -> None:
    """Raise at once what saving would raise minutes later."""
    if not place.parent.is_dir():
        raise OutputError(f"The folder {place.parent} of {place} does not exist. Create it, or give another --output.")
    if place.exists() and not overwrite:
        raise OutputError(f"{place} exists. Give --overwrite to replace it, or another --output.")


def _begin(path: Path) -> tuple[Card, dict[str, Tensor]]:
    card = read_card(path)
    if card.network != "guided":
        raise InputError(
            f"--begin {path} holds {card.network}; what is fitted to a scene is our network `guided`. "
            "Leave --begin out for the shipped weights."
        )
    return card, read_tensors(path)


# ---- what is learned ---------------------------------------------------------------------


def _learned(scenes: Sequence[str | os.PathLike[str]], guides: Sequence[Path], asked: FinetuningRequest) -> list[Pair]:
    """Return the Wald pairs of some scenes, spread over the archive if there are many."""
    some = np.unique(np.linspace(0, len(scenes) - 1, min(len(scenes), MOST_SCENES)).round().astype(int))
    each = [_sampled(scenes[i], guides[i], asked, MOST_PX // len(some)) for i in some]
    side = held_side([b.shape for s in each for b in s.blocks], max(max(s.ratios) for s in each))
    if side is None:
        raise _too_small(scenes, each)
    out: list[Pair] = []
    for one in each:
        out += pairs(one, side, 1 + max((int(p.held.max()) for p in out), default=0))
    left = sum(len(np.unique(p.held.numpy())) - 1 for p in out if p.own)
    if left < FEWEST:
        raise InputError(
            f"Holes of {_named(scenes)}, or of the guide, leave {left} blocks to hold out, fewer than {FEWEST}. Give a "
            "larger scene or several, or use the shipped weights: leave --model out."
        )
    return out


def _named(scenes: Sequence[str | os.PathLike[str]]) -> str:
    return os.fspath(scenes[0]) if len(scenes) == 1 else f"the {len(scenes)} scenes"


def _sampled(scene: str | os.PathLike[str], guide: Path, asked: FinetuningRequest, most_px: int) -> Sampled:
    """Read and survey a scene as `upscale` does."""
    opened = open_scene(scene, bidx=asked.bidx, nodata=asked.nodata)
    job = plan_run(opened, [open_scene(guide)], Options(scale=asked.scale, model="regression"))
    sample = sample_scene(job.inputs, opened.shape, job.wishes)
    samples = sample.windows
    try:
        known = survey_sample(sample, job.wishes)
    except InputError as error:
        raise InputError(f"{scene}: {error}") from error
    if known.fit is None:
        margin = sample_margin(job.ratio)
        inner = [move_guide(s.guide, (0.0, 0.0), margin) for s in samples if s.guide is not None]
        seen = sum(int(np.isfinite(g).all(0).sum()) for g in inner) / job.ratio**2
        raise InputError(
            f"The guide {guide} covers {seen:.0f} of {sum(s.cube[0].size for s in samples)} sampled lr pixels of "
            f"{scene}, too few to learn from. Give the guide of this scene."
        )
    return sampled(samples, known, most_px)


def _too_small(scenes: Sequence[str | os.PathLike[str]], each: Sequence[Sampled]) -> InputError:
    ratio = max(max(s.ratios) for s in each)
    height, width = max((b.shape for s in each for b in s.blocks), key=min)
    side = 6 * LEAST_SIDE * ratio
    return InputError(
        f"The guide covers {height} x {width} lr pixels of {_named(scenes)}, too few to hold out {FEWEST} blocks of "
        f"{LEAST_SIDE * ratio} pixels; {side} x {side} would do. Give a larger scene or several, or use the shipped "
        "weights: leave --model out."
    )


# ---- how far it goes ---------------------------------------------------------------------


def _course(lesson: FinetuningTask, asked: FinetuningRequest, began: float) -> TrainingConfig:
    course = TrainingConfig(
        "guided",
        1 if asked.steps is None else asked.steps,
        asked.rate,
        warmup=WARMUP,
        largest_gradient=LARGEST_GRADIENT,
        average=AVERAGE,
        bf16=asked.bf16,
        seed=asked.seed,
    )
    if asked.steps is not None:
        return course
    each, spent = step_seconds(lesson, replace(course, steps=STEPS)), time.monotonic() - began
    steps = int((60 * asked.minutes - spent) * (1 - RESERVED_TIME_SHARE) / each)
    if steps < MIN_STEPS:
        raise OptionError(
            f"--minutes {asked.minutes:g} is too little: reading and surveying took {spent:.0f} s, and a step takes "
            f"{each:.2g} s. Give more, e.g. {math.ceil((spent + 100 * each) / 60)}."
        )
    return replace(course, steps=min(steps, STEPS))


def _fitted(
    lesson: FinetuningTask,
    course: TrainingConfig,
    progress: Callable[[str], None],
    asked: FinetuningRequest,
    began: float,
) -> tuple[dict[str, Tensor], HoldoutResult]:
    """Learn, and return the weights that are best on held-out blocks, and the verdict."""
    learner = Learner(lesson, course, "cpu")
    trials = [score_blocks(lesson.network(), lesson.pairs)]
    states, steps = [dict(lesson.begin)], [0]
    for stop in sorted({math.ceil(p * course.steps) for p in POINTS}):
        losses = [learner.learn() for _ in range(stop - learner.step)]
        now = learner.result.state_dict()
        states.append({k: torch.lerp(before, now[k], KEPT) for k, before in lesson.begin.items()})
        trials.append(score_blocks(GuidedNetwork.of(states[-1]).eval(), lesson.pairs))
        steps.append(stop)
        row = Row(stop, time.monotonic() - began, float(np.mean(losses)), course.rate_at(stop - 1), trials[-1].told)
        progress(log.progress_line(row, course.steps))
        # A machine that others use may be slower than when a step was timed.
        if asked.steps is None and row.seconds > 60 * asked.minutes:
            break
    chosen, verdict = score_holdout(trials, steps, (time.monotonic() - began) / 60)
    return states[chosen], verdict


def _note(asked: FinetuningRequest, begin: Path, verdict: HoldoutResult) -> str:
    """Return what the card says of a self-fit, as JSON."""
    told = {
        "note": asked.note,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "begin_sha256": weights.sha256(begin),
        "torch": torch.__version__,
        "seed": asked.seed,
        **verdict.to_json(),
    }
    return json.dumps({k: v for k, v in told.items() if v != ""})
