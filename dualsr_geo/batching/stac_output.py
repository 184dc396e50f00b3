"""Write STAC items of products, with the extensions projection, raster, eo and processing, and their collection."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable
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

from dualsr_geo.batching.scene_record import SceneRecord
from dualsr_geo.errors import DualSRWarning
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.storage.locations import modified
from dualsr_geo.io.storage.urls import absolute, relative_to
from dualsr_geo.io.writers.output_spec import band_title
from dualsr_geo.raster import grid
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.scene import Scene
from dualsr_geo.serialization import write_atomically
from dualsr_geo.version import __version__

# pystac has no class for this extension.
PROCESSING_EXTENSION = "https://stac-extensions.github.io/processing/v1.1.0/schema.json"
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
MEDIA_TYPES = {".zarr": "application/vnd.zarr; version=3", ".nc": "application/netcdf"}
NM_PER_UM = 1000.0
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


def item_of(product: str, record: SceneRecord, acquired: str = "", *, page: Path | None = None) -> pystac.Item:
    """Return the STAC item of a product, as `write_item` writes it."""
    scene, name = open_scene(product), PurePosixPath(product)
    when, properties = _datetime(product, scene, acquired)
    properties |= {
        "processing:software": {"dualsr-geo": __version__},
        "processing:lineage": f"Sharpened by a ratio of {record.scale} with the model {record.model}.",
    }
    geometry, bbox = _footprint(scene.geobox)
    item = pystac.Item(name.stem, geometry, bbox, when, properties, stac_extensions=[PROCESSING_EXTENSION])
    media_type = MEDIA_TYPES.get(name.suffix, COG_TYPE)
    item.add_asset("data", pystac.Asset(product, media_type=media_type, roles=["data"]))
    if page is not None and page.exists():
        item.add_asset("report", pystac.Asset(str(page), media_type="text/html", roles=["metadata"]))
    _add_projection(item, scene.geobox)
    _add_bands(item.assets["data"], scene)
    item.add_link(pystac.Link("derived_from", record.scene))
    return item


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


def _add_bands(asset: pystac.Asset, scene: Scene) -> None:
    """Describe the wavelengths (eo) and the packing (raster) of the bands."""
    packing, box = scene.packing, scene.geobox
    gsd_m = grid.gsd(box) if grid.unit(box) == "m" else None
    titles = [band_title(b, i) or f"Band {i}" for i, b in enumerate(scene.bands, 1)]
    EOExtension.ext(asset, add_if_missing=True).bands = [
        EoBand.create(
            title, center_wavelength=_micrometres(b.wavelength_nm), full_width_half_max=_micrometres(b.fwhm_nm)
        )
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


def _micrometres(wavelength_nm: float | None) -> float | None:
    return None if wavelength_nm is None or not wavelength_nm > 0 else round(wavelength_nm / NM_PER_UM, 7)


def _nodata(packing: Packing) -> float | NoDataStrings | None:
    value = packing.nodata
    if value is None or math.isfinite(value):
        return value
    return NoDataStrings("nan" if math.isnan(value) else "inf" if value > 0 else "-inf")
