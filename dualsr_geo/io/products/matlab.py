"""MATLAB files of CAVE, Harvard, Chikusei and other scenes; they do not describe their bands, so the user names the sensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import psutil
import scipy.io
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.products.delivery import Delivery
from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.io.readers.damage import damage_as_input_error
from dualsr_geo.io.readers.hdf5 import Hdf5Source, reading, require_chunks
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.packing import Decoding, Packing, is_real, require_numbers
from dualsr_geo.raster.scene import Scene
from dualsr_geo.sensors.registry import find

SUFFIX, MARK = ".mat", "#"
# Possible axes of y, x and band, in MATLAB's order.
AXIS_ORDERS = ((0, 1, 2), (1, 2, 0))
# Largest compression of deflate: a code of 2 bits for 258 bytes.
MAX_DEFLATE_RATIO = 1032


def looks_like(path: Path) -> bool:
    """Say whether a path is a MATLAB file, or a variable in one, ``file.mat#name``."""
    return _split(path)[0].suffix.lower() == SUFFIX


def open_delivery(
    path: Path, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the cube of a MATLAB file that has as many bands as the sensor; values are as stored.

    Files of version 7.3 are read by window; older files can only be read whole.

    Parameters
    ----------
    path : Path
        ``file.mat``, or ``file.mat#name`` to choose among several variables.
    gsd : float or None
        Must be None: MATLAB files have no pixel size.
    sensor : str or None
        The sensor, e.g. ``"cave"``; it identifies the axis of the bands, and has their wavelengths.
    nodata : float or None
        Stored value of missing pixels; none by default.

    Raises
    ------
    InputError
        If no cube, or more than one, has as many bands as the sensor.
    OptionError
        If no sensor is given, or there is none of that name.
    """
    file, name = _split(path)
    if gsd is not None:
        raise OptionError(f"--gsd {gsd:g}: {file.name} has no pixel size. Leave it out.")
    if not file.is_file():
        raise InputError(f"{file} does not exist. Give the path of a MATLAB file.")
    cubes, is_hdf5 = _cubes(file)
    if sensor is None:
        raise OptionError(
            f"{file.name} does not describe its bands ({_list_text(cubes)}). Give its sensor, e.g. --sensor cave, "
            "harvard or chikusei."
        )
    bands = find(sensor).bands
    cube, order = _choose(cubes, name, len(bands), sensor, file)
    decoding = Decoding((1.0,) * len(bands), (0.0,) * len(bands), (nodata,) * len(bands))
    source = (_by_window if is_hdf5 else _whole)(file, cube, order, decoding)
    # MATLAB may store the values of a double array as integers, which then is the type of the array.
    dtype = str(source.array.dtype) if isinstance(source, ArraySource) else cube.dtype
    packing = Packing(dtype, decoding.scales, decoding.offsets, nodata)
    scene_bands = tuple(Band(b.name, b.wavelength_nm, b.fwhm_nm) for b in bands)
    scene = Scene(source, GeoBox(source.shape[1:], Affine.identity(), None), scene_bands, packing, name=file.stem)
    return Delivery(scene, (), find(sensor).name, "", (f"Variable `{cube.name}`; values are as stored.",))


@dataclass(frozen=True)
class _Cube:
    """A 3-D variable; shape in MATLAB's order."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def order(self, count: int) -> tuple[int, int, int] | None:
        """Return the axes of y, x and band; None if no axis has so many bands."""
        return next((o for o in AXIS_ORDERS if self.shape[o[2]] == count), None)


def _split(path: Path) -> tuple[Path, str | None]:
    if path.exists():
        return path, None
    stem, mark, name = str(path).rpartition(MARK)
    return (Path(stem), name) if mark else (path, None)


def _cubes(file: Path) -> tuple[list[_Cube], bool]:
    """Return the 3-D variables of numbers, and whether the file is HDF5."""
    if h5py.is_hdf5(file):
        with reading(file) as opened:
            # HDF5 lists the axes that MATLAB has in reverse.
            variables = [(n, d.shape[::-1], str(d.dtype)) for n, d in opened.items() if isinstance(d, h5py.Dataset)]
    else:
        with damage_as_input_error(str(file), "Fetch it again."):
            variables = list(scipy.io.whosmat(file))
    return [_Cube(*v) for v in variables if len(v[1]) == 3 and is_real(v[2])], h5py.is_hdf5(file)


def _choose(
    cubes: Sequence[_Cube], name: str | None, count: int, sensor: str, file: Path
) -> tuple[_Cube, tuple[int, int, int]]:
    named = [c for c in cubes if name in (None, c.name)]
    if not named:
        raise InputError(
            f"{file.name} holds no cube{f' `{name}`' if name else ''}: {_list_text(cubes) or 'no 3-D variable'}."
        )
    fitting = [(c, order) for c in named if (order := c.order(count))]
    if not fitting:
        raise InputError(
            f"--sensor {sensor} has {count} bands, but {file.name} holds {_list_text(named)}. Give the sensor that "
            "took it."
        )
    if len(fitting) > 1:
        raise InputError(
            f"{file.name} holds {len(fitting)} cubes of {count} bands: {_list_text([c for c, _ in fitting])}. "
            f"Give one of them, e.g. {file.name}{MARK}{fitting[0][0].name}."
        )
    return fitting[0]


def _list_text(cubes: Sequence[_Cube]) -> str:
    return ", ".join(f"`{c.name}` {' x '.join(map(str, c.shape))}" for c in cubes)


def _by_window(file: Path, cube: _Cube, order: tuple[int, int, int], decoding: Decoding) -> Hdf5Source:
    # HDF5 lists the axes that MATLAB has in reverse.
    y, x, band = (2 - axis for axis in order)
    size = (cube.shape[order[0]], cube.shape[order[1]])
    indices = tuple(range(cube.shape[order[2]]))
    require_chunks(file, cube.name)
    return Hdf5Source(str(file), cube.name, (band, y, x), indices=indices, size=size, decoding=decoding)


def _require_memory(cube: _Cube, file: Path) -> None:
    """Check that a variable that is read whole fits the memory, and that the file can hold it.

    Raises
    ------
    InputError
        If it does not, or cannot.
    """
    declared = math.prod(cube.shape) * np.dtype(cube.dtype).itemsize
    size = " x ".join(map(str, cube.shape))
    # MATLAB stores a double array as the smallest integers that hold it, an eighth of the size, and deflate shrinks no
    # content more than `MAX_DEFLATE_RATIO` times.
    if declared > 8 * MAX_DEFLATE_RATIO * file.stat().st_size:
        raise InputError(
            f"{file} declares `{cube.name}` of {size} values, more than its {file.stat().st_size} bytes can hold. "
            "It is damaged; fetch it again."
        )
    available = psutil.virtual_memory().available
    if declared > available:
        raise InputError(
            f"{file} can only be read whole: `{cube.name}` of {size} values takes {declared / 2**20:.0f} MiB, and "
            f"{available / 2**20:.0f} MiB are available. Save it with -v7.3, which is read by window."
        )


def _whole(file: Path, cube: _Cube, order: tuple[int, int, int], decoding: Decoding) -> ArraySource:
    y, x, band = order
    _require_memory(cube, file)
    with damage_as_input_error(str(file), "Fetch it again."):
        stored = scipy.io.loadmat(file, variable_names=[cube.name])[cube.name].transpose(band, y, x)
        require_numbers(str(stored.dtype), f"{file.name}: `{cube.name}`")
    return ArraySource(xr.DataArray(stored, dims=("band", "y", "x"), name=file.stem), decoding)
