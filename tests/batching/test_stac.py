"""STAC items of products are valid, and agree with rasterio."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import jsonschema
import numpy as np
import pystac
import pystac.validation
import pytest
import rasterio
import rasterio.warp
from affine import Affine
from pyproj import CRS
from pystac.extensions.eo import EOExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import RasterExtension

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.batching import run
from dualsr_geo.batching.scene_record import SceneRecord
from dualsr_geo.batching.stac_output import item_of, write_collection, write_item
from dualsr_geo.batching.tasks import Batch
from dualsr_geo.engine.options import Options
from dualsr_geo.errors import InputError

RECORD = SceneRecord("/data/scene.tif", "done", scale=2, model="bicubic")
FAST = Options(scale=2, model="bicubic", jobs=1)

# The fields that are written here, as the tables of the extensions define them.
NUMBER, TEXT = {"type": "number"}, {"type": "string"}
FIELDS = {
    "proj:code": {"type": ["string", "null"], "pattern": r"^[A-Z]+:\d+$"},
    "proj:wkt2": {"type": ["string", "null"]},
    "proj:bbox": {"type": "array", "items": NUMBER, "minItems": 4, "maxItems": 4},
    "proj:shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2},
    "proj:transform": {"type": "array", "items": NUMBER, "minItems": 6, "maxItems": 6},
    "processing:software": {"type": "object", "additionalProperties": TEXT, "minProperties": 1},
    "processing:lineage": TEXT,
}
RASTER_BAND = {
    "data_type": {"enum": [*(f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64)), "float32", "float64"]},
    "nodata": {"anyOf": [NUMBER, {"enum": ["nan", "inf", "-inf"]}]},
    "unit": TEXT,
    "scale": NUMBER,
    "offset": NUMBER,
    "spatial_resolution": {"type": "number", "exclusiveMinimum": 0},
}
WAVE = {"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 20}
EO_BAND = {"name": TEXT, "center_wavelength": WAVE, "full_width_half_max": WAVE}


def require_valid(path: Path) -> None:
    """Check an item by pystac's copies of STAC's own schemas, and its extensions' fields by their tables."""
    content = json.loads(path.read_text())
    pystac.validation.validate_dict(content, extensions=[])
    prefixed = {k: v for k, v in content["properties"].items() if ":" in k}
    jsonschema.validate(prefixed, {"type": "object", "properties": FIELDS, "additionalProperties": False})
    data = content["assets"]["data"]
    for key, fields in (("raster:bands", RASTER_BAND), ("eo:bands", EO_BAND)):
        band = {"type": "object", "properties": fields, "additionalProperties": False, "minProperties": 1}
        jsonschema.validate(data[key], {"type": "array", "items": band, "minItems": 1})
    for asset in content["assets"].values():
        assert (path.parent / asset["href"]).exists()


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("product")
    scene, _ = synthetic.write(folder, shape=(17, 26), bands=4)
    dualsr_geo.upscale(scene, folder / "p.tif", options=FAST)
    return folder / "p.tif"


def test_an_item_agrees_with_rasterio(product, tmp_path, monkeypatch):
    monkeypatch.chdir(product.parent)
    place = write_item("p.tif", RECORD, "2024-05-01T10:00:00+02:00")
    require_valid(place)
    item = pystac.Item.from_file(str(place))
    data = item.assets["data"]
    with rasterio.open(product) as raster:
        projection = ProjectionExtension.ext(item)
        assert CRS.from_user_input(projection.code) == CRS.from_user_input(raster.crs.to_wkt())
        assert projection.shape == list(raster.shape)
        assert Affine(*projection.transform) == raster.transform
        assert projection.bbox == list(raster.bounds)
        west, south, east, north = rasterio.warp.transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
        for band, scale, offset in zip(RasterExtension.ext(data).bands, raster.scales, raster.offsets, strict=True):
            assert (band.scale, band.offset, band.nodata) == (scale, offset, raster.nodata)
            assert (band.data_type, band.spatial_resolution) == (raster.dtypes[0], raster.res[0])
        names = [b.name for b in EOExtension.ext(data).bands]
        assert names == list(raster.descriptions)
        waves = [float(raster.tags(i)["wavelength"]) / 1000 for i in raster.indexes]
    assert [b.center_wavelength for b in EOExtension.ext(data).bands] == pytest.approx(waves)
    np.testing.assert_allclose(item.bbox, [west, south, east, north], atol=1e-7)
    assert item.datetime.isoformat() == "2024-05-01T08:00:00+00:00"
    assert [link.href for link in item.get_links("derived_from")] == ["/data/scene.tif"]
    assert os.path.samefile(data.get_absolute_href(), product)


