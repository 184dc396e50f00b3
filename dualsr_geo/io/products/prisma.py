"""PRISMA L2D files (.he5): the VNIR and SWIR cubes as one spectrum, guided by the pan band of the product."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd
from dualsr_geo.io.readers.band_stack import BandStack
from dualsr_geo.io.readers.hdf5 import Hdf5Source, reading
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.georeferencing import parse_crs
from dualsr_geo.raster.packing import Decoding, Packing, require_packing
from dualsr_geo.raster.scene import Scene

SWATHS = "HDFEOS/SWATHS"
LEVEL = "2D"
CUBE, PAN = f"{SWATHS}/PRS_L2D_HCO/Data Fields", f"{SWATHS}/PRS_L2D_PCO/Data Fields"
DETECTORS = ("Vnir", "Swir")
# Cubes are (row, band, column).
CUBE_AXES, PAN_AXES = (1, 0, 2), (None, 0, 1)
GSD_M, PAN_GSD_M = 30.0, 5.0
# Stored value of the largest reflectance of a cube; 0 is that of the smallest.
LARGEST_STORED = 65535
# Stored in all bands outside the swath; the product has no other nodata value.
NODATA = 0.0


def looks_like(path: Path) -> bool:
    """Say whether a path is a PRISMA file."""
    if path.suffix.lower() != ".he5" or not path.is_file():
        return False
    return path.name.startswith("PRS_") or _levels(path) != []


def open_delivery(
    path: Path, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open both cubes as one scene in the order of wavelength, guided by the pan band.

    Reflectance is ``min + stored / 65535 * (max - min)`` with the L2Scale attributes of the cube. Bands of
    wavelength 0, which were not measured, are left out; where the detectors overlap, the bands of both are
    kept. The corner that the file states is taken as the centre of the first pixel of cube and pan.

    Parameters
    ----------
    path : Path
    gsd : float or None
        30 or 5 m; 30 by default.
    sensor : str or None
        Not used.
    nodata : float or None
        Instead of 0.

    Raises
    ------
    InputError
        If it is damaged, or of a level that is not on a map grid.
    OptionError
        If there are no bands of `gsd`.
    """
    del sensor
    levels = _levels(path)
    if LEVEL not in levels:
        stated = "/".join(f"L{v}" for v in levels) or "an unknown level"
        raise InputError(f"{path.name} is of {stated}, which is not on a map grid. Give the L2D product of the scene.")
    with reading(path) as file:
        groups: dict[float, tuple[str, ...]] = {GSD_M: ("VNIR", "SWIR")}
        if f"{PAN}/Cube" in file:
            groups[PAN_GSD_M] = ("PAN",)
        own, sharp = choose_gsd(groups, gsd, path.name)
        opened = _OpenFile(path, file, NODATA if nodata is None else nodata)
        scenes = {g: opened.spectrum() if g == GSD_M else opened.pan() for g in (own, sharp) if g is not None}
        notes = opened.notes()
    return Delivery(scenes[own], () if sharp is None else (scenes[sharp],), "prisma", "L2D", notes)


def _levels(path: Path) -> list[str]:
    """Return the levels of the swaths in a file, "1", "2B", "2C" or "2D"; none if it is not a PRISMA file."""
    with reading(path) as file:
        names = list(file[SWATHS]) if SWATHS in file else []
    matches = (re.match(r"PRS_L(\d[A-D]?)_", n) for n in names)
    return sorted({m[1] for m in matches if m})


