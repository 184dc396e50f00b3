"""Landsat deliveries of all instruments, against rasterio and the numbers of their MTL files."""

import shutil
from pathlib import Path

import landsat_deliveries as made
import numpy as np
import packed
import pytest
import rasterio
from click.testing import CliRunner
from loopback import loopback

from dualsr_geo.cli import main
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.preparation import dry_run
from dualsr_geo.engine.upscale import upscale
from dualsr_geo.errors import InputError, OptionError, ScaleError
from dualsr_geo.io.describe import describe
from dualsr_geo.io.products import landsat
from dualsr_geo.io.scenes import open_delivered, open_guides
from dualsr_geo.io.storage.folders import stores
from dualsr_geo.raster.windows import Window

REAL = Path(__file__).parents[5] / "shared/data/real/products"


def whole(scene):
    height, width = scene.shape
    return scene.source.read(Window(0, height, 0, width))


def expected(path, mult, add):
    """Return MULT * DN + ADD by rasterio and NumPy, NaN where the count is 0."""
    with rasterio.open(path) as file:
        stored = file.read(1).astype(np.float64)
    return np.where(stored == 0, np.nan, mult * stored + add)


def require_values(scene, folder, names, numbers):
    """Compare every band of a scene with its file: `numbers` gives MULT and ADD of a name."""
    values = whole(scene)
    assert len(values) == len(names)
    for plane, name in zip(values, names, strict=True):
        right = expected(next(folder.glob(f"*_{name}.TIF")), *numbers(name))
        np.testing.assert_allclose(plane, right, rtol=1e-6, atol=1e-6)


def under_the_sun(name):
    # The sun stands at 30 degrees, whose sine is 1/2.
    mult, add = made.scale_of(name.removeprefix("B"))
    return 2 * round(mult, 6), 2 * round(add, 6)


# ---- instruments, collections, levels, forms of the MTL file ----------------------------


@pytest.mark.parametrize("form", ["txt", "json", "xml"])
@pytest.mark.parametrize(
    ("craft", "collection", "bands", "sensor"),
    [
        ("LC08", "01", "1 2 3 4 5 6 7 9", "landsat-8"),
        ("LC09", "02", "1 2 3 4 5 6 7 9", "landsat-9"),
        ("LE07", "01", "1 2 3 4 5 7", "landsat-7"),
        ("LE07", "02", "1 2 3 4 5 7", "landsat-7"),
        ("LT05", "01", "1 2 3 4 5 7", "landsat-5"),
        ("LT04", "02", "1 2 3 4 5 7", "landsat-4"),
        ("LM05", "02", "1 2 3 4", "landsat-5-mss"),
        ("LM02", "02", "4 5 6 7", "landsat-2"),
    ],
)
def test_level_1_of_every_instrument(craft, collection, bands, sensor, form, tmp_path):
    folder = made.delivery(tmp_path, craft, collection=collection, form=form)
    delivery = open_delivered(folder)
    names = [f"B{b}" for b in bands.split()]
    assert [b.name for b in delivery.scene.bands] == names
    assert {b.unit for b in delivery.scene.bands} == {"reflectance"}
    assert all(b.wavelength_nm is not None for b in delivery.scene.bands)
    assert (delivery.sensor, delivery.level) == (sensor, "L1TP")
    assert delivery.scene.sensor.used
    require_values(delivery.scene, folder, names, under_the_sun)
    if craft.startswith(("LC", "LE")):
        require_values(delivery.guides[0], folder, ["B8"], under_the_sun)
    else:
        assert delivery.guides == ()
        assert "has no panchromatic band" in delivery.without_guide


@pytest.mark.parametrize("craft", ["LC08", "LE07", "LT05"])
def test_level_2_is_surface_reflectance(craft, tmp_path):
    folder = made.delivery(tmp_path, craft, "L2SP", "02")
    delivery = open_delivered(folder)
    names = [f"SR_{b.name}" for b in delivery.scene.bands]
    assert all(b.unit == "reflectance" for b in delivery.scene.bands)
    require_values(delivery.scene, folder, names, lambda _: (2.75e-5, -0.2))


