"""Values of a survey as JSON can hold them, and back."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# How the name of a temporary file ends that a killed process may leave.
PARTIAL = ".partial"


def to_jsonable(value: Any) -> Any:
    """Return what JSON can hold: arrays and tuples as lists, values by their own `to_json` or by field."""
    if isinstance(value, np.ndarray):
        # The shortest text that reads back as the same float32.
        return [to_jsonable(row) for row in value] if value.ndim > 1 else [float(str(v)) for v in value]
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return {k: to_jsonable(getattr(value, k)) for k in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {str(k): to_jsonable(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [to_jsonable(v) for v in value]
    return value


def array(value: Any) -> NDArray[np.float32]:
    """Read an array that `to_jsonable` wrote."""
    return np.asarray(value, dtype=np.float32)


def plain_values(value: object) -> Any:
    """Return a value as JSON has it.

    Numbers of numpy become plain ones; a number that is not finite becomes its name
    (``"nan"``), which `float` reads and every JSON parser accepts.
    """
    if isinstance(value, Mapping):
        return {str(k): plain_values(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain_values(value.tolist())
    if isinstance(value, list | tuple):
        return [plain_values(v) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def write_atomically(path: Path, content: str | bytes, *, sync: bool = False) -> None:
    """Write a file so that a reader sees the old one or the new one, nothing between.

    A failure leaves the old file and removes the temporary one, whose name ends with ``PARTIAL``.

    Parameters
    ----------
    path : Path
    content : str or bytes
        Text is written as UTF-8, its newlines as they are.
    sync : bool
        Wait until the disk has the content, so that a power cut does not leave an empty file.

    Raises
    ------
    OSError
        If the disk refuses, being full for example.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
