"""NumPy files: the array of ``.npy``, read by window, and those of ``.npz``, read whole."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.io.products.arrays.layout import ArrayLayout, NpySource, unscaled
from dualsr_geo.io.products.arrays.matlab import require_memory
from dualsr_geo.io.products.arrays.scene import Variable, open_arrays, require_file, split_name
from dualsr_geo.io.products.delivery import Delivery
from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.io.readers.damage import damage_as_input_error
from dualsr_geo.raster.packing import Packing, require_numbers

ARRAY, ARCHIVE = ".npy", ".npz"
ADVICE = "Save it again by numpy.save."


def looks_like(path: Path) -> bool:
    """Say whether a path is a NumPy file, or an array in one, ``file.npz#name``."""
    return split_name(path)[0].suffix.lower() in (ARRAY, ARCHIVE)


def open_delivery(
    path: Path,
    *,
    gsd: float | None = None,
    sensor: str | None = None,
    nodata: float | None = None,
    count: int | None = None,
) -> Delivery:
    """Open the array of a NumPy file; see `open_arrays`. Pickled objects are refused."""
    file, name = split_name(path)
    require_file(file, gsd)
    arrays = NpyArray(file) if file.suffix.lower() == ARRAY else NpzArrays(file)
    return open_arrays(arrays, name, sensor=sensor, nodata=nodata, count=count)


@dataclass(frozen=True)
class NpyArray:
    """The array of a ``.npy`` file.

    Attributes
    ----------
    path : Path
    column_major : bool
    """

    path: Path
    column_major: bool = False

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """The array, under the name of the file."""
        with damage_as_input_error(str(self.path), ADVICE), self.path.open("rb") as file:
            return (_variable(self.path.stem, file),)

    def values(self, name: str) -> NDArray[np.float64]:
        """Return the array, flat."""
        require_memory(next(v for v in self.variables if v.name == name), self.path, "Save it as .npy")
        with damage_as_input_error(str(self.path), ADVICE):
            values: NDArray[Any] = np.load(self.path, allow_pickle=False)
        return values.astype(np.float64).ravel()

    def source(self, name: str, layout: ArrayLayout, nodata: float | None) -> tuple[NpySource, Packing]:
        """Return the source of the array, and how it stores its values."""
        require_numbers(self.variables[0].dtype, f"{self.path.name}: `{name}`")
        with damage_as_input_error(str(self.path), ADVICE):
            # Maps the file, which fails if it is shorter than its header declares.
            dtype = np.load(self.path, mmap_mode="r", allow_pickle=False).dtype
        indices = tuple(range(layout.count))
        decoding, packing = unscaled(layout.count, nodata, dtype.newbyteorder("=").name, self.path.name)
        source = NpySource(str(self.path), layout, indices=indices, size=layout.size, decoding=decoding)
        return source, packing


@dataclass(frozen=True)
class NpzArrays:
    """The arrays of an ``.npz`` file.

    Attributes
    ----------
    path : Path
    column_major : bool
    """

    path: Path
    column_major: bool = False

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """All its arrays."""
        arrays = []
        with self._archive() as archive:
            for member in archive.namelist():
                if member.endswith(ARRAY):
                    with archive.open(member) as file:
                        arrays.append(_variable(member.removesuffix(ARRAY), file))
        return tuple(arrays)

    def values(self, name: str) -> NDArray[np.float64]:
        """Return a small array, flat."""
        return self._load(name).astype(np.float64).ravel()

    def source(self, name: str, layout: ArrayLayout, nodata: float | None) -> tuple[ArraySource, Packing]:
        """Return the source of an array, which is read now, and how it stores its values."""
        import xarray as xr  # noqa: PLC0415  # loads pandas

        stored = layout.arranged(self._load(name))
        native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        decoding, packing = unscaled(layout.count, nodata, native.dtype.name, self.path.name)
        return ArraySource(xr.DataArray(native, dims=("band", "y", "x"), name=self.path.stem), decoding), packing

    def _load(self, name: str) -> NDArray[Any]:
        require_memory(next(v for v in self.variables if v.name == name), self.path, "Save it as .npy")
        with self._archive() as archive, archive.open(name + ARRAY) as file:
            values: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return values

    @contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        with damage_as_input_error(str(self.path), ADVICE), zipfile.ZipFile(self.path) as archive:
            yield archive


def _variable(name: str, file: IO[bytes]) -> Variable:
    """Read the header of an array."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return Variable(name, shape, dtype.newbyteorder("=").name if dtype.kind in "iufc" else str(dtype))
