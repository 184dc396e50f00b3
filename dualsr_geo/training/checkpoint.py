"""Checkpoints of a training: one safetensors file of tensors and a JSON header, replaced atomically."""

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
from dualsr_geo.io.storage.defects import describe
from dualsr_geo.serialization import write_atomically
from dualsr_geo.training.config import TrainingConfig
from dualsr_geo.training.log import Row

FILE = "checkpoint.safetensors"
KEY = "dualsr-geo training"
VERSION = 2


@dataclass(frozen=True)
class Checkpoint:
    """State of a training between two steps.

    Attributes
    ----------
    config : TrainingConfig
    step : int
        Steps done.
    seconds : float
        Time spent on them.
    tensors : mapping of str to Tensor
        Weights, their moving average, and the optimiser's state of each.
    rows : tuple of Row
        The log so far.
    """

    config: TrainingConfig
    step: int
    seconds: float
    tensors: Mapping[str, Tensor]
    rows: tuple[Row, ...]


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a checkpoint; if that fails the previous one stays as it is.

    Raises
    ------
    OutputError
        If it cannot be written, for example on a full disk.
    """
    header = {
        "version": VERSION,
        "config": checkpoint.config.to_json(),
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "rows": [asdict(row) for row in checkpoint.rows],
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in checkpoint.tensors.items()}
    path = folder / FILE
    try:
        write_atomically(path, to_bytes(tensors, metadata={KEY: json.dumps(header)}), sync=True)
    except OSError as error:
        previous = "the last one stays" if path.exists() else "there is none yet"
        raise OutputError(
            f"The checkpoint {path} could not be written ({error.strerror or error}); {previous}. Free some space."
        ) from error


def load(folder: Path) -> Checkpoint | None:
    """Read the checkpoint of a folder; None where there is none.

    Raises
    ------
    ResumeError
        If it is damaged or of another version.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "{}"))
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118  # it is no mapping
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise _damaged(path, error) from error
    if not isinstance(header, Mapping):
        raise ResumeError(f"{path} is damaged: its header is a {type(header).__name__}. Start again with --overwrite.")
    if header.get("version") != VERSION:
        raise ResumeError(
            f"{path} is of version {header.get('version')}, this is version {VERSION}. Start again with --overwrite."
        )
    try:
        return _checkpoint(header, tensors)
    except ResumeError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ResumeError:
    return ResumeError(f"{path} is damaged ({describe(error)}). Start again with --overwrite.")


def _checkpoint(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    rows = tuple(Row(**row) for row in header["rows"])
    return Checkpoint(
        TrainingConfig.from_json(header["config"]), int(header["step"]), float(header["seconds"]), tensors, rows
    )
