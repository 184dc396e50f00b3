"""Repeated pixels: a scene that was resampled to a finer grid by nearest neighbour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

# Share of equal pixels from which a row repeats the one before it.
MIN_EQUAL_SHARE = 0.9
# Longer runs of equal rows are flat ground, not a repetition.
MAX_RUN_ROWS = 8
# Share of pixels that rows which are not repeated may have in common with the row before.
MAX_CHANCE_SHARE = 0.5
# Smallest mean number of repetitions that is reported; below it a scene may have a few equal rows by chance.
MIN_REPETITION = 1.2


def repetition(cubes: Sequence[Array]) -> tuple[float, float]:
    """Return the mean number of times that rows and columns are repeated; (1, 1) in a scene as measured.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
        Parts of a scene, NaN where it has no value.
    """
    counts = [_repeated([c.swapaxes(1, 2) for c in cubes] if axis else cubes) for axis in (0, 1)]
    y, x = (n if n >= MIN_REPETITION else 1.0 for n in counts)
    return (y, x) if min(y, x) > 1 else (1.0, 1.0)


def _repeated(cubes: Sequence[Array]) -> float:
    """Return the number of rows over that of distinct rows, without long runs of equal rows."""
    rows = distinct = 0
    for cube in cubes:
        for length in _runs(cube):
            if length <= MAX_RUN_ROWS:
                rows += length
                distinct += 1
    return rows / distinct if distinct > 1 else 1.0


def _runs(cube: Array) -> Iterator[int]:
    """Yield the lengths of runs of equal rows, without the first and last, which may be incomplete."""
    valid = np.asarray(np.isfinite(cube).all(0))
    with_data = valid.any(1)
    cube, valid = cube[:, with_data], valid[with_data]
    both = valid[1:] & valid[:-1]
    equal = np.asarray((cube[:, 1:] == cube[:, :-1]).all(0)) & both
    share = equal.sum(1) / np.maximum(both.sum(1), 1)
    distinct = share < MIN_EQUAL_SHARE
    # Where few values occur, as in a map of classes, neighbouring rows are nearly equal without a repetition.
    if not distinct.any() or share[distinct].mean() > MAX_CHANCE_SHARE:
        return
    ends = np.flatnonzero(distinct) + 1
    yield from np.diff(ends).tolist()


def note_repeated_pixels(repeated: tuple[float, float], what: str) -> list[str]:
    """Return a note if the pixels of `what` (scene, guide) are repeated.

    Parameters
    ----------
    repeated : (float, float)
        As `repetition` returns.
    what : str
    """
    y, x = repeated
    if (y, x) == (1, 1):
        return []
    note = (
        f"The {what}'s pixels are repeated {y:.1f} x {x:.1f} times (nearest-neighbour upsampling). Resample it to its true "
        f"pixel size first, {y:.3g} x {x:.3g} times as large: `gdalwarp -r near -tr WIDTH HEIGHT in.tif out.tif`."
    )
    return [note]
