"""Write STAC 1.1 items of products, with the extensions projection, raster, eo and processing, and their collection."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pystac
from odc.geo.geobox import GeoBox
from pyproj.exceptions import ProjError
from pystac.extensions.projection import ProjectionExtension
from pystac.utils import datetime_to_str, str_to_datetime

from dualsr_geo.batching import stac_bands
from dualsr_geo.batching.scene_record import SceneRecord
from dualsr_geo.errors import DualSRWarning, InputError
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.storage.locations import exists, modified
from dualsr_geo.io.storage.urls import absolute, relative_to
from dualsr_geo.io.writers.classification import classification_path
from dualsr_geo.io.writers.output_records import provenance_at, uncertainty_bands
from dualsr_geo.io.writers.output_spec import deviations_path
from dualsr_geo.raster import grid
from dualsr_geo.raster.scene import Scene
from dualsr_geo.serialization import write_atomically
from dualsr_geo.version import __version__

# pystac has no class for this extension.
PROCESSING_EXTENSION = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
STAC_VERSION = "1.1.0"
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
MEDIA_TYPES = {".zarr": "application/vnd.zarr; version=3", ".nc": "application/netcdf"}
UNCERTAINTY_ROLES = ["uncertainty"]
# Points along each edge of a footprint, whose edges are curves in degrees.
EDGE_POINTS = 10


def write_item(product: str, record: SceneRecord, acquired: str = "", *, path: Path | None = None) -> Path:
    """Write the item of a product; return its path.

    Parameters
    ----------
    product : str
        A finished product, a path or a URL.
    record : SceneRecord
        Of its run, with scene, model and scale.
    acquired : str
        When the scene was acquired, RFC 3339; if empty, the time in the metadata of the product.
    path : Path, optional
        The item; by default the product's path with the suffix ``.json``.

    Raises
    ------
    InputError
        If the product cannot be read.
    """
    # Relative hrefs start at the item, not at the current folder.
    product = absolute(product)
    path = (path or Path(product).with_suffix(".json")).absolute()
    item = item_of(product, record, acquired, page=path.with_suffix(".html"))
    item.set_self_href(str(path))
    item.make_asset_hrefs_relative()
    write_atomically(path, json.dumps(item.to_dict(include_self_link=False), indent=1))
    return path


def write_collection(path: Path, items: Iterable[Path]) -> None:
    """Write an item collection; the hrefs of its assets start at its own folder."""
    features = []
    for item_path in items:
        try:
            item = pystac.Item.from_file(str(item_path.absolute()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, pystac.STACError) as error:
            text = f"The STAC item {item_path} cannot be read ({type(error).__name__}) and is left out of {path.name}."
            warnings.warn(text, DualSRWarning, stacklevel=2)
            continue
        for asset in item.assets.values():
            asset.href = relative_to(asset.get_absolute_href() or asset.href, path.parent.absolute())
        features.append(item.to_dict(include_self_link=False, transform_hrefs=False))
    write_atomically(path, json.dumps({"type": "FeatureCollection", "features": features}, indent=1))


def write_catalog(path: Path, items: Iterable[Path]) -> None:
    """Write a catalog that links to items; the hrefs start at its own folder."""
    links: list[dict[str, str]] = [{"rel": "root", "href": f"./{path.name}", "type": "application/json"}]
    for item in items:
        href = relative_to(item.absolute(), path.parent.absolute())
        links.append({"rel": "item", "href": f"./{href}", "type": "application/geo+json"})
    catalog = {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": "dualsr-geo",
        "title": "Sharpened scenes",
        "description": "Products of dualsr-geo, an item each.",
        "links": links,
    }
    write_atomically(path, json.dumps(catalog, indent=1))


def item_of(product: str, record: SceneRecord, acquired: str = "", *, page: Path | None = None) -> pystac.Item:
    """Return the STAC item of a product, as `write_item` writes it."""
    scene, name = open_scene(product), PurePosixPath(product)
    provenance = provenance_at(product) or {}
    when, properties = _datetime(product, scene, acquired)
    properties |= _processing(product, record, scene, provenance)
    geometry, bbox = _footprint(scene.geobox)
    item = pystac.Item(name.stem, geometry, bbox, when, properties, stac_extensions=[PROCESSING_EXTENSION])
    _add_bands(item, product, scene, has_deviations=bool(provenance.get("parameters", {}).get("uncertainty")))
    if page is not None and page.exists():
        item.add_asset("report", pystac.Asset(str(page), media_type="text/html", roles=["metadata"]))
    if exists(classes := classification_path(product), InputError):
        item.add_asset("scl", pystac.Asset(classes, media_type=COG_TYPE, roles=["data"], title="Scene classification"))
    _add_projection(item, scene.geobox)
    for source in (record.scene, *_guides(provenance)):
        item.add_link(pystac.Link("derived_from", source))
    return item


def _processing(product: str, record: SceneRecord, scene: Scene, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the extension processing; the expression holds the parameters of the run."""
    fields = {
        "processing:software": {"dualsr-geo": __version__},
        "processing:lineage": f"Sharpened by a ratio of {record.scale} with the model {record.model}.",
        "processing:datetime": datetime_to_str(modified(product)),
    }
    if parameters := provenance.get("parameters"):
        fields["processing:expression"] = {"format": "dualsr-geo", "expression": parameters}
    # A file of a delivery that was opened on its own has the level in its tags.
    if level := provenance.get("level") or scene.tags.get("", {}).get("PROCESSING_LEVEL"):
        fields["processing:level"] = level
    return fields


