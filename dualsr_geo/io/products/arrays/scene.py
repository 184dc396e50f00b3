"""Arrays without metadata (MATLAB, NumPy, HDF5) as scenes: which array is the scene, and which axis has its bands.

A file of arrays states neither. The user may name the array, ``file.mat#name``; else it is the largest one. Bands are
the axis that is as long as a list of wavelengths or as the sensor's bands, else the one that differs from two of the
same length (a square image), else the shortest one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.products.arrays.layout import ArrayLayout
from dualsr_geo.io.products.delivery import Delivery
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.packing import Packing, is_real
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.source import Source
from dualsr_geo.raster.wavelengths import OPTICAL_NM, from_columns
from dualsr_geo.sensors.registry import find, normalised

# Between the path of a file and the name of an array in it.
MARK = "#"
# Names of the variables that list wavelengths, and the bands of the sensor that a cube has, as `normalised` has them.
WAVELENGTH_NAMES = (
    "wavelength", "wavelengths", "wavelengthnm", "wavelengthsnm", "wavelen", "wave", "waves", "wl", "wls", "wvl",
    "lambda", "lambdas", "bandcenter", "bandcenters", "centerwavelength", "centerwavelengths",
)  # fmt: skip
SELECTION_NAMES = ("slectbands", "selectbands", "selectedbands", "bandindex", "bandindices")
# Names of the variables that state rows and columns of a matrix of bands by pixels.
SIZE_NAMES = (
    ("nrow", "ncol"), ("nrows", "ncols"), ("rows", "cols"), ("rows", "columns"), ("lines", "cols"),
    ("lines", "samples"), ("lines", "columns"), ("height", "width"), ("nr", "nc"), ("h", "w"),
)  # fmt: skip
# Arrays that a message lists; more are counted.
MAX_LISTED = 8


@dataclass(frozen=True)
class Variable:
    """An array of a file; shape as the software that wrote it shows it."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"`{self.name}` {' x '.join(map(str, self.shape)) or 'scalar'}"

    @property
    def holds_numbers(self) -> bool:
        """Whether it has values, and they are real numbers."""
        return is_real(self.dtype) and math.prod(self.shape) > 0


