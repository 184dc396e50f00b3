"""Axes of an array that is read as (band, y, x), and sources of arrays in files of NumPy and of HDF5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.io.readers.damage import damage_as_input_error
from dualsr_geo.io.readers.hdf5 import part_of
from dualsr_geo.io.readers.rasterio_source import file_stamp
from dualsr_geo.raster.packing import Decoding, Packing, resolve_nodata
from dualsr_geo.raster.source import StoredSource
from dualsr_geo.raster.windows import Window


@dataclass(frozen=True)
class ArrayLayout:
    """Which axes of an array are band, y and x.

    Attributes
    ----------
    band : int or None
        None where the array is one band.
    pixels : tuple of int
        Axes of y and x, or the one axis of all pixels.
    size : tuple of int
        Rows and columns.
    shape : tuple of int
        Of the array.
    column_major : bool
        Of one axis of all pixels: whether they follow each other down the columns.
    """

    band: int | None
    pixels: tuple[int, ...]
    size: tuple[int, int]
    shape: tuple[int, ...]
    column_major: bool = False

    @property
    def count(self) -> int:
        """Number of bands."""
        return 1 if self.band is None else self.shape[self.band]

    def reversed(self) -> ArrayLayout:
        """Return the layout of the same array with its axes in reverse, as HDF5 has MATLAB's."""
        last = len(self.shape) - 1
        band = None if self.band is None else last - self.band
        return replace(self, band=band, pixels=tuple(last - a for a in self.pixels), shape=self.shape[::-1])

    def arranged(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view (band, y, x) of the array."""
        planes = array[None] if self.band is None else array.transpose(self.band, *self.pixels)
        if len(self.pixels) == 2:
            return planes
        rows, columns = self.size
        if self.column_major:
            return planes.reshape(-1, columns, rows).swapaxes(1, 2)
        return planes.reshape(-1, rows, columns)


def unscaled(count: int, nodata: float | None, dtype: str, where: str) -> tuple[Decoding, Packing]:
    """Return the decoding and the packing of values as stored.

    Raises
    ------
    OptionError
        If the type does not hold the nodata value.
    """
    value = resolve_nodata(None, nodata, dtype, where)
    decoding = Decoding((1.0,) * count, (0.0,) * count, (value,) * count)
    return decoding, Packing(dtype, decoding.scales, decoding.offsets, value)


@dataclass(frozen=True)
class NpySource(StoredSource):
    """Bands of the array of a NumPy file, which is mapped into memory and read by window.

    Attributes
    ----------
    path : str
    layout : ArrayLayout
    """

    path: str
    layout: ArrayLayout

    def files_read(self) -> tuple[str, ...]:
        """Return the file."""
        return (self.path,)

    def fingerprint(self) -> dict[str, object]:
        """Return bands, and size and time of the file."""
        return {**file_stamp(self.path), "bands": list(self.indices)}

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        with damage_as_input_error(self.path, "Save it again."):
            array = self.layout.arranged(np.load(self.path, mmap_mode="r", allow_pickle=False))
            part = array[(slice(None), *window.slices)]
            return self.decoding.physical(part[[self.indices[b] for b in bands]], bands)


@dataclass(frozen=True)
class Hdf5MatrixSource(StoredSource):
    """Bands of a matrix of bands by pixels in an HDF5 file.

    Attributes
    ----------
    path, dataset : str
    layout : ArrayLayout
        Of the axes in the order of HDF5.
    """

    path: str
    dataset: str
    layout: ArrayLayout

    def files_read(self) -> tuple[str, ...]:
        """Return the file."""
        return (self.path,)

    def fingerprint(self) -> dict[str, object]:
        """Return dataset, bands, and size and time of the file."""
        return {**file_stamp(self.path), "dataset": self.dataset, "bands": list(self.indices)}

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        # Whole columns, or whole rows, of the window are one range of pixels.
        rows, columns = self.layout.size
        outer, inner = (window.slices[::-1], rows) if self.layout.column_major else (window.slices, columns)
        pixels = slice(outer[0].start * inner, outer[0].stop * inner)
        band = self.layout.band
        planes = []
        for b in bands:
            index = self.indices[b]
            part = part_of(self.path, self.dataset, (index, pixels) if band == 0 else (pixels, index))
            plane = part.reshape(-1, inner)[:, outer[1]]
            planes.append(plane.T if self.layout.column_major else plane)
        return self.decoding.physical(np.stack(planes), bands)
