"""Where a training stands, on disk: always whole, and no pickle.

Tensors and a JSON header in one safetensors file; a new one is written beside the last and takes
its place in one step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from dualsr_geo.errors import OutputError, ResumeError
from dualsr_geo.serialization import write_atomically
from dualsr_geo.training.config import TrainingConfig
from dualsr_geo.training.log import Row

FILE = "checkpoint.safetensors"
KEY = "dualsr-geo training"
VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A training between two steps.

    Attributes
    ----------
    course : TrainingConfig
    step : int
        Steps done.
    seconds : float
        Time spent on them.
    tensors : mapping of str to Tensor
        Weights, their moving average, and what the optimiser keeps of each.
    rows : tuple of Row
        The log so far.
    """

    course: TrainingConfig
    step: int
    seconds: float
    tensors: Mapping[str, Tensor]
    rows: tuple[Row, ...]


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a checkpoint; if that fails the former one stays as it is.

    Raises
    ------
    OutputError
        If the disk refuses, being full for example.
    """
    header = {
        "version": VERSION,
        "course": checkpoint.course.to_json(),
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "rows": [asdict(row) for row in checkpoint.rows],
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in checkpoint.tensors.items()}
    place = folder / FILE
    try:
        write_atomically(place, to_bytes(tensors, metadata={KEY: json.dumps(header)}), sync=True)
    except OSError as error:
        last = "the last one stays" if place.exists() else "there is none yet"
        raise OutputError(
            f"The checkpoint {place} could not be written ({error.strerror or error}); {last}. Free some space."
        ) from error


def load(folder: Path) -> Checkpoint | None:
    """Return the checkpoint of a folder; None where no step was kept.

    Raises
    ------
    ResumeError
        If it is damaged or of another version.
    """
    place = folder / FILE
    if not place.exists():
        return None
    try:
        with safe_open(place, "pt") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "{}"))
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118  # it is no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise ResumeError(f"{place} is damaged ({error}). Begin anew with --overwrite.") from error
    if header.get("version") != VERSION:
        raise ResumeError(
            f"{place} is of version {header.get('version')}, this is version {VERSION}. Begin anew with --overwrite."
        )
    return _checkpoint(header, tensors)


def _checkpoint(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    rows = tuple(Row(**row) for row in header["rows"])
    return Checkpoint(TrainingConfig.from_json(header["course"]), header["step"], header["seconds"], tensors, rows)
