"""Stored values made physical: scale, offset, nodata."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import DualSRWarning, InputError, OptionError


@dataclass(frozen=True)
class Decoding:
    """How stored values become physical ones, one entry a band."""

    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    nodata: tuple[float | None, ...]

    def select(self, indices: Sequence[int]) -> Decoding:
        """Return the decoding of some of the bands."""
        return Decoding(
            tuple(self.scales[i] for i in indices),
            tuple(self.offsets[i] for i in indices),
            tuple(self.nodata[i] for i in indices),
        )

    def physical(self, stored: NDArray[Any], bands: Sequence[int]) -> NDArray[np.float32]:
        """Return ``stored * scale + offset``, NaN where nodata or not finite.

        Parameters
        ----------
        stored : array, shape (band, y, x)
        bands : sequence of int
            Which bands these are, zero-based.
        """
        out = np.empty(stored.shape, np.float32)
        # A band at a time in float64: rounded once, and never a float64 copy of the cube.
        for values, band, target in zip(stored, bands, out, strict=True):
            wide = np.multiply(values, self.scales[band], dtype=np.float64) + self.offsets[band]
            with np.errstate(over="ignore"):
                target[...] = wide
            target[_is_nodata(values, self.nodata[band]) | ~np.isfinite(target)] = np.nan
        return out


def _is_nodata(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | np.bool_:
    if nodata is None or math.isnan(nodata):
        return np.False_
    if values.dtype.kind != "f":
        return np.asarray(values == int(nodata))
    # Floats: headers round what pixels hold, e.g. -3.4028231e+38 for -3.4028235e+38.
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(values - values.dtype.type(nodata))
    return np.asarray(off <= 1e-6 * abs(nodata))


def require_numbers(dtype: str, where: str) -> None:
    """Check that values are real numbers.

    Raises
    ------
    InputError
        If they are complex, text, dates or truth values.
    """
    if not _is_real(dtype):
        raise InputError(
            f"{where} holds values of type {dtype}, which cannot be sharpened. "
            "Give a raster of integers or real numbers, e.g. the amplitude."
        )


def _is_real(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in "iuf"
    except TypeError:
        # GDAL's complex_int16 is no NumPy type.
        return False


def settle_nodata(stated: float | None, asked: float | None, dtype: str, where: str) -> float | None:
    """Return the nodata value that holds: the one asked for, else the stated one if it is possible.

    Raises
    ------
    OptionError
        If the value asked for does not fit the dtype.
    """
    if asked is not None:
        if not holds(dtype, asked):
            raise OptionError(f"--nodata {asked:g} does not fit {dtype}. Give a value that {dtype} holds.")
        return float(asked)
    if stated is not None and not holds(dtype, stated):
        warnings.warn(
            f"{where} states nodata {stated:g}, which {dtype} cannot hold; it is ignored. "
            "Give --nodata if another value means nothing here.",
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
        One a band.
    nodata : float or None
        The stored value that means "nothing here"; NaN for floats.
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
        new = self
        if dtype is not None and dtype != self.dtype:
            kind = np.dtype(dtype).kind
            ones, zeros = (1.0,) * len(self.scales), (0.0,) * len(self.scales)
            if kind == "f":
                new = Packing(dtype, ones, zeros, None if self.nodata is None else float("nan"))
            elif kind in "iu":
                fits = self.nodata is not None and holds(dtype, self.nodata)
                new = replace(self, dtype=dtype, nodata=self.nodata if fits else None)
            else:
                raise OptionError(f"--dtype {dtype} cannot hold a spectrum. Give an integer or float type.")
        if nodata is not None:
            if not holds(new.dtype, nodata):
                raise OptionError(f"--nodata {nodata:g} does not fit {new.dtype}. Give a value that {new.dtype} holds.")
            new = replace(new, nodata=nodata)
        return new

    @property
    def is_float(self) -> bool:
        """Whether values are stored as floating point numbers."""
        return np.dtype(self.dtype).kind == "f"

    @property
    def deviations(self) -> Packing:
        """How standard deviations of these values are stored: in the same steps, without an offset."""
        return replace(self, scales=tuple(map(abs, self.scales)), offsets=(0.0,) * len(self.offsets))

    def steps(self) -> NDArray[np.float64]:
        """Return the physical size of one stored step of each band, shape (band,); 0 for floats."""
        size = np.abs(np.asarray(self.scales, dtype=np.float64))
        return np.zeros_like(size) if self.is_float else size


def holds(dtype: str, value: float) -> bool:
    """Say whether a stored type can hold a value exactly."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return True
    info = np.iinfo(kind)
    return bool(np.isfinite(value)) and float(value).is_integer() and info.min <= value <= info.max
