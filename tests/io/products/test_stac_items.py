"""STAC items of one asset a band: what is opened, by which metadata, and the line that anything else gets."""

import json
import os
from pathlib import Path

import delivered
import numpy as np
import pytest
import rasterio
import stac_items
from click.testing import CliRunner

from dualsr_geo.cli import main
from dualsr_geo.engine.upscale import upscale
from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.products.registry import is_delivery
from dualsr_geo.io.scenes import open_delivered, open_guides
from dualsr_geo.raster.windows import Window

COARSE = ["B05", "B06", "B11"]
DATA = Path(__file__).parents[4] / "shared/data/real/products"


def whole(scene):
    height, width = scene.shape
    return scene.source.read(Window(0, height, 0, width))


def names(scene):
    return [b.name for b in scene.bands]


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture
def values(folder):
    return stac_items.files(folder)


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_the_largest_group_of_bands_is_the_scene_and_the_finest_the_guide(version, folder, values):
    path = stac_items.written(folder / "item.json", stac_items.item(version=version))
    assert is_delivery(str(path))
    delivery = open_delivered(path)
    assert (delivery.sensor, delivery.level) == ("sentinel-2a", "L2A")
    assert names(delivery.scene) == COARSE
    np.testing.assert_allclose(whole(delivery.scene), stac_items.reflectance(values, COARSE), rtol=1e-6)
    band = delivery.scene.bands[0]
    assert (band.wavelength_nm, band.fwhm_nm, band.unit) == (704, 19, "reflectance")
    (guide,) = delivery.guides
    assert names(guide) == ["B02", "B03", "B04", "B08"]
    assert names(open_delivered(path, gsd=60).scene) == ["B01"]
    assert names(open_delivered(path, gsd=10).scene) == ["B02", "B03", "B04", "B08"]
    assert delivery.scene.tags[""]["ACQUISITION"] == "2023-06-12T10:00:31Z"
    with pytest.raises(OptionError, match=r"10 m \(.*60 m \(B01\)"):
        open_delivered(path, gsd=30)


@pytest.mark.filterwarnings("ignore::dualsr_geo.errors.DualSRWarning")
def test_a_product_of_an_item_is_that_of_its_bands(folder, values):
    del values
    path = stac_items.written(folder / "item.json", stac_items.item())
    out = CliRunner().invoke(main, ["upscale", str(path), "--model", "regression", "--max-memory", "2GB", "-q"])
    assert out.exit_code == 0, out.output
    with rasterio.open(folder / "item_x2.tif") as product:
        assert product.count == 3
        assert product.res == (10, 10)
        assert product.descriptions == tuple(COARSE)
    upscale(f"{path}#rededge*", model="regression", rgb=f"{path}#nir,red", max_memory="2GB", overwrite=True)
    with rasterio.open(folder / "item_x2.tif") as product:
        assert product.count == 2


@pytest.mark.usefixtures("values")
@pytest.mark.parametrize(
    ("patterns", "bands"),
    [
        ("swir16,rededge1", ["B11", "B05"]),
        ("B06", ["B06"]),
        ("rededge*", ["B05", "B06"]),
        ("B1*,rededge?", ["B11", "B05", "B06"]),
        ("B05.tif", ["B05"]),
        ("swir16 , nir", ["B11"]),
    ],
)
def test_assets_are_chosen_and_ordered_by_keys_names_and_patterns(patterns, bands, folder):
    path = stac_items.written(folder / "item.json", stac_items.item())
    assert names(open_delivered(f"{path}#{patterns}").scene) == bands


@pytest.mark.usefixtures("values")
def test_a_pattern_that_names_nothing_lists_the_bands(folder):
    path = stac_items.written(folder / "item.json", stac_items.item())
    with pytest.raises(OptionError, match=r"has no band `?'?thermal.*blue, green, red, nir, rededge1"):
        open_delivered(f"{path}#thermal*")


