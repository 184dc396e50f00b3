"""The options of a run as its record keeps them, so that `--resume` takes what it is not given."""

from __future__ import annotations

from collections.abc import ItemsView, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.options import Options
from dualsr_geo.errors import DualSRError, ResumeError
from dualsr_geo.serialization import plain_values

# Options that decide how a run is carried out; the products do not depend on them.
EXECUTION_OPTIONS = ("overwrite", "resume", "jobs", "max_memory", "device", "work_dir", "trust_references")
# Names that JSON has for numbers that are not finite.
NOT_FINITE = ("nan", "inf", "-inf")


def options_to_record(options: Options) -> dict[str, Any]:
    """Return the options that the product depends on, as JSON."""
    values = {k: v for k, v in asdict(options).items() if k not in EXECUTION_OPTIONS}
    if options.psf is not None:
        values["psf"] = options.psf.to_json()
    plain: dict[str, Any] = plain_values(values)
    return plain


def options_from_record(values: object, place: str) -> dict[str, Any]:
    """Return the fields of `Options` that `options_to_record` wrote, those of other versions left out.

    Parameters
    ----------
    values : object
        JSON.
    place : str
        Where it was read, for the message.

    Raises
    ------
    ResumeError
        If it holds anything else.
    """
    try:
        return read_options(values)
    except ValueError as error:
        raise ResumeError(
            f"The options of the run in {place} are damaged ({error}). Leave --resume out to start again."
        ) from error


def read_options(values: object) -> dict[str, Any]:
    """Return the fields of `Options` that `options_to_record` wrote, those of other versions left out.

    Raises
    ------
    ValueError
        If it holds anything else.
    """
    names = {f.name for f in fields(Options)} - {*EXECUTION_OPTIONS}
    try:
        read = {n: _value(n, value) for n, value in _items(values) if n in names and value is not None}
        options = Options(**read)
    except (DualSRError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(str(error)) from error
    return {name: getattr(options, name) for name in read}


def _items(values: object) -> ItemsView[Any, Any]:
    if not isinstance(values, Mapping):
        raise TypeError("they are no mapping")
    return values.items()


def _value(name: str, value: Any) -> Any:
    if name == "psf":
        return Psf.from_json(value)
    if name == "nodata" and value in NOT_FINITE:
        return float(value)
    return tuple(map(tuple, value)) if name == "creation" else value


def texts_from_record(values: object, place: str) -> tuple[str, ...]:
    """Return the texts of a list of a record.

    Raises
    ------
    ResumeError
        If it is anything else.
    """
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise ResumeError(f"The options of the run in {place} are damaged. Leave --resume out to start again.")
    return tuple(values)


def recordable(paths: Sequence[str]) -> list[str] | None:
    """Return paths as a record may keep them; None for URLs, which may hold secrets and are given again."""
    return None if any("://" in path or path.startswith("/vsi") for path in paths) else list(paths)
