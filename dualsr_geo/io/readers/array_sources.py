"""Arrays as sources: a Zarr array or an xarray object, read window by window.

What is opened is opened on first use, once a process, and never travels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import dask
import numpy as np
import obstore
import xarray as xr
import zarr
from dask.tokenize import tokenize
from numpy.typing import NDArray

from dualsr_geo.errors import InputError
from dualsr_geo.io.readers.rasterio_source import file_stamp, local_stamp
from dualsr_geo.io.storage.object_store import named, open_store, stamp, zarr_store
from dualsr_geo.io.storage.urls import is_url, is_writable, shown
from dualsr_geo.raster.packing import Decoding
from dualsr_geo.raster.source import BaseSource, StoredSource, thumbnail_indices
from dualsr_geo.raster.windows import Window


@lru_cache(maxsize=16)
def _zarr_array(  # process and time of writing are part of the key only
    uri: str,
    variable: str,
    process: int,  # noqa: ARG001
    written: tuple[object, ...],  # noqa: ARG001
) -> zarr.Array[Any]:
    return zarr.open_array(zarr_store(uri) if is_url(uri) else uri, path=variable, mode="r")


def _written(uri: str, variable: str) -> tuple[object, ...]:
    """When an array's metadata was written; a replaced store must be opened anew."""
    documents = (os.path.join(uri, variable, name) for name in ("zarr.json", ".zarray"))
    return tuple(local_stamp(d).get("mtime_ns") for d in documents)


@dataclass(frozen=True)
class ZarrSource(StoredSource):
    """A variable of a Zarr group, v2 or v3.

    Attributes
    ----------
    uri, variable : str
        The group, and the array's path in it.
    axes : tuple of int or None
        Which axis of the array is band (None where it has none), y and x; others have length 1.
    """

    uri: str
    variable: str
    axes: tuple[int | None, int, int]

    def thumbnail(self, band: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return one band subsampled to `shape` (y, x), NaN where invalid; every chunk of the band is read."""
        values: NDArray[np.float32] = self._pick([band], *thumbnail_indices(self.size, shape))[0]
        return values

    def read_far_end(self) -> None:
        """Read the last pixel of the last band, so that a damaged store is found before the work."""
        height, width = self.size
        self._load([len(self.indices) - 1], Window(height - 1, height, width - 1, width))

    def files_read(self) -> tuple[str, ...]:
        """Return the group."""
        return (self.uri,)

    def fingerprint(self) -> dict[str, object]:
        """Return URI, bands, and the count, size and newest time of the files; on the web, of its document."""
        if is_url(self.uri):
            return {"uri": shown(self.uri), "variable": self.variable, "bands": list(self.indices), **self._objects()}
        files = [p.stat() for p in (Path(self.uri) / self.variable).rglob("*") if p.is_file()]
        return {
            "uri": self.uri,
            "variable": self.variable,
            "bands": list(self.indices),
            "files": len(files),
            "size": sum(f.st_size for f in files),
            "mtime_ns": max((f.st_mtime_ns for f in files), default=0),
        }

    def _objects(self) -> dict[str, object]:
        """Return the count, size and newest time of the objects; a web server lists none."""
        if not is_writable(self.uri):
            return stamp(f"{self.uri}/zarr.json")
        with named(self.uri, InputError):
            found = [o for page in obstore.list(open_store(self.uri), self.variable) for o in page]
        newest = max((o["last_modified"] for o in found), default=None)
        size = sum(o["size"] for o in found)
        return {"files": len(found), "size": size, "modified": None if newest is None else newest.isoformat()}

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        return self._pick(bands, *window.slices)

    def _pick(self, bands: Sequence[int], rows: Any, columns: Any) -> NDArray[np.float32]:
        with named(self.uri, InputError):
            return self._read(bands, rows, columns)

    def _read(self, bands: Sequence[int], rows: Any, columns: Any) -> NDArray[np.float32]:
        band_axis, y_axis, x_axis = self.axes
        try:
            array = _zarr_array(self.uri, self.variable, os.getpid(), _written(self.uri, self.variable))
            wanted: list[Any] = [slice(0, 1)] * array.ndim
            wanted[y_axis], wanted[x_axis] = rows, columns
            if band_axis is not None:
                wanted[band_axis] = _run([self.indices[i] for i in bands])
            stored = np.asarray(array.oindex[tuple(wanted)])
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.uri}: `{self.variable}` cannot be read: {error}. "
                "The store is damaged or incomplete; write it again."
            ) from error
        last = [a for a in (band_axis, y_axis, x_axis) if a is not None]
        first = [a for a in range(stored.ndim) if a not in last]
        cube = stored.transpose(first + last)
        cube = cube.reshape(-1, *cube.shape[-2:])
        return self.decoding.physical(cube, bands)


def _run(indices: list[int]) -> slice | list[int]:
    """Consecutive indices as a slice, which Zarr reads without a copy a band."""
    first, last = indices[0], indices[-1]
    return slice(first, last + 1) if indices == list(range(first, last + 1)) else indices


@dataclass(frozen=True)
class ArraySource(BaseSource):
    """An xarray object, in memory or lazy.

    Attributes
    ----------
    array : DataArray, dims (band, y, x)
        As stored; `decoding.physical` makes its values physical.
    decoding : Decoding
    """

    array: xr.DataArray
    decoding: Decoding

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        count, height, width = self.array.shape
        return count, height, width

    @property
    def masked(self) -> bool:
        """Whether the array can hold NaN."""
        return self.array.dtype.kind == "f"

    def thumbnail(self, band: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return one band subsampled to `shape` (y, x), NaN where invalid; a lazy array reads only these pixels."""
        _, height, width = self.shape
        values: NDArray[np.float32] = self._pick([band], *thumbnail_indices((height, width), shape))[0]
        return values

    def select(self, indices: Sequence[int]) -> ArraySource:
        """Return the source of some of the bands, zero-based."""
        return ArraySource(self.array[list(indices)], self.decoding.select(indices))

    def crop(self, window: Window) -> ArraySource:
        """Return the source of a window; its array holds no more than that."""
        return replace(self, array=self.array[:, *window.slices])

    def files_read(self) -> tuple[str, ...]:
        """Return nothing: whose files an array reads, only its maker knows."""
        return ()

    def fingerprint(self) -> dict[str, object]:
        """Return dask's token of the array; the values of an array in memory are hashed.

        One that xarray has not read yet is not read for this: its file stands for it.
        """
        variable, path = self.array.variable, self.array.encoding.get("source")
        unread = variable.chunks is None and not getattr(variable, "_in_memory", True)
        identity = file_stamp(str(path)) if unread and path else {"token": tokenize(variable.data)}
        return {**identity, "shape": list(self.array.shape)}

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        return self._pick(bands, *window.slices)

    def _pick(self, bands: Sequence[int], rows: Any, columns: Any) -> NDArray[np.float32]:
        part = self.array[_run(list(bands))][:, rows][:, :, columns]
        # Threads also inside a distributed worker, where the default would wait for the cluster.
        with dask.config.set(scheduler="threads"):
            stored: NDArray[Any] = part.to_numpy()
        return self.decoding.physical(stored, bands)
