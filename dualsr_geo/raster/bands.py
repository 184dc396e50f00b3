"""The spectral axis: what a band is called, where it lies, and how its numbers are stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import BandError, OptionError


@dataclass(frozen=True)
class Band:
    """One spectral channel of a scene.

    Attributes
    ----------
    name : str or None
        What the file calls it.
    wavelength_nm, fwhm_nm : float or None
        Centre and full width at half maximum.
    good : bool
        False where the provider marks the band as bad (ENVI `bbl`).
    unit : str or None
        Physical unit of the values after scale and offset.
    color : str
        GDAL colour interpretation in lower case, e.g. ``"red"``, ``"gray"``, ``"undefined"``.
    tags : mapping
        The band's own metadata (GDAL's default domain), carried along untouched.
    """

    name: str | None = None
    wavelength_nm: float | None = None
    fwhm_nm: float | None = None
    good: bool = True
    unit: str | None = None
    color: str = "undefined"
    tags: Mapping[str, str] = field(default_factory=dict)


def parse_bidx(text: str, count: int) -> tuple[int, ...]:
    """Read a band selection as rio does: ``"1"``, ``"1,3"``, ``"2..5"``, ``"..3"``, ``"4.."``.

    Parameters
    ----------
    text : str
        One-based indices and inclusive ranges, separated by commas.
    count : int
        Bands that the scene has.

    Returns
    -------
    tuple of int
        Zero-based indices in the order asked for.

    Raises
    ------
    BandError
        If an index lies outside 1..count, or nothing is selected.
    """
    chosen: list[int] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        first, dots, last = part.partition("..")
        try:
            low = int(first or 1)
            high = int(last or count) if dots else low
        except ValueError:
            raise BandError(f"`{part}` is no band index. Give --bidx as 1, 1,3 or 2..5.") from None
        for index in (low, high):
            if not 1 <= index <= count:
                raise BandError(
                    f"Band {index} was asked for, but the scene has bands 1 to {count}. Give --bidx within 1..{count}."
                )
        chosen.extend(range(low - 1, high))
    if not chosen:
        raise BandError(f"No band was asked for; the scene has {count}. Leave --bidx out for all.")
    return tuple(chosen)


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


# Names as ENVI, GDAL, CF and the providers write them, in lower case.
_NM_PER_UNIT = {
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1.0),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns"), 1e3),
    **dict.fromkeys(("micrometer", "micrometers", "micrometre", "micrometres"), 1e3),
    **dict.fromkeys(("m", "meter", "metre"), 1e9),
}


def nm_per_unit(unit: str | None, wavelength: float) -> float | None:
    """Return how many nanometres the unit of a wavelength has.

    Parameters
    ----------
    unit : str or None
        As the file writes it.
    wavelength : float
        Tells the unit where the file does not: below 100 it is in micrometres.

    Returns
    -------
    float or None
        None if the unit is no length, e.g. a wavenumber.
    """
    text = (unit or "unknown").strip().lower()
    if text in ("", "unknown"):
        return 1e3 if wavelength < 100 else 1.0
    return _NM_PER_UNIT.get(text)