def test_gaps_of_landsat_7_are_missing_although_the_tag_states_255(tmp_path):
    folder = made.delivery(tmp_path, "LE07", gaps=True)
    delivery = open_delivered(folder)
    with rasterio.open(next(folder.glob("*_B3.TIF"))) as file:
        assert file.nodata == 255
        gaps = file.read(1) == 0
    assert 0.2 < gaps.mean() < 0.3
    assert (np.isnan(whole(delivery.scene)[2]) == gaps).all()
    assert np.isnan(whole(delivery.guides[0])).mean() == pytest.approx(0.25, abs=0.03)
    assert delivery.scene.packing.nodata == 0


def test_saturated_counts_of_landsat_7_are_values(tmp_path):
    folder = made.delivery(tmp_path, "LE07")
    path = next(folder.glob("*_B3.TIF"))
    with rasterio.open(path, "r+") as file:
        plane = file.read(1)
        plane[5, 5] = 255
        file.write(plane, 1)
    assert np.isfinite(whole(open_delivered(folder).scene)[2, 5, 5])


# Waves as smooth as these do not show the sensor's blur.
@pytest.mark.filterwarnings("ignore::dualsr_geo.errors.DualSRWarning")
def test_a_product_of_landsat_7_has_its_gaps_and_no_value_of_them(tmp_path):
    folder = made.delivery(tmp_path, "LE07", gaps=True, shape=(64, 76))
    summary = upscale(folder, tmp_path / "out.tif", model="regression")
    assert summary["scale"] == 2
    assert "Guided by the product's own B8 at 15 m." in summary["opened"]
    with rasterio.open(next(folder.glob("*_B1.TIF"))) as file:
        gaps = file.read(1) == 0
    with rasterio.open(tmp_path / "out.tif") as file:
        product, nodata = file.read(1), file.nodata
    assert nodata == 0
    assert (np.kron(gaps, np.ones((2, 2), bool)) == (product == 0)).all()
    assert product[product > 0].min() >= 20


# Waves as smooth as these do not show the sensor's blur.
@pytest.mark.filterwarnings("ignore::dualsr_geo.errors.DualSRWarning")
def test_the_pan_of_landsat_7_is_in_its_place_half_a_pixel_off(tmp_path):
    folder = made.delivery(tmp_path, "LE07", shape=(64, 76))
    summary = upscale(folder, tmp_path / "out.tif", model="regression")
    assert max(np.abs(summary["guide"]["shift_px"])) < 0.25
    assert summary["guide"]["coverage"] > 0.95


# ---- values -------------------------------------------------------------------------------


def test_radiance_where_the_mtl_file_states_no_reflectance(tmp_path):
    folder = made.delivery(tmp_path, "LM05", quantity="RADIANCE")
    delivery = open_delivered(folder)
    names = [b.name for b in delivery.scene.bands]
    require_values(
        delivery.scene, folder, names, lambda n: tuple(round(10 * v, 6) for v in made.scale_of(n.removeprefix("B")))
    )
    assert {b.unit for b in delivery.scene.bands} == {"W m-2 sr-1 um-1"}
    assert delivery.notes == ("Values are top-of-atmosphere radiance, W m-2 sr-1 um-1.",)


