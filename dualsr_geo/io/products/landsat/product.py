"""A Landsat product: its folder, the files of its bands, and what opens them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import named_bands, repacked, stack
from dualsr_geo.io.products.landsat.file_names import BandFile, ProductName, band_file, product_name
from dualsr_geo.io.products.landsat.instruments import Instrument, instrument_of_letter
from dualsr_geo.io.products.landsat.metadata import Metadata, documents_in, read_metadata
from dualsr_geo.io.products.landsat.values import Values, usual_values, values_of
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.readers.references.local import require_inside
from dualsr_geo.io.storage.folders.archives import ArchiveTree
from dualsr_geo.io.storage.folders.paths import ProductPath, VirtualPath
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.scene import Scene

# Of every band, whatever the tag of a file states: in Collection 1 that is 255, and the gaps of Landsat 7 are 0.
NODATA = 0.0
# Bands that a message names.
MAX_NAMED = 12


@dataclass(frozen=True)
class Product:
    """The bands of a product in a folder.

    Attributes
    ----------
    folder : ProductPath
    instrument : Instrument
    level : str
        In the notation of USGS, e.g. ``"L2SP"``.
    level_number : int
    files : mapping of str to str
        Names of the files by band, in the folder.
    metadata : Metadata or None
    name : str
    acquired : ProductName or None
        What its name states.
    """

    folder: ProductPath
    instrument: Instrument
    level: str
    level_number: int
    files: Mapping[str, str]
    metadata: Metadata | None
    name: str
    acquired: ProductName | None

    @classmethod
    def of_document(cls, document: ProductPath) -> Product:
        """Return the product that an MTL file describes."""
        metadata = read_metadata(document)
        level, number, folder = metadata.level, metadata.level_number, document.parent
        name = metadata.find("LANDSAT_PRODUCT_ID", ("PRODUCT_CONTENTS",)) or folder.name
        acquired = product_name(document.name) or product_name(name)
        return cls(folder, metadata.instrument, level, number, metadata.files, metadata, name, acquired)

    @classmethod
    def of_files(cls, folder: ProductPath, files: Mapping[str, BandFile]) -> Product:
        """Return the product of files without metadata.

        Parameters
        ----------
        folder : ProductPath
        files : mapping of str to BandFile
            What the names of the files state, all of one product, by name.
        """
        first = next(iter(files.values()))
        stated = first.product
        try:
            taken_by = instrument_of_letter(stated.number, stated.letter)
        except KeyError:
            raise InputError(
                f"{next(iter(files))} is named as a band of Landsat {stated.number}, which has no instrument "
                f"`{stated.letter}`. Rename the file, or give its bands as one raster (gdalbuildvrt -separate)."
            ) from None
        level = max(f.level for f in files.values())
        named = {f.band: name for name, f in files.items() if f.level == level}
        text = f"L{level} ARD" if stated.is_tile else stated.level or f"L{level}"
        return cls(folder, taken_by, text, level, named, None, stated.text, stated)

    @property
    def reflective(self) -> tuple[str, ...]:
        """Names of the reflective bands that it should have."""
        bands = self.instrument.reflective[self.level_number]
        if self.metadata is None:
            return tuple(b for b in bands if b in self.files)
        return () if self.metadata.is_only_thermal else tuple(b for b in bands if b not in self.metadata.absent)

    @property
    def thermal(self) -> tuple[str, ...]:
        """Names of the thermal bands that are there."""
        return tuple(b for b in self.instrument.thermal[self.level_number] if self.has(b))

    @property
    def pan(self) -> str | None:
        """Name of the panchromatic band; None where it is not there."""
        pan = self.instrument.pan
        return pan if pan is not None and self.level_number == 1 and self.has(pan) else None

    @property
    def is_complete(self) -> bool:
        """Whether all reflective bands of Level 2 are there, whose values are known without metadata."""
        return self.level_number == 2 and all(self.has(b) for b in self.instrument.reflective[2])

    def has(self, band: str) -> bool:
        """Say whether the file of a band is there."""
        return band in self.files and self._path(band).is_file()

    def open(self, bands: Sequence[str], nodata: float | None) -> tuple[Scene, Values]:
        """Open bands as one scene: all reflective, all thermal, or the panchromatic one.

        Raises
        ------
        InputError
            If one is missing, or its metadata are incomplete.
        """
        return self.described([self._band(b, nodata) for b in bands], bands)

    def described(self, opened: Sequence[Scene], bands: Sequence[str]) -> tuple[Scene, Values]:
        """Return opened images of some bands as one scene, with its values, names and tags."""
        values = self.values(bands)
        pairs = zip(opened, values.scales, values.offsets, strict=True)
        scene = stack([repacked(o, (s,), (f,), values.unit) for o, s, f in pairs], self.name)
        return replace(scene, bands=self._bands(bands, values), tags={"": self._tags(bands)}), values

    def values(self, bands: Sequence[str]) -> Values:
        """Return what the values of some bands are."""
        if self.metadata is None:
            return usual_values(bands, self.level_number, self.acquired.collection if self.acquired else "")
        return values_of(self.metadata, bands, self.level_number)

    def sensor_of(self, bands: Sequence[str]) -> str:
        """Return the name of the sensor of some bands in the registry."""
        if bands[0] == self.instrument.pan:
            return f"{self.instrument.sensor}-pan"
        return self.instrument.thermal_sensor if _is_thermal(bands, self.instrument) else self.instrument.sensor

    def require_bands(self) -> None:
        """Check that the files of some bands are there.

        Raises
        ------
        InputError
            If none is.
        """
        if not any(self.has(b) for b in self.files):
            first = next(iter(self.files.values()), "")
            named = (
                f"{self.metadata.document.name} names, e.g. {first}" if self.metadata and first else "it should have"
            )
            raise InputError(f"{self.folder} has none of the bands that {named}. Fetch them into this folder.")

    def _bands(self, bands: Sequence[str], values: Values) -> tuple[Band, ...]:
        names = [b if b.startswith("ST_") else f"B{b}" for b in bands]
        described = named_bands(
            self.sensor_of(bands), [n.removeprefix("ST_").partition("_VCID")[0] for n in names], values.unit
        )
        return tuple(replace(b, name=n) for b, n in zip(described, names, strict=True))

    def _tags(self, bands: Sequence[str]) -> dict[str, str]:
        tags = {"SENSOR": self.sensor_of(bands), "PROCESSING_LEVEL": self.level}
        if self.metadata is not None:
            return tags | {"ACQUISITION": self.metadata.acquisition}
        return tags | ({"ACQUISITION": _date(self.acquired.date)} if self.acquired else {})

    def _band(self, band: str, nodata: float | None) -> Scene:
        path = self._path(band)
        if not path.is_file():
            raise InputError(
                f"{self.folder} lacks band {band}: there is no {path.name}. Fetch it, or move the MTL file out of the folder to "
                "open only the bands that are there."
            )
        return open_raster(os.fspath(path), bidx="1", nodata=NODATA if nodata is None else nodata).scene

    def _path(self, band: str) -> ProductPath:
        if band not in self.files and self.metadata is not None:
            self.metadata.require(f"FILE_NAME_BAND_{band}", ("PRODUCT_CONTENTS", "PRODUCT_METADATA"))
        path = self.folder / self.files[band]
        require_inside(path, self.folder / "MTL")
        return path


def products_in(folder: ProductPath) -> list[Product]:
    """Return the products in a folder: those of its MTL files; without one those of its file names."""
    documents = documents_in(folder)
    if documents:
        return [Product.of_document(d) for d in documents]
    by_product: dict[str, dict[str, BandFile]] = {}
    for path in sorted(folder.glob("*")):
        if (band := band_file(path.name)) is not None:
            by_product.setdefault(band.product.text, {})[path.name] = band
    products = [Product.of_files(folder, files) for files in by_product.values()]
    in_archive = isinstance(folder, VirtualPath) and isinstance(folder.tree, ArchiveTree)
    if in_archive and not all(p.is_complete for p in products):
        # USGS puts an MTL file in every archive of a scene: one without it may be cut off, and lack bands.
        raise InputError(
            f"{folder} holds no *_MTL.txt, *_MTL.json or *_MTL.xml: it is incomplete. Fetch the archive again, or unpack it and "
            "give the folder if you want the bands that it has."
        )
    return products


def _is_thermal(bands: Sequence[str], taken_by: Instrument) -> bool:
    return bands[0] in (*taken_by.thermal[1], *taken_by.thermal[2])


def _date(text: str) -> str:
    """Return the date in the name of a product as the metadata write it: year, month and day, or year and its day."""
    form = "%Y%m%d" if len(text) == len("20170316") else "%Y%j"
    try:
        return datetime.strptime(text, form).date().isoformat()  # noqa: DTZ007  # a day has no zone
    except ValueError:
        return text
