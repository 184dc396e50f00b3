"""Folders of Sentinel-2 with one file a band: COGs of public catalogues, tiles of the AWS buckets, unpacked images.

The public COGs are ``B02.tif`` ... ``SCL.tif`` with a STAC item next to them. The buckets sentinel-s2-l1c and
sentinel-s2-l2a have ``B02.jp2`` ... or ``R10m/B02.jp2`` ..., with ``metadata.xml``, ``tileInfo.json`` and
``productInfo.json``. Images out of a SAFE folder are ``T33UUB_20230612T100031_B02_10m.jp2`` or without ``_10m``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, named_bands, repacked, stack
from dualsr_geo.io.products.sentinel2.bands import (
    NATIVE_BANDS,
    NODATA,
    bands_of_level,
    choose_group,
    guide_note,
    present_groups,
    value_note,
)
from dualsr_geo.io.products.sentinel2.documents import Documents, read_documents
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster import grid
from dualsr_geo.raster.scene import Scene

_IMAGE = re.compile(
    r"^(?P<of>(?:\w+_)??)(?P<band>B(?:0[1-9]|1[0-2]|8A)|SCL)(?:_(?P<gsd>10|20|60)m)?\.(?:tiff?|jp2)$", re.IGNORECASE
)
_FOLDER = re.compile(r"^R(?P<gsd>10|20|60)m$")
# Bands of which any two tell the folder from those of other instruments.
TYPICAL = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A")
MIN_TYPICAL = 2


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is a folder of Sentinel-2 with one file a band."""
    if not path.is_dir():
        return False
    return len({i.band for i in _images(path)}.intersection(TYPICAL)) >= MIN_TYPICAL


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the bands of one GSD, guided by the 10 m bands.

    Reflectance is stored / 10000, and from processing baseline 04.00 on (stored - 1000) / 10000, unless the item or
    the file states another scale and offset, or that the offset is applied already.

    Parameters
    ----------
    path : ProductPath
        The folder.
    gsd : float or None
        10, 20 or 60 m; 20 by default.
    sensor : str or None
        The satellite, where no document and no name states it.
    nodata : float or None
        Instead of 0.

    Raises
    ------
    InputError
        If a band is missing, or the files are of several products.
    OptionError
        If there are no bands of `gsd`.
    """
    product = _Folder(path, read_documents(path), _named_once(path), sensor)
    expected, available = product.expected, product.groups
    own, sharp = choose_group(expected, available, gsd, path.name)
    scene = product.open(available[own], own, nodata)
    guides = () if sharp is None else (product.open(available[sharp], sharp, nodata),)
    notes = (*product.notes, *_size_note(scene, own), *guide_note(expected, available))
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
class _Image:
    """A file of one band.

    Attributes
    ----------
    path : ProductPath
    band : str
    gsd : float or None
        Where its name or folder states it.
    of : str
        What its name has before the band, e.g. ``T33UUB_20230612T100031_``.
    """

    path: ProductPath
    band: str
    gsd: float | None
    of: str


@dataclass(frozen=True)
class _Folder:
    """A folder, its documents, and its files by band and GSD."""

    path: ProductPath
    documents: Documents
    images: Mapping[tuple[str, float], _Image]
    given: str | None

    @cached_property
    def level(self) -> str:
        if self.documents.level:
            return self.documents.level
        names = {band for band, _ in self.images}
        is_surface = "SCL" in names or any(i.gsd for i in self.images.values())
        return "L1C" if "B10" in names else "L2A" if is_surface else ""

    @cached_property
    def expected(self) -> dict[float, tuple[str, ...]]:
        """Names of the bands by GSD, metres; the cirrus band only where it is there."""
        return bands_of_level("L2A" if ("B10", 60.0) not in self.images else "L1C")

    @cached_property
    def groups(self) -> dict[float, tuple[str, ...]]:
        present = {g: [n for n in names if (n, float(g)) in self.images] for g, names in self.expected.items()}
        return present_groups(self.expected, present, str(self.path))

    @property
    def sensor(self) -> str:
        return self.documents.satellite or self.given or "sentinel-2a"

    @property
    def notes(self) -> tuple[str, ...]:
        documents = self.documents
        offset = documents.offset
        if offset is None:
            unknown = (
                "Neither a STAC item nor metadata.xml or tileInfo.json state the processing baseline, so no offset is applied; "
                "from baseline 04.00 (2022) on, values need one of -1000. Give the folder with its metadata."
            )
            values = f"Values are stored / 10000. {unknown}"
        else:
            applied = " (already applied)" if documents.is_applied else ""
            text = value_note(self.level, documents.baseline, [offset]).removesuffix(".")
            values = f"{text}{applied}, by {documents.source}."
        assumed = (
            () if documents.satellite or self.given else ("No document names the satellite; taken for Sentinel-2A.",)
        )
        return (values, *assumed)

    def open(self, names: tuple[str, ...], gsd: float, nodata: float | None) -> Scene:
        bands = named_bands(self.sensor, names, "reflectance")
        scene = stack([self._band(n, gsd, nodata) for n in names], self.path.name)
        stated = {"SENSOR": self.sensor, "PROCESSING_LEVEL": self.level, "ACQUISITION": self.documents.acquired}
        stated["PROCESSING_BASELINE"] = self.documents.baseline or ""
        return replace(scene, bands=bands, tags={"": {k: v for k, v in stated.items() if v}})

    @property
    def classification(self) -> Scene | None:
        """The scene classification; None where it is not there."""
        image = self.images.get(("SCL", 20.0))
        return None if image is None else open_raster(os.fspath(image.path), bidx="1", nodata=None).scene

    def _band(self, name: str, gsd: float, nodata: float | None) -> Scene:
        image = self.images.get((name, gsd))
        if image is None:
            raise InputError(
                f"{self.path} lacks band {name} of {gsd:g} m: there is no {name}.tif or {name}.jp2. Fetch it, or choose other "
                "bands with --gsd."
            )
        opened = open_raster(os.fspath(image.path), bidx="1", nodata=NODATA if nodata is None else nodata).scene
        scale, offset = self.documents.packing(name)
        if (opened.packing.scales, opened.packing.offsets) != ((1.0,), (0.0,)) or opened.packing.is_float:
            # The file states it itself, or holds physical values.
            return opened
        return repacked(opened, (scale,), (offset,), "reflectance")


def _images(folder: ProductPath) -> list[_Image]:
    """Return the files of bands in a folder, and in its folders R10m, R20m and R60m."""
    images = []
    for entry in sorted(folder.iterdir()):
        inner = _FOLDER.match(entry.name)
        for file in sorted(entry.iterdir()) if inner and entry.is_dir() else [entry]:
            match = _IMAGE.match(file.name)
            if match is not None:
                gsd = match["gsd"] or (inner and inner["gsd"])
                images.append(_Image(file, match["band"].upper(), float(gsd) if gsd else None, match["of"]))
    return images


def _named_once(folder: ProductPath) -> dict[tuple[str, float], _Image]:
    """Return the files by band and by the GSD at which it is measured; copies at other pixel sizes are left out.

    Raises
    ------
    InputError
        If a band is there twice, or the names are those of several products.
    """
    native = {name: float(gsd) for gsd, names in NATIVE_BANDS.items() for name in names} | {"SCL": 20.0}
    chosen: dict[tuple[str, float], _Image] = {}
    for image in _images(folder):
        gsd = native[image.band]
        if image.gsd not in (None, gsd):
            continue
        other = chosen.setdefault((image.band, gsd), image)
        if other is not image:
            raise InputError(
                f"{folder} holds band {image.band} as {other.path.name} and as {image.path.name}. Keep one of them."
            )
    first = next(iter(chosen.values()))
    for image in chosen.values():
        if image.of != first.of:
            raise InputError(
                f"{folder} holds files of several products: {first.path.name} and {image.path.name}. Keep those of one."
            )
    return chosen


def _size_note(scene: Scene, gsd: float) -> tuple[str, ...]:
    """Return a sentence about pixels of another size than that of the delivery; none where they are as delivered."""
    actual = grid.gsd(scene.geobox)
    if grid.unit(scene.geobox) != "m" or abs(actual / gsd - 1) < 0.02:
        return ()
    return (f"Its pixels are {actual:.4g} m, not the {gsd:g} m of the delivery: the files are overviews or resampled.",)
