"""Two images that can be compared: of one size, in one unit, and which of their bands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import InputError
from dualsr_geo.raster.source import Readable
from dualsr_geo.raster.windows import Tile, Tiling, Window

# The sample that shows units and typical values: 4 x 4 windows of 64 pixels, every second pixel of them.
SAMPLE_WINDOWS = 4
SAMPLE_SIDE = 64
SAMPLE_STEP = 2
# Spans of 2..98 % that differ by more are another unit, no bad estimate.
UNIT_FACTOR = 5
# Spans of fewer values say nothing of a unit.
UNIT_VALUES = 50
# What one tile of both images holds in memory, float32. 128 bands: tiles of 384 pixels.
TILE_BYTES = 160 * 2**20
LARGEST_TILE, SMALLEST_TILE = 512, 64


Image = Readable | NDArray[Any]


@dataclass(frozen=True)
class _MemoryImage:
    """An array in memory, read by window; it keeps its type, float64 too."""

    values: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int, int]:
        bands, height, width = self.values.shape
        return bands, height, width

    def read(self, window: Window, bands: Sequence[int] | None = None) -> NDArray[Any]:
        rows, columns = window.slices
        part = self.values[:, rows, columns]
        return part if bands is None else part[list(bands)]


@dataclass(frozen=True)
class Pair:
    """An estimate and its reference.

    Attributes
    ----------
    estimate, reference : Readable
    bands : tuple of int
        Bands with at least one pixel that is valid in both; only they are compared.
    pivot : array, shape (band, 1, 1)
        The reference's mean in a sample, one a compared band. Sums are taken of what differs from it, so
        that a small variance on large values keeps its digits.
    """

    estimate: Readable
    reference: Readable
    bands: tuple[int, ...]
    pivot: NDArray[np.float64]

    @property
    def count(self) -> int:
        """Bands of both, compared or not."""
        return self.reference.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.reference.shape[1:]

    def read(self, window: Window) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the compared bands of the estimate and of the reference, shape (band, y, x)."""
        bands = None if len(self.bands) == self.count else self.bands
        return self.estimate.read(window, bands), self.reference.read(window, bands)

    def spread(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one value for every band, NaN where bands are not compared."""
        found = np.full(self.count, np.nan)
        found[list(self.bands)] = values
        return found


def pair(estimate: Image, reference: Image, *, one_unit: bool = True) -> Pair:
    """Check that two images can be compared.

    Parameters
    ----------
    estimate, reference : Readable or array, shape (band, y, x)
    one_unit : bool
        Whether both must be in one unit, judged by the span of their values.

    Raises
    ------
    InputError
        If they differ in bands, size or unit, or share no valid pixel.
    """
    made, truth = readable(estimate, "estimate"), readable(reference, "reference")
    _require_same_shape(made.shape, truth.shape)
    samples = [_sample(r) for r in (made, truth)]
    both = np.isfinite(samples[0]) & np.isfinite(samples[1])
    if one_unit:
        _require_same_unit(samples[0][both], samples[1][both])
    bands = _compared(made, truth, both.any(1))
    counts = both.sum(1).clip(1)
    means = np.where(both, samples[1], 0).sum(1, dtype=np.float64) / counts
    return Pair(made, truth, tuple(int(b) for b in bands), means[bands, None, None])


def readable(image: Image, name: str) -> Readable:
    """Return an array as something to read; what can be read already is returned as it is.

    Raises
    ------
    InputError
        If an array is not (band, y, x).
    """
    if not isinstance(image, np.ndarray):
        return image
    if image.ndim != 3:
        raise InputError(
            f"The {name} is an array of {image.ndim} dimensions, {image.shape}. Give (band, y, x); one band is array[None]."
        )
    if isinstance(image, np.ma.MaskedArray):
        return _MemoryImage(np.ma.filled(image.astype(np.float64), np.nan))
    return _MemoryImage(image)


def tiling(bands: int, size: tuple[int, int], halo: int) -> Tiling:
    """Cut an image in tiles that begin at multiples of 32 pixels and fit in `TILE_BYTES`.

    The tiles do not depend on the number of threads, so neither does a figure's last digit.
    """
    side = int((TILE_BYTES / (bands * 2 * 4)) ** 0.5) - 2 * halo
    return Tiling(size, min(max(side // 32 * 32, SMALLEST_TILE), LARGEST_TILE), halo)


def largest(pair: Pair, tile: Tile) -> float:
    """Return the reference's largest valid value in a tile, -inf if none is valid."""
    values = pair.reference.read(tile.core, pair.bands)
    finite = np.isfinite(values)
    return float(values.max() if finite.all() else np.max(values, initial=-np.inf, where=finite))


def _require_same_shape(estimate: tuple[int, int, int], reference: tuple[int, int, int]) -> None:
    if estimate[1:] != reference[1:]:
        (a, b), (c, d) = estimate[1:], reference[1:]
        raise InputError(
            f"The estimate has {a} x {b} pixels (y, x), the reference {c} x {d}. Give both on one grid, e.g. by gdalwarp."
        )
    if estimate[0] != reference[0]:
        raise InputError(
            f"The estimate has {estimate[0]} bands, the reference {reference[0]}. Choose the same bands of both (--bidx)."
        )
    if 0 in estimate:
        raise InputError(
            f"Estimate and reference are empty: {estimate} (band, y, x). Give at least one band and pixel."
        )


def _sample(image: Readable) -> NDArray[Any]:
    """Return values from all over an image, shape (band, sample)."""
    windows = [
        Window(y, y + SAMPLE_SIDE, x, x + SAMPLE_SIDE).clipped(image.shape[1:])
        for y in _starts(image.shape[1])
        for x in _starts(image.shape[2])
    ]
    parts = (image.read(w)[:, ::SAMPLE_STEP, ::SAMPLE_STEP] for w in windows)
    return np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1)


def _starts(length: int) -> list[int]:
    last = max(0, length - SAMPLE_SIDE)
    count = min(SAMPLE_WINDOWS, -(-length // SAMPLE_SIDE))
    return [int(start) for start in np.linspace(0, last, count)]


def _require_same_unit(estimate: NDArray[Any], reference: NDArray[Any]) -> None:
    if len(reference) < UNIT_VALUES:
        return
    spans = [float(np.subtract(*np.percentile(v.astype(np.float64), (98, 2)))) for v in (estimate, reference)]
    if min(spans) > 0 and max(spans) > UNIT_FACTOR * min(spans):
        raise InputError(
            f"Values of the estimate span {spans[0]:.4g} (2 to 98 %), those of the reference {spans[1]:.4g}: "
            "they are not in one unit. Bring both to one unit (scale and offset)."
        )


def _compared(estimate: Readable, reference: Readable, seen: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the bands that have a pixel valid in both; those unseen in the sample are searched."""
    found = seen.copy()
    bands, height, width = reference.shape
    for tile in tiling(bands, (height, width), 0):
        missing = np.flatnonzero(~found)
        if not len(missing):
            break
        found[missing] = _any_valid(i.read(tile.core, missing.tolist()) for i in (estimate, reference))
    if not found.any():
        raise InputError(
            f"No pixel of the {height} x {width} (y, x) is valid in both estimate and reference. "
            "Give two that overlap, or the right --nodata."
        )
    return np.flatnonzero(found)


def _any_valid(values: Iterable[NDArray[Any]]) -> NDArray[np.bool_]:
    valid = [np.isfinite(v) for v in values]
    both: NDArray[np.bool_] = np.logical_and(*valid).any((1, 2))
    return both