def test_radiance_by_the_extreme_counts_before_the_collections(tmp_path):
    delivery = open_delivered(made.before_collections(tmp_path))
    assert (delivery.sensor, delivery.level) == ("landsat-5", "L1T")
    assert [b.name for b in delivery.scene.bands] == ["B1", "B2", "B3", "B4", "B5", "B7"]
    values = whole(delivery.scene)
    for plane, band in zip(values, (1, 2, 3, 4, 5, 7), strict=True):
        low, high = -(band + 0.5), 100.0 + band
        scale = (high - low) / 254
        right = expected(tmp_path / f"L5195030_03020030914_B{band}0.TIF", scale, low - scale)
        np.testing.assert_allclose(plane, right, rtol=1e-6, atol=1e-5)
    assert delivery.scene.tags[""]["ACQUISITION"] == "2003-09-14T09:55:12.2280500Z"


def test_at_night_there_is_no_reflectance(tmp_path):
    folder = made.delivery(tmp_path, "LC08", sun=-12.3)
    delivery = open_delivered(folder)
    assert {b.unit for b in delivery.scene.bands} == {"W m-2 sr-1 um-1"}
    assert "the sun is 12.3 degrees below the horizon" in delivery.notes[0]


def test_metadata_without_any_scale_are_refused(tmp_path):
    folder = made.delivery(tmp_path, "LT05", quantity="RADIANCE")
    document = next(folder.glob("*_MTL.txt"))
    document.write_text(document.read_text().replace("RADIANCE_MULT", "OTHER"))
    with pytest.raises(InputError, match="neither the reflectance nor the radiance of band 1"):
        open_delivered(folder)


# ---- thermal ------------------------------------------------------------------------------


@pytest.mark.parametrize(("craft", "band"), [("LC08", "ST_B10"), ("LT05", "ST_B6"), ("LE07", "ST_B6")])
@pytest.mark.parametrize("form", ["txt", None])
def test_the_file_of_surface_temperature_is_kelvin(craft, band, form, tmp_path):
    folder = made.delivery(tmp_path, craft, "L2SP", "02", form=form)
    path = next(folder.glob(f"*_{band}.TIF"))
    delivery = open_delivered(path)
    assert [(b.name, b.unit) for b in delivery.scene.bands] == [(band, "K")]
    require_values(delivery.scene, folder, [band], lambda _: (0.00341802, 149.0))
    assert delivery.notes[0] == "Values are surface temperature in kelvin."
    assert "Measured at" in delivery.notes[1]


def test_a_delivery_of_temperature_only_is_a_thermal_scene(tmp_path):
    folder = made.delivery(tmp_path, "LC08", "L2SP", "02")
    for path in folder.glob("*_SR_*.TIF"):
        path.unlink()
    delivery = open_delivered(folder)
    assert [(b.name, b.unit) for b in delivery.scene.bands] == [("ST_B10", "K")]
    assert delivery.sensor == "landsat-8-thermal"
    assert delivery.scene.bands[0].wavelength_nm == pytest.approx(10895)


def test_thermal_bands_of_level_1_are_radiance_and_left_out_of_the_folder(tmp_path):
    folder = made.delivery(tmp_path, "LE07")
    path = next(folder.glob("*_B6_VCID_2.TIF"))
    scene = open_delivered(path).scene
    assert [(b.name, b.unit) for b in scene.bands] == [("B6_VCID_2", "W m-2 sr-1 um-1")]
    mult, add = made.scale_of("6_VCID_2")
    np.testing.assert_allclose(whole(scene)[0], expected(path, round(10 * mult, 6), round(10 * add, 6)), rtol=1e-6)
    assert "B6_VCID_2" not in [b.name for b in open_delivered(folder).scene.bands]


# ---- folders without metadata, single files -----------------------------------------------


def test_a_folder_without_an_mtl_file_by_the_names_of_its_files(tmp_path):
    folder = made.delivery(tmp_path, "LC08", "L2SP", "02", form=None)
    next(folder.glob("*_SR_B1.TIF")).unlink()
    renamed = folder.rename(tmp_path / "mine")
    delivery = open_delivered(renamed)
    assert [b.name for b in delivery.scene.bands] == ["B2", "B3", "B4", "B5", "B6", "B7"]
    require_values(delivery.scene, renamed, [f"SR_B{n}" for n in range(2, 8)], lambda _: (2.75e-5, -0.2))
    assert delivery.scene.tags[""]["ACQUISITION"] == "2017-03-16"


