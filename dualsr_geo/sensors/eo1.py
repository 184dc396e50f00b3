"""The Advanced Land Imager (ALI) of Earth Observing-1; its Hyperion is among the spectrometers."""

from __future__ import annotations

from dualsr_geo.sensors.definition import Sensor, Sources, bands_of, responses_of

OPENER = "dualsr_geo.io.products.missions.eo1:open_delivery"
SOURCES = Sources(
    "CSIRO's table of the responses of ALI (www.eoc.csiro.au, as tabulated in ACOLITE), centre and width computed from "
    "them",
    packing="radiance is counts x BANDn_SCALING_FACTOR + BANDn_OFFSET of the MTL file (Chander et al. 2009, Remote Sens. "
    "Environ. 113, 893)",
)
ALIASES = ("ALI", "EO1_ALI", "EO-1 ALI")


def _sensor(name: str, title: str, guide: str | None) -> Sensor:
    return Sensor(
        name,
        title,
        bands_of(name),
        SOURCES,
        responses=responses_of(name),
        guide=guide,
        aliases=ALIASES,
        opener=OPENER,
    )


SENSORS = (
    _sensor("eo-1-ali", "EO-1 ALI, 9 bands of 30 m", "eo-1-ali-pan"),
    _sensor("eo-1-ali-pan", "EO-1 ALI, panchromatic band of 10 m", None),
)
