"""Where the tables of the built-in instruments lie."""

from __future__ import annotations

from dualsr_geo.sensors.definition import SensorBand, read_bands

PACKAGE = "dualsr_geo.sensors"


def bands_of(name: str) -> tuple[SensorBand, ...]:
    """Return the bands of a built-in sensor."""
    return read_bands(f"{PACKAGE}:data/{name}.csv")


def responses_of(name: str) -> str:
    """Return the place of its measured responses."""
    return f"{PACKAGE}:data/{name}-srf.csv"
