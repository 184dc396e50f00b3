"""From physical values to stored ones: cut overshoot, round, clip, mask, and count all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.raster.packing import Packing, holds

# An overshoot is what lies below the minimum of the 5 x 5 lr pixels around it, too.
NEAR_LR = 5


def floor(window: torch.Tensor, low: float, core: tuple[slice, slice], ratio: int) -> torch.Tensor | None:
    """Return the lowest value allowed where the scene itself goes below `low`; None where it does not.

    The survey's minimum comes from a sample. Where a window holds darker pixels the limit
    follows them, with finite support, so that tiles agree.

    Parameters
    ----------
    window : Tensor, shape (band, y, x)
        The padded lr window, NaN-free.
    low : float
        The survey's minimum.
    core : (slice, slice)
        Rows and columns of the core in the window.
    ratio : int

    Returns
    -------
    Tensor, shape (band, ratio * y, ratio * x), or None
    """
    if float(window.amin()) >= low:
        return None
    near = -torch.nn.functional.max_pool2d(-window[None], NEAR_LR, 1, NEAR_LR // 2)[0]
    own = near[:, core[0], core[1]].clamp_max(low)
    return own.repeat_interleave(ratio, 1).repeat_interleave(ratio, 2)


@dataclass(frozen=True)
class Encoded:
    """Some bands of a tile as they are stored.

    Attributes
    ----------
    stored : array, shape (band, Y, X)
    physical : Tensor, shape (band, Y, X)
        What a reader will decode, without the mask.
    cut, saturated : int
        Pixels raised to the scene's own minimum, and pixels at the end of the stored range.
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
) -> Encoded:
    """Store physical values.

    Parameters
    ----------
    values : Tensor, shape (band, Y, X)
        Physical units; changed in place.
    packing : Packing
        Of the whole product.
    rows : slice
        Which of its bands these are.
    low : float or Tensor
        The lowest value allowed.
    hole : Tensor of bool, shape (band, Y, X), or None
        Where nothing is.
    """
    cut = _cut(values, low, hole)
    if packing.is_float:
        stored = values.numpy(force=True).astype(packing.dtype, copy=True)
        _put_holes(stored, packing, hole)
        return Encoded(stored, values, cut, 0)
    scale, offset = (_column(v[rows], values) for v in (packing.scales, packing.offsets))
    steps = (values - offset) if _any(packing.offsets[rows]) else values
    steps = steps / scale if set(packing.scales[rows]) != {1.0} else steps.clone()
    steps.round_()
    info = np.iinfo(packing.dtype)
    saturated = _clip(steps, float(info.min), float(info.max), hole)
    stored = _to_integer(steps, packing, hole)
    physical = steps.mul_(scale).add_(offset)
    return Encoded(stored, physical, cut, saturated)


def encode_deviation(
    values: torch.Tensor, packing: Packing, rows: slice, hole: torch.Tensor | None
) -> NDArray[np.generic]:
    """Store standard deviations, (band, Y, X): rounded up, so that what is doubted never reads 0.

    Parameters
    ----------
    values : Tensor, shape (band, Y, X)
        Physical units; changed in place.
    packing : Packing
        Of the values that deviate.
    rows : slice
    hole : Tensor of bool, shape (band, Y, X), or None
    """
    own = packing.deviations
    if not own.is_float:
        step = _column(own.scales[rows], values)
        values.div_(step).ceil_().mul_(step)
    return encode(values, own, rows, 0.0, hole).stored


def _column(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


def _any(values: tuple[float, ...]) -> bool:
    return any(v != 0 for v in values)


def _cut(values: torch.Tensor, low: float | torch.Tensor, hole: torch.Tensor | None) -> int:
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
    least, most = torch.aminmax(steps)
    if float(least) >= low and float(most) <= high:
        return 0
    out = (steps < low) | (steps > high)
    steps.clamp_(low, high)
    return int(torch.count_nonzero(out if hole is None else out & ~hole))


def _to_integer(steps: torch.Tensor, packing: Packing, hole: torch.Tensor | None) -> NDArray[np.generic]:
    """Cast, keep valid pixels off the nodata value, and put nodata in the holes."""
    info = np.iinfo(packing.dtype)
    # float32 rounds the ends of 32-bit ranges outwards, so those are clipped in float64.
    plain = steps.numpy(force=True)
    stored = (plain if info.bits < 32 else np.clip(plain.astype(np.float64), info.min, info.max)).astype(packing.dtype)
    nodata = packing.nodata
    if nodata is not None and holds(packing.dtype, nodata):
        clash = stored == int(nodata)
        if clash.any():
            stored[clash] = int(nodata) - 1 if nodata > info.min else int(nodata) + 1
    _put_holes(stored, packing, hole)
    return stored


def _put_holes(stored: NDArray[np.generic], packing: Packing, hole: torch.Tensor | None) -> None:
    if hole is None:
        return
    where = hole.numpy(force=True)
    if where.any():
        stored[where] = empty_value(packing)


def empty_value(packing: Packing) -> float | int:
    """Return the stored value that means "nothing here"."""
    if packing.is_float:
        return float("nan") if packing.nodata is None else packing.nodata
    return 0 if packing.nodata is None else int(packing.nodata)
