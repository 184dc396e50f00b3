"""DESIS deliveries, L2A and L1C: a cube and its METADATA.xml."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from xml.etree.ElementTree import Element

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd, is_stored, repacked
from dualsr_geo.io.products.metadata_files import parse_xml, to_number
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster.bands import Band

PREFIX, METADATA, CUBE = "DESIS-HSI-", "-METADATA.XML", "-SPECTRAL_IMAGE"
# Names of cubes as delivered.
DELIVERED = re.compile(r".+-SPECTRAL_IMAGE(?:_COG)?\.\w+", re.IGNORECASE)
SUFFIXES = (".TIF", ".TIFF")
GSD_M = 30.0
LEVELS = ("L2A", "L1C")
# DLR, DESIS products: L1C in mW cm-2 sr-1 um-1, after gain and offset.
UNITS = {"L2A": "reflectance", "L1C": "mW cm-2 sr-1 um-1"}


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is a DESIS delivery's folder, metadata or cube."""
    name = path.name.upper()
    if path.is_dir():
        return name.startswith(PREFIX) or bool(_documents(path))
    if not name.startswith(PREFIX):
        return False
    if name.endswith(METADATA) or DELIVERED.fullmatch(path.name):
        return True
    return _is_cube(path) and bool(_documents_of(path))


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the cube with the wavelengths, gains and offsets of the metadata; all bands, in the order of the file.

    Parameters
    ----------
    path : ProductPath
        The folder, its ``-METADATA.xml``, or its ``-SPECTRAL_IMAGE.tif``.
    gsd : float or None
        30 m, the only pixel size.
    sensor : str or None
        Not used.
    nodata : float or None
        Instead of the background value of the metadata.

    Raises
    ------
    InputError
        If metadata or cube are missing, contradict each other, or are of level L1A or L1B.
    OptionError
        If `gsd` is not 30 m.
    """
    del sensor
    document = _document(path)
    level = document.name[len(PREFIX) :][:3].upper()
    if level not in LEVELS:
        raise InputError(
            f"{document.name} is of level {level}, which is not on a map grid. Give a product of level {' or '.join(LEVELS)}."
        )
    root = parse_xml(document)
    choose_gsd({GSD_M: ("all",)}, gsd, document.name)
    cube = path if _is_cube(path) else _cube(document)
    background = root.findtext(".//backgroundValue")
    opened = open_raster(os.fspath(cube), bidx=None, nodata=nodata).scene
    if DELIVERED.fullmatch(cube.name) is None and not is_stored(opened):
        return Delivery(opened)
    if nodata is None and background is not None and background.strip():
        nodata = to_number(background, "backgroundValue", document)
        opened = open_raster(os.fspath(cube), bidx=None, nodata=nodata).scene
    described = [e for e in root.iter("band") if e.find("wavelengthCenterOfBand") is not None]
    if len(described) != opened.count:
        raise InputError(
            f"{cube.name} has {opened.count} bands, but {document.name} describes {len(described)}. Fetch both again."
        )
    scales = [_number(e, "gainOfBand", document) for e in described]
    offsets = [_number(e, "offsetOfBand", document) for e in described]
    bands = tuple(_band(e, UNITS[level], document) for e in described)
    scene = repacked(opened, scales, offsets)
    start = root.findtext(".//startTime")
    tags = {"SENSOR": "DESIS", "PROCESSING_LEVEL": level} | ({"ACQUISITION": start} if start else {})
    scene = replace(scene, bands=bands, tags={"": tags}, name=document.name[: -len(METADATA)])
    quantity = "surface reflectance" if level == "L2A" else "top-of-atmosphere radiance"
    return Delivery(scene, (), "desis", level, (f"Values are {quantity}.",))


def _documents(folder: ProductPath) -> list[ProductPath]:
    return sorted(f for f in folder.glob(f"{PREFIX}*") if f.name.upper().endswith(METADATA))


def _is_cube(path: ProductPath) -> bool:
    """Say whether a path is a cube, as delivered or made of one: a part that has its bands is opened like the whole."""
    return not path.is_dir() and CUBE in path.name.upper()


def _documents_of(cube: ProductPath) -> list[ProductPath]:
    return [f for f in _documents(cube.parent) if f.name[: -len(METADATA)] == _stem(cube)]


def _stem(cube: ProductPath) -> str:
    return cube.name[: cube.name.upper().find(CUBE)]


def _document(path: ProductPath) -> ProductPath:
    if path.is_dir():
        documents = _documents(path)
        if len(documents) != 1:
            raise InputError(f"{path} holds {len(documents)} files *-METADATA.xml, not one. Give that of the product.")
        return documents[0]
    if not _is_cube(path):
        return path
    documents = _documents_of(path)
    if not documents:
        raise InputError(
            f"{path.parent} lacks {_stem(path)}-METADATA.xml, so scales and wavelengths of the cube are not known. Put it into "
            "the folder of the cube, or rename the cube to read it as a plain raster."
        )
    return documents[0]


def _is_delivered(file: ProductPath) -> bool:
    return DELIVERED.fullmatch(file.name) is not None and file.suffix.upper() in SUFFIXES


def _cube(document: ProductPath) -> ProductPath:
    stem = document.name[: -len(METADATA)] + CUBE
    cubes = [f for f in sorted(document.parent.glob(f"{stem}*")) if _is_delivered(f)]
    if not cubes:
        raise InputError(f"{document.parent} lacks {stem}.tif. Fetch the cube of the product.")
    return cubes[0]


def _band(element: Element, unit: str, document: ProductPath) -> Band:
    return Band(
        None,
        _wavelength(element, "wavelengthCenterOfBand", document),
        _wavelength(element, "wavelengthWidthOfBand", document),
        unit=unit,
    )


def _wavelength(element: Element, name: str, document: ProductPath) -> float | None:
    """Return a wavelength; None where there is none, or none above 0."""
    text = element.findtext(name)
    value = to_number(text, name, document) if text and text.strip() else 0.0
    return value if value > 0 else None


def _number(element: Element, name: str, document: ProductPath) -> float:
    return to_number(element.findtext(name) or "", name, document)
