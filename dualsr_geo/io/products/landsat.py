"""Landsat 8 and 9 folders, Level 1 and Level 2: the reflective bands, guided by band 8 where it is delivered."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import Delivery, choose_gsd, named_bands, repacked, stack
from dualsr_geo.io.products.metadata_files import Groups, parse_groups, to_number
from dualsr_geo.io.readers.gdal import open_raster
from dualsr_geo.io.readers.references.local import require_inside
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster.scene import Scene

SPACECRAFT = {"LANDSAT_8": "landsat-8", "LANDSAT_9": "landsat-9"}
# Reflective bands of 30 m by level; surface reflectance has no cirrus band. Thermal bands have another unit.
REFLECTIVE = {1: ("1", "2", "3", "4", "5", "6", "7", "9"), 2: ("1", "2", "3", "4", "5", "6", "7")}
PAN = "8"
GSD_M, PAN_GSD_M = 30.0, 15.0
NODATA = 0.0
# Groups of the MTL file, of Collection 2 and of Collection 1. Level 2 also has the groups of its Level 1, in
# which the same names have other values.
CONTENT_GROUPS = ("PRODUCT_CONTENTS", "PRODUCT_METADATA")
RESCALING_GROUPS = {
    1: ("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING"),
    2: ("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS",),
}
IMAGE_GROUPS = ("IMAGE_ATTRIBUTES",)


def looks_like(path: ProductPath) -> bool:
    """Say whether a path is a Landsat delivery's folder or its MTL file."""
    if path.is_dir():
        return path.name.startswith(("LC08_", "LC09_")) or _document(path) is not None
    return path.name.endswith(("_MTL.txt", "_MTL.json"))


def open_delivery(
    path: ProductPath, *, gsd: float | None = None, sensor: str | None = None, nodata: float | None = None
) -> Delivery:
    """Open the reflective bands as reflectance, guided by band 8 where it is delivered.

    Level 2 is surface reflectance, ``stored * MULT + ADD``; Level 1 is top-of-atmosphere reflectance,
    ``(stored * MULT + ADD) / sin(sun elevation)``; the numbers are in the MTL file.

    Parameters
    ----------
    path : Path
        The folder, or its ``_MTL.txt`` or ``_MTL.json``.
    gsd : float or None
        30 or 15 m; 30 by default.
    sensor : str or None
        Not used: the metadata name the spacecraft.
    nodata : float or None
        Instead of 0.

    Raises
    ------
    InputError
        If the metadata or a band is missing, or the spacecraft is another one.
    OptionError
        If there are no bands of `gsd`.
    """
    del sensor
    product = _read(path)
    own, sharp = choose_gsd(product.groups, gsd, product.name)
    scene = product.open(product.groups[own], nodata)
    guides = () if sharp is None else (product.open(product.groups[sharp], nodata),)
    return Delivery(scene, guides, product.sensor, product.level, product.notes)


