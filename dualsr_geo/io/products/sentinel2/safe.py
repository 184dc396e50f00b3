"""Sentinel-2 SAFE folders, L1C and L2A: 20 m and 60 m bands, guided by the 10 m bands."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import cached_property
from xml.etree.ElementTree import Element

import numpy as np

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, repacked, stack
from dualsr_geo.io.products.metadata_files import parse_xml, require_text, to_divisor, to_number
from dualsr_geo.io.products.sentinel2.bands import (
    NODATA,
    bands_of_level,
    choose_group,
    guide_note,
    has_offset,
    padded,
    present_groups,
    value_note,
)
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.scene import Scene

METADATA = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")
# Before December 2016 S2A_OPER_MTD_SAFL1C_PDMC_....xml, and S2A_USER_MTD_SAFL2A_....xml of Sen2Cor.
OTHER_METADATA = ("MTD_MSI*.xml", "S2*_MTD_SAF*.xml", "S2*_MSIL*.xml")
_METADATA_NAME = re.compile(
    r"^(?:MTD_MSI|S2[A-Z]_(?:(?:OPER|USER)_)?(?:MTD_)?(?:SAF|MSI))L\d[\w-]*\.xml$", re.IGNORECASE
)
# Of one granule.
_GRANULE_NAME = re.compile(r"^(?:MTD_TL|S2[A-Z]_(?:OPER|USER)_MTD_L\d\w_TL_\w+)\.xml$", re.IGNORECASE)
LEVELS = ("L1C", "L2A")
GRANULES = "GRANULE"
CLASSIFICATION = "R20m/*_SCL_20m.jp2"


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is a Sentinel-2 SAFE folder, its metadata, or one of its granules."""
    if path.is_dir():
        safe = path.name.upper().startswith("S2") and path.suffix.upper() == ".SAFE"
        return safe or any((path / name).is_file() for name in METADATA) or _is_granule(path)
    return bool(_METADATA_NAME.match(path.name) or _GRANULE_NAME.match(path.name))


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the bands of one GSD, guided by the 10 m bands.

    Reflectance is (stored + offset) / 10000, with the offset of each band and the divisor of the metadata.

    Parameters
    ----------
    path : ProductPath
        The SAFE folder, its metadata, or one granule of a product of several (``X.SAFE/GRANULE/NAME``).
    gsd : float or None
        10, 20 or 60 m; 20 by default.
    sensor : str or None
        Not used: the metadata name the spacecraft.
    nodata : float or None
        Instead of 0.

    Raises
    ------
    InputError
        If the metadata or a band is missing, or they contradict each other.
    OptionError
        If there are no bands of `gsd`.
    """
    del sensor
    product = _read(path)
    expected, available = bands_of_level(product.level), product.groups
    own, sharp = choose_group(expected, available, gsd, product.folder.name)
    scene = product.open(own, nodata)
    guides = () if sharp is None else (product.open(sharp, nodata),)
    notes = (*product.notes, *guide_note(expected, available))
    return Delivery(
        scene,
        guides,
        product.sensor,
        product.level,
        notes,
        gsds=tuple(sorted(available)),
        classification=product.classification,
    )


@dataclass(frozen=True)
class _Product:
    """The metadata in an MTD file, the folder of the product, and its granule."""

    document: ProductPath
    folder: ProductPath
    root: Element
    granule: str

    @cached_property
    def level(self) -> str:
        text = require_text(self.root, "PROCESSING_LEVEL", self.folder)
        # Pilot products are of Level-2Ap.
        level = text.replace("Level-", "L")[:3].upper()
        if level not in LEVELS:
            raise InputError(
                f"{self.document} is of {text}; levels 1C and 2A are supported. Give a product of one of these."
            )
        return level

    @property
    def sensor(self) -> str:
        return require_text(self.root, "SPACECRAFT_NAME", self.folder).lower()

    @cached_property
    def groups(self) -> dict[float, tuple[str, ...]]:
        """Names of the bands that are there by GSD, metres."""
        groups = bands_of_level(self.level)
        present = {g: [n for n in names if any(self.folder.glob(self._pattern(n, g)))] for g, names in groups.items()}
        where = f"{self.document} is there, and {GRANULES}/{self.granule}/IMG_DATA next to it"
        return present_groups(groups, present, where)

    @property
    def baseline(self) -> str:
        return require_text(self.root, "PROCESSING_BASELINE", self.folder).removeprefix("N")

    @cached_property
    def offsets(self) -> dict[str, float]:
        """Offset added to stored values, by band; empty before baseline 04.00."""
        name = "BOA_ADD_OFFSET" if self.level == "L2A" else "RADIO_ADD_OFFSET"
        numbers = {e.get("band_id"): to_number(e.text or "", name, self.folder) for e in self.root.iter(name)}
        if not numbers and has_offset(to_number(self.baseline, "PROCESSING_BASELINE", self.folder)):
            raise InputError(
                f"{self.folder.name} is of processing baseline {self.baseline}, which adds an offset to all values, but "
                f"its metadata have no {name}. Fetch the metadata file again."
            )
        return {n: numbers[i] for i, n in self._names_by_id.items() if i in numbers}

    @property
    def notes(self) -> tuple[str, ...]:
        copies = ("Bands are read at the pixel size at which they are measured.",) if self.level == "L2A" else ()
        return (value_note(self.level, self.baseline, self.offsets.values()), *copies)

    @property
    def _names_by_id(self) -> dict[str | None, str]:
        """Names of the bands in file names, such as B01, by their number in the metadata."""
        return {e.get("bandId"): padded(e.get("physicalBand", "")) for e in self.root.iter("Spectral_Information")}

    def open(self, gsd: float, nodata: float | None) -> Scene:
        return stack([self._band(name, gsd, nodata) for name in self.groups[gsd]], self.name)

    @property
    def name(self) -> str:
        """The product's name, or that of the granule which was given."""
        return self.folder.stem if self.granule == "*" else self.granule

    @property
    def classification(self) -> Scene | None:
        """The scene classification of L2A; None where it is not delivered."""
        images = sorted(self.folder.glob(f"{GRANULES}/{self.granule}/IMG_DATA/{CLASSIFICATION}"))
        return open_raster(os.fspath(images[0]), bidx="1", nodata=None).scene if len(images) == 1 else None

    def _band(self, name: str, gsd: float, nodata: float | None) -> Scene:
        file = os.fspath(self._image(name, gsd))
        opened = open_raster(file, bidx="1", nodata=NODATA if nodata is None else nodata).scene
        divisor = self._divisor
        scene = repacked(opened, (1 / divisor,), (self.offsets.get(name, 0.0) / divisor,), "reflectance")
        tags = {"SENSOR": self.sensor, "PROCESSING_LEVEL": self.level, "PROCESSING_BASELINE": self.baseline}
        start = self.root.findtext(".//PRODUCT_START_TIME")
        acquisition = {"ACQUISITION": start} if start else {}
        return replace(scene, bands=(self._band_metadata(name),), tags={"": tags | acquisition})

    @property
    def _divisor(self) -> float:
        tags = ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE")
        tag = next((t for t in tags if self.root.findtext(f".//{t}")), tags[0])
        tag = tag if self.level == "L2A" else "QUANTIFICATION_VALUE"
        return to_divisor(require_text(self.root, tag, self.folder), tag, self.folder)

    def _pattern(self, name: str, gsd: float) -> str:
        file = f"R{gsd:g}m/*_{name}_{gsd:g}m.jp2" if self.level == "L2A" else f"*_{name}.jp2"
        return f"{GRANULES}/{self.granule}/IMG_DATA/{file}"

    def _image(self, name: str, gsd: float) -> ProductPath:
        pattern = self._pattern(name, gsd)
        images = sorted(self.folder.glob(pattern))
        if not images:
            raise InputError(
                f"{self.folder} lacks band {name}: there is no {pattern}. Fetch it, or choose other bands with --gsd."
            )
        granules = sorted({image.parts[image.parts.index(GRANULES) + 1] for image in images})
        if len(granules) > 1:
            raise InputError(
                f"{self.folder} holds {len(granules)} granules, of one tile each ({', '.join(granules[:2])}, ...). "
                f"Give one of them, e.g. {self.folder / GRANULES / granules[0]}."
            )
        if len(images) > 1:
            raise InputError(
                f"{self.folder} holds {len(images)} files of band {name} ({images[0].name}, {images[1].name}). Keep "
                "those of one product."
            )
        return images[0]

    def _band_metadata(self, name: str) -> Band:
        """Return a band with its centre and the FWHM of its response, from the metadata."""
        for element in self.root.iter("Spectral_Information"):
            if padded(element.get("physicalBand", "")) == name:
                centre = element.findtext("Wavelength/CENTRAL")
                width = _width(element.findtext("Spectral_Response/VALUES"), element.findtext("Spectral_Response/STEP"))
                return Band(name, float(centre) if centre else None, width, unit="reflectance")
        return Band(name, unit="reflectance")