def test_an_archive_without_an_mtl_file_is_incomplete(tmp_path):
    folder = made.delivery(tmp_path / "a", "LC08", form=None)
    archive = packed.PACKED["tar"](folder, tmp_path)
    with pytest.raises(InputError, match="it is incomplete. Fetch the archive again"):
        open_delivered(archive)


def test_a_tile_of_analysis_ready_data_in_an_archive(tmp_path):
    folder = made.delivery(tmp_path / "a", "LC08", "L2SP", "02", form=None)
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("L2SP_167055", "CU_003010"))
    archive = packed.PACKED["tar"](folder.rename(tmp_path / "LC08_CU_003010_20170316_20170411_02_SR"), tmp_path)
    delivery = open_delivered(archive)
    assert (delivery.sensor, delivery.level, delivery.scene.count) == ("landsat-8", "L2 ARD", 7)


@pytest.mark.parametrize("band", ["B8", "QA_PIXEL"])
def test_a_folder_without_reflective_bands(band, tmp_path):
    folder = made.delivery(tmp_path, "LC08", form=None)
    for path in folder.glob("*.TIF"):
        if path.name.endswith("_B8.TIF"):
            path.rename(path.with_name(path.name.replace("B8", band)))
        else:
            path.unlink()
    if band == "B8":
        assert [b.name for b in open_delivered(folder).scene.bands] == ["B8"]
    else:
        with pytest.raises(InputError, match="no band named as USGS does"):
            open_delivered(folder)


@pytest.mark.parametrize("how", ["tar", "zip"])
def test_an_archive_is_read_in_place(how, tmp_path):
    folder = made.delivery(tmp_path / "a", "LE07", gaps=True)
    archive = packed.PACKED[how](folder, tmp_path)
    delivery = open_delivered(archive)
    require_values(delivery.scene, folder, [b.name for b in delivery.scene.bands], under_the_sun)
    require_values(delivery.guides[0], folder, ["B8"], under_the_sun)


def test_urls_open_as_the_files(tmp_path):
    folder = made.delivery(tmp_path, "LE07", gaps=True)
    second = made.delivery(tmp_path, "LC08", "L2SP", "02", form=None)
    with loopback(tmp_path) as server:
        url = f"{server.url}/{folder.name}/{folder.name}"
        delivery = open_delivered(f"{url}_MTL.txt")
        require_values(delivery.scene, folder, [b.name for b in delivery.scene.bands], under_the_sun)
        require_values(delivery.guides[0], folder, ["B8"], under_the_sun)
        (guide,) = open_guides(f"{url}_B8.TIF")
        require_values(guide, folder, ["B8"], under_the_sun)
        heat = open_delivered(f"{server.url}/{second.name}/{second.name}_ST_B10.TIF")
        assert heat.scene.bands[0].unit == "K"
        require_values(heat.scene, second, ["ST_B10"], lambda _: (0.00341802, 149.0))


def test_a_band_of_a_server_that_refuses_to_say_what_it_has(tmp_path, monkeypatch):
    def refuse(*_):
        raise InputError("403: it is not permitted.")

    monkeypatch.setattr(stores.WebTree, "is_file", refuse)
    monkeypatch.setattr(stores.WebTree, "entries", refuse)
    folder = made.delivery(tmp_path, "LC08", "L2SP", "02")
    with loopback(tmp_path) as server:
        heat = open_delivered(f"{server.url}/{folder.name}/{folder.name}_ST_B10.TIF")
        require_values(heat.scene, folder, ["ST_B10"], lambda _: (0.00341802, 149.0))


