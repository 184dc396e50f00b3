"""EMIT granules (netCDF), L2A reflectance and L1B radiance, on their map grid.

The granule has a geographic lookup table, which names the pixel of the swath for each pixel of the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.products.delivery import Delivery
from dualsr_geo.io.readers.hdf5 import Hdf5Source, part_of, reading
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.georeferencing import parse_crs
from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.packing import Decoding, Packing
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.source import BaseSource, thumbnail_indices
from dualsr_geo.raster.windows import Window

CUBES = {"reflectance": ("L2A", "reflectance"), "radiance": ("L1B", "uW cm-2 sr-1 nm-1")}
# Cubes are (downtrack, crosstrack, band).
AXES = (2, 0, 1)
TABLE_Y, TABLE_X = "location/glt_y", "location/glt_x"
LISTS = "sensor_band_parameters"
NODATA = -9999.0


def looks_like(path: Path) -> bool:
    """Say whether a path is an EMIT granule with a geographic lookup table."""
    if path.suffix.lower() != ".nc" or not path.is_file() or not h5py.is_hdf5(path):
        return False
    with reading(path) as file:
        return TABLE_X in file and any(name in file for name in CUBES)


def open_delivery(
    path: Path, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open a granule on its map grid; every map pixel is the swath pixel that the lookup table names.

    All bands are kept in the order of the file; those that the granule does not mark as good are marked as
    bad.

    Parameters
    ----------
    path : Path
    gsd : float or None
        Must be None: all bands have the same pixel size.
    sensor : str or None
        Not used.
    nodata : float or None
        Instead of -9999.

    Raises
    ------
    InputError
        If parts of the granule are missing.
    OptionError
        If a `gsd` is given.
    """
    del sensor
    if gsd is not None:
        raise OptionError(f"--gsd {gsd:g}: the bands of {path.name} have one pixel size, in degrees. Leave it out.")
    with reading(path) as file:
        name = next(n for n in CUBES if n in file)
        _require(file, path, (TABLE_Y, TABLE_X, f"{LISTS}/wavelengths"), ("geotransform", "spatial_ref"))
        level, unit = CUBES[name]
        bands = _bands(file, unit)
        rows, columns, count = file[name].shape
        if count != len(bands):
            raise InputError(f"{path.name}: {name} has {count} bands, but {len(bands)} wavelengths. Fetch it again.")
        geobox = _geobox(file, path)
        nodata_values = (NODATA if nodata is None else nodata,) * count
        dtype = str(file[name].dtype)
        tags = {"SENSOR": "EMIT", "PROCESSING_LEVEL": level, **_acquisition(file)}
    decoding = Decoding((1.0,) * count, (0.0,) * count, nodata_values)
    swath = Hdf5Source(str(path), name, AXES, indices=tuple(range(count)), size=(rows, columns), decoding=decoding)
    height, width = geobox.shape
    packing = Packing(dtype, decoding.scales, decoding.offsets, nodata_values[0])
    scene = Scene(OrthorectifiedSwath(swath, (height, width)), geobox, bands, packing, {"": tags}, name=path.stem)
    return Delivery(scene, (), "emit", level, _notes(bands, level))


def _require(file: h5py.File, path: Path, variables: Sequence[str], attributes: Sequence[str]) -> None:
    missing = [n for n in variables if n not in file] + [a for a in attributes if a not in file.attrs]
    if missing:
        raise InputError(f"{path.name} has no {', '.join(missing)}. Fetch the granule again.")


def _geobox(file: h5py.File, path: Path) -> GeoBox:
    height, width = file[TABLE_X].shape
    affine = Affine.from_gdal(*(float(v) for v in np.ravel(file.attrs["geotransform"])))
    text = file.attrs["spatial_ref"]
    return GeoBox(
        (height, width), affine, parse_crs(text.decode() if isinstance(text, bytes) else str(text), path.name)
    )


def _bands(file: h5py.File, unit: str) -> tuple[Band, ...]:
    lists = file[LISTS]
    centres = lists["wavelengths"][:]
    widths = lists["fwhm"][:] if "fwhm" in lists else np.full(len(centres), np.nan)
    good = lists["good_wavelengths"][:] if "good_wavelengths" in lists else np.ones(len(centres))
    return tuple(
        Band(None, _short(c), _short(w) if w > 0 else None, good=bool(g), unit=unit)
        for c, w, g in zip(centres, widths, good, strict=True)
    )


def _short(value: np.floating[Any]) -> float:
    """Return a float32 as its shortest decimal."""
    return float(str(np.float32(value)))


def _acquisition(file: h5py.File) -> dict[str, str]:
    value = file.attrs.get("time_coverage_start")
    text = value.decode() if isinstance(value, bytes) else value
    return {} if text is None else {"ACQUISITION": str(text)}


def _notes(bands: Sequence[Band], level: str) -> tuple[str, ...]:
    bad = sum(not b.good for b in bands)
    bad_note = (f"{bad} of {len(bands)} bands are marked as bad, as in the granule.",) if bad else ()
    quantity = "surface reflectance" if level == "L2A" else "radiance"
    return (
        f"Values are {quantity}; each map pixel is the nearest pixel of the swath, by the granule's lookup table.",
        *bad_note,
    )


@dataclass(frozen=True)
class OrthorectifiedSwath(BaseSource):
    """A swath on the map grid of its geographic lookup table, whose indices count from 1, with 0 outside the swath.

    Attributes
    ----------
    swath : Hdf5Source
    size : tuple of int
        Rows and columns of the map grid.
    """

    swath: Hdf5Source
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return (self.swath.shape[0], *self.size)

    @property
    def masked(self) -> bool:
        """Whether values can be missing that no nodata value marks: outside the swath."""
        return True

    def thumbnail(self, band: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return one band subsampled to `shape` (y, x), NaN where invalid; the whole swath is read."""
        at = np.ix_(*thumbnail_indices(self.size, shape))
        y, x = (part_of(self.swath.path, name, ())[at] for name in (TABLE_Y, TABLE_X))
        values: NDArray[np.float32] = self._gather(y, x, [band])[0]
        return values

    def select(self, indices: Sequence[int]) -> OrthorectifiedSwath:
        """Return the source of some of the bands, zero-based."""
        return replace(self, swath=self.swath.select(indices))

    def normalized(self, normalization: Normalization) -> OrthorectifiedSwath:
        """Return the source whose values are shifted and scaled."""
        return replace(self, swath=self.swath.normalized(normalization))

    def files_read(self) -> tuple[str, ...]:
        """Return the granule."""
        return self.swath.files_read()

    def fingerprint(self) -> dict[str, object]:
        """Return the fingerprint of the swath, and the names of the tables."""
        return {**self.swath.fingerprint(), "table": [TABLE_Y, TABLE_X]}

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        y, x = (part_of(self.swath.path, name, window.slices) for name in (TABLE_Y, TABLE_X))
        return self._gather(y, x, bands)

    def _gather(self, y: NDArray[Any], x: NDArray[Any], bands: Sequence[int]) -> NDArray[np.float32]:
        """Return the pixels of the swath that the table names; no more of the swath is read than spans them."""
        out = np.full((len(bands), *y.shape), np.nan, self.swath.decoding.dtype)
        covered = (y > 0) & (x > 0)
        if covered.any():
            rows, columns = y[covered] - 1, x[covered] - 1
            top, left = int(rows.min()), int(columns.min())
            span = Window(top, int(rows.max()) + 1, left, int(columns.max()) + 1)
            out[:, covered] = self.swath.read(span, bands)[:, rows - top, columns - left]
        return out
