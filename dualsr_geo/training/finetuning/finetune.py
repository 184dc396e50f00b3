"""Fine-tuning of the guided network on Wald pairs of one scene or an archive; no reference is needed.

It starts from trained weights and takes a few steps at a low learning rate, with averaged weights.
Held-out blocks of the scene choose the number of steps and score the result: weights that are not
significantly better than those before are not saved.
"""

from __future__ import annotations

import json
import math
import os
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
from dualsr_geo.io.storage.names import require_place
from dualsr_geo.models import weights
from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.models.weights import SHIPPED, Card, read_card, read_tensors, require_weights_file
from dualsr_geo.raster.packing import Nodata
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.registration.shift import move_guide
from dualsr_geo.training import log
from dualsr_geo.training.command_line import command_line
from dualsr_geo.training.config import MIN_STEPS, RESERVED_TIME_SHARE, TrainingConfig, require_minutes
from dualsr_geo.training.finetuning.holdout import HoldoutResult, score_blocks, score_holdout
from dualsr_geo.training.finetuning.task import FinetuningTask
from dualsr_geo.training.finetuning.training_pairs import (
    MIN_BLOCKS,
    MIN_SIDE_LR_PX,
    SampledScene,
    TrainingPair,
    held_side,
    sample_scene_blocks,
    training_pairs,
)
from dualsr_geo.training.log import Row
from dualsr_geo.training.optimisation import Learner
from dualsr_geo.training.trainer import step_seconds

# Most lr pixels of all scenes together, and most scenes: both bound memory and the time before the first step.
MAX_LR_PX, MAX_SCENES = 131072, 16
# Most steps. After more of them held-out blocks still improve and products do not: the network then learns how
# scenes look when degraded twice (SpaceNet: 28.76 dB after 100 steps, 28.65 after 400).
MAX_STEPS = 100
# Fields of `TrainingConfig`.
LEARNING_RATE, WARMUP_STEPS, AVERAGE_DECAY, LARGEST_GRADIENT = 5e-4, 20, 0.98, 0.5
# Share of the change of the weights that is used. With the whole change pairs are better and products worse
# (jasper 36.82 instead of 36.92 dB, sponges 42.52 instead of 42.94).
WEIGHT_CHANGE_SHARE = 0.75
# Shares of the steps after which weights are candidates.
CANDIDATE_STEP_SHARES = (0.2, 0.35, 0.5, 0.75, 1.0)
# Stands for the scene's stem in a pattern of guides.
STEM = "{stem}"


@dataclass(frozen=True)
class FinetuningRequest:
    """Options of a fine-tuning.

    Attributes
    ----------
    begin : path, optional
        Weights to begin with; by default the shipped ones.
    minutes : float
        Budget of time, with the time to read; `MAX_STEPS` steps may take less.
    steps : int, optional
        Instead of `minutes`; the same steps give the same weights on one machine.
    rate : float
        Learning rate at its highest.
    bf16 : bool
        Compute the loss under autocast to bfloat16, which is faster if the CPU has it.
    seed : int
    scale : int, optional
        Ratio; by default the largest that the guide allows.
    bidx, nodata
        Of the scenes, as for `upscale`.
    licence, note : str
        For the card.
    """

    begin: str | os.PathLike[str] | None = None
    minutes: float = 4.0
    steps: int | None = None
    rate: float = LEARNING_RATE
    bf16: bool = False
    seed: int = 0
    scale: int | None = None
    bidx: str | None = None
    nodata: Nodata = None
    licence: str = "unknown"
    note: str = ""

    def __post_init__(self) -> None:
        """Check the ranges of the numbers; raises OptionError."""
        require_minutes(self.minutes)
        if not 0 <= self.seed < 2**63:
            raise OptionError(f"--seed {self.seed} is not within 0..{2**63 - 1}. Give a seed in this range.")


