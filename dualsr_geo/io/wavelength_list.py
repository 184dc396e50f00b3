"""Wavelengths of the bands as a user gives them: a file, a range, numbers, or bands of a sensor."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dualsr_geo.errors import BandError, InputError, OptionError
from dualsr_geo.io.storage.names import expanded
from dualsr_geo.raster.bands import Band, parse_bidx
from dualsr_geo.raster.wavelengths import LARGEST_UM, OPTICAL_NM, Spectrum, in_nm, number
from dualsr_geo.sensors.registry import normalised, sensors

# As a user gives them.
Given = str | Sequence[float]
# Most times that the wavelengths may fall back: where the detectors of an instrument overlap.
MAX_OVERLAPS = 3
# Larger files are no list of wavelengths, bytes.
MAX_FILE_BYTES = 4 << 20
RANGE = re.compile(r"([0-9.]+(?:e[0-9]+)?):([0-9.]+(?:e[0-9]+)?)(?::([0-9]+))?")
ENVI_LIST = r"^\s*{name}\s*=\s*\{{([^}}]*)\}}"
WIDTH_NAMES = ("fwhm", "bandwidth", "width")
WAVELENGTH_WORDS = ("wavelength", "wavelen", "wave", "wl", "lambda", "center", "centre", "nm")


@dataclass(frozen=True)
class WavelengthList:
    """Wavelengths of bands, or the ends of their range.

    Attributes
    ----------
    given : str
        How messages name it.
    spectra : tuple of Spectrum
        One a band; empty for a range without a number of bands.
    ends_nm : (float, float) or None
        First and last wavelength of a range.
    """

    given: str
    spectra: tuple[Spectrum, ...] = ()
    ends_nm: tuple[float, float] | None = None

    @property
    def count(self) -> int | None:
        """Number of bands; None for a range without one."""
        return len(self.spectra) or None

    def applied(self, bands: Sequence[Band]) -> tuple[Band, ...]:
        """Return bands with these wavelengths instead of their own.

        Raises
        ------
        OptionError
            If there are more or fewer wavelengths than bands.
        """
        spectra = self.spectra
        if self.ends_nm is not None:
            spectra = tuple(Spectrum(float(f"{nm:.12g}")) for nm in np.linspace(*self.ends_nm, len(bands)))
        if len(spectra) != len(bands):
            raise OptionError(
                f"--wavelengths {self.given} lists {len(spectra)} wavelengths, but the scene has {len(bands)} bands. Give "
                "one for each band of the file; --bidx selects among them afterwards."
            )
        return tuple(
            replace(b, wavelength_nm=s.wavelength_nm, fwhm_nm=s.fwhm_nm) for b, s in zip(bands, spectra, strict=True)
        )


def read_wavelengths(given: Given) -> WavelengthList:
    """Read wavelengths as a user gives them.

    Parameters
    ----------
    given : str or sequence of float
        A path of a text or CSV file with a wavelength a line (its columns may also be a number of the band and the FWHM),
        an ENVI header, ``"400:2500"`` for evenly spaced ones, ``"400:2500:224"`` also with their number,
        ``"aviris-classic:4..107,113..153"`` for bands of a sensor; or numbers.

    Raises
    ------
    InputError
        If a file does not exist or lists no wavelengths.
    OptionError
        If they are out of order, or not of one unit.
    """
    if not isinstance(given, str):
        values = [float(v) for v in given]
        return WavelengthList(f"of {len(values)} numbers", _checked(values, None, None, f"of {len(values)} numbers"))
    if (match := RANGE.fullmatch(given.strip())) is not None and not Path(given).exists():
        return _range(given, match)
    name, colon, bands = given.partition(":")
    sensor = {normalised(s): s for s in sensors()}.get(normalised(name)) if colon else None
    if sensor is not None:
        all_bands = sensors()[sensor].bands
        try:
            chosen = [all_bands[i] for i in parse_bidx(bands, len(all_bands))]
        except BandError as error:
            raise OptionError(
                f"--wavelengths {given} does not select bands of {sensor}, which has bands 1 to {len(all_bands)}. Give "
                f"e.g. --wavelengths {sensor}:1..{len(all_bands) // 2}."
            ) from error
        return WavelengthList(given, tuple(Spectrum(b.wavelength_nm, b.fwhm_nm) for b in chosen))
    return WavelengthList(given, _from_text(_text(given), given))


def _range(given: str, match: re.Match[str]) -> WavelengthList:
    first, last = number(match[1]), number(match[2])
    if first is None or last is None or not math.isfinite(first * last) or first == last:
        raise OptionError(f"--wavelengths {given} is no range. Give e.g. 400:2500, first and last in nm.")
    ends = _checked([first, last], None, None, given)
    (low, high) = (s.wavelength_nm or 0.0 for s in ends)
    if match[3] is None:
        return WavelengthList(given, ends_nm=(low, high))
    count = int(match[3])
    if not 2 <= count <= MAX_FILE_BYTES:
        raise OptionError(f"--wavelengths {given} is for {count} bands. Give 2 or more, e.g. 400:2500:224.")
    return WavelengthList(given, tuple(Spectrum(float(f"{nm:.12g}")) for nm in np.linspace(low, high, count)))


def _text(given: str) -> str:
    file = expanded(given)
    if not file.is_file():
        raise InputError(
            f"--wavelengths {given} does not exist. Give a text file with a wavelength a line, or first and last in nm, "
            "e.g. 400:2500."
        )
    if file.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"--wavelengths {given} has {file.stat().st_size} bytes and is no list of wavelengths.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    except OSError as error:
        raise InputError(f"--wavelengths {given} cannot be read: {error.strerror}.") from error
    if "\0" in text:
        raise InputError(f"--wavelengths {given} is no text. Give a text file with a wavelength a line.")
    return text


def _from_text(text: str, given: str) -> tuple[Spectrum, ...]:
    columns = [_envi(text, name) for name in ("wavelength", "fwhm")]
    unit = re.search(r"^\s*wavelength units\s*=\s*(\S+)", text, re.IGNORECASE | re.MULTILINE)
    if columns[0]:
        return _checked(columns[0], columns[1], unit and unit[1], given)
    lines = [line.strip() for line in text.splitlines()]
    separator = r"\s*[,;\t]\s*" if re.search(r"[,;\t]", text) else r"\s+"
    rows = [re.split(separator, line.rstrip(",;")) for line in lines if line and not line.startswith("#")]
    header = [] if not rows or any(number(v) is not None for v in rows[0]) else [v.lower() for v in rows.pop(0)]
    numbers = [[number(v) for v in row] for row in rows]
    if len(numbers) == 1:
        # All on one line.
        numbers = [[v] for v in numbers[0]]
    wrong = next((i for i, row in enumerate(numbers) if len(row) != len(numbers[0]) or None in row), None)
    if not numbers or wrong is not None:
        where = "" if wrong is None else f" (line {wrong + 1 + bool(header)}: `{' '.join(rows[wrong])[:40]}`)"
        raise InputError(f"--wavelengths {given} is no list of numbers{where}. Give a file with a wavelength a line.")
    table = np.array(numbers, dtype=float)
    centre, width = _places(header, table)
    widths = None if width is None else table[:, width].tolist()
    return _checked(table[:, centre].tolist(), widths, _unit(header, centre), given)


def _envi(text: str, name: str) -> list[float]:
    match = re.search(ENVI_LIST.format(name=name), text, re.IGNORECASE | re.MULTILINE)
    values = [number(v) for v in match[1].split(",")] if match else []
    return [] if None in values else [v for v in values if v is not None]


def _places(header: Sequence[str], table: np.ndarray) -> tuple[int, int | None]:
    """Return the columns of wavelength and of FWHM, by the header, else by their order after numbers of bands."""
    width = next((i for i, h in enumerate(header) if h.startswith(WIDTH_NAMES)), None)
    centre = next((i for i, h in enumerate(header) if any(w in h for w in WAVELENGTH_WORDS) and i != width), None)
    if centre is not None and centre < table.shape[1]:
        return centre, width if width is not None and width < table.shape[1] else None
    numbered = table.shape[1] > 1 and bool((np.diff(table[:, 0]) == 1).all()) and table[0, 0] in (0, 1)
    first = int(numbered)
    return first, first + 1 if table.shape[1] > first + 1 else None


def _unit(header: Sequence[str], centre: int) -> str | None:
    name = header[centre] if centre < len(header) else ""
    unit = re.search(
        r"(?:^|[^a-z])(nm|um|µm|μm|nanometers?|nanometres?|micrometers?|micrometres?|microns?)(?:$|[^a-z])", name
    )
    return unit[1] if unit else None


def _checked(
    values: Sequence[float], widths: Sequence[float] | None, unit: str | None, given: str
) -> tuple[Spectrum, ...]:
    """Return wavelengths in nm, checked for their unit, range and order.

    Without a unit numbers below `LARGEST_UM` are micrometres.
    """
    if unit is None and min(values, default=0) < LARGEST_UM <= max(values, default=0):
        raise OptionError(
            f"--wavelengths {given} has {min(values):g} and {max(values):g}, which are not of one unit. Give all in nm."
        )
    pairs = zip(
        values, widths if widths is not None and len(widths) == len(values) else [None] * len(values), strict=True
    )
    spectra = tuple(in_nm(v, w, unit=unit) for v, w in pairs)
    for value, spectrum in zip(values, spectra, strict=True):
        nm = spectrum.wavelength_nm
        if nm is None or not OPTICAL_NM[0] <= nm <= OPTICAL_NM[1]:
            raise OptionError(
                f"--wavelengths {given} has {value:g}{'' if unit is None else f' {unit}'}, which is no wavelength from "
                f"{OPTICAL_NM[0]:g} to {OPTICAL_NM[1]:g} nm. Give them in nm."
            )
    steps = np.diff([s.wavelength_nm or 0.0 for s in spectra])
    if (steps == 0).any() or (min((steps < 0).sum(), (steps > 0).sum()) > MAX_OVERLAPS):
        raise OptionError(
            f"--wavelengths {given} is in no order: they rise {(steps > 0).sum()} times, fall {(steps < 0).sum()} times and "
            f"repeat {(steps == 0).sum()} times. Give them in the order of the bands."
        )
    return spectra
