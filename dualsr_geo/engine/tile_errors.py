"""Errors of tiles: one line that names the tile, also from another process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dualsr_geo.errors import DualSRError, TileError
from dualsr_geo.io.storage.defects import describe, is_out_of_memory, traceback_of
from dualsr_geo.raster.windows import Tiling, Window


def name_of_tile(tiling: Tiling, index: int) -> str:
    """Return the number of a tile, and its rows and columns of the scene."""
    return f"Tile {index} ({place_of(tiling[index].core)})"


def place_of(core: Window) -> str:
    """Return the rows and columns of a window of the scene."""
    return f"rows {core.y0}..{core.y1}, columns {core.x0}..{core.x1} of the scene"


@contextmanager
def tile_errors(tiling: Tiling, index: int, remedy: str = "") -> Iterator[None]:
    """Turn an error that the user cannot have caused into TileError.

    The error of a worker process reaches the user without its traceback. An error that is neither of the system nor for
    want of memory therefore has its traceback as a note.

    Parameters
    ----------
    tiling : Tiling
    index : int
    remedy : str, optional
        A sentence that follows.
    """
    with errors_of(lambda: name_of_tile(tiling, index), remedy):
        yield


@contextmanager
def errors_of(name_of_part: Callable[[], str], remedy: str = "") -> Iterator[None]:
    """Turn an error that the user cannot have caused into TileError, as `tile_errors`, for a part of another name."""
    try:
        yield
    except (DualSRError, Warning):
        raise
    except Exception as error:  # of any type, since the run must say which tile failed
        name = name_of_part()
        if is_out_of_memory(error):
            raise TileError(
                f"{name} failed: the memory does not suffice ({describe(error)}). Give a smaller --tile or fewer --jobs. {remedy}"
            ) from error
        failure = TileError(f"{name} failed: {describe(error)}. {remedy}")
        if not isinstance(error, OSError):
            failure.add_note(traceback_of(error))
        raise failure from error
