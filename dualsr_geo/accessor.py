"""`.dualsr` on xarray objects: the library's functions, lazily."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr

from dualsr_geo.errors import InputError

if TYPE_CHECKING:
    from dualsr_geo.plan import Options
    from dualsr_geo.scene import Scene

Guide = xr.DataArray | xr.Dataset | str | os.PathLike[str]
TIME = "time"
# Where a scale is kept for one band and for each of several, and what it is where nothing is said.
PACKED = (("scale_factor", "scales", 1.0), ("add_offset", "offsets", 0.0))


@xr.register_dataarray_accessor("dualsr")  # type: ignore[no-untyped-call]  # xarray does not type its decorator
class ArrayAccessor:
    """Sharpen a DataArray (band, y, x), or (time, band, y, x) scene by scene."""

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    def upscale(
        self,
        *,
        rgb: Guide | Sequence[Guide] | None = None,
        options: Options | None = None,
        **changes: Any,  # fields of Options
    ) -> xr.DataArray:
        """Sharpen the scene; nothing is computed before `.compute()`.

        Parameters
        ----------
        rgb : DataArray, Dataset or path, or several
            The guide; with a time dimension of its own, one a scene.
        options : Options, optional
        **changes
            Fields of `dualsr_geo.Options`, e.g. ``scale=4``.

        Returns
        -------
        DataArray
            On the target grid, in the scene's own form (masked or as stored), lazy.

        Raises
        ------
        DualSRError
            For any input or option that cannot be carried out.
        """
        wanted = _options(options, changes)
        return _each(self._array, lambda array, at: _upscale(array, _guides(rgb, at), wanted))

    def degrade(self, *, scale: int, mtf_gain: float = 0.3) -> xr.DataArray:
        """Blur by a Gaussian MTF and keep every `scale`-th pixel.

        Parameters
        ----------
        scale : int
            Ratio of pixel sizes.
        mtf_gain : float
            MTF gain at the coarse Nyquist frequency, between 0 and 1.
        """
        from dualsr_geo.lazy import degrade  # noqa: PLC0415  # loads torch

        return _each(self._array, lambda array, _: degrade(array, scale, mtf_gain))


@xr.register_dataset_accessor("dualsr")  # type: ignore[no-untyped-call]
class DatasetAccessor:
    """Sharpen a Dataset of one variable a band, or of one (band, y, x) variable."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def upscale(self, **wishes: Any) -> xr.Dataset:  # see ArrayAccessor.upscale
        """Sharpen the scene; see `ArrayAccessor.upscale`."""
        return _by_variable(self._dataset, lambda array: ArrayAccessor(array).upscale(**wishes))

    def degrade(self, *, scale: int, mtf_gain: float = 0.3) -> xr.Dataset:
        """Blur and decimate; see `ArrayAccessor.degrade`."""
        return _by_variable(self._dataset, lambda array: ArrayAccessor(array).degrade(scale=scale, mtf_gain=mtf_gain))


def _options(options: Options | None, changes: dict[str, Any]) -> Options:
    from dualsr_geo.plan import Options as Made  # noqa: PLC0415  # loads torch

    return replace(options or Made(), **changes)


def _upscale(array: xr.DataArray, guides: Sequence[Guide], options: Options) -> xr.DataArray:
    from dualsr_geo.lazy import as_dataarray  # noqa: PLC0415  # loads torch
    from dualsr_geo.plan import plan  # noqa: PLC0415
    from dualsr_geo.read import open_scene  # noqa: PLC0415

    scene = open_scene(array, bidx=options.bidx, nodata=options.nodata if options.dtype is None else None)
    return as_dataarray(plan(scene, [open_scene(g) for g in guides], options), _cube(scene))


def _cube(scene: Scene) -> xr.DataArray:
    from dualsr_geo.sources import ArraySource  # noqa: PLC0415

    if not isinstance(scene.source, ArraySource):
        raise TypeError(f"{scene.name} is no xarray object")
    return scene.source.array


