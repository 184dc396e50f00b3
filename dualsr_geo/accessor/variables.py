"""Datasets as scenes: a 3-D variable is a scene; without any, the 2-D variables are the bands of one scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from dualsr_geo.accessor.dates import TIME
from dualsr_geo.errors import InputError

# Attribute of the packing of one band, of the packing of several bands, and the default value.
PACKED = (("scale_factor", "scales", 1.0), ("add_offset", "offsets", 0.0))


def by_variable(dataset: xr.Dataset, work: Callable[[xr.DataArray], list[xr.DataArray]]) -> list[xr.Dataset]:
    """Apply `work` to the scenes of a Dataset; return a Dataset for each array that `work` returns.

    Parameters
    ----------
    dataset : Dataset
    work : callable
        scene -> its products.
    """
    names = [n for n, v in dataset.data_vars.items() if v.ndim >= 2]  # grid mappings are scalars
    if not names:
        from dualsr_geo.io.scenes import open_scene  # noqa: PLC0415  # loads rasterio

        # Its error names what is missing.
        open_scene(dataset)
    if cubes := [n for n in names if {d for d in dataset[n].dims if d != TIME} - set(dataset[names[0]].dims[-2:])]:
        results = {n: work(dataset[n]) for n in cubes}
        shared: list[dict[Any, Any]] = [{} for _ in results[cubes[0]]]
    else:
        scenes = work(_stacked([dataset[n] for n in names]))
        results = {n: [_layer(scene, i, dataset[n]) for scene in scenes] for i, n in enumerate(names)}
        # What a scene of several variables states of all of them.
        shared = [{k: v for k, v in scene.attrs.items() if str(k).startswith("dualsr_")} for scene in scenes]
    return [
        xr.Dataset(dict(zip(results, arrays, strict=True)), attrs={**dataset.attrs, **common})
        for arrays, common in zip(zip(*results.values(), strict=True), shared, strict=True)
    ]


def _stacked(layers: Sequence[xr.DataArray]) -> xr.DataArray:
    """Return 2-D variables as the bands of one scene, each with its own scale and offset."""
    _require_one_nodata(layers)
    cube = xr.concat(layers, dim="band", join="override", combine_attrs="override")
    cube = cube.assign_coords(band=("band", np.arange(1, len(layers) + 1)))
    cube.encoding = dict(layers[0].encoding)
    for single, several, default in PACKED:
        for target, sources in ((cube.attrs, [v.attrs for v in layers]), (cube.encoding, [v.encoding for v in layers])):
            values = [_packing_value(single, source.get(single, default)) for source in sources]
            if len(set(values)) > 1:
                target.pop(single, None)
                target[several] = values
    return cube.transpose(TIME, "band", ...) if TIME in cube.dims else cube


def _packing_value(name: str, value: Any) -> float:  # whatever an attribute holds
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(
            f"A variable of the Dataset has the attribute {name} = {value!r}. Set a number, or remove it."
        ) from None


def _require_one_nodata(layers: Sequence[xr.DataArray]) -> None:
    values = {str(v.attrs["_FillValue"]) for v in layers if "_FillValue" in v.attrs}
    if len(values) > 1:
        raise InputError(
            f"The variables of the Dataset have the nodata values {' and '.join(sorted(values))}. "
            "Open them masked (mask_and_scale=True), or give those of one value."
        )


def _layer(scene: xr.DataArray, index: int, like: xr.DataArray) -> xr.DataArray:
    """Return a band of a scene as a variable with the attributes of `like` and the packing of the scene."""
    from dualsr_geo.io.to_xarray import PACKING_KEYS  # noqa: PLC0415  # loads dask

    layer = scene.isel(band=index, drop=True)

    def packing(attrs: dict[Any, Any]) -> dict[Any, Any]:
        packed = {k: v for k, v in attrs.items() if k in PACKING_KEYS}
        for single, several, _ in PACKED:
            if several in packed:
                packed[single] = packed.pop(several)[index]
        return packed

    layer.attrs = {k: v for k, v in like.attrs.items() if k not in PACKING_KEYS} | packing(scene.attrs)
    layer.encoding = packing(scene.encoding)
    return layer
