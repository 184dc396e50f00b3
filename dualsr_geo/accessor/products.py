"""Products of a scene of xarray, of each date of a stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr
from numpy.typing import DTypeLike

from dualsr_geo.accessor.dates import Guide, by_date, guides_by_date
from dualsr_geo.engine.options import Options
from dualsr_geo.raster.packing import Nodata

if TYPE_CHECKING:
    from dualsr_geo.raster.scene import Scene


def sharpen(array: xr.DataArray, guides: Sequence[Guide], options: Options) -> Any:  # see `ArrayAccessor.upscale`
    """Return the lazy product of a scene, or of each date of a stack."""
    pairs = guides_by_date(array, guides)
    return by_date(array, lambda one, date: _sharpen_one(one, pairs[date or 0], options))


def _sharpen_one(array: xr.DataArray, guides: Sequence[Guide], options: Options) -> xr.DataArray | xr.Dataset:
    from dualsr_geo.engine.lazy.products import as_dataarray, as_dataset  # noqa: PLC0415  # loads torch
    from dualsr_geo.engine.plan import plan_run  # noqa: PLC0415
    from dualsr_geo.engine.preparation import scene_nodata  # noqa: PLC0415
    from dualsr_geo.engine.sharpened_guides import open_guide_images  # noqa: PLC0415
    from dualsr_geo.io.scenes import open_scene  # noqa: PLC0415

    scene = open_scene(
        array,
        bidx=options.bidx,
        nodata=scene_nodata(options),
        sensor=options.sensor,
        wavelengths=options.wavelengths,
        gsd=options.gsd_m,
    )
    plan = plan_run(
        scene,
        open_guide_images(guides, options),
        options,
    )
    cube = _array_of(scene)
    return as_dataset(plan, cube) if options.uncertainty else as_dataarray(plan, cube)


def degraded(
    array: xr.DataArray,
    scale: int,
    mtf_gain: float,
    *,
    bidx: str | None,
    dtype: DTypeLike | None,
    nodata: Nodata,
) -> xr.DataArray:
    """Return a lazy degraded scene; see `ArrayAccessor.degrade`."""
    from dualsr_geo.engine.lazy.products import degrade  # noqa: PLC0415  # loads torch

    return degrade(array, scale, mtf_gain, bidx=bidx, dtype=None if dtype is None else str(dtype), nodata=nodata)


def _array_of(scene: Scene) -> xr.DataArray:
    from dualsr_geo.io.readers.array_sources import ArraySource  # noqa: PLC0415

    if not isinstance(scene.source, ArraySource):
        raise TypeError(f"{scene.name} is no xarray object")
    return scene.source.array