class ArrayFile(Protocol):
    """A file of arrays."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def column_major(self) -> bool:
        """Whether the pixels of a matrix of bands by pixels follow each other down the columns, as in MATLAB."""
        ...

    @property
    def variables(self) -> Sequence[Variable]:
        """All its arrays."""
        ...

    def values(self, name: str) -> NDArray[np.float64]:
        """Return a small array, flat."""
        ...

    def source(self, name: str, layout: ArrayLayout, nodata: float | None) -> tuple[Source, Packing]:
        """Return the source of an array, and how it stores its values."""
        ...


def split_name(path: Path) -> tuple[Path, str | None]:
    """Return a path without the name of an array, and the name."""
    if path.exists():
        return path, None
    stem, mark, name = str(path).rpartition(MARK)
    return (Path(stem), name) if mark else (path, None)


def require_file(file: Path, gsd: float | None) -> None:
    """Check that a file of arrays exists, and that no pixel size is requested.

    Raises
    ------
    InputError
        If it does not exist.
    OptionError
        If `gsd` is given.
    """
    if gsd is not None:
        raise OptionError(f"--gsd {gsd:g}: {file.name} has no pixel size. Leave it out.")
    if not file.is_file():
        raise InputError(f"{file} does not exist. Give the path of a file of arrays.")


def open_arrays(
    file: ArrayFile, name: str | None, *, sensor: str | None, nodata: float | None, count: int | None
) -> Delivery:
    """Open an array of a file as a scene without georeference; values are as stored.

    Parameters
    ----------
    file : ArrayFile
    name : str or None
        Of the array; None for the largest, or the one that has as many bands as `sensor` or `count`.
    sensor : str or None
        The instrument; its wavelengths are those of the bands.
    nodata : float or None
        Stored value of missing pixels; none by default.
    count : int or None
        Number of bands, where the user gives their wavelengths.

    Raises
    ------
    InputError
        If there is no such array, or several are as large.
    OptionError
        If `sensor` or `count` does not fit the array.
    """
    whole = None if sensor is None else len(find(sensor).bands)
    selection = _selection(file, whole)
    expected = count or (len(selection) if selection is not None else whole)
    variable = _named(file, name) if name is not None else _chosen(file, expected, sensor, count)
    layout, why = _layout(file, variable, expected, sensor, count)
    source, packing = file.source(variable.name, layout, nodata)
    bands = _bands(file, layout.count)
    if sensor is not None and count is None:
        bands = _sensor_bands(sensor, selection, layout.count)
    geobox = GeoBox(layout.size, Affine.identity(), None)
    scene = Scene(source, geobox, bands, packing, name=file.path.stem)
    return Delivery(scene, (), "" if sensor is None else find(sensor).name, "", (_note(file, variable, layout, why),))


def _named(file: ArrayFile, name: str) -> Variable:
    variable = next((v for v in file.variables if v.name == name), None)
    if variable is None:
        raise InputError(f"{file.path.name} holds no cube `{name}`: {list_text(file.variables)}.")
    if not (variable.holds_numbers and len(variable.shape) in (2, 3)):
        raise InputError(
            f"{file.path.name}: {variable} of type {variable.dtype} is no image. Give an array of 2 or 3 axes and of "
            f"real numbers; it holds {list_text(file.variables)}."
        )
    return variable


def _chosen(file: ArrayFile, expected: int | None, sensor: str | None, count: int | None) -> Variable:
    """Return the array with as many bands as expected, or the largest."""
    cubes = candidates(file)
    where = file.path.name
    if not cubes:
        raise InputError(
            f"{where} holds no cube: {list_text(file.variables) or 'no array'}. Give a file with an array of 3 axes, or "
            f"one of 2 axes by its name, {where}{MARK}name."
        )
    if expected is not None:
        fitting = [v for v in cubes if expected in _band_axes(file, v)]
        if not fitting:
            raise OptionError(_misfit(file, cubes, expected, sensor, count))
        if len(fitting) > 1:
            raise InputError(
                f"{where} holds {len(fitting)} cubes of {expected} bands: {list_text(fitting)}. "
                f"Give one of them, e.g. {where}{MARK}{fitting[0].name}."
            )
        return fitting[0]
    sizes = [math.prod(v.shape) for v in cubes]
    largest = [v for v, size in zip(cubes, sizes, strict=True) if size == max(sizes)]
    if len(largest) > 1:
        raise InputError(
            f"{where} holds {len(largest)} cubes of the same size: {list_text(largest)}. "
            f"Give one of them, e.g. {where}{MARK}{largest[0].name}."
        )
    return largest[0]


def candidates(file: ArrayFile) -> list[Variable]:
    """Return the arrays that can be a scene: those of 3 axes, and matrices of bands by pixels."""
    numbers = [v for v in file.variables if v.holds_numbers]
    return [v for v in numbers if len(v.shape) == 3 or _pixel_axis(file, v) is not None]


def _misfit(file: ArrayFile, cubes: Sequence[Variable], expected: int, sensor: str | None, count: int | None) -> str:
    where = file.path.name
    if count is not None or sensor is None:
        return f"--wavelengths lists {expected} bands, but {where} holds {list_text(cubes)}. Give one for each band."
    return (
        f"--sensor {sensor} has {expected} bands, but {where} holds {list_text(cubes)}, and no list of the bands that it "
        f"has. Give the sensor that took it, or its bands, e.g. --wavelengths {sensor}:1..20,25..{expected}, or leave "
        "--sensor out."
    )


def _band_axes(file: ArrayFile, variable: Variable) -> tuple[int, ...]:
    """Return the lengths of the axes that may be the bands'."""
    pixels = _pixel_axis(file, variable)
    return variable.shape if pixels is None else (variable.shape[1 - pixels],)


def _pixel_axis(file: ArrayFile, variable: Variable) -> int | None:
    """Return which axis of a matrix has the pixels, by the rows and columns that the file states; None if neither."""
    size = _size(file)
    if len(variable.shape) != 2 or size is None:
        return None
    pixels = size[0] * size[1]
    fitting = [axis for axis in (0, 1) if variable.shape[axis] == pixels]
    return fitting[-1] if fitting else None


def _size(file: ArrayFile) -> tuple[int, int] | None:
    """Return rows and columns where scalars of the file state them."""
    scalars = {normalised(v.name): v.name for v in file.variables if v.holds_numbers and math.prod(v.shape) == 1}
    for names in SIZE_NAMES:
        if all(n in scalars for n in names):
            rows, columns = (float(file.values(scalars[n])[0]) for n in names)
            if rows >= 1 and columns >= 1 and rows.is_integer() and columns.is_integer():
                return int(rows), int(columns)
    return None


