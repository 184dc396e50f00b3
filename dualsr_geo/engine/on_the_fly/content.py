"""Digests of what a scene and a guide hold, which a copy at another place shares with its original."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.engine.inputs import InputReader
from dualsr_geo.raster.windows import Window
from dualsr_geo.surveying.sampling import sample_windows

# Side of the windows that are hashed, lr pixels, in the middle of each window of the survey's sample.
SIDE_PX = 16


def scene_digest(reader: InputReader, shape: tuple[int, int]) -> str:
    """Return a hash of the scene's values in a few windows.

    Parameters
    ----------
    reader : InputReader
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    """
    return _digest(reader.read_scene(window) for window in _windows(shape))


def guide_digest(reader: InputReader, shape: tuple[int, int], ratio: int) -> str:
    """Return a hash of the guide's values in the same windows; the parameters are those of `scene_digest`."""
    reads = (reader.read_guide(window.scaled(ratio)) for window in _windows(shape))
    return _digest(values for values in reads if values is not None)


def _windows(shape: tuple[int, int]) -> Iterator[Window]:
    for sample in sample_windows(shape):
        y, x = (sample.y0 + sample.y1) // 2, (sample.x0 + sample.x1) // 2
        yield Window(y, y, x, x).grown(SIDE_PX // 2).clipped(shape)


def _digest(parts: Iterator[NDArray[np.float32]]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(repr(part.shape).encode())
        # All missing values count as one: NaN has many bit patterns.
        total.update(np.where(np.isnan(part), np.float32(np.nan), part).astype("<f4").tobytes())
    return total.hexdigest()
