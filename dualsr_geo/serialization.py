"""Values of a survey as JSON can hold them, and back."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def plain(value: Any) -> Any:
    """Return what JSON can hold: arrays and tuples as lists, values by their own `to_json` or by field."""
    if isinstance(value, np.ndarray):
        # The shortest text that reads back as the same float32.
        return [plain(row) for row in value] if value.ndim > 1 else [float(str(v)) for v in value]
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return {k: plain(getattr(value, k)) for k in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [plain(v) for v in value]
    return value


def array(value: Any) -> NDArray[np.float32]:
    """Read an array that `plain` wrote."""
    return np.asarray(value, dtype=np.float32)


def jsonable(value: object) -> Any:
    """Return a value as JSON has it.

    Numbers of numpy become plain ones; a number that is not finite becomes its name
    (``"nan"``), which `float` reads and every JSON parser accepts.
    """
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one, nothing between."""
    temp = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temp.write_text(text, encoding="utf-8", newline="")
        os.replace(temp, path)
    except OSError:
        temp.unlink(missing_ok=True)
        raise