def test_level_1_without_an_mtl_file_is_counts_guided_by_its_pan(tmp_path):
    folder = made.delivery(tmp_path, "LE07", form=None, gaps=True)
    delivery = open_delivered(folder)
    require_values(delivery.scene, folder, [b.name for b in delivery.scene.bands], lambda _: (1.0, 0.0))
    assert "stored counts" in delivery.notes[0]
    assert len(delivery.guides) == 1


def test_the_file_of_a_band_is_that_band_alone(tmp_path):
    folder = made.delivery(tmp_path, "LE07", gaps=True)
    path = next(folder.glob("*_B8.TIF"))
    (guide,) = open_guides(path)
    assert np.isnan(whole(guide)).any()
    require_values(guide, folder, ["B8"], under_the_sun)
    assert open_delivered(path).sensor == "landsat-7-pan"
    (red,) = open_guides(next(folder.glob("*_B3.TIF")))
    assert [b.name for b in red.bands] == ["B3"]
    with pytest.raises(OptionError, match="--gsd 15 m is none of the pixel sizes"):
        open_delivered(next(folder.glob("*_B3.TIF")), gsd=15)


@pytest.mark.parametrize("change", ["float32", "scale", "bands"])
def test_a_changed_file_of_a_band_is_opened_as_it_is(change, tmp_path):
    folder = made.delivery(tmp_path, "LC08")
    path = next(folder.glob("*_B4.TIF"))
    with rasterio.open(path) as file:
        cube, profile = file.read(), file.profile
    profile |= {"dtype": "float32"} if change == "float32" else {"count": 2} if change == "bands" else {}
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.repeat(cube, profile["count"], 0).astype(profile["dtype"]))
        if change == "scale":
            file.scales, file.offsets = (0.5,), (3.0,)
    delivery = open_delivered(path)
    assert delivery.sensor == ""
    right = cube * 0.5 + 3 if change == "scale" else cube
    np.testing.assert_allclose(whole(delivery.scene)[:1], right)


# ---- guides of another level --------------------------------------------------------------


def both_levels(tmp_path, date="20170316"):
    second = made.delivery(tmp_path / "a", "LC08", "L2SP", "02")
    first = made.delivery(tmp_path / "b", "LC08", "L1TP", "02", date=date)
    return second, first


def test_level_2_is_guided_by_the_pan_of_its_level_1_in_the_same_folder(tmp_path):
    second, first = both_levels(tmp_path)
    for path in first.iterdir():
        shutil.copy(path, second)
    delivery = open_delivered(second)
    assert delivery.level == "L2SP"
    assert [b.name for b in delivery.guides[0].bands] == ["B8"]
    require_values(delivery.guides[0], first, ["B8"], under_the_sun)
    assert f"The guide is {first.name}_B8.TIF, of the Level 1 of the same acquisition." in delivery.notes
    assert open_delivered(next(second.glob("*L2SP*_MTL.txt"))).guides[0].count == 1
    assert open_delivered(next(second.glob("*L1TP*_MTL.txt"))).level == "L1TP"


def test_level_2_is_guided_by_the_file_of_a_pan_alone(tmp_path):
    second, first = both_levels(tmp_path)
    shutil.copy(next(first.glob("*_B8.TIF")), second)
    assert len(open_delivered(second).guides) == 1


def test_the_pan_of_another_day_is_no_guide_of_its_own(tmp_path):
    second, first = both_levels(tmp_path, "20170401")
    shutil.copy(next(first.glob("*_B8.TIF")), second)
    assert open_delivered(second).guides == ()


@pytest.mark.parametrize("of", ["folder", "file"])
def test_a_given_guide_of_another_day_is_stated(of, tmp_path):
    second, first = both_levels(tmp_path, "20170401")
    guide = first if of == "folder" else next(first.glob("*_B8.TIF"))
    plan = dry_run(second, tmp_path / "out.tif", rgb=guide, options=Options())
    assert plan["scale"] == 2
    (sentence,) = [line for line in plan["opened"] if "2017-04-01" in line]
    assert sentence == "The guide was acquired on 2017-04-01, the scene on 2017-03-16."


