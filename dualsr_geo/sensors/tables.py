"""Where the tables of the built-in instruments lie."""

from __future__ import annotations

from dualsr_geo.instrument import SensorBand, read_bands

PACKAGE = "dualsr_geo.sensors"


def bands_of(name: str) -> tuple[SensorBand, ...]:
    """Return the bands of a built-in sensor."""
    return read_bands(f"{PACKAGE}:tables/{name}.csv")


def responses_of(name: str) -> str:
    """Return the place of its measured responses."""
    return f"{PACKAGE}:tables/{name}-srf.csv"
