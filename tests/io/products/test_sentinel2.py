"""Sentinel-2 in the layouts beside one SAFE folder of one granule: old ones, folders of one file a band."""

import json
import pickle
import shutil

import delivered
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from delivered import counts, raster

from dualsr_geo.cli import main
from dualsr_geo.errors import InputError
from dualsr_geo.io.products.sentinel2.bands import baseline_of
from dualsr_geo.io.scenes import open_delivered, open_scene
from dualsr_geo.raster.windows import Window


def whole(scene):
    _, height, width = scene.source.shape
    return scene.source.read(Window(0, height, 0, width))


def band_folder(folder, name="S2A_33UUB_20230612_0_L2A", form="{band}.tif", without=(), sides=(60, 84), driver="GTiff"):
    """A folder of one file a band; `sides` are the rows and columns at 10 m."""
    where = folder / name
    for gsd, names in delivered.S2_BANDS.items():
        height, width = (n * 10 // gsd for n in sides)
        for band, plane in zip(names, counts(gsd, (len(names), height, width)), strict=True):
            if band not in without and band != "B10":
                raster(where / form.format(band=band, gsd=gsd), plane[None], gsd, driver=driver)
    classes = np.full((1, sides[0] // 2, sides[1] // 2), 4, "uint8")
    raster(where / form.format(band="SCL", gsd=20), classes, 20, driver=driver)
    return where


def item(where, baseline="05.09", asset_offset=None, **properties):
    """Write the STAC item of a folder."""
    assets = {}
    for gsd, names in delivered.S2_BANDS.items():
        for band in names:
            packing = {} if asset_offset is None else {"raster:bands": [{"scale": 1e-4, "offset": asset_offset}]}
            assets[band.lower()] = {"href": f"https://example.com/{where.name}/{band}.tif", "gsd": gsd, **packing}
    stated = {"platform": "sentinel-2b", "datetime": "2023-06-12T10:00:31Z", **properties}
    if baseline is not None:
        stated["s2:processing_baseline"] = baseline
    content = {"type": "Feature", "id": where.name, "properties": stated, "assets": assets}
    (where / f"{where.name}.json").write_text(json.dumps(content))
    return where


def stored(path):
    with rasterio.open(path) as file:
        return file.read(1).astype(float)


# ---- SAFE --------------------------------------------------------------------------------


def two_granules(folder):
    safe = delivered.sentinel2(folder, "L1C", "02.01", None)
    granule = next((safe / "GRANULE").iterdir())
    other = granule.with_name("S2A_OPER_MSI_L1C_TL_EPA__20160612T000000_A000001_T33UVB_N02.01")
    shutil.copytree(granule, other)
    return safe, granule, other


def test_one_granule_of_several_opens_by_its_folder(tmp_path):
    safe, granule, other = two_granules(tmp_path)
    with pytest.raises(InputError, match=r"holds 2 granules, of one tile each .*Give one of them, e.g. .*GRANULE/"):
        open_scene(safe)
    delivery = open_delivered(other)
    assert (delivery.sensor, delivery.level, delivery.scene.name) == ("sentinel-2a", "L1C", other.name)
    (other / "MTD_TL.xml").write_text("<n1:Level-1C_Tile_ID xmlns:n1='x'/>")
    assert open_scene(other / "MTD_TL.xml").name == other.name
    np.testing.assert_array_equal(whole(open_scene(granule)), whole(delivery.scene))


def test_names_of_before_december_2016(tmp_path):
    safe = delivered.sentinel2(tmp_path, "L1C", "02.01", None)
    old = tmp_path / "S2A_OPER_PRD_MSIL1C_PDMC_20160612T000000_R122_V20160612T100031_20160612T100031.SAFE"
    safe.rename(old)
    document = old / "S2A_OPER_MTD_SAFL1C_PDMC_20160612T000000_R122_V20160612T100031_20160612T100031.xml"
    (old / "MTD_MSIL1C.xml").rename(document)
    document.write_text(document.read_text().replace(">02.01<", ">N02.01<"))
    for path in (old, document):
        delivery = open_delivered(path)
        assert "baseline 02.01, no offset" in delivery.notes[0]
        assert [b.name for b in delivery.scene.bands] == list(delivered.S2_BANDS[20])


def test_names_of_the_quantification_value_of_early_sen2cor(tmp_path):
    safe = delivered.sentinel2(tmp_path, baseline="02.01", offset=None)
    document = safe / "MTD_MSIL2A.xml"
    text = document.read_text().replace("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE")
    document.write_text(text.replace(">10000<", ">2000<"))
    assert open_scene(safe).packing.scales[0] == pytest.approx(1 / 2000)


def test_offsets_of_single_bands(tmp_path):
    safe = delivered.sentinel2(tmp_path)
    document = safe / "MTD_MSIL2A.xml"
    one = '<BOA_ADD_OFFSET band_id="11">'
    document.write_text(document.read_text().replace(f"{one}-1000", f"{one}-500"))
    delivery = open_delivered(safe)
    assert delivery.scene.packing.offsets == (-0.1, -0.1, -0.1, -0.1, -0.05, -0.1)
    assert "offset -1000, -500" in delivery.notes[0]


def test_a_baseline_of_a_user_decides_no_offset(tmp_path):
    delivery = open_delivered(delivered.sentinel2(tmp_path, baseline="99.99", offset=None))
    assert "baseline 99.99, no offset" in delivery.notes[0]


def test_levels_that_are_not_supported(tmp_path):
    safe = delivered.sentinel2(tmp_path)
    document = safe / "MTD_MSIL2A.xml"
    document.write_text(document.read_text().replace("Level-2A</PROCESSING_LEVEL", "Level-2H</PROCESSING_LEVEL"))
    with pytest.raises(InputError, match=r"MTD_MSIL2A.xml is of Level-2H; levels 1C and 2A are supported"):
        open_scene(safe)


def test_metadata_without_images(tmp_path):
    safe = delivered.sentinel2(tmp_path)
    shutil.rmtree(safe / "GRANULE")
    with pytest.raises(InputError, match=r"MTD_MSIL2A.xml is there, and GRANULE/\*/IMG_DATA next to it holds none"):
        open_scene(safe)
    document = tmp_path / "S2C_OPER_MTD_L1C_TL_X.xml"
    document.write_text("<a/>")
    with pytest.raises(InputError, match="metadata of one granule, and is not in the GRANULE folder"):
        open_scene(document)


def test_without_10_m_bands_the_20_m_bands_have_no_guide(tmp_path):
    safe = delivered.sentinel2(tmp_path)
    shutil.rmtree(next(safe.glob("GRANULE/*/IMG_DATA/R10m")))
    delivery = open_delivered(safe)
    assert ([b.name for b in delivery.scene.bands], delivery.guides) == (list(delivered.S2_BANDS[20]), ())
    assert "The 10 m bands (B02, B03, B04, B08) are missing, so the product has no guide of 10 m." in delivery.notes
    done = CliRunner().invoke(main, ["upscale", str(safe)])
    assert (done.exit_code, "Give --scale" in done.output) == (1, True)
    assert [b.name for b in open_delivered(safe, gsd=60).guides[0].bands] == list(delivered.S2_BANDS[20])


def test_of_the_10_m_bands_one_may_be_missing(tmp_path):
    where = item(band_folder(tmp_path, without=["B03"]))
    delivery = open_delivered(where)
    assert [b.name for b in delivery.guides[0].bands] == ["B02", "B04", "B08"]
    assert "Of the 10 m bands B03 is missing." in delivery.notes


# ---- Folders of one file a band ----------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "driver"),
    [("{band}.tif", "GTiff"), ("R{gsd}m/{band}.jp2", "JP2OpenJPEG"), ("T33UUB_2_{band}_{gsd}m.tif", "GTiff")],
)
def test_folders_of_one_file_a_band(form, driver, tmp_path):
    where = item(band_folder(tmp_path, form=form, driver=driver))
    delivery = open_delivered(where)
    assert (delivery.sensor, delivery.level) == ("sentinel-2b", "L2A")
    assert [b.name for b in delivery.scene.bands] == list(delivered.S2_BANDS[20])
    assert [b.name for b in delivery.guides[0].bands] == list(delivered.S2_BANDS[10])
    expected = (stored(where / form.format(band="B11", gsd=20)) - 1000) / 1e4
    if driver == "GTiff":
        np.testing.assert_allclose(whole(delivery.scene)[4], expected, atol=1e-6)
    assert f"processing baseline 05.09, offset -1000, by {where.name}.json" in delivery.notes[0]
    assert [b.name for b in open_delivered(where, gsd=60).scene.bands] == ["B01", "B09"]


@pytest.mark.parametrize(
    ("baseline", "asset_offset", "properties", "offset"),
    [
        ("03.01", None, {}, 0),
        ("05.09", None, {}, -0.1),
        ("05.09", -0.1, {"earthsearch:boa_offset_applied": True}, 0),
        ("05.09", 0, {"earthsearch:boa_offset_applied": False}, -0.1),
        (None, -0.1, {}, -0.1),
        (None, None, {"s2:product_uri": "S2B_MSIL2A_20230612T100031_N0509_R122_T33UUB_20230612T140000.SAFE"}, -0.1),
    ],
)
def test_offset_of_a_folder_with_an_item(baseline, asset_offset, properties, offset, tmp_path):
    scene = open_scene(item(band_folder(tmp_path), baseline, asset_offset, **properties))
    assert scene.packing.offsets == pytest.approx([offset] * 6)
    assert scene.packing.scales == pytest.approx([1e-4] * 6)


def test_a_tile_of_the_buckets_states_its_baseline(tmp_path):
    where = band_folder(tmp_path, name="0", form="{band}.jp2", driver="JP2OpenJPEG")
    (where / "SCL.jp2").unlink()
    name = "S2B_OPER_MSI_L1C_TL_2BPS_20230612T102030_A032748_T33UUB_N05.09"
    (where / "metadata.xml").write_text(
        f"<n1:Level-1C_Tile_ID xmlns:n1='x'><TILE_ID>{name}</TILE_ID></n1:Level-1C_Tile_ID>"
    )
    delivery = open_delivered(where)
    assert (delivery.sensor, delivery.level) == ("sentinel-2b", "L1C")
    assert "baseline 05.09, offset -1000, by metadata.xml" in delivery.notes[0]
    product = "S2B_MSIL1C_20230612T100031_N0400_R122_T33UUB_20230612T102030"
    (where / "tileInfo.json").write_text(json.dumps({"productName": product}))
    with pytest.raises(InputError, match=r"metadata.xml states processing baseline 05.09, tileInfo.json 04.00"):
        open_scene(where)


def test_an_unknown_baseline_is_named(tmp_path):
    delivery = open_delivered(band_folder(tmp_path, name="tile"))
    assert set(delivery.scene.packing.offsets) == {0.0}
    assert any("state the processing baseline, so no offset is applied" in note for note in delivery.notes)
    assert any("taken for Sentinel-2A" in note for note in delivery.notes)
    assert open_delivered(tmp_path / "tile", sensor="sentinel-2c").sensor == "sentinel-2c"


def test_a_file_that_states_its_packing_is_read_by_it(tmp_path):
    where = band_folder(tmp_path)
    for path in where.glob("B*.tif"):
        with rasterio.open(path, "r+") as file:
            file.scales, file.offsets = (2e-4,), (-0.2,)
    assert open_scene(where).packing.offsets == (-0.2,) * 6


def test_faults_of_a_folder_are_named(tmp_path):
    where = item(band_folder(tmp_path, without=["B11"]))
    with pytest.raises(InputError, match=r"lacks band B11 of 20 m: there is no B11.tif or B11.jp2"):
        open_scene(where)
    assert open_scene(where, gsd=60).count == 2
    shutil.copy(where / "B05.tif", where / "T33UUB_2023_B11.tif")
    with pytest.raises(InputError, match="holds files of several products: B01.tif and T33UUB_2023_B11.tif"):
        open_scene(where)
    shutil.move(where / "T33UUB_2023_B11.tif", where / "B05.jp2")
    with pytest.raises(InputError, match="holds band B05 as B05.jp2 and as B05.tif"):
        open_scene(where)
    (where / "B05.jp2").unlink()
    (where / f"{where.name}.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as metadata"):
        open_scene(where)


def test_a_truncated_image_is_named(tmp_path):
    where = item(band_folder(tmp_path, form="{band}.jp2", driver="JP2OpenJPEG", sides=(600, 600)))
    image = where / "B05.jp2"
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 3])
    with pytest.raises(InputError, match=r"B05.jp2.*(damaged|cannot be (opened|read))"):
        whole(open_scene(where))


