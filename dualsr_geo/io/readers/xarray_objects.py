"""xarray objects as scenes, by the conventions of CF and rioxarray."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from dualsr_geo.errors import InputError
from dualsr_geo.io.readers.array_sources import ArraySource, ZarrSource
from dualsr_geo.io.readers.cf_variables import bands_of, values_of
from dualsr_geo.io.readers.tags import useful_attrs
from dualsr_geo.raster.georeferencing import geobox_of, spatial_dims
from dualsr_geo.raster.packing import Decoding, Packing, require_numbers
from dualsr_geo.raster.scene import Scene

# Variables that a message lists.
MAX_LISTED = 5


def open_array(array: xr.DataArray, *, nodata: float | None, group: Mapping[Any, Any] | None = None) -> Scene:
    """Return a DataArray as a scene.

    Parameters
    ----------
    array : DataArray, dims y, x and at most one more of any name
        Masked or as stored, in memory or lazy.
    nodata : float or None
        Stored value of missing pixels, instead of the array's own.
    group : mapping, optional
        Attributes of its dataset.

    Raises
    ------
    InputError
        If it has no spatial dimensions, or the values are not real numbers.
    """
    name = str(array.name or "scene")
    cube = as_cube(array, name)
    decoding, packing = values_of(cube, name, nodata, raw=False)
    return scene_of_cube(cube, ArraySource(cube, decoding), packing, group or {}, name)


def open_dataset(dataset: xr.Dataset, *, nodata: float | None) -> Scene:
    """Return a Dataset as a scene: its only 3-D variable, or its 2-D variables as bands.

    Raises
    ------
    InputError
        If it holds several cubes, or none.
    """
    dataset = with_scalars_as_coords(dataset)
    cubes, planes = candidates(dataset)
    if not cubes and len(planes) > 1:
        return _stack([dataset[v] for v in planes], nodata=nodata, group=dataset.attrs)
    chosen = choose_variable(cubes or planes, dataset, "The Dataset", 'ds["{}"]')
    return open_array(dataset[chosen], nodata=nodata, group=dataset.attrs)


def with_scalars_as_coords(dataset: xr.Dataset) -> xr.Dataset:
    """Return a Dataset with its grid mappings as coordinates, also where xarray opened them as data variables."""
    return dataset.set_coords([n for n, v in dataset.data_vars.items() if v.ndim == 0])


def candidates(dataset: xr.Dataset) -> tuple[list[str], list[str]]:
    """Return the names of the 3-D and of the 2-D variables on a grid."""
    cubes: list[str] = []
    planes: list[str] = []
    # CF: ancillary variables (an uncertainty, flags) describe another variable and are no scenes.
    ancillary = {n for v in dataset.data_vars.values() for n in str(v.attrs.get("ancillary_variables", "")).split()}
    for name, variable in dataset.data_vars.items():
        dims = spatial_dims(variable)
        if dims is None or variable.dtype.kind not in "iufc" or name in ancillary:
            continue
        has_bands = any(n > 1 for d, n in variable.sizes.items() if d not in dims)
        (cubes if has_bands or variable.ndim == 3 else planes).append(str(name))
    return cubes, planes


def choose_variable(names: Sequence[str], dataset: xr.Dataset, where: str, form: str) -> str:
    """Return the only candidate.

    Parameters
    ----------
    names : sequence of str
        The candidates.
    dataset : Dataset
    where : str
        Its name in messages.
    form : str
        How the user gives one of its variables, ``{}`` for the name.

    Raises
    ------
    InputError
        If there is none, or there are several.
    """
    if len(names) == 1:
        return names[0]
    if not names:
        raise InputError(
            f"{where} holds no variable with the dimensions y and x (or lat and lon); "
            f"it has {', '.join(f'{d} ({n})' for d, n in dataset.sizes.items()) or 'no dimensions'}. "
            "Rename the spatial dimensions to y and x."
        )
    listed = "; ".join(form.format(n) for n in sorted(names)[:MAX_LISTED])
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    raise InputError(f"{where} holds {len(names)} variables on a grid. Give one of them: {listed}{more}.")


def as_cube(array: xr.DataArray, where: str) -> xr.DataArray:
    """Return the array as (band, y, x), whatever the dimensions are called."""
    require_numbers(str(array.dtype), where)
    dims = spatial_dims(array)
    if dims is None:
        raise InputError(
            f"{where} has the dimensions {', '.join(map(str, array.dims))}, of which none are recognised as "
            "y and x. Rename the spatial dimensions to y and x."
        )
    _require_values(array, where)
    single = [d for d in array.dims if d not in dims and array.sizes[d] == 1]
    if array.ndim > 3:
        array = array.isel(dict.fromkeys(single[: array.ndim - 3], 0))
    if array.ndim > 3:
        raise InputError(
            f"{where} has the dimensions {', '.join(f'{d} ({n})' for d, n in array.sizes.items())}. "
            "Select one scene, e.g. .isel(time=0)."
        )
    if array.ndim == 2:
        array = array.expand_dims("band")
    band = next(d for d in array.dims if d not in dims)
    return array.transpose(band, *dims)


def _require_values(array: xr.DataArray, where: str) -> None:
    """Check that an array has values, and a known number of them."""
    if any(math.isnan(n) for n in array.shape):
        raise InputError(f"{where} has chunks of unknown sizes. Compute them first: .data.compute_chunk_sizes().")
    if 0 in array.shape:
        sizes = ", ".join(f"{d} ({n})" for d, n in array.sizes.items())
        raise InputError(f"{where} has the dimensions {sizes}, so it holds no value. Give one or more of each.")


def _stack(planes: Sequence[xr.DataArray], *, nodata: float | None, group: Mapping[Any, Any]) -> Scene:
    """Return 2-D variables as the bands of one scene, each with its own packing."""
    singles = [open_array(plane, nodata=nodata, group=group) for plane in planes]
    sources = [s.source for s in singles if isinstance(s.source, ArraySource)]
    if len({(s.shape, s.geobox, p.dims[-2:]) for s, p in zip(singles, planes, strict=True)}) > 1:
        sizes = ", ".join(f"{s.name} {s.shape[0]} x {s.shape[1]}" for s in singles[:5])
        raise InputError(f"The variables of the Dataset are on different grids ({sizes}). Give only those of one grid.")
    cubes = [_without_own_coords(s.array) for s in sources]
    array = xr.concat(cubes, dim="band", join="override", combine_attrs="drop")
    packings = [s.packing for s in singles]
    packing = Packing(
        str(np.result_type(*(p.dtype for p in packings))),
        sum((p.scales for p in packings), ()),
        sum((p.offsets for p in packings), ()),
        next((p.nodata for p in packings if p.nodata is not None), None),
    )
    decoding = Decoding(
        sum((s.decoding.scales for s in sources), ()),
        sum((s.decoding.offsets for s in sources), ()),
        sum((s.decoding.nodata for s in sources), ()),
    )
    bands = tuple(replace(s.bands[0], name=s.name) for s in singles)
    return Scene(ArraySource(array, decoding), singles[0].geobox, bands, packing, singles[0].tags)


def _without_own_coords(cube: xr.DataArray) -> xr.DataArray:
    """Return a cube with only the coordinates of the grid, in which variables do not differ."""
    bare = cube.drop_vars([n for n in cube.coords if n not in cube.dims[1:] and n != "spatial_ref"])
    return bare if bare.dims[0] == "band" else bare.rename({bare.dims[0]: "band"})


def scene_of_cube(
    cube: xr.DataArray,
    source: ArraySource | ZarrSource,
    packing: Packing,
    group: Mapping[Any, Any],
    name: str,
    where: str | None = None,
) -> Scene:
    """Return the scene of a cube with its grid, bands and metadata.

    Parameters
    ----------
    cube : DataArray, dims (band, y, x)
    source : Source
        Reads its values.
    packing : Packing
    group : mapping
        Attributes of its dataset.
    name : str
        Of the scene.
    where : str, optional
        Where it is stored, in messages; the name if left out.
    """
    stated = group.get("gdal_metadata")
    domains = stated.items() if isinstance(stated, Mapping) else ()
    tags = {str(d): {str(k): str(v) for k, v in items.items()} for d, items in domains if isinstance(items, Mapping)}
    point = cube.attrs.get("AREA_OR_POINT", group.get("AREA_OR_POINT"))
    if point:
        tags[""] = {**tags.get("", {}), "AREA_OR_POINT": str(point)}
    attrs = useful_attrs(cube.attrs)
    if len(cube) == 1 or not isinstance(attrs.get("long_name"), str):
        attrs.pop("long_name", None)
    return Scene(source, geobox_of(cube, group, where or name), bands_of(cube), packing, tags, attrs, name)