@dataclass(frozen=True)
class _OpenFile:
    """An open L2D file, to read its metadata."""

    path: Path
    file: h5py.File
    nodata: float

    def spectrum(self) -> Scene:
        parts = [self._cube(d) for d in DETECTORS]
        order = [(p, i) for p, (_, bands) in enumerate(parts) for i in range(len(bands))]
        order.sort(key=lambda o: parts[o[0]][1][o[1]].wavelength_nm or 0.0)
        source = BandStack(tuple(source for source, _ in parts), tuple(order))
        bands = tuple(parts[p][1][i] for p, i in order)
        decodings = [parts[p][0].decoding.select([i]) for p, i in order]
        packing = Packing(
            str(self.file[f"{CUBE}/VNIR_Cube"].dtype),
            tuple(d.scales[0] for d in decodings),
            tuple(d.offsets[0] for d in decodings),
            self.nodata,
        )
        return self._scene(source, bands, packing, GSD_M)

    def pan(self) -> Scene:
        decoding = self._decoding("Pan", 1)
        size = self._size(f"{PAN}/Cube", PAN_AXES)
        source = Hdf5Source(str(self.path), f"{PAN}/Cube", PAN_AXES, indices=(0,), size=size, decoding=decoding)
        packing = Packing(str(self.file[f"{PAN}/Cube"].dtype), decoding.scales, decoding.offsets, self.nodata)
        return self._scene(source, (Band("PAN", unit="reflectance"),), packing, PAN_GSD_M)

    def notes(self) -> tuple[str, ...]:
        missing = sum(int((self._list(f"List_Cw_{d}") <= 0).sum()) for d in DETECTORS)
        missing_note = (f"{missing} bands of wavelength 0 were not measured and are left out.",) if missing else ()
        return ("Values are surface reflectance; VNIR and SWIR are sorted by wavelength.", *missing_note)

    def _cube(self, detector: str) -> tuple[Hdf5Source, tuple[Band, ...]]:
        name = f"{CUBE}/{detector.upper()}_Cube"
        if name not in self.file:
            raise InputError(f"{self.path.name} has no {name}. Fetch it again.")
        centres, widths = self._list(f"List_Cw_{detector}"), self._list(f"List_Fwhm_{detector}")
        count = self.file[name].shape[CUBE_AXES[0]]
        if not count == len(centres) == len(widths):
            raise InputError(
                f"{self.path.name}: {name} has {count} bands, but the attributes list {len(centres)} wavelengths "
                f"and {len(widths)} widths. Fetch it again."
            )
        measured = tuple(int(i) for i in np.flatnonzero(centres > 0))
        decoding = self._decoding(detector, len(measured))
        size = self._size(name, CUBE_AXES)
        source = Hdf5Source(str(self.path), name, CUBE_AXES, indices=measured, size=size, decoding=decoding)
        bands = tuple(
            Band(f"{detector.upper()} {i + 1}", _short(centres[i]), _short(widths[i]), unit="reflectance")
            for i in measured
        )
        return source, bands

    def _decoding(self, detector: str, count: int) -> Decoding:
        low, high = (float(self._attribute(f"L2Scale{detector}{limit}")) for limit in ("Min", "Max"))
        scales, offsets = ((high - low) / LARGEST_STORED,) * count, (low,) * count
        require_packing(scales, offsets, f"{self.path.name}, in L2Scale{detector}Min and Max,", "Fetch it again.")
        return Decoding(scales, offsets, (self.nodata,) * count)

    def _size(self, name: str, axes: tuple[int | None, int, int]) -> tuple[int, int]:
        shape = self.file[name].shape
        return int(shape[axes[1]]), int(shape[axes[2]])

    def _scene(self, source: BandStack | Hdf5Source, bands: Sequence[Band], packing: Packing, gsd: float) -> Scene:
        east, north = (float(self._attribute(f"Product_ULcorner_{a}")) for a in ("easting", "northing"))
        affine = Affine(gsd, 0, east - gsd / 2, 0, -gsd, north + gsd / 2)
        crs = parse_crs(f"EPSG:{int(self._attribute('Epsg_Code'))}", self.path.name)
        tags = {"SENSOR": "PRISMA", "PROCESSING_LEVEL": "L2D"}
        if "Product_StartTime" in self.file.attrs:
            tags["ACQUISITION"] = _text(self.file.attrs["Product_StartTime"])
        return Scene(
            source, GeoBox(source.shape[1:], affine, crs), tuple(bands), packing, {"": tags}, name=self.path.stem
        )

    def _list(self, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.asarray(self._attribute(name), dtype=np.float64).ravel()

    def _attribute(self, name: str) -> Any:
        if name not in self.file.attrs:
            raise InputError(f"{self.path.name} has no attribute {name}. Fetch it again.")
        return self.file.attrs[name]


def _short(value: float) -> float | None:
    """Return a float32 as its shortest decimal, 406.9934 for 406.99338; None for 0."""
    return float(str(np.float32(value))) if value > 0 else None


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
