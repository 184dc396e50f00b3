"""The progress of a command: on a terminal a line with a clock that ticks, and what an interrupt leaves.

The stages and tiles of a run are records of its log (`dualsr_geo.engine.records.run_log`).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from dualsr_geo.cli.surface import INTERRUPTED, print_progress

# The text of each stage.
STAGES = {
    "inputs": "Opening scene and guide",
    "survey": "Measuring blur, shift and noise",
    "fine stage": "Fitting the fine stage",
    "tiles": "Sharpening",
    "output": "Writing {format}",
    "report": "Drawing the report",
}
# Time between two updates of the clock, seconds.
TICK_S = 1.0
# Columns and rows of a terminal that does not state its size.
DEFAULT_SIZE = (80, 24)
# Forms of the line: of a stage without a known end, and of one that counts.
CLOCK, COUNT = "{desc} ... {clock}", "{desc}: {n} of {total} {unit} |{bar:20}| {clock}{left}"

_log = logging.getLogger("dualsr_geo")


def duration(seconds: float) -> str:
    """Return a time as text: ``12 s``, ``3 min 05 s`` or ``2 h 10 min``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _line(text: str) -> Any:  # tqdm is not typed
    """Return a line of tqdm on standard error, with the time that has passed and the time that is left."""
    from tqdm import tqdm  # noqa: PLC0415  # as all imports of a command: `--help` is fast

    class Line(tqdm):  # type: ignore[misc]  # tqdm is not typed
        ends_at_s: float | None = None

        @property
        def format_dict(self) -> dict[str, Any]:
            values: dict[str, Any] = super().format_dict
            elapsed = values["elapsed"]
            left = "" if self.ends_at_s is None else f", about {duration(max(0.0, self.ends_at_s - elapsed))} left"
            return {**values, "n": int(self.n), "clock": duration(elapsed), "left": left}

    # A terminal may not state its size; tqdm writes nothing on one of 0 rows.
    has_size = min(os.get_terminal_size(sys.stderr.fileno())) > 0
    size = {"dynamic_ncols": True} if has_size else {"ncols": DEFAULT_SIZE[0], "nrows": DEFAULT_SIZE[1]}
    return Line(desc=text, bar_format=CLOCK, leave=False, file=sys.stderr, miniters=0, **size)


class Display:
    """The progress of a command on a terminal; nothing elsewhere.

    Parameters
    ----------
    first : str
        The text of the first stage, which begins now.
    shown : bool
        Whether standard error is a terminal on which progress is requested.
    lines : bool
        Whether each stage is a plain line of its own where there is no terminal.
    """

    def __init__(self, first: str, *, shown: bool, lines: bool = False) -> None:
        self._line = _line(first) if shown else None
        self._lines = lines and not shown
        # The stage that counts, and its number at the start.
        self._counted, self._first = "", 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="clock", daemon=True)
        if shown:
            self._thread.start()

    def stage(self, text: str) -> None:
        """Begin a stage whose end is not known; its clock starts at 0."""
        self._counted = ""
        if self._lines:
            print_progress(text)
        if self._line is not None:
            self._line.ends_at_s, self._line.bar_format = None, CLOCK
            self._line.set_description_str(text, refresh=False)
            self._line.reset()

    def count(self, text: str, done: int, total: int, unit: str = "tiles", *, without: bool = False) -> None:
        """Show how many of a known number are done; the first call begins the stage.

        Parameters
        ----------
        text : str
        done, total : int
        unit : str
            What is counted, in the plural.
        without : bool
            Whether the last one took no work, and says nothing of the time that is left.
        """
        line = self._line
        if self._counted != text:
            self.stage(text)
            self._counted, self._first = text, done
        if line is None:
            return
        self._first += without
        line.bar_format = COUNT
        line.unit, line.total, line.n = unit, total, done
        elapsed = line.format_dict["elapsed"]
        new = done - self._first
        line.ends_at_s = elapsed / new * (total - self._first) if new else None
        line.refresh()

    def close(self) -> None:
        """Remove the line."""
        self._stopped.set()
        if self._line is not None:
            self._thread.join()
            self._line.close()

    def _tick(self) -> None:
        while not self._stopped.wait(TICK_S):
            if self._line is not None:
                self._line.refresh()


@contextmanager
def displayed(first: str, *, hidden: bool = False, verbose: bool = False) -> Iterator[Display]:
    """Yield the display of a command, which begins with a stage.

    Parameters
    ----------
    first : str
        The text of the first stage.
    hidden : bool
        Whether to show nothing.
    verbose : bool
        Whether each stage is a line where standard error is no terminal.
    """
    display = Display(first, shown=sys.stderr.isatty() and not hidden, lines=verbose and not hidden)
    try:
        yield display
    finally:
        display.close()


class RunProgress(logging.Handler):
    """Shows the stages and tiles of the run of one scene, and remembers what an interrupt leaves.

    Parameters
    ----------
    display : Display
    """

    def __init__(self, display: Display) -> None:
        super().__init__(logging.DEBUG)
        self._display = display
        self._tiles: tuple[int, int] | None = None
        self._work = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Show an event of the run."""
        facts, event = getattr(record, "facts", {}), record.getMessage()
        if event == "stage started":
            self._work = facts.get("work", self._work)
            if facts["stage"] == "tiles":
                self._count(facts["done"], facts["tiles"])
            else:
                self._display.stage(STAGES[facts["stage"]].format_map(facts))
        elif event == "tile done":
            self._count(facts["done"], facts["tiles"])

    def _count(self, done: int, total: int) -> None:
        self._tiles = done, total
        self._display.count(STAGES["tiles"], done, total)

    def interrupted(self) -> str:
        """Return what an interrupt leaves, and how to go on."""
        if self._tiles is None:
            return "Stopped before the first tile. Run the same command again."
        done, total = self._tiles
        resumable = (
            f"{done} of {total} tile{'s' * (total > 1)} {'is' if total == 1 else 'are'} done and kept in {self._work}."
        )
        return f"Stopped. {resumable} To continue, run the same command with --resume; to start over, without."


@contextmanager
def run_displayed(first: str, *, hidden: bool = False, verbose: bool = False) -> Iterator[Display]:
    """Yield the display of a command that sharpens one scene, whose log it follows; see `displayed`."""
    with displayed(first, hidden=hidden, verbose=verbose) as display:
        handler, level = RunProgress(display), _log.level
        click.get_current_context().meta[INTERRUPTED] = handler.interrupted
        _log.addHandler(handler)
        _log.setLevel(logging.DEBUG)
        try:
            yield display
        finally:
            _log.setLevel(level)
            _log.removeHandler(handler)