def _guides(rgb: Guide | Sequence[Guide] | None, at: int | None) -> list[Guide]:
    one = isinstance(rgb, xr.DataArray | xr.Dataset | str | os.PathLike)
    several = [] if rgb is None else [cast("Guide", rgb)] if one else list(cast("Sequence[Guide]", rgb))
    return [_now(g, at) for g in several]


def _now(guide: Guide, at: int | None) -> Guide:
    """Return the guide of a scene's own date, where it has dates."""
    if at is not None and isinstance(guide, xr.DataArray | xr.Dataset) and TIME in guide.dims:
        return guide.isel({TIME: at})
    return guide


def _each(array: xr.DataArray, work: Callable[[xr.DataArray, int | None], xr.DataArray]) -> xr.DataArray:
    """Do a stack of dates scene by scene."""
    if TIME not in array.dims:
        return work(array, None)
    made = [work(array.isel({TIME: i}), i) for i in range(array.sizes[TIME])]
    out = xr.concat(made, dim=array[TIME] if TIME in array.coords else TIME, join="override")
    out.encoding = made[0].encoding
    return out


def _by_variable(dataset: xr.Dataset, work: Callable[[xr.DataArray], xr.DataArray]) -> xr.Dataset:
    """Work on a Dataset: its 2-D variables are the bands of one scene, a 3-D one is a scene."""
    names = [n for n, v in dataset.data_vars.items() if v.ndim >= 2]  # grid mappings are scalars
    if not names:
        from dualsr_geo.read import open_scene  # noqa: PLC0415  # says what is missing

        open_scene(dataset)
    deep = [n for n in names if {d for d in dataset[n].dims if d != TIME} - set(dataset[names[0]].dims[-2:])]
    if deep:
        made = {n: work(dataset[n]) for n in deep}
        return xr.Dataset(made, attrs=dataset.attrs)
    layers = [dataset[n] for n in names]
    sharp = work(_stacked(layers))
    return xr.Dataset({n: _layer(sharp, i, dataset[n]) for i, n in enumerate(names)}, attrs=dataset.attrs)


def _stacked(layers: Sequence[xr.DataArray]) -> xr.DataArray:
    """Return 2-D variables as the bands of one scene, each with its own scale and offset."""
    _require_one_nodata(layers)
    cube = xr.concat(layers, dim="band", join="override", combine_attrs="override")
    cube = cube.assign_coords(band=("band", np.arange(1, len(layers) + 1)))
    cube.encoding = dict(layers[0].encoding)
    for one, each, nothing in PACKED:
        for said, own in ((cube.attrs, [v.attrs for v in layers]), (cube.encoding, [v.encoding for v in layers])):
            values = [float(o.get(one, nothing)) for o in own]
            if len(set(values)) > 1:
                said.pop(one, None)
                said[each] = values
    return cube.transpose(TIME, "band", ...) if TIME in cube.dims else cube


def _require_one_nodata(layers: Sequence[xr.DataArray]) -> None:
    values = {str(v.attrs["_FillValue"]) for v in layers if "_FillValue" in v.attrs}
    if len(values) > 1:
        raise InputError(
            f"The variables of the Dataset have the nodata values {' and '.join(sorted(values))}. "
            "Open them masked (mask_and_scale=True), or give those of one value."
        )


def _layer(sharp: xr.DataArray, index: int, like: xr.DataArray) -> xr.DataArray:
    """Return a band of the product as the variable that it was: its own attributes, the product's packing."""
    from dualsr_geo.lazy import PACKING_KEYS  # noqa: PLC0415  # loads torch

    out = sharp.isel(band=index, drop=True)
    found = []
    for said, own in ((sharp.attrs, like.attrs), (sharp.encoding, {})):
        packed = {k: v for k, v in said.items() if k in PACKING_KEYS}
        for one, each, _ in PACKED:
            if each in packed:
                packed[one] = packed.pop(each)[index]
        found.append({k: v for k, v in own.items() if k not in PACKING_KEYS} | packed)
    out.attrs, out.encoding = found
    return out
