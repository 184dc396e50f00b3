"""PlanetScope: SuperDove with eight or four bands, and the Doves before it. Tanager is among the spectrometers."""

from __future__ import annotations

from dualsr_geo.sensors.definition import Sensor, Sources, UsualPacking, bands_of, responses_of

OPENER = "dualsr_geo.io.products.commercial.planetscope:open_delivery"
PACKING = UsualPacking("surface reflectance, _AnalyticMS_SR", 1e-4, 0.0, nodata=0)
SOURCE = "Planet, PlanetScope product specification: surface reflectance times 10000, 0 for nodata"
RESPONSES = (
    "Planet's relative spectral responses of {} (as tabulated in ACOLITE), centre and width computed from them; GSD as "
    "delivered"
)

SENSORS = (
    Sensor(
        "planetscope-8b",
        "PlanetScope SuperDove, 8 bands",
        bands_of("planetscope-8b"),
        Sources(RESPONSES.format("SuperDove, 8 bands"), packing=SOURCE),
        responses=responses_of("planetscope-8b"),
        packing=PACKING,
        aliases=("PSB.SD", "SuperDove"),
        opener=OPENER,
    ),
    Sensor(
        "planetscope",
        "PlanetScope SuperDove and Dove-R, 4 bands",
        bands_of("planetscope"),
        Sources(RESPONSES.format("the 22xx satellites"), packing=SOURCE),
        responses=responses_of("planetscope"),
        packing=PACKING,
        aliases=("PS2.SD", "PSB.SD", "Dove-R", "PlanetScope"),
        opener=OPENER,
    ),
    Sensor(
        "planetscope-ps2",
        "PlanetScope Dove, 4 bands",
        bands_of("planetscope-ps2"),
        Sources(
            "Planet, PlanetScope product specification: edges of the bands of PS2; flat responses with edges of 8 nm are "
            "assumed; GSD as delivered",
            packing=SOURCE,
        ),
        responses=responses_of("planetscope-ps2"),
        packing=PACKING,
        aliases=("PS2", "Dove"),
        opener=OPENER,
    ),
)
