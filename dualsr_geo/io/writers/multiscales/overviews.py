"""Computing overviews from stored tiles, a chunk at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from dualsr_geo.io.writers.multiscales.layout import GROUP, STEP, Level
from dualsr_geo.io.writers.multiscales.levels import AVERAGE, levels_of
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.io.writers.stored_values import PUBLISHED
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.windows import Tiling


def write_overviews(folder: Path | Store, spec: OutputSpec) -> list[Level]:
    """Write the overviews that a product is to have into its group, and remove those of an interrupted run.

    Parameters
    ----------
    folder : Path or zarr Store
        A Zarr v3 group that holds the arrays of `spec.variables`.
    spec : OutputSpec

    Returns
    -------
    list of Level
        Finest first.
    """
    group = zarr.open_group(folder, mode="r+", zarr_format=3, use_consolidated=False)
    if GROUP in group:
        del group[GROUP]
    levels = levels_of(spec)
    for level in levels:
        for variable in level.spec.variables:
            source = group[f"{level.source}/{variable.name}".lstrip("/")]
            target = group.create_array(
                f"{level.path}/{variable.name}",
                shape=variable.shape,
                chunks=variable.chunks,
                dtype=variable.packing.dtype,
                fill_value=variable.fill,
                compressors=PUBLISHED,
                dimension_names=("band", "y", "x"),
            )
            _reduce(source, target, variable, is_average=level.resampling == AVERAGE and _fits_float64(variable))
    return levels


def _fits_float64(spec: OutputSpec) -> bool:
    """Return whether float64 holds the values, which it does not for integers of 64 bits; these are not averaged."""
    dtype = np.dtype(spec.packing.dtype)
    return not (dtype.kind in "iu" and dtype.itemsize > 4)


def _reduce(source: Any, target: Any, spec: OutputSpec, *, is_average: bool) -> None:
    """Fill an array with a coarser version of another, chunk by chunk."""
    depth, *side = spec.chunks
    for first in range(0, spec.shape[0], depth):
        bands = slice(first, min(first + depth, spec.shape[0]))
        for tile in Tiling(spec.shape[1:], max(side), 0):
            rows, columns = tile.core.slices
            fine = source[bands, rows.start * STEP : rows.stop * STEP, columns.start * STEP : columns.stop * STEP]
            target[bands, rows, columns] = (
                np.stack([averaged(plane, spec.packing) for plane in fine]) if is_average else fine[:, ::STEP, ::STEP]
            )


def averaged(plane: NDArray[Any], packing: Packing) -> NDArray[Any]:
    """Return the averages of 2 x 2 stored values, of those that are valid.

    Parameters
    ----------
    plane : array, shape (y, x)
        Packed.
    packing : Packing

    Returns
    -------
    array, shape (ceil(y / 2), ceil(x / 2))
        Packed; nodata where no value is valid. A pixel at an odd edge is that of the values inside.
    """
    height, width = (-(-n // STEP) * STEP for n in plane.shape)
    valid = _valid(plane, packing)
    # Float64 holds integers of 32 bits, and quarters of their sums, exactly.
    values = np.zeros((height, width))
    counted = np.zeros((height, width), dtype=np.uint8)
    values[: plane.shape[0], : plane.shape[1]] = np.where(valid, plane, 0)
    counted[: plane.shape[0], : plane.shape[1]] = valid
    total, count = _blocks(values).sum(axis=(1, 3)), _blocks(counted).sum(axis=(1, 3))
    mean = total / np.maximum(count, 1)
    if packing.is_float:
        fill = np.nan if packing.nodata is None else packing.nodata
        return np.asarray(np.where(count > 0, mean, fill), plane.dtype)
    result: NDArray[Any] = np.rint(mean).astype(plane.dtype)
    if packing.nodata is None:
        return result
    nodata = plane.dtype.type(packing.nodata)
    # An average that is rounded to nodata is replaced by a valid value.
    clash = (count > 0) & (result == nodata)
    result[clash] = _first_valid(values, counted)[clash].astype(plane.dtype)
    return np.asarray(np.where(count > 0, result, nodata))


def _valid(plane: NDArray[Any], packing: Packing) -> NDArray[np.bool_]:
    nodata = packing.nodata
    if not packing.is_float:
        return np.ones(plane.shape, dtype=bool) if nodata is None else np.not_equal(plane, plane.dtype.type(nodata))
    finite = np.isfinite(plane)
    return np.asarray(finite if nodata is None or np.isnan(nodata) else finite & (plane != plane.dtype.type(nodata)))


def _blocks(values: NDArray[Any]) -> NDArray[Any]:
    """Return a plane as blocks, shape (y, 2, x, 2)."""
    height, width = values.shape
    blocks: NDArray[Any] = values.reshape(height // STEP, STEP, width // STEP, STEP)
    return blocks


def _first_valid(values: NDArray[Any], counted: NDArray[Any]) -> NDArray[Any]:
    """Return the first valid value of each block."""
    flat = _blocks(values).transpose(0, 2, 1, 3).reshape(values.shape[0] // STEP, values.shape[1] // STEP, -1)
    valid = _blocks(counted).transpose(0, 2, 1, 3).reshape(flat.shape)
    first = valid.argmax(axis=-1)[..., None]
    chosen: NDArray[Any] = np.take_along_axis(flat, first, axis=-1)[..., 0]
    return chosen
