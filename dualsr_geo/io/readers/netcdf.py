"""Metadata of netCDF files that GDAL does not read: lists of bands, and grids without CF attributes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from dualsr_geo.errors import InputError
from dualsr_geo.io.readers.dataset_cache import open_quietly
from dualsr_geo.raster.georeferencing import SPATIAL_DIMS, geobox_of, parse_crs
from dualsr_geo.raster.wavelengths import GOOD_NAMES, WAVELENGTH_NAMES, Spectrum, from_columns, number

# Where x and y have neither axis nor standard_name, GDAL gives no transform and reverses the rows; with
# this option it leaves them in the order of the file. Where GDAL gives a transform, the option would
# contradict it.
FILE_ORDER = (("GDAL_NETCDF_BOTTOMUP", "NO"),)

# Rounding of the coordinates of a file, pixels.
MAX_ROUNDING_PX = 1e-4
# Numbers of a transform as GDAL writes it.
GDAL_NUMBERS = 6
# Attribute of the netCDF products of this program, as GDAL names it.
OURS = "NC_GLOBAL#dualsr_scale"

# Groups that may hold the lists: the root, and that of EMIT.
_GROUPS = ("", "/sensor_band_parameters/")


def netcdf_geobox(dataset: DatasetReader, where: str) -> GeoBox:
    """Return the grid of a cube without transform, from x and y; without georeference where there are none.

    Parameters
    ----------
    dataset : DatasetReader
    where : str
        Name of the file in error messages.

    Raises
    ------
    InputError
        If x and y are not evenly spaced.
    """
    import xarray as xr  # noqa: PLC0415  # loads pandas

    height, width = dataset.shape
    # An array of the right shape without memory: only its coordinates are used.
    array = xr.DataArray(np.broadcast_to(np.float32(0), (height, width)), dims=("y", "x"))
    for y, x in SPATIAL_DIMS:
        (ys, y_unit), (xs, x_unit) = _list(dataset, [y]), _list(dataset, [x])
        if (len(ys), len(xs)) == (height, width):
            coords = {"y": ("y", ys, {"units": y_unit}), "x": ("x", xs, {"units": x_unit})}
            array = array.assign_coords(coords)
            break
    box = geobox_of(array, {}, where)
    text = dataset.crs.to_wkt() if dataset.crs else netcdf_crs(dataset)
    return GeoBox(box.shape, box.affine, parse_crs(text, where) or box.crs)


def require_bands_first(dataset: DatasetReader, where: str) -> None:
    """Check that the last two dimensions of a variable are not a spatial one and the bands, which GDAL reads as y and x.

    Raises
    ------
    InputError
        If the dimension that GDAL reads as the bands is y or x.
    """
    names = dataset.tags().get("NETCDF_DIM_EXTRA", "").strip("{}").split(",")
    spatial = {name for pair in SPATIAL_DIMS for name in pair}
    if wrong := [name for name in names if name in spatial]:
        raise InputError(
            f"{where} has the bands in its last dimension and `{wrong[0]}` first, which GDAL reads as {dataset.count} bands. "
            "Write it with the bands first, e.g. by xarray: dataset.transpose(..., 'y', 'x').to_netcdf('bands_first.nc')."
        )


def netcdf_transform(dataset: DatasetReader) -> Affine:
    """Return the transform of a file: GDAL's, which it computes from rounded coordinates, or the one that it is a rounding of.

    GDAL, rioxarray and this program write the exact one as the attribute GeoTransform of the grid mapping.
    """
    computed: Affine = dataset.transform
    stated = _stated_transform(dataset)
    return computed if stated is None or not _nearly_equal(stated, computed, dataset.shape) else stated


def is_upside_down(dataset: DatasetReader) -> bool:
    """Return whether GDAL reverses the rows of a product of this program, whose first row is in the south."""
    stated = _stated_transform(dataset) if OURS in dataset.tags() else None
    if stated is None or stated.e <= 0:
        return False
    reversed_rows = dataset.transform * Affine.translation(0, dataset.height) * Affine.scale(1, -1)
    return _nearly_equal(stated, reversed_rows, dataset.shape)


def stated_transform(dataset: DatasetReader) -> Affine:
    """Return the transform that the grid mapping of a product of this program states."""
    stated = _stated_transform(dataset)
    if stated is None:
        raise ValueError(f"{dataset.name} has no GeoTransform")
    return stated


def _stated_transform(dataset: DatasetReader) -> Affine | None:
    text = next((v for k, v in dataset.tags().items() if k.endswith("#GeoTransform")), "")
    values = [value for part in text.split() if (value := number(part)) is not None]
    return Affine.from_gdal(*values) if len(values) == GDAL_NUMBERS else None


def _nearly_equal(one: Affine, other: Affine, shape: tuple[int, int]) -> bool:
    """Return whether the corners of a raster are at the same places but for rounding."""
    height, width = shape
    pixel = math.sqrt(abs(other.determinant)) or math.nan
    corners = ((0, 0), (width, 0), (0, height), (width, height))
    errors = [abs(a - b) / pixel for corner in corners for a, b in zip(one * corner, other * corner, strict=True)]
    return max(errors) <= MAX_ROUNDING_PX


def netcdf_crs(dataset: DatasetReader) -> str | None:
    """Return the CRS that attributes of the variable state, where GDAL reads none."""
    attrs, file_attrs = dataset.tags(1), dataset.tags()
    text = attrs.get("crs_wkt") or attrs.get("spatial_ref") or attrs.get("crs")
    degrees = any(k.endswith("#units") and v == "degrees_north" for k, v in file_attrs.items())
    # As for xarray objects: WGS 84 is the best assumption for coordinates in degrees.
    return text or ("EPSG:4326" if degrees else None)


def netcdf_bands(dataset: DatasetReader) -> list[Spectrum]:
    """Read the variables of a netCDF file that list the bands of its cube, and its band dimension."""
    if dataset.count == 1:
        return []
    unit: str | None = None
    columns: list[Sequence[float | None]] = []
    for names in (WAVELENGTH_NAMES, ("fwhm",), GOOD_NAMES):
        values, stated_unit = _list(dataset, [group + n for n in names for group in _GROUPS])
        columns.append(values)
        unit = unit or stated_unit
    if not columns[0]:
        columns[0], unit = _dimension(dataset)
    return from_columns(columns, dataset.count, unit)


def _list(dataset: DatasetReader, names: Iterable[str]) -> tuple[list[float], str | None]:
    """Return the first 1-D variable of a netCDF file that has one of the names, and its unit.

    GDAL reads 1-D variables as rasters of one row, but does not list them.
    """
    path = dataset.files[0] if dataset.files else dataset.name
    for name in names:
        try:
            with open_quietly(f'NETCDF:"{path}":{name}', drivers=("netCDF",)) as variable:
                values: NDArray[np.float64] = variable.read(1, out_dtype="float64").ravel()
                return [float(v) for v in values], variable.tags(1).get("units")
        except RasterioError:
            # No variable of this name.
            continue
    return [], None


def _dimension(dataset: DatasetReader) -> tuple[list[float | None], str | None]:
    for name in WAVELENGTH_NAMES:
        values = [number(dataset.tags(i).get(f"NETCDF_DIM_{name}")) for i in dataset.indexes]
        if None not in values:
            return values, dataset.tags().get(f"{name}#units")
    return [], None
