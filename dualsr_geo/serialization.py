"""JSON of frozen values and of records, and files that are written whole."""

from __future__ import annotations

import errno
import json
import math
import os
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.messages import one_line

T = TypeVar("T")

# How the name of a temporary file ends that a killed process may leave.
PARTIAL = ".partial"


def to_json(value: Any) -> Any:
    """Return a value as JSON can hold it, so that `from_json` reads the same value back.

    =========================  ==================================================================
    value                      JSON
    =========================  ==================================================================
    dataclass                  object by field; what its own ``to_json`` returns where it has one
    mapping                    object, keys as text
    tuple, list                array
    float32 array              nested arrays; each number is the shortest text of that float32
    other array                ``{"dtype": "int64", "shape": [2, 3], "values": [...]}``
    float                      number; ``"inf"``, ``"-inf"`` and ``"nan"``, for which JSON has none
    int, str, bool, None       the same
    =========================  ==================================================================

    A float32 array whose shape nested arrays lose, such as (0, 3), is written as other arrays are.

    Raises
    ------
    TypeError
        If the value is or holds anything else.
    """
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, np.ndarray):
        return _array_to_json(value)
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(v) for v in value]
    return _scalar_to_json(value.item() if isinstance(value, np.generic) else value)


def from_json(kind: type[T], value: Any) -> T:
    """Return the value that `to_json` wrote, read by the type hints of its fields.

    Hints may be dataclasses, types with a ``from_json`` of their own, arrays, tuples, lists, mappings,
    float, int, str, bool, Literal, Any, and any of these or None. A field that the JSON lacks takes its
    default.

    Parameters
    ----------
    kind : type
        The type of the value, e.g. a dataclass.
    value : object
        As `json.loads` returns it.

    Raises
    ------
    ValueError
        If `to_json` cannot have written it of such a value.
    """
    try:
        read: T = _reader(typing.cast("Any", kind))(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"This is no {getattr(kind, '__name__', kind)} as JSON: {error}") from error
    return read


def plain_values(value: object) -> Any:
    """Return a record (tags, statistics, identities) as JSON can hold it; it is not read back as it was.

    Arrays become lists and numbers of numpy plain ones; a number that is not finite becomes its name, as in
    `to_json`; anything else becomes its text.
    """
    if isinstance(value, Mapping):
        return {str(k): plain_values(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain_values(value.tolist())
    if isinstance(value, list | tuple):
        return [plain_values(v) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return _finite_or_name(value) if isinstance(value, float) else str(value)


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


def sync_file(path: Path) -> None:
    """Wait until the disk has the content of a file.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_directory(folder: Path) -> None:
    """Wait until the disk has the names in a folder, e.g. after a file in it was replaced.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    if os.name == "nt":
        # Windows opens no folders.
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems keep no folders of their own.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _scalar_to_json(value: object) -> Any:
    if isinstance(value, float):
        return _finite_or_name(value)
    if value is None or isinstance(value, int | str):
        return value
    raise TypeError(f"JSON holds no {type(value).__name__}.")


def _finite_or_name(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _array_to_json(array: NDArray[Any]) -> Any:
    if array.dtype == np.float32 and 0 not in array.shape[:-1]:
        return _nested(array)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"JSON holds no array of {array.dtype}.")
    values = [to_json(v) for v in array.ravel().tolist()]
    return {"dtype": array.dtype.name, "shape": list(array.shape), "values": values}


def _nested(array: NDArray[np.float32]) -> Any:
    # The text of a float32 has the fewest digits that tell it from its neighbours.
    return _finite_or_name(float(str(array))) if array.ndim == 0 else [_nested(np.asarray(part)) for part in array]


# ---- reading -----------------------------------------------------------------------------


@cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return the function that reads values of a type hint."""
    origin = typing.get_origin(hint)
    if hasattr(hint, "from_json"):
        return typing.cast("Callable[[Any], Any]", hint.from_json)
    if is_dataclass(hint):
        return partial(_read_dataclass, hint)
    if np.ndarray in (hint, origin):
        return _read_array
    if hint is float:
        return float
    if origin is typing.Literal or hint in (int, str, bool, Any):
        return lambda value: value
    return _generic_reader(hint, origin, typing.get_args(hint))


def _generic_reader(hint: Any, origin: Any, members: tuple[Any, ...]) -> Callable[[Any], Any]:
    if origin in (typing.Union, types.UnionType):
        return _optional_reader(hint, members)
    if origin is tuple and members[-1] is not ...:
        return lambda value: tuple(_reader(m)(v) for m, v in zip(members, value, strict=True))
    if origin in (tuple, list):
        return lambda value: origin(map(_reader(members[0]), value))
    if origin in (dict, Mapping):
        return lambda value: {members[0](k): _reader(members[1])(v) for k, v in value.items()}
    raise TypeError(f"from_json reads no {hint}.")


def _read_dataclass(kind: Any, value: Mapping[str, Any]) -> Any:
    hints = _hints(kind)
    return kind(**{name: _reader(hints[name])(v) for name, v in value.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read_array(value: Any) -> NDArray[Any]:
    if isinstance(value, Mapping):
        return np.array(value["values"], value["dtype"]).reshape(value["shape"])
    return np.array(value, np.float32)


def _optional_reader(hint: Any, members: tuple[Any, ...]) -> Callable[[Any], Any]:
    others = [m for m in members if m is not types.NoneType]
    if len(others) > 1:
        raise TypeError(f"from_json cannot tell the types of {hint} apart.")
    return lambda value: None if value is None else _reader(others[0])(value)


# ---- tables ------------------------------------------------------------------------------

# Spreadsheets take a text that begins so for a formula, which may read files and call programs (OWASP, CSV injection);
# the last four are the wide forms, which some of them take for the same.
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_cell(value: object) -> str:
    """Return a value as text of a cell, in one line; a text that would be a formula begins with an apostrophe."""
    text = one_line(value)
    if not isinstance(value, str):
        return text
    return f"'{text}" if text.startswith(FORMULA_SIGNS) or value.startswith(FORMULA_SIGNS) else text


def flattened(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested keys joined by dots, values as JSON."""
    flat: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            flat |= flattened(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(item, sort_keys=True)
    return flat


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in which values two records differ, as ``store.tile was 80, is 96``."""
    old, new = flattened(before), flattened(now)
    return [
        f"{k} was {old.get(k, 'absent')}, is {new.get(k, 'absent')}"
        for k in sorted({*old, *new})
        if old.get(k, "absent") != new.get(k, "absent")
    ]
