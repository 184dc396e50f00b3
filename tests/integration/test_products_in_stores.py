"""STAC items, folders of products and catalogues in a store and on the web: the same bytes as from files."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import delivered
import numpy as np
import pytest
import rasterio
import stac_items
from loopback import loopback

import dualsr_geo
from dualsr_geo.batching.guide_matching import guide_rule
from dualsr_geo.batching.run import run
from dualsr_geo.batching.tasks import Batch
from dualsr_geo.engine.options import Options
from dualsr_geo.errors import InputError
from dualsr_geo.io.products.registry import is_delivery
from dualsr_geo.io.scenes import open_delivered

RUN = {"model": "regression", "jobs": 1, "max_memory": "2GB", "overwrite": True}
START = Options(model="regression", jobs=1)
pytestmark = pytest.mark.filterwarnings("ignore::dualsr_geo.errors.DualSRWarning")


def pixels(path):
    with rasterio.open(path) as file:
        return file.read(), file.profile, file.descriptions, file.scales, file.offsets


def require_same_product(one, other):
    (a, *rest_a), (b, *rest_b) = pixels(one), pixels(other)
    np.testing.assert_array_equal(a, b)
    assert rest_a == rest_b


@pytest.fixture(scope="module")
def landscape(tmp_path_factory):
    """Return a folder of the files of an item, the item, and the product that is made of them on disk."""
    folder = tmp_path_factory.mktemp("item")
    stac_items.files(folder / "33UUB")
    path = stac_items.written(folder / "33UUB" / "item.json", stac_items.item())
    dualsr_geo.upscale(path, folder / "expected.tif", **RUN)
    return folder


def test_an_item_in_a_store_is_the_same_bytes(bucket, landscape, tmp_path):
    bucket.put_folder("s2", landscape / "33UUB")
    dualsr_geo.upscale("s3://scenes/s2/item.json", tmp_path / "a.tif", **RUN)
    require_same_product(tmp_path / "a.tif", landscape / "expected.tif")
    for base in ("s3://scenes/s2/", "/vsis3/scenes/s2/"):
        local = stac_items.written(tmp_path / "local.json", stac_items.item(base))
        dualsr_geo.upscale(local, tmp_path / "b.tif", **RUN)
        require_same_product(tmp_path / "b.tif", landscape / "expected.tif")
    assert [b.name for b in open_delivered("s3://scenes/s2/item.json#swir16").scene.bands] == ["B11"]


def test_an_item_on_the_web_is_the_same_bytes(landscape, tmp_path):
    with loopback(landscape / "33UUB") as server:
        dualsr_geo.upscale(f"{server.url}/item.json", tmp_path / "a.tif", **RUN)
        require_same_product(tmp_path / "a.tif", landscape / "expected.tif")
        delivery = open_delivered(f"{server.url}/item.json#rededge2,B05")
        assert [b.name for b in delivery.scene.bands] == ["B06", "B05"]


def test_an_item_from_the_network_names_no_local_file(bucket, landscape, tmp_path):
    document = stac_items.item(f"file://{landscape}/33UUB/")
    bucket.put("hostile.json", stac_items.written(tmp_path / "hostile.json", document))
    with pytest.raises(InputError, match=r"hostile\.json names the local file .*B05\.tif"):
        open_delivered("s3://scenes/hostile.json")


@pytest.mark.parametrize("kind", ["landsat", "sentinel2", "maxar"])
def test_a_folder_in_a_store_is_the_same_bytes(kind, bucket, tmp_path):
    folder = getattr(delivered, kind)(tmp_path)
    bucket.put_folder(folder.name, folder)
    url = f"s3://scenes/{folder.name}"
    assert is_delivery(url)
    dualsr_geo.upscale(folder, tmp_path / "a.tif", **RUN)
    dualsr_geo.upscale(url, tmp_path / "b.tif", **RUN)
    require_same_product(tmp_path / "a.tif", tmp_path / "b.tif")


def test_a_metadata_file_in_a_store_and_on_the_web_opens_its_product(bucket, tmp_path):
    folder = delivered.landsat(tmp_path / "web")
    bucket.put_folder(folder.name, folder)
    expected = open_delivered(folder)
    document = f"{folder.name}/{folder.name}_MTL.txt"
    with loopback(tmp_path / "web") as server:
        for url in (f"s3://scenes/{document}", f"{server.url}/{document}"):
            delivery = open_delivered(url)
            assert delivery.scene.bands == expected.scene.bands
            assert len(delivery.guides) == 1


def test_a_batch_of_a_catalog_of_items_of_one_asset_a_band(bucket, landscape, tmp_path):
    bucket.put_folder("s2", landscape / "33UUB")
    folder = tmp_path / "catalog"
    links = []
    for name, base in (
        ("disk", f"../../{Path(os.path.relpath(landscape, tmp_path))}/33UUB/"),
        ("store", "s3://scenes/s2/"),
    ):
        stac_items.written(folder / name / f"{name}.json", stac_items.item(base, id_=name))
        links.append({"rel": "item", "href": f"./{name}/{name}.json", "type": "application/json"})
    catalog = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "c", "links": links}
    path = stac_items.written(folder / "catalog.json", catalog)
    for file in (landscape / "33UUB").glob("*.tif"):
        os.link(file, folder / "disk" / file.name)
    batch = Batch(tmp_path / "out", guide_rule([]), START)
    assert [(r.scene, r.status, r.reason) for r in run([str(path)], batch) if r.status != "done"] == []
    for name in ("disk", "store"):
        require_same_product(tmp_path / "out" / f"{name}_x2.tif", landscape / "expected.tif")
    with (tmp_path / "out" / "summary.csv").open() as table:
        assert [row["status"] for row in csv.DictReader(table)] == ["done", "done"]
    assert [r.status for r in run([str(path)], replace(batch, options=replace(START, resume=True)))] == ["done", "done"]


def test_a_batch_of_a_collection_saved_from_a_catalogue_chooses_assets(landscape, tmp_path):
    items = [stac_items.item("https://catalogue.invalid/", id_=name) for name in ("one", "two")]
    for file in (landscape / "33UUB").glob("*.tif"):
        os.link(file, tmp_path / file.name)
    path = stac_items.written(tmp_path / "search.json", {"type": "FeatureCollection", "features": items})
    batch = Batch(tmp_path / "out", guide_rule(["nir"]), START, asset="swir16,rededge*")
    assert [r.status for r in run([str(path)], batch)] == ["done", "done"]
    with rasterio.open(tmp_path / "out" / "two_x2.tif") as product:
        assert product.descriptions == ("B11", "B05", "B06")
    wrong = Batch(tmp_path / "wrong", guide_rule([]), START, asset="thermal*")
    assert {r.reason for r in run([str(path)], wrong)} == {
        f"The STAC item {name} has no band thermal*. Its bands are blue, green, red, nir, rededge1, rededge2, swir16, coastal. "
        "Give --asset KEY."
        for name in ("one", "two")
    }
