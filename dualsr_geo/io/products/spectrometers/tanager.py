"""Tanager ortho products (.h5): radiance or surface reflectance on a map grid, as HDF-EOS5."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd
from dualsr_geo.io.products.metadata_files import to_number
from dualsr_geo.io.readers.hdf5 import Hdf5Source, reading, require_chunks
from dualsr_geo.raster import grid
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.georeferencing import parse_crs
from dualsr_geo.raster.packing import Decoding, Packing
from dualsr_geo.raster.scene import Scene

GRID, SWATH = "HDFEOS/GRIDS/HYP", "HDFEOS/SWATHS/HYP"
STRUCTURE = "HDFEOS INFORMATION/StructMetadata.0"
# Names of the cubes: the level, the quantity, and the unit where the file states none.
CUBES = {
    "surface_reflectance": ("ortho_sr", "surface reflectance", "reflectance"),
    "toa_radiance": ("ortho_radiance", "top-of-atmosphere radiance", "W m-2 sr-1 um-1"),
}
# Cubes are (band, row, column).
AXES = (0, 1, 2)
NODATA = -9999.0


def looks_like(path: Path) -> bool:
    """Say whether a path is a Tanager file."""
    if path.suffix.lower() != ".h5" or not path.is_file() or not h5py.is_hdf5(path):
        return False
    with reading(path) as file:
        return GRID in file or SWATH in file


def open_delivery(
    path: Path, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the cube on its map grid; all bands, those that the product does not mark as good are marked as bad.

    Parameters
    ----------
    path : Path
    gsd : float or None
        The pixel size, the only one.
    sensor : str or None
        Not used.
    nodata : float or None
        Instead of the fill value of the cube, -9999.

    Raises
    ------
    InputError
        If it is a basic product, which has no map grid, or parts are missing.
    OptionError
        If `gsd` is not the pixel size.
    """
    del sensor
    with reading(path) as file:
        if GRID not in file:
            raise InputError(
                f"{path.name} is a basic product, which is not on a map grid. Give the ortho product of the scene "
                "(ortho_sr_hdf5 or ortho_radiance_hdf5)."
            )
        opened = _OpenFile(path, file, nodata)
        name, geobox, bands = opened.name, opened.geobox(), opened.bands()
        source, packing = opened.source(), opened.packing()
        tags = {"SENSOR": "Tanager", "PROCESSING_LEVEL": CUBES[name.rpartition("/")[2]][0]}
        if acquired := re.match(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)_", path.name):
            tags["ACQUISITION"] = "{}-{}-{}T{}:{}:{}Z".format(*acquired.groups())
    require_chunks(path, name)
    choose_gsd({grid.gsd(geobox): ("all",)}, gsd, path.name)
    level, quantity, _ = CUBES[name.rpartition("/")[2]]
    scene = Scene(source, geobox, bands, packing, {"": tags}, name=path.stem)
    bad = sum(not b.good for b in bands)
    bad_note = (f"{bad} of {len(bands)} bands are marked as bad, as in the product.",) if bad else ()
    return Delivery(scene, (), "tanager", level, (f"Values are {quantity}.", *bad_note))


@dataclass(frozen=True)
class _OpenFile:
    """An open ortho product, to read its metadata."""

    path: Path
    file: h5py.File
    nodata: float | None

    @property
    def name(self) -> str:
        """The cube in the file; surface reflectance, if there are both."""
        names = [f"{GRID}/{fields}/{cube}" for fields in ("Data Fields", "Data_Fields") for cube in CUBES]
        cube = next((n for n in names if n in self.file), None)
        if cube is None:
            raise InputError(f"{self.path.name} has neither {' nor '.join(CUBES)} in {GRID}. Fetch it again.")
        if self.file[cube].ndim != len(AXES):
            raise InputError(f"{self.path.name}: {cube} has {self.file[cube].ndim} axes, not three. Fetch it again.")
        return cube

    @property
    def fill(self) -> float:
        if self.nodata is not None:
            return self.nodata
        return float(np.ravel(self.file[self.name].attrs.get("_FillValue", NODATA))[0])

    def bands(self) -> tuple[Band, ...]:
        """Return the bands with their wavelengths; those not marked as good are bad."""
        cube = self.file[self.name]
        count = int(cube.shape[AXES[0]])
        centres, widths = self._list("wavelengths", count), self._list("fwhm", count)
        good = self._list("good_wavelengths", count) if "good_wavelengths" in cube.attrs else np.ones(count)
        unit = _text(cube.attrs.get("Unit", "")).strip() if "radiance" in self.name else ""
        return tuple(
            Band(None, _short(c), _short(w), good=bool(g), unit=unit or CUBES[self.name.rpartition("/")[2]][2])
            for c, w, g in zip(centres, widths, good, strict=True)
        )

    def geobox(self) -> GeoBox:
        """Return the grid of the structure's corners, which are those of the outer pixels, or their centres if it says so."""
        if STRUCTURE not in self.file or "epsg_code" not in self.file[GRID].attrs:
            raise InputError(f"{self.path.name} has no {STRUCTURE} or no epsg_code, so no grid. Fetch it again.")
        text = _text(self.file[STRUCTURE][()])
        (west, north), (east, south) = (self._corner(text, n) for n in ("UpperLeftPointMtrs", "LowerRightMtrs"))
        _, height, width = self.file[self.name].shape
        if not (east > west and north > south):
            raise InputError(
                f"{self.path.name} states a grid from {west:g}, {north:g} to {east:g}, {south:g}. Fetch it again."
            )
        columns, rows = (width - 1, height - 1) if "HE5_HDFE_CENTER" in text else (width, height)
        affine = Affine((east - west) / columns, 0, west, 0, (south - north) / rows, north)
        if columns != width:
            affine = affine * Affine.translation(-0.5, -0.5)
        code = to_number(_text(np.ravel(self.file[GRID].attrs["epsg_code"])[0]), "epsg_code", self.path)
        return GeoBox((height, width), affine, parse_crs(f"EPSG:{code:.0f}", self.path.name))

    def source(self) -> Hdf5Source:
        """Return the source of all bands."""
        count, height, width = self.file[self.name].shape
        decoding = Decoding((1.0,) * count, (0.0,) * count, (self.fill,) * count)
        indices = tuple(range(count))
        return Hdf5Source(str(self.path), self.name, AXES, indices=indices, size=(height, width), decoding=decoding)

    def packing(self) -> Packing:
        """Return the packing of the cube: as stored."""
        cube = self.file[self.name]
        count = int(cube.shape[AXES[0]])
        return Packing(str(cube.dtype), (1.0,) * count, (0.0,) * count, self.fill)

    def _list(self, name: str, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        values = np.ravel(self.file[self.name].attrs.get(name, ()))
        if len(values) != count:
            raise InputError(
                f"{self.path.name}: {self.name} has {count} bands, but its attribute {name} lists {len(values)}. Fetch it again."
            )
        return np.asarray(values, dtype=np.float64)

    def _corner(self, text: str, name: str) -> tuple[float, float]:
        match = re.search(rf"{name}\s*=\s*\(\s*([-+.\deE]+)\s*,\s*([-+.\deE]+)\s*\)", text)
        if match is None:
            raise InputError(f"{self.path.name} states no {name} of its grid. Fetch it again.")
        return to_number(match[1], name, self.path), to_number(match[2], name, self.path)


def _short(value: float) -> float | None:
    """Return a float32 as its shortest decimal; None for what is no wavelength."""
    return float(str(np.float32(value))) if 0 < value < np.inf else None


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
