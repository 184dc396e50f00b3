"""From references to weights: what `dualsr-geo train` does."""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from dualsr_geo.errors import InputError, OptionError, OutputError
from dualsr_geo.models import weights
from dualsr_geo.training.config import TrainingConfig, load_config, steps_within
from dualsr_geo.training.dataset import Reference, load, split
from dualsr_geo.training.registry import SUBJECTS, Options, TrainableNetwork
from dualsr_geo.training.task import Begun, TrainingTask
from dualsr_geo.training.trainer import Listener, Result, step_seconds, train


@dataclass(frozen=True)
class TrainingRequest:
    """What a user asks of a training, besides its references.

    Attributes
    ----------
    network : str
        One of `subjects.SUBJECTS`.
    options : Options
        Of the lesson.
    course : mapping
        Values of `TrainingConfig` that are not to be the network's own.
    minutes : float, optional
        Instead of a number of steps, which is then fixed by timing a few.
    validate : tuple of str
        Names of references that are not learned from.
    licence, note : str
        For the card.
    begin : str, optional
        Weights to begin with, of the same network and size.
    """

    network: str
    options: Options = field(default_factory=Options)
    course: Mapping[str, Any] = field(default_factory=dict)
    minutes: float | None = None
    validate: tuple[str, ...] = ()
    licence: str = "unknown"
    note: str = ""
    begin: str | None = None


def train_network(
    references: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    request: TrainingRequest,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
    progress: Callable[[str], None] | None = None,
) -> Result:
    """Train a network from references and write its weights, at every checkpoint and at the end.

    Parameters
    ----------
    references : sequence of path
        See `references.load`.
    output : path
        Weights, safetensors. Course, checkpoint and log lie beside it in a folder of its name with
        ``.training`` at the end.
    request : TrainingRequest
    resume : bool
        Go on with an interrupted training of the same request.
    overwrite : bool
        Begin anew where weights or a training are.
    device : str
    progress : callable, optional
        Called with each row of the log as a line to print.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        If a reference cannot be used.
    OptionError
        If options contradict each other or the references.
    OutputError
        If the weights cannot be written, or exist and may not be replaced.
    ResumeError
        If the interrupted training was another one.
    """
    place = Path(output)
    folder = place.with_name(f"{place.stem}.training")
    _require_free(place, folder, resume=resume, overwrite=overwrite)
    if request.network not in SUBJECTS:
        raise OptionError(f"--network {request.network} cannot be trained. Give one of {', '.join(SUBJECTS)}.")
    subject = SUBJECTS[request.network]
    side = subject.side(request.options)
    learned, validation = split(load([Path(r) for r in references], side), request.validate, side)
    lesson = subject.lesson(learned, validation, request.options)
    identity = _identity(learned, validation, request.options)
    begun = lesson
    if request.begin is not None:
        begun = _begun(lesson, request.network, request.begin)
        identity["begin"] = weights.sha256(request.begin)
    course = _course(subject, lesson, request, identity, load_config(folder) if resume else None, device)
    card = replace(subject.card(request.options), licence=request.licence, source="dualsr-geo train")

    def keep(result: Result) -> None:
        noted = replace(card, note=_note(request, result))
        weights.save(place, result.network.state_dict(), noted, overwrite=True)

    listener = Listener(keep, progress)
    return train(begun, course, folder, resume=resume, device=device, listener=listener)


def _require_free(place: Path, folder: Path, *, resume: bool, overwrite: bool) -> None:
    if not place.parent.is_dir():
        raise OutputError(f"The folder {place.parent} of {place} does not exist. Create it, or give another --output.")
    if resume or overwrite:
        return
    for taken in (place, folder):
        if taken.exists():
            raise OutputError(f"{taken} exists. Give --resume to go on with it, or --overwrite to begin anew.")


def _begun(lesson: TrainingTask, network: str, path: str) -> TrainingTask:
    """Return the lesson that begins with these weights.

    Raises
    ------
    InputError
        If they are of another network or size.
    """
    begun = Begun(lesson, weights.read_tensors(path))
    found = weights.read_card(path).network
    if found != network:
        raise InputError(f"--begin {path} holds {found}, and --network is {network}. Give weights of {network}.")
    try:
        begun.network()
    except RuntimeError as error:
        raise InputError(f"--begin {path} holds {found} of another width or ratio. Give the same --width.") from error
    return begun


def _identity(learned: Sequence[Reference], validation: Sequence[Reference], options: Options) -> dict[str, Any]:
    """Return what the samples depend on, as JSON; references by a checksum of their values."""
    some, others = ({r.name: zlib.crc32(r.cube.tobytes()) for r in part} for part in (learned, validation))
    return {**asdict(options), "references": some, "validation": others}


def _course(
    subject: TrainableNetwork,
    lesson: TrainingTask,
    request: TrainingRequest,
    identity: Mapping[str, Any],
    saved: TrainingConfig | None,
    device: str,
) -> TrainingConfig:
    """Fix the course: the network's own values, the user's, and the steps that a budget holds."""
    parallel = distributed.is_available() and distributed.is_initialized()
    values = {
        **subject.course(lesson),
        **request.course,
        "network": request.network,
        "seed": request.options.seed,
        "processes": distributed.get_world_size() if parallel else 1,
        "lesson": identity,
    }
    course = TrainingConfig(**values)
    if request.minutes is None:
        return course
    if saved is not None:
        # Timed once, when the training began.
        return replace(course, steps=saved.steps)
    return replace(course, steps=steps_within(request.minutes, step_seconds(lesson, course, device)))


def _note(request: TrainingRequest, result: Result) -> str:
    """Return what the card says of a training, as JSON."""
    course = result.course
    told = {
        "note": request.note,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "steps": f"{result.step} of {course.steps}",
        "minutes": round(result.seconds / 60, 1),
        "torch": torch.__version__,
        "scores": result.scores,
        "course": course.to_json(),
    }
    return json.dumps({k: v for k, v in told.items() if v != ""})
