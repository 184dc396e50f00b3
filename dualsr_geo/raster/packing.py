"""Packing: scale, offset and nodata value, by which physical values are stored."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import DualSRWarning, InputError, OptionError

if TYPE_CHECKING:
    from dualsr_geo.raster.normalization import Normalization

# Float values within this fraction of the nodata value are nodata.
NODATA_TOLERANCE = 1e-6
# A nodata value as a user gives it: that of undeclared fill, if there is any, for "auto".
Nodata = float | Literal["auto"] | None
# Range of the magnitude of a scale, and largest magnitude of an offset: with any other, the physical values of 16-bit
# integers, or their steps, leave the range of a 32-bit float.
SCALE_LIMITS = (1e-30, 1e30)


@dataclass(frozen=True)
class Decoding:
    """Scale, offset and nodata value of each band of a file, by which stored values become physical."""

    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    nodata: tuple[float | None, ...]
    # Of a scene that 32-bit floats do not hold as it is (raster/normalization.py): physical value of each band that
    # becomes 0, and the unit of the result.
    origins: tuple[float, ...] | None = None
    unit: float = 1.0
    dtype: Literal["float32", "float64"] = "float32"

    def select(self, indices: Sequence[int]) -> Decoding:
        """Return the decoding of some of the bands."""
        return Decoding(
            tuple(self.scales[i] for i in indices),
            tuple(self.offsets[i] for i in indices),
            tuple(self.nodata[i] for i in indices),
            None if self.origins is None else tuple(self.origins[i] for i in indices),
            self.unit,
            self.dtype,
        )

    def normalized(self, normalization: Normalization) -> Decoding:
        """Return the decoding whose physical values are shifted and scaled."""
        n = normalization
        return replace(self, origins=n.origins, unit=n.unit, dtype=n.dtype)

    def physical(self, stored: NDArray[Any], bands: Sequence[int]) -> NDArray[np.float32]:
        """Return ``stored * scale + offset``, NaN where nodata or not finite; less origin and by unit, if there are.

        Parameters
        ----------
        stored : array, shape (band, y, x)
        bands : sequence of int
            Zero-based band of each plane of `stored`.

        Raises
        ------
        InputError
            If a value is beyond the range of a 32-bit float.
        """
        out = np.empty(stored.shape, self.dtype)
        # A band at a time in float64: rounded once, and never a float64 copy of the cube.
        for values, band, target in zip(stored, bands, out, strict=True):
            with np.errstate(over="ignore", invalid="ignore"):
                target[...] = self._physical(values, band)
            missing = _is_nodata(values, self.nodata[band]) | ~np.isfinite(values)
            target[missing] = np.nan
            if not np.isfinite(target).all():
                _require_range(values, target, missing, band)
        return out

    def _physical(self, values: NDArray[Any], band: int) -> NDArray[np.float64]:
        scale, offset = self.scales[band], self.offsets[band]
        if self.origins is None or self.origins[band] == 0:
            physical: NDArray[np.float64] = np.multiply(values, scale, dtype=np.float64) + offset
            return physical if self.unit == 1 else physical / self.unit
        origin = self.origins[band]
        # In stored values, so that integers are subtracted as integers; what is left of the origin is no whole step.
        start = (origin - offset) / scale
        if values.dtype.kind != "f":
            start = round(start)
        rest = (start * scale + offset) - origin
        return (_difference(values, start) * scale + rest) / self.unit


def _difference(values: NDArray[Any], start: float) -> NDArray[np.float64]:
    """Return ``values - start``, exact for integers of 64 bits that are near each other."""
    rounded = values.astype(np.float64)
    if values.dtype.kind == "f" or values.dtype.itemsize < 8:
        return rounded - start
    info = np.iinfo(values.dtype)
    nearest = min(max(int(start), int(info.min)), int(info.max))
    # Unsigned arithmetic is modular: the difference is right wherever it fits 64 bits with sign.
    near = (values.view(np.uint64) - np.array(nearest, values.dtype).view(np.uint64)).view(np.int64)
    far = rounded - float(nearest)
    return np.where(np.abs(far) < 2.0**62, near.astype(np.float64), far) + float(nearest - int(start))


def _require_range(values: NDArray[Any], physical: NDArray[np.floating], missing: NDArray[np.bool_], band: int) -> None:
    """Check that every value that is there is finite as a physical one."""
    lost = ~np.isfinite(physical) & ~missing
    if lost.any():
        value = float(values[lost][0])
        raise InputError(
            f"Band {band + 1} holds the stored value {value:g}, which makes no 32-bit float. If it marks missing pixels, "
            f"give --nodata {value:g}; else leave the band out by --bidx."
        )


def _is_nodata(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | np.bool_:
    if nodata is None or math.isnan(nodata):
        return np.False_
    if values.dtype.kind != "f":
        return np.asarray(values == int(nodata))
    # Headers round the nodata value of floats, e.g. -3.4028231e+38 for -3.4028235e+38.
    with np.errstate(over="ignore", invalid="ignore"):
        difference = np.abs(values - values.dtype.type(nodata))
    return np.asarray(difference <= NODATA_TOLERANCE * abs(nodata))


def require_numbers(dtype: str, where: str) -> None:
    """Check that values are real numbers.

    Raises
    ------
    InputError
        If they are complex, text, dates or truth values.
    """
    if not is_real(dtype):
        raise InputError(
            f"{where} holds values of type {dtype}, which cannot be sharpened. "
            "Give a raster of integers or real numbers, e.g. the amplitude."
        )


def is_real(dtype: str) -> bool:
    """Say whether a type is of integers or real numbers; False for one that NumPy does not have."""
    try:
        return np.dtype(dtype).kind in "iuf"
    except TypeError:
        # GDAL's complex_int16 is no NumPy type.
        return False


def require_packing(scales: Sequence[float], offsets: Sequence[float], where: str, way_out: str) -> None:
    """Check that stored values can be made physical by scale and offset, and physical ones stored.

    Parameters
    ----------
    scales, offsets : sequence of float
        One per band.
    where : str
        Name of the file, and of the tag where it is not the scale, in messages.
    way_out : str
        What the user can do, a sentence.

    Raises
    ------
    InputError
        If a scale is 0 or not finite, an offset is not finite, or one is beyond `SCALE_LIMITS`.
    """
    smallest, largest = SCALE_LIMITS
    for band, (scale, offset) in enumerate(zip(scales, offsets, strict=True), 1):
        if not smallest <= abs(scale) <= largest:
            raise InputError(
                f"{where} states the scale {scale:g} for band {band}, by which no stored value becomes a physical one. {way_out}"
            )
        if not abs(offset) <= largest:
            raise InputError(
                f"{where} states the offset {offset:g} for band {band}, which no physical value can have. {way_out}"
            )


def reflectance_divisor(text: str, where: str) -> float:
    """Read the ``reflectance scale factor`` of an ENVI header, by which stored values are divided.

    Raises
    ------
    InputError
        If it is no positive number within `SCALE_LIMITS`.
    """
    try:
        divisor = float(text)
    except ValueError:
        divisor = math.nan
    if not SCALE_LIMITS[0] <= divisor <= SCALE_LIMITS[1]:
        raise InputError(
            f"{where} states the reflectance scale factor {text} in its ENVI header, by which values cannot be divided. "
            "Give a positive number there, e.g. 10000, or remove the line."
        )
    return divisor


def resolve_nodata(stated: float | None, requested: float | None, dtype: str, where: str) -> float | None:
    """Return the nodata value that applies: the requested one, else the stated one if the dtype can hold it.

    Parameters
    ----------
    stated : float or None
        By the file.
    requested : float or None
        By the user.
    dtype : str
    where : str
        Name of the file in messages.

    Raises
    ------
    OptionError
        If the requested value does not fit the dtype.
    InputError
        If the stated value is infinite.
    """
    if requested is not None:
        _require_fit(dtype, requested)
        return float(requested)
    if stated is not None and math.isinf(stated):
        raise InputError(
            f"{where} states nodata {stated:g}, which is no value. Set the right one (rio edit-info --nodata), "
            "or give --nodata; infinite pixels are missing anyway."
        )
    if stated is not None and not holds(dtype, stated):
        warnings.warn(
            f"{where} states nodata {stated:g}, which {dtype} cannot hold; it is ignored. "
            "Give --nodata if another value marks missing pixels.",
            DualSRWarning,
            stacklevel=2,
        )
        return None
    return None if stated is None else float(stated)


@dataclass(frozen=True)
class Packing:
    """How physical values are stored: ``physical = stored * scale + offset``.

    Attributes
    ----------
    dtype : str
        NumPy name of the stored type.
    scales, offsets : tuple of float
        One per band.
    nodata : float or None
        The stored value of missing pixels; may be NaN for floats.
    """

    dtype: str
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    nodata: float | None = None

    def select(self, indices: tuple[int, ...]) -> Packing:
        """Return the packing of some of the bands."""
        return replace(
            self,
            scales=tuple(self.scales[i] for i in indices),
            offsets=tuple(self.offsets[i] for i in indices),
        )

    def cast(self, dtype: str | None = None, nodata: float | None = None) -> Packing:
        """Return this packing in another dtype or with another nodata value.

        A float product holds physical values; an integer one keeps scale and offset.

        Raises
        ------
        OptionError
            If `nodata` does not fit the dtype.
        """
        packing = self if dtype is None or dtype == self.dtype else self._in_dtype(dtype)
        if nodata is None:
            return packing
        _require_fit(packing.dtype, nodata)
        return replace(packing, nodata=nodata)

    def _in_dtype(self, dtype: str) -> Packing:
        kind = np.dtype(dtype).kind
        if kind == "f":
            ones, zeros = (1.0,) * len(self.scales), (0.0,) * len(self.scales)
            return Packing(dtype, ones, zeros, None if self.nodata is None else float("nan"))
        if kind in "iu":
            fits = self.nodata is not None and holds(dtype, self.nodata)
            return replace(self, dtype=dtype, nodata=self.nodata if fits else None)
        raise OptionError(f"--dtype {dtype} cannot hold a spectrum. Give an integer or float type.")

    @property
    def is_float(self) -> bool:
        """Whether values are stored as floating point numbers."""
        return np.dtype(self.dtype).kind == "f"

    @property
    def deviations(self) -> Packing:
        """The packing of standard deviations of these values: the same steps, no offset."""
        return replace(self, scales=tuple(map(abs, self.scales)), offsets=(0.0,) * len(self.offsets))


def _require_fit(dtype: str, nodata: float) -> None:
    """Check that a nodata value that the user gives can be stored."""
    if math.isinf(nodata):
        raise OptionError(
            f"--nodata {nodata:g} is no value. Give a finite one or nan; infinite pixels are missing anyway."
        )
    if not holds(dtype, nodata):
        raise OptionError(f"--nodata {nodata:g} does not fit {dtype}. Give a value that {dtype} holds.")


def holds(dtype: str, value: float) -> bool:
    """Say whether a stored type can hold a value exactly."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return True
    info = np.iinfo(kind)
    return bool(np.isfinite(value)) and float(value).is_integer() and info.min <= value <= info.max
