"""What an instrument is: its bands, how they respond, blur and are stored, and who says so."""

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

# A Gaussian band is tabulated this far, in FWHM: beyond lies 4e-7 of it.
GAUSSIAN_REACH = 2.15
# Samples of a Gaussian band.
GAUSSIAN_SAMPLES = 87
# Of a band that the wavelengths reach less than this, nothing true can be said.
LEAST_REACHED = 0.5
KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class SensorBand:
    """One band of an instrument.

    Attributes
    ----------
    name : str
        As its products call it; a running number where they have none.
    wavelength_nm, fwhm_nm : float
        Centre (mean of its response) and full width at half maximum.
    gsd_m : float or None
        Pixel on the ground at nadir; None where it depends on the flight.
    mtf_gain : float
        MTF at the Nyquist frequency of its own pixels, 0..1.
    """

    name: str
    wavelength_nm: float
    fwhm_nm: float
    gsd_m: float | None
    mtf_gain: float


@dataclass(frozen=True)
class Sources:
    """Where the numbers of an instrument come from, in words."""

    bands: str
    mtf: str = "assumed"
    packing: str = ""


@dataclass(frozen=True)
class UsualPacking:
    """How the usual product of an instrument stores its values: ``physical = stored * scale + offset``.

    Attributes
    ----------
    product : str
        Which product, and what quantity.
    scale, offset : float
    nodata : float or None
    valid : (float, float) or None
        Stored values that its documentation calls valid.
    """

    product: str
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    valid: tuple[float, float] | None = None


@dataclass(frozen=True)
class Sensor:
    """An instrument, or the bands of one that lie on one grid.

    Attributes
    ----------
    name : str
        Registry key in kebab case.
    title : str
        For people.
    bands : tuple of SensorBand
        In the order of its products.
    sources : Sources
    responses : str or None
        Table of the spectral responses, ``"package:file.csv"`` (see `read_responses`); without one a
        band is a Gaussian of its centre and FWHM.
    mtf_measured : bool
        Whether the MTF gains were measured or specified; assumed ones are shown, never used.
    nominal : bool
        Whether its wavelengths change from product to product; those of the product win then.
    guide : str or None
        Sensor name of its own sharper band.
    bad_windows_nm : tuple of (float, float)
        Where the atmosphere leaves no signal.
    packing : UsualPacking or None
    aliases : tuple of str
        Names in metadata; capitals, spaces and punctuation do not matter.
    opener : str or None
        ``"package.module:function"`` that opens its products as delivered; imported when used.

    Raises
    ------
    InputError
        If a name is no kebab case, there is no band, or a number lies outside what it can be.
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
            raise InputError(f"`{self.name}` names no sensor. Use lower-case words joined by hyphens, as my-sensor-2.")
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
        one = self.bands[band]
        if self.responses is None:
            reach = GAUSSIAN_REACH * one.fwhm_nm
            nm = np.linspace(one.wavelength_nm - reach, one.wavelength_nm + reach, GAUSSIAN_SAMPLES)
            return nm, np.exp2(-(((nm - one.wavelength_nm) / (one.fwhm_nm / 2)) ** 2))
        table = read_responses(self.responses)
        if one.name not in table:
            raise InputError(f"The responses in {self.responses} lack band {one.name} of {self.name}. Add its line.")
        return table[one.name]

    def srf(self, wavelengths_nm: ArrayLike) -> Floats:
        """Return what each of some wavelengths contributes to each band.

        The response is integrated over the stretch of spectrum that a wavelength stands for, up to
        halfway to its neighbours; so coarse and uneven wavelengths are served as well.

        Parameters
        ----------
        wavelengths_nm : array, shape (wavelength,)
            Centres of narrow bands, two or more, in any order.

        Returns
        -------
        array, shape (band, wavelength)
            Not negative. A row sums to 1, or to 0 where the wavelengths reach less than half of a band.

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
        reached = weights.sum(1, keepdims=True)
        return np.where(reached >= LEAST_REACHED, weights / np.maximum(reached, LEAST_REACHED), 0.0)


def read_bands(where: str) -> tuple[SensorBand, ...]:
    """Read a table of bands.

    Parameters
    ----------
    where : str
        ``"package:file.csv"``, with the columns name, wavelength_nm, fwhm_nm, gsd_m (may be empty), mtf_gain.

    Raises
    ------
    InputError
        If a line is none of these.
    """
    bands = []
    for line, row in enumerate(csv.reader(_text(where).splitlines()[1:]), 2):
        try:
            name, nm, fwhm, gsd, gain = row
            bands.append(SensorBand(name, float(nm), float(fwhm), float(gsd) if gsd else None, float(gain)))
        except ValueError as error:
            raise InputError(
                f"Line {line} of {where} is no band ({error}). Write name,wavelength_nm,fwhm_nm,gsd_m,mtf_gain."
            ) from error
    return tuple(bands)


@cache
def read_responses(where: str) -> dict[str, tuple[Floats, Floats]]:
    """Read a table of spectral responses, one band a line: name, first wavelength, step (nm), then its responses.

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
        If a line is no band, or a response is negative.
    """
    table: dict[str, tuple[Floats, Floats]] = {}
    for line, row in enumerate(csv.reader(_text(where).splitlines()[1:]), 2):
        try:
            first, step, *values = map(float, row[1:])
        except ValueError as error:
            raise InputError(
                f"Line {line} of {where} is no response ({error}). Write name, first, step, ..."
            ) from error
        if min(values, default=0) < 0 or not any(values) or step <= 0:
            raise InputError(f"Line {line} of {where} is no response: it needs a step and responses above 0.")
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
    """Return the borders between ascending wavelengths, and as far outside as inside."""
    middle = (nm[1:] + nm[:-1]) / 2
    return np.concatenate([[2 * nm[0] - middle[0]], middle, [2 * nm[-1] - middle[-1]]])


def _cumulative(nm: Floats, response: Floats, at: Floats) -> Floats:
    """Return the share of a response, straight between its samples, that lies below some wavelengths, 0..1."""
    inside = np.clip(at, nm[0], nm[-1])
    nodes = np.union1d(nm, inside)
    here = np.interp(nodes, nm, response)
    area = np.concatenate([[0.0], np.cumsum((here[1:] + here[:-1]) / 2 * np.diff(nodes))])
    return np.asarray(area[np.searchsorted(nodes, inside)] / area[-1], np.float64)


def bands_of(name: str) -> tuple[SensorBand, ...]:
    """Return the bands of a built-in sensor."""
    return read_bands(f"{PACKAGE}:data/{name}.csv")


def responses_of(name: str) -> str:
    """Return the place of its measured responses."""
    return f"{PACKAGE}:data/{name}-srf.csv"
