"""HDF5 files without georeference: the only cube in them, or a named one; and the MATLAB files that are HDF5."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.arrays.layout import ArrayLayout, Hdf5MatrixSource, unscaled
from dualsr_geo.io.products.arrays.scene import Variable, candidates, open_arrays, require_file, split_name
from dualsr_geo.io.products.delivery import Delivery
from dualsr_geo.io.readers.hdf5 import Hdf5Source, part_of, reading, require_chunks
from dualsr_geo.raster.packing import Packing

SUFFIXES = (".h5", ".hdf5")
# Groups and attributes of HDF5 files whose grid GDAL reads: HDF-EOS5, BAG and netCDF-4.
GRIDDED = frozenset(("HDFEOS", "HDFEOS INFORMATION", "BAG_root"))
NETCDF = "_NCProperties"


def looks_like(path: Path) -> bool:
    """Say whether a path is an HDF5 file with one cube and no grid, or an array in one, ``file.h5#name``."""
    file, name = split_name(path)
    if file.suffix.lower() not in SUFFIXES or not file.is_file() or not h5py.is_hdf5(file):
        return False
    try:
        with h5py.File(file, "r") as opened:
            if GRIDDED & set(opened) or NETCDF in opened.attrs:
                return False
        # GDAL lists several, and names them as it opens them.
        cubes = candidates(Hdf5Arrays(file))
        return name is not None or (cubes != [] and sum(len(v.shape) == 3 for v in cubes) <= 1)
    except (OSError, RuntimeError, InputError):
        return False


def open_delivery(
    path: Path,
    *,
    gsd: float | None = None,
    sensor: str | None = None,
    nodata: float | None = None,
    count: int | None = None,
) -> Delivery:
    """Open a cube of an HDF5 file, which is read by window; see `open_arrays`."""
    file, name = split_name(path)
    require_file(file, gsd)
    return open_arrays(Hdf5Arrays(file), name, sensor=sensor, nodata=nodata, count=count)


@dataclass(frozen=True)
class Hdf5Arrays:
    """The datasets of an HDF5 file.

    Attributes
    ----------
    path : Path
    column_major : bool
        Whether MATLAB wrote it, of whose axes HDF5 has the reverse.
    """

    path: Path
    column_major: bool = False

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """All its datasets; the reserved ones of MATLAB, and text, hold no numbers."""
        cubes: list[Variable] = []

        def add(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset) and item.shape is not None and not name.startswith("#"):
                text = item.attrs.get("MATLAB_class") == b"char" or "MATLAB_empty" in item.attrs
                shape = item.shape[::-1] if self.column_major else item.shape
                cubes.append(Variable(name, shape, "char" if text else str(item.dtype)))

        with reading(self.path) as file:
            file.visititems(add)
        return tuple(cubes)

    def values(self, name: str) -> NDArray[np.float64]:
        """Return a small dataset, flat."""
        return part_of(str(self.path), name, (...,)).astype(np.float64).ravel()

    def source(
        self, name: str, layout: ArrayLayout, nodata: float | None
    ) -> tuple[Hdf5Source | Hdf5MatrixSource, Packing]:
        """Return the source of a dataset, and how it stores its values."""
        require_chunks(self.path, name)
        with reading(self.path) as file:
            dtype = file[name].dtype.newbyteorder("=").name
        decoding, packing = unscaled(layout.count, nodata, dtype, self.path.name)
        indices, path = tuple(range(layout.count)), str(self.path)
        layout = layout.reversed() if self.column_major else layout
        if len(layout.pixels) == 1:
            matrix = Hdf5MatrixSource(path, name, layout, indices=indices, size=layout.size, decoding=decoding)
            return matrix, packing
        y, x = layout.pixels
        cube = Hdf5Source(path, name, (layout.band, y, x), indices=indices, size=layout.size, decoding=decoding)
        return cube, packing
