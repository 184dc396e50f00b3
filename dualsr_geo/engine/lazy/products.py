"""Lazy products as xarray objects in the form of their scene."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import torch
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.degrade_raster import degrade_window, encode_degraded, read_normalized, require_degradable
from dualsr_geo.engine.lazy.graph import nan_type_of, upscale, with_nan
from dualsr_geo.engine.plan import RunPlan, product_packing
from dualsr_geo.engine.records.product_attributes import product_attributes
from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.io.to_xarray import labelled
from dualsr_geo.io.writers.output_spec import deviation_attrs
from dualsr_geo.raster import grid
from dualsr_geo.raster.packing import Nodata, Packing
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.windows import Window
from dualsr_geo.threads import one_thread


def as_dataarray(plan: RunPlan, like: xr.DataArray) -> xr.DataArray:
    """Return the lazy product with the scene's coordinates, attributes and encoding.

    If the scene is masked (floats of an integer file, NaN where there is no value), so is the product;
    otherwise its values are those stored.

    Parameters
    ----------
    plan : RunPlan
    like : DataArray, dims (band, y, x)
        The scene.
    """
    plan = with_own_nodata(plan)
    stored = upscale(plan)
    attributes = product_attributes(plan, stored.name)
    return labelled(stored, plan.packing, plan.scene, like, plan.target).assign_attrs(attributes)


def as_dataset(plan: RunPlan, like: xr.DataArray) -> xr.Dataset:
    """Return the lazy product with the standard deviations of its errors, ``uncertainty``, in the same form.

    Parameters
    ----------
    plan : RunPlan
        With uncertainty.
    like : DataArray, dims (band, y, x)
        The scene.
    """
    plan = with_own_nodata(plan)
    stored, count = upscale(plan), plan.scene.count
    attributes = product_attributes(plan, stored.name)
    product, sigma = (
        labelled(part, packing, plan.scene, like, plan.target).assign_attrs(attributes)
        for part, packing in ((stored[:count], plan.packing), (stored[count:], plan.packing.deviations))
    )
    name = str(like.name or plan.scene.name)
    product.attrs["ancillary_variables"] = "uncertainty"
    sigma.attrs |= deviation_attrs(sigma.attrs, name)
    return xr.Dataset({name: product, "uncertainty": sigma})


def with_own_nodata(plan: RunPlan, *, compute: bool = False) -> RunPlan:
    """Return a plan whose product has a nodata value only if the scene or the user states one, or values are missing.

    Parameters
    ----------
    plan : RunPlan
    compute : bool
        Whether values of dask are computed to find out.
    """
    if plan.options.nodata is not None:
        return plan
    return replace(plan, packing=_own_packing(plan.scene, plan.packing, compute=compute))


def _own_packing(scene: Scene, packing: Packing, *, compute: bool = False) -> Packing:
    """Return a packing of a product without the nodata value that a masked scene without missing values does not need.

    Values of dask that are not computed are not known: their missing ones are NaN in the product.
    """
    source, stated = scene.source, scene.packing
    if packing.is_float or stated.is_float or stated.nodata is not None or not isinstance(source, ArraySource):
        return packing
    if (compute or source.array.chunks is None) and source.has_missing():
        return packing
    return replace(packing, nodata=None)


def degrade(
    array: xr.DataArray,
    scale: int,
    mtf_gain: float,
    *,
    bidx: str | None = None,
    dtype: str | None = None,
    nodata: Nodata = None,
) -> xr.DataArray:
    """Blur a scene by a Gaussian MTF and decimate it, as one lazy block.

    Parameters
    ----------
    array : DataArray, dims y, x and at most one more
    scale : int
        Ratio of pixel sizes; rows and columns beyond a multiple of the ratio are left out.
    mtf_gain : float
        MTF gain at the coarse Nyquist frequency.
    bidx, dtype, nodata
        As for `degrade_raster.degrade`.
    """
    scene = open_scene(array, bidx=bidx, nodata=nodata if dtype is None or nodata == "auto" else None)
    psf = require_degradable(scene, scale, mtf_gain)
    target = grid.coarsen(scene.geobox, scale)
    source = scene.source
    if not isinstance(source, ArraySource):
        raise TypeError(f"{scene.name} is no xarray object")
    like = source.array
    lazy = replace(source, array=like if like.chunks is not None else like.chunk())
    packing = product_packing(scene, dtype, nodata)
    if nodata is None:
        packing = _own_packing(scene, packing)
    nan_type = nan_type_of(scene, packing)
    block = delayed(_degrade, pure=True)(lazy, psf, scene.packing.dtype, packing, nan_type)
    stored = da.from_delayed(block, (scene.count, *target.shape), nan_type or packing.dtype)
    return labelled(stored, packing, scene, like, target)


@reports_defects
def _degrade(source: ArraySource, psf: Psf, stored: str, packing: Packing, nan_type: str | None) -> NDArray[np.generic]:
    count, height, width = source.shape
    shape = height // psf.ratio, width // psf.ratio
    window = Window(0, shape[0] * psf.ratio, 0, shape[1] * psf.ratio)
    cube, normalization = read_normalized(source, window, range(count), stored, packing)
    with one_thread(), torch.inference_mode():
        degraded = degrade_window(cube, operator(psf, shape))
        missing = torch.isnan(degraded).numpy()
        values = encode_degraded(degraded, packing, slice(0, count), normalization)
        return values if nan_type is None else with_nan(values, missing, nan_type, 1)
