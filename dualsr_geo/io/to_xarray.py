"""The labels of a lazy product: coordinates, attributes and encoding, as its scene has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  # registers .rio
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.raster import grid
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.scene import Scene

# Where xarray and rioxarray keep how values are stored.
PACKING_KEYS = (
    "dtype", "rasterio_dtype", "_FillValue", "missing_value", "nodata", "nodatavals",
    "scale_factor", "add_offset", "scales", "offsets",
)  # fmt: skip


def labelled(stored: da.Array, packing: Packing, scene: Scene, like: xr.DataArray, target: GeoBox) -> xr.DataArray:
    """Return stored values in the scene's own form: masked or as stored, with its coordinates and attributes."""
    masked = like.dtype.kind == "f" and not packing.is_float
    # What only masks, without scaling (rioxarray's masked=True), is only masked again.
    done = (
        packing if _is_decoded(scene) else replace(packing, scales=(1.0,) * scene.count, offsets=(0.0,) * scene.count)
    )
    values = da.map_blocks(_decoded, stored, done, like.dtype, dtype=like.dtype) if masked else stored
    out = _told(_dressed(values, like, target), scene)
    return out if packing == scene.packing else _repacked(out, packing, masked=masked)


def _told(out: xr.DataArray, scene: Scene) -> xr.DataArray:
    """Add what the scene's instrument says of its bands, where the array says nothing."""
    if scene.sensor is None or not scene.sensor.used or out.ndim < 3:
        return out
    known = {"wavelength": [b.wavelength_nm for b in scene.bands], "fwhm": [b.fwhm_nm for b in scene.bands]}
    new = {name: (out.dims[0], values, {"units": "nm"}) for name, values in known.items() if name not in out.coords}
    return out.assign_coords(new)


def _is_decoded(scene: Scene) -> bool:
    """Say whether scale and offset are applied to an array already."""
    left = scene.source.decoding if isinstance(scene.source, ArraySource) else None
    return left is None or (set(left.scales), set(left.offsets)) == ({1.0}, {0.0})


def _repacked(out: xr.DataArray, packing: Packing, *, masked: bool) -> xr.DataArray:
    """Say how the product is stored, where the scene was stored otherwise."""
    said: dict[str, Any] = {}
    for one, each, values, nothing in (
        ("scale_factor", "scales", packing.scales, 1.0),
        ("add_offset", "offsets", packing.offsets, 0.0),
    ):
        if set(values) != {nothing}:
            said[one if len(set(values)) == 1 else each] = values[0] if len(set(values)) == 1 else values
    if packing.nodata is not None:
        said["_FillValue"] = np.dtype(packing.dtype).type(packing.nodata)
    out.attrs = {k: v for k, v in out.attrs.items() if k not in PACKING_KEYS}
    out.encoding = {k: v for k, v in out.encoding.items() if k not in PACKING_KEYS}
    if masked:
        out.encoding |= {"dtype": packing.dtype, **said}
    else:
        out.attrs |= said
    return out


def _dressed(values: da.Array, like: xr.DataArray, target: GeoBox) -> xr.DataArray:
    """Return values as a DataArray like another, but on the target grid."""
    _, y, x = like.dims
    beside = {n: c for n, c in like.coords.items() if y not in c.dims and x not in c.dims}
    out = xr.DataArray(values, dims=like.dims, coords=beside, attrs=dict(like.attrs))
    # Left to itself, xarray names an unnamed array after its dask graph.
    out.name = like.name
    out.encoding = _encoding(like)
    return _placed(out, target, str(y), str(x))


def _placed(out: xr.DataArray, target: GeoBox, y: str, x: str) -> xr.DataArray:
    """Give an array the target grid: pixel centres, CRS and transform."""
    affine = target.affine
    if affine.b == affine.d == 0:
        rows, columns = grid.pixel_centres(target)
        out = out.assign_coords({y: (y, rows), x: (x, columns)})
    out = out.rio.set_spatial_dims(x_dim=x, y_dim=y)
    if target.crs is not None:
        out = out.rio.write_crs(grid.crs_name(target))
    placed: xr.DataArray = out.rio.write_transform(affine)
    return placed


def _decoded(stored: NDArray[Any], packing: Packing, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return physical values, NaN where nothing is, with the arithmetic that xarray uses."""
    scale, offset = (np.asarray(v, dtype)[:, None, None] for v in (packing.scales, packing.offsets))
    values = stored.astype(dtype)
    hole = np.isnan(values) if packing.nodata is None or np.isnan(packing.nodata) else stored == packing.nodata
    if np.any(scale != 1):
        values = values * scale
    if np.any(offset != 0):
        values = values + offset
    values[hole] = np.nan
    return values


def _encoding(like: xr.DataArray) -> dict[str, Any]:
    """Return what of the scene's encoding holds for the product: packing, not chunks."""
    return {k: v for k, v in like.encoding.items() if k in (*PACKING_KEYS, "grid_mapping")}
