"""Georeferencing of xarray objects: CRS and affine, from whichever convention states them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError, ProjError

from dualsr_geo.errors import InputError, excerpt

if TYPE_CHECKING:
    import xarray as xr

# (y, x) as rioxarray, odc-geo and CF name them.
SPATIAL_DIMS = (
    ("y", "x"),
    ("Y", "X"),
    ("yc", "xc"),
    ("lat", "lon"),
    ("latitude", "longitude"),
    ("northing", "easting"),
)

# Attributes by which a scalar coordinate is a grid mapping.
GRID_MAPPING_ATTRS = frozenset({"crs_wkt", "spatial_ref", "grid_mapping_name", "GeoTransform"})
# Coordinates up to this far from the stated grid are on it, pixels.
GRID_TOLERANCE_PX = 0.01
# Steps between coordinates may differ from their mean by this fraction of the mean.
STEP_TOLERANCE = 0.1


def parse_crs(text: str | None, where: str) -> CRS | None:
    """Read WKT, ``EPSG:n`` or the old ``+init=epsg:n``; None for an empty text.

    Raises
    ------
    InputError
        If PROJ does not understand it.
    """
    if not text:
        return None
    init = re.match(r"\+init=(\w+):(\d+)", text.strip())
    try:
        return CRS(f"{init[1]}:{init[2]}".upper() if init else text)
    except (CRSError, ProjError) as error:
        raise InputError(
            f"{where} has the CRS {excerpt(repr(text))}, which PROJ does not understand. Set another one (rio edit-info --crs)."
        ) from error


def spatial_dims(array: xr.DataArray) -> tuple[str, str] | None:
    """Return the names of the y and x dimensions, or None."""
    for y, x in SPATIAL_DIMS:
        if y in array.dims and x in array.dims:
            return y, x
    dims_by_axis = {str(array[d].attrs.get("axis")): str(d) for d in array.dims if d in array.coords}
    return (dims_by_axis["Y"], dims_by_axis["X"]) if {"X", "Y"} <= set(dims_by_axis) else None


def geobox_of(array: xr.DataArray, group: Mapping[Any, object], where: str) -> GeoBox:
    """Return the grid of an array whose last dimensions are y and x.

    A stated transform takes precedence over coordinates, which are rounded, where the two agree; if the
    array was sliced, the transform is moved by as many pixels.

    Parameters
    ----------
    array : DataArray, dims (..., y, x)
    group : mapping
        Attributes of its dataset.
    where : str
        Name of the array in error messages.

    Raises
    ------
    InputError
        If the coordinates are not evenly spaced, or PROJ does not understand the CRS.
    """
    mapping, attrs = _grid_mapping(array), {**group, **array.attrs}
    crs = parse_crs(_crs_text(array, mapping, attrs, where), where)
    shape: tuple[int, int] = (array.shape[-2], array.shape[-1])
    return GeoBox(shape, _affine(_stated(mapping, attrs, where), _centres(array, where), shape, where), crs)


def _grid_mapping(array: xr.DataArray) -> Mapping[Any, Any]:
    named = array.attrs.get("grid_mapping") or array.encoding.get("grid_mapping") or "spatial_ref"
    # CF also allows "crs: x y".
    name = next(iter(str(named).split(":")[0].split()), "")
    if name in array.coords:
        attrs: Mapping[Any, Any] = array.coords[name].attrs
        return attrs
    scalars = (c.attrs for c in array.coords.values() if c.ndim == 0)
    return next((a for a in scalars if not GRID_MAPPING_ATTRS.isdisjoint(a)), {})


def _cf_crs(mapping: Mapping[Any, Any], where: str) -> str:
    """Return the CRS that the parameters of a CF grid mapping describe, as WKT."""
    try:
        return str(pyproj.CRS.from_cf(dict(mapping)).to_wkt())
    except (ProjError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where} has a grid mapping, {excerpt(mapping['grid_mapping_name'])}, that describes no CRS "
            f"({type(error).__name__}: {excerpt(str(error))}). Set its attribute crs_wkt."
        ) from error


def _crs_text(array: xr.DataArray, mapping: Mapping[Any, Any], attrs: Mapping[Any, object], where: str) -> str | None:
    for source, key in ((mapping, "crs_wkt"), (mapping, "spatial_ref"), (attrs, "proj:wkt2"),
                       (attrs, "proj:code"), (attrs, "crs")):  # fmt: skip
        if source.get(key):
            return str(source[key])
    if "grid_mapping_name" in mapping:
        return _cf_crs(mapping, where)
    units = [array[d].attrs.get("units") if d in array.coords else None for d in array.dims[-2:]]
    # CF coordinates in degrees are geographic; without a datum WGS 84 is the best assumption.
    return "EPSG:4326" if units == ["degrees_north", "degrees_east"] else None


def _stated(mapping: Mapping[Any, Any], attrs: Mapping[Any, Any], where: str) -> Affine | None:
    gdal = mapping.get("GeoTransform")
    if gdal is not None:
        return _transform(gdal.split() if isinstance(gdal, str) else gdal, "GeoTransform", where, gdal_order=True)
    for key in ("spatial:transform", "transform"):
        values = attrs.get(key)
        if isinstance(values, Sequence | np.ndarray) and not isinstance(values, str) and len(values) >= 6:
            return _transform(values, key, where, gdal_order=False)
    return None


def _transform(values: Any, key: str, where: str, *, gdal_order: bool) -> Affine:
    """Return the affine of an attribute of six numbers.

    Raises
    ------
    InputError
        If it holds anything else, or a pixel has no area.
    """
    try:
        numbers = [float(v) for v in values]
        affine = Affine.from_gdal(*numbers[:6]) if gdal_order else Affine(*numbers[:6])
        if all(map(math.isfinite, affine)) and affine.determinant != 0:
            return affine
    except (TypeError, ValueError):
        pass
    raise InputError(
        f"{where} has the attribute {key} = {excerpt(values)}, not six numbers by which a pixel has an area. "
        "Set the right ones, or remove it."
    )


@dataclass(frozen=True)
class _Centres:
    """Map positions of the centres of three corner pixels, and the rounding of their coordinates."""

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
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise InputError(f"{where}: coordinate `{name}` holds values that are not finite. Give a map grid.")
    steps = np.diff(numbers)
    if not len(steps):
        return
    tolerance = STEP_TOLERANCE * abs(steps.mean()) + 2 * _rounding(values)
    if steps.mean() == 0 or not np.all(np.abs(steps - steps.mean()) <= tolerance):
        raise InputError(
            f"{where}: coordinate `{name}` is not evenly spaced, its steps go from {steps.min():g} to "
            f"{steps.max():g}. Resample it to a regular grid first."
        )


def _affine(stated: Affine | None, centres: _Centres | None, shape: tuple[int, int], where: str) -> Affine:
    if centres is None:
        return Affine.identity() if stated is None else stated
    transform = None if stated is None else _moved(stated, centres, shape)
    return _spanned(centres, shape, stated, where) if transform is None else transform


def _moved(stated: Affine, centres: _Centres, shape: tuple[int, int]) -> Affine | None:
    """Return the stated affine moved by whole pixels onto the coordinates; None if the two disagree."""
    height, width = shape
    tolerance = GRID_TOLERANCE_PX + centres.rounding / math.sqrt(abs(stated.determinant))
    (x, y), (ax, ay), (dx, dy) = (~stated @ p for p in (centres.first, centres.across, centres.down))
    column, row = (0 if abs(v - 0.5) <= tolerance else round(v - 0.5) for v in (x, y))
    deviations = (x - 0.5 - column, y - 0.5 - row, ax - x - width + 1, ay - y, dx - x, dy - y - height + 1)
    if max(abs(v) for v in deviations) > 2 * tolerance:
        return None
    return stated @ Affine.translation(column, row) if (column, row) != (0, 0) else stated


def _spanned(centres: _Centres, shape: tuple[int, int], stated: Affine | None, where: str) -> Affine:
    """Return the affine through the centres of the corner pixels."""
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
