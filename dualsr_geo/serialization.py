"""Values of a survey as JSON can hold them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.fusion.scene_regression import Fit, Mixture


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


def fit(value: Mapping[str, Any]) -> Fit:
    """Read a `Fit` that `plain` wrote."""
    mixtures = {
        int(k): Mixture(array(m["centres"]), float(m["width"]), array(m["coefficients"]))
        for k, m in value["mixtures"].items()
    }
    arrays = {name: array(value[name]) for name in Fit.__dataclass_fields__ if name != "mixtures"}
    return Fit(**arrays, mixtures=mixtures)
