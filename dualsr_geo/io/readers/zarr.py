"""Zarr groups and arrays as scenes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from zarr.errors import BaseZarrError

from dualsr_geo.errors import InputError
from dualsr_geo.io.readers.array_sources import ZarrSource
from dualsr_geo.io.readers.block_sizes import require_chunk
from dualsr_geo.io.readers.cf_variables import values_of
from dualsr_geo.io.readers.xarray_objects import (
    as_cube,
    candidates,
    choose_variable,
    scene_of_cube,
    with_scalars_as_coords,
)
from dualsr_geo.io.storage.object_store import has_objects
from dualsr_geo.io.storage.store_errors import store_errors_as
from dualsr_geo.io.storage.urls import for_display, is_writable, shown
from dualsr_geo.io.storage.zarr_groups import split_array, zarr_location
from dualsr_geo.raster.scene import Scene


def open_zarr(where: str, *, nodata: float | None) -> Scene:
    """Open a Zarr group, or one of its arrays as ``group.zarr/variable``, as a scene.

    Raises
    ------
    InputError
        If it cannot be read, or holds several variables on a grid.
    """
    uri, variable = split_array(where)
    dataset = open_group(uri, where)
    if variable is None:
        cubes, planes = candidates(dataset)
        variable = choose_variable(cubes or planes, dataset, where, where.rstrip("/") + "/{}")
    elif variable not in dataset:
        raise InputError(f"{shown(uri)} holds no `{variable}`. It holds {', '.join(map(str, dataset.data_vars))}.")
    return scene_of_variable(dataset, variable, uri, variable, nodata=nodata, where=where, attrs=dataset.attrs)


def scene_of_variable(
    dataset: xr.Dataset,
    variable: str,
    uri: str,
    path: str,
    *,
    nodata: float | None,
    where: str,
    attrs: Mapping[Any, Any],
) -> Scene:
    """Return a variable of a Zarr group as a scene.

    Parameters
    ----------
    dataset : Dataset
        The group, from `open_group`.
    variable : str
    uri, path : str
        The root, and the path of the array in it.
    nodata : float or None
        Stored value of missing pixels, instead of the array's own.
    where : str
        Location of the array in messages.
    attrs : mapping
        Attributes that hold for all arrays of the group.

    Raises
    ------
    InputError
        If it holds no real numbers on a grid, or cannot be read.
    """
    array = dataset[variable]
    # Only its metadata are used; xarray would read all values to add a dimension.
    cube = as_cube(array.copy(data=np.broadcast_to(np.zeros((), array.dtype), array.shape)), shown(where))
    decoding, packing = values_of(cube, shown(where), nodata, raw=True)
    band, y, x = (array.dims.index(d) if d in array.dims else -1 for d in cube.dims)
    size = (cube.shape[1], cube.shape[2])
    axes = (None if band < 0 else band, y, x)
    chunk = array.encoding.get("shards") or array.encoding.get("chunks") or array.shape
    require_chunk(tuple(chunk), array.dtype.itemsize, f"{shown(uri)}: `{path}`")
    source = ZarrSource(uri, path, axes, indices=tuple(range(len(cube))), size=size, decoding=decoding)
    scene = scene_of_cube(cube, source, packing, attrs, Path(shown(uri)).stem, shown(where))
    source.read_last_pixel()
    return scene


def open_group(uri: str, where: str, group: str | None = None) -> xr.Dataset:
    """Return a group as a Dataset whose values are not decoded; `group` is its path below `uri`, which is the root.

    Raises
    ------
    InputError
        If there is none, or it cannot be read.
    """
    with store_errors_as(InputError, uri), warnings.catch_warnings():
        # A store may have no consolidated metadata.
        warnings.filterwarnings("ignore", category=RuntimeWarning, message=".*consolidated")
        try:
            dataset = xr.open_zarr(
                zarr_location(uri),
                group=group,
                chunks=None,
                mask_and_scale=False,
                decode_times=False,
                decode_coords="all",
            )
        except (OSError, ValueError, KeyError, BaseZarrError) as error:
            # Zarr raises no error of its own for a missing group or bucket.
            if is_writable(uri) and not has_objects(uri, InputError):
                raise InputError(f"{shown(where)} does not exist. Give the URL of a Zarr group.") from None
            raise InputError(f"{shown(where)} cannot be opened as a Zarr group: {for_display(str(error))}.") from error
    return with_scalars_as_coords(dataset)
