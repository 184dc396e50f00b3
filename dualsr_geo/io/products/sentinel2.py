"""Sentinel-2 SAFE folders, L1C and L2A: 20 m and 60 m bands, guided by the 10 m bands."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

import numpy as np

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd, repacked, stack
from dualsr_geo.io.products.metadata_files import parse_xml, require_text, to_divisor, to_number
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.scene import Scene

# Bands by the GSD at which they are measured. L2A also has copies of finer bands at 20 m and 60 m.
NATIVE_BANDS: Mapping[float, tuple[str, ...]] = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B09", "B10"),
}
# The cirrus band measures the atmosphere and has no surface reflectance.
NOT_IN_L2A = ("B10",)
METADATA = ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml")
# From this processing baseline on, 1000 is added to stored values, so that dark pixels are above 0.
OFFSET_BASELINE = 4.0
NODATA = 0.0


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is a Sentinel-2 SAFE folder or its metadata."""
    if path.is_dir():
        safe = path.name.upper().startswith("S2") and path.suffix.upper() == ".SAFE"
        return safe or any((path / name).is_file() for name in METADATA)
    return path.name in METADATA


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the bands of one GSD, guided by the 10 m bands.

    Reflectance is (stored + offset) / 10000, with the offset and the divisor of the metadata.

    Parameters
    ----------
    path : Path
        The SAFE folder, or its MTD_MSIL1C.xml or MTD_MSIL2A.xml.
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
    own, sharp = choose_gsd(product.groups, gsd, product.folder.name)
    scene = product.open(own, nodata)
    guides = () if sharp is None else (product.open(sharp, nodata),)
    return Delivery(scene, guides, product.sensor, product.level, product.notes)


@dataclass(frozen=True)
class _Product:
    """The metadata in an MTD file, and the folder of the images."""

    folder: ProductPath
    root: Element
    level: str

    @property
    def sensor(self) -> str:
        return require_text(self.root, "SPACECRAFT_NAME", self.folder).lower()

    @property
    def groups(self) -> dict[float, tuple[str, ...]]:
        """Names of the bands by GSD, metres."""
        missing = NOT_IN_L2A if self.level == "L2A" else ()
        return {g: tuple(n for n in names if n not in missing) for g, names in NATIVE_BANDS.items()}

    @property
    def baseline(self) -> str:
        return require_text(self.root, "PROCESSING_BASELINE", self.folder)

    @property
    def offsets(self) -> dict[str, float]:
        """Offset added to stored values, by band; empty before baseline 04.00."""
        name = "BOA_ADD_OFFSET" if self.level == "L2A" else "RADIO_ADD_OFFSET"
        numbers = {e.get("band_id"): to_number(e.text or "", name, self.folder) for e in self.root.iter(name)}
        if not numbers and to_number(self.baseline, "PROCESSING_BASELINE", self.folder) >= OFFSET_BASELINE:
            raise InputError(
                f"{self.folder.name} is of processing baseline {self.baseline}, which adds an offset to all values, but "
                f"its metadata have no {name}. Fetch the metadata file again."
            )
        return {n: numbers[i] for i, n in self._names_by_id.items() if i in numbers}

    @property
    def notes(self) -> tuple[str, ...]:
        quantity = "top-of-atmosphere" if self.level == "L1C" else "surface"
        offsets = sorted(set(self.offsets.values()))
        offset_text = f"offset {', '.join(f'{v:g}' for v in offsets)}" if offsets else "no offset"
        copies = ("Bands are read at the pixel size at which they are measured.",) if self.level == "L2A" else ()
        return (f"Values are {quantity} reflectance; processing baseline {self.baseline}, {offset_text}.", *copies)

    @property
    def _names_by_id(self) -> dict[str | None, str]:
        """Names of the bands in file names, such as B01, by their number in the metadata."""
        return {e.get("bandId"): _padded(e.get("physicalBand", "")) for e in self.root.iter("Spectral_Information")}

    def open(self, gsd: float, nodata: float | None) -> Scene:
        return stack([self._band(name, gsd, nodata) for name in self.groups[gsd]], self.folder.stem)

    def _band(self, name: str, gsd: float, nodata: float | None) -> Scene:
        opened = open_raster(
            os.fspath(self._image(name, gsd)), bidx="1", nodata=NODATA if nodata is None else nodata
        ).scene
        tag = "BOA_QUANTIFICATION_VALUE" if self.level == "L2A" else "QUANTIFICATION_VALUE"
        divisor = to_divisor(require_text(self.root, tag, self.folder), tag, self.folder)
        scene = repacked(opened, (1 / divisor,), (self.offsets.get(name, 0.0) / divisor,), "reflectance")
        tags = {"SENSOR": self.sensor, "PROCESSING_LEVEL": self.level, "PROCESSING_BASELINE": self.baseline}
        start = self.root.findtext(".//PRODUCT_START_TIME")
        acquisition = {"ACQUISITION": start} if start else {}
        return replace(scene, bands=(self._band_metadata(name),), tags={"": tags | acquisition})

    def _image(self, name: str, gsd: float) -> ProductPath:
        pattern = f"R{gsd:g}m/*_{name}_{gsd:g}m.jp2" if self.level == "L2A" else f"*_{name}.jp2"
        pattern = f"GRANULE/*/IMG_DATA/{pattern}"
        images = sorted(self.folder.glob(pattern))
        if not images:
            raise InputError(
                f"{self.folder} lacks band {name}: there is no {pattern}. Fetch it, or choose other bands with --gsd."
            )
        if len(images) > 1:
            raise InputError(
                f"{self.folder} holds {len(images)} granules ({images[0].parts[-4]}, ...). Give a product of one tile."
            )
        return images[0]

    def _band_metadata(self, name: str) -> Band:
        """Return a band with its centre and the FWHM of its response, from the metadata."""
        for element in self.root.iter("Spectral_Information"):
            if _padded(element.get("physicalBand", "")) == name:
                centre = element.findtext("Wavelength/CENTRAL")
                width = _width(element.findtext("Spectral_Response/VALUES"), element.findtext("Spectral_Response/STEP"))
                return Band(name, float(centre) if centre else None, width, unit="reflectance")
        return Band(name, unit="reflectance")


def _read(path: ProductPath) -> _Product:
    document = next((path / n for n in METADATA if (path / n).is_file()), path)
    if document.is_dir():
        raise InputError(
            f"{path} holds neither {METADATA[0]} nor {METADATA[1]}. Fetch the metadata file of the product."
        )
    return _Product(document.parent, parse_xml(document), document.stem.removeprefix("MTD_MSI"))


def _padded(name: str) -> str:
    """Return B1 as B01; B8A is unchanged."""
    return re.sub(r"^B(\d)$", r"B0\1", name)


def _width(values: str | None, step: str | None) -> float | None:
    """Return the FWHM (nm) of a response at even steps of wavelength (nm)."""
    response = np.array((values or "").split(), dtype=float)
    return float(step or 1) * int((response >= response.max() / 2).sum()) if len(response) else None
