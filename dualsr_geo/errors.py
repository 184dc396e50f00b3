"""Errors and warnings of the package.

Every error is a `DualSRError` and also the built-in error that a Python user expects.
A message states what contradicts what, with values and units, and then what to do. It is one line, also where it
quotes another library or a file name with line breaks, and it shows no secret of a URL. It is written with the flags of
the command line, and has the keywords of Python in Python (`option_names`).
"""

from __future__ import annotations

from dualsr_geo.messages import one_line
from dualsr_geo.option_names import rendered
from dualsr_geo.redaction import redact


class DualSRError(Exception):
    """An error that the user can correct; the command line prints it as one line and exits with 1."""

    def __str__(self) -> str:
        return one_line(redact(rendered(super().__str__())))


class InputError(DualSRError, ValueError):
    """A scene or a guide cannot be used as it is."""


class GridError(DualSRError, ValueError):
    """Two grids contradict each other in place, CRS or GSD."""


class ScaleError(DualSRError, ValueError):
    """The requested ratio is below 2, or larger than the guide allows."""


class BandError(DualSRError, IndexError):
    """A requested band does not exist, or none is selected."""


class OptionError(DualSRError, ValueError):
    """An option has a value that cannot be carried out."""


class KeywordError(OptionError, TypeError):
    """A function has no such keyword, lacks an argument, or an argument has the wrong type."""


class OutputError(DualSRError, OSError):
    """The product cannot be written to the requested place."""


class ResumeError(DualSRError, ValueError):
    """An interrupted run does not match the inputs or options of this one."""


class TileError(DualSRError, RuntimeError):
    """The computation of a tile failed; the message names the tile."""


class ClusterError(DualSRError, ConnectionError):
    """A dask cluster is lost, has lost too many workers, or has none."""


class MemoryLimitError(DualSRError, MemoryError):
    """The memory does not suffice."""


class UnexpectedError(DualSRError, RuntimeError):
    """A defect of the program; ``__cause__`` is the original error with its traceback."""


class DualSRWarning(UserWarning):
    """A fact that the user should know; the product is right nevertheless."""

    def __str__(self) -> str:
        return one_line(rendered(super().__str__()))


# Characters of a foreign value or message that one of ours repeats.
MAX_EXCERPT = 80


def excerpt(value: object) -> str:
    """Return a foreign value or message on one line, cut where it is long."""
    text = " ".join((value if isinstance(value, str) else repr(value)).split())
    return text if len(text) <= MAX_EXCERPT else text[: MAX_EXCERPT - 3] + "..."
