"""The assets of a STAC item that are bands: which they are, and what the item states of each."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dualsr_geo.errors import InputError, OptionError, excerpt
from dualsr_geo.io.products.stac.checks import FieldError
from dualsr_geo.io.products.stac.documents import opened_href

if TYPE_CHECKING:
    import pystac

# Roles and media types of assets that are no scene.
OTHER_ROLES = {"uncertainty", "thumbnail", "overview", "metadata", "visual", "graphic"}
OTHER_MEDIA_TYPES = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "application/json",
    "application/geo+json",
    "text/",
    "application/xml",
)
# Suffixes of rasters, of assets that state no media type; a GeoTIFF is preferred to a JPEG 2000 of the same band.
GEOTIFF, JPEG_2000 = (".tif", ".tiff"), (".jp2", ".j2k")
# Numbers of bands in keys and file names: SR_B4.TIF, B8A.jp2, lwir11.
_NUMBERED = re.compile(r"(?i)(?:^|[_\W])B\d{1,2}A?(?=$|[_\W])")
# Keys of assets of quality, classes, angles and atmosphere.
QUALITY = re.compile(r"(?i)(?:^|[_\W])(?:scl|qa|aot|wvp|f?mask|cld|snw|visual|tci|pvi|vaa|vza|saa|sza)(?:$|[_\W])")
# Wavelengths beyond this are emitted, not reflected: such bands have another unit.
THERMAL_NM = 3000.0
# Assets that a message lists.
MAX_LISTED = 40


@dataclass(frozen=True)
class BandAsset:
    """An asset that is one band, and what its item states of the band.

    Attributes
    ----------
    key, href : str
        The href as it is opened, relative ones from the item.
    name : str
        Of the band; the key where the item has none.
    common_name : str
    wavelength_nm, fwhm_nm : float or None
    scale, offset, nodata : float or None
        None where the item states none.
    unit : str
    gsd : float or None
        Pixel size in units of the grid.
    """

    key: str
    href: str
    name: str
    common_name: str = ""
    wavelength_nm: float | None = None
    fwhm_nm: float | None = None
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None
    unit: str = ""
    gsd: float | None = None

    @property
    def file(self) -> str:
        """Name of the file."""
        return posixpath.basename(urlsplit(self.href).path if "://" in self.href else self.href)

    @property
    def is_thermal(self) -> bool:
        """Whether it measures emitted light."""
        return self.wavelength_nm is not None and self.wavelength_nm > THERMAL_NM


def can_be_scene(asset: pystac.Asset) -> bool:
    """Say whether an asset may be a scene, by its roles and its media type."""
    media = asset.media_type
    roles = {str(role).lower() for role in asset.roles or ()}
    return not OTHER_ROLES & roles and not (media or "").startswith(OTHER_MEDIA_TYPES)


def band_assets(item: pystac.Item) -> tuple[BandAsset, ...]:
    """Return the assets of one band each; if none states its band, those whose names have the number of one.

    Raises
    ------
    FieldError
        If a field has another type.
    """
    images = {k: a for k, a in item.assets.items() if can_be_scene(a) and _is_raster(a)}
    stated = {
        k: fields for k, a in images.items() if len(fields := _band_fields(item, a, k)) == 1 and _names(fields[0])
    }
    # Some catalogues name classes and water vapour as if they were bands.
    stated = {k: f for k, f in stated.items() if _has_wavelength(f[0]) or not QUALITY.search(k)}
    if stated:
        return tuple(_of(item, k, fields[0]) for k, fields in stated.items())
    numbered = [k for k, a in images.items() if _NUMBERED.search(k) or _NUMBERED.search(posixpath.splitext(a.href)[0])]
    return tuple(_of(item, k, {}) for k in numbered)


def chosen(assets: Sequence[BandAsset], patterns: Sequence[str], item: str) -> tuple[BandAsset, ...]:
    """Return the assets that patterns name, in their order; all, without thermal bands where there are others, for none.

    A pattern is matched with the key, the name of the band, its common name, and the name of the file.

    Raises
    ------
    OptionError
        If a pattern names none.
    """
    if not patterns:
        return tuple(a for a in assets if not a.is_thermal) or tuple(assets)
    taken: dict[str, BandAsset] = {}
    for pattern in patterns:
        exact = [a for a in assets if pattern in (a.key, a.name)]
        matching = exact or [a for a in assets if _matches(a, pattern)]
        if not matching:
            raise OptionError(
                f"The STAC item {item} has no band {excerpt(pattern)}. Its bands are {_listed(a.key for a in assets)}."
            )
        taken |= {a.key: a for a in matching if a.key not in taken}
    return tuple(taken.values())


def without_copies(assets: Sequence[BandAsset], item: str) -> tuple[BandAsset, ...]:
    """Return each band once: at its finest pixel size, and as GeoTIFF rather than JPEG 2000.

    Raises
    ------
    InputError
        If two assets are the same band otherwise.
    """
    best: dict[str, BandAsset] = {}
    for asset in assets:
        other = best.setdefault(asset.name, asset)
        if other is asset or _rank(other) < _rank(asset):
            continue
        if _rank(other) == _rank(asset):
            raise InputError(
                f"The assets {other.key} and {asset.key} of the STAC item {item} are both the band {asset.name}. Choose one "
                f"by its key, as in item.json#{asset.key}."
            )
        best[asset.name] = asset
    order = {a.key: number for number, a in enumerate(assets)}
    return tuple(sorted(best.values(), key=lambda a: order[a.key]))


def _rank(asset: BandAsset) -> tuple[float, bool]:
    return (math.inf if asset.gsd is None else asset.gsd, not asset.file.lower().endswith(GEOTIFF))


def _matches(asset: BandAsset, pattern: str) -> bool:
    words = (asset.key, asset.name, asset.common_name, asset.file, posixpath.splitext(asset.file)[0])
    return any(fnmatchcase(word.lower(), pattern.lower()) for word in words)


def _listed(keys: Iterable[str]) -> str:
    names = list(keys)
    return ", ".join(names[:MAX_LISTED]) + (f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else "")


def _is_raster(asset: pystac.Asset) -> bool:
    media = (asset.media_type or "").lower()
    path = urlsplit(asset.href).path if "://" in asset.href else asset.href
    return "tiff" in media or "jp2" in media or path.lower().endswith((*GEOTIFF, *JPEG_2000))


# ---- fields ------------------------------------------------------------------------------


def _band_fields(item: pystac.Item, asset: pystac.Asset, key: str) -> list[dict[str, Any]]:
    """Return the fields of each band of an asset, of `bands` (STAC 1.1), `eo:bands` and `raster:bands` (1.0)."""
    fields: list[dict[str, Any]] = []
    for name in ("raster:bands", "eo:bands", "bands"):
        bands = asset.extra_fields.get(name)
        if bands is None:
            continue
        if not isinstance(bands, list):
            raise FieldError(f"assets.{key}.{name} is {excerpt(repr(bands))}, where a list is expected")
        for number, band in enumerate(bands):
            # Before STAC 1.0 the number of a band in the properties.
            entry = _of_properties(item, band) if isinstance(band, int) else band
            if not isinstance(entry, dict):
                raise FieldError(f"assets.{key}.{name} has {excerpt(repr(band))}, where an object is expected")
            if number == len(fields):
                fields.append({"raster": name == "raster:bands"})
            fields[number] = {**fields[number], **entry, "raster": fields[number]["raster"] and name == "raster:bands"}
    return fields


def _of_properties(item: pystac.Item, number: int) -> Any:
    bands = item.properties.get("eo:bands")
    return bands[number] if isinstance(bands, list) and 0 <= number < len(bands) else number


def _names(fields: Mapping[str, Any]) -> bool:
    """Say whether the fields of a band name it; raster:bands does not."""
    keys = ("name", "common_name", "eo:common_name", "center_wavelength", "eo:center_wavelength")
    return not fields.get("raster") and any(fields.get(k) is not None for k in keys)


def _has_wavelength(fields: Mapping[str, Any]) -> bool:
    return any(fields.get(k) is not None for k in ("center_wavelength", "eo:center_wavelength"))


def _of(item: pystac.Item, key: str, fields: Mapping[str, Any]) -> BandAsset:
    asset = item.assets[key]
    merged = {**asset.extra_fields, **fields}

    def number(*names: str, factor: float = 1.0) -> float | None:
        value = next((merged[n] for n in names if merged.get(n) is not None), None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise FieldError(f"assets.{key}: {names[0]} is {excerpt(repr(value))}, where a number is expected")
        return float(value) * factor

    def text(*names: str) -> str:
        value = next((merged[n] for n in names if merged.get(n) is not None), "")
        if not isinstance(value, str):
            raise FieldError(f"assets.{key}: {names[0]} is {excerpt(repr(value))}, where a text is expected")
        return value

    stated = merged.get("nodata")
    return BandAsset(
        key,
        opened_href(asset),
        text("name") or re.sub(r"[-_](?:jp2|tif)$|\.(?:jp2|tiff?)$", "", key, flags=re.IGNORECASE),
        text("common_name", "eo:common_name"),
        number("center_wavelength", "eo:center_wavelength", factor=1000.0),
        number("full_width_half_max", "eo:full_width_half_max", factor=1000.0),
        number("scale", "raster:scale"),
        number("offset", "raster:offset"),
        math.nan if stated == "nan" else None if isinstance(stated, str) else number("nodata"),
        text("unit"),
        _pixel_size(item, asset, key) or number("spatial_resolution", "raster:spatial_resolution", "gsd"),
    )


def _pixel_size(item: pystac.Item, asset: pystac.Asset, key: str) -> float | None:
    """Return the pixel size by the transform of an asset or its item; None where there is none."""
    transform = asset.extra_fields.get("proj:transform", item.properties.get("proj:transform"))
    if transform is None:
        return None
    is_list = isinstance(transform, list) and len(transform) in (6, 9)
    if not is_list or not all(isinstance(v, int | float) and math.isfinite(v) for v in transform):
        raise FieldError(f"assets.{key}: proj:transform is {excerpt(repr(transform))}, where six numbers are expected")
    return math.hypot(transform[0], transform[3]) or None
