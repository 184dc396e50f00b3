"""WorldView-2, -3 and -4, GeoEye-1, QuickBird-2 and IKONOS-2, whose products have the layout of Maxar."""

from __future__ import annotations

from dualsr_geo.sensors.definition import Sensor, Sources, bands_of, responses_of

OPENER = "dualsr_geo.io.products.maxar:open_delivery"
TOOLBOX = (
    "MTF-matched filters of the pansharpening toolbox: Vivone et al., A critical comparison among pansharpening "
    "algorithms, IEEE TGRS 53 (2015) 2565, genMTF"
)
SOURCES_2 = Sources(
    "DigitalGlobe's relative spectral responses (2017 PDF, as tabulated in ACOLITE), centre and width computed from "
    "them; GSD at nadir from DigitalGlobe's data sheet",
    TOOLBOX,
    "delivered as counts; the factors that make radiance of them are in the IMD file",
)
SOURCES_3 = Sources(
    "Maxar's relative spectral responses (text file of 2020, as tabulated in ACOLITE), centre and width computed from "
    "them; GSD at nadir from Maxar's data sheet",
    TOOLBOX,
    SOURCES_2.packing,
)
SOURCES_4 = Sources(
    "Maxar's relative spectral responses of WorldView-4 (RSR_WV4.txt, as tabulated in ACOLITE), centre and width computed "
    "from them; GSD at nadir from Maxar's data sheet",
    f"{TOOLBOX} and genPANMTF",
    SOURCES_2.packing,
)
GEOEYE = Sources(
    "GeoEye's relative spectral responses of GeoEye-1 (as tabulated in ACOLITE), centre and width computed from them; GSD "
    "at nadir from the operator's data sheet",
    SOURCES_4.mtf,
    SOURCES_2.packing,
)
QUICKBIRD = Sources(
    "DigitalGlobe's spectral responses of QuickBird-2 (spreadsheet of 2013, as tabulated in ACOLITE), centre and width "
    "computed from them; GSD at nadir from the operator's data sheet",
    SOURCES_4.mtf,
    SOURCES_2.packing,
)
IKONOS = Sources(
    "Maxar's relative spectral responses of IKONOS-2 (text file of 2022, as tabulated in ACOLITE), centre and width "
    "computed from them; GSD at nadir from the operator's data sheet",
    SOURCES_4.mtf,
    SOURCES_2.packing,
)
SWIR_MTF = "assumed"


def _sensor(name: str, title: str, sources: Sources, aliases: tuple[str, ...], guide: str | None) -> Sensor:
    return Sensor(
        name,
        title,
        bands_of(name),
        sources,
        responses=responses_of(name),
        mtf_measured=sources.mtf != SWIR_MTF,
        guide=guide,
        aliases=aliases,
        opener=OPENER,
    )


def _of_four_bands(name: str, title: str, sources: Sources, aliases: tuple[str, ...]) -> tuple[Sensor, ...]:
    return (
        _sensor(name, f"{title}, 4 multispectral bands", sources, aliases, f"{name}-pan"),
        _sensor(f"{name}-pan", f"{title}, panchromatic", sources, aliases, None),
    )


NAMES_2 = ("WV02", "WV2", "WorldView02", "WorldView-2")
NAMES_3 = ("WV03", "WV3", "WorldView03", "WorldView-3")
SENSORS = (
    _sensor("worldview-2", "WorldView-2, 8 multispectral bands", SOURCES_2, NAMES_2, "worldview-2-pan"),
    _sensor("worldview-2-pan", "WorldView-2, panchromatic", SOURCES_2, NAMES_2, None),
    _sensor("worldview-3", "WorldView-3, 8 multispectral bands", SOURCES_3, NAMES_3, "worldview-3-pan"),
    _sensor("worldview-3-pan", "WorldView-3, panchromatic", SOURCES_3, NAMES_3, None),
    _sensor(
        "worldview-3-swir",
        "WorldView-3, 8 short-wave infrared bands",
        Sources(SOURCES_3.bands, SWIR_MTF, SOURCES_3.packing),
        NAMES_3,
        "worldview-3-pan",
    ),
    *_of_four_bands("worldview-4", "WorldView-4", SOURCES_4, ("WV04", "WV4", "WorldView04", "WorldView-4")),
    *_of_four_bands("geoeye-1", "GeoEye-1", GEOEYE, ("GE01", "GE1", "GeoEye01", "GeoEye-1")),
    *_of_four_bands(
        "quickbird-2", "QuickBird-2", QUICKBIRD, ("QB02", "QB2", "QuickBird", "QuickBird02", "QuickBird-2")
    ),
    # The name `ikonos` is that of the plugin in plugins/sensors/ikonos.
    *_of_four_bands("ikonos-2", "IKONOS-2", IKONOS, ("IK01", "IK02", "IKONOS02", "IKONOS-2")),
)
