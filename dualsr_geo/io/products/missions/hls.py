"""Harmonized Landsat Sentinel-2 (HLS): a folder of one file a band, L30 or S30."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd, repacked, stack
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.scene import Scene
from dualsr_geo.sensors.registry import find

# HLS.S30.T33UUB.2023163T100031.v2.0.B8A.tif
FILE = re.compile(
    r"(?P<granule>HLS\.(?P<kind>[LS])30\.T\w{5}\.\d{7}T\d{6}\.v[\d.]+)\.(?P<band>B\w{2})\.tif", re.IGNORECASE
)
PREFIX = "HLS."
# Reflective bands by kind, and the instrument whose wavelengths they have. Thermal bands have another unit.
REFLECTIVE: Mapping[str, tuple[str, ...]] = {
    "L": ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B09"),
    "S": ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"),
}
SENSORS = {"L": "landsat-8", "S": "sentinel-2a"}
GSD_M = 30.0
SCALE, NODATA = 1e-4, -9999.0


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is a folder with HLS bands."""
    return path.is_dir() and bool(_files(path))


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the reflective bands that are in the folder, as surface reflectance, ``stored / 10000``.

    Parameters
    ----------
    path : ProductPath
        The folder of a granule.
    gsd : float or None
        30 m, the only pixel size.
    sensor : str or None
        Not used.
    nodata : float or None
        Instead of -9999.

    Raises
    ------
    InputError
        If it has the bands of several granules, or none of reflectance.
    OptionError
        If `gsd` is not 30 m.
    """
    del sensor
    files = _files(path)
    granules = sorted({granule for granule, _, _ in files})
    if len(granules) > 1:
        raise InputError(
            f"{path} holds {len(granules)} granules ({granules[0]}, {granules[1]}, ...). Give the folder of one."
        )
    kind = granules[0][len(PREFIX)].upper()
    by_name = {band: file for _, band, file in files}
    names = [n for n in REFLECTIVE[kind] if n in by_name]
    if not names:
        raise InputError(f"{path} has none of the bands {', '.join(REFLECTIVE[kind])}. Fetch them.")
    choose_gsd({GSD_M: names}, gsd, granules[0])
    scene = stack([_band(by_name[n], nodata) for n in names], granules[0])
    tags = {"SENSOR": f"HLS {kind}30", "PROCESSING_LEVEL": "L2"}
    missing = [n for n in REFLECTIVE[kind] if n not in by_name]
    missing_note = (f"Bands {', '.join(missing)} are not in the folder.",) if missing else ()
    notes = (f"HLS {kind}30: {', '.join(names)}.", "Values are surface reflectance.", *missing_note)
    return Delivery(replace(scene, bands=_bands(kind, names), tags={"": tags}), (), "", "L2", notes)


def _files(folder: ProductPath) -> list[tuple[str, str, ProductPath]]:
    """Return granule, band and file of every band in a folder."""
    matches = ((FILE.fullmatch(f.name), f) for f in sorted(folder.glob(f"{PREFIX}*.tif")))
    return [(m["granule"], m["band"].upper(), f) for m, f in matches if m is not None]


def _band(file: ProductPath, nodata: float | None) -> Scene:
    opened = open_raster(os.fspath(file), bidx="1", nodata=NODATA if nodata is None else nodata).scene
    return repacked(opened, (SCALE,), (0.0,), "reflectance")


def _bands(kind: str, names: list[str]) -> tuple[Band, ...]:
    """Return the bands with the centres and widths of the instrument; its MTF is not that of the 30 m grid."""
    definitions = {re.sub(r"^B(\d)$", r"B0\1", b.name): b for b in find(SENSORS[kind]).bands}
    return tuple(
        Band(n, definitions[n].wavelength_nm, definitions[n].fwhm_nm, unit="reflectance")
        if n in definitions
        else Band(n, unit="reflectance")
        for n in names
    )
