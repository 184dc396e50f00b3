"""The wide-scan panchromatic and multispectral camera (WPM) of CBERS-4A."""

from __future__ import annotations

from dualsr_geo.sensors.definition import Sensor, Sources, bands_of

OPENER = "dualsr_geo.io.products.missions.cbers:open_delivery"
SOURCES = Sources(
    "INPE, cameras of CBERS-4A (cbers.inpe.br): 450-520, 520-590, 630-690, 770-890 and 450-900 nm, as centre and width",
    packing="delivered as counts",
)
ALIASES = ("CBERS-4A WPM", "CBERS_4A_WPM")


def _sensor(name: str, title: str, guide: str | None) -> Sensor:
    return Sensor(name, title, bands_of(name), SOURCES, guide=guide, aliases=ALIASES, opener=OPENER)


SENSORS = (
    _sensor("cbers-4a-wpm", "CBERS-4A WPM, 4 multispectral bands of 8 m", "cbers-4a-wpm-pan"),
    _sensor("cbers-4a-wpm-pan", "CBERS-4A WPM, panchromatic band of 2 m", None),
)
