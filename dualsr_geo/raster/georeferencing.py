"""Where an xarray object lies: its CRS and affine, from whichever convention states them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from dualsr_geo.errors import InputError

# (y, x) as rioxarray, odc-geo and CF name them.
SPATIAL_DIMS = (
    ("y", "x"),
    ("Y", "X"),
    ("yc", "xc"),
    ("lat", "lon"),
    ("latitude", "longitude"),
    ("northing", "easting"),
)

# How far coordinates may lie off the stated grid and still be on it, in pixels.
ON_GRID = 0.01


def parse_crs(text: str | None, where: str) -> CRS | None:
    """Read WKT, ``EPSG:n`` or the old ``+init=epsg:n``; None for an empty text.

    Raises
    ------
    InputError
        If PROJ does not know it.
    """
    if not text:
        return None
    old = re.match(r"\+init=(\w+):(\d+)", text.strip())
    try:
        return CRS(f"{old[1]}:{old[2]}".upper() if old else text)
    except CRSError as error:
        raise InputError(
            f"{where} has the CRS {text[:60]!r}, which PROJ does not understand. Set another one (rio edit-info --crs)."
        ) from error


def spatial_dims(array: xr.DataArray) -> tuple[str, str] | None:
    """Return the names of the y and x dimensions, or None."""
    for y, x in SPATIAL_DIMS:
        if y in array.dims and x in array.dims:
            return y, x
    found = {str(array[d].attrs.get("axis")): str(d) for d in array.dims if d in array.coords}
    return (found["Y"], found["X"]) if {"X", "Y"} <= set(found) else None


def geobox_of(array: xr.DataArray, group: Mapping[Any, object], where: str) -> GeoBox:
    """Return the grid of an array whose last dimensions are y and x.

    A stated transform is believed over coordinates, which are rounded, as far as the two
    agree; after slicing the stated one is moved along.

    Parameters
    ----------
    array : DataArray, dims (..., y, x)
    group : mapping
        Attributes of the dataset it lies in.
    where : str
        What to call it in an error.

    Raises
    ------
    InputError
        If the coordinates are not evenly spaced, or the CRS is unknown.
    """
    mapping, attrs = _grid_mapping(array), {**group, **array.attrs}
    crs = parse_crs(_crs_text(array, mapping, attrs), where)
    shape: tuple[int, int] = (array.shape[-2], array.shape[-1])
    return GeoBox(shape, _affine(_stated(mapping, attrs), _centres(array, where), shape, where), crs)


def _grid_mapping(array: xr.DataArray) -> Mapping[Any, Any]:
    named = array.attrs.get("grid_mapping") or array.encoding.get("grid_mapping") or "spatial_ref"
    # CF also allows "crs: x y".
    name = str(named).split(":")[0].split()[0]
    if name in array.coords:
        attrs: Mapping[Any, Any] = array.coords[name].attrs
        return attrs
    told = {"crs_wkt", "spatial_ref", "grid_mapping_name", "GeoTransform"}
    scalars = (c.attrs for c in array.coords.values() if c.ndim == 0)
    return next((a for a in scalars if told & set(a)), {})


def _crs_text(array: xr.DataArray, mapping: Mapping[Any, Any], attrs: Mapping[Any, object]) -> str | None:
    for place, key in ((mapping, "crs_wkt"), (mapping, "spatial_ref"), (attrs, "proj:wkt2"),
                       (attrs, "proj:code"), (attrs, "crs")):  # fmt: skip
        if place.get(key):
            return str(place[key])
    if "grid_mapping_name" in mapping:
        return str(pyproj.CRS.from_cf(dict(mapping)).to_wkt())
    units = [array[d].attrs.get("units") if d in array.coords else None for d in array.dims[-2:]]
    # CF coordinates in degrees are geographic; without a datum WGS 84 is as near as can be known.
    return "EPSG:4326" if units == ["degrees_north", "degrees_east"] else None


def _stated(mapping: Mapping[Any, Any], attrs: Mapping[Any, Any]) -> Affine | None:
    gdal = mapping.get("GeoTransform")
    if gdal is not None:
        return Affine.from_gdal(*(float(v) for v in (gdal.split() if isinstance(gdal, str) else gdal)))
    for key in ("spatial:transform", "transform"):
        values = attrs.get(key)
        if isinstance(values, Sequence | np.ndarray) and not isinstance(values, str) and len(values) >= 6:
            return Affine(*(float(v) for v in values[:6]))
    return None


@dataclass(frozen=True)
class _Centres:
    """Map positions of three corner pixels' centres, and how finely they are written."""

    first: tuple[float, float]
    across: tuple[float, float]
    down: tuple[float, float]
    rounding: float


