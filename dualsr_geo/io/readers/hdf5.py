"""Sources of cubes in HDF5 files, and in netCDF-4 and MATLAB 7.3 files, which are HDF5."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import InputError, excerpt
from dualsr_geo.io.readers.block_sizes import require_chunk
from dualsr_geo.io.readers.rasterio_source import file_stamp
from dualsr_geo.raster.source import StoredSource
from dualsr_geo.raster.windows import Window


@contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """Open a file to read its metadata.

    Raises
    ------
    InputError
        If it cannot be opened.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {excerpt(str(error))}. Fetch it again.") from error
    with file:
        yield file


def require_chunks(path: Path, dataset: str) -> None:
    """Check that the memory can hold a chunk of a dataset.

    Raises
    ------
    InputError
        If it cannot.
    """
    with reading(path) as file:
        chunks, itemsize = file[dataset].chunks, file[dataset].dtype.itemsize
    if chunks is not None:
        require_chunk(chunks, itemsize, f"{path}: `{dataset}`")


@lru_cache(maxsize=8)
def _file(path: str, process: int, written: object) -> h5py.File:  # noqa: ARG001  # only part of the key of the cache
    return h5py.File(path, "r")


def part_of(path: str, dataset: str, slices: tuple[Any, ...]) -> NDArray[Any]:
    """Return a part of a dataset as stored.

    h5py serves one thread at a time. A forked process must not use the file of its parent.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        stored: NDArray[Any] = _file(path, os.getpid(), file_stamp(path).get("mtime_ns"))[dataset][slices]
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path}: `{dataset}` cannot be read: {excerpt(str(error))}. The file is damaged; fetch it again."
        ) from error
    return stored


@dataclass(frozen=True)
class Hdf5Source(StoredSource):
    """Bands of a dataset in an HDF5 file.

    Attributes
    ----------
    path, dataset : str
    axes : tuple of int or None
        Axis of band (None where the dataset has none), of y and of x.
    """

    path: str
    dataset: str
    axes: tuple[int | None, int, int]

    def files_read(self) -> tuple[str, ...]:
        """Return the file."""
        return (self.path,)

    def fingerprint(self) -> dict[str, object]:
        """Return dataset, bands, and size and time of the file."""
        return {**file_stamp(self.path), "dataset": self.dataset, "bands": list(self.indices)}

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        selection, order = _band_selection([self.indices[b] for b in bands])
        axis, y, x = self.axes
        slices: list[Any] = [slice(None)] * (2 if axis is None else 3)
        slices[y], slices[x] = window.slices
        if axis is None:
            plane = part_of(self.path, self.dataset, tuple(slices))
            stored = (plane if y < x else plane.T)[None]
        else:
            slices[axis] = selection
            stored = part_of(self.path, self.dataset, tuple(slices)).transpose((axis, y, x))[order]
        return self.decoding.physical(stored, bands)


def _band_selection(indices: Sequence[int]) -> tuple[slice | list[int], list[int]]:
    """Return what to read for some bands, and the index of each band in it.

    HDF5 reads a slice much faster than a list, which must also ascend; so a slice is read unless less
    than half of the slice is needed.
    """
    low, high = min(indices), max(indices)
    distinct = sorted(set(indices))
    if high - low < 2 * len(distinct):
        return slice(low, high + 1), [i - low for i in indices]
    return distinct, [distinct.index(i) for i in indices]
