"""IKONOS-2: four multispectral bands and a panchromatic one."""

from __future__ import annotations

from dualsr_geo.sensors import Sensor, Sources, read_bands

SOURCES = Sources(
    "Maxar's relative spectral responses of IKONOS-2 (text file of 2022, as tabulated in ACOLITE), centre and width "
    "computed from them; GSD at nadir from the operator's data sheet",
    "MTF-matched filters of the pansharpening toolbox: Vivone et al., IEEE TGRS 53 (2015) 2565, genMTF and genPANMTF",
    "delivered as 11-bit counts",
)


def _sensor(name: str, title: str, guide: str | None) -> Sensor:
    return Sensor(
        name,
        title,
        read_bands(f"dualsr_geo_ikonos:{name}.csv"),
        SOURCES,
        responses=f"dualsr_geo_ikonos:{name}-srf.csv",
        mtf_measured=True,
        guide=guide,
        aliases=("IKONOS", "IKONOS-2", "IK01", "IK02"),
    )


SENSORS = (
    _sensor("ikonos", "IKONOS-2, 4 multispectral bands", "ikonos-pan"),
    _sensor("ikonos-pan", "IKONOS-2, panchromatic", None),
)
