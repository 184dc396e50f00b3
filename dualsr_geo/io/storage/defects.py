"""Errors that nobody foresaw: one line that names the error, and the call or command in which it happened."""

from __future__ import annotations

import functools
import os
import tempfile
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dualsr_geo.errors import DualSRError, MemoryLimitError, UnexpectedError
from dualsr_geo.messages import one_line
from dualsr_geo.redaction import redact

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

REPORT = "Please report it to the developers of dualsr-geo"
# Characters of the text of another library, and of the name of an argument, in a message.
MAX_TEXT, MAX_NAME = 300, 100
# What torch, CUDA and HDF5 write where memory does not suffice, in errors that are no MemoryError.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error states that memory does not suffice."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(phrase in text for phrase in OUT_OF_MEMORY)


def describe(error: BaseException) -> str:
    """Return type and text of an error as one line without secrets."""
    text = one_line(redact(str(error)), MAX_TEXT)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def write_traceback(error: BaseException) -> str | None:
    """Write the traceback of an error to a new file that only its owner may read, in the directory of temporary files.

    Returns
    -------
    str or None
        The path; None where it cannot be written.
    """
    try:
        descriptor, path = tempfile.mkstemp(prefix="dualsr-geo-", suffix=".txt", text=True)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(traceback_of(error))
    except OSError:
        return None
    return path


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an error without secrets."""
    return "".join(redact(line) for line in traceback.format_exception(error))


def reports_defects(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return a public function that raises only errors of one line.

    A `DualSRError` passes, and so does a warning that the caller made an error. Memory that does not suffice becomes
    `MemoryLimitError`, and any other error becomes `UnexpectedError`, with the original as its cause.
    """

    @functools.wraps(function)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except (DualSRError, Warning):
            raise
        except Exception as error:
            raise _as_public(error, _call(function, args, kwargs)) from error

    return wrapper


def _as_public(error: Exception, call: str) -> DualSRError:
    if is_out_of_memory(error):
        return MemoryLimitError(
            f"The memory does not suffice for {call} ({describe(error)}). Give a smaller `tile` or `max_memory`, or fewer bands."
        )
    return UnexpectedError(f"{call} failed unexpectedly: {describe(error)}. {REPORT}, with the traceback.")


def _call(function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> str:
    """Return the name of a function, and what it was called on if that has a name."""
    name = function.__name__.lstrip("_")
    subject = next((s for s in (*args, *kwargs.values()) if isinstance(s, str | os.PathLike)), None)
    if subject is None:
        return f"{name}()"
    return f"{name}({one_line(redact(str(subject)), MAX_NAME)!r})"
