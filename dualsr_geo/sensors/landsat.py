"""Landsat 8 and 9: the Operational Land Imager (OLI)."""

from __future__ import annotations

from dualsr_geo.sensors.definition import Sensor, Sources, UsualPacking, bands_of, responses_of

RESPONSES = {
    8: "NASA's band average responses of OLI (ldcm.nasa.gov/spacecraft_instruments/oli_band_average.html)",
    9: "NASA's responses of OLI-2 (L9_OLI2_Ball_FPM_RSR.v1.0; Barsi et al. 2019, doi 10.1117/12.2529776)",
}
MTF = (
    "Lee et al., RER, FWHM, MTF from Landsat-8 OLI lunar data (Level 1R), 2014, as in the pansharpening toolbox: B2 to "
    "B5 and B8; B1 as B2, and B6, B7, B9 as B5"
)
PACKING = UsualPacking("Collection 2 Level 2 surface reflectance", 2.75e-5, -0.2, nodata=0, valid=(7273, 43636))


def _sensor(number: int, name: str, title: str, guide: str | None) -> Sensor:
    return Sensor(
        name,
        title,
        bands_of(name),
        Sources(
            f"{RESPONSES[number]}, as tabulated in ACOLITE; centre and width computed from them",
            MTF + (", as for Landsat 8" if number == 9 else ""),
            "USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide",
        ),
        responses=responses_of(name),
        mtf_measured=True,
        guide=guide,
        packing=PACKING if guide else None,
        aliases=(f"LANDSAT_{number}", f"LC0{number}", f"L{number}", f"L{number}_OLI"),
        opener="dualsr_geo.io.products.landsat:open_delivery",
    )


SENSORS = tuple(
    sensor
    for number in (8, 9)
    for sensor in (
        _sensor(number, f"landsat-{number}", f"Landsat {number} OLI, 8 bands of 30 m", f"landsat-{number}-pan"),
        _sensor(number, f"landsat-{number}-pan", f"Landsat {number} OLI, panchromatic band of 15 m", None),
    )
)
