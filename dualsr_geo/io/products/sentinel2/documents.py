"""What the documents of a Sentinel-2 folder state: baseline and offset of the values, level, satellite and time.

A STAC item (``properties`` and ``raster:bands`` of the assets), ``metadata.xml`` (``TILE_ID`` of the granule),
``tileInfo.json`` and ``productInfo.json`` (``productName``, ``name``) of the AWS buckets, and the name of the folder.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.metadata_files import parse_xml
from dualsr_geo.io.products.sentinel2.bands import ADDED_OFFSET, DIVISOR, baseline_of, has_offset
from dualsr_geo.io.storage.folders.paths import ProductPath
from dualsr_geo.raster.packing import require_packing

TILE_METADATA = "metadata.xml"
TILE_INFO = ("tileInfo.json", "productInfo.json")
# Largest number of JSON files of a folder that are read to find its item.
MAX_ITEMS = 8
# Properties of an item that state the processing baseline or a name with it, and the level.
BASELINE_KEYS = ("s2:processing_baseline", "processing:version", "s2:product_uri", "s2:granule_id")
LEVEL_KEYS = ("s2:product_type", "product:type", "processing:level", "s2:product_uri")
_SATELLITE = re.compile(r"(?:^|[/_])S2([A-D])_")


@dataclass(frozen=True)
class Documents:
    """What is stated about a folder.

    Attributes
    ----------
    source : str
        Name of the document that states the baseline.
    baseline : str or None
        The processing baseline, e.g. ``"05.09"``.
    is_applied : bool
        Whether the offset of the baseline is applied to the stored values already.
    level : str
        ``"L1C"``, ``"L2A"``, or empty.
    satellite : str
        Name in the sensor registry, or empty.
    acquired : str
        Time, or empty.
    packings : mapping of str to (float, float)
        Scale and offset of bands for which a document states them.
    """

    source: str = ""
    baseline: str | None = None
    is_applied: bool = False
    level: str = ""
    satellite: str = ""
    acquired: str = ""
    packings: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def offset(self) -> float | None:
        """Offset that stored values still need; None where nothing states it."""
        if self.is_applied:
            return 0.0
        if self.packings:
            scale, offset = next(iter(self.packings.values()))
            return round(offset / scale, 6)
        if self.baseline is None:
            return None
        added = has_offset(float(self.baseline))
        return None if added is None else ADDED_OFFSET if added else 0.0

    def packing(self, band: str) -> tuple[float, float]:
        """Return scale and offset of a band's stored values."""
        scale, offset = self.packings.get(band, (1 / DIVISOR, (self.offset or 0.0) / DIVISOR))
        return scale, 0.0 if self.is_applied else offset


def read_documents(folder: ProductPath) -> Documents:
    """Return what the documents in a folder state.

    Raises
    ------
    InputError
        If a document is damaged, or two state different baselines.
    """
    return stated_by([("the name of the folder", folder.name), *_names(folder)], _item(folder), str(folder))


def stated_by(names: Sequence[tuple[str, str]], item: tuple[str, Mapping[str, Any]] | None, where: str) -> Documents:
    """Return what names and a STAC item state.

    Parameters
    ----------
    names : sequence of (str, str)
        Documents, and names of products or granules in them.
    item : (str, mapping) or None
        Name of the item, and its content.
    where : str
        The product in messages.

    Raises
    ------
    InputError
        If two state different baselines.
    """
    name, content = item or ("", {})
    stated_properties = content.get("properties")
    properties = stated_properties if isinstance(stated_properties, Mapping) else {}
    stated = [(source, text) for source, text in names if baseline_of(text) is not None]
    texts = [str(properties.get(key, "")) for key in BASELINE_KEYS]
    stated = [*((name, text) for text in texts if baseline_of(text) is not None), *stated]
    _require_one(stated, where)
    source, text = stated[0] if stated else (name, "")
    baseline = baseline_of(text)
    applied = properties.get("earthsearch:boa_offset_applied")
    # Items of Earth Search repeat the offset of the baseline in raster:bands whether it is applied or not.
    is_packed = not (applied is False and baseline is not None and has_offset(baseline))
    every = " ".join([*(text for _, text in names), *(str(properties.get(key, "")) for key in LEVEL_KEYS)])
    return Documents(
        source=source,
        baseline=None if baseline is None else f"{baseline:05.2f}",
        is_applied=applied is True,
        level=_level(every),
        satellite=_satellite(names, properties),
        acquired=str(properties.get("datetime") or properties.get("start_datetime") or ""),
        packings=_packings(name, content) if is_packed else {},
    )


