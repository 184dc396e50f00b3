"""Imaging spectrometers, in orbit and airborne; their wavelengths are nominal, those of a product take precedence."""

from __future__ import annotations

from dualsr_geo.sensors.definition import Sensor, Sources, UsualPacking, bands_of

# Absorption by water vapour, where EMIT's products mark bands as bad (`good_wavelengths`).
WATER_VAPOUR_NM = ((1327.0, 1432.0), (1774.0, 1960.0))
MATLAB_OPENER = "dualsr_geo.io.products.arrays.matlab:open_delivery"

SENSORS = (
    Sensor(
        "enmap",
        "EnMAP, 224 bands of its L2A products",
        bands_of("enmap"),
        Sources(
            "centres and FWHM of an EnMAP L2A product of 2022, as in EnMAP-Box (enmap_potsdam): VNIR, then SWIR",
            "assumed; its specification asks for more than 0.25 across and 0.16 along track",
            "EnMAP L2A product specification: reflectance times 10000, background -32768",
        ),
        nominal=True,
        # L2A has no values from 1331 to 1391 nm; the ends of the window are as noisy.
        bad_windows_nm=WATER_VAPOUR_NM,
        packing=UsualPacking("L2A surface reflectance", 1e-4, 0.0, nodata=-32768),
        aliases=("EnMAP", "EnMAP_HSI"),
        opener="dualsr_geo.io.products.enmap:open_delivery",
    ),
    Sensor(
        "prisma",
        "PRISMA, 233 bands",
        bands_of("prisma"),
        Sources(
            "centres and FWHM of a PRISMA product, as in EnMAP-Box (PRISMA_generic.srf)",
            "assumed; the hyperspectral pansharpening toolboxes use 0.28 or 0.30",
            "a scale of each product's own, in its attributes L2ScaleVnirMin and the like",
        ),
        nominal=True,
        bad_windows_nm=WATER_VAPOUR_NM,
        aliases=("PRISMA", "PRS"),
        opener="dualsr_geo.io.products.prisma:open_delivery",
    ),
    Sensor(
        "emit",
        "EMIT, 285 bands",
        bands_of("emit"),
        Sources(
            "wavelengths and FWHM of EMIT L2A products (sensor_band_parameters, 2022 to 2025)",
            packing="LP DAAC, EMIT L2A user guide: float reflectance, -9999 for nodata",
        ),
        nominal=True,
        bad_windows_nm=WATER_VAPOUR_NM,
        packing=UsualPacking("L2A surface reflectance, float", nodata=-9999),
        aliases=("EMIT",),
        opener="dualsr_geo.io.products.emit:open_delivery",
    ),
    Sensor(
        "aviris-classic",
        "AVIRIS classic, 224 bands",
        bands_of("aviris-classic"),
        Sources(
            "JPL's spectral calibration as in emit-sds/SpectralUnmixing (aviris_wavelengths.txt, commit af28ff8): "
            "centres to 0.01 nm, FWHM by a quartic through five values of each spectrometer, within 0.01 nm"
        ),
        nominal=True,
        bad_windows_nm=WATER_VAPOUR_NM,
        aliases=("AVIRIS", "AVIRIS-C", "AVIRIS-Classic"),
    ),
    Sensor(
        "aviris-ng",
        "AVIRIS-NG, 425 bands",
        bands_of("aviris-ng"),
        Sources(
            "419 bands from 402 to 2496 nm as in EnMAP-Box (AVIRIS_NG_PROSAILrange_419b.srf), continued by its step of "
            "5.01 nm to the 425 of a product",
            packing="float reflectance, -9999 for nodata",
        ),
        nominal=True,
        bad_windows_nm=WATER_VAPOUR_NM,
        packing=UsualPacking("L2 surface reflectance, float", nodata=-9999),
        aliases=("AVIRIS-NG", "ANG", "AVIRIS-Next Generation"),
    ),
    Sensor(
        "hyperion",
        "EO-1 Hyperion, 242 bands",
        bands_of("hyperion"),
        Sources(
            "USGS, Hyperion centres and FWHM (as tabulated in ACOLITE)",
            "the hyperspectral settings of the pansharpening toolbox (Vivone et al.), 0.26 to 0.30 by spectral range",
            "L1: radiance times 40 (VNIR, bands 1 to 70) and times 80 (SWIR), Hyperion Science Data User's Guide",
        ),
        mtf_measured=True,
        nominal=True,
        bad_windows_nm=WATER_VAPOUR_NM,
        aliases=("Hyperion", "EO1_Hyperion", "EO-1 Hyperion"),
        opener="dualsr_geo.io.products.missions.eo1:open_delivery",
    ),
    Sensor(
        "desis",
        "DESIS, 235 bands",
        bands_of("desis"),
        Sources(
            "centres of a DESIS L2A product, to 0.1 nm; FWHM: 3.5 nm, the mean in Alonso et al., Data products, quality and "
            "validation of DESIS, Sensors 19 (2019) 4471",
            packing="a gain and an offset of each band, in METADATA.xml; -32768 for nodata",
        ),
        nominal=True,
        packing=UsualPacking("L2A surface reflectance", 1e-4, 0.0, nodata=-32768),
        aliases=("DESIS", "DESIS_HSI"),
        opener="dualsr_geo.io.products.spectrometers.desis:open_delivery",
    ),
    Sensor(
        "tanager",
        "Tanager, 426 bands",
        bands_of("tanager"),
        Sources(
            "Planet, Tanager product specification: 426 bands from 376 to 2499 nm; even steps and a FWHM of one step are "
            "assumed",
            packing="float, -9999 for nodata",
        ),
        nominal=True,
        bad_windows_nm=WATER_VAPOUR_NM,
        packing=UsualPacking("ortho surface reflectance, float", nodata=-9999),
        aliases=("Tanager", "Tanager-1"),
        opener="dualsr_geo.io.products.spectrometers.tanager:open_delivery",
    ),
    Sensor(
        "chikusei",
        "Chikusei, Headwall Hyperspec-VNIR-C, 128 bands",
        bands_of("chikusei"),
        Sources(
            "Yokoya and Iwasaki, Airborne hyperspectral data over Chikusei, 2016: 128 bands from 363 to 1018 nm, GSD "
            "2.5 m; even steps and a FWHM of one step are assumed"
        ),
        aliases=("Hyperspec-VNIR-C", "Headwall Hyperspec-VNIR-C", "Chikusei"),
        opener=MATLAB_OPENER,
    ),
    Sensor(
        "neon-aop",
        "NEON AOP imaging spectrometer, 426 bands",
        bands_of("neon-aop"),
        Sources(
            "emit-sds/SpectralUnmixing, neon_wavelengths.txt (commit af28ff8): 383.69 nm and steps of 5.007 nm; the FWHM "
            "of one step is assumed",
            packing="NEON.DP1.30006 / DP3.30006: reflectance times 10000, -9999 for nodata",
        ),
        nominal=True,
        bad_windows_nm=((1340.0, 1445.0), (1790.0, 1955.0)),
        packing=UsualPacking("surface directional reflectance", 1e-4, 0.0, nodata=-9999),
        aliases=("NEON", "NEON AOP", "NIS", "NEON Imaging Spectrometer"),
    ),
)
