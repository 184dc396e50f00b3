"""What can go wrong, named.

Every error is a `DualSRError` and also the built-in one that a Python user expects.
A message states what contradicts what, with values and units, and then the way out.
"""


class DualSRError(Exception):
    """Anything a user can mend; the CLI prints it as one line and exits with 1."""


class InputError(DualSRError, ValueError):
    """A scene or a guide cannot be used as it is."""


class GridError(DualSRError, ValueError):
    """Two grids contradict each other: place, CRS or GSD."""


class ScaleError(DualSRError, ValueError):
    """The ratio asked for is below 2, or more than the guide can give."""


class BandError(DualSRError, IndexError):
    """A band was asked for that is not there, or none at all."""


class OptionError(DualSRError, ValueError):
    """An option has a value that cannot be carried out."""


class OutputError(DualSRError, OSError):
    """The product cannot be written where it was asked for."""


class ResumeError(DualSRError, ValueError):
    """An interrupted run does not match the inputs or options of this one."""


class TileError(DualSRError, RuntimeError):
    """A tile failed; the message names it."""


class ClusterError(DualSRError, ConnectionError):
    """A dask cluster went away, lost too many workers, or has none."""


class DualSRWarning(UserWarning):
    """Something the user should know; the product is still right."""