def finetune(
    scenes: Sequence[str | os.PathLike[str]],
    rgb: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    request: FinetuningRequest | None = None,
    *,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> HoldoutResult:
    """Fine-tune the guided network to scenes, and write its weights if they are better.

    Parameters
    ----------
    scenes : sequence of path
        Whatever `open_scene` opens.
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
        If a scene or guide cannot be used or is too small for held-out blocks, or the held-out
        blocks do not improve; nothing is written then.
    OptionError
        If options, or the numbers of scenes and guides, contradict each other.
    OutputError
        If the weights cannot be written, or exist and may not be replaced.
    """
    started_at, request, path = time.monotonic(), request or FinetuningRequest(), require_place(output, "--output")
    _require_free(path, overwrite=overwrite)
    guides = guides_of(scenes, rgb)
    begin = Path(request.begin) if request.begin is not None else SHIPPED / "guided.safetensors"
    require_weights_file(path, [*scenes, *guides, begin])
    card, tensors = _read_begin(begin)
    with torch.no_grad(), threadpool_limits(1, user_api="blas"):
        pairs = _read_pairs(scenes, guides, request, started_at, progress or (lambda _line: None))
    task = FinetuningTask(pairs, tensors, request.seed)
    config = _config(task, request, started_at)
    best, result = _train(task, config, progress or (lambda _line: None), request, started_at)
    result.require(begin)
    note = _note(request, begin, result)
    new_card = replace(card, source="dualsr-geo train --rgb", licence=request.licence, note=note)
    weights.save(path, best, new_card, overwrite=overwrite)
    return result


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


def _require_free(path: Path, *, overwrite: bool) -> None:
    """Check the output before the training, which takes minutes."""
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists. Give --overwrite to replace it, or another --output.")


def _read_begin(path: Path) -> tuple[Card, dict[str, Tensor]]:
    card = read_card(path)
    if card.network != "guided":
        raise InputError(
            f"--begin {path} holds {card.network}, and only the network `guided` can be fitted to a scene. "
            "Leave --begin out for the shipped weights."
        )
    return card, read_tensors(path)


# ---- training pairs ----------------------------------------------------------------------


def _read_pairs(
    scenes: Sequence[str | os.PathLike[str]],
    guides: Sequence[Path],
    request: FinetuningRequest,
    started_at: float,
    progress: Callable[[str], None],
) -> list[TrainingPair]:
    """Return the Wald pairs of the scenes, or of some spread over an archive if there are many."""
    chosen = np.unique(np.linspace(0, len(scenes) - 1, min(len(scenes), MAX_SCENES)).round().astype(int))
    sampled_scenes: list[SampledScene] = []
    for count, i in enumerate(chosen, 1):
        progress(f"Reading and surveying scene {count} of {len(chosen)}: {os.fspath(scenes[i])}")
        sampled_scenes.append(_sampled(scenes[i], guides[i], request, MAX_LR_PX // len(chosen)))
        _require_time(request, time.monotonic() - started_at, count, len(chosen))
    shapes = [b.shape for s in sampled_scenes for b in s.blocks]
    side = held_side(shapes, max(max(s.ratios) for s in sampled_scenes))
    if side is None:
        raise _too_small(scenes, sampled_scenes)
    out: list[TrainingPair] = []
    for scene in sampled_scenes:
        out += training_pairs(scene, side, 1 + max((int(p.held_out.max()) for p in out), default=0))
    count = sum(len(np.unique(p.held_out.numpy())) - 1 for p in out if p.own_ratio)
    if count < MIN_BLOCKS:
        raise InputError(
            f"Holes of {_names(scenes)}, or of the guide, leave {count} blocks to hold out, fewer than {MIN_BLOCKS}. "
            "Give a larger scene or several, or use the shipped weights: leave --model out."
        )
    return out


def _require_time(request: FinetuningRequest, spent_s: float, count: int, total: int) -> None:
    """Check after each scene that reading all of them leaves time to train.

    Raises
    ------
    OptionError
        If it does not.
    """
    estimate_s = spent_s / count * total
    if request.steps is None and estimate_s > 60 * request.minutes:
        raise OptionError(
            f"--minutes {request.minutes:g} is too little: reading and surveying takes about {estimate_s:.0f} s "
            f"({count} of {total} took {spent_s:.0f} s). Give more, e.g. {math.ceil(2 * estimate_s / 60) + 1}."
        )


def _names(scenes: Sequence[str | os.PathLike[str]]) -> str:
    return os.fspath(scenes[0]) if len(scenes) == 1 else f"the {len(scenes)} scenes"


def _sampled(scene: str | os.PathLike[str], guide: Path, request: FinetuningRequest, max_px: int) -> SampledScene:
    """Read and survey a scene as `upscale` does."""
    opened = open_scene(scene, bidx=request.bidx, nodata=request.nodata)
    plan = plan_run(opened, [open_scene(guide)], Options(scale=request.scale, model="regression"))
    sample = sample_scene(plan.inputs, opened.shape, plan.survey_options)
    try:
        survey = survey_sample(sample, plan.survey_options)
    except InputError as error:
        raise InputError(f"{scene}: {error}") from error
    if survey.model_state is None:
        margin = sample_margin(plan.ratio)
        guides = [move_guide(s.guide, (0.0, 0.0), margin) for s in sample.windows if s.guide is not None]
        covered = sum(int(np.isfinite(g).all(0).sum()) for g in guides) / plan.ratio**2
        raise InputError(
            f"The guide {guide} covers {covered:.0f} of {sum(s.cube[0].size for s in sample.windows)} sampled lr pixels "
            f"of {scene}, too few to learn from. Give the guide of this scene."
        )
    return sample_scene_blocks(sample.windows, survey, max_px)


def _too_small(scenes: Sequence[str | os.PathLike[str]], sampled_scenes: Sequence[SampledScene]) -> InputError:
    ratio = max(max(s.ratios) for s in sampled_scenes)
    height, width = max((b.shape for s in sampled_scenes for b in s.blocks), key=min)
    side = 6 * MIN_SIDE_LR_PX * ratio
    return InputError(
        f"The guide covers {height} x {width} lr pixels of {_names(scenes)}, too few to hold out {MIN_BLOCKS} blocks of "
        f"{MIN_SIDE_LR_PX * ratio} pixels; {side} x {side} would do. Give a larger scene or several, or use the shipped "
        "weights: leave --model out."
    )


# ---- training ----------------------------------------------------------------------------


def _config(task: FinetuningTask, request: FinetuningRequest, started_at: float) -> TrainingConfig:
    config = TrainingConfig(
        "guided",
        1 if request.steps is None else request.steps,
        request.rate,
        warmup=WARMUP_STEPS,
        largest_gradient=LARGEST_GRADIENT,
        average=AVERAGE_DECAY,
        bf16=request.bf16,
        seed=request.seed,
    )
    if request.steps is not None:
        return config
    step_s, spent_s = step_seconds(task, replace(config, steps=MAX_STEPS)), time.monotonic() - started_at
    steps = int((60 * request.minutes - spent_s) * (1 - RESERVED_TIME_SHARE) / step_s)
    if steps < MIN_STEPS:
        raise OptionError(
            f"--minutes {request.minutes:g} is too little: reading and surveying took {spent_s:.0f} s, and a step takes "
            f"{step_s:.2g} s. Give more, e.g. {math.ceil((spent_s + MAX_STEPS * step_s) / 60)}."
        )
    return replace(config, steps=min(steps, MAX_STEPS))


def _train(
    task: FinetuningTask,
    config: TrainingConfig,
    progress: Callable[[str], None],
    request: FinetuningRequest,
    started_at: float,
) -> tuple[dict[str, Tensor], HoldoutResult]:
    """Train, and return the weights that are best on the held-out blocks, and their comparison with those before."""
    learner = Learner(task, config, "cpu")
    trials = [score_blocks(task.network(), task.pairs)]
    states, steps = [dict(task.begin)], [0]
    for stop in sorted({math.ceil(p * config.steps) for p in CANDIDATE_STEP_SHARES}):
        losses = [learner.learn() for _ in range(stop - learner.step)]
        trained = learner.result.state_dict()
        states.append({k: torch.lerp(v, trained[k], WEIGHT_CHANGE_SHARE) for k, v in task.begin.items()})
        trials.append(score_blocks(GuidedNetwork.of(states[-1]).eval(), task.pairs))
        steps.append(stop)
        seconds, rate = time.monotonic() - started_at, config.rate_at(stop - 1)
        progress(log.progress_line(Row(stop, seconds, float(np.mean(losses)), rate, trials[-1].scores), config.steps))
        # Other programs may slow the machine down after a step was timed.
        if request.steps is None and seconds > 60 * request.minutes:
            break
    best, result = score_holdout(trials, steps, (time.monotonic() - started_at) / 60)
    return states[best], result


def _note(request: FinetuningRequest, begin: Path, result: HoldoutResult) -> str:
    """Return the card's record of a fine-tuning, as JSON."""
    note = {
        "note": request.note,
        "command": command_line(),
        "begin_sha256": weights.sha256(begin),
        "torch": torch.__version__,
        "seed": request.seed,
        **result.to_json(),
    }
    return json.dumps({k: v for k, v in note.items() if v != ""})
