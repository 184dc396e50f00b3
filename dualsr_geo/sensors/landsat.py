"""Landsat 1 to 9: the instruments OLI, ETM+, TM and MSS, and the thermal bands of OLI's TIRS, ETM+ and TM."""

from __future__ import annotations

from dualsr_geo.sensors.definition import Sensor, Sources, UsualPacking, bands_of, responses_of

OPENER = "dualsr_geo.io.products.landsat:open_delivery"
RESPONSES = {
    7: "NASA's responses of ETM+ (Landsat 7 Science Data Users Handbook), as tabulated in ACOLITE",
    8: "NASA's band average responses of OLI (ldcm.nasa.gov/spacecraft_instruments/oli_band_average.html), as tabulated in "
    "ACOLITE",
    9: "NASA's responses of OLI-2 (L9_OLI2_Ball_FPM_RSR.v1.0; Barsi et al. 2019, doi 10.1117/12.2529776), as tabulated in "
    "ACOLITE",
}
EDGES = "band edges of USGS, What are the band designations for the Landsat satellites; flat between them"
MTF = (
    "Lee et al., RER, FWHM, MTF from Landsat-8 OLI lunar data (Level 1R), 2014, as in the pansharpening toolbox: B2 to "
    "B5 and B8; B1 as B2, and B6, B7, B9 as B5"
)
GUIDES = {7: "USGS, Landsat 4-7 Collection 2 Level 2 Science Product Guide"} | dict.fromkeys(
    (8, 9), "USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide"
)
REFLECTANCE = UsualPacking("Collection 2 Level 2 surface reflectance", 2.75e-5, -0.2, nodata=0, valid=(7273, 43636))
TEMPERATURE = UsualPacking(
    "Collection 2 Level 2 surface temperature, K", 0.00341802, 149.0, nodata=0, valid=(293, 65535)
)


def _sources(number: int, mtf: str) -> Sources:
    bands = f"{RESPONSES[number]}; centre and width computed from them" if number in RESPONSES else EDGES
    return Sources(bands, mtf, GUIDES.get(number, GUIDES[7]))


def _oli(number: int, name: str, title: str, guide: str | None) -> Sensor:
    return Sensor(
        name,
        title,
        bands_of(name),
        _sources(number, MTF + (", as for Landsat 8" if number == 9 else "")),
        responses=responses_of(name),
        mtf_measured=True,
        guide=guide,
        packing=REFLECTANCE if guide else None,
        aliases=(f"LANDSAT_{number}", f"LC0{number}", f"L{number}", f"L{number}_OLI"),
        opener=OPENER,
    )


def _older(number: int, name: str, title: str, aliases: tuple[str, ...], guide: str | None = None) -> Sensor:
    """Return a sensor of ETM+, TM or MSS, whose MTF gains are assumed."""
    return Sensor(
        name,
        title,
        bands_of(name),
        _sources(number, "assumed"),
        responses=responses_of(name),
        guide=guide,
        packing=None if name.endswith("pan") else REFLECTANCE,
        aliases=aliases,
        opener=OPENER,
    )


def _thermal(number: int, instrument: str, bands: str, measured_m: int) -> Sensor:
    name = f"landsat-{number}-thermal"
    return Sensor(
        name,
        f"Landsat {number} {instrument}, thermal {bands}, measured at {measured_m} m, delivered at 30 m",
        bands_of(name),
        Sources(EDGES, "assumed", GUIDES.get(number, GUIDES[7])),
        responses=responses_of(name),
        guide=f"landsat-{number}-pan" if number >= 7 else None,
        packing=TEMPERATURE,
        opener=OPENER,
    )


def _mss(number: int) -> Sensor:
    name = f"landsat-{number}" if number <= 3 else f"landsat-{number}-mss"
    spacecraft = (f"LANDSAT_{number}",) if number <= 3 else ()
    aliases = (*spacecraft, f"LM0{number}", f"L{number}_MSS")
    return Sensor(
        name,
        f"Landsat {number} MSS, 4 bands of 60 m",
        bands_of(name),
        Sources(EDGES, "assumed"),
        responses=responses_of(name),
        aliases=aliases,
        opener=OPENER,
    )


def _tm(number: int) -> Sensor:
    name = f"landsat-{number}"
    aliases = (f"LANDSAT_{number}", f"LT0{number}", f"L{number}", f"L{number}_TM")
    return _older(number, name, f"Landsat {number} TM, 6 reflective bands of 30 m", aliases)


ETM = ("LANDSAT_7", "LE07", "L7", "L7_ETM", "Landsat7 ETM+")
SENSORS = (
    *(
        _oli(number, name, f"Landsat {number} OLI, {title}", guide)
        for number in (8, 9)
        for name, title, guide in (
            (f"landsat-{number}", "8 bands of 30 m", f"landsat-{number}-pan"),
            (f"landsat-{number}-pan", "panchromatic band of 15 m", None),
        )
    ),
    _older(7, "landsat-7", "Landsat 7 ETM+, 6 reflective bands of 30 m", ETM, "landsat-7-pan"),
    _older(7, "landsat-7-pan", "Landsat 7 ETM+, panchromatic band of 15 m", ETM),
    *map(_tm, (5, 4)),
    *map(_mss, (5, 4, 3, 2, 1)),
    *(_thermal(number, "TIRS", "bands B10 and B11", 100) for number in (8, 9)),
    _thermal(7, "ETM+", "band B6", 60),
    *(_thermal(number, "TM", "band B6", 120) for number in (5, 4)),
)
