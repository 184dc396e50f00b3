"""Level 2 of Collection 1, as USGS made it on demand (ESPA): bands named ``.._sr_band4.tif``, described by an XML file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import named_bands, repacked, stack
from dualsr_geo.io.products.landsat.file_names import ProductName, product_name
from dualsr_geo.io.products.landsat.instruments import Instrument, instrument_of_letter
from dualsr_geo.io.products.metadata_files import parse_xml, require_text, to_number
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.readers.references.local import require_inside
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster.scene import Scene

MARK = b"<espa_metadata"
# Bytes at the start of a file in which the mark is.
HEAD_BYTES = 200
# Products of reflectance in the order in which one is taken, and sentences for the user.
PRODUCTS = {
    "sr_refl": "Values are surface reflectance (Collection 1, ESPA).",
    "toa_refl": "Values are top-of-atmosphere reflectance (Collection 1, ESPA).",
}
LEVELS = {"sr_refl": "SR", "toa_refl": "TOA"}
DEFAULT_FILL = "-9999"


def espa_document(path: ProductPath) -> ProductPath | None:
    """Return the XML file that a path is, or that is in it; None if there is none."""
    candidates = sorted(path.glob("*.xml")) if path.is_dir() else [path]
    return next((c for c in candidates if _is_document(c)), None)


def _is_document(path: ProductPath) -> bool:
    name = path.name
    if not name.endswith(".xml") or name.endswith("_MTL.xml") or product_name(name) is None or not path.is_file():
        return False
    return MARK in path.read_bytes()[:HEAD_BYTES]


@dataclass(frozen=True)
class EspaProduct:
    """The bands of reflectance that an XML file of ESPA describes.

    Attributes
    ----------
    document : ProductPath
    root : Element
    acquired : ProductName
        What the name of the product states.
    instrument : Instrument
    product : str
        A key of `PRODUCTS`.
    """

    document: ProductPath
    root: Element
    acquired: ProductName
    instrument: Instrument
    product: str

    @classmethod
    def of_document(cls, document: ProductPath) -> EspaProduct:
        """Return the product that an XML file describes.

        Raises
        ------
        InputError
            If it describes no reflectance of a Landsat.
        """
        acquired = product_name(document.name)
        root = parse_xml(document)
        images = [b.get("product") for b in root.iter("band") if b.get("category") == "image"]
        product = next((p for p in PRODUCTS if p in images), None)
        if acquired is None or product is None:
            raise InputError(
                f"{document} describes no bands of reflectance. Order surface reflectance, or give Level 1."
            )
        try:
            taken_by = instrument_of_letter(acquired.number, acquired.letter)
        except KeyError:
            raise InputError(
                f"{document.name} is named as of a Landsat that has no such instrument. Rename it."
            ) from None
        return cls(document, root, acquired, taken_by, product)

    @property
    def level(self) -> str:
        """The level, in ESPA's notation."""
        return LEVELS[self.product]

    @property
    def note(self) -> str:
        """What the values are."""
        return PRODUCTS[self.product]

    @property
    def has_images(self) -> bool:
        """Whether the file of any band is there."""
        return any(self._path(b).is_file() for b in self._bands())

    def open(self, nodata: float | None) -> Scene:
        """Open the bands as one scene.

        Raises
        ------
        InputError
            If one is missing.
        """
        bands = self._bands()
        scene = stack([self._open(b, nodata) for b in bands], self.document.stem)
        names = [f"B{_number(b)}" for b in bands]
        date, time = (self.root.findtext(f".//{n}", "").strip() for n in ("acquisition_date", "scene_center_time"))
        tags = {
            "SENSOR": self.instrument.sensor,
            "PROCESSING_LEVEL": self.level,
            "ACQUISITION": f"{date}T{time}".strip("T"),
        }
        return replace(scene, bands=named_bands(self.instrument.sensor, names, "reflectance"), tags={"": tags})

    def _bands(self) -> Sequence[Element]:
        reflective = self.instrument.reflective[1]
        bands = [b for b in self.root.iter("band") if b.get("product") == self.product and b.get("category") == "image"]
        return sorted((b for b in bands if _number(b) in reflective), key=lambda b: reflective.index(_number(b)))

    def _open(self, band: Element, nodata: float | None) -> Scene:
        path = self._path(band)
        if not path.is_file():
            raise InputError(f"{self.document.parent} lacks band {_number(band)}: there is no {path.name}. Fetch it.")
        scale, offset, fill = (
            to_number(band.get(name, default), name, self.document)
            for name, default in (("scale_factor", "1"), ("add_offset", "0"), ("fill_value", DEFAULT_FILL))
        )
        opened = open_raster(os.fspath(path), bidx="1", nodata=fill if nodata is None else nodata).scene
        return repacked(opened, (scale,), (offset,), "reflectance")

    def _path(self, band: Element) -> ProductPath:
        path = self.document.parent / require_text(band, "file_name", self.document)
        require_inside(path, self.document)
        return path


def _number(band: Element) -> str:
    """Return the number in the name of a band, e.g. ``"4"`` of sr_band4."""
    return (band.get("name") or "").rpartition("band")[2]
