"""Zarr groups and arrays as scenes."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import xarray as xr
from zarr.errors import BaseZarrError

from dualsr_geo.errors import InputError
from dualsr_geo.io.readers.array_sources import ZarrSource
from dualsr_geo.io.readers.cf_variables import values_of
from dualsr_geo.io.readers.xarray_objects import (
    as_cube,
    candidates,
    choose_variable,
    scene_of_cube,
    with_scalars_as_coords,
)
from dualsr_geo.io.storage.object_store import holds, named, zarr_store
from dualsr_geo.io.storage.urls import is_url, is_writable, shown
from dualsr_geo.raster.scene import Scene


def open_zarr(where: str, *, nodata: float | None) -> Scene:
    """Open a Zarr group, or one array of it as ``group.zarr/variable``, as a scene.

    Raises
    ------
    InputError
        If it cannot be read, or holds several variables on a grid.
    """
    uri, variable = _split(where)
    dataset = _open_group(uri, where)
    if variable is None:
        cubes, planes = candidates(dataset)
        variable = choose_variable(cubes or planes, dataset, where, where.rstrip("/") + "/{}")
    elif variable not in dataset:
        raise InputError(f"{uri} holds no `{variable}`. It holds {', '.join(map(str, dataset.data_vars))}.")
    array = dataset[variable]
    cube = as_cube(array, where)
    decoding, packing = values_of(cube, where, nodata, raw=True)
    band, y, x = (array.dims.index(d) if d in array.dims else -1 for d in cube.dims)
    size = (cube.shape[1], cube.shape[2])
    axes = (None if band < 0 else band, y, x)
    source = ZarrSource(uri, variable, axes, indices=tuple(range(len(cube))), size=size, decoding=decoding)
    scene = scene_of_cube(cube, source, packing, dataset.attrs, Path(shown(uri)).stem)
    source.read_far_end()
    return scene


def _split(where: str) -> tuple[str, str | None]:
    """Return the group, and the variable in it where the path is that of an array."""
    if is_url(where):
        uri, suffix, inside = where.partition(".zarr/")
        return (uri + suffix.rstrip("/"), inside.strip("/")) if inside.strip("/") else (where.rstrip("/"), None)
    path = Path(where).expanduser()
    if (path / ".zarray").exists() or _is_array(path / "zarr.json"):
        return os.path.abspath(path.parent), path.name
    return (os.path.abspath(path) if path.exists() else where), None


def _is_array(document: Path) -> bool:
    try:
        return document.is_file() and json.loads(document.read_bytes()).get("node_type") == "array"
    except ValueError:
        # Damaged; opening it as a group raises the error.
        return False


def _open_group(uri: str, where: str) -> xr.Dataset:
    with named(uri, InputError), warnings.catch_warnings():
        # A store may have no consolidated metadata.
        warnings.filterwarnings("ignore", category=RuntimeWarning, message=".*consolidated")
        store = zarr_store(uri) if is_url(uri) else uri
        try:
            dataset = xr.open_zarr(store, chunks=None, mask_and_scale=False, decode_times=False, decode_coords="all")
        except (OSError, ValueError, KeyError, BaseZarrError) as error:
            # Zarr raises no error of its own for a missing group or bucket.
            if is_writable(uri) and not holds(uri, InputError):
                raise InputError(f"{shown(where)} does not exist. Give the URL of a Zarr group.") from None
            raise InputError(f"{shown(where)} cannot be opened as a Zarr group: {shown(str(error))}.") from error
    return with_scalars_as_coords(dataset)
