"""Products as STAC items with the extensions projection, raster, eo and processing, and a collection of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pystac
from odc.geo.geobox import GeoBox
from pyproj.exceptions import ProjError
from pystac.extensions.eo import Band as EoBand
from pystac.extensions.eo import EOExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import DataType, NoDataStrings, RasterBand, RasterExtension
from pystac.utils import str_to_datetime

from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.storage.locations import modified
from dualsr_geo.io.storage.urls import absolute, relative_to
from dualsr_geo.io.writers.output_spec import band_title
from dualsr_geo.raster import grid
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.scene import Scene
from dualsr_geo.serialization import write_atomically
from dualsr_geo.version import __version__

# pystac has no class for it.
PROCESSING = "https://stac-extensions.github.io/processing/v1.1.0/schema.json"
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
ZARR_TYPE = "application/vnd.zarr; version=3"
NM_PER_UM = 1000.0
# Along each edge of a footprint, which is bent in degrees.
EDGE_POINTS = 10


def write_item(product: str, found: Mapping[str, Any], taken: str = "", *, place: Path | None = None) -> Path:
    """Write the item of a product; return its path.

    Parameters
    ----------
    product : str
        A finished product, a path or a URL.
    found : mapping
        Of its run: scene, model, scale, rmse.
    taken : str
        When the scene was taken, RFC 3339; left empty, what the product's own metadata say.

    Raises
    ------
    InputError
        If the product cannot be read.
    """
    # Relative hrefs start at the item, not at the current folder.
    product = absolute(product)
    place = (place or Path(product).with_suffix(".json")).absolute()
    item = item_of(product, found, taken, page=place.with_suffix(".html"))
    item.set_self_href(str(place))
    item.make_asset_hrefs_relative()
    write_atomically(place, json.dumps(item.to_dict(include_self_link=False), indent=1))
    return place


def write_collection(place: Path, items: Iterable[Path]) -> None:
    """Write an item collection whose assets' hrefs start at its own folder."""
    collected = []
    for path in items:
        item = pystac.Item.from_file(str(path.absolute()))
        for asset in item.assets.values():
            asset.href = relative_to(asset.get_absolute_href() or asset.href, place.parent.absolute())
        collected.append(item.to_dict(include_self_link=False, transform_hrefs=False))
    write_atomically(place, json.dumps({"type": "FeatureCollection", "features": collected}, indent=1))


def item_of(product: str, found: Mapping[str, Any], taken: str = "", *, page: Path | None = None) -> pystac.Item:
    """Return the STAC item of a product, as `write_item` writes it."""
    scene, name = open_scene(product), PurePosixPath(product)
    when, properties = _when(product, scene, taken)
    properties |= {
        "processing:software": {"dualsr-geo": __version__},
        "processing:lineage": f"Sharpened {found['scale']} times with the model {found['model']}.",
    }
    geometry, bbox = _footprint(scene.geobox)
    item = pystac.Item(name.stem, geometry, bbox, when, properties, stac_extensions=[PROCESSING])
    media = ZARR_TYPE if name.suffix == ".zarr" else COG_TYPE
    item.add_asset("data", pystac.Asset(product, media_type=media, roles=["data"]))
    if page is not None and page.exists():
        item.add_asset("report", pystac.Asset(str(page), media_type="text/html", roles=["metadata"]))
    _project(item, scene.geobox)
    _describe_bands(item.assets["data"], scene)
    item.add_link(pystac.Link("derived_from", found["scene"]))
    return item


def _when(product: str, scene: Scene, taken: str) -> tuple[datetime, dict[str, Any]]:
    """Return when the scene was taken, which STAC wants to know; else when the product was made, saying so."""
    tags = scene.tags
    said = (taken, tags.get("", {}).get("ACQUISITION"), tags.get("IMAGERY", {}).get("ACQUISITIONDATETIME"))
    for text in said:
        try:
            if text:
                return _utc(str_to_datetime(text)), {}
        except (ValueError, OverflowError):
            continue
    made = modified(product)
    return made, {"description": "The scene does not say when it was taken; datetime is when the product was made."}


def _utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _footprint(box: GeoBox) -> tuple[dict[str, Any] | None, list[float] | None]:
    """Return the outline as longitude and latitude, and its bounds; None of a grid that is nowhere on Earth."""
    if box.crs is None:
        return None, None
    try:
        outline = box.footprint("EPSG:4326", npoints=EDGE_POINTS, wrapdateline=True)
    except ProjError:
        return None, None
    bounds = list(outline.boundingbox.bbox)
    return (dict(outline.json), bounds) if all(map(math.isfinite, bounds)) else (None, None)


def _project(item: pystac.Item, box: GeoBox) -> None:
    height, width = box.shape
    name = grid.crs_name(box)
    coded = name is not None and name.startswith("EPSG:")
    ProjectionExtension.ext(item, add_if_missing=True).apply(
        code=name if coded else None,
        wkt2=None if coded else name,
        bbox=None if box.crs is None else list(box.extent.boundingbox.bbox),
        shape=[int(height), int(width)],
        transform=list(box.affine)[:6],
    )


def _describe_bands(asset: pystac.Asset, scene: Scene) -> None:
    """Say of every band what it measures (eo) and how its values are stored (raster)."""
    packing, box = scene.packing, scene.geobox
    gsd_m = grid.gsd(box) if grid.unit(box) == "m" else None
    titles = [band_title(b, i) or f"Band {i}" for i, b in enumerate(scene.bands, 1)]
    EOExtension.ext(asset, add_if_missing=True).bands = [
        EoBand.create(title, center_wavelength=_um(b.wavelength_nm), full_width_half_max=_um(b.fwhm_nm))
        for title, b in zip(titles, scene.bands, strict=True)
    ]
    RasterExtension.ext(asset, add_if_missing=True).bands = [
        RasterBand.create(
            nodata=_nodata(packing),
            data_type=DataType(packing.dtype),
            spatial_resolution=gsd_m,
            unit=band.unit,
            scale=scale,
            offset=offset,
        )
        for band, scale, offset in zip(scene.bands, packing.scales, packing.offsets, strict=True)
    ]


def _um(nm: float | None) -> float | None:
    return None if nm is None or not nm > 0 else round(nm / NM_PER_UM, 7)


def _nodata(packing: Packing) -> float | NoDataStrings | None:
    value = packing.nodata
    if value is None or math.isfinite(value):
        return value
    return NoDataStrings("nan" if math.isnan(value) else "inf" if value > 0 else "-inf")
