"""What an xarray variable says of its bands and of how its values are stored."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.packing import Decoding, Packing, resolve_nodata
from dualsr_geo.raster.wavelengths import GOOD_NAMES, WAVELENGTH_NAMES, Spectrum, from_columns, from_name, parse_list

# CF standard names of a band's centre.
_CENTRE_NAMES = ("sensor_band_central_radiation_wavelength", "radiation_wavelength")


def values_of(cube: xr.DataArray, where: str, asked: float | None, *, raw: bool) -> tuple[Decoding, Packing]:
    """Tell what is still to be applied to the values from how the file stored them.

    Parameters
    ----------
    cube : DataArray, dims (band, y, x)
    where : str
        What to call it in a message.
    asked : float or None
        Nodata value instead of its own.
    raw : bool
        Whether values are known to be as stored; integers always are.

    Raises
    ------
    OptionError
        If the nodata value asked for does not fit the stored type.
    """
    attrs, encoding, count = cube.attrs, cube.encoding, len(cube)
    raw = raw or cube.dtype.kind in "iu"
    # xarray drops the encoding with any arithmetic, but keeps attributes: without an encoding a
    # float array's scale is a leftover.
    kept = encoding.get("dtype", encoding.get("rasterio_dtype"))
    known = not raw and kept is not None and np.dtype(kept).kind in "iuf"
    dtype = np.dtype(kept).name if known else str(cube.dtype)
    decoded = not raw and any(k in encoding for k in ("scale_factor", "add_offset", "scales", "offsets"))
    said: Mapping[Any, Any] = encoding if decoded else attrs if raw or kept is not None else {}
    scales = _numbers(cube, said, ("scales", "scale_factor"), 1.0)
    offsets = _numbers(cube, said, ("offsets", "add_offset"), 0.0)
    stated = _stated_nodata(attrs) if raw or "_FillValue" not in encoding else None
    stated = _stated_nodata(encoding) if stated is None else stated
    nodata = resolve_nodata(stated, asked, dtype, where)
    packing = Packing(dtype, scales, offsets, nodata)
    if decoded:
        return Decoding((1.0,) * count, (0.0,) * count, (None,) * count), packing
    return Decoding(scales, offsets, (nodata,) * count), packing


def _stated_nodata(said: Mapping[Any, Any]) -> float | None:
    for key in ("_FillValue", "missing_value", "nodata", "nodatavals"):
        if said.get(key) is not None:
            return float(np.ravel(said[key])[0])
    return None


def _numbers(cube: xr.DataArray, said: Mapping[Any, Any], keys: Sequence[str], default: float) -> tuple[float, ...]:
    value = next((said[k] for k in keys if said.get(k) is not None), default)
    return tuple(float(v) for v in _per_band(cube, value) or [default] * len(cube))


def _per_band(cube: xr.DataArray, value: Any) -> list[Any] | None:
    """Return one entry a band of an attribute, also where bands were selected since.

    rioxarray numbers bands from 1 and keeps the full lists of the file.
    """
    count = len(cube)
    if isinstance(value, str) or np.ndim(value) == 0:
        return [value] * count
    entries = list(value)
    numbers = cube[cube.dims[0]].to_numpy() if cube.dims[0] in cube.coords else np.arange(1, count + 1)
    if numbers.dtype.kind in "iu" and numbers.min() >= 1 and numbers.max() <= len(entries):
        return [entries[n - 1] for n in numbers]
    return entries if len(entries) == count else None


def bands_of(cube: xr.DataArray) -> tuple[Band, ...]:
    """Return what coordinates along the bands and attributes say of each band.

    Parameters
    ----------
    cube : DataArray, dims (band, y, x)
    """
    attrs, count = cube.attrs, len(cube)
    nothing: list[Any] = [None] * count
    units = _per_band(cube, attrs.get("band_units", attrs.get("units"))) or nothing
    colors = _per_band(cube, attrs.get("color_interpretation", "undefined")) or ["undefined"] * count
    tags = _per_band(cube, attrs.get("band_tags")) or nothing
    names = _names(cube)
    spectra = [s.or_else(from_name(n)) for s, n in zip(_spectra(cube) or [Spectrum()] * count, names, strict=True)]
    return tuple(
        Band(name, s.wavelength_nm, s.fwhm_nm, s.good is not False, unit or None, color, dict(tag or {}))
        for name, s, unit, color, tag in zip(names, spectra, units, colors, tags, strict=True)
    )


def _names(cube: xr.DataArray) -> list[str | None]:
    for name in ("band_name", "name", "description", cube.dims[0]):
        coord = _beside(cube, name)
        if coord is not None and coord.dtype.kind in "OUTS":
            return [str(v) or None for v in np.atleast_1d(coord.to_numpy())]
    long = cube.attrs.get("long_name")
    if isinstance(long, str) and len(cube) > 1:
        return [None] * len(cube)
    return [str(v) if v else None for v in _per_band(cube, long) or [None] * len(cube)]


def _spectra(cube: xr.DataArray) -> list[Spectrum]:
    centre = next((c for n in WAVELENGTH_NAMES if (c := _beside(cube, n)) is not None), None)
    if centre is None:
        named = (c for n in cube.coords if (c := _beside(cube, n)) is not None)
        centre = next((c for c in named if c.attrs.get("standard_name") in _CENTRE_NAMES), None)
    unit = cube.attrs.get("wavelength_units") if centre is None else centre.attrs.get("units")
    good = next((c for n in GOOD_NAMES if (c := _beside(cube, n)) is not None), None)
    columns = [
        _column(cube, coord, key)
        for coord, key in ((centre, "wavelength"), (_beside(cube, "fwhm"), "fwhm"), (good, "bbl"))
    ]
    return from_columns(columns, len(cube), unit)


def _column(cube: xr.DataArray, coord: xr.DataArray | None, key: str) -> list[float | None]:
    """Return the numbers of a coordinate, or else of an attribute that lists one a band."""
    if coord is not None:
        values: list[Any] = np.atleast_1d(coord.to_numpy()).tolist()
    else:
        listed = cube.attrs.get(key)
        if listed is None:
            return []
        lone = np.ndim(listed) == 0 and not (isinstance(listed, str) and "," in listed)
        if lone and len(cube) > 1:
            # rioxarray gives an array of many bands the wavelength of its first as an attribute.
            return []
        values = parse_list(str(listed)) if lone or isinstance(listed, str) else list(listed)
        values = _per_band(cube, values) or []
    return [_float(v) for v in values]


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _beside(cube: xr.DataArray, name: Hashable) -> xr.DataArray | None:
    """Return a coordinate along the bands, or one left over from selecting a single band."""
    coord: xr.DataArray | None = cube.coords.get(name)
    if coord is None or (coord.dims != cube.dims[:1] and (coord.ndim or len(cube) > 1)):
        return None
    return coord