def variant(folder: Path, **profile) -> Path:
    tags = profile.pop("tags", {})
    base = {"driver": "GTiff", "count": 2, "height": 9, "width": 13, "dtype": "float32"}
    with rasterio.open(folder / "v.tif", "w", **{**base, **profile}) as target:
        target.update_tags(**tags)
    return folder / "v.tif"


LOCAL = 'ENGCRS["here",EDATUM["here"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
TURNED = Affine(8, 1, 0, 1, -8, 0)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    "profile",
    [
        {"nodata": float("nan")},
        {"crs": "EPSG:32601", "transform": Affine(1e5, 0, 2e5, 0, -1e4, 7e6), "nodata": -1},
        {"crs": "EPSG:4326", "transform": Affine(1e-3, 0, 10, 0, -1e-3, 50)},
        {"crs": LOCAL, "transform": TURNED, "dtype": "int16"},
        {"crs": "+proj=laea +lat_0=52 +lon_0=10", "transform": TURNED, "dtype": "uint8", "nodata": 0},
    ],
    ids=["no CRS", "over the date line", "degrees", "nowhere on Earth", "no code"],
)
def test_any_grid_has_a_valid_item(tmp_path, profile):
    place = write_item(str(variant(tmp_path, **profile)), RECORD)
    content = json.loads(place.read_text())
    pystac.validation.validate_dict(content, extensions=[])
    prefixed = {k: v for k, v in content["properties"].items() if ":" in k}
    jsonschema.validate(prefixed, {"type": "object", "properties": FIELDS, "additionalProperties": False})
    assert (content["geometry"] is None) == ("bbox" not in content)
    assert (content["geometry"] is None) == ("crs" not in profile or profile["crs"] == LOCAL)
    assert "NaN" not in place.read_text()


@pytest.mark.parametrize(("tag", "when"), [
    ("2023-07-08T09:10:11Z", "2023-07-08T09:10:11+00:00"), ("2023-07-08", "2023-07-08T00:00:00+00:00"), ("soon", None),
])  # fmt: skip
def test_the_datetime_is_that_of_the_acquisition_or_described(tmp_path, tag, when):
    path = variant(tmp_path, crs="EPSG:32633", transform=TURNED, tags={"ACQUISITION": tag})
    item = item_of(str(path), RECORD)
    assert when is None or item.datetime.isoformat() == when
    assert ("The acquisition time is unknown" in item.properties.get("description", "")) == (when is None)


def test_a_missing_product_is_an_error(tmp_path):
    with pytest.raises(InputError):
        item_of(str(tmp_path / "none.tif"), RECORD)


def test_a_batch_has_an_item_collection(tmp_path):
    scene, guide = synthetic.write(tmp_path / "in", shape=(17, 26), bands=3)
    guide.unlink()
    (tmp_path / "in/deep").mkdir()
    os.link(scene, tmp_path / "in/deep/other.tif")
    for options in (FAST, Options(scale=2, model="bicubic", jobs=1, resume=True)):
        out = tmp_path / "out"
        run.run([str(tmp_path / "in")], Batch(out, options=options, stac=True, report=True))
        collection = pystac.ItemCollection.from_file(str(out / "items.json"))
        assert sorted(i.id for i in collection) == ["other_x2", "scene_x2"]
        for item in collection:
            assert {(out / a.href).suffix for a in item.assets.values()} == {".tif", ".html"}
            assert all((out / a.href).exists() for a in item.assets.values())
        require_valid(out / "deep/other_x2.json")
        # A resumed run writes what is missing.
        (out / "deep/other_x2.json").unlink()
        (out / "deep/other_x2.html").unlink()


def test_an_empty_collection_is_valid(tmp_path):
    write_collection(tmp_path / "items.json", [])
    assert len(pystac.ItemCollection.from_file(str(tmp_path / "items.json"))) == 0


def test_an_item_is_valid_by_the_schemas_of_its_extensions(product):
    item = item_of(str(product), RECORD)
    try:
        urllib.request.urlopen(item.stac_extensions[0], timeout=5).close()
    except (urllib.error.URLError, OSError) as error:
        pytest.skip(f"the schemas of the extensions cannot be downloaded: {error}")
    item.validate()
