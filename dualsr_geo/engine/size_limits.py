"""Limits of size: whether a run can end, checked by what its input declares before any pixel is read."""

from __future__ import annotations

import math
import shutil
import warnings
from pathlib import Path

from dualsr_geo.errors import DualSRWarning, InputError, OutputError
from dualsr_geo.io.writers.output_spec import OutputSpec

# Largest number of tiles of a run: at a tenth of a second each, more take longer than a day, and their records take
# more memory than the tiles. By tiles of 128 pixels these are 126,000 x 126,000 pixels.
MAX_TILES = 10**6
# Side of the tiles by which the size of a scene is judged before that of its tiles is known, lr pixels.
USUAL_TILE_SIDE = 128
# A product whose values take more than this many times the free disk does not fit: real images are compressed two to
# three times, and a TIFF is there twice until it is finished.
MAX_DISK_RATIO = 2.0
GB = 1e9


def require_tiles(shape: tuple[int, int], side: int | None, name: str) -> None:
    """Check that a scene has no more tiles than a run can end with.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    side : int or None
        Of a tile, lr pixels; None where it is not known yet.
    name : str
        Of the scene, in messages.

    Raises
    ------
    InputError
        If it has more.
    """
    tile = side or USUAL_TILE_SIDE
    tiles = math.prod(-(-length // tile) for length in shape)
    if tiles > MAX_TILES:
        raise InputError(
            f"{name} has {shape[0]} x {shape[1]} pixels, which are {tiles} tiles of {tile}, more than {MAX_TILES}. "
            "Cut it into parts (rio clip, gdal_translate -srcwin), or give a larger --tile."
        )


def free_disk_bytes(spec: OutputSpec) -> int | None:
    """Return the free space of the disk that holds the work directory; None for one in a store."""
    if not spec.largest_disk_bytes:
        return None
    folder = Path(spec.destination.folder).absolute()
    existing = next((p for p in (folder, *folder.parents) if p.is_dir()), None)
    return None if existing is None else shutil.disk_usage(existing).free


def require_room(spec: OutputSpec) -> None:
    """Check that the disk can hold an output, and warn where it may not.

    Raises
    ------
    OutputError
        If its values take more than `MAX_DISK_RATIO` times the free space, uncompressed.
    """
    free, raw = free_disk_bytes(spec), len(spec.variables) * spec.raw_bytes
    if free is None:
        return
    height, width = spec.shape[1:]
    what = f"{spec.shape[0]} bands of {height} x {width} pixels"
    if raw > MAX_DISK_RATIO * free:
        raise OutputError(
            f"{spec.path} would have {what}, {raw / GB:.3g} GB uncompressed, and {free / GB:.3g} GB of its disk are "
            "free. Give an --output on another disk, a smaller --scale, or a part of the scene."
        )
    if spec.largest_disk_bytes > free:
        warnings.warn(
            f"{spec.path} may take up to {spec.largest_disk_bytes / GB:.3g} GB while it is written, and {free / GB:.3g} "
            "GB of its disk are free. If the disk fills, make room and run again with --resume.",
            DualSRWarning,
            stacklevel=2,
        )
