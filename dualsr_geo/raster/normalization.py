"""Normalization: the shift of each band and the common unit by which values are computed in 32-bit floats.

A 32-bit float has 24 bits. Counts above 2^24, and 64-bit floats that vary little around a large value, lose their steps
in it, and values beyond its range are lost. Such scenes are computed as ``(physical - origin) / unit``: every method
that is used on them is affine in the values of a band.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import InputError
from dualsr_geo.raster.packing import Packing

# Types with more bits than a 32-bit float: their values are looked at in 64-bit floats first.
WIDE_TYPES = frozenset({"int32", "uint32", "int64", "uint64", "float64"})
# Integers up to this number of steps from 0 are computed as they are: half a step is the rounding of a 32-bit float.
MAX_STEPS = 2.0**23
# A band of integers that spans more steps than a 32-bit float has cannot be computed to the last one.
MAX_SPAN_STEPS = 2.0**24
# 64-bit floats are computed as they are up to this ratio of value and range: 2^16 steps are left of the range then, as
# many as 16-bit integers have.
MAX_VALUE_TO_RANGE = 256.0
# A product of 32-bit floats that has fewer steps than this between the values of a band is constant, or nearly so.
MIN_FLOAT32_STEPS = 16
# Magnitudes that are computed as they are. Their squares, and sums of these, are within the range of a 32-bit float: with
# magnitudes from 5e-15 to 5e13 products are the same to the bit, and beyond they are not.
MAGNITUDES = (2.0**-46, 2.0**43)
# Bands whose usual magnitude is by more than this factor below the largest value are lost next to it.
MAX_DYNAMIC_RANGE = 2.0**60


@dataclass(frozen=True)
class Normalization:
    """How physical values are shifted and scaled: ``(physical - origin) / unit``.

    Attributes
    ----------
    origins : tuple of float
        One per band, physical units.
    unit : float
        A power of two, physical units.
    dtype : {"float32", "float64"}
        Type of the result.
    """

    origins: tuple[float, ...]
    unit: float = 1.0
    dtype: Literal["float32", "float64"] = "float32"

    @classmethod
    def exact(cls, count: int) -> Normalization:
        """Return the one by which values stay as they are, in 64-bit floats."""
        return cls((0.0,) * count, dtype="float64")

    def select(self, indices: Sequence[int]) -> Normalization:
        """Return the normalization of some of the bands."""
        return replace(self, origins=tuple(self.origins[i] for i in indices))

    @property
    def deviations(self) -> Normalization:
        """The normalization of standard deviations of these values: the same unit, no origin."""
        return replace(self, origins=(0.0,) * len(self.origins))


@dataclass(frozen=True)
class BandRange:
    """Smallest and largest valid value of a band, physical units; NaN of a band without any."""

    low: float
    high: float

    @classmethod
    def of(cls, cubes: Sequence[NDArray[np.floating]], band: int) -> BandRange:
        """Return the range of a band over parts of a scene, (band, y, x), NaN where it has no value."""
        planes = [c[band].ravel() for c in cubes]
        low, high = (f.reduce([f.reduce(p) for p in planes if len(p)]) for f in (np.fmin, np.fmax))
        return cls(float(low), float(high))


def choose_normalization(
    cubes: Sequence[NDArray[np.floating]], stored: str, packing: Packing, *, first_band: int = 0
) -> Normalization | None:
    """Return the normalization that a scene needs; None where 32-bit floats hold its values as they are.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
        Parts of the scene, physical units, NaN where it has no value.
    stored : str
        Type in which the scene is stored.
    packing : Packing
        Of the product.
    first_band : int
        Zero-based number of the first of these bands in the scene, for messages.

    Raises
    ------
    InputError
        If a band spans more than 32-bit floats hold.
    """
    ranges = [BandRange.of(cubes, band) for band in range(len(packing.scales))]
    origins = tuple(_origin(band, extent, stored, packing, first_band) for band, extent in enumerate(ranges))
    largest = max((_reach(r, o) for r, o in zip(ranges, origins, strict=True)), default=0.0)
    unit = 1.0
    if largest > 0 and not MAGNITUDES[0] <= largest <= MAGNITUDES[1]:
        # The smallest 64-bit floats have no reciprocal.
        unit = 2.0 ** max(math.floor(math.log2(largest)), -1000)
        _require_dynamic_range(cubes, origins, largest, first_band)
    return None if unit == 1 and not any(origins) else Normalization(origins, unit)


def _reach(extent: BandRange, origin: float) -> float:
    """Return the largest magnitude of a band from its origin; 0 for a band without values."""
    if math.isnan(extent.low):
        return 0.0
    return max(abs(extent.low - origin), abs(extent.high - origin))


def _origin(band: int, extent: BandRange, stored: str, packing: Packing, first_band: int) -> float:
    """Return the origin that a band needs, or 0."""
    if math.isnan(extent.low) or (stored not in WIDE_TYPES and packing.is_float):
        return 0.0
    largest = _reach(extent, 0.0)
    if packing.is_float:
        span = extent.high - extent.low
        if packing.dtype == "float32" and 0 < span < MIN_FLOAT32_STEPS * largest * 2.0**-23:
            raise InputError(
                f"Band {first_band + band + 1} of the scene holds values from {extent.low:.17g} to {extent.high:.17g}, between which "
                f"32-bit floats have fewer than {MIN_FLOAT32_STEPS} steps. Give --dtype {stored}, or another one."
            )
        fine = largest <= MAX_VALUE_TO_RANGE * span if span > 0 else _is_float32(extent.low)
        return extent.low if packing.dtype == "float64" and not fine else 0.0
    step = abs(packing.scales[band])
    if largest <= MAX_STEPS * step:
        return 0.0
    if extent.high - extent.low > MAX_SPAN_STEPS * step and stored in WIDE_TYPES:
        raise InputError(
            f"Band {first_band + band + 1} of the scene holds values from {extent.low:.10g} to {extent.high:.10g} in steps of "
            f"{step:g}, more than the {MAX_SPAN_STEPS:.0f} steps of the 32-bit floats in which they are computed. Give "
            "--nodata if one end marks missing pixels, --dtype float32 to round the values, or --bidx without the band."
        )
    return extent.low


def _is_float32(value: float) -> bool:
    with np.errstate(over="ignore"):
        return float(np.float32(value)) == value


def _require_dynamic_range(
    cubes: Sequence[NDArray[np.floating]], origins: Sequence[float], largest: float, first_band: int
) -> None:
    """Check that no band is lost next to the largest value of the scene."""
    for band, origin in enumerate(origins):
        magnitudes = np.abs(np.concatenate([c[band].ravel() for c in cubes]).astype(np.float64))
        magnitudes = magnitudes[magnitudes > 0]
        usual = float(np.median(magnitudes)) if len(magnitudes) else 0.0
        if origin == 0 and 0 < usual < largest / MAX_DYNAMIC_RANGE:
            raise InputError(
                f"Band {first_band + band + 1} of the scene has values of about {usual:g}, and the largest value of the scene is "
                f"{largest:g}: 32-bit floats do not hold both. If the largest marks missing pixels, give it as --nodata; "
                "else leave its band out by --bidx."
            )