def _layout(
    file: ArrayFile, variable: Variable, expected: int | None, sensor: str | None, count: int | None
) -> tuple[ArrayLayout, str]:
    """Return the axes of an array, and why the bands are where they are."""
    shape, size, pixels = variable.shape, _size(file), _pixel_axis(file, variable)
    if pixels is not None and size is not None:
        layout, why = ArrayLayout(1 - pixels, (pixels,), size, shape, file.column_major), "a matrix of bands by pixels"
    elif len(shape) == 2:
        layout, why = ArrayLayout(None, (0, 1), shape, shape), "one band"
    else:
        axis, why = _band_axis(shape, expected or _listed(file, shape), by_sensor=bool(sensor) and not count)
        rows, columns = (a for a in range(3) if a != axis)
        layout = ArrayLayout(axis, (rows, columns), (shape[rows], shape[columns]), shape)
    if expected is not None and layout.count != expected:
        raise OptionError(_misfit(file, [variable], expected, sensor, count))
    return layout, why


def _band_axis(shape: tuple[int, ...], length: int | None, *, by_sensor: bool) -> tuple[int, str]:
    # The last axis first, as MATLAB has bands, then the first, as GDAL has them.
    order = (2, 0, 1)
    if length in shape:
        return next(
            a for a in order if shape[a] == length
        ), f"as many as {'the sensor has' if by_sensor else 'its wavelengths'}"
    for axis in order:
        rows, columns = (n for i, n in enumerate(shape) if i != axis)
        if rows == columns != shape[axis]:
            return axis, "the axis that is not one of the two of the same length"
    return min(order, key=lambda a: shape[a]), "the shortest axis"


def _listed(file: ArrayFile, shape: tuple[int, ...]) -> int | None:
    """Return the length of a list of wavelengths or bands of the file that an axis of an array has."""
    lists = [*_wavelength_lists(file), *(v for v in file.variables if normalised(_last(v.name)) in SELECTION_NAMES)]
    return next((math.prod(v.shape) for v in lists if math.prod(v.shape) in shape), None)


def _last(name: str) -> str:
    """Return the name of an array in a group."""
    return name.rpartition("/")[2]


def _is_vector(variable: Variable) -> bool:
    return variable.holds_numbers and max(variable.shape, default=1) == math.prod(variable.shape) > 1


def _wavelength_lists(file: ArrayFile) -> list[Variable]:
    return [v for v in file.variables if _is_vector(v) and normalised(_last(v.name)) in WAVELENGTH_NAMES]


def _bands(file: ArrayFile, count: int) -> tuple[Band, ...]:
    """Return the bands with the wavelengths that the file lists, without a name where it lists none."""
    for variable in _wavelength_lists(file):
        values = [float(v) for v in file.values(variable.name)]
        spectra = from_columns([values, [], []], count, None)
        optical = [s.wavelength_nm is not None and OPTICAL_NM[0] <= s.wavelength_nm <= OPTICAL_NM[1] for s in spectra]
        if spectra and all(optical):
            return tuple(Band(None, s.wavelength_nm, s.fwhm_nm) for s in spectra)
    return (Band(),) * count


def _selection(file: ArrayFile, whole: int | None) -> tuple[int, ...] | None:
    """Return the zero-based bands of the sensor that the file lists; None where it lists none."""
    for variable in file.variables if whole is not None else ():
        if _is_vector(variable) and normalised(_last(variable.name)) in SELECTION_NAMES:
            numbers = file.values(variable.name)
            if (np.diff(numbers) > 0).all() and (numbers % 1 == 0).all() and numbers[0] >= 1 and numbers[-1] <= whole:
                return tuple(int(n) - 1 for n in numbers)
    return None


def _sensor_bands(sensor: str, selection: tuple[int, ...] | None, count: int) -> tuple[Band, ...]:
    bands = find(sensor).bands
    return tuple(Band(bands[i].name, bands[i].wavelength_nm, bands[i].fwhm_nm) for i in selection or range(count))


def _note(file: ArrayFile, variable: Variable, layout: ArrayLayout, why: str) -> str:
    """Return what was opened, in a sentence: the array, its bands, and what else it could have been."""
    rows, columns = layout.size
    others = [v for v in candidates(file) if v.name != variable.name]
    also = f" The file also holds {list_text(others)}; {file.path.name}{MARK}name opens one of them." if others else ""
    bands = f"{layout.count} band{'s' * (layout.count > 1)}"
    return f"Variable {variable} is {bands} ({why}) of {rows} x {columns} pixels; values are as stored.{also}"


def list_text(variables: Sequence[Variable]) -> str:
    """Return arrays as a message lists them, cubes first."""
    ordered = sorted(variables, key=lambda v: (-len(v.shape), -math.prod(v.shape)))
    shown = [
        str(v) if v.holds_numbers else f"{v} {re.sub(r'[^a-z0-9_<>|]', '', v.dtype)}" for v in ordered[:MAX_LISTED]
    ]
    more = len(ordered) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