def _item(folder: ProductPath) -> tuple[str, dict[str, Any]] | None:
    """Return name and content of the STAC item in a folder; None if there is none."""
    files = [f for f in sorted(folder.iterdir()) if f.suffix.lower() == ".json" and f.name not in TILE_INFO]
    for file in files[:MAX_ITEMS]:
        content = _json(file)
        if content.get("type") == "Feature" and isinstance(content.get("assets"), Mapping):
            return file.name, content
    return None


def _json(file: ProductPath) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read as metadata: {error}. Fetch it again.") from error
    return content if isinstance(content, dict) else {}


def _names(folder: ProductPath) -> Iterator[tuple[str, str]]:
    """Yield the names of tile and product that the documents of the AWS buckets state, each with its document."""
    document = folder / TILE_METADATA
    if document.is_file():
        root = parse_xml(document)
        for tag in ("TILE_ID", "L1C_TILE_ID", "PRODUCT_URI"):
            if text := root.findtext(f".//{tag}"):
                yield TILE_METADATA, text
    for name in TILE_INFO:
        if (folder / name).is_file():
            content = _json(folder / name)
            for key in ("productName", "name"):
                if isinstance(content.get(key), str):
                    yield name, content[key]


def _require_one(stated: Sequence[tuple[str, str]], where: str) -> None:
    """Check that all documents state one baseline."""
    for source, text in stated[1:]:
        if baseline_of(text) != baseline_of(stated[0][1]):
            raise InputError(
                f"{where}: {stated[0][0]} states processing baseline {baseline_of(stated[0][1]):05.2f}, {source} "
                f"{baseline_of(text):05.2f}. Keep the files of one product."
            )


def _level(names: str) -> str:
    match = re.search(r"MSI_?L?(1C|2A)|_L(1C|2A)(?:_|\b)|\bL(1C|2A)\b", names)
    return "" if match is None else f"L{match[1] or match[2] or match[3]}"


def _satellite(names: Sequence[tuple[str, str]], properties: Mapping[str, Any]) -> str:
    platform = str(properties.get("platform", "")).lower().replace("_", "-")
    if re.fullmatch(r"sentinel-2[a-d]", platform):
        return platform
    match = next((m for _, name in names if (m := _SATELLITE.search(name))), None)
    return "" if match is None else f"sentinel-2{match[1].lower()}"


def _packings(name: str, item: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return scale and offset of the bands for whose assets an item states them."""
    packings = {}
    assets = item.get("assets")
    for asset in assets.values() if isinstance(assets, Mapping) else ():
        file = str(asset.get("href", "")).partition("?")[0].rpartition("/")[2] if isinstance(asset, Mapping) else ""
        band = re.search(r"(?:^|_)(B\d[\dA])(?:_\d0m)?\.\w+$", file)
        if band is None:
            continue
        listed = asset.get("raster:bands") or asset.get("bands")
        stated = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], Mapping) else {}
        scale, offset = (_number(stated.get(key, stated.get(f"raster:{key}"))) for key in ("scale", "offset"))
        if scale is not None and offset is not None:
            require_packing([scale], [offset], f"{name}: {file}", "Fetch the item again.")
            packings[band[1]] = (scale, offset)
    return packings


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number and isinstance(value, int | float) else None
