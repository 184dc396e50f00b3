"""Encode physical values as stored ones: cut overshoot, round, clip and mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.packing import Packing, holds

# Side of the window of lr pixels whose minimum is the lower limit in darker places than the sample has.
FLOOR_WINDOW_LR = 5


def floor(window: torch.Tensor, low: float, core: tuple[slice, slice], ratio: int) -> torch.Tensor | None:
    """Return the lower limit of a tile that is darker than the survey's minimum; None for other tiles.

    The survey's minimum comes from a sample. Where a window has darker pixels the limit is the minimum of the
    5 x 5 lr pixels around, whose finite support makes tiles agree.

    Parameters
    ----------
    window : Tensor, shape (band, y, x)
        The filled lr window with its halo.
    low : float
        The survey's minimum, physical units.
    core : (slice, slice)
        Rows and columns of the core in the window.
    ratio : int

    Returns
    -------
    Tensor, shape (band, ratio * y, ratio * x), or None
    """
    if float(window.amin()) >= low:
        return None
    near = -torch.nn.functional.max_pool2d(-window[None], FLOOR_WINDOW_LR, 1, FLOOR_WINDOW_LR // 2)[0]
    own = near[:, core[0], core[1]].clamp_max(low)
    return own.repeat_interleave(ratio, 1).repeat_interleave(ratio, 2)


@dataclass(frozen=True)
class Encoded:
    """Some bands of a tile as they are stored.

    Attributes
    ----------
    stored : array, shape (band, Y, X)
    physical : Tensor, shape (band, Y, X)
        The values that a reader decodes, not masked.
    cut, saturated : int
        Numbers of pixels raised to the lower limit, and clipped to the stored range.
    """

    stored: NDArray[np.generic]
    physical: torch.Tensor
    cut: int
    saturated: int


def encode(
    values: torch.Tensor,
    packing: Packing,
    rows: slice,
    low: float | torch.Tensor,
    hole: torch.Tensor | None,
    normalization: Normalization | None = None,
) -> Encoded:
    """Encode physical values.

    Parameters
    ----------
    values : Tensor, shape (band, Y, X)
        Physical units; changed in place.
    packing : Packing
        Of all bands of the product.
    rows : slice
        Indices of these bands in the product.
    low : float or Tensor
        Lower limit, physical units.
    hole : Tensor of bool, shape (band, Y, X), or None
        Pixels without a value.
    normalization : Normalization or None
        By which values and limit, and the physical values that are returned, are shifted and scaled.
    """
    if normalization is not None:
        return _encode_normalized(values, packing, rows, hole, normalization, _cut(values, low, hole))
    stored = np.empty(tuple(values.shape), packing.dtype)
    cut = saturated = 0
    # On the processor a band at a time stays in the cache: that is twice as fast.
    step = 1 if values.device.type == "cpu" else len(values)
    for first in range(0, len(values), step):
        some = slice(first, first + step)
        limit = low if isinstance(low, float) else low[some]
        gap = None if hole is None else hole[some]
        cut += _cut(values[some], limit, gap)
        of_product = slice(rows.start + first, min(rows.start + first + step, rows.stop))
        saturated += _store(values[some], packing, of_product, gap, stored[some])
    return Encoded(stored, values, cut, saturated)


def _store(
    values: torch.Tensor, packing: Packing, rows: slice, hole: torch.Tensor | None, stored: NDArray[np.generic]
) -> int:
    """Store values, make them those that a reader decodes, in place, and return the number of clipped ones."""
    if packing.is_float:
        stored[...] = values.numpy(force=True)
        _put_holes(stored, packing, hole)
        return 0
    scale, offset = (_column(v[rows], values) for v in (packing.scales, packing.offsets))
    if _any(packing.offsets[rows]):
        values.sub_(offset)
    if set(packing.scales[rows]) != {1.0}:
        values.div_(scale)
    values.round_()
    info = np.iinfo(packing.dtype)
    saturated = _clip(values, float(info.min), float(info.max), hole)
    stored[...] = _to_integer(values, packing, hole)
    values.mul_(scale).add_(offset)
    return saturated


def _encode_normalized(
    values: torch.Tensor,
    packing: Packing,
    rows: slice,
    hole: torch.Tensor | None,
    normalization: Normalization,
    cut: int,
) -> Encoded:
    """Encode values that are shifted and scaled, in 64-bit floats and integers, a band at a time."""
    stored = np.empty(tuple(values.shape), packing.dtype)
    physical, saturated = values, 0
    valid = None if hole is None else ~hole.numpy(force=True)
    for at, band in enumerate(range(rows.start, rows.stop)):
        plane = values[at].numpy(force=True).astype(np.float64) * normalization.unit
        origin = normalization.origins[band]
        if packing.is_float:
            with np.errstate(over="ignore"):
                stored[at] = plane + origin
            continue
        scale, offset = packing.scales[band], packing.offsets[band]
        start = round((origin - offset) / scale)
        rest = origin - (start * scale + offset)
        steps = np.round((plane + rest) / scale)
        clipped = _within(steps, packing.dtype, start)
        out = clipped != steps
        saturated += int(np.count_nonzero(out if valid is None else out & valid[at]))
        # Modular arithmetic of 64 bits: exact wherever the sum fits the type.
        total = clipped.astype(np.int64).view(np.uint64) + np.uint64(start % 2**64)
        stored[at] = total.view(np.int64).astype(packing.dtype)
        decoded = (clipped * scale - rest) / normalization.unit
        physical[at] = torch.from_numpy(decoded.astype(np.float32)).to(values.device)
    if not packing.is_float:
        _avoid_nodata(stored, packing)
    _put_holes(stored, packing, hole)
    return Encoded(stored, physical, cut, saturated)


def _within(steps: NDArray[np.float64], dtype: str, start: int) -> NDArray[np.float64]:
    """Clip steps from `start` to the range of an integer type, and to the range of 64-bit integers."""
    info = np.iinfo(dtype)
    # The largest 64-bit float below 2^63.
    limit = 2**63 - 1024
    clipped: NDArray[np.float64] = np.clip(steps, max(info.min - start, -limit), min(info.max - start, limit))
    return clipped


def encode_deviation(
    values: torch.Tensor,
    packing: Packing,
    rows: slice,
    hole: torch.Tensor | None,
    normalization: Normalization | None = None,
) -> NDArray[np.generic]:
    """Encode standard deviations, rounded up, so that no uncertain value is stored with a standard deviation of 0.

    Parameters
    ----------
    values : Tensor, shape (band, Y, X)
        Physical units; changed in place.
    packing : Packing
        Of the product's values.
    rows : slice
    hole : Tensor of bool, shape (band, Y, X), or None
    normalization : Normalization or None
        Of the product's values.
    """
    own, shared = packing.deviations, None if normalization is None else normalization.deviations
    if not own.is_float:
        unit = 1.0 if shared is None else shared.unit
        step = _column(tuple(s / unit for s in own.scales[rows]), values)
        values.div_(step).ceil_().mul_(step)
    return encode(values, own, rows, 0.0, hole, shared).stored


def _column(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


def _any(values: tuple[float, ...]) -> bool:
    return any(v != 0 for v in values)


def _cut(values: torch.Tensor, low: float | torch.Tensor, hole: torch.Tensor | None) -> int:
    """Raise values to the lower limit in place, and return the number of those outside holes."""
    if isinstance(low, float):
        if float(values.amin()) >= low:
            return 0
        under = values < low
        values.clamp_min_(low)
    else:
        under = values < low
        torch.maximum(values, low, out=values)
    return int(torch.count_nonzero(under if hole is None else under & ~hole))


def _clip(steps: torch.Tensor, low: float, high: float, hole: torch.Tensor | None) -> int:
    """Clip values in place, and return the number of clipped ones outside holes."""
    smallest, largest = torch.aminmax(steps)
    if float(smallest) >= low and float(largest) <= high:
        return 0
    out = (steps < low) | (steps > high)
    steps.clamp_(low, high)
    return int(torch.count_nonzero(out if hole is None else out & ~hole))


def _to_integer(steps: torch.Tensor, packing: Packing, hole: torch.Tensor | None) -> NDArray[np.generic]:
    """Cast to the stored type, change valid pixels that equal nodata by 1, and fill holes with nodata."""
    info = np.iinfo(packing.dtype)
    # float32 rounds the ends of 32-bit ranges outwards, so those are clipped in float64.
    values = steps.numpy(force=True)
    stored = (values if info.bits < 32 else np.clip(values.astype(np.float64), info.min, info.max)).astype(
        packing.dtype
    )
    _avoid_nodata(stored, packing)
    _put_holes(stored, packing, hole)
    return stored


def _avoid_nodata(stored: NDArray[np.generic], packing: Packing) -> None:
    """Change values that equal nodata by one step."""
    nodata = packing.nodata
    if nodata is not None and holds(packing.dtype, nodata):
        clash = stored == int(nodata)
        if clash.any():
            stored[clash] = int(nodata) - 1 if nodata > np.iinfo(packing.dtype).min else int(nodata) + 1


def _put_holes(stored: NDArray[np.generic], packing: Packing, hole: torch.Tensor | None) -> None:
    if hole is None:
        return
    where = hole.numpy(force=True)
    if where.any():
        stored[where] = empty_value(packing)


def empty_value(packing: Packing) -> float | int:
    """Return the stored value of pixels without data."""
    if packing.is_float:
        return float("nan") if packing.nodata is None else packing.nodata
    return 0 if packing.nodata is None else int(packing.nodata)
