"""PlanetScope orders, read against plain rasterio."""

import instruments
import numpy as np
import pytest
import rasterio

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.scenes import open_delivered, open_scene
from dualsr_geo.raster.windows import Window


def whole(scene):
    height, width = scene.shape
    return scene.source.read(Window(0, height, 0, width))


def stored(path):
    with rasterio.open(path) as file:
        values = file.read().astype(float)
    values[values == 0] = np.nan
    return values


@pytest.mark.parametrize(
    ("bands", "instrument", "sensor"),
    [
        (8, "PSB.SD", "planetscope-8b"),
        (4, "PSB.SD", "planetscope"),
        (4, "PS2.SD", "planetscope"),
        (4, "PS2", "planetscope-ps2"),
    ],
)
def test_surface_reflectance_is_a_ten_thousandth(bands, instrument, sensor, tmp_path):
    order = instruments.planetscope(tmp_path, bands=bands, instrument=instrument)
    delivery = open_delivered(order)
    image = next(order.glob("*/*_SR*.tif"))
    np.testing.assert_allclose(whole(delivery.scene), stored(image) / 1e4, atol=1e-7)
    assert np.isnan(whole(delivery.scene)[:, 0, 0]).all()
    assert (delivery.sensor, delivery.guides, delivery.scene.name) == (sensor, (), image.stem)
    assert delivery.scene.sensor.used
    assert delivery.notes == ("Values are surface reflectance.",)
    assert delivery.scene.tags[""]["ACQUISITION"].startswith("2023-06-12T10:00:31")
    np.testing.assert_array_equal(whole(open_scene(image)), whole(delivery.scene))


def test_radiance_is_reflectance_by_its_coefficients(tmp_path):
    order = instruments.planetscope(tmp_path, surface=False, radiance=True)
    delivery = open_delivered(order)
    image = next(order.glob("*/*_AnalyticMS_8b_clip.tif"))
    expected = stored(image) * np.array(instruments.COEFFICIENTS)[:, None, None]
    np.testing.assert_allclose(whole(delivery.scene), expected, rtol=1e-6)
    assert [b.name for b in delivery.scene.bands][:4] == ["coastal blue", "blue", "green i", "green"]
    assert delivery.notes == ("Values are top-of-atmosphere reflectance.",)


def test_radiance_without_coefficients_stays_radiance(tmp_path):
    order = instruments.planetscope(tmp_path, bands=4, surface=False, radiance=True, metadata=False)
    delivery = open_delivered(order)
    np.testing.assert_allclose(
        whole(delivery.scene), stored(next(order.glob("*/*_AnalyticMS_clip.tif"))) / 100, rtol=1e-6
    )
    assert delivery.scene.bands[0].unit == "W m-2 sr-1 um-1"
    assert "no _metadata.xml" in delivery.notes[0]


def test_of_both_images_of_a_scene_surface_reflectance_is_opened(tmp_path):
    assert "SR" in open_delivered(instruments.planetscope(tmp_path, radiance=True)).scene.name


def test_a_file_made_of_an_image_is_a_plain_raster(tmp_path):
    order = instruments.planetscope(tmp_path)
    image = next(order.glob("*/*_SR*.tif"))
    made = image.with_name(f"{image.stem}_float.tif")
    with rasterio.open(image) as file:
        profile = file.profile | {"dtype": "float32", "nodata": -1}
        values = file.read() / np.float32(1e4)
    with rasterio.open(made, "w", **profile) as file:
        file.write(values)
    delivery = open_delivered(made)
    np.testing.assert_array_equal(whole(delivery.scene), values)
    assert (delivery.notes, delivery.sensor) == ((), "")
    # The delivery of the folder remains the image as delivered.
    assert open_delivered(order).scene.name == image.stem


def test_faults_are_named(tmp_path):
    with pytest.raises(InputError, match="level 1B .*Order the 3B"):
        open_scene(instruments.planetscope(tmp_path / "a", level="1B"))
    order = instruments.planetscope(tmp_path / "b")
    with pytest.raises(OptionError, match=r"--gsd 10 m .*3 m \(all\)"):
        open_scene(order, gsd=10)
    image = next(order.glob("*/*_SR*.tif"))
    image.with_name(image.name.replace("_2486_", "_2487_")).write_bytes(image.read_bytes())
    with pytest.raises(InputError, match="several scenes.*Give one of them"):
        open_scene(order)
    next(order.glob("*/*_metadata.json")).write_text("[]")
    with pytest.raises(InputError, match=r"_metadata.json cannot be read as metadata"):
        open_scene(image)
    instruments.raster(image, np.ones((3, 5, 6), "uint16"), 3)
    with pytest.raises(InputError, match="has 3 bands, but an AnalyticMS image has 4 or 8"):
        open_scene(image)
    image.unlink()
    with pytest.raises(InputError, match="does not exist"):
        open_scene(image)


def test_a_coefficient_that_is_no_number(tmp_path):
    order = instruments.planetscope(tmp_path, surface=False, radiance=True)
    document = next(order.glob("*/*.xml"))
    document.write_text(document.read_text().replace("2.1e-05", "none"))
    with pytest.raises(InputError, match="reflectanceCoefficient 'none', which is not a number"):
        open_scene(order)
