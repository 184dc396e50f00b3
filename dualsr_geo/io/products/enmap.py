"""EnMAP deliveries, L2A and L1C: a cube and its METADATA.XML."""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from xml.etree.ElementTree import Element

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd, is_stored, repacked
from dualsr_geo.io.products.metadata_files import parse_xml, require_text
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster.bands import Band

METADATA, CUBE = "-METADATA.XML", "-SPECTRAL_IMAGE"
PREFIX = "ENMAP"
# Names of cubes as delivered, and their suffixes in the formats of delivery.
DELIVERED = re.compile(r".+-SPECTRAL_IMAGE(?:_COG)?\.\w+", re.IGNORECASE)
SUFFIXES = (".TIF", ".TIFF", ".GEOTIFF", ".BSQ", ".BIL", ".BIP")
GSD_M = 30.0
# L2A stores reflectance times 10000; L1C has a gain for each band.
REFLECTANCE_SCALE = 1e-4
LEVELS = ("L2A", "L1C")


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is an EnMAP delivery's folder, metadata or cube."""
    if not path.name.upper().startswith(PREFIX):
        return path.is_dir() and any(f.name.upper().startswith(PREFIX) for f in path.glob(f"*{METADATA}"))
    if path.is_dir() or path.name.upper().endswith(METADATA) or DELIVERED.fullmatch(path.name):
        return True
    return _is_cube(path) and _document_of(path).is_file()


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the cube with the wavelengths and scales of the metadata; all bands, in the order of the file.

    Bands whose standard deviation in the metadata is 0, as in the water vapour gaps, are marked as bad and
    kept.

    Parameters
    ----------
    path : Path
        The folder, its ``-METADATA.XML``, or its ``-SPECTRAL_IMAGE.TIF``.
    gsd : float or None
        30 m, the only pixel size.
    sensor : str or None
        Not used.
    nodata : float or None
        Instead of the nodata value of the cube.

    Raises
    ------
    InputError
        If metadata or cube are missing, contradict each other, or are of level L0 or L1B.
    OptionError
        If `gsd` is not 30 m.
    """
    del sensor
    document = _document(path)
    root = parse_xml(document)
    level = require_text(root, "level", document)
    if level not in LEVELS:
        raise InputError(
            f"{document.name} is of level {level}, which is not on a map grid. Give a product of level {' or '.join(LEVELS)}."
        )
    choose_gsd({GSD_M: ("all",)}, gsd, document.name)
    cube = path if _is_cube(path) else _cube(document)
    opened = open_raster(os.fspath(cube), bidx=None, nodata=nodata).scene
    if DELIVERED.fullmatch(cube.name) is None and not is_stored(opened):
        return Delivery(opened)
    bands = _bands(root, level)
    if len(bands) != opened.count:
        raise InputError(
            f"{cube.name} has {opened.count} bands, but {document.name} describes {len(bands)}. Fetch both again."
        )
    scales, offsets = _packing(root, level, len(bands))
    scene = repacked(opened, scales, offsets)
    start = root.findtext(".//startTime")
    tags = {"SENSOR": "EnMAP", "PROCESSING_LEVEL": level} | ({"ACQUISITION": start} if start else {})
    name = document.name[: -len(METADATA)]
    return Delivery(replace(scene, bands=bands, tags={"": tags}, name=name), (), "enmap", level, _notes(bands, level))


def _is_cube(path: ProductPath) -> bool:
    """Say whether a path is a cube, as delivered or made of one: a part that has its bands is opened like the whole."""
    return not path.is_dir() and CUBE in path.name.upper()


def _document_of(cube: ProductPath) -> ProductPath:
    return cube.with_name(cube.name[: cube.name.upper().find(CUBE)] + METADATA)


def _document(path: ProductPath) -> ProductPath:
    if path.is_dir():
        documents = sorted(path.glob(f"{PREFIX}*{METADATA}"))
        if len(documents) != 1:
            raise InputError(f"{path} holds {len(documents)} files *{METADATA}, not one. Give that of the product.")
        return documents[0]
    document = _document_of(path) if _is_cube(path) else path
    if not document.is_file():
        raise InputError(
            f"{document} does not exist, so scale and wavelengths of the cube are not known. Put it into the folder "
            "of the cube, or rename the cube to read it as a plain raster."
        )
    return document


def _is_delivered(file: ProductPath) -> bool:
    return DELIVERED.fullmatch(file.name) is not None and file.suffix.upper() in SUFFIXES


def _cube(document: ProductPath) -> ProductPath:
    stem = document.name[: -len(METADATA)] + CUBE
    cubes = [f for f in sorted(document.parent.glob(f"{stem}*")) if _is_delivered(f)]
    if not cubes:
        raise InputError(f"{document.parent} lacks {stem}.TIF. Fetch the cube of the product.")
    return cubes[0]


def _bands(root: Element, level: str) -> tuple[Band, ...]:
    unit = "reflectance" if level == "L2A" else "W m-2 sr-1 nm-1"
    deviations = {e.get("number"): _float(e, "stdDeviation") for e in root.findall(".//bandStatistics/bandID")}
    return tuple(
        Band(
            None,
            _float(e, "wavelengthCenterOfBand"),
            _float(e, "FWHMOfBand"),
            good=bool(deviations.get(e.get("number"), 1.0)),
            unit=unit,
        )
        for e in root.findall(".//bandCharacterisation/bandID")
    )


def _packing(root: Element, level: str, count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if level == "L2A":
        return (REFLECTANCE_SCALE,) * count, (0.0,) * count
    elements = root.findall(".//bandCharacterisation/bandID")
    gains = tuple(_float(e, "GainOfBand") or 1.0 for e in elements)
    return gains, tuple(_float(e, "OffsetOfBand") or 0.0 for e in elements)


def _notes(bands: tuple[Band, ...], level: str) -> tuple[str, ...]:
    quantity = "surface reflectance" if level == "L2A" else "top-of-atmosphere radiance"
    bad = sum(not b.good for b in bands)
    bad_note = (f"{bad} of {len(bands)} bands have no variation in the metadata and are marked as bad.",) if bad else ()
    return (f"Values are {quantity}.", *bad_note)


def _float(element: Element, name: str) -> float | None:
    """Return a finite number; None where there is none."""
    try:
        value = float(element.findtext(name) or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