def _read(path: ProductPath) -> _Product:
    if _GRANULE_NAME.match(path.name):
        path = path.parent
        if not _is_granule(path):
            raise InputError(
                f"{path} holds the metadata of one granule, and is not in the {GRANULES} folder of a product. Give the SAFE folder."
            )
    if _is_granule(path):
        folder, granule = path.parent.parent, path.name
    elif path.is_dir():
        folder, granule = path, "*"
    else:
        return _Product(path, path.parent, parse_xml(path), "*")
    document = _document(folder)
    if document is None:
        raise InputError(
            f"{folder} holds neither {METADATA[0]} nor {METADATA[1]}. Fetch the metadata file of the product."
        )
    return _Product(document, folder, parse_xml(document), granule)


def _document(folder: ProductPath) -> ProductPath | None:
    """Return the metadata file of a product."""
    named = (folder / name for name in METADATA)
    others = (file for pattern in OTHER_METADATA for file in sorted(folder.glob(pattern)))
    return next((file for file in (*named, *others) if file.is_file()), None)


def _is_granule(path: ProductPath) -> bool:
    """Say whether a path is the folder of a granule in the folder of a product."""
    return path.parent.name == GRANULES and path.is_dir() and _document(path.parent.parent) is not None


def _width(values: str | None, step: str | None) -> float | None:
    """Return the FWHM (nm) of a response at even steps of wavelength (nm)."""
    response = np.array((values or "").split(), dtype=float)
    return float(step or 1) * int((response >= response.max() / 2).sum()) if len(response) else None
