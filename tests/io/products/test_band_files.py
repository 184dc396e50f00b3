"""Scenes of one file a band without metadata: CBERS-4A WPM, files that the user lists, and unknown folders."""

from pathlib import Path

import delivered
import numpy as np
import packed
import pytest
import rasterio
from click.testing import CliRunner

from dualsr_geo.cli import main
from dualsr_geo.engine.upscale import upscale
from dualsr_geo.errors import InputError, KeywordError, OptionError, OutputError
from dualsr_geo.evaluation.guide_check import check_guide
from dualsr_geo.io.scenes import open_delivered, open_scene
from dualsr_geo.raster.windows import Window

WPM = "CBERS_4A_WPM_20200730_209_139_L4"
DATA = Path(__file__).parents[4] / "shared/data/real/products"
pytestmark = pytest.mark.filterwarnings("ignore::dualsr_geo.errors.DualSRWarning")


def whole(scene):
    height, width = scene.shape
    return scene.source.read(Window(0, height, 0, width))


def wpm(folder, name=WPM, pan_gsd=2.0):
    """A folder of four bands of 8 m and the pan band."""
    where = folder / name
    cube = delivered.counts(4, (4, 30, 36), 100, 900, "int16")
    for number, plane in enumerate(cube, 1):
        delivered.raster(where / f"{name}_BAND{number}.tif", plane[None], 8, nodata=0)
    side = int(8 / pan_gsd)
    pan = delivered.counts(4, (1, 30 * side, 36 * side), 100, 900, "int16")
    delivered.raster(where / f"{name}_BAND0.tif", pan, pan_gsd, nodata=0)
    return where, cube


# ---- CBERS -------------------------------------------------------------------------------


def test_wpm_is_guided_by_its_pan_band(tmp_path):
    folder, cube = wpm(tmp_path)
    delivery = open_delivered(folder)
    assert (delivery.sensor, delivery.level) == ("cbers-4a-wpm", "L4")
    np.testing.assert_array_equal(whole(delivery.scene), cube)
    assert [(b.name, b.wavelength_nm, b.fwhm_nm) for b in delivery.scene.bands] == [
        ("BAND1", 485, 70), ("BAND2", 555, 70), ("BAND3", 660, 60), ("BAND4", 830, 120),
    ]  # fmt: skip
    (pan,) = delivery.guides
    assert [(b.name, b.wavelength_nm) for b in pan.bands] == [("BAND0", 675)]
    result = upscale(folder, model="regression", max_memory="2GB")
    assert (result["scale"], result["output"]) == (4, str(tmp_path / f"{WPM}_x4.tif"))


def test_wpm_opens_from_an_archive(tmp_path):
    folder, cube = wpm(tmp_path)
    delivery = open_delivered(packed.zipped(folder, tmp_path / "a.zip"))
    np.testing.assert_array_equal(whole(delivery.scene), cube)
    assert len(delivery.guides) == 1


def test_a_pan_band_of_the_same_pixel_size_is_left_out(tmp_path):
    folder, _ = wpm(tmp_path, pan_gsd=8.0)
    delivery = open_delivered(folder)
    assert delivery.scene.count == 4
    assert delivery.guides == ()
    assert any("left out" in note for note in delivery.notes)


def test_other_cameras_of_cbers_have_their_bands(tmp_path):
    name = "CBERS_4_MUX_20200730_209_139_L4"
    for number in (5, 6, 7, 8):
        delivered.raster(tmp_path / name / f"{name}_BAND{number}.tif", delivered.counts(number, (1, 9, 9)), 20)
    delivery = open_delivered(tmp_path / name)
    assert [b.wavelength_nm for b in delivery.scene.bands] == [485, 555, 660, 830]
    assert delivery.sensor == ""


def test_two_scenes_in_a_folder_are_refused(tmp_path):
    folder, _ = wpm(tmp_path)
    other, _ = wpm(tmp_path, WPM.replace("20200730", "20200731"))
    for file in other.iterdir():
        file.rename(folder / file.name)
    with pytest.raises(InputError, match="holds 2 scenes .*20200730.*20200731"):
        open_delivered(folder)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_a_real_wpm_scene_opens():
    (folder,) = (DATA / "cbers").iterdir()
    delivery = open_delivered(folder)
    assert [b.name for b in delivery.scene.bands] == ["BAND1", "BAND2", "BAND3", "BAND4"]
    with rasterio.open(folder / f"{WPM}_BAND3.tif") as file:
        stored = file.read(1).astype("float32")
    np.testing.assert_array_equal(whole(delivery.scene)[2], np.where(stored == 0, np.nan, stored))


# ---- lists -------------------------------------------------------------------------------


