"""What files say of a band's wavelength, in all their dialects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Names as ENVI, GDAL, CF and the providers write them, in lower case.
_NM_PER_UNIT = {
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1.0),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns"), 1e3),
    **dict.fromkeys(("micrometer", "micrometers", "micrometre", "micrometres"), 1e3),
    **dict.fromkeys(("m", "meter", "metre"), 1e9),
}

# What variables that list the bands are called.
WAVELENGTH_NAMES = ("wavelength", "wavelengths")
GOOD_NAMES = ("good_band", "good_bands", "good_wavelengths", "bbl")
# How GDAL calls the bands of ENVI files, `red (650.0 Nanometers)`, the one place where copies of copies keep them.
IN_NAME = re.compile(r"\(\s*([0-9]+(?:\.[0-9]*)?)\s*([A-Za-zµμ]+)\s*\)\s*$")
# A name may also end in a pixel size, `B8A (20 m)`.
OPTICAL_NM = (100.0, 20000.0)
# Half of the last digit that GDAL writes, and a little for the double in between.
IMAGERY_ROUNDING_NM = 0.501


@dataclass(frozen=True)
class Spectrum:
    """Centre, width and quality of one band; None where nothing is said."""

    wavelength_nm: float | None = None
    fwhm_nm: float | None = None
    good: bool | None = None

    def or_else(self, other: Spectrum) -> Spectrum:
        """Return this, completed by another where it says nothing."""
        return Spectrum(
            other.wavelength_nm if self.wavelength_nm is None else self.wavelength_nm,
            other.fwhm_nm if self.fwhm_nm is None else self.fwhm_nm,
            other.good if self.good is None else self.good,
        )


def in_nm(wavelength: float | None, fwhm: float | None, good: float | None = None, unit: str | None = None) -> Spectrum:
    """Return a spectrum in nm; a FWHM is in the unit of its wavelength."""
    flag = None if good is None else bool(good)
    if wavelength is None or not np.isfinite(wavelength) or wavelength <= 0:
        return Spectrum(good=flag)
    factor = nm_per_unit(unit, wavelength)
    if factor is None:
        return Spectrum(good=flag)
    wide = fwhm is not None and np.isfinite(fwhm) and fwhm > 0
    # Twelve digits: 0.41824 um is 418.24 nm, not 418.23999999999995.
    return Spectrum(_round(wavelength * factor), _round(fwhm * factor) if wide and fwhm else None, flag)


def from_tags(tags: Mapping[str, str], unit: str | None = None) -> Spectrum:
    """Read a band's own tags.

    Parameters
    ----------
    tags : mapping
        The band's default GDAL domain.
    unit : str or None
        Unit of the wavelength where the tags name none.
    """
    low = {k.lower(): v for k, v in tags.items()}
    unit = low.get("wavelength_units") or low.get("wavelength_unit") or unit
    width = low.get("fwhm") or low.get("bandwidth")
    return in_nm(number(low.get("wavelength")), number(width), number(low.get("bbl")), unit)


def from_imagery(imagery: Mapping[str, str], own: Spectrum) -> Spectrum:
    """Read a band's IMAGERY domain, completed by what else the file says.

    GDAL fills the domain from ENVI headers rounded to a nanometre; where the file's own number
    agrees so far, it is the better one.
    """
    centre, wide = imagery.get("CENTRAL_WAVELENGTH_UM"), imagery.get("FWHM_UM")
    known = in_nm(number(centre), number(wide), unit="um")
    if known.wavelength_nm is None or own.wavelength_nm is None:
        return known.or_else(own)
    same = abs(known.wavelength_nm - own.wavelength_nm) <= IMAGERY_ROUNDING_NM
    return own.or_else(known) if same else known.or_else(own)


def from_name(name: str | None) -> Spectrum:
    """Read the wavelength that a band's name ends in, in parentheses and with its unit."""
    found = IN_NAME.search(name or "")
    known = Spectrum() if found is None else in_nm(number(found[1]), None, unit=found[2])
    inside = known.wavelength_nm is not None and OPTICAL_NM[0] <= known.wavelength_nm <= OPTICAL_NM[1]
    return known if inside else Spectrum()


def from_envi(items: Mapping[str, str], count: int) -> list[Spectrum]:
    """Read the lists of an ENVI header, one entry a band; empty where there are none."""
    columns = [parse_list(items.get(k)) for k in ("wavelength", "fwhm", "bbl")]
    return from_columns(columns, count, items.get("wavelength_units"))


def from_columns(columns: Sequence[Sequence[float | None]], count: int, unit: str | None) -> list[Spectrum]:
    """Combine lists of wavelength, FWHM and goodness; a list of another length is left out."""
    whole = [c if len(c) == count else [None] * count for c in columns]
    if all(len(c) != count for c in columns):
        return []
    return [in_nm(w, f, g, unit) for w, f, g in zip(*whole, strict=True)]


def parse_list(text: str | None) -> list[float | None]:
    """Read ``{ 1 , 2 }`` or ``1, 2``; what is no number becomes None."""
    inner = (text or "").strip().strip("{}").strip()
    return [number(part) for part in inner.split(",")] if inner else []


def number(text: str | None) -> float | None:
    """Read a number; None if it is none."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _round(value: float) -> float:
    return float(f"{value:.12g}")


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
