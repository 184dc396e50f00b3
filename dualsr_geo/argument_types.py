"""Types of arguments: a value of a wrong type is refused where it is given, one that means the same is converted."""

from __future__ import annotations

import functools
import inspect
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from dualsr_geo.errors import KeywordError, OptionError
from dualsr_geo.messages import one_line, unknown_name

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Check = Callable[[str, Any], Any]

# Larger numbers do not fit into 64 bits.
MAX_INTEGER = 2**63 - 1
# Characters of a value in a message.
MAX_SHOWN = 60


def checked(**checks: Check) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Return a decorator that checks and converts arguments before a function runs.

    Parameters
    ----------
    **checks
        Name of an argument, and a function of this module, or one like them: (name, value) -> value. None passes where
        it is the default.

    Raises
    ------
    KeywordError
        By the function, if it has no such argument, lacks one, or one has the wrong type.
    """

    def decorate(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            bound = _bound(function, signature, args, kwargs)
            for name, check in checks.items():
                value = bound.arguments.get(name)
                if name in bound.arguments and not (value is None and signature.parameters[name].default is None):
                    bound.arguments[name] = check(name, value)
            return function(*bound.args, **bound.kwargs)

        return wrapper

    return decorate


def _bound(
    function: Callable[..., object], signature: inspect.Signature, args: Sequence[Any], kwargs: dict[str, Any]
) -> inspect.BoundArguments:
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        names = [name for name in signature.parameters if name not in {"self", "cls"}]
        unknown = [name for name in kwargs if name not in names]
        name = function.__name__
        text = unknown_name(names, unknown[0], f"argument of {name}") if unknown else f"{name}: {error}."
        raise KeywordError(text) from None


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
        raise wrong(name, value, f"an integer, e.g. {name}=4")
    try:
        number = operator.index(value)
    except TypeError:
        raise wrong(name, value, f"an integer, e.g. {name}=4") from None
    if abs(number) > MAX_INTEGER:
        raise OptionError(
            f"`{name}` is {one_line(number, MAX_SHOWN)}, which does not fit into 64 bits. Give a smaller number."
        )
    return number


def number(name: str, value: Any) -> float:
    """Return a value as a number; raises as `integer`."""
    if isinstance(value, bool | np.bool_ | str | bytes):
        raise wrong(name, value, "a number")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise wrong(name, value, "a number") from None
    except OverflowError:
        raise OptionError(
            f"`{name}` is {one_line(value, MAX_SHOWN)}, which is beyond the largest float. Give a smaller number."
        ) from None


def number_or_auto(name: str, value: Any) -> Any:
    """Return a number, or ``"auto"``; raises KeywordError for anything else."""
    return value if isinstance(value, str) and value == "auto" else number(name, value)


def number_or_all(name: str, value: Any) -> Any:
    """Return a number, or ``"all"``; raises KeywordError for anything else."""
    return value if isinstance(value, str) and value == "all" else number(name, value)


def flag(name: str, value: Any) -> bool:
    """Return a truth value; raises KeywordError for anything else."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise wrong(name, value, "True or False")


def text(name: str, value: Any) -> str:
    """Return a text; raises KeywordError for anything else."""
    if isinstance(value, str):
        return value
    raise wrong(name, value, "text, e.g. '1,3' or '2..5'" if name == "bidx" else "text")


def text_or_numbers(name: str, value: Any) -> str | tuple[float, ...]:
    """Return a text or a path as text, or several numbers; raises KeywordError for anything else."""
    if isinstance(value, str | os.PathLike):
        return path(name, value)
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise wrong(name, value, "a path, a range such as '400:2500', or numbers")
    return tuple(number(name, item) for item in value)


def path(name: str, value: Any) -> str:
    """Return a path as text; raises KeywordError for anything else."""
    plain = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(plain, str):
        return plain
    raise wrong(name, value, "a path, or use .dualsr of the array" if _is_array(value) else "a path")


def paths(name: str, value: Any) -> list[str]:
    """Return several paths; raises KeywordError for anything else, also for a single one."""
    if isinstance(value, str | bytes | os.PathLike) or not isinstance(value, Iterable):
        raise wrong(name, value, "a list of names, e.g. ['auto']" if name == "models" else "a sequence of paths")
    return [path(name, item) for item in value]


def path_or_paths(name: str, value: Any) -> str | list[str]:
    """Return a path or several; raises KeywordError for anything else."""
    if isinstance(value, str | os.PathLike):
        return path(name, value)
    return paths(name, value)


def raster(name: str, value: Any) -> Any:
    """Return a path or an xarray object; raises KeywordError for anything else."""
    if _is_array(value):
        return value
    if isinstance(value, str | os.PathLike):
        return path(name, value)
    raise wrong(name, value, "a path, a DataArray or a Dataset")


def raster_or_bands(name: str, value: Any) -> Any:
    """Return a path, several as a tuple, or an xarray object; raises KeywordError for anything else."""
    if _is_array(value) or isinstance(value, str | os.PathLike):
        return raster(name, value)
    if isinstance(value, list | tuple) and value:
        files = tuple(path(name, item) for item in value)
        return files if len(files) > 1 else files[0]
    raise wrong(name, value, "a path, a list of paths (one a band), a DataArray or a Dataset")


def rasters(name: str, value: Any) -> list[Any]:
    """Return paths and xarray objects, one or several; raises KeywordError for anything else."""
    if isinstance(value, str | os.PathLike) or _is_array(value):
        return [raster(name, value)]
    if isinstance(value, bytes | np.ndarray | Mapping) or not isinstance(value, Iterable):
        raise wrong(name, value, "a path, a DataArray or a Dataset, or several")
    return [raster(name, item) for item in value]


def only_guide(**given: Any) -> Any:
    """Return the guide, which functions take as `rgb`, `pan` or `guide`; None without one.

    Raises
    ------
    KeywordError
        If it is given by more than one name.
    """
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) > 1:
        names = " and ".join(f"`{name}`" for name in named)
        raise KeywordError(f"{names} name the same argument. Give the guide, or a list of several, by one of them.")
    return next(iter(named.values()), None)


def _is_array(value: Any) -> bool:
    """Return whether a value is an xarray object, without importing xarray."""
    return hasattr(value, "dims") and hasattr(value, "coords")


def function(name: str, value: Any) -> Any:
    """Return a function; raises KeywordError for anything else."""
    if callable(value):
        return value
    raise wrong(name, value, "a function")


def cluster_client(name: str, value: Any) -> Any:
    """Return a client of a dask cluster; raises KeywordError for anything else."""
    if hasattr(value, "submit") and hasattr(value, "scheduler_info"):
        return value
    raise wrong(name, value, "a distributed.Client")


def two_integers(name: str, value: Any) -> tuple[int, int]:
    """Return two integers; raises KeywordError for anything else."""
    try:
        first, second = value
    except (TypeError, ValueError):
        raise wrong(name, value, "two integers") from None
    return integer(name, first), integer(name, second)


def wrong(name: str, value: Any, expected: str) -> KeywordError:
    """Return the error of a value of a wrong type."""
    return KeywordError(f"`{name}` is {shown(value)} ({type(value).__name__}). Give {expected}.")


def shown(value: Any) -> str:
    """Return a value as a message shows it."""
    return one_line(repr(value), MAX_SHOWN)
