"""MATLAB files, version 5 and 7.3: the cube in them, or a matrix of bands by pixels with its rows and columns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import psutil
from numpy.typing import NDArray

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.arrays.hdf5 import Hdf5Arrays
from dualsr_geo.io.products.arrays.layout import ArrayLayout, unscaled
from dualsr_geo.io.products.arrays.scene import Variable, open_arrays, require_file, split_name
from dualsr_geo.io.products.delivery import Delivery
from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.io.readers.damage import damage_as_input_error
from dualsr_geo.raster.packing import Packing, require_numbers

SUFFIX = ".mat"
# Largest compression of deflate: a code of 2 bits for 258 bytes.
MAX_DEFLATE_RATIO = 1032
ADVICE = "Fetch it again."


def looks_like(path: Path) -> bool:
    """Say whether a path is a MATLAB file, or a variable in one, ``file.mat#name``."""
    return split_name(path)[0].suffix.lower() == SUFFIX


def open_delivery(
    path: Path,
    *,
    gsd: float | None = None,
    sensor: str | None = None,
    nodata: float | None = None,
    count: int | None = None,
) -> Delivery:
    """Open the cube of a MATLAB file; values are as stored.

    Files of version 7.3 are read by window; older files can only be read whole.

    Parameters
    ----------
    path : Path
        ``file.mat``, or ``file.mat#name`` to choose among several variables.
    gsd : float or None
        Must be None: MATLAB files have no pixel size.
    sensor, nodata, count
        See `open_arrays`.

    Raises
    ------
    InputError
        If there is no cube, or several are as large.
    OptionError
        If the sensor does not fit, or there is none of that name.
    """
    file, name = split_name(path)
    require_file(file, gsd)
    arrays = Hdf5Arrays(file, column_major=True) if h5py.is_hdf5(file) else MatlabArrays(file)
    return open_arrays(arrays, name, sensor=sensor, nodata=nodata, count=count)


@dataclass(frozen=True)
class MatlabArrays:
    """The variables of a MATLAB file before version 7.3.

    Attributes
    ----------
    path : Path
    column_major : bool
        MATLAB's order.
    """

    path: Path
    column_major: bool = True

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """All its variables."""
        import scipy.io  # noqa: PLC0415  # loads scipy.sparse

        with damage_as_input_error(str(self.path), ADVICE):
            return tuple(Variable(*v) for v in scipy.io.whosmat(self.path))

    def values(self, name: str) -> NDArray[np.float64]:
        """Return a small variable, flat."""
        return self._load(name).astype(np.float64).ravel()

    def source(self, name: str, layout: ArrayLayout, nodata: float | None) -> tuple[ArraySource, Packing]:
        """Return the source of a variable, which is read now, and how it stores its values."""
        import xarray as xr  # noqa: PLC0415  # loads pandas

        stored = layout.arranged(self._load(name))
        array = xr.DataArray(stored, dims=("band", "y", "x"), name=self.path.stem)
        # MATLAB may store the values of a double array as integers, which then is the type of the array.
        decoding, packing = unscaled(layout.count, nodata, str(stored.dtype), self.path.name)
        return ArraySource(array, decoding), packing

    def _load(self, name: str) -> NDArray[np.generic]:
        import scipy.io  # noqa: PLC0415  # as above

        require_memory(next(v for v in self.variables if v.name == name), self.path, "Save it with -v7.3")
        with damage_as_input_error(str(self.path), ADVICE):
            stored = scipy.io.loadmat(self.path, variable_names=[name])[name]
            require_numbers(str(stored.dtype), f"{self.path.name}: `{name}`")
        values: NDArray[np.generic] = stored
        return values


def require_memory(variable: Variable, file: Path, way_out: str) -> None:
    """Check that a variable that is read whole fits the memory, and that the file can hold it.

    Parameters
    ----------
    variable : Variable
    file : Path
    way_out : str
        How to write a file that is read by window.

    Raises
    ------
    InputError
        If it does not, or cannot.
    """
    declared = math.prod(variable.shape) * np.dtype(variable.dtype).itemsize
    size = " x ".join(map(str, variable.shape))
    # MATLAB stores a double array as the smallest integers that hold it, an eighth of the size, and deflate shrinks no
    # content more than `MAX_DEFLATE_RATIO` times.
    if declared > 8 * MAX_DEFLATE_RATIO * file.stat().st_size:
        raise InputError(
            f"{file} declares `{variable.name}` of {size} values, more than its {file.stat().st_size} bytes can hold. "
            "It is damaged; fetch it again."
        )
    available = psutil.virtual_memory().available
    if declared > available:
        raise InputError(
            f"{file} can only be read whole: `{variable.name}` of {size} values takes {declared / 2**20:.0f} MiB, and "
            f"{available / 2**20:.0f} MiB are available. {way_out}, which is read by window."
        )