def test_a_given_guide_of_the_same_acquisition_is_not_commented(tmp_path):
    second, first = both_levels(tmp_path)
    plan = dry_run(second, tmp_path / "out.tif", rgb=first, options=Options())
    assert not [line for line in plan["opened"] if "acquired" in line]
    assert not [line for line in plan["opened"] if "delivered without band" in line]


# ---- Level 2 of Collection 1 -----------------------------------------------------------------


def test_surface_reflectance_on_demand_by_its_xml_file(tmp_path):
    folder = made.espa(tmp_path)
    for path in (folder, next(folder.glob("*.xml"))):
        delivery = open_delivered(path)
        assert [b.name for b in delivery.scene.bands] == ["B1", "B2", "B3", "B4", "B5", "B6", "B7"]
        assert (delivery.sensor, delivery.level) == ("landsat-8", "SR")
        for plane, band in zip(whole(delivery.scene), range(1, 8), strict=True):
            with rasterio.open(next(folder.glob(f"*_sr_band{band}.tif"))) as file:
                stored = file.read(1).astype(float)
            np.testing.assert_allclose(plane, np.where(stored == -9999, np.nan, stored * 1e-4), rtol=1e-6)
    assert delivery.scene.tags[""]["ACQUISITION"] == "2017-03-16T07:36:26.41Z"


def test_surface_reflectance_on_demand_next_to_the_mtl_file_and_the_pan_of_level_1(tmp_path):
    folder = made.espa(tmp_path / "a")
    first = made.delivery(tmp_path / "b", "LC08")
    shutil.copy(next(first.glob("*_MTL.txt")), folder)
    assert open_delivered(folder).level == "SR"
    assert open_delivered(folder).guides == ()
    shutil.copy(next(first.glob("*_B8.TIF")), folder)
    (guide,) = open_delivered(folder).guides
    require_values(guide, first, ["B8"], under_the_sun)


def test_bands_of_an_xml_file_stay_in_its_folder(tmp_path):
    folder = made.espa(tmp_path)
    document = next(folder.glob("*.xml"))
    next(folder.glob("*_sr_band3.tif")).rename(tmp_path / "secret.tif")
    name = f"{document.stem}_sr_band3.tif"
    with pytest.raises(InputError, match=f"lacks band 3: there is no {name}"):
        open_delivered(folder)
    document.write_text(document.read_text().replace(name, "../secret.tif"))
    with pytest.raises(InputError, match="secret.tif, which is not in"):
        open_delivered(folder)
    document.write_text(document.read_text().replace('"sr_refl"', '"other"'))
    with pytest.raises(InputError, match="describes no bands of reflectance"):
        open_delivered(folder)


# ---- what cannot be opened ------------------------------------------------------------------


def test_a_scene_without_a_pan_needs_a_scale(tmp_path):
    folder = made.delivery(tmp_path, "LT05")
    with pytest.raises(ScaleError, match=r"Landsat 5 TM has no panchromatic band.*Give --scale"):
        dry_run(folder, tmp_path / "out.tif", options=Options())
    plan = dry_run(folder, tmp_path / "out.tif", options=Options(scale=2))
    assert any("Landsat 5 TM has no panchromatic band" in line for line in plan["opened"])
    assert any("no panchromatic band" in note for note in describe(folder)["product"]["notes"])


def test_several_scenes_in_a_folder_are_listed(tmp_path):
    second, first = both_levels(tmp_path, "20170401")
    shutil.copy(next(first.glob("*_MTL.txt")), second)
    with pytest.raises(InputError, match="holds 2 Landsat scenes: LC08_L1TP.*, LC08_L2SP.*Give the MTL file of one"):
        open_delivered(second)
    for path in second.glob("*_MTL.txt"):
        path.unlink()
    for path in first.glob("*.TIF"):
        shutil.copy(path, second)
    with pytest.raises(InputError, match="holds 2 Landsat scenes"):
        open_delivered(second)


