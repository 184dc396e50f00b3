"""Sources: physical values of a scene, read by window."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.packing import Decoding
from dualsr_geo.raster.windows import Window


class Readable(Protocol):
    """Physical values that are read by window; every `Source` is one."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        ...

    def read(self, window: Window, bands: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Return physical values, shape (band, y, x), NaN where invalid.

        Parameters
        ----------
        window : Window
            Inside the grid of the source.
        bands : sequence of int, optional
            Zero-based; all bands by default.
        """
        ...


class Source(Readable, Protocol):
    """Physical values of a scene, readable by window; picklable."""

    @property
    def masked(self) -> bool:
        """Whether values can be missing that no nodata value marks."""
        ...

    def thumbnail(self, band: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return one band subsampled to `shape` (y, x), NaN where invalid."""
        ...

    def select(self, indices: Sequence[int]) -> Source:
        """Return the source of some of the bands, zero-based."""
        ...

    def crop(self, window: Window) -> Source:
        """Return the source of a window, which is inside the grid; it holds no more of an array than that."""
        ...

    def normalized(self, normalization: Normalization) -> Source:
        """Return the source whose values are shifted and scaled."""
        ...

    def files_read(self) -> tuple[str, ...]:
        """Return the files or the store that it reads; none for an array."""
        ...

    def fingerprint(self) -> dict[str, object]:
        """Return values that identify the content of the source, fit for JSON."""
        ...


@dataclass(frozen=True)
class BaseSource(ABC):
    """The methods that sources share.

    A source is a small picklable value. What it opens is opened on first use, once a thread
    (rasterio) or process (Zarr, HDF5), and is not pickled.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""

    @property
    def masked(self) -> bool:
        """Whether values can be missing that no nodata value marks."""
        return False

    @property
    def estimated(self) -> bool:
        """Whether the values are estimates of a model, not measured."""
        return False

    def read(self, window: Window, bands: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Return physical values, shape (band, y, x), NaN where invalid.

        Parameters
        ----------
        window : Window
            Inside the grid of the source.
        bands : sequence of int, optional
            Zero-based; all bands by default.

        Raises
        ------
        InputError
            If the file or store cannot be read there.
        """
        return self._load(range(self.shape[0]) if bands is None else bands, window)

    def thumbnail(self, band: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return one band subsampled to `shape` (y, x), NaN where invalid; the whole band is read."""
        _, height, width = self.shape
        plane = self._load([band], Window(0, height, 0, width))[0]
        subsampled: NDArray[np.float32] = plane[np.ix_(*thumbnail_indices((height, width), shape))]
        return subsampled

    def crop(self, window: Window) -> Source:
        """Return the source of a window, which is inside the grid."""
        return CroppedSource(self, window)

    @abstractmethod
    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        """Return physical values of zero-based bands, shape (band, y, x), NaN where invalid."""

    @abstractmethod
    def select(self, indices: Sequence[int]) -> Source:
        """Return the source of some of the bands, zero-based."""

    @abstractmethod
    def normalized(self, normalization: Normalization) -> Source:
        """Return the source whose values are shifted and scaled."""

    @abstractmethod
    def files_read(self) -> tuple[str, ...]:
        """Return the files or the store that it reads; none for an array."""

    @abstractmethod
    def fingerprint(self) -> dict[str, object]:
        """Return values that identify the content of the source, fit for JSON."""


@dataclass(frozen=True, kw_only=True)
class StoredSource(BaseSource):
    """Bands of one array in a file or store.

    Attributes
    ----------
    indices : tuple of int
        Zero-based bands of the array.
    size : tuple of int
        Rows and columns.
    decoding : Decoding
        One entry for each of `indices`.
    """

    indices: tuple[int, ...]
    size: tuple[int, int]
    decoding: Decoding

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return (len(self.indices), *self.size)

    def select(self, indices: Sequence[int]) -> Self:
        """Return the source of some of the bands, zero-based."""
        chosen = tuple(self.indices[i] for i in indices)
        return replace(self, indices=chosen, decoding=self.decoding.select(indices))

    def normalized(self, normalization: Normalization) -> Self:
        """Return the source whose values are shifted and scaled."""
        return replace(self, decoding=self.decoding.normalized(normalization))


@dataclass(frozen=True)
class CroppedSource(BaseSource):
    """A window of another source.

    Attributes
    ----------
    source : Source
    window : Window
        Inside the grid of the source.
    """

    source: Source
    window: Window

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return (self.source.shape[0], *self.window.shape)

    @property
    def masked(self) -> bool:
        """Whether values can be missing that no nodata value marks."""
        return self.source.masked

    def select(self, indices: Sequence[int]) -> CroppedSource:
        """Return the source of some of the bands, zero-based."""
        return replace(self, source=self.source.select(indices))

    def normalized(self, normalization: Normalization) -> CroppedSource:
        """Return the source whose values are shifted and scaled."""
        return replace(self, source=self.source.normalized(normalization))

    def crop(self, window: Window) -> CroppedSource:
        """Return the source of a window of this window."""
        return replace(self, window=window.moved(self.window.y0, self.window.x0))

    def files_read(self) -> tuple[str, ...]:
        """Return the files or the store of the whole source."""
        return self.source.files_read()

    def fingerprint(self) -> dict[str, object]:
        """Return the fingerprint of the whole source, and the window."""
        (rows, columns) = self.window.slices
        return {**self.source.fingerprint(), "window": [rows.start, rows.stop, columns.start, columns.stop]}

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        return self.source.read(window.moved(self.window.y0, self.window.x0), bands)


def thumbnail_indices(size: tuple[int, int], shape: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows and the columns of a thumbnail of `shape`, spread evenly over a grid of `size`."""
    rows, columns = (
        ((np.arange(count) + 0.5) * length / count).astype(np.intp) for length, count in zip(size, shape, strict=True)
    )
    return rows, columns
