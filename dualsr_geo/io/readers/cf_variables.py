"""Bands and packing of an xarray variable, by the conventions of CF, rioxarray and this package."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dualsr_geo.errors import InputError, excerpt
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.packing import Decoding, Packing, require_packing, resolve_nodata
from dualsr_geo.raster.wavelengths import GOOD_NAMES, WAVELENGTH_NAMES, Spectrum, from_columns, from_name, parse_list

if TYPE_CHECKING:
    import xarray as xr

# CF standard names of the centre wavelength of a band.
_CENTRE_NAMES = ("sensor_band_central_radiation_wavelength", "radiation_wavelength")


def values_of(cube: xr.DataArray, where: str, requested: float | None, *, raw: bool) -> tuple[Decoding, Packing]:
    """Return the decoding that the values of an array still need, and the packing of its file.

    Parameters
    ----------
    cube : DataArray, dims (band, y, x)
    where : str
        Name of the array in messages.
    requested : float or None
        Nodata value of the user, instead of the array's own.
    raw : bool
        Whether values are certainly as stored; integers always are.

    Raises
    ------
    OptionError
        If the requested nodata value does not fit the stored type.
    """
    attrs, encoding, count = cube.attrs, cube.encoding, len(cube)
    raw = raw or cube.dtype.kind in "iu"
    # Arithmetic of xarray drops the encoding and keeps the attributes: the scale attribute of a float array
    # without an encoding no longer applies.
    stored = encoding.get("dtype", encoding.get("rasterio_dtype"))
    has_stored = not raw and stored is not None and np.dtype(stored).kind in "iuf"
    dtype = np.dtype(stored).name if has_stored else str(cube.dtype)
    decoded = not raw and any(k in encoding for k in ("scale_factor", "add_offset", "scales", "offsets"))
    statements: Mapping[Any, Any] = encoding if decoded else attrs if raw or stored is not None else {}
    scales = _numbers(cube, statements, ("scales", "scale_factor"), 1.0, where)
    offsets = _numbers(cube, statements, ("offsets", "add_offset"), 0.0, where)
    require_packing(scales, offsets, where, "Set the right attributes scale_factor and add_offset.")
    stated = _stated_nodata(attrs, where) if raw or "_FillValue" not in encoding else None
    stated = _stated_nodata(encoding, where) if stated is None else stated
    nodata = resolve_nodata(stated, requested, dtype, where)
    packing = Packing(dtype, scales, offsets, nodata)
    if decoded:
        given = None if requested is None else tuple(requested * s + o for s, o in zip(scales, offsets, strict=True))
        return Decoding((1.0,) * count, (0.0,) * count, given or (None,) * count), packing
    return Decoding(scales, offsets, (nodata,) * count), packing


def _stated_nodata(statements: Mapping[Any, Any], where: str) -> float | None:
    for key in ("_FillValue", "missing_value", "nodata", "nodatavals"):
        if statements.get(key) is not None:
            values = np.ravel(statements[key])
            if len(values):
                return _number(values[0], key, where)
            raise InputError(f"{where} has the attribute {key} without a value. Set one number, or remove it.")
    return None


def _numbers(
    cube: xr.DataArray, statements: Mapping[Any, Any], keys: Sequence[str], default: float, where: str
) -> tuple[float, ...]:
    """Return the number that the first of some attributes has for every band; `default` where there is none."""
    count = len(cube)
    key = next((k for k in keys if statements.get(k) is not None), None)
    if key is None:
        return (default,) * count
    entries = _per_band(cube, statements[key])
    if entries is None:
        listed = {_number(v, key, where) for v in statements[key]}
        if len(listed) != 1:
            raise InputError(
                f"{where} has {len(statements[key])} entries in the attribute {key}, and {count} bands. Set one number, "
                "or one for each band."
            )
        entries = [listed.pop()] * count
    return tuple(_number(v, key, where) for v in entries)


def _number(value: Any, key: str, where: str) -> float:
    """Return a number of the attribute `key`.

    Raises
    ------
    InputError
        If it is none.
    """
    number = None if isinstance(value, bool | np.bool_) else _float(value)
    if number is None:
        raise InputError(
            f"{where} has the attribute {key} = {excerpt(value)}, which is no number. Set a number, or remove it."
        )
    return number


def _per_band(cube: xr.DataArray, value: Any) -> list[Any] | None:
    """Return one entry per band of an attribute; None if their number differs.

    After a selection of bands rioxarray keeps the full lists of the file and the numbers of the bands
    from 1, which give the entries.
    """
    count = len(cube)
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence | np.ndarray) or np.ndim(value) == 0:
        return [value] * count
    entries = list(value)
    numbers = cube[cube.dims[0]].to_numpy() if cube.dims[0] in cube.coords else np.arange(1, count + 1)
    if numbers.dtype.kind in "iu" and numbers.min() >= 1 and numbers.max() <= len(entries):
        return [entries[n - 1] for n in numbers]
    return entries if len(entries) == count else None


def bands_of(cube: xr.DataArray) -> tuple[Band, ...]:
    """Return the bands that the coordinates along the bands and the attributes describe.

    Parameters
    ----------
    cube : DataArray, dims (band, y, x)
    """
    attrs, count = cube.attrs, len(cube)
    missing: list[Any] = [None] * count
    units = _per_band(cube, attrs.get("band_units", attrs.get("units"))) or missing
    colors = _per_band(cube, attrs.get("color_interpretation", "undefined")) or ["undefined"] * count
    tags = _per_band(cube, attrs.get("band_tags")) or missing
    names = _names(cube)
    spectra = [s.or_else(from_name(n)) for s, n in zip(_spectra(cube) or [Spectrum()] * count, names, strict=True)]
    return tuple(
        Band(
            name, s.wavelength_nm, s.fwhm_nm, s.good is not False, _text(unit), _text(color) or "undefined", _tags(tag)
        )
        for name, s, unit, color, tag in zip(names, spectra, units, colors, tags, strict=True)
    )


def _text(value: Any) -> str | None:
    """Return a text that an attribute holds; None for anything else."""
    return value or None if isinstance(value, str) else None


def _tags(value: Any) -> dict[str, str]:
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, Mapping) else {}


def _names(cube: xr.DataArray) -> list[str | None]:
    for name in ("band_name", "name", "description", cube.dims[0]):
        coord = _band_coord(cube, name)
        if coord is not None and coord.dtype.kind in "OUTS":
            return [str(v) or None for v in np.atleast_1d(coord.to_numpy())]
    long_name = cube.attrs.get("long_name")
    if isinstance(long_name, str) and len(cube) > 1:
        return [None] * len(cube)
    return [str(v) if v else None for v in _per_band(cube, long_name) or [None] * len(cube)]


def _spectra(cube: xr.DataArray) -> list[Spectrum]:
    centre = next((c for n in WAVELENGTH_NAMES if (c := _band_coord(cube, n)) is not None), None)
    if centre is None:
        coords = (c for n in cube.coords if (c := _band_coord(cube, n)) is not None)
        centre = next((c for c in coords if c.attrs.get("standard_name") in _CENTRE_NAMES), None)
    unit = cube.attrs.get("wavelength_units") if centre is None else centre.attrs.get("units")
    good = next((c for n in GOOD_NAMES if (c := _band_coord(cube, n)) is not None), None)
    columns = [
        _column(cube, coord, key)
        for coord, key in ((centre, "wavelength"), (_band_coord(cube, "fwhm"), "fwhm"), (good, "bbl"))
    ]
    return from_columns(columns, len(cube), unit)


def _column(cube: xr.DataArray, coord: xr.DataArray | None, key: str) -> list[float | None]:
    """Return the numbers of a coordinate, or else of an attribute with one entry per band."""
    if coord is not None:
        values: list[Any] = np.atleast_1d(coord.to_numpy()).tolist()
    else:
        listed = cube.attrs.get(key)
        if listed is None:
            return []
        single = np.ndim(listed) == 0 and not (isinstance(listed, str) and "," in listed)
        if single and len(cube) > 1:
            # rioxarray gives an array of many bands the wavelength of its first band as an attribute.
            return []
        values = parse_list(str(listed)) if single or isinstance(listed, str) else list(listed)
        values = _per_band(cube, values) or []
    return [_float(v) for v in values]


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _band_coord(cube: xr.DataArray, name: Hashable) -> xr.DataArray | None:
    """Return a coordinate along the bands, or the scalar one of a single selected band."""
    coord: xr.DataArray | None = cube.coords.get(name)
    if coord is None or (coord.dims != cube.dims[:1] and (coord.ndim or len(cube) > 1)):
        return None
    return coord
