"""What GDAL leaves out of a netCDF file: lists beside the cube, and places without CF attributes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from dualsr_geo.io.readers.dataset_cache import open_quietly
from dualsr_geo.raster.georeferencing import SPATIAL_DIMS, geobox_of, parse_crs
from dualsr_geo.raster.wavelengths import GOOD_NAMES, WAVELENGTH_NAMES, Spectrum, from_columns, number

# Where x and y have neither axis nor standard_name, GDAL gives no transform and turns the rows
# round; with this it leaves them as they are. Where it does give one, this would contradict it.
FILE_ORDER = (("GDAL_NETCDF_BOTTOMUP", "NO"),)

# The root, and where EMIT keeps its bands.
_GROUPS = ("", "/sensor_band_parameters/")


def netcdf_geobox(dataset: DatasetReader, where: str) -> GeoBox:
    """Return the grid of a cube that GDAL could not place, from x and y; bare where there are none.

    Parameters
    ----------
    dataset : DatasetReader
    where : str
        What to call it in an error.

    Raises
    ------
    InputError
        If x and y are not evenly spaced.
    """
    height, width = dataset.shape
    flat = np.broadcast_to(np.float32(0), (height, width))
    array = xr.DataArray(flat, dims=("y", "x"))
    for y, x in SPATIAL_DIMS:
        (ys, north), (xs, east) = _list(dataset, [y]), _list(dataset, [x])
        if (len(ys), len(xs)) == (height, width):
            coords = {"y": ("y", ys, {"units": north}), "x": ("x", xs, {"units": east})}
            array = array.assign_coords(coords)
            break
    box = geobox_of(array, {}, where)
    text = dataset.crs.to_wkt() if dataset.crs else netcdf_crs(dataset)
    return GeoBox(box.shape, box.affine, parse_crs(text, where) or box.crs)


def netcdf_crs(dataset: DatasetReader) -> str | None:
    """Return the CRS that attributes of the variable state, where GDAL found none."""
    said, beside = dataset.tags(1), dataset.tags()
    text = said.get("crs_wkt") or said.get("spatial_ref") or said.get("crs")
    degrees = any(k.endswith("#units") and v == "degrees_north" for k, v in beside.items())
    # As for xarray objects: coordinates in degrees are WGS 84 as near as can be known.
    return text or ("EPSG:4326" if degrees else None)


def netcdf_bands(dataset: DatasetReader) -> list[Spectrum]:
    """Read the variables beside a netCDF cube that list its bands, and its band dimension."""
    if dataset.count == 1:
        return []
    unit: str | None = None
    columns: list[Sequence[float | None]] = []
    for names in (WAVELENGTH_NAMES, ("fwhm",), GOOD_NAMES):
        values, said = _list(dataset, [group + n for n in names for group in _GROUPS])
        columns.append(values)
        unit = unit or said
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
            with open_quietly(f'NETCDF:"{path}":{name}') as listed:
                values: NDArray[np.float64] = listed.read(1, out_dtype="float64").ravel()
                return [float(v) for v in values], listed.tags(1).get("units")
        except RasterioError:
            # Not there under this name.
            continue
    return [], None


def _dimension(dataset: DatasetReader) -> tuple[list[float | None], str | None]:
    for name in WAVELENGTH_NAMES:
        found = [number(dataset.tags(i).get(f"NETCDF_DIM_{name}")) for i in dataset.indexes]
        if None not in found:
            return found, dataset.tags().get(f"{name}#units")
    return [], None
