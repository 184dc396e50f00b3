"""PlanetScope scenes: the _AnalyticMS or _AnalyticMS_SR image of a SuperDove or Dove, with its metadata."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd, is_stored, named_bands, repacked
from dualsr_geo.io.products.metadata_files import parse_xml, to_number
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster import grid
from dualsr_geo.raster.scene import Scene
from dualsr_geo.sensors.registry import find

# 20230612_100031_12_2486_3B_AnalyticMS_SR_8b_clip.tif: scene, level, and what the image is.
IMAGE = re.compile(
    r"(?P<scene>\d{8}_\d{6}_(?:\d\d_)?[0-9a-z]{4})_(?P<level>1B|3A|3B)_AnalyticMS(?P<rest>\w*)\.tiff?", re.IGNORECASE
)
# Endings of images without the spectral bands: masks, and counts before calibration.
OTHER = re.compile(r"(?:_udm2?|_DN)(?:_|$)", re.IGNORECASE)
# Level of the images without a map grid.
BASIC = "1B"
NODATA = 0.0
# _SR and _toar store reflectance times 10000, the others radiance times 100.
REFLECTANCE_SCALE, RADIANCE_SCALE = 1e-4, 0.01
RADIANCE_UNIT = "W m-2 sr-1 um-1"
SENSORS = {8: "planetscope-8b", 4: "planetscope"}
# Instrument in the metadata with other bands.
OLD_DOVE = {"PS2": "planetscope-ps2"}
# Images that a message lists.
MAX_LISTED = 4


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is a PlanetScope image, or the folder of an order with some."""
    return bool(_images(path)) if path.is_dir() else _match(path.name) is not None


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the image as reflectance; as radiance, if it is one and the coefficients of the metadata are missing.

    Surface reflectance is ``stored / 10000``; top-of-atmosphere reflectance is ``stored * reflectanceCoefficient``
    of the ``_metadata.xml``; radiance is ``stored / 100``. Masks (UDM2) are not applied.

    Parameters
    ----------
    path : ProductPath
        The image, or a folder with the image of one scene; of radiance and surface reflectance the latter is opened.
    gsd : float or None
        The pixel size, the only one.
    sensor : str or None
        Not used: bands and metadata identify the instrument.
    nodata : float or None
        Instead of 0.

    Raises
    ------
    InputError
        If the image is not on a map grid, or has neither four nor eight bands.
    OptionError
        If `gsd` is not the pixel size.
    """
    del sensor
    image = _Image.of(_one_image(path))
    if image.level == BASIC:
        raise InputError(
            f"{image.path.name} is of level 1B (Basic), which is not on a map grid. Order the 3B (Ortho) product of the scene."
        )
    opened = _opened(image.path, nodata)
    if not is_stored(opened):
        return Delivery(opened)
    if opened.count not in SENSORS:
        raise InputError(
            f"{image.path.name} has {opened.count} bands, but an AnalyticMS image has 4 or 8. Give it as delivered, or rename "
            "the file to read it as a plain raster."
        )
    if not grid.is_bare(opened.geobox) and grid.unit(opened.geobox) == "m":
        choose_gsd({grid.gsd(opened.geobox): ("all",)}, gsd, image.path.name)
    document = image.document()
    name = OLD_DOVE.get(document.instrument, SENSORS[opened.count]) if opened.count == 4 else SENSORS[opened.count]
    scene, note = _physical(opened, image, document)
    unit = scene.bands[0].unit
    tags = {"SENSOR": document.instrument or name, "PROCESSING_LEVEL": image.level}
    tags |= {"ACQUISITION": document.acquired} if document.acquired else {}
    bands = named_bands(name, [b.name for b in find(name).bands], unit)
    harmonized = ("They are harmonised to Sentinel-2.",) if "harmonized" in image.rest.lower() else ()
    scene = replace(scene, bands=bands, tags={"": tags}, name=image.path.stem)
    return Delivery(
        scene, (), name, f"{image.level} AnalyticMS{'_SR' if image.is_surface else ''}", (note, *harmonized)
    )


@dataclass(frozen=True)
class _Document:
    """What the metadata files of an image state.

    Attributes
    ----------
    instrument : str
        ``"PSB.SD"``, ``"PS2.SD"`` or ``"PS2"``; empty if not stated.
    acquired : str
        Time; empty if not stated.
    coefficients : mapping of int to float
        Factors from stored values to top-of-atmosphere reflectance, by band, from 1.
    """

    instrument: str = ""
    acquired: str = ""
    coefficients: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Image:
    """An image, and the parts of its name."""

    path: ProductPath
    scene: str
    level: str
    rest: str

    @classmethod
    def of(cls, path: ProductPath) -> _Image:
        match = _match(path.name)
        if match is None:
            raise InputError(f"{path.name} is not the name of a PlanetScope image. Give it as delivered.")
        return cls(path, match["scene"], match["level"].upper(), match["rest"])

    @property
    def is_surface(self) -> bool:
        return "_sr" in self.rest.lower()

    @property
    def is_reflectance(self) -> bool:
        return self.is_surface or "_toar" in self.rest.lower()

    def document(self) -> _Document:
        """Return what the files of metadata next to the image state, where there are any."""
        folder = self.path.parent
        stated = _Document()
        for path in sorted(folder.glob(f"{self.scene}_*metadata*")):
            if path.suffix.lower() == ".json":
                stated = _of_json(path, stated)
            elif path.suffix.lower() == ".xml" and ("_8b" in path.name) == ("_8b" in self.rest):
                stated = _of_xml(path, stated)
        return stated


def _match(name: str) -> re.Match[str] | None:
    match = IMAGE.fullmatch(name)
    return None if match is None or OTHER.search(match["rest"]) else match


def _images(folder: ProductPath) -> list[ProductPath]:
    """Return the images in a folder, and in the folders in it, as orders have them."""
    patterns = ("*_AnalyticMS*.tif", "*/*_AnalyticMS*.tif")
    return sorted(f for pattern in patterns for f in folder.glob(pattern) if _match(f.name) is not None)


def _one_image(path: ProductPath) -> ProductPath:
    """Return the image of one scene: of several of that scene surface reflectance, and of these the one with most bands."""
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"{path} does not exist. Give an AnalyticMS image, or the folder of an order.")
        return path
    images = [_Image.of(f) for f in _images(path)]
    if len({i.scene for i in images}) > 1:
        listed = ", ".join(i.path.name for i in images[:MAX_LISTED])
        more = f", and {len(images) - MAX_LISTED} more" if len(images) > MAX_LISTED else ""
        raise InputError(f"{path} holds the images of several scenes ({listed}{more}). Give one of them.")
    return max(images, key=lambda i: (i.is_surface, i.is_reflectance, "_8b" in i.rest, -len(i.rest))).path


def _opened(path: ProductPath, nodata: float | None) -> Scene:
    """Return an image as stored; of one that states no nodata value 0 is missing, as in all deliveries."""
    opened = open_raster(os.fspath(path), bidx=None, nodata=nodata).scene
    if nodata is None and opened.packing.nodata is None and is_stored(opened):
        return open_raster(os.fspath(path), bidx=None, nodata=NODATA).scene
    return opened


def _physical(opened: Scene, image: _Image, document: _Document) -> tuple[Scene, str]:
    """Return the scene in physical values, and a sentence about them."""
    count, zeros = opened.count, (0.0,) * opened.count
    if image.is_reflectance:
        quantity = "surface" if image.is_surface else "top-of-atmosphere"
        scene = repacked(opened, (REFLECTANCE_SCALE,) * count, zeros, "reflectance")
        return scene, f"Values are {quantity} reflectance."
    coefficients = [document.coefficients.get(i + 1) for i in range(count)]
    if None in coefficients:
        note = "Values are radiance: no _metadata.xml with the coefficients of reflectance is next to the image."
        return repacked(opened, (RADIANCE_SCALE,) * count, zeros, RADIANCE_UNIT), note
    scales = [c for c in coefficients if c is not None]
    return repacked(opened, scales, zeros, "reflectance"), "Values are top-of-atmosphere reflectance."


def _of_xml(path: ProductPath, stated: _Document) -> _Document:
    root = parse_xml(path)
    coefficients = {
        int(to_number(e.findtext("bandNumber") or "", "bandNumber", path)): to_number(
            e.findtext("reflectanceCoefficient") or "", "reflectanceCoefficient", path
        )
        for e in root.iter("bandSpecificMetadata")
    }
    instrument = root.findtext(".//Instrument/shortName") or stated.instrument
    acquired = root.findtext(".//acquisitionDateTime") or root.findtext(".//acquisitionDate") or stated.acquired
    return _Document(instrument.strip(), acquired.strip(), coefficients or stated.coefficients)


def _of_json(path: ProductPath, stated: _Document) -> _Document:
    try:
        properties = json.loads(path.read_bytes())["properties"]
        instrument, acquired = str(properties.get("instrument", "")), str(properties.get("acquired", ""))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as metadata: {error}. Fetch it again.") from error
    return replace(stated, instrument=stated.instrument or instrument, acquired=stated.acquired or acquired)
