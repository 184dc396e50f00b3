"""Checks that the product's type holds what the scene holds: its range, and its steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.packing import Packing

Array = NDArray[np.floating]

# Share of the scene's values beyond the range of the product's type from which it is reported.
MIN_CLIPPED_SHARE = 0.001
# Fewer steps of the product's type than this between the smallest and the largest value of the scene are reported.
MIN_STEPS = 16


def note_stored_values(
    cubes: Sequence[Array], scene: Packing, product: Packing, normalization: Normalization | None = None
) -> list[str]:
    """Return a note if the scene is constant, or if the product's type clips its values or has too few steps.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
        Parts of the scene, physical units, NaN where it has no value.
    scene, product : Packing
        Of these bands.
    normalization : Normalization, optional
        By which the values are shifted and scaled.
    """
    low, high = _ranges(cubes)
    if not (high > low).any():
        constant = "Every band of the scene is constant: there is no detail to sharpen. Check --bidx and --nodata."
        return [constant] if sum(int(np.isfinite(c[0]).sum()) for c in cubes) > 1 else []
    if product.is_float or (product.dtype, product.scales, product.offsets) == (
        scene.dtype,
        scene.scales,
        scene.offsets,
    ):
        return []
    info = np.iinfo(product.dtype)
    clipped = total = 0
    for band in range(len(low)):
        steps = np.concatenate([_steps(c[band], band, product, normalization) for c in cubes])
        clipped += int(np.count_nonzero((steps < info.min - 0.5) | (steps > info.max + 0.5)))
        total += len(steps)
    bounds = np.concatenate([_steps(v[b], b, product, normalization) for v in (low, high) for b in range(len(low))])
    smallest, largest = float(bounds.min()), float(bounds.max())
    values = f"in steps of {product.dtype} ({product.scales[0]:g}) its values are from {smallest:.6g} to {largest:.6g}"
    if clipped > MIN_CLIPPED_SHARE * total:
        text = (
            f"{clipped / total:.1%} of the scene's values are beyond the range of the product's type: {values}, and it holds "
            f"{info.min} to {info.max}. They are clipped. Give another --dtype."
        )
        return [text]
    if largest - smallest < MIN_STEPS:
        return [f"The product's type keeps little of the scene: {values}. Give another --dtype, e.g. float32."]
    return []


def _ranges(cubes: Sequence[Array]) -> tuple[Array, Array]:
    """Return the smallest and the largest value of every band; NaN for a band without any."""
    planes = [c.reshape(len(c), -1) for c in cubes]
    low, high = (f.reduce([f.reduce(p, axis=1) for p in planes], axis=0) for f in (np.fmin, np.fmax))
    return low, high


def _steps(
    values: Array | float, band: int, packing: Packing, normalization: Normalization | None
) -> NDArray[np.float64]:
    """Return the valid values in steps of the packing."""
    physical = np.atleast_1d(np.asarray(values, np.float64))
    physical = physical[np.isfinite(physical)]
    if normalization is not None:
        physical = physical * normalization.unit + normalization.origins[band]
    steps: NDArray[np.float64] = (physical - packing.offsets[band]) / packing.scales[band]
    return steps