def _centres(array: xr.DataArray, where: str) -> _Centres | None:
    y, x = array.dims[-2:]
    if x in array.coords and y in array.coords:
        xs, ys = array[x].to_numpy(), array[y].to_numpy()
        if _are_pixel_numbers(xs) and _are_pixel_numbers(ys):
            return None
        for name, values in ((x, xs), (y, ys)):
            _require_even(values, str(name), where)
        return _Centres((xs[0], ys[0]), (xs[-1], ys[0]), (xs[0], ys[-1]), max(_rounding(xs), _rounding(ys)))
    if {"xc", "yc"} <= set(array.coords) and array["xc"].dims == array["yc"].dims == (y, x):
        # Rotated grids, as rioxarray opens them.
        xc, yc = (array[n][[0, -1], [0, -1]].to_numpy() for n in ("xc", "yc"))
        points = [(xc[i], yc[i]) for i in ((0, 0), (0, 1), (1, 0))]
        return _Centres(points[0], points[1], points[2], max(_rounding(xc), _rounding(yc)))
    return None


def _are_pixel_numbers(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "iu" and bool(np.array_equal(values, np.arange(len(values))))


def _rounding(values: NDArray[Any]) -> float:
    eps = np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0
    return 2 * float(eps) * float(np.abs(values).max())


def _require_even(values: NDArray[Any], name: str, where: str) -> None:
    if values.dtype.kind not in "iuf":
        raise InputError(f"{where}: coordinate `{name}` holds {values.dtype}, not numbers. Give a map grid.")
    steps = np.diff(values.astype(np.float64))
    if not len(steps):
        return
    slack = 0.1 * abs(steps.mean()) + 2 * _rounding(values)
    if steps.mean() == 0 or not np.all(np.abs(steps - steps.mean()) <= slack):
        raise InputError(
            f"{where}: coordinate `{name}` is not evenly spaced, its steps go from {steps.min():g} to "
            f"{steps.max():g}. Resample it to a regular grid first."
        )


def _affine(stated: Affine | None, centres: _Centres | None, shape: tuple[int, int], where: str) -> Affine:
    if centres is None:
        return Affine.identity() if stated is None else stated
    moved = None if stated is None else _moved(stated, centres, shape)
    return _spanned(centres, shape, stated, where) if moved is None else moved


def _moved(stated: Affine, centres: _Centres, shape: tuple[int, int]) -> Affine | None:
    """Return the stated affine moved by whole pixels onto the coordinates; None if it cannot be."""
    height, width = shape
    slack = ON_GRID + centres.rounding / math.sqrt(abs(stated.determinant))
    (x, y), (ax, ay), (dx, dy) = (~stated @ p for p in (centres.first, centres.across, centres.down))
    column, row = (0 if abs(v - 0.5) <= slack else round(v - 0.5) for v in (x, y))
    off = (x - 0.5 - column, y - 0.5 - row, ax - x - width + 1, ay - y, dx - x, dy - y - height + 1)
    if max(abs(v) for v in off) > 2 * slack:
        return None
    return stated @ Affine.translation(column, row) if (column, row) != (0, 0) else stated


def _spanned(centres: _Centres, shape: tuple[int, int], stated: Affine | None, where: str) -> Affine:
    """Return the affine through the corner pixels' centres."""
    height, width = shape
    (x, y), (ax, ay), (dx, dy) = centres.first, centres.across, centres.down
    right = ((ax - x) / (width - 1), (ay - y) / (width - 1)) if width > 1 else None
    below = ((dx - x) / (height - 1), (dy - y) / (height - 1)) if height > 1 else None
    if right is None:
        right = (stated.a, stated.d) if stated else below and (math.hypot(*below), 0.0)
    if below is None:
        below = (stated.b, stated.e) if stated else right and (0.0, -math.hypot(*right))
    if right is None or below is None:
        raise InputError(f"{where} is one pixel without a GeoTransform, so its size is unknown. Give more.")
    corner = (x - (right[0] + below[0]) / 2, y - (right[1] + below[1]) / 2)
    return Affine(right[0], below[0], corner[0], right[1], below[1], corner[1])
