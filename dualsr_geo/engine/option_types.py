"""Types of the options: a value of a wrong type is refused where it is given, one that means the same is converted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal

import numpy as np

from dualsr_geo.argument_types import (
    flag,
    integer,
    number,
    number_or_all,
    number_or_auto,
    path,
    shown,
    text,
    text_or_numbers,
    wrong,
)
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import OptionError

# Units that dask lacks or reads otherwise: K, M and G are binary, as in GDAL, and a number is in MiB.
BARE_UNITS = {"": "MiB", "K": "KiB", "M": "MiB", "G": "GiB"}

# Data types that a product can have.
DTYPES = ("uint8", "uint16", "int16", "int8", "uint32", "int32", "float32", "float64")


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


def size(name: str, value: Any) -> int:
    """Return a number of bytes, from a number or from text as on the command line; raises as `integer`."""
    if not isinstance(value, str):
        return integer(name, value)
    count = parse_size(value)
    if count is None:
        raise OptionError(f"`{name}` is {shown(value)}, which is no size. Give bytes, or text such as '4GB'.")
    return count


def dtype(name: str, value: Any) -> str:
    """Return the name of a data type; raises KeywordError for anything else."""
    try:
        kind = str(np.dtype(value))
    except TypeError:
        kind = ""
    if kind not in DTYPES or value is None:
        raise wrong(name, value, f"one of {', '.join(DTYPES)}")
    return kind


def psf(name: str, value: Any) -> Psf:
    """Return a PSF; raises KeywordError for anything else."""
    if not isinstance(value, Psf):
        raise wrong(name, value, "a dualsr_geo.Psf")
    try:
        return Psf.from_json(value.to_json())
    except (ValueError, TypeError) as error:
        raise OptionError(f"`{name}` is no PSF: {error}. Give ratio, taps_y, taps_x, start_y and start_x.") from error


def pairs(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    """Return pairs of names and values, from pairs or a mapping; raises KeywordError for anything else."""
    items: Iterable[Any] = value.items() if isinstance(value, Mapping) else value
    try:
        result = tuple((str(key), str(content)) for key, content in items)
    except (TypeError, ValueError):
        raise wrong(name, value, "pairs of a name and a value") from None
    if isinstance(value, str):
        raise wrong(name, value, "pairs of a name and a value")
    return result


def uncertainty(name: str, value: Any) -> bool | Literal["separate"]:
    """Return a truth value, True for ``"bands"``, or ``"separate"``; raises KeywordError for anything else."""
    if isinstance(value, str):
        if value not in ("bands", "separate"):
            raise wrong(name, value, "True, 'bands' or 'separate'")
        return "separate" if value == "separate" else True
    return flag(name, value)


# The type of each option.
TYPES: Mapping[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("scale", "spectral", "orientations", "tile", "jobs"), integer),
    **dict.fromkeys(("published", "overwrite", "resume", "trust_references"), flag),
    "mtf_gain": number,
    "gsd": number_or_all,
    "nodata": number_or_auto,
    "wavelengths": text_or_numbers,
    "uncertainty": uncertainty,
    **dict.fromkeys(
        ("fine", "precision", "coregister", "changes", "denoise", "bidx", "sensor", "device", "format"), text
    ),
    **dict.fromkeys(("model", "half_model", "work_dir"), path),
    "max_memory": size,
    "dtype": dtype,
    "psf": psf,
    "creation": pairs,
}
