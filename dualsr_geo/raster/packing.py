"""Stored values made physical: scale, offset, nodata."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import DualSRWarning, InputError, OptionError
from dualsr_geo.raster.bands import holds


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
