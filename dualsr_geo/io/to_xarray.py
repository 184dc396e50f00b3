"""Lazy products as xarray objects, with the coordinates, attributes and encoding of the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  # registers .rio
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.io.writers.output_spec import deviation_bands, with_deviations
from dualsr_geo.raster import grid
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.scene import Scene

# Attributes and encoding by which xarray and rioxarray describe the packing.
NODATA_KEYS = ("_FillValue", "missing_value", "nodata", "nodatavals")
PACKING_KEYS = (
    "dtype", "rasterio_dtype", *NODATA_KEYS,
    "scale_factor", "add_offset", "scales", "offsets",
)  # fmt: skip


def labelled(stored: da.Array, packing: Packing, scene: Scene, like: xr.DataArray, target: GeoBox) -> xr.DataArray:
    """Return stored values in the form of the scene: masked or as stored, with its coordinates and attributes.

    Parameters
    ----------
    stored : dask array, shape (band, y, x)
    packing : Packing
        Of the product.
    scene : Scene
    like : DataArray, dims (band, y, x)
        The scene as the user gave it.
    target : GeoBox
        The grid of the product.
    """
    masked = like.dtype.kind == "f" and not packing.is_float
    # A scene that is masked but not scaled (rioxarray's masked=True) gives a product of the same kind.
    without_scale = replace(packing, scales=(1.0,) * scene.count, offsets=(0.0,) * scene.count)
    decoding = packing if _is_decoded(scene) else without_scale
    values = da.map_blocks(_decoded, stored, decoding, like.dtype, dtype=like.dtype) if masked else stored
    out = _with_sensor_bands(_labelled_like(values, like, target), scene)
    if packing == scene.packing and _states_nodata(like, packing):
        return out
    return _repacked(out, packing, masked=masked)


def stored_window(
    values: NDArray[Any], packing: Packing, scene: Scene, target: GeoBox, bands: Sequence[int]
) -> xr.DataArray:
    """Return a window of a product as rioxarray opens it from a file, its values as stored.

    Parameters
    ----------
    values : array, shape (band, y, x)
    packing : Packing
        Of the product.
    scene : Scene
    target : GeoBox
        The grid of the window.
    bands : sequence of int
        Which bands of the product they are, zero-based; those beyond the scene's are standard deviations.
    """
    every, whole = scene.bands + deviation_bands(scene.bands), with_deviations(packing)
    described, own = [every[b] for b in bands], whole.select(tuple(bands))
    out = xr.DataArray(values, dims=("band", "y", "x"), coords={"band": [b + 1 for b in bands]}, name=scene.name)
    if any(band.name for band in described):
        out.attrs["long_name"] = tuple(band.name or "" for band in described)
    marked = packing.is_float or values.dtype.kind != "f"
    out = _repacked(out, own if marked else replace(own, nodata=None), masked=False)
    return with_band_coordinates(_georeferenced(out, target, "y", "x"), described)


def _with_sensor_bands(out: xr.DataArray, scene: Scene) -> xr.DataArray:
    """Add wavelength and FWHM of the scene's bands, where the array has none."""
    return with_band_coordinates(out, scene.bands)


def with_band_coordinates(out: xr.DataArray, bands: Sequence[Band]) -> xr.DataArray:
    """Return an array with the wavelengths and the FWHM of its bands as coordinates, where it has none.

    Parameters
    ----------
    out : DataArray, dims (band, y, x)
    bands : sequence of Band
    """
    if out.ndim < 3:
        return out
    columns = {"wavelength": [b.wavelength_nm for b in bands], "fwhm": [b.fwhm_nm for b in bands]}
    columns_in_nm = {
        name: [np.nan if v is None else v for v in values] for name, values in columns.items() if any(values)
    }
    missing = {name: (out.dims[0], c, {"units": "nm"}) for name, c in columns_in_nm.items() if name not in out.coords}
    return out.assign_coords(missing)


def _states_nodata(like: xr.DataArray, packing: Packing) -> bool:
    """Return whether an array states the nodata value of a packing, as it does not where a user gives the value."""
    if packing.nodata is None or packing.is_float:
        return True
    return any(k in statements for statements in (like.attrs, like.encoding) for k in NODATA_KEYS)


def _is_decoded(scene: Scene) -> bool:
    """Say whether scale and offset are already applied to an array."""
    decoding = scene.source.decoding if isinstance(scene.source, ArraySource) else None
    return decoding is None or (set(decoding.scales), set(decoding.offsets)) == ({1.0}, {0.0})


def _repacked(out: xr.DataArray, packing: Packing, *, masked: bool) -> xr.DataArray:
    """Return the product with attributes and encoding of its packing, which differs from that of the scene."""
    attrs: dict[str, Any] = {}
    for common, per_band, values, neutral in (
        ("scale_factor", "scales", packing.scales, 1.0),
        ("add_offset", "offsets", packing.offsets, 0.0),
    ):
        if set(values) != {neutral}:
            attrs[common if len(set(values)) == 1 else per_band] = values[0] if len(set(values)) == 1 else values
    if packing.nodata is not None:
        attrs["_FillValue"] = np.dtype(packing.dtype).type(packing.nodata)
    out.attrs = {k: v for k, v in out.attrs.items() if k not in PACKING_KEYS}
    out.encoding = {k: v for k, v in out.encoding.items() if k not in PACKING_KEYS}
    if masked:
        out.encoding |= {"dtype": packing.dtype, **attrs}
    else:
        out.attrs |= attrs
    return out


def _labelled_like(values: da.Array, like: xr.DataArray, target: GeoBox) -> xr.DataArray:
    """Return values as a DataArray like another one, but on the target grid."""
    _, y, x = like.dims
    other_coords = {n: c for n, c in like.coords.items() if y not in c.dims and x not in c.dims}
    out = xr.DataArray(values, dims=like.dims, coords=other_coords, attrs=dict(like.attrs))
    # By default xarray names an array after its dask graph.
    out.name = like.name
    # rioxarray keeps the unit of every band; plots take one.
    units = out.attrs.get("units")
    if isinstance(units, list | tuple) and len(set(units)) == 1:
        out.attrs["units"] = units[0]
    out.encoding = _encoding(like)
    return _georeferenced(out, target, str(y), str(x))


def _georeferenced(out: xr.DataArray, target: GeoBox, y: str, x: str) -> xr.DataArray:
    """Return an array on the target grid: pixel centres, CRS and transform."""
    affine = target.affine
    if affine.b == affine.d == 0:
        rows, columns = grid.pixel_centres(target)
        out = out.assign_coords({y: (y, rows), x: (x, columns)})
    out = out.rio.set_spatial_dims(x_dim=x, y_dim=y)
    if target.crs is not None:
        out = out.rio.write_crs(grid.crs_name(target))
    georeferenced: xr.DataArray = out.rio.write_transform(affine)
    return georeferenced


def _decoded(stored: NDArray[Any], packing: Packing, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return physical values, NaN where they are missing, with the arithmetic of xarray."""
    scale, offset = (np.asarray(v, dtype)[:, None, None] for v in (packing.scales, packing.offsets))
    values = stored.astype(dtype)
    missing = np.isnan(values) if packing.nodata is None or np.isnan(packing.nodata) else stored == packing.nodata
    if np.any(scale != 1):
        values = values * scale
    if np.any(offset != 0):
        values = values + offset
    values[missing] = np.nan
    return values


def _encoding(like: xr.DataArray) -> dict[str, Any]:
    """Return the part of the encoding of a scene that applies to the product: packing, not chunks."""
    return {k: v for k, v in like.encoding.items() if k in (*PACKING_KEYS, "grid_mapping")}
