"""Wavelength, width and quality of bands, in the notations that files use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Units as ENVI, GDAL, CF and the providers write them, in lower case.
_NM_PER_UNIT = {
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1.0),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns"), 1e3),
    **dict.fromkeys(("micrometer", "micrometers", "micrometre", "micrometres"), 1e3),
    **dict.fromkeys(("m", "meter", "metre"), 1e9),
}

# Names of the variables that list wavelengths and good bands.
WAVELENGTH_NAMES = ("wavelength", "wavelengths")
GOOD_NAMES = ("good_band", "good_bands", "good_wavelengths", "bbl")
# End of a band's name in ENVI files that GDAL reads, `red (650.0 Nanometers)`; repeated copies of a file
# keep the wavelength only there.
WAVELENGTH_IN_NAME = re.compile(r"\(\s*([0-9]+(?:\.[0-9]*)?)\s*([A-Za-zµμ]+)\s*\)\s*$")
# Wavelengths that a name can state: it may also end in a pixel size, `B8A (20 m)`.
OPTICAL_NM = (100.0, 20000.0)
# Half of the last digit that GDAL writes in the IMAGERY domain, and the rounding of a double.
IMAGERY_ROUNDING_NM = 0.501

# Wavelengths without a unit below this number are in micrometres, others in nanometres.
LARGEST_UM = 100


@dataclass(frozen=True)
class Spectrum:
    """Centre, width and quality of one band; None where the file does not state them."""

    wavelength_nm: float | None = None
    fwhm_nm: float | None = None
    good: bool | None = None

    def or_else(self, other: Spectrum) -> Spectrum:
        """Return this spectrum, with the values of another where it has None."""
        return Spectrum(
            other.wavelength_nm if self.wavelength_nm is None else self.wavelength_nm,
            other.fwhm_nm if self.fwhm_nm is None else self.fwhm_nm,
            other.good if self.good is None else self.good,
        )


def in_nm(wavelength: float | None, fwhm: float | None, good: float | None = None, unit: str | None = None) -> Spectrum:
    """Return a spectrum in nm; the FWHM is in the unit of the wavelength."""
    flag = None if good is None else bool(good)
    if wavelength is None or not np.isfinite(wavelength) or wavelength <= 0:
        return Spectrum(good=flag)
    factor = nm_per_unit(unit, wavelength)
    if factor is None:
        return Spectrum(good=flag)
    has_width = fwhm is not None and np.isfinite(fwhm) and fwhm > 0
    # Twelve digits: 0.41824 um is 418.24 nm, not 418.23999999999995.
    return Spectrum(_round(wavelength * factor), _round(fwhm * factor) if has_width and fwhm else None, flag)


def from_tags(tags: Mapping[str, str], unit: str | None = None) -> Spectrum:
    """Read the tags of a band.

    Parameters
    ----------
    tags : mapping
        Its default GDAL domain.
    unit : str or None
        Unit of the wavelength where the tags have none.
    """
    low = {k.lower(): v for k, v in tags.items()}
    unit = low.get("wavelength_units") or low.get("wavelength_unit") or unit
    width = low.get("fwhm") or low.get("bandwidth")
    return in_nm(number(low.get("wavelength")), number(width), number(low.get("bbl")), unit)


def from_imagery(imagery: Mapping[str, str], other: Spectrum) -> Spectrum:
    """Read the IMAGERY domain of a band, completed by what else the file states.

    GDAL fills the domain from ENVI headers rounded to a nanometre; where the other statement agrees
    within that, it takes precedence.
    """
    centre, width = imagery.get("CENTRAL_WAVELENGTH_UM"), imagery.get("FWHM_UM")
    spectrum = in_nm(number(centre), number(width), unit="um")
    if spectrum.wavelength_nm is None or other.wavelength_nm is None:
        return spectrum.or_else(other)
    same = abs(spectrum.wavelength_nm - other.wavelength_nm) <= IMAGERY_ROUNDING_NM
    return other.or_else(spectrum) if same else spectrum.or_else(other)


def from_name(name: str | None) -> Spectrum:
    """Read the wavelength at the end of a band's name, in parentheses and with its unit."""
    match = WAVELENGTH_IN_NAME.search(name or "")
    spectrum = Spectrum() if match is None else in_nm(number(match[1]), None, unit=match[2])
    optical = spectrum.wavelength_nm is not None and OPTICAL_NM[0] <= spectrum.wavelength_nm <= OPTICAL_NM[1]
    return spectrum if optical else Spectrum()


def from_envi(items: Mapping[str, str], count: int) -> list[Spectrum]:
    """Read the lists of an ENVI header, one entry per band; empty where there are none."""
    columns = [parse_list(items.get(k)) for k in ("wavelength", "fwhm", "bbl")]
    return from_columns(columns, count, items.get("wavelength_units"))


def from_columns(columns: Sequence[Sequence[float | None]], count: int, unit: str | None) -> list[Spectrum]:
    """Combine lists of wavelength, FWHM and quality; a list of another length than `count` is left out."""
    complete = [c if len(c) == count else [None] * count for c in columns]
    if all(len(c) != count for c in columns):
        return []
    return [in_nm(w, f, g, unit) for w, f, g in zip(*complete, strict=True)]


def parse_list(text: str | None) -> list[float | None]:
    """Read ``{ 1 , 2 }`` or ``1, 2``; an entry that is no number becomes None."""
    inner = (text or "").strip().strip("{}").strip()
    return [number(part) for part in inner.split(",")] if inner else []


def number(text: str | None) -> float | None:
    """Read a number; None if the text is none."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _round(value: float) -> float:
    return float(f"{value:.12g}")


def nm_per_unit(unit: str | None, wavelength: float) -> float | None:
    """Return the number of nanometres in the unit of a wavelength.

    Parameters
    ----------
    unit : str or None
        As the file writes it.
    wavelength : float
        Decides where the file has no unit: below 100 it is in micrometres.

    Returns
    -------
    float or None
        None if the unit is not a length, e.g. of a wavenumber.
    """
    text = (unit or "unknown").strip().lower()
    if text in ("", "unknown"):
        return 1e3 if wavelength < LARGEST_UM else 1.0
    return _NM_PER_UNIT.get(text)
