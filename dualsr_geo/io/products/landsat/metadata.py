"""The MTL file: text, JSON or XML, of Collection 2 and 1 and from before the collections."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.landsat.instruments import Instrument, instrument
from dualsr_geo.io.products.metadata_files import Groups, parse_groups, parse_xml, to_number
from dualsr_geo.io.storage.folders.paths import ProductPath

SUFFIXES = ("_MTL.txt", "_MTL.json", "_MTL.xml")
FIRST_LINES = (b"GROUP = L1_METADATA_FILE", b"GROUP = LANDSAT_METADATA_FILE")
# Groups of Collection 2 and of Collection 1. Level 2 also has the groups of its Level 1, in which the same names
# have other values.
CONTENT_GROUPS = ("PRODUCT_CONTENTS", "PRODUCT_METADATA")
IMAGE_GROUPS = ("IMAGE_ATTRIBUTES", "PRODUCT_PARAMETERS")
# The names before the collections.
OLD_NAMES = {
    "PROCESSING_LEVEL": ("DATA_TYPE", "PRODUCT_TYPE"),
    "DATE_ACQUIRED": ("ACQUISITION_DATE",),
    "SCENE_CENTER_TIME": ("SCENE_CENTER_SCAN_TIME",),
}
_FILE = re.compile(r"FILE_NAME_BAND_(?!QUALITY)(\w+)$|BAND(\d+)_FILE_NAME$")
# Zeros may follow.
_LAST_LINE = re.compile(rb"^\s*END\s*\0*\s*$", re.MULTILINE)
# Bands of ETM+ before the collections.
OLD_BANDS = {"61": "6_VCID_1", "62": "6_VCID_2"}


def is_document(path: ProductPath) -> bool:
    """Say whether a path is an MTL file, by its name; a renamed text by its first line as well."""
    if path.name.endswith(SUFFIXES):
        return True
    return "MTL" in path.name and path.suffix == ".txt" and path.is_file() and path.read_bytes().startswith(FIRST_LINES)


def documents_in(folder: ProductPath) -> list[ProductPath]:
    """Return the MTL files in a folder, one a product: the text, else JSON, else XML."""
    documents: dict[str, ProductPath] = {}
    for suffix in SUFFIXES:
        for path in sorted(folder.glob(f"*{suffix}")):
            documents.setdefault(path.name.removesuffix(suffix), path)
    return [documents[name] for name in sorted(documents)]


@dataclass(frozen=True)
class Metadata:
    """An MTL file.

    Attributes
    ----------
    document : ProductPath
    groups : dict
        Groups of names and values.
    """

    document: ProductPath
    groups: Groups

    @property
    def level(self) -> str:
        """Processing level, e.g. ``"L2SP"``."""
        return self.require("PROCESSING_LEVEL", CONTENT_GROUPS)

    @property
    def level_number(self) -> int:
        """The level, 1 or 2."""
        digit = self.level[1:2]
        if digit not in ("1", "2"):
            raise InputError(
                f"{self.document.parent.name} is of level {self.level}; levels 1 and 2 are supported, e.g. L1TP and L2SP. "
                "Give a product of one of these."
            )
        return int(digit)

    @property
    def instrument(self) -> Instrument:
        """The instrument that took the scene."""
        groups = (*IMAGE_GROUPS, *CONTENT_GROUPS)
        craft = self.require("SPACECRAFT_ID", groups)
        name = self.find("SENSOR_ID", groups) or ""
        match = re.fullmatch(r"LANDSAT[_ ]?([1-9])", craft.upper())
        try:
            return instrument(int(match[1]) if match else 0, name.upper())
        except KeyError:
            raise InputError(
                f"{self.document.parent.name} is of {f'{name} of ' if name else ''}{craft}; MSS, TM, ETM+ and OLI of "
                "LANDSAT_1 to LANDSAT_9 are supported. Give its bands as one raster (gdalbuildvrt -separate)."
            ) from None

    @property
    def is_only_thermal(self) -> bool:
        """Whether only the thermal instrument was on."""
        return (self.find("SENSOR_ID", (*IMAGE_GROUPS, *CONTENT_GROUPS)) or "") == "TIRS"

    @property
    def files(self) -> dict[str, str]:
        """Names of the files by band."""
        files: dict[str, str] = {}
        for group in CONTENT_GROUPS:
            for name, value in self.groups.get(group, {}).items():
                if match := _FILE.match(name):
                    band = match[1] or match[2]
                    files.setdefault(OLD_BANDS.get(band, band) if match[2] else band, value)
        return files

    @property
    def absent(self) -> tuple[str, ...]:
        """Bands that the product does not have by its own statement (``PRESENT_BAND_4 = "N"``)."""
        items = [i for g in CONTENT_GROUPS for i in self.groups.get(g, {}).items()]
        return tuple(n.removeprefix("PRESENT_BAND_") for n, v in items if n.startswith("PRESENT_BAND_") and v == "N")

    @property
    def acquisition(self) -> str:
        """Date and time."""
        groups = (*IMAGE_GROUPS, *CONTENT_GROUPS)
        date, time = self.require("DATE_ACQUIRED", groups), self.find("SCENE_CENTER_TIME", groups)
        return f"{date}T{time or ''}".rstrip("T")

    @property
    def sun_elevation(self) -> float:
        """Elevation of the sun above the horizon, degrees."""
        return self.number("SUN_ELEVATION", IMAGE_GROUPS)

    def find(self, name: str, groups: Sequence[str]) -> str | None:
        """Return the value of a name, or of its name before the collections; None if there is none."""
        names = (name, *OLD_NAMES.get(name, ()))
        return next((self.groups[g][n] for n in names for g in groups if n in self.groups.get(g, {})), None)

    def find_number(self, names: Sequence[str], groups: Sequence[str]) -> float | None:
        """Return the number of the first of some names that is there; None if none is."""
        name = next((n for n in names if self.find(n, groups) is not None), None)
        return None if name is None else self.number(name, groups)

    def number(self, name: str, groups: Sequence[str]) -> float:
        """Return a number.

        Raises
        ------
        InputError
            If there is none, or it is no number.
        """
        return to_number(self.require(name, groups), name, self.document.parent)

    def require(self, name: str, groups: Sequence[str]) -> str:
        """Return a value.

        Raises
        ------
        InputError
            If there is none.
        """
        value = self.find(name, groups)
        if value is None:
            raise InputError(
                f"{self.document.name} in {self.document.parent.name} has no {name} in {groups[0]}. Fetch it again."
            )
        return value


def read_metadata(document: ProductPath) -> Metadata:
    """Read an MTL file.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    if document.suffix == ".json":
        return Metadata(document, _json_groups(document))
    if document.suffix == ".xml":
        root = parse_xml(document)
        return Metadata(document, {g.tag: {e.tag: (e.text or "").strip() for e in g} for g in root})
    groups = parse_groups(document)
    if not _LAST_LINE.search(document.read_bytes()):
        raise InputError(f"{document} does not end with the line END: it is cut off. Fetch it again.")
    return Metadata(document, groups)


def _json_groups(document: ProductPath) -> Groups:
    try:
        (metadata,) = json.loads(document.read_bytes()).values()
        return {g: {k: str(v) for k, v in items.items()} for g, items in metadata.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{document} cannot be read as metadata: {error}. Fetch it again.") from error
