"""Sentinel-2 A, B and C: the Multispectral Instrument (MSI)."""

from __future__ import annotations

from dualsr_geo.sensors.definition import Sensor, Sources, UsualPacking, bands_of, responses_of

SOURCES = Sources(
    "ESA, Sentinel-2 Spectral Response Functions 2024, COPE-GSEG-EOPG-TN-15-0007 issue 4.0 (as tabulated in ACOLITE), "
    "centre and width computed from them",
    "ESA's data quality report as used by SupReMe and S2Sharp (Lanaras et al., CVPR workshops 2017; Ulfarsson et al., "
    "IEEE TGRS 57 (2019) 6503); B10, which they leave out, as B09",
    "Sentinel-2 Products Specification Document, processing baseline 04.00 and later; before it the offset is 0",
)
PACKING = UsualPacking("L2A surface reflectance", 1e-4, -0.1, nodata=0)

SENSORS = tuple(
    Sensor(
        f"sentinel-2{unit}",
        f"Sentinel-2{unit.upper()} MSI, 13 bands of 10, 20 and 60 m",
        bands_of(f"sentinel-2{unit}"),
        SOURCES,
        responses=responses_of(f"sentinel-2{unit}"),
        mtf_measured=True,
        packing=PACKING,
        aliases=(f"S2{unit}", f"Sentinel-2{unit}", f"S2{unit}_MSI"),
        opener="dualsr_geo.io.products.sentinel2.safe:open_delivery",
    )
    for unit in "abc"
)
