"""Sensors: the bands, spectral responses, MTF and packing of an instrument, with their sources."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualsr_geo.errors import InputError

PACKAGE = "dualsr_geo.sensors"

Floats = NDArray[np.float64]

# Distance from the centre to which a Gaussian band is tabulated, in FWHM; 4e-7 of the band is beyond.
GAUSSIAN_REACH_FWHM = 2.15
# Samples of a Gaussian band.
GAUSSIAN_SAMPLES = 87
# Fraction of a band's response that the wavelengths must cover; below it the band has no weights.
MIN_COVERAGE = 0.5
KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class SensorBand:
    """One band of an instrument.

    Attributes
    ----------
    name : str
        As in the products; a running number where they have no names.
    wavelength_nm, fwhm_nm : float
        Centre (mean of its response) and full width at half maximum.
    gsd_m : float or None
        Pixel size at nadir; None where it depends on the flight.
    mtf_gain : float
        MTF at the Nyquist frequency of the band's own pixels, 0..1.
    """

    name: str
    wavelength_nm: float
    fwhm_nm: float
    gsd_m: float | None
    mtf_gain: float


@dataclass(frozen=True)
class Sources:
    """Sources of the bands, the MTF and the packing of an instrument, as text."""

    bands: str
    mtf: str = "assumed"
    packing: str = ""


@dataclass(frozen=True)
class UsualPacking:
    """Packing of the usual product of an instrument: ``physical = stored * scale + offset``.

    Attributes
    ----------
    product : str
        Name and physical quantity of the product.
    scale, offset : float
    nodata : float or None
    valid : (float, float) or None
        Range of the stored values that its documentation calls valid.
    """

    product: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    valid: tuple[float, float] | None = None


@dataclass(frozen=True)
class Sensor:
    """An instrument, or those of its bands that are on one grid.

    Attributes
    ----------
    name : str
        Registry key in kebab case.
    title : str
        Name and description for the user.
    bands : tuple of SensorBand
        In the order of the products.
    sources : Sources
    responses : str or None
        Table of the spectral responses, ``"package:file.csv"`` (see `read_responses`); without one a
        band is a Gaussian of its centre and FWHM.
    mtf_measured : bool
        Whether the MTF gains were measured or specified; assumed ones are shown, never used.
    nominal : bool
        Whether the wavelengths differ from product to product; those of the product then take precedence.
    guide : str or None
        Sensor name of its own sharper band.
    bad_windows_nm : tuple of (float, float)
        Wavelengths at which the atmosphere leaves no signal.
    packing : UsualPacking or None
    aliases : tuple of str
        Names in metadata; case, spaces and punctuation do not matter.
    opener : str or None
        ``"package.module:function"`` that opens its products as delivered (see `io.products.registry`);
        imported when used.

    Raises
    ------
    InputError
        If the name is not in kebab case, there is no band, or a number is out of range.
    """

    name: str
    title: str
    bands: tuple[SensorBand, ...]
    sources: Sources
    responses: str | None = None
    mtf_measured: bool = False
    nominal: bool = False
    guide: str | None = None
    bad_windows_nm: tuple[tuple[float, float], ...] = ()
    packing: UsualPacking | None = None
    aliases: tuple[str, ...] = ()
    opener: str | None = None

    def __post_init__(self) -> None:
        if not KEBAB.fullmatch(self.name):
            raise InputError(
                f"`{self.name}` is not a name of a sensor. Use lower-case words joined by hyphens, as my-sensor-2."
            )
        if not self.bands:
            raise InputError(f"Sensor {self.name} has no band. Give it one or more.")
        for band in self.bands:
            _require_band(self.name, band)

    @property
    def wavelengths_nm(self) -> Floats:
        """Centres, shape (band,)."""
        return np.array([b.wavelength_nm for b in self.bands])

    @property
    def response_kind(self) -> str:
        """``"tabulated"``, or ``"gaussian"`` of centre and FWHM."""
        return "gaussian" if self.responses is None else "tabulated"

    def response(self, band: int) -> tuple[Floats, Floats]:
        """Return wavelengths (nm, ascending) and relative response (largest 1) of one band, zero-based.

        Raises
        ------
        InputError
            If the table of responses lacks the band.
        """
        definition = self.bands[band]
        if self.responses is None:
            reach = GAUSSIAN_REACH_FWHM * definition.fwhm_nm
            nm = np.linspace(definition.wavelength_nm - reach, definition.wavelength_nm + reach, GAUSSIAN_SAMPLES)
            return nm, np.exp2(-(((nm - definition.wavelength_nm) / (definition.fwhm_nm / 2)) ** 2))
        table = read_responses(self.responses)
        if definition.name not in table:
            raise InputError(
                f"The responses in {self.responses} lack band {definition.name} of {self.name}. Add its line."
            )
        return table[definition.name]

    def srf(self, wavelengths_nm: ArrayLike) -> Floats:
        """Return the weight of each wavelength of a spectrum in each band.

        The response is integrated over the interval of each wavelength, up to halfway to its neighbours,
        so wavelengths may be coarse and unevenly spaced.

        Parameters
        ----------
        wavelengths_nm : array, shape (wavelength,)
            Centres of narrow bands, two or more, in any order.

        Returns
        -------
        array, shape (band, wavelength)
            Not negative. A row sums to 1, or to 0 where the wavelengths cover less than half of a band.

        Raises
        ------
        InputError
            If there are fewer than two wavelengths.
        """
        nm = np.asarray(wavelengths_nm, np.float64).ravel()
        if nm.size < 2:
            raise InputError(f"{nm.size} wavelength spans no spectrum. Give two or more.")
        order = np.argsort(nm, kind="stable")
        edges = _edges(nm[order])
        weights = np.zeros((len(self.bands), nm.size))
        for i in range(len(self.bands)):
            weights[i, order] = np.diff(_cumulative(*self.response(i), edges))
        coverage = weights.sum(1, keepdims=True)
        return np.where(coverage >= MIN_COVERAGE, weights / np.maximum(coverage, MIN_COVERAGE), 0.0)


def read_bands(where: str) -> tuple[SensorBand, ...]:
    """Read a table of bands.

    Parameters
    ----------
    where : str
        ``"package:file.csv"``, with the columns name, wavelength_nm, fwhm_nm, gsd_m (may be empty), mtf_gain.

    Raises
    ------
    InputError
        If a line has not these five values.
    """
    bands = []
    for line, row in enumerate(csv.reader(_text(where).splitlines()[1:]), 2):
        try:
            name, nm, fwhm, gsd, gain = row
            bands.append(SensorBand(name, float(nm), float(fwhm), float(gsd) if gsd else None, float(gain)))
        except ValueError as error:
            raise InputError(
                f"Line {line} of {where} is not a band ({error}). Write name,wavelength_nm,fwhm_nm,gsd_m,mtf_gain."
            ) from error
    return tuple(bands)


@cache
def read_responses(where: str) -> dict[str, tuple[Floats, Floats]]:
    """Read a table of spectral responses, one band per line: name, first wavelength, step (nm), responses.

    Parameters
    ----------
    where : str
        ``"package:file.csv"``.

    Returns
    -------
    dict
        Name to wavelengths (nm, ascending) and relative response.

    Raises
    ------
    InputError
        If a line is not a response, or a response is negative.
    """
    table: dict[str, tuple[Floats, Floats]] = {}
    for line, row in enumerate(csv.reader(_text(where).splitlines()[1:]), 2):
        try:
            first, step, *values = map(float, row[1:])
        except ValueError as error:
            raise InputError(
                f"Line {line} of {where} is not a response ({error}). Write name, first, step, ..."
            ) from error
        if min(values, default=0) < 0 or not any(values) or step <= 0:
            raise InputError(f"Line {line} of {where} is not a response: step and responses must be above 0.")
        table[row[0]] = (first + step * np.arange(len(values), dtype=np.float64), np.array(values) / max(values))
    return table


def _text(where: str) -> str:
    package, _, path = where.partition(":")
    return files(package).joinpath(path).read_text(encoding="utf-8")


def _require_band(sensor: str, band: SensorBand) -> None:
    if not 0 < band.mtf_gain < 1:
        raise InputError(
            f"Band {band.name} of {sensor} has an MTF gain of {band.mtf_gain:g}. Give one between 0 and 1."
        )
    for name in ("wavelength_nm", "fwhm_nm", "gsd_m"):
        value = getattr(band, name)
        if value is not None and not 0 < value < np.inf:
            raise InputError(f"Band {band.name} of {sensor} has {name} {value:g}. Give a number above 0.")


def _edges(nm: Floats) -> Floats:
    """Return the borders between ascending wavelengths; the outer intervals are symmetric."""
    middle = (nm[1:] + nm[:-1]) / 2
    return np.concatenate([[2 * nm[0] - middle[0]], middle, [2 * nm[-1] - middle[-1]]])


def _cumulative(nm: Floats, response: Floats, at: Floats) -> Floats:
    """Return the fraction of a response, linear between its samples, below each wavelength of `at`, 0..1."""
    limits = np.clip(at, nm[0], nm[-1])
    nodes = np.union1d(nm, limits)
    values = np.interp(nodes, nm, response)
    area = np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) / 2 * np.diff(nodes))])
    return np.asarray(area[np.searchsorted(nodes, limits)] / area[-1], np.float64)


def bands_of(name: str) -> tuple[SensorBand, ...]:
    """Return the bands of a built-in sensor."""
    return read_bands(f"{PACKAGE}:data/{name}.csv")


def responses_of(name: str) -> str:
    """Return the place of the table of measured responses of a built-in sensor."""
    return f"{PACKAGE}:data/{name}-srf.csv"