def test_a_folder_of_bands_and_other_images_is_that_of_several_scenes(tmp_path):
    folder = made.delivery(tmp_path, "LC08", form=None).rename(tmp_path / "mine")
    assert landsat.looks_like(folder)
    shutil.copy(next(folder.glob("*_B4.TIF")), folder / "dem.tif")
    assert not landsat.looks_like(folder)
    (folder / "dem.tif").unlink()
    other = made.delivery(tmp_path, "LC08", date="20170401", form=None)
    shutil.copy(next(other.glob("*_B4.TIF")), folder)
    assert not landsat.looks_like(folder)


def test_metadata_without_images(tmp_path):
    folder = made.delivery(tmp_path, "LT05")
    for path in folder.glob("*.TIF"):
        path.unlink()
    with pytest.raises(InputError, match="has none of the bands that LT05.*_MTL.txt names, e.g. LT05.*_B1.TIF"):
        open_delivered(folder)


def test_an_mtl_file_that_is_cut_off_before_its_reflectances(tmp_path):
    folder = made.delivery(tmp_path, "LT05")
    document = next(folder.glob("*_MTL.txt"))
    document.write_text(document.read_text().partition("    REFLECTANCE_MULT_BAND_1")[0])
    with pytest.raises(InputError, match="does not end with the line END: it is cut off"):
        open_delivered(folder)


def test_an_mtl_file_under_another_name(tmp_path):
    folder = made.delivery(tmp_path, "LT05")
    document = next(folder.glob("*_MTL.txt"))
    renamed = document.rename(folder / "test_MTL_L5.txt")
    assert landsat.looks_like(renamed)
    assert open_delivered(renamed).sensor == "landsat-5"
    (tmp_path / "MTL_list.txt").write_text("a.tif\nb.tif\n")
    assert not landsat.looks_like(tmp_path / "MTL_list.txt")


def test_overviews_of_one_size_are_opened_without_a_guide(tmp_path):
    folder = made.delivery(tmp_path, "LC08")
    red, pan = (next(folder.glob(f"*_{b}.TIF")) for b in ("B4", "B8"))
    shutil.copy(red, pan)
    delivery = open_delivered(folder)
    assert delivery.guides == ()
    assert "pixels as large as the others" in delivery.without_guide


# ---- real deliveries ----------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data is absent")
@pytest.mark.parametrize(("craft", "guides"), [("LC08", 1), ("LE07", 1), ("LT05", 0)])
def test_real_deliveries_have_the_values_of_their_mtl_files(craft, guides):
    folder = REAL / "landsat_C1L1_ethiopia" / craft
    delivery = open_delivered(folder)
    assert len(delivery.guides) == guides
    text = next(folder.glob("*_MTL.txt")).read_text()
    numbers = dict(line.strip().split(" = ") for line in text.splitlines() if " = " in line)
    sine = np.sin(np.radians(float(numbers["SUN_ELEVATION"])))

    def stated(name):
        band = name.removeprefix("B")
        return tuple(float(numbers[f"REFLECTANCE_{p}_BAND_{band}"]) / sine for p in ("MULT", "ADD"))

    require_values(delivery.scene, folder, [b.name for b in delivery.scene.bands], stated)


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data is absent")
@pytest.mark.parametrize(
    "path", sorted((REAL / "landsat_mtl").glob("*")) if REAL.is_dir() else [], ids=lambda p: p.name
)
def test_every_real_mtl_file_gets_one_line(path):
    result = CliRunner().invoke(main, ["info", str(path)])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "Traceback" not in result.output
    if "broken" not in path.name and path.suffix == ".txt":
        assert f"has none of the bands that {path.name} names" in result.output