@pytest.fixture
def bands(tmp_path):
    """Return three files of one band each, a fourth of twice the pixels, and the values of the three."""
    cube = delivered.counts(7, (3, 24, 28))
    files = [
        delivered.raster(tmp_path / f"T33UUB_{n}_20m.tif", plane[None], 20, nodata=0)
        for n, plane in zip(("B05", "B06", "B11"), cube, strict=True)
    ]
    return [*files, delivered.raster(tmp_path / "B08.tif", delivered.counts(7, (1, 48, 56)), 10)], cube


def test_listed_files_are_the_bands_in_their_order(bands):
    (*files, _), cube = bands
    scene = open_scene(files)
    np.testing.assert_array_equal(whole(scene), cube)
    assert [b.name for b in scene.bands] == ["B05", "B06", "B11"]
    np.testing.assert_array_equal(whole(open_scene(tuple(map(str, files[::-1])))), cube[::-1])
    np.testing.assert_array_equal(whole(open_scene(files, bidx="3,1")), cube[[2, 0]])
    with_sensor = open_scene(files, sensor="sentinel-2a")
    assert [round(b.wavelength_nm) for b in with_sensor.bands] == [704, 740, 1614]
    np.testing.assert_array_equal(whole(open_scene(files[:1])), cube[:1])


def test_listed_files_in_python_and_on_the_command_line_are_the_same_product(bands, tmp_path):
    (*files, guide), _ = bands
    options = {"model": "regression", "max_memory": "2GB"}
    upscale(files, tmp_path / "a.tif", rgb=guide, **options)
    words = ["upscale", *map(str, files), "--rgb", str(guide), "-o", str(tmp_path / "b.tif")]
    result = CliRunner().invoke(main, [*words, "--model", "regression", "--max-memory", "2GB"])
    assert result.exit_code == 0, result.output
    assert "3 files, bands B05, B06, B11" in result.output
    with rasterio.open(tmp_path / "a.tif") as one, rasterio.open(tmp_path / "b.tif") as other:
        np.testing.assert_array_equal(one.read(), other.read())
        assert one.descriptions == other.descriptions == ("B05", "B06", "B11")
    again = CliRunner().invoke(main, [*words, "--model", "regression", "--max-memory", "2GB", "--resume"])
    assert again.exit_code == 0, again.output
    assert check_guide(files, rgb=guide)


def test_a_list_is_safe(bands, tmp_path):
    (*files, guide), _ = bands

    def output_of(*words):
        result = CliRunner().invoke(main, ["upscale", *map(str, words)])
        assert result.exit_code != 0
        return result.output

    out = tmp_path / "out.tif"
    assert "is on" not in output_of(files[0], guide, "-o", out)
    assert f"Did you mean --rgb {guide}?" in output_of(files[0], guide, "-o", out)
    assert "bands of one scene, which need -o OUTPUT" in output_of(*files, "--rgb", guide)
    assert "are arguments too many" in output_of(files[0], tmp_path / "none.tif", "x.tif", "--rgb", guide, "-o", out)
    text = output_of(files[0], guide, "-o", out, "--scale", 2)
    assert "24 x 28" in text
    assert "48 x 56" in text
    assert f"--rgb {guide}" in text
    assert not out.exists()


def test_a_list_that_is_no_scene_gets_one_line(bands, tmp_path):
    (*files, _), _ = bands
    other = delivered.raster(tmp_path / "other.tif", delivered.counts(1, (1, 24, 28)), 20, crs="EPSG:32632")
    with pytest.raises(
        InputError, match=r"other\.tif is .*EPSG:32632, but .*EPSG:32633: the bands of a scene are on one grid"
    ):
        open_scene([files[0], other])
    with pytest.raises(InputError, match="is listed twice"):
        open_scene([files[0], files[1], files[0]])
    with pytest.raises(InputError, match=r"none\.tif does not exist"):
        open_scene([files[0], tmp_path / "none.tif"])
    with pytest.raises(OptionError, match="several files have one"):
        open_scene(files, gsd=20)
    with pytest.raises(OutputError, match="The scene is several files"):
        upscale(files, scale=2)
    for value in ([], {"a": 1}, 3):
        with pytest.raises(KeywordError, match="a list of paths"):
            open_scene(value)


def test_a_folder_of_no_known_product_lists_its_rasters(tmp_path):
    for name in ("ndvi.tif", "dem.tif", "slope.tif"):
        delivered.raster(tmp_path / name, delivered.counts(1, (1, 9, 9)), 10)
    with pytest.raises(InputError) as error:
        open_scene(tmp_path)
    assert "holds dem.tif, ndvi.tif, slope.tif. Give one, or several of one grid as bands" in str(error.value)
