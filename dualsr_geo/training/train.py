"""Training of a network from references to its weights file, as `dualsr-geo train` does it."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from dualsr_geo.errors import InputError, OptionError, OutputError
from dualsr_geo.io.storage.names import require_name, require_place
from dualsr_geo.io.storage.side_files import kind_of
from dualsr_geo.io.storage.work_directory.local_directory import LOCK, OWNER
from dualsr_geo.io.storage.work_directory.ownership import locked
from dualsr_geo.models import weights
from dualsr_geo.models.weights import require_weights_file
from dualsr_geo.training import checkpoint, log
from dualsr_geo.training.command_line import command_line
from dualsr_geo.training.config import FILE as CONFIG_FILE
from dualsr_geo.training.config import TrainingConfig, load_config, steps_within
from dualsr_geo.training.dataset import Reference, load, split
from dualsr_geo.training.registry import TRAINABLE_NETWORKS, TaskOptions, TrainableNetwork
from dualsr_geo.training.task import PretrainedTask, TrainingTask
from dualsr_geo.training.trainer import Callbacks, TrainingResult, step_seconds, train


@dataclass(frozen=True)
class TrainingRequest:
    """Options of a training.

    Attributes
    ----------
    network : str
        Key of `registry.TRAINABLE_NETWORKS`.
    options : TaskOptions
    config : mapping
        Fields of `TrainingConfig` that replace the network's own defaults.
    minutes : float, optional
        Budget of time; the number of steps is then fixed by timing a few.
    validate : tuple of str
        Names of references that are for validation only.
    licence, note : str
        For the card.
    begin : str, optional
        Weights to begin with, of the same network and size.
    """

    network: str
    options: TaskOptions = field(default_factory=TaskOptions)
    config: Mapping[str, Any] = field(default_factory=dict)
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
) -> TrainingResult:
    """Train a network from references and write its weights, at every checkpoint and at the end.

    Parameters
    ----------
    references : sequence of path
        See `dataset.load`.
    output : path
        Weights, safetensors. Config, checkpoint and log are in a folder next to it, of its stem and
        ``.training``.
    request : TrainingRequest
    resume : bool
        Continue an interrupted training of the same request.
    overwrite : bool
        Replace existing weights and trainings.
    device : str
    progress : callable, optional
        Called with each row of the log as a line to print.

    Returns
    -------
    TrainingResult

    Raises
    ------
    InputError
        If a reference cannot be used.
    OptionError
        If options contradict each other or the references.
    OutputError
        If the weights cannot be written, or exist and may not be replaced.
    ResumeError
        If the interrupted training had other options or references.
    """
    for reference in references:
        require_name(reference, "reference")
    path = require_place(output, "--output")
    folder = path.with_name(f"{path.stem}.training")
    _require_free(path, folder, resume=resume, overwrite=overwrite)
    begin = [] if request.begin is None else [request.begin]
    require_weights_file(path, [*references, *begin], resume=resume and not overwrite)
    if request.network not in TRAINABLE_NETWORKS:
        networks = ", ".join(TRAINABLE_NETWORKS)
        raise OptionError(f"--network {request.network} cannot be trained. Give one of {networks}.")
    trainable = TRAINABLE_NETWORKS[request.network]
    side = trainable.side(request.options)
    training, validation = split(load([Path(r) for r in references], side), request.validate, side)
    task = trainable.task(training, validation, request.options)
    samples = _sample_identity(training, validation, request.options)
    started = task
    if request.begin is not None:
        started = _pretrained(task, request.network, request.begin)
        samples["begin"] = weights.sha256(request.begin)
    config = _config(trainable, task, request, samples, load_config(folder) if resume else None, device)
    card = replace(trainable.card(request.options), licence=request.licence, source="dualsr-geo train")

    def save_weights(result: TrainingResult) -> None:
        full_card = replace(card, note=_note(request, result))
        weights.save(path, result.network.state_dict(), full_card, overwrite=True)

    callbacks = Callbacks(save_weights, progress)
    with _locked(folder, path):
        return train(started, config, folder, resume=resume, device=device, callbacks=callbacks)


@contextmanager
def _locked(folder: Path, output: Path) -> Iterator[None]:
    """Keep other trainings out of the folder; of several processes of one training the first holds the lock.

    Raises
    ------
    OutputError
        If another training has the lock; the message names its process, host and start.
    """
    parallel = distributed.is_available() and distributed.is_initialized()
    if parallel and distributed.get_rank() != 0:
        yield
        return

    def refuse(holder: str) -> OutputError:
        return OutputError(f"{output} is being trained{holder}. Wait for it, or give another --output.")

    def leave() -> None:
        (folder / LOCK).unlink()
        if not any(folder.iterdir()):
            folder.rmdir()

    prepare = partial(folder.mkdir, parents=True, exist_ok=True)
    with locked(folder / LOCK, folder / OWNER, refuse, prepare=prepare, leave=leave):
        yield


def _require_free(path: Path, folder: Path, *, resume: bool, overwrite: bool) -> None:
    _require_training_folder(folder)
    if resume or overwrite:
        return
    for existing in (path, folder):
        if existing.exists():
            raise OutputError(f"{existing} exists. Give --resume to continue it, or --overwrite to start again.")


def _require_training_folder(folder: Path) -> None:
    """Check that the folder of a training is none of something else."""
    kind = kind_of(folder, follow=True)
    names = {p.name for p in folder.iterdir()} if kind == "folder" else set()
    if kind not in (None, "folder") or (names and not names & {CONFIG_FILE, checkpoint.FILE, log.FILE, LOCK}):
        raise OutputError(
            f"{folder} is needed for the checkpoints, but is not that of a training. Move it, or give another --output."
        )


def _pretrained(task: TrainingTask, network: str, path: str) -> TrainingTask:
    """Return the task whose network starts from the weights of a file.

    Raises
    ------
    InputError
        If they are of another network or size.
    """
    pretrained = PretrainedTask(task, weights.read_tensors(path))
    other = weights.read_card(path).network
    if other != network:
        raise InputError(f"--begin {path} holds {other}, and --network is {network}. Give weights of {network}.")
    try:
        pretrained.network()
    except (RuntimeError, KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"--begin {path} holds {other} of another width or ratio. Give the same --width.") from error
    return pretrained


def _sample_identity(
    training: Sequence[Reference], validation: Sequence[Reference], options: TaskOptions
) -> dict[str, Any]:
    """Return all that the samples depend on, as JSON; references by a checksum of their values."""
    checksums, others = ({r.name: zlib.crc32(r.cube.tobytes()) for r in part} for part in (training, validation))
    return {**asdict(options), "references": checksums, "validation": others}


def _config(
    trainable: TrainableNetwork,
    task: TrainingTask,
    request: TrainingRequest,
    samples: Mapping[str, Any],
    saved: TrainingConfig | None,
    device: str,
) -> TrainingConfig:
    """Return the config of the network's defaults, the user's options, and the steps that a budget holds."""
    parallel = distributed.is_available() and distributed.is_initialized()
    values = {
        **trainable.config(task),
        **request.config,
        "network": request.network,
        "seed": request.options.seed,
        "processes": distributed.get_world_size() if parallel else 1,
        "samples": samples,
    }
    config = TrainingConfig(**values)
    if request.minutes is None:
        return config
    if saved is not None:
        # Steps are timed only once, so a resumed training has the same schedule.
        return replace(config, steps=saved.steps)
    return replace(config, steps=steps_within(request.minutes, step_seconds(task, config, device)))


def _note(request: TrainingRequest, result: TrainingResult) -> str:
    """Return the card's record of a training, as JSON."""
    config = result.config
    note = {
        "note": request.note,
        "command": command_line(),
        "steps": f"{result.step} of {config.steps}",
        "minutes": round(result.seconds / 60, 1),
        "torch": torch.__version__,
        "scores": result.scores,
        "config": config.to_json(),
    }
    return json.dumps({k: v for k, v in note.items() if v != ""})
