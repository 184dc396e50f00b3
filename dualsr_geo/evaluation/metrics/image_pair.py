"""A pair of images to compare: checked to have one size and one unit, with the bands that both have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import InputError
from dualsr_geo.raster.source import Readable
from dualsr_geo.raster.spectral_indices import SpectralIndex
from dualsr_geo.raster.windows import Tile, Tiling, Window

# The sample for units and means: 4 x 4 windows of 64 pixels, every second pixel of them.
SAMPLE_WINDOWS = 4
SAMPLE_SIDE_PX = 64
SAMPLE_STEP_PX = 2
# Two images whose ranges of 2 to 98 % differ by a larger factor are in different units.
MAX_RANGE_RATIO = 5
# The unit is not checked with fewer values in the sample.
MIN_UNIT_VALUES = 50
# Memory of one tile of both images, float32. 128 bands: tiles of 384 pixels.
TILE_BYTES = 160 * 2**20
MAX_TILE_PX, MIN_TILE_PX = 512, 64


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
        The compared bands: those with at least one pixel that is valid in both images.
    pivot : array, shape (band, 1, 1)
        Mean of the reference in a sample, one a compared band. Sums are taken of differences from it, so
        that a small variance on large values keeps its digits.
    indices : tuple of SpectralIndex
        The spectral indices that are compared; their bands are compared bands.
    """

    estimate: Readable
    reference: Readable
    bands: tuple[int, ...]
    pivot: NDArray[np.float64]
    indices: tuple[SpectralIndex, ...] = ()

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
        """Return one value for every band from those of the compared bands; NaN for the others."""
        out = np.full(self.count, np.nan)
        out[list(self.bands)] = values
        return out


def pair(estimate: Image, reference: Image, *, one_unit: bool = True, indices: Sequence[SpectralIndex] = ()) -> Pair:
    """Check that two images can be compared, and return them as a pair.

    Parameters
    ----------
    estimate, reference : Readable or array, shape (band, y, x)
    one_unit : bool
        Whether both must be in one unit, which is judged by the ranges of their values.
    indices : sequence of SpectralIndex
        Spectral indices to compare, where both of their bands are compared.

    Raises
    ------
    InputError
        If they differ in bands, size or unit, or share no valid pixel.
    """
    images = readable(estimate, "estimate"), readable(reference, "reference")
    _require_same_shape(images[0].shape, images[1].shape)
    samples = [_sample(image) for image in images]
    valid = np.isfinite(samples[0]) & np.isfinite(samples[1])
    if one_unit:
        _require_same_unit(samples[0][valid], samples[1][valid])
    bands = _compared_bands(*images, valid.any(1))
    means = np.where(valid, samples[1], 0).sum(1, dtype=np.float64) / valid.sum(1).clip(1)
    compared = tuple(int(b) for b in bands)
    both = tuple(index for index in indices if {index.first, index.second} <= set(compared))
    return Pair(*images, compared, means[bands, None, None], both)


def readable(image: Image, name: str) -> Readable:
    """Return an array as an image that can be read by windows; other images are returned unchanged.

    Raises
    ------
    InputError
        If an array is not (band, y, x).
    """
    if not isinstance(image, np.ndarray):
        return image
    if image.ndim != 3:
        raise InputError(
            f"The {name} is an array of {image.ndim} dimensions, {image.shape}, not of 3. Give (band, y, x); one band is array[None]."
        )
    if isinstance(image, np.ma.MaskedArray):
        return _MemoryImage(np.ma.filled(image.astype(np.float64), np.nan))
    return _MemoryImage(image)


def tiling(bands: int, size: tuple[int, int], halo: int) -> Tiling:
    """Return tiles that begin at multiples of 32 pixels and fit in `TILE_BYTES`.

    They do not depend on the number of threads, so neither does the last digit of a score.
    """
    side = int((TILE_BYTES / (bands * 2 * 4)) ** 0.5) - 2 * halo
    return Tiling(size, min(max(side // 32 * 32, MIN_TILE_PX), MAX_TILE_PX), halo)


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
            f"Estimate and reference are empty: {estimate} (band, y, x). Give at least one band and one pixel."
        )


def _sample(image: Readable) -> NDArray[Any]:
    """Return values from windows spread over an image, shape (band, sample)."""
    windows = [
        Window(y, y + SAMPLE_SIDE_PX, x, x + SAMPLE_SIDE_PX).clipped(image.shape[1:])
        for y in _starts(image.shape[1])
        for x in _starts(image.shape[2])
    ]
    parts = (image.read(w)[:, ::SAMPLE_STEP_PX, ::SAMPLE_STEP_PX] for w in windows)
    return np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1)


def _starts(length: int) -> list[int]:
    last = max(0, length - SAMPLE_SIDE_PX)
    count = min(SAMPLE_WINDOWS, -(-length // SAMPLE_SIDE_PX))
    return [int(start) for start in np.linspace(0, last, count)]


def _require_same_unit(estimate: NDArray[Any], reference: NDArray[Any]) -> None:
    if len(reference) < MIN_UNIT_VALUES:
        return
    ranges = [float(np.subtract(*np.percentile(v.astype(np.float64), (98, 2)))) for v in (estimate, reference)]
    if min(ranges) > 0 and max(ranges) > MAX_RANGE_RATIO * min(ranges):
        raise InputError(
            f"The values of the estimate span {ranges[0]:.4g} (2 to 98 %), those of the reference {ranges[1]:.4g}, "
            "so they are not in one unit. Convert both to one unit (scale and offset)."
        )


def _compared_bands(estimate: Readable, reference: Readable, in_sample: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the bands that have a pixel valid in both images; those without one in the sample are searched."""
    compared = in_sample.copy()
    bands, height, width = reference.shape
    for tile in tiling(bands, (height, width), 0):
        missing = np.flatnonzero(~compared)
        if not len(missing):
            break
        compared[missing] = _any_valid(i.read(tile.core, missing.tolist()) for i in (estimate, reference))
    if not compared.any():
        raise InputError(
            f"None of the {height} x {width} pixels (y, x) is valid in both estimate and reference. "
            "Give two that overlap, or the right --nodata."
        )
    return np.flatnonzero(compared)


def _any_valid(values: Iterable[NDArray[Any]]) -> NDArray[np.bool_]:
    valid = [np.isfinite(v) for v in values]
    both: NDArray[np.bool_] = np.logical_and(*valid).any((1, 2))
    return both
