"""The instruments of Landsat 1 to 9, and the bands that each delivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Number of an instrument's Landsat by the letter of the product: LC (OLI and TIRS), LO, LT (TM, or TIRS), LE, LM.
LETTERS = {"C": "OLI", "O": "OLI", "E": "ETM", "M": "MSS"}
FIRST_WITH_TIRS = 8


@dataclass(frozen=True)
class Instrument:
    """An instrument on one Landsat. Bands are named as in the names of the MTL file, e.g. ``"4"`` and ``"6_VCID_1"``.

    Attributes
    ----------
    title : str
        E.g. ``"Landsat 5 TM"``.
    sensor : str
        Name of the reflective bands in the sensor registry.
    reflective : mapping of int to tuple of str
        Reflective bands by level, 1 or 2; none where it has no such level.
    thermal : mapping of int to tuple of str
        Thermal bands by level.
    thermal_gsd_m : int or None
        Pixel size at which the thermal bands are measured; they are delivered at that of the reflective ones.
    pan : str or None
        The panchromatic band.
    gsd_m : float
        Pixel size of the reflective bands as delivered.
    """

    title: str
    sensor: str
    reflective: Mapping[int, tuple[str, ...]]
    thermal: Mapping[int, tuple[str, ...]]
    thermal_gsd_m: int | None = None
    pan: str | None = None
    gsd_m: float = 30.0

    @property
    def thermal_sensor(self) -> str:
        """Name of the thermal bands in the sensor registry."""
        return f"{self.sensor}-thermal"

    @property
    def pan_gsd_m(self) -> float:
        """Pixel size of the panchromatic band."""
        return self.gsd_m / 2


def instrument(number: int, name: str) -> Instrument:
    """Return an instrument.

    Parameters
    ----------
    number : int
        Of the Landsat, 1 to 9.
    name : str
        As in the metadata, e.g. ``"OLI_TIRS"``, ``"ETM+"``; empty for the main one of the Landsat.

    Raises
    ------
    KeyError
        If that Landsat has no such instrument.
    """
    short = next((n for n in ("OLI", "TIRS", "ETM", "TM", "MSS") if name.startswith(n)), name)
    if number in (8, 9) and short in ("OLI", "TIRS", ""):
        return _oli(number)
    if number == 7 and short in ("ETM", ""):
        return _etm()
    if number in (4, 5) and short in ("TM", ""):
        return _tm(number)
    if number in (1, 2, 3, 4, 5) and short in ("MSS", ""):
        return _mss(number)
    raise KeyError(name)


def instrument_of_letter(number: int, letter: str) -> Instrument:
    """Return the instrument of a product by the letters of its name, e.g. 5 and ``"T"``; KeyError if there is none."""
    return instrument(number, LETTERS.get(letter, "TIRS" if number >= FIRST_WITH_TIRS else "TM"))


def _oli(number: int) -> Instrument:
    # Surface reflectance has no cirrus band (9).
    reflective = {1: ("1", "2", "3", "4", "5", "6", "7", "9"), 2: ("1", "2", "3", "4", "5", "6", "7")}
    thermal = {1: ("10", "11"), 2: ("ST_B10",)}
    return Instrument(f"Landsat {number} OLI", f"landsat-{number}", reflective, thermal, 100, "8")


def _etm() -> Instrument:
    bands = ("1", "2", "3", "4", "5", "7")
    thermal = {1: ("6_VCID_1", "6_VCID_2"), 2: ("ST_B6",)}
    return Instrument("Landsat 7 ETM+", "landsat-7", {1: bands, 2: bands}, thermal, 60, "8")


def _tm(number: int) -> Instrument:
    bands = ("1", "2", "3", "4", "5", "7")
    return Instrument(
        f"Landsat {number} TM", f"landsat-{number}", {1: bands, 2: bands}, {1: ("6",), 2: ("ST_B6",)}, 120
    )


def _mss(number: int) -> Instrument:
    first = 4 if number <= 3 else 1
    sensor = f"landsat-{number}" if number <= 3 else f"landsat-{number}-mss"
    bands = tuple(str(first + i) for i in range(4))
    return Instrument(f"Landsat {number} MSS", sensor, {1: bands, 2: ()}, {1: (), 2: ()}, gsd_m=60.0)
