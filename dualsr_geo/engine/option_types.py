"""Types of the options: a value of a wrong type is refused where it is given, one that means the same is converted."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import KeywordError, OptionError
from dualsr_geo.messages import one_line

# Units that dask lacks or reads otherwise: K, M and G are binary, as in GDAL, and a number is in MiB.
BARE_UNITS = {"": "MiB", "K": "KiB", "M": "MiB", "G": "GiB"}
# Larger numbers do not fit into 64 bits.
MAX_INTEGER = 2**63 - 1
# Characters of a value in a message.
MAX_SHOWN = 60


def parse_size(text: str) -> int | None:
    """Return the bytes of a size such as ``4GB`` or ``800MiB``; None for text that is no size.

    K, M and G are binary, and a number without a unit is in MiB.
    """
    from dask.utils import parse_bytes  # noqa: PLC0415  # `--help` does not wait for it

    match = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]*)\s*", text, re.ASCII)
    if match is not None:
        with suppress(ValueError, OverflowError):
            return int(parse_bytes(match[1] + BARE_UNITS.get(match[2].upper(), match[2])))
    return None


def integer(name: str, value: Any) -> int:
    """Return a value as an integer.

    Raises
    ------
    KeywordError
        If it is none, or a truth value.
    OptionError
        If it does not fit into 64 bits.
    """
    if isinstance(value, bool | np.bool_):
        raise _wrong(name, value, f"an integer, e.g. {name}=4")
    try:
        number = operator.index(value)
    except TypeError:
        raise _wrong(name, value, f"an integer, e.g. {name}=4") from None
    if abs(number) > MAX_INTEGER:
        raise OptionError(
            f"`{name}` is {one_line(number, MAX_SHOWN)}, which does not fit into 64 bits. Give a smaller number."
        )
    return number


def number(name: str, value: Any) -> float:
    """Return a value as a number; raises as `integer`."""
    if isinstance(value, bool | np.bool_ | str | bytes):
        raise _wrong(name, value, "a number")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _wrong(name, value, "a number") from None
    except OverflowError:
        raise OptionError(
            f"`{name}` is {one_line(value, MAX_SHOWN)}, which is beyond the largest float. Give a smaller number."
        ) from None


def flag(name: str, value: Any) -> bool:
    """Return a truth value; raises KeywordError for anything else."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise _wrong(name, value, "True or False")


def text(name: str, value: Any) -> str:
    """Return a text; raises KeywordError for anything else."""
    if isinstance(value, str):
        return value
    raise _wrong(name, value, "text, e.g. '1,3' or '2..5'" if name == "bidx" else "text")


def path(name: str, value: Any) -> str:
    """Return a path as text; raises KeywordError for anything else."""
    plain = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(plain, str):
        return plain
    raise _wrong(name, value, "a path")


def size(name: str, value: Any) -> int:
    """Return a number of bytes, from a number or from text as on the command line; raises as `integer`."""
    if not isinstance(value, str):
        return integer(name, value)
    count = parse_size(value)
    if count is None:
        raise OptionError(f"`{name}` is {_shown(value)}, which is no size. Give bytes, or text such as '4GB'.")
    return count


def dtype(name: str, value: Any) -> str:
    """Return the name of a data type; raises KeywordError for anything else."""
    if isinstance(value, str):
        return value
    try:
        return str(np.dtype(value))
    except TypeError:
        raise _wrong(name, value, "a data type, e.g. 'uint16'") from None


def psf(name: str, value: Any) -> Psf:
    """Return a PSF; raises KeywordError for anything else."""
    if isinstance(value, Psf):
        return value
    raise _wrong(name, value, "a dualsr_geo.Psf")


def number_or_auto(name: str, value: Any) -> Any:
    """Return a number, or ``"auto"``; raises KeywordError for anything else."""
    return value if value == "auto" else number(name, value)


def pairs(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    """Return pairs of names and values, from pairs or a mapping; raises KeywordError for anything else."""
    items: Iterable[Any] = value.items() if isinstance(value, Mapping) else value
    try:
        result = tuple((str(key), str(content)) for key, content in items)
    except (TypeError, ValueError):
        raise _wrong(name, value, "pairs of a name and a value") from None
    if isinstance(value, str):
        raise _wrong(name, value, "pairs of a name and a value")
    return result


def _wrong(name: str, value: Any, expected: str) -> KeywordError:
    return KeywordError(f"`{name}` is {_shown(value)} ({type(value).__name__}). Give {expected}.")


def _shown(value: Any) -> str:
    return one_line(repr(value), MAX_SHOWN)


# The type of each option.
TYPES: Mapping[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("scale", "spectral", "orientations", "tile", "jobs"), integer),
    **dict.fromkeys(("published", "uncertainty", "overwrite", "resume", "trust_references"), flag),
    **dict.fromkeys(("mtf_gain", "gsd"), number),
    "nodata": number_or_auto,
    **dict.fromkeys(
        ("fine", "precision", "coregister", "changes", "denoise", "bidx", "sensor", "device", "format"), text
    ),
    **dict.fromkeys(("model", "half_model", "work_dir"), path),
    "max_memory": size,
    "dtype": dtype,
    "psf": psf,
    "creation": pairs,
}
