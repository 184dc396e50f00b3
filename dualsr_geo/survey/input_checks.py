"""Signs that a scene is not what an instrument measured: repeated pixels, and detail that is not its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

# A row is the one before it where so many of its pixels are; more rows in a run than this are no repetition.
SAME, LONGEST = 0.9, 8
# Of rows that are no repetition at most so many pixels are equal to those before.
MOST_ALIKE = 0.5
# Below this mean number of repetitions a scene may just have a few equal rows.
LEAST_REPEATED = 1.2
# Detail of a scene's own is about as varied as what lies 4 pixels apart, and noise makes it more so: on 22
# scenes 1.1 to 5 times, degraded without noise 0.46 to 1.9. Of products of GSA and MTF-GLP-HPM with a pan
# image nine in eleven have less than 0.3, of Brovey's one in eleven.
COARSER, BORROWED = 4, 0.3
# Of a part at least so many coarse pixels on a side tell how varied they are.
FEWEST_COARSE = 8
# A pair of bands always varies together or not; three are the least that say something.
FEWEST_BANDS = 3
# More bands do not tell more, and cost seconds.
MOST_BANDS = 48


def repetition(cubes: Sequence[Array]) -> tuple[float, float]:
    """Return how often rows and columns are repeated on average; (1, 1) in a scene as measured.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
        Pieces of a scene, NaN where nothing is.
    """
    found = [_repeated([c.swapaxes(1, 2) for c in cubes] if axis else cubes) for axis in (0, 1)]
    y, x = (f if f >= LEAST_REPEATED else 1.0 for f in found)
    return (y, x) if min(y, x) > 1 else (1.0, 1.0)


def _repeated(cubes: Sequence[Array]) -> float:
    """Return rows over distinct rows; long runs of equal rows are a flat ground, and left out."""
    rows = distinct = 0
    for cube in cubes:
        for length in _runs(cube):
            if length <= LONGEST:
                rows += length
                distinct += 1
    return rows / distinct if distinct > 1 else 1.0


def _runs(cube: Array) -> Iterator[int]:
    """Yield how many rows in turn are equal, without the first and last run, which may be cut."""
    known = np.asarray(np.isfinite(cube).all(0))
    there = known.any(1)
    cube, known = cube[:, there], known[there]
    both = known[1:] & known[:-1]
    equal = np.asarray((cube[:, 1:] == cube[:, :-1]).all(0)) & both
    share = equal.sum(1) / np.maximum(both.sum(1), 1)
    other = share < SAME
    # Of few values, a map of classes say, all rows are nearly alike.
    if not other.any() or share[other].mean() > MOST_ALIKE:
        return
    ends = np.flatnonzero(other) + 1
    yield from np.diff(ends).tolist()


def variety(cubes: Sequence[Array]) -> float | None:
    """Return how varied a scene's finest detail is among its bands, beside its coarser detail.

    Variety is the share of the variance of a band's second differences (along both axes, each band of
    unit variance) that one image for all bands does not explain. Sharpening adds one image to all.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)

    Returns
    -------
    float or None
        Variety over variety of 4 x 4 pixels; None where the scene is too small, flat, or of fewer than
        three bands.
    """
    cubes = [c[:: -(-len(c) // MOST_BANDS)] for c in cubes]
    fine, coarse = ([d for c in some if (d := _detail(c)) is not None] for some in (cubes, map(_coarser, cubes)))
    if not coarse or len(coarse[0]) < FEWEST_BANDS:
        return None
    here, there = (_unshared(np.concatenate(d, 1)) for d in (fine, coarse))
    return None if here is None or not there else here / there


def _coarser(cube: Array) -> Array:
    bands, height, width = cube.shape
    rows, columns = height // COARSER, width // COARSER
    cut = cube[:, : rows * COARSER, : columns * COARSER]
    return np.asarray(cut.reshape(bands, rows, COARSER, columns, COARSER).mean((2, 4)))


def _detail(cube: Array) -> Array | None:
    """Return second differences where all is there, (band, pixel)."""
    if min(cube.shape[1:]) < FEWEST_COARSE:
        return None
    made = np.diff(np.diff(cube.astype(np.float64), 2, axis=1), 2, axis=2)
    return np.asarray(made[:, np.isfinite(made).all(0)])


def _unshared(detail: Array) -> float | None:
    """Return the share that one image does not explain; None of a flat scene."""
    detail = detail[detail.std(1) > 0] if detail.shape[1] else detail[:0]
    if len(detail) < FEWEST_BANDS:
        return None
    values = np.linalg.eigvalsh(np.corrcoef(detail))
    return float(1 - values[-1] / values.sum())


def note_repeated_pixels(cubes: Sequence[Array], what: str) -> list[str]:
    """Return a sentence where the pixels of `what` (scene, guide) are repeated.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
    what : str
    """
    y, x = repetition(cubes)
    if (y, x) == (1, 1):
        return []
    said = (
        f"The {what}'s pixels are repeated {y:.1f} x {x:.1f} times: its grid is finer than what was measured. Give it on "
        "its own grid, with pixels as many times as large (`gdalwarp -r near -tr`)."
    )
    return [said]


def note_borrowed_detail(cubes: Sequence[Array]) -> list[str]:
    """Return a sentence where a scene's finest detail seems to be another image's.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
    """
    varied = variety(cubes)
    if varied is None or varied >= BORROWED:
        return []
    said = (
        f"The scene's finest detail is nearly the same in all bands ({varied:.0%} as varied as its coarser detail, usually "
        "100% and more): it may have been pansharpened already. Give it as the sensor delivered it."
    )
    return [said]