def test_files_next_to_an_item_replace_those_of_its_hrefs(folder, values):
    document = stac_items.item("https://sentinel-cogs.s3.us-west-2.amazonaws.com/33/U/UB/")
    delivery = open_delivered(stac_items.written(folder / "item.json", document))
    np.testing.assert_allclose(whole(delivery.scene), stac_items.reflectance(values, COARSE), rtol=1e-6)
    assert "8 of 8 assets are read from the folder of the item, not from their hrefs." in delivery.notes


@pytest.mark.usefixtures("values")
def test_of_a_band_in_two_formats_the_geotiff_is_read(folder):
    delivery = open_delivered(stac_items.written(folder / "item.json", stac_items.item(jp2=True)))
    assert names(delivery.scene) == COARSE
    assert any("a GeoTIFF rather than a JPEG 2000" in note for note in delivery.notes)


def test_of_a_band_in_several_sizes_the_finest_is_read(folder, values):
    document = stac_items.item()
    for key in ("blue", "red"):
        copy = json.loads(json.dumps(document["assets"][key]))
        copy |= {"href": "./copy.tif", "gsd": 20, "proj:transform": [20, 0, 0, 0, -20, 0]}
        document["assets"][f"{key}_20m"] = copy
    delivery = open_delivered(stac_items.written(folder / "item.json", document))
    assert names(delivery.scene) == COARSE
    assert names(delivery.guides[0]) == ["B02", "B03", "B04", "B08"]
    del values


def test_the_offset_of_files_that_have_it_already_is_left_out(folder, values):
    document = stac_items.item(**{"earthsearch:boa_offset_applied": True})
    delivery = open_delivered(stac_items.written(folder / "item.json", document))
    np.testing.assert_allclose(whole(delivery.scene), stac_items.reflectance(values, COARSE, 0.0), rtol=1e-6)
    assert any("boa_offset_applied" in note for note in delivery.notes)


@pytest.mark.parametrize(("baseline", "offset"), [("05.09", -0.1), ("02.14", 0.0)])
def test_sentinel_2_without_a_scale_in_the_item_has_that_of_its_baseline(baseline, offset, folder, values):
    document = stac_items.item(**{"s2:processing_baseline": baseline})
    for asset in document["assets"].values():
        asset.pop("raster:bands", None)
    delivery = open_delivered(stac_items.written(folder / "item.json", document))
    np.testing.assert_allclose(whole(delivery.scene), stac_items.reflectance(values, COARSE, offset), rtol=1e-6)


@pytest.mark.usefixtures("values")
def test_an_item_of_a_collection_is_named_behind_it(folder):
    items = [stac_items.item(id_=name) for name in ("one", "two")]
    path = stac_items.written(folder / "items.json", {"type": "FeatureCollection", "features": items})
    assert open_delivered(f"{path}#two").scene.name == "two"
    assert names(open_delivered(f"{path}#one#swir16,B05").scene) == ["B11", "B05"]
    with pytest.raises(InputError, match=r"holds 2 items: one, two\. Give one as .*items\.json#ID"):
        open_delivered(path)
    with pytest.raises(InputError, match="none of them three"):
        open_delivered(f"{path}#three")
    single = stac_items.written(folder / "single.json", {"type": "FeatureCollection", "features": items[:1]})
    assert open_delivered(single).scene.name == "one"
    assert names(open_delivered(f"{single}#swir16").scene) == ["B11"]


@pytest.mark.usefixtures("values")
def test_an_item_is_a_guide_by_its_finest_bands(folder):
    path = stac_items.written(folder / "item.json", stac_items.item())
    (guide,) = open_guides(str(path))
    assert names(guide) == ["B02", "B03", "B04", "B08"]


def test_an_item_of_one_asset_is_that_scene(folder):
    cube = delivered.counts(1, (5, 24, 24))
    delivered.raster(folder / "cube.tif", cube, 30)
    document = stac_items.item(bands=())
    document["assets"] = {"data": {"href": "./cube.tif", "type": "image/tiff", "roles": ["data"]}}
    delivery = open_delivered(stac_items.written(folder / "item.json", document))
    np.testing.assert_array_equal(whole(delivery.scene), cube)


