"""The log of a run: records of the standard library's logging, written as lines of JSON on request.

All records go to the logger ``dualsr_geo`` of the calling process; workers of a cluster log nothing.
The message of a record is its event, and ``record.facts`` are the facts that belong to it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from dualsr_geo.errors import DualSRWarning, OutputError
from dualsr_geo.io.storage.side_files import require_side_file
from dualsr_geo.io.storage.urls import for_display, shown
from dualsr_geo.redaction import remember

LogEvent = Callable[..., None]
STANDARD_ERROR = "-"

_log = logging.getLogger("dualsr_geo")
# Without a handler Python prints errors, which the caller gets as exceptions anyway.
_log.addHandler(logging.NullHandler())


@contextmanager
def scene_log(scene: str, output: str | None) -> Iterator[LogEvent]:
    """Log the start of a scene, the events of its run, and its failure with the reason.

    Parameters
    ----------
    scene : str
        In every record.
    output : str or None
        The requested output.

    Yields
    ------
    callable
        ``log(event, **facts)``; the facts must be fit for JSON. ``elapsed_s`` is added.
    """
    start = time.monotonic()
    remember(scene, output or "")

    def log(event: str, *, level: int = logging.INFO, **facts: Any) -> None:
        record = {"scene": shown(scene), **facts, "elapsed_s": round(time.monotonic() - start, 3)}
        # Credentials are removed here, since others than our own handlers may listen.
        _log.log(level, event, extra={"facts": _without_credentials(record)})

    log("scene started", output=output)
    try:
        yield log
    except BaseException as error:
        log("scene failed", level=logging.ERROR, error=type(error).__name__, reason=str(error))
        raise


def begin_stage(log: LogEvent, stage: str, **facts: Any) -> None:
    """Log that a stage of a run begins, at the level DEBUG: it is for a display, and no part of the JSON."""
    log("stage started", level=logging.DEBUG, stage=stage, **facts)


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, event and facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps({**line, **getattr(record, "facts", {})})


def _without_credentials(value: Any) -> Any:  # JSON
    """Return a value with user, password and query removed from the URLs in it."""
    if isinstance(value, str):
        return for_display(value)
    if isinstance(value, dict):
        return {k: _without_credentials(v) for k, v in value.items()}
    return [_without_credentials(v) for v in value] if isinstance(value, list | tuple) else value


@contextmanager
def json_log(path: str | None, *, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> Iterator[None]:
    """Write the log as lines of JSON.

    Parameters
    ----------
    path : str or None
        A file, to which lines are appended if it is such a log; ``-`` for standard error; None for no log.
    inputs, outputs : iterable of str
        What else the command reads and writes; see `require_side_file`.

    Raises
    ------
    OutputError
        If the file cannot be written, or is something else.

    Warns
    -----
    DualSRWarning
        If the disk refuses later on; the run continues without the log.
    """
    if path is None:
        yield
        return
    handler, level = _handler(path, inputs, outputs), _log.level
    handler.setFormatter(JsonLines())
    handler.setLevel(logging.INFO)
    _log.addHandler(handler)
    _log.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        _log.setLevel(level)
        _log.removeHandler(handler)
        with suppress(OSError):
            # What the disk refused is not written by closing the file either.
            handler.close()


def log_files() -> tuple[str, ...]:
    """Return the files to which the log is written now."""
    return tuple(h.baseFilename for h in _log.handlers if isinstance(h, logging.FileHandler))


class _LogFile(logging.FileHandler):
    """A file that lines are appended to until the disk refuses, which is a warning."""

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802  # the name of logging
        """Warn of an error once, and write no more; logging would print a traceback for each line."""
        error = sys.exc_info()[1]
        self.addFilter(lambda _: False)
        reason = getattr(error, "strerror", None) or str(error)
        text = f"--log-json {self.baseFilename} cannot be written: {reason}. The run continues without it."
        warnings.warn(text, DualSRWarning, stacklevel=2)


def _is_log(head: bytes) -> bool:
    """Return whether a file begins with a line of a log, or is empty."""
    line = head.partition(b"\n")[0]
    try:
        return not line or "event" in json.loads(line)
    except (ValueError, TypeError, RecursionError):
        # A first line that is longer than what is read of the file.
        return line.startswith(b'{"time": ') and b'"event": ' in line


def _handler(path: str, inputs: Iterable[str], outputs: Iterable[str]) -> logging.Handler:
    if path == STANDARD_ERROR:
        return logging.StreamHandler(sys.stderr)
    try:
        require_side_file(path, "--log-json", inputs=inputs, outputs=outputs, is_ours=_is_log)
    except OutputError as error:
        if "--overwrite" not in str(error):
            raise
        raise OutputError(
            f"{path} exists and is no log, to which lines could be added. Give another --log-json, or -."
        ) from error
    try:
        return _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"--log-json {path} cannot be written: {error.strerror}. Give another file, or -.") from error