@pytest.mark.parametrize(
    ("name", "baseline"),
    [
        ("S2A_MSIL2A_20200219T112111_N0214_R037_T29RKH_20200219T123947.SAFE", 2.14),
        ("S2A_OPER_MSI_L2A_TL_MPS__20200219T123947_A024344_T29RKH_N02.14", 2.14),
        ("05.09", 5.09),
        ("N01.01", 1.01),
        ("S2A_29RKH_20200219_0_L2A", None),
        ("", None),
    ],
)
def test_baseline_of_a_name(name, baseline):
    assert baseline_of(name) == baseline


# ---- EOPF Zarr ---------------------------------------------------------------------------


def eopf(folder, name=delivered.EOPF_NAME, **options):
    return delivered.eopf_sentinel2(folder / f"{name}.zarr", **options)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("crs", ["array", "other_metadata", "stac_discovery"])
def test_eopf_zarr(zarr_format, crs, tmp_path):
    where = eopf(tmp_path, zarr_format=zarr_format, crs=crs)
    delivery = open_delivered(where)
    assert (delivery.sensor, delivery.level) == ("sentinel-2b", "L2A")
    scene, (guide,) = delivery.scene, delivery.guides
    assert [b.name for b in scene.bands] == list(delivered.S2_BANDS[20])
    assert [b.name for b in guide.bands] == list(delivered.S2_BANDS[10])
    assert tuple(scene.geobox.affine)[:6] == (20, 0, delivered.EAST, 0, -20, delivered.NORTH)
    assert scene.geobox.crs.epsg == 32633
    assert "processing baseline 05.11, offset -1000" in delivery.notes[0]
    cube = counts(20, (6, 30, 42)).astype(float)
    cube[:, :2, :3] = np.nan
    np.testing.assert_allclose(whole(scene), (cube - 1000) / 1e4, atol=1e-6)
    assert scene.packing.nodata == 0
    assert [b.name for b in open_delivered(where, gsd=60).scene.bands] == ["B01", "B09"]
    assert pickle.loads(pickle.dumps(scene)).count == 6


