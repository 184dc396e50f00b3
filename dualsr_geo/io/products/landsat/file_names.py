"""Names of the files that USGS delivers: the product, and the band of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Collections 1 and 2, and the tiles of Analysis Ready Data (path and row are those of the tile).
_COLLECTION = (
    r"L(?P<letter>[COTEM])0(?P<number>[1-9])_(?P<level>L[12][A-Z]{2}|CU|AK|HI)_(?P<path>\d{3})(?P<row>\d{3})_(?P<date>\d{8})"
    r"_\d{8}_(?P<collection>\d{2})(?:_(?:T1|T2|RT|A1|A2))?(?:_[A-Z]{3})?"
)
# Before the collections: LE7, path, row, year, day of the year, station, version.
_SCENE = r"L(?P<letter>[COTEM])(?P<number>[1-9])(?P<path>\d{3})(?P<row>\d{3})(?P<date>\d{7})[A-Z]{3}\d{2}"
_BAND = r"_(?P<kind>SR_|ST_)?B(?P<band>(?:10|11|[1-9])(?:_VCID_[12])?)\.TIF$"
_NAMES = tuple(re.compile(rf"^(?P<product>{p})") for p in (_COLLECTION, _SCENE))
_FILES = tuple(re.compile(rf"^(?P<product>{p}){_BAND}", re.IGNORECASE) for p in (_COLLECTION, _SCENE))


@dataclass(frozen=True)
class ProductName:
    """What the name of a product states.

    Attributes
    ----------
    text : str
        The name.
    letter : str
        Of the instrument: C, O, T, E or M.
    number : int
        Of the Landsat.
    level : str
        E.g. ``"L1TP"``; empty before the collections.
    path, row : int
        Of the Worldwide Reference System.
    date : str
        Of the acquisition, as in the name: year, month and day, or year and day of the year.
    collection : str
        ``"01"``, ``"02"``, or empty before the collections.
    """

    text: str
    letter: str
    number: int
    level: str
    path: int
    row: int
    date: str
    collection: str

    @property
    def is_tile(self) -> bool:
        """Whether it is a tile of Analysis Ready Data."""
        return self.level in ("CU", "AK", "HI")


@dataclass(frozen=True)
class BandFile:
    """What the name of a band's file states.

    Attributes
    ----------
    product : ProductName
    band : str
        As in the names of the MTL file: ``"4"``, ``"6_VCID_1"``, ``"ST_B10"``.
    level : int
        2 for surface reflectance and temperature, else 1.
    """

    product: ProductName
    band: str
    level: int


def product_name(text: str) -> ProductName | None:
    """Return what the name of a product, or of one of its files, states; None for any other name."""
    match = next((m for pattern in _NAMES if (m := pattern.match(text))), None)
    return None if match is None else _product(match)


def band_file(name: str) -> BandFile | None:
    """Return what the name of the file of a spectral band states; None for any other name."""
    match = next((m for pattern in _FILES if (m := pattern.match(name))), None)
    if match is None:
        return None
    band, kind = match["band"].upper(), (match["kind"] or "").upper()
    return BandFile(_product(match), f"ST_B{band}" if kind == "ST_" else band, 2 if kind else 1)


def _product(match: re.Match[str]) -> ProductName:
    groups = match.groupdict()
    return ProductName(
        groups["product"],
        groups["letter"].upper(),
        int(groups["number"]),
        (groups.get("level") or "").upper(),
        int(groups["path"]),
        int(groups["row"]),
        groups["date"],
        groups.get("collection") or "",
    )