def _guides(provenance: Mapping[str, Any]) -> list[str]:
    """Return where the guides of a product were read, each once."""
    guides = provenance.get("inputs", {}).get("guide") or []
    each = guides if isinstance(guides, list) else [guides]
    return list(dict.fromkeys(str(guide["uri"]) for guide in each if guide.get("uri")))


def _datetime(product: str, scene: Scene, acquired: str) -> tuple[datetime, dict[str, Any]]:
    """Return the acquisition time, or, since STAC requires one, the time of the product with a description."""
    tags = scene.tags
    texts = (acquired, tags.get("", {}).get("ACQUISITION"), tags.get("IMAGERY", {}).get("ACQUISITIONDATETIME"))
    for text in texts:
        try:
            if text:
                return _utc(str_to_datetime(text)), {}
        except (ValueError, OverflowError):
            continue
    return modified(product), {
        "description": "The acquisition time is unknown; datetime is when the product was written."
    }


def _utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _footprint(box: GeoBox) -> tuple[dict[str, Any] | None, list[float] | None]:
    """Return the outline in longitude and latitude, and its bounds; None if the grid has no place on Earth."""
    if box.crs is None:
        return None, None
    try:
        outline = box.footprint("EPSG:4326", npoints=EDGE_POINTS, wrapdateline=True)
    except ProjError:
        return None, None
    bounds = list(outline.boundingbox.bbox)
    return (dict(outline.json), bounds) if all(map(math.isfinite, bounds)) else (None, None)


def _add_projection(item: pystac.Item, box: GeoBox) -> None:
    height, width = box.shape
    crs = grid.crs_name(box)
    has_code = crs is not None and crs.startswith("EPSG:")
    ProjectionExtension.ext(item, add_if_missing=True).apply(
        code=crs if has_code else None,
        wkt2=None if has_code else crs,
        bbox=None if box.crs is None else list(box.extent.boundingbox.bbox),
        shape=[int(height), int(width)],
        transform=list(box.affine)[:6],
    )


def _add_bands(item: pystac.Item, product: str, scene: Scene, *, has_deviations: bool) -> None:
    """Add the product as an asset with its bands, and its standard deviations: bands, or an asset of their own."""
    values, deviations = stac_bands.value_bands(scene), stac_bands.uncertainty_bands(scene)
    own = uncertainty_bands(product)
    stacked = bool(own) and isinstance(own[0], int)
    media_type = MEDIA_TYPES.get(PurePosixPath(product).suffix, COG_TYPE)
    _add_asset(
        item, "data", pystac.Asset(product, media_type=media_type, roles=["data"]), values + deviations * stacked
    )
    if stacked or not has_deviations:
        return
    place = _place_of_deviations(product, own)
    asset = pystac.Asset(place, media_type=media_type, roles=UNCERTAINTY_ROLES)
    _add_asset(item, "uncertainty", asset, deviations)


def _place_of_deviations(product: str, variables: Sequence[int | str]) -> str:
    """Return where the standard deviations of a product are: a second TIFF, or the dataset; in Zarr the array has a path."""
    if not variables:
        return deviations_path(product)
    return f"{product}/{variables[0]}" if PurePosixPath(product).suffix == ".zarr" else product


def _add_asset(item: pystac.Item, key: str, asset: pystac.Asset, bands: list[dict[str, Any]]) -> None:
    asset.extra_fields["bands"] = bands
    item.add_asset(key, asset)
    item.stac_extensions += [e for e in stac_bands.extensions_of(bands) if e not in item.stac_extensions]