def test_eopf_zarr_is_sharpened_by_its_own_bands(tmp_path):
    where = eopf(tmp_path, sides=(120, 168))
    done = CliRunner().invoke(main, ["upscale", str(where), "--model", "regression"])
    assert done.exit_code == 0, done.output
    assert "Opened as sentinel-2b L2A: B05, B06, B07, B8A, B11, B12 at 20 m." in done.output
    with rasterio.open(where.with_name(f"{where.stem}_x2.tif")) as file:
        assert (file.shape, file.count, file.transform.a, file.crs.to_epsg()) == ((120, 168), 6, 10, 32633)


def test_faults_of_eopf_zarr_are_named(tmp_path):
    where = eopf(tmp_path)
    shutil.rmtree(where / "measurements/reflectance/r20m/b11")
    with pytest.raises(InputError, match="measurements/reflectance/r20m/b11 is missing. Fetch the product again"):
        open_scene(where)
    where = eopf(tmp_path / "other")
    shutil.rmtree(where / "measurements/reflectance/r10m")
    delivery = open_delivered(where)
    assert ([b.name for b in delivery.scene.bands], delivery.guides) == (list(delivered.S2_BANDS[20]), ())
    assert "The 10 m bands (B02, B03, B04, B08) are missing, so the product has no guide of 10 m." in delivery.notes
    shutil.rmtree(where / "measurements/reflectance/r20m")
    shutil.rmtree(where / "measurements/reflectance/r60m")
    with pytest.raises(InputError, match="measurements/reflectance holds none of the bands of Sentinel-2"):
        open_scene(where)


def test_eopf_zarr_without_scale(tmp_path):
    where = eopf(tmp_path, packed=False)
    with pytest.raises(InputError, match="r20m/b05 has no scale_factor, so its reflectance is not known"):
        open_scene(where)


# ---- Object stores -----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::dualsr_geo.errors.DualSRWarning")
@pytest.mark.parametrize("make", [eopf, lambda folder: item(band_folder(folder))])
def test_layouts_in_a_store_give_the_product_of_the_files(make, bucket, tmp_path):
    where = make(tmp_path)
    bucket.put_folder(f"s2/{where.name}", where)
    url = f"s3://scenes/s2/{where.name}{'' if where.suffix else '/'}"
    here, there = open_delivered(where), open_delivered(url)
    assert (there.notes, there.sensor, there.gsds) == (here.notes, here.sensor, here.gsds)
    assert there.scene.geobox == here.scene.geobox
    np.testing.assert_array_equal(whole(there.scene), whole(here.scene))
    np.testing.assert_array_equal(whole(there.guides[0]), whole(here.guides[0]))
    np.testing.assert_array_equal(whole(there.classification), whole(here.classification))