@pytest.mark.usefixtures("values")
def test_thermal_bands_are_left_out_unless_they_are_chosen(folder):
    document = stac_items.item()
    document["assets"]["lwir11"] = json.loads(json.dumps(document["assets"]["swir16"]))
    document["assets"]["lwir11"]["eo:bands"] = [{"name": "B10x", "center_wavelength": 10.9}]
    path = stac_items.written(folder / "item.json", document)
    assert names(open_delivered(path).scene) == COARSE
    assert len(open_delivered(f"{path}#lwir11").scene.bands) == 1


# ---- what is wrong -----------------------------------------------------------------------


def with_change(change):
    document = stac_items.item()
    change(document)
    return document


def _no_bands(d):
    d["assets"] = {k: v for k, v in d["assets"].items() if k in ("scl", "visual", "thumbnail")}


def _same_band(d):
    d["assets"]["again"] = d["assets"]["swir16"]


def _other_crs(d):
    d["assets"]["rededge2"]["href"] = "./other.tif"


@pytest.mark.usefixtures("values")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_same_band, r"The assets swir16 and again of the STAC item S2A_33UUB_20230612_0_L2A are both the band swir16"),
        (_other_crs, r"EPSG:32632.*EPSG:32633|EPSG:32633.*EPSG:32632"),
        (
            lambda d: d["assets"]["swir16"].update(href="./none.tif"),
            r"asset swir16 of the STAC item .*none\.tif, which does not",
        ),
        (lambda d: d["assets"]["swir16"].update(href="/etc/hostname"), r"not in .* or below|cannot be opened"),
        (lambda d: d["assets"]["swir16"].update({"eo:bands": "x"}), r"assets\.swir16\.eo:bands is .* where a list"),
        (
            lambda d: d["assets"]["swir16"].update({"eo:bands": ["x"]}),
            r"assets\.swir16\.eo:bands has .* where an object",
        ),
        (lambda d: d["assets"]["swir16"].update({"proj:transform": ["a"] * 6}), "where six numbers are expected"),
        (lambda d: d["assets"]["swir16"]["eo:bands"][0].update(center_wavelength="x"), "where a number is expected"),
        (lambda d: d["assets"]["swir16"]["eo:bands"][0].update(name=["x"]), "where a text is expected"),
        (lambda d: d["assets"]["swir16"]["raster:bands"][0].update(scale=True), "where a number is expected"),
        (lambda d: d["assets"]["swir16"]["raster:bands"][0].update(scale=0), "scale"),
        (lambda d: d["assets"].update(swir16=3), "where an object is expected"),
        (lambda d: d.update(assets=[]), "where an object is expected"),
        (lambda d: d.update(properties=None), "properties"),
        (lambda d: d["properties"].update(datetime={"a": 1}), "item"),
        (_no_bands, r"has no asset that is a band .* its assets are scl, thumbnail, visual"),
    ],
)
def test_an_item_that_cannot_be_opened_gets_one_line(change, message, folder):
    delivered.raster(folder / "other.tif", delivered.counts(1, (1, 48, 48)), 20, crs="EPSG:32632", nodata=0)
    path = stac_items.written(folder / "item.json", with_change(change))
    with pytest.raises(InputError, match=message) as error:
        open_delivered(path)
    assert "\n" not in str(error.value)


