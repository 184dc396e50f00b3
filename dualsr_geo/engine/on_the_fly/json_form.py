"""Check that JSON has the form of a type before it is read, since the JSON of a survey may come from anywhere."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import numpy as np

from dualsr_geo.errors import excerpt

# Names that JSON has for numbers that are not finite; see `dualsr_geo.serialization.to_json`.
NOT_FINITE = ("inf", "-inf", "nan")
# Axes of the arrays that are stored.
MAX_AXES = 4


def require_form(kind: Any, value: Any, place: str) -> None:
    """Check that JSON has the form that `to_json` gives to a type.

    Parameters
    ----------
    kind : type or type hint
        A dataclass, or a hint as `dualsr_geo.serialization.from_json` reads it.
    value : object
        As `json.loads` returns it.
    place : str
        Where the value is, for the message, e.g. ``"estimates.placement"``.

    Raises
    ------
    ValueError
        If it has another form; the message names the place.
    """
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return
    if origin in (typing.Union, types.UnionType):
        if value is not None or types.NoneType not in members:
            require_form(next(m for m in members if m is not types.NoneType), value, place)
    elif hasattr(kind, "from_json"):
        _require(isinstance(value, Mapping), value, place, "an object")
    elif is_dataclass(kind):
        require_fields(kind, value, place)
    elif np.ndarray in (kind, origin):
        _require_array(value, place)
    elif origin in (tuple, list):
        _require_items(members, value, place)
    elif origin in (dict, Mapping):
        _require(isinstance(value, Mapping), value, place, "an object")
        for name, item in value.items():
            require_form(members[1], item, f"{place}.{excerpt(name)}")
    else:
        _require_scalar(kind, value, place)


def _require(holds: bool, value: Any, place: str, expected: str) -> None:  # noqa: FBT001  # the condition is the subject
    if not holds:
        raise ValueError(f"{place} is {excerpt(value)}, not {expected}")


def require_fields(kind: Any, value: Any, place: str) -> None:
    """Check that JSON is an object with the fields of a dataclass; see `require_form`."""
    _require(isinstance(value, Mapping), value, place, "an object")
    hints, required = typing.get_type_hints(kind), set()
    for field in fields(kind):
        if field.default is MISSING and field.default_factory is MISSING:
            required.add(field.name)
    names = {field.name for field in fields(kind)}
    if missing := sorted(required - set(value)):
        raise ValueError(f"{place} has no {missing[0]}")
    if unknown := sorted(set(value) - names):
        raise ValueError(f"{place} has an unknown entry, {excerpt(unknown[0])}")
    for name, item in value.items():
        require_form(hints[name], item, f"{place}.{name}")


def _require_items(members: Sequence[Any], value: Any, place: str) -> None:
    _require(isinstance(value, list | tuple), value, place, "an array")
    fixed = len(members) > 1 and members[-1] is not ...
    if fixed:
        _require(len(value) == len(members), value, place, f"an array of {len(members)}")
    for index, item in enumerate(value):
        require_form(members[index] if fixed else members[0], item, f"{place}[{index}]")


def _require_scalar(kind: Any, value: Any, place: str) -> None:
    if typing.get_origin(kind) is typing.Literal:
        _require(value in typing.get_args(kind), value, place, f"one of {', '.join(map(repr, typing.get_args(kind)))}")
    elif kind is float:
        _require(_is_number(value), value, place, "a number")
    elif kind is int:
        _require(isinstance(value, int) and not isinstance(value, bool), value, place, "an integer")
    elif kind in (str, bool):
        _require(isinstance(value, kind), value, place, "text" if kind is str else "true or false")
    else:
        raise TypeError(f"no form of {kind} is known")


def _is_number(value: Any) -> bool:
    return (isinstance(value, int | float) and not isinstance(value, bool)) or value in NOT_FINITE


def _require_array(value: Any, place: str) -> None:
    if isinstance(value, Mapping):
        if set(value) != {"dtype", "shape", "values"}:
            raise ValueError(f"{place} is no array")
        _require(
            value["dtype"] in ("bool", "float32", "float64", "int32", "int64"), value["dtype"], place, "a known type"
        )
        require_form(tuple[int, ...], value["shape"], f"{place}.shape")
        require_form(list[Any], value["values"], f"{place}.values")
        size = math.prod(value["shape"])
        _require(
            min(value["shape"], default=0) >= 0 and size == len(value["values"]), size, place, "its number of values"
        )
        values = value["values"]
    else:
        values = _flat(value, place)
    _require(all(_is_number(v) or isinstance(v, bool) for v in values), "another value", place, "an array of numbers")


def _flat(value: Any, place: str) -> list[Any]:
    """Return the numbers of nested arrays, which have to be rectangular."""
    level = [value]
    for _ in range(MAX_AXES + 1):
        if not any(isinstance(v, list) for v in level):
            return level
        if not all(isinstance(v, list) for v in level) or len({len(v) for v in level}) > 1:
            break
        level = [item for v in level for item in v]
    raise ValueError(f"{place} is no rectangular array of up to {MAX_AXES} axes")
