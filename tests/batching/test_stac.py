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
from pystac.extensions.projection import ProjectionExtension

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
    "processing:level": TEXT,
    "processing:lineage": TEXT,
    "processing:datetime": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T[\d:.]+Z$"},
    "processing:expression": {
        "type": "object",
        "properties": {"format": TEXT, "expression": {"type": "object"}},
        "required": ["format", "expression"],
    },
}
WAVE = {"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 20}
BAND = {
    "name": TEXT,
    "description": TEXT,
    "data_type": {"enum": [*(f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64)), "float32", "float64"]},
    "nodata": {"anyOf": [NUMBER, {"enum": ["nan", "inf", "-inf"]}]},
    "unit": TEXT,
    "raster:scale": NUMBER,
    "raster:offset": NUMBER,
    "raster:spatial_resolution": {"type": "number", "exclusiveMinimum": 0},
    "eo:common_name": {"enum": ["red", "green", "blue"]},
    "eo:center_wavelength": WAVE,
    "eo:full_width_half_max": WAVE,
}


def require_valid(path: Path) -> None:
    """Check an item by pystac's copies of STAC's own schemas, and its extensions' fields by their tables."""
    content = json.loads(path.read_text())
    pystac.validation.validate_dict(content, extensions=[])
    prefixed = {k: v for k, v in content["properties"].items() if ":" in k}
    jsonschema.validate(prefixed, {"type": "object", "properties": FIELDS, "additionalProperties": False})
    band = {"type": "object", "properties": BAND, "additionalProperties": False, "required": ["name", "data_type"]}
    for asset in (a for a in content["assets"].values() if a["type"] != "text/html"):
        jsonschema.validate(asset["bands"], {"type": "array", "items": band, "minItems": 1})
    # STAC lists an extension where, and only where, its fields are.
    has_eo = any(key.startswith("eo:") for b in content["assets"]["data"]["bands"] for key in b)
    assert has_eo == any("/eo/v2" in e for e in content["stac_extensions"])
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
        bands = data.extra_fields["bands"]
        for band, scale, offset in zip(bands, raster.scales, raster.offsets, strict=True):
            assert (band["raster:scale"], band["raster:offset"], band["nodata"]) == (scale, offset, raster.nodata)
            assert (band["data_type"], band["raster:spatial_resolution"]) == (raster.dtypes[0], raster.res[0])
        assert [b["name"] for b in bands] == list(raster.descriptions)
        waves = [float(raster.tags(i)["wavelength"]) / 1000 for i in raster.indexes]
    assert [b["eo:center_wavelength"] for b in bands] == pytest.approx(waves)
    np.testing.assert_allclose(item.bbox, [west, south, east, north], atol=1e-7)
    assert item.datetime.isoformat() == "2024-05-01T08:00:00+00:00"
    assert [link.href for link in item.get_links("derived_from")] == ["/data/scene.tif"]
    assert os.path.samefile(data.get_absolute_href(), product)


@pytest.mark.parametrize(("name", "how", "places"), [
    ("bands.tif", "bands", {"data": "bands.tif"}),
    ("apart.tif", "separate", {"data": "apart.tif", "uncertainty": "apart_sigma.tif"}),
    ("group.zarr", True, {"data": "group.zarr", "uncertainty": "group.zarr/uncertainty"}),
])  # fmt: skip
def test_standard_deviations_are_described_where_they_are(tmp_path, name, how, places):
    scene, guide = synthetic.write(tmp_path, shape=(24, 26), bands=3)
    options = Options(scale=2, model="regression", uncertainty=how, jobs=1)
    dualsr_geo.upscale(scene, tmp_path / name, rgb=guide, options=options)
    place = write_item(str(tmp_path / name), RECORD)
    require_valid(place)
    item = pystac.Item.from_file(str(place))
    assert {k: os.path.relpath(a.get_absolute_href(), tmp_path) for k, a in item.assets.items()} == places
    described = [b for a in item.assets.values() for b in a.extra_fields["bands"]]
    assert [b["name"].endswith(" sigma") for b in described] == [False] * 3 + [True] * 3
    assert all("Standard deviation of the error" in b["description"] for b in described[3:])
    if how == "bands":
        with rasterio.open(tmp_path / name) as raster:
            assert [b["name"] for b in described] == list(raster.descriptions)
    assert [link.href for link in item.get_links("derived_from")] == ["/data/scene.tif", str(guide)]
    assert item.properties["processing:expression"]["expression"]["model"] == "regression"
    # A plain product in its place has none, although the file of the standard deviations is still there.
    if how == "separate":
        dualsr_geo.upscale(scene, tmp_path / name, rgb=guide, options=Options(scale=2, model="bicubic", overwrite=True))
        assert set(item_of(str(tmp_path / name), RECORD).assets) == {"data"}


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


@pytest.mark.parametrize("name", ["level.tif", "level.zarr"])
def test_the_level_and_the_software_are_those_of_the_scene_and_of_this_program(tmp_path, name):
    tags = {"PROCESSING_LEVEL": "L2A", "ACQUISITION": "2024-05-01T10:00:00Z"}
    shape = {"height": 40, "width": 44}
    scene = variant(tmp_path, crs="EPSG:32633", transform=Affine(8, 0, 4e5, 0, -8, 5e6), tags=tags, **shape)
    with rasterio.open(scene, "r+") as target:
        target.write(np.random.default_rng(0).random((2, 40, 44)).astype("float32"))
    dualsr_geo.upscale(scene, tmp_path / name, options=FAST)
    place = write_item(str(tmp_path / name), RECORD)
    require_valid(place)
    properties = json.loads(place.read_text())["properties"]
    assert properties["processing:level"] == "L2A"
    assert properties["processing:software"] == {"dualsr-geo": dualsr_geo.__version__}
    assert properties["datetime"] == "2024-05-01T10:00:00Z"


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
        catalog = pystac.Catalog.from_file(str(out / "catalog.json"))
        pystac.validation.validate_dict(json.loads((out / "catalog.json").read_text()))
        assert sorted(i.id for i in catalog.get_items()) == ["other_x2", "scene_x2"]
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