def test_an_address_that_cannot_be_reached_is_named_with_its_asset(folder, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    path = stac_items.written(folder / "item.json", stac_items.item("http://127.0.0.1:9/"))
    with pytest.raises(
        InputError, match=r"The asset rededge1 of the STAC item .* http://127\.0\.0\.1:9/B05\.tif"
    ) as error:
        open_delivered(path)
    assert "put it next to the item" in str(error.value)


@pytest.mark.parametrize("text", ["{", "{}", '{"type": "Feature"}', '{"a": ' * 3000, '{"type": "Catalog"}', "{\0"])
def test_other_json_gets_one_line(text, folder):
    (folder / "a.json").write_text(text)
    with pytest.raises(InputError) as error:
        open_delivered(folder / "a.json")
    assert "\n" not in str(error.value)


# ---- real items --------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize("path", sorted((DATA / "stac_items").glob("*.json")), ids=lambda p: p.name[:40])
def test_real_items_name_the_asset_that_cannot_be_reached(path, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    with pytest.raises(
        InputError, match=r"The asset \S+ of the STAC item (L[CETM]0|S2[AB]_)\w+ (is|cannot be opened)"
    ) as error:
        open_delivered(path)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_a_real_item_next_to_its_files(tmp_path):
    (path,) = (DATA / "s2_cog_folder").glob("*/*.json")
    delivery = open_delivered(path)
    assert names(delivery.scene) == ["B05", "B06", "B07", "B8A", "B11", "B12"]
    assert names(delivery.guides[0]) == ["B02", "B03", "B04", "B08"]
    assert delivery.sensor == "sentinel-2a"
    with rasterio.open(path.parent / "B11.tif") as file:
        stored = file.read(1)
    np.testing.assert_allclose(whole(delivery.scene)[4], np.where(stored == 0, np.nan, stored * 1e-4), rtol=1e-6)
    assert os.listdir(tmp_path) == []


def test_fill_of_landsat_is_zero_whatever_the_tag_states(folder):
    bands = (("blue", "B1", 30, 0.48, 0.07), ("green", "B2", 30, 0.56, 0.08))
    document = stac_items.item(bands=bands, id_="LE07_L1TP_193023_20030601_20200101_02_T1", platform="LANDSAT_7")
    for asset in document["assets"].values():
        asset.pop("raster:bands", None)
    values = delivered.counts(3, (2, 32, 32), 50, 200, "uint8")
    values[:, :4] = 0
    for name, plane in zip(("B1", "B2"), values, strict=True):
        delivered.raster(folder / f"{name}.tif", plane[None], 30, nodata=255)
    delivery = open_delivered(stac_items.written(folder / "item.json", document))
    assert delivery.sensor == "landsat-7"
    np.testing.assert_array_equal(whole(delivery.scene), np.where(values == 0, np.nan, values))
    assert delivery.notes[0] == "Values are as stored: the item states no scale."
    (folder / "LE07_MTL.txt").write_text("")
    notes = open_delivered(folder / "item.json").notes
    assert "give the folder for reflectance" in notes[0]


@pytest.mark.usefixtures("values")
def test_an_item_of_the_copernicus_data_space_has_copies_and_classes_that_are_left_out(folder):
    document = stac_items.item(version="1.1.0")
    assets = {"Product": {"href": "https://zipper.invalid/a.zip", "type": "application/zip", "roles": ["data"]}}
    for _, name, gsd, _, _ in stac_items.SENTINEL_2:
        (asset,) = (a for a in document["assets"].values() if [b["name"] for b in a.get("bands", ())] == [name])
        shared = {k: asset["bands"][0].pop(k) for k in ("nodata", "raster:scale", "raster:offset")}
        for size in [n for n in (10, 20, 60) if n >= gsd]:
            copy = json.loads(json.dumps(asset | shared)) | {"gsd": size, "proj:transform": [size, 0, 0, 0, -size, 0]}
            assets[f"{name}_{size}m"] = copy if size == gsd else copy | {"href": "./copy.jp2", "type": "image/jp2"}
    for name in ("SCL", "AOT", "WVP"):
        assets[f"{name}_20m"] = {"href": f"./{name}.jp2", "type": "image/jp2", "bands": [{"name": name}]}
    delivery = open_delivered(stac_items.written(folder / "item.json", document | {"assets": assets}))
    assert names(delivery.scene) == COARSE
    assert names(delivery.guides[0]) == ["B02", "B03", "B04", "B08"]
    assert delivery.scene.packing.offsets == (-0.1,) * 3
