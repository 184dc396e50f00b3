"""Sources of arrays: a Zarr array, and an xarray object."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import zarr
from dask.tokenize import tokenize
from numpy.typing import NDArray

from dualsr_geo._compat import is_in_memory
from dualsr_geo.errors import InputError, excerpt
from dualsr_geo.io.readers.damage import damage_as_input_error
from dualsr_geo.io.readers.rasterio_source import file_stamp, local_stamp
from dualsr_geo.io.storage.store_errors import store_errors_as
from dualsr_geo.io.storage.urls import shown
from dualsr_geo.io.storage.zarr_groups import array_stamp, zarr_location
from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.packing import Decoding
from dualsr_geo.raster.source import BaseSource, StoredSource, thumbnail_indices
from dualsr_geo.raster.windows import Window

if TYPE_CHECKING:
    import xarray as xr

# Values of an array that are read at once to look for missing ones, 64 MiB of float32.
MAX_VALUES = 2**24


@lru_cache(maxsize=16)
def _zarr_array(  # process and time of writing are only part of the key of the cache
    uri: str,
    variable: str,
    process: int,  # noqa: ARG001
    written: tuple[object, ...],  # noqa: ARG001
) -> zarr.Array[Any]:
    return zarr.open_array(zarr_location(uri), path=variable, mode="r")


def _written(uri: str, variable: str) -> tuple[object, ...]:
    """Return when the metadata of an array was written: a replaced store must be opened again."""
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
        Axis of band (None where the array has none), of y and of x; others have length 1.
    """

    uri: str
    variable: str
    axes: tuple[int | None, int, int]

    def thumbnail(self, band: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return one band subsampled to `shape` (y, x), NaN where invalid; every chunk of the band is read."""
        values: NDArray[np.float32] = self._pick([band], *thumbnail_indices(self.size, shape))[0]
        return values

    def read_last_pixel(self) -> None:
        """Read the last pixel of the last band, so that a damaged store is detected when it is opened."""
        height, width = self.size
        exact = self.normalized(Normalization.exact(len(self.indices)))
        exact.read(Window(height - 1, height, width - 1, width), [len(self.indices) - 1])

    def files_read(self) -> tuple[str, ...]:
        """Return the group."""
        return (self.uri,)

    def fingerprint(self) -> dict[str, object]:
        """Return URI and bands, and what changes with the stored values."""
        identity = {"uri": shown(self.uri), "variable": self.variable, "bands": list(self.indices)}
        return {**identity, **array_stamp(self.uri, self.variable)}

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        return self._pick(bands, *window.slices)

    def _pick(self, bands: Sequence[int], rows: Any, columns: Any) -> NDArray[np.float32]:
        advice = "The store is damaged or incomplete; write it again."
        with (
            store_errors_as(InputError, self.uri),
            damage_as_input_error(f"{shown(self.uri)}: `{self.variable}`", advice),
        ):
            return self._read(bands, rows, columns)

    def _read(self, bands: Sequence[int], rows: Any, columns: Any) -> NDArray[np.float32]:
        band_axis, y_axis, x_axis = self.axes
        try:
            array = _zarr_array(self.uri, self.variable, os.getpid(), _written(self.uri, self.variable))
            selection: list[Any] = [slice(0, 1)] * array.ndim
            selection[y_axis], selection[x_axis] = rows, columns
            if band_axis is not None:
                selection[band_axis] = _as_slice([self.indices[i] for i in bands])
            stored = np.asarray(array.oindex[tuple(selection)])
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{shown(self.uri)}: `{self.variable}` cannot be read: {excerpt(str(error))}. "
                "The store is damaged or incomplete; write it again."
            ) from error
        last = [a for a in (band_axis, y_axis, x_axis) if a is not None]
        first = [a for a in range(stored.ndim) if a not in last]
        cube = stored.transpose(first + last)
        cube = cube.reshape(-1, *cube.shape[-2:])
        return self.decoding.physical(cube, bands)


def _as_slice(indices: list[int]) -> slice | list[int]:
    """Return consecutive indices as a slice, which Zarr reads without a copy of each band."""
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

    def has_missing(self) -> bool:
        """Return whether a value of the array is missing; the array is read, up to the first one."""
        if not self.masked:
            return False
        count, height, width = self.array.shape
        rows = max(1, MAX_VALUES // width)
        return any(
            not np.isfinite(self._stored(slice(band, band + 1), slice(y, y + rows), slice(None))).all()
            for band in range(count)
            for y in range(0, height, rows)
        )

    def thumbnail(self, band: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return one band subsampled to `shape` (y, x), NaN where invalid; a lazy array reads only these pixels."""
        _, height, width = self.shape
        values: NDArray[np.float32] = self._pick([band], *thumbnail_indices((height, width), shape))[0]
        return values

    def select(self, indices: Sequence[int]) -> ArraySource:
        """Return the source of some of the bands, zero-based."""
        return ArraySource(self.array[list(indices)], self.decoding.select(indices))

    def normalized(self, normalization: Normalization) -> ArraySource:
        """Return the source whose values are shifted and scaled."""
        return replace(self, decoding=self.decoding.normalized(normalization))

    def crop(self, window: Window) -> ArraySource:
        """Return the source of a window; its array holds no more than that."""
        return replace(self, array=self.array[:, *window.slices])

    def files_read(self) -> tuple[str, ...]:
        """Return nothing: an array does not state which files it reads."""
        return ()

    def fingerprint(self) -> dict[str, object]:
        """Return dask's token of the array; the values of an array in memory are hashed.

        An array that xarray has not read yet is identified by its file and its coordinates, which tell parts of one file apart.
        """
        variable, path = self.array.variable, self.array.encoding.get("source")
        on_disk = variable.chunks is None and not is_in_memory(variable)
        if not on_disk or not path:
            return {"token": tokenize(variable.data), "shape": list(self.array.shape)}
        coordinates = [self.array[dim].to_numpy() for dim in self.array.dims if dim in self.array.coords]
        return {**file_stamp(str(path)), "part": tokenize(coordinates), "shape": list(self.array.shape)}

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        return self._pick(bands, *window.slices)

    def _pick(self, bands: Sequence[int], rows: Any, columns: Any) -> NDArray[np.float32]:
        return self.decoding.physical(self._stored(_as_slice(list(bands)), rows, columns), bands)

    def _stored(self, bands: slice | list[int], rows: Any, columns: Any) -> NDArray[Any]:
        part = self.array[bands][:, rows][:, :, columns]
        # Threads also on a distributed worker, where the default scheduler would wait for the cluster.
        with dask.config.set(scheduler="threads"):
            stored: NDArray[Any] = part.to_numpy()
        return stored
