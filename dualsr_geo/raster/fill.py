"""Undeclared fill: missing pixels that hold a number which no metadata name, such as 0 around a rotated scene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.packing import Packing

# Share of the pixels from which fill is reported.
MIN_SHARE = 0.01
# Values that software fills with, besides 0 and the ends of a type; the last is that of netCDF.
USUAL_FILL = (-9999.0, -99999.0, -999.0, -32768.0, -32767.0, 9999.0, 1e20, 9.969209968386869e36)
# Fill is connected: regions of fewer pixels are noise, and this share of the pixels is in larger ones.
MIN_REGION_PX = 16
MIN_CONNECTED_SHARE = 0.8
# Fill ends abruptly: shadows, water and saturated clouds have neighbours of nearly the same value. A neighbour is near
# if its distance from the fill is below this share of the usual one of the scene, and fill has fewer near ones.
NEAR_SHARE = 0.1
MAX_NEAR_SHARE = 0.2
# Where more neighbours than this share are equal in all bands, the raster is a map of labels or flags, and 0 is a class.
MAX_EQUAL_SHARE = 0.5
# The end of the sentence on fill, by which it is found among the notes of a survey.
ADVICE = "or --nodata auto if they are missing."


@dataclass(frozen=True)
class Fill:
    """Pixels that look like fill.

    Attributes
    ----------
    value : float
        As it is stored.
    share : float
        Of the pixels that are looked at, 0..1.
    """

    value: float
    share: float

    @property
    def note(self) -> str:
        """The fill in a sentence for the user, with the way out."""
        return (
            f"{self.share:.0%} of the scene's pixels are exactly {self.value:g} in all bands, in connected areas with "
            f"sharp edges: they look like missing pixels and are used as measured ones. Give --nodata {self.value:g} "
            f"{ADVICE}"
        )


def find_fill(
    cubes: Sequence[NDArray[np.floating]], packing: Packing, normalization: Normalization | None = None
) -> Fill | None:
    """Return the fill that parts of a scene hold undeclared; None without any.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
        Physical values, NaN where missing.
    packing : Packing
        Of the scene.
    normalization : Normalization, optional
        By which the values are shifted and scaled.
    """
    count = sum(int(np.isfinite(c[0]).sum()) for c in cubes)
    for stored in _candidates(packing):
        values = _physical(stored, packing, normalization, cubes[0].dtype)
        masks = [_equal(c, values) for c in cubes]
        share = sum(int(m.sum()) for m in masks) / max(count, 1)
        if (
            MIN_SHARE <= share < 1
            and _is_connected(masks)
            and _is_abrupt(cubes, masks, values)
            and _is_measured(cubes, masks)
        ):
            return Fill(stored, share)
    return None


def _candidates(packing: Packing) -> Iterator[float]:
    """Yield the stored values that fill has."""
    yield 0.0
    if packing.is_float:
        info = np.finfo(packing.dtype)
        yield from (float(info.min), float(info.max), float(np.finfo(np.float32).min), *USUAL_FILL)
        return
    ends = np.iinfo(packing.dtype)
    yield from {float(v) for v in (ends.min, ends.max) if v != 0}
    yield from (v for v in USUAL_FILL if ends.min < v < ends.max)


def _physical(
    stored: float, packing: Packing, normalization: Normalization | None, dtype: np.dtype[np.floating]
) -> NDArray[np.floating]:
    """Return the value of every band, as the cubes hold it."""
    with np.errstate(over="ignore"):
        values = stored * np.array(packing.scales) + np.array(packing.offsets)
        if normalization is not None:
            values = (values - np.array(normalization.origins)) / normalization.unit
        result: NDArray[np.floating] = values.astype(dtype)
    return result


def _equal(cube: NDArray[np.floating], values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return where all bands have these values, (y, x)."""
    mask: NDArray[np.bool_] = cube[0] == values[0]
    for plane, value in zip(cube[1:], values[1:], strict=True):
        if not mask.any():
            break
        mask = mask & (plane == value)
    return mask


def _is_connected(masks: Sequence[NDArray[np.bool_]]) -> bool:
    total = connected = 0
    for mask in masks:
        labels, _ = ndimage.label(mask)
        sizes = np.bincount(labels.ravel())[1:]
        total += int(sizes.sum())
        connected += int(sizes[sizes >= MIN_REGION_PX].sum())
    return connected >= MIN_CONNECTED_SHARE * total


def _is_measured(cubes: Sequence[NDArray[np.floating]], masks: Sequence[NDArray[np.bool_]]) -> bool:
    """Say whether the other pixels differ from their neighbours, as measured ones do and those of a map of labels do not."""
    equal = total = 0
    for cube, mask in zip(cubes, masks, strict=True):
        both = ~mask[:, 1:] & ~mask[:, :-1] & np.isfinite(cube[0, :, 1:]) & np.isfinite(cube[0, :, :-1])
        equal += int(((cube[:, :, 1:] == cube[:, :, :-1]).all(0) & both).sum())
        total += int(both.sum())
    return equal <= MAX_EQUAL_SHARE * total


def _is_abrupt(
    cubes: Sequence[NDArray[np.floating]], masks: Sequence[NDArray[np.bool_]], values: NDArray[np.floating]
) -> bool:
    """Say whether the pixels next to the fill are as far from its value as others are."""
    distances = [np.abs(c - values[:, None, None]).mean(0) for c in cubes]
    next_to = [ndimage.binary_dilation(m) & ~m for m in masks]
    edge = np.concatenate([d[n] for d, n in zip(distances, next_to, strict=True)])
    rest = np.concatenate([d[~m] for d, m in zip(distances, masks, strict=True)])
    edge, rest = edge[np.isfinite(edge)], rest[np.isfinite(rest)]
    if not len(edge) or not len(rest):
        return len(rest) > 0
    return bool((edge < NEAR_SHARE * np.median(rest)).mean() < MAX_NEAR_SHARE)