@dataclass(frozen=True)
class _Product:
    """The metadata in an MTL file, and the folder of the images."""

    folder: ProductPath
    metadata: Groups

    @property
    def name(self) -> str:
        return self._find("LANDSAT_PRODUCT_ID", CONTENT_GROUPS) or self.folder.name

    @property
    def level(self) -> str:
        return self._require(
            "PROCESSING_LEVEL" if self._find("PROCESSING_LEVEL", CONTENT_GROUPS) else "DATA_TYPE", CONTENT_GROUPS
        )

    @property
    def sensor(self) -> str:
        craft = self._require("SPACECRAFT_ID", (*IMAGE_GROUPS, *CONTENT_GROUPS))
        if craft not in SPACECRAFT:
            raise InputError(
                f"{self.folder.name} is of {craft}; {' and '.join(SPACECRAFT)} are supported. Give its bands as one raster "
                "(gdalbuildvrt -separate)."
            )
        return SPACECRAFT[craft]

    @property
    def number(self) -> int:
        """The level, 1 or 2."""
        digit = self.level[1:2]
        if digit not in ("1", "2"):
            raise InputError(
                f"{self.folder.name} is of level {self.level}; levels 1 and 2 are supported, e.g. L1TP and L2SP. "
                "Give a product of one of these."
            )
        return int(digit)

    @property
    def groups(self) -> dict[float, tuple[str, ...]]:
        """Names of the bands by GSD, metres."""
        groups: dict[float, tuple[str, ...]] = {GSD_M: REFLECTIVE[self.number]}
        if self.number == 1 and (self.folder / self._file(PAN)).is_file():
            groups[PAN_GSD_M] = (PAN,)
        return groups

    @property
    def notes(self) -> tuple[str, ...]:
        if self.number == 2:
            pan = "Level 2 is delivered without band 8; its Level 1 has it, for --rgb."
            return ("Values are surface reflectance.", pan)
        no_pan = () if PAN_GSD_M in self.groups else ("Band 8 was not delivered with it.",)
        sun = f"the sun elevation is {self._sun_elevation:.1f} degrees"
        return (f"Values are top-of-atmosphere reflectance; {sun}.", *no_pan)

    @property
    def _sun_elevation(self) -> float:
        return self._number("SUN_ELEVATION", IMAGE_GROUPS)

    def open(self, names: Sequence[str], nodata: float | None) -> Scene:
        bands = named_bands(self.sensor, [f"B{n}" for n in names], "reflectance")
        scene = stack([self._band(n, nodata) for n in names], self.name)
        tags = {"SENSOR": self.sensor, "PROCESSING_LEVEL": self.level, "ACQUISITION": self._acquisition}
        return replace(scene, bands=bands, tags={"": tags})

    @property
    def _acquisition(self) -> str:
        groups = (*IMAGE_GROUPS, *CONTENT_GROUPS)
        return f"{self._require('DATE_ACQUIRED', groups)}T{self._find('SCENE_CENTER_TIME', groups) or ''}".rstrip("T")

    def _band(self, name: str, nodata: float | None) -> Scene:
        path = self.folder / self._file(name)
        require_inside(path, self.folder / "MTL")
        if not path.is_file():
            raise InputError(f"{self.folder} lacks band {name}: there is no {path.name}. Fetch it.")
        opened = open_raster(os.fspath(path), bidx="1", nodata=NODATA if nodata is None else nodata).scene
        scale, offset = (
            self._number(f"REFLECTANCE_{part}_BAND_{name}", RESCALING_GROUPS[self.number]) for part in ("MULT", "ADD")
        )
        divisor = math.sin(math.radians(self._sun_elevation)) if self.number == 1 else 1.0
        return repacked(opened, (scale / divisor,), (offset / divisor,), "reflectance")

    def _file(self, name: str) -> str:
        return self._require(f"FILE_NAME_BAND_{name}", CONTENT_GROUPS)

    def _find(self, name: str, groups: Sequence[str]) -> str | None:
        return next((self.metadata[g][name] for g in groups if name in self.metadata.get(g, {})), None)

    def _number(self, name: str, groups: Sequence[str]) -> float:
        return to_number(self._require(name, groups), name, self.folder)

    def _require(self, name: str, groups: Sequence[str]) -> str:
        value = self._find(name, groups)
        if value is None:
            raise InputError(f"The MTL file of {self.folder.name} has no {name} in {groups[0]}. Fetch it again.")
        return value


def _document(folder: ProductPath) -> ProductPath | None:
    return next(iter([*sorted(folder.glob("*_MTL.txt")), *sorted(folder.glob("*_MTL.json"))]), None)


def _read(path: ProductPath) -> _Product:
    document = _document(path) if path.is_dir() else path
    if document is None:
        raise InputError(f"{path} holds no *_MTL.txt or *_MTL.json. Fetch the delivery's MTL file.")
    if document.suffix == ".txt":
        return _Product(document.parent, parse_groups(document))
    try:
        (metadata,) = json.loads(document.read_bytes()).values()
        groups = {g: {k: str(v) for k, v in items.items()} for g, items in metadata.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{document} cannot be read as metadata: {error}. Fetch it again.") from error
    return _Product(document.parent, groups)
