"""What a run tells while it goes: records of the standard library's logging, and a line of JSON for each.

Everything goes to the logger ``dualsr_geo`` of the process that called; workers of a cluster tell
nothing by themselves. A record's message is its event, ``record.facts`` what belongs to it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.urls import shown

LogEvent = Callable[..., None]
STANDARD_ERROR = "-"

_log = logging.getLogger("dualsr_geo")
# Where nobody listens, Python would print errors that the caller is told anyway.
_log.addHandler(logging.NullHandler())


@contextmanager
def of_scene(scene: str, output: str | None) -> Iterator[LogEvent]:
    """Tell that a scene was started, and why it failed if it does; between, what the caller tells.

    Parameters
    ----------
    scene : str
        In every record.
    output : str or None
        What was asked for.

    Yields
    ------
    callable
        ``tell(event, **facts)``; the facts must be fit for JSON. ``elapsed_s`` is added.
    """
    began = time.monotonic()

    def tell(event: str, *, level: int = logging.INFO, **facts: Any) -> None:
        said = {"scene": scene, **facts, "elapsed_s": round(time.monotonic() - began, 3)}
        # Here, not where lines are written: others may listen.
        _log.log(level, event, extra={"facts": _shown(said)})

    tell("scene started", output=output)
    try:
        yield tell
    except BaseException as error:
        tell("scene failed", level=logging.ERROR, error=type(error).__name__, reason=str(error))
        raise


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, event, and its facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps({**said, **getattr(record, "facts", {})})


def _shown(value: Any) -> Any:  # JSON
    """Return a value with user, password and query taken out of the URLs in it."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {k: _shown(v) for k, v in value.items()}
    return [_shown(v) for v in value] if isinstance(value, list | tuple) else value


@contextmanager
def written(where: str | None) -> Iterator[None]:
    """Write what is told as lines of JSON.

    Parameters
    ----------
    where : str or None
        A file, to which lines are added; ``-`` for standard error; None for nowhere.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    if where is None:
        yield
        return
    handler, before = _handler(where), _log.level
    handler.setFormatter(JsonLines())
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    try:
        yield
    finally:
        _log.setLevel(before)
        _log.removeHandler(handler)
        handler.close()


def _handler(where: str) -> logging.Handler:
    if where == STANDARD_ERROR:
        return logging.StreamHandler(sys.stderr)
    try:
        return logging.FileHandler(where, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"--log-json {where} cannot be written: {error.strerror}. Give another file, or -."
        ) from error
