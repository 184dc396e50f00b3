"""Undeclared fill and repeated pixels of a scene, looked for in a few windows; the nodata value of ``--nodata auto``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import DualSRWarning
from dualsr_geo.raster.fill import Fill, find_fill
from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.repeated_pixels import note_repeated_pixels, repetition
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.windows import Window

# Scenes of up to this many pixels are read whole; of larger ones nine windows, which reach the corners.
MAX_WHOLE_PX = 65536
WINDOW_SIDE_PX = 160
WINDOWS_ACROSS = 3
# Bands that are read, evenly spread: fill is in all.
MAX_BANDS = 8


def fill_of(scene: Scene) -> Fill | None:
    """Return the fill that a scene holds undeclared; None without any.

    Parameters
    ----------
    scene : Scene
    """
    bands, cubes = _sample(scene)
    with_data = [i for i in range(len(bands)) if any(np.isfinite(c[i]).any() for c in cubes)]
    if not with_data:
        return None
    packing = scene.packing.select(tuple(bands[i] for i in with_data))
    return find_fill([c[with_data] for c in cubes], packing)


def warn_of_repeated_pixels(scene: Scene) -> tuple[float, float]:
    """Warn where the pixels of a scene are repeated, and return how many times along y and x."""
    repeated = repetition(_sample(scene)[1])
    for note in note_repeated_pixels(repeated, "scene"):
        warnings.warn(note, DualSRWarning, stacklevel=3)
    return repeated


def _sample(scene: Scene) -> tuple[list[int], list[NDArray[np.float32]]]:
    """Return some bands, and their values in windows (band, y, x)."""
    count = min(scene.count, MAX_BANDS)
    bands = [i * (scene.count - 1) // max(count - 1, 1) for i in range(count)]
    source = scene.source.normalized(Normalization.exact(scene.count))
    return bands, [source.read(window, bands) for window in _windows(scene.shape)]


def warn_of_fill(scene: Scene) -> Fill | None:
    """Warn where a scene holds undeclared fill, and return the fill."""
    fill = fill_of(scene)
    if fill is not None:
        warnings.warn(fill.note, DualSRWarning, stacklevel=3)
    return fill


def automatic_nodata(scene: Scene) -> float | None:
    """Return the stored value that is taken as nodata by ``--nodata auto``; None to leave the scene as it is."""
    stated = scene.packing.nodata
    if stated is not None and not math.isnan(stated):
        return None
    fill = fill_of(scene)
    return None if fill is None else fill.value


def _windows(shape: tuple[int, int]) -> Iterator[Window]:
    height, width = shape
    if height * width <= MAX_WHOLE_PX:
        yield Window(0, height, 0, width)
        return
    for y in _starts(height):
        for x in _starts(width):
            yield Window(y, min(y + WINDOW_SIDE_PX, height), x, min(x + WINDOW_SIDE_PX, width))


def _starts(length: int) -> list[int]:
    """Return the first rows or columns of windows from one end to the other, which do not overlap."""
    count = max(1, min(WINDOWS_ACROSS, length // WINDOW_SIDE_PX))
    return [i * max(0, length - WINDOW_SIDE_PX) // max(count - 1, 1) for i in range(count)]
