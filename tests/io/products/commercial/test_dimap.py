"""DIMAP orders of Pléiades, Pléiades Neo and SPOT, read against the arrays that they were written from."""

import instruments
import numpy as np
import pytest

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.scenes import open_delivered, open_scene
from dualsr_geo.raster import grid
from dualsr_geo.raster.windows import Window


def whole(scene):
    height, width = scene.shape
    return scene.source.read(Window(0, height, 0, width))


def physical(cube, gain, bias=0.0):
    values = np.where(cube == 0, np.nan, cube.astype(float))
    return values / np.reshape(gain, (-1, 1, 1)) + np.reshape(bias, (-1, 1, 1))


@pytest.mark.parametrize(
    ("mission", "index", "form", "sensor", "names"),
    [
        ("PHR", "1A", "TIF", "pleiades", ["red", "green", "blue", "nir"]),
        ("PHR", "1B", "JP2", "pleiades", ["red", "green", "blue", "nir"]),
        ("SPOT", "7", "TIF", "spot-6", ["red", "green", "blue", "nir"]),
        ("PNEO", "3", "TIF", "pleiades-neo", ["red", "green", "blue", "nir", "red edge", "deep blue"]),
    ],
)
def test_an_order_is_reflectance_guided_by_its_pan(mission, index, form, sensor, names, tmp_path):
    order, cubes = instruments.dimap(tmp_path, mission=mission, index=index, form=form)
    delivery = open_delivered(order)
    np.testing.assert_allclose(whole(delivery.scene), physical(cubes["MS"], 1e4), atol=1e-7)
    np.testing.assert_allclose(whole(delivery.guides[0]), physical(cubes["P"], 1e4), atol=1e-7)
    assert [b.name for b in delivery.scene.bands] == names
    assert all(b.wavelength_nm for b in (*delivery.scene.bands, *delivery.guides[0].bands))
    assert (delivery.sensor, delivery.level, delivery.notes) == (sensor, "ORTHO", ("Values are reflectance.",))
    assert delivery.scene.sensor.used
    assert len(delivery.gsds) == 2
    assert grid.largest_ratio(delivery.scene.geobox, delivery.guides[0].geobox) == 4
    assert delivery.scene.tags[""]["ACQUISITION"] == "2023-06-12T10:00:31.2Z"


@pytest.mark.parametrize("which", [".", "IMG_PHR1A_MS_001", "IMG_PHR1A_MS_001/*.XML"])
def test_order_image_and_document_are_the_same(which, tmp_path):
    order, cubes = instruments.dimap(tmp_path)
    delivery = open_delivered(next(order.glob(which)) if "*" in which else order / which)
    assert delivery.scene.count == len(cubes["MS"])
    assert len(delivery.guides) == 1


def test_the_folder_above_a_product_is_opened_and_a_pan_image_too(tmp_path):
    order, cubes = instruments.dimap(tmp_path)
    assert open_delivered(order.parent).scene.count == 4
    pan = open_delivered(order / "IMG_PHR1A_P_001")
    np.testing.assert_allclose(whole(pan.scene), physical(cubes["P"], 1e4), atol=1e-7)
    assert pan.guides == ()
    fine = open_delivered(order, gsd=0.5)
    assert [b.name for b in fine.scene.bands] == ["pan"]
    with pytest.raises(OptionError, match=r"--gsd 1 m .*0.5 m \(pan\); 2 m \(red"):
        open_scene(order, gsd=1)


def test_basic_values_are_radiance_by_gain_and_bias(tmp_path):
    order, cubes = instruments.dimap(tmp_path, radiometry="BASIC")
    delivery = open_delivered(order)
    gains, biases = np.arange(4) + 8.5, 0.25 * np.arange(4)
    np.testing.assert_allclose(whole(delivery.scene), physical(cubes["MS"], gains, biases), rtol=1e-6)
    assert delivery.notes == ("Values are top-of-atmosphere radiance.",)
    assert delivery.scene.bands[0].unit == "W m-2 sr-1 um-1"


def test_values_stretched_for_display_stay_counts(tmp_path):
    order, cubes = instruments.dimap(tmp_path, radiometry="LINEAR_STRETCH", pan=False)
    delivery = open_delivered(order)
    np.testing.assert_array_equal(whole(delivery.scene), physical(cubes["MS"], 1))
    assert delivery.notes[0] == "Values are stored counts (LINEAR_STRETCH), not reflectances."
    assert delivery.notes[1] == "No pan image of the same time is next to it."


def test_bands_in_another_order_keep_their_names(tmp_path):
    order, cubes = instruments.dimap(tmp_path)
    document = next(order.glob("IMG_PHR1A_MS_001/*.XML"))
    # As PMS-X products have them: infrared, red, green.
    text = document.read_text().replace(">B2</RED", ">B3</RED").replace(">B1</GREEN", ">B2</GREEN")
    document.write_text(text.replace(">B0</BLUE", ">B1</BLUE").replace(">B3</ALPHA", ">B0</ALPHA"))
    delivery = open_delivered(order)
    assert [b.name for b in delivery.scene.bands] == ["nir", "red", "green", "blue"]
    np.testing.assert_allclose(whole(delivery.scene), physical(cubes["MS"], 1e4), atol=1e-7)


def test_a_pan_image_of_another_time_is_no_guide(tmp_path):
    order, _ = instruments.dimap(tmp_path)
    document = next(order.glob("IMG_PHR1A_P_001/*.XML"))
    document.write_text(document.read_text().replace("10:00:31.2Z", "10:00:51.2Z"))
    assert open_delivered(order).guides == ()


def test_a_satellite_that_the_registry_lacks_opens_without_its_numbers(tmp_path):
    order, cubes = instruments.dimap(tmp_path)
    for document in order.glob("*/*.XML"):
        document.write_text(document.read_text().replace(">PHR<", ">VISION<").replace(">1A<", ">1<"))
    delivery = open_delivered(order)
    assert (delivery.sensor, delivery.scene.bands[0].name, delivery.scene.count) == ("", "red", len(cubes["MS"]))


def test_faults_are_named(tmp_path):
    order, _ = instruments.dimap(tmp_path / "a", level="SENSOR")
    with pytest.raises(InputError, match=r"level SENSOR \(primary\), which is not on a map grid. Order the ORTHO"):
        open_scene(order)
    order, _ = instruments.dimap(tmp_path / "b")
    instruments.dimap(tmp_path / "b", index="1B")
    with pytest.raises(InputError, match="holds 2 images that may be the scene"):
        open_scene(tmp_path / "b")
    document = next(order.glob("IMG_PHR1A_MS_001/*.XML"))
    good = document.read_text()
    document.write_text(good.replace("<GAIN>10000<", "<GAIN>0<"))
    with pytest.raises(InputError, match="Band_Reflectance/GAIN 0, by which values cannot be divided"):
        open_scene(order)
    document.write_text(good.replace("<ALPHA_CHANNEL>B3</ALPHA_CHANNEL>", ""))
    with pytest.raises(InputError, match=r"describes 3 bands \(B2, B1, B0\), but its image has 4"):
        open_scene(order)
    document.write_text("<Dimap_Document/>")
    with pytest.raises(InputError, match="is not a DIMAP document of version 2"):
        open_scene(order)
    document.write_text(good)
    tile = next(order.glob("IMG_PHR1A_MS_001/*_R2C2.TIF"))
    tile.write_text("<VRTDataset")
    with pytest.raises(InputError, match="R2C2.TIF"):
        open_scene(order)
    tile.unlink()
    with pytest.raises(InputError, match="lists 4 images, of which IMG_.*R2C2.TIF is missing"):
        open_scene(order)
    with pytest.raises(InputError, match="DIM_none.XML does not exist"):
        open_scene(order / "DIM_none.XML")


def test_a_tile_outside_of_the_folder_is_not_read(tmp_path):
    order, _ = instruments.dimap(tmp_path)
    document = next(order.glob("IMG_PHR1A_MS_001/*.XML"))
    tile = next(order.glob("IMG_PHR1A_MS_001/*_R2C2.TIF"))
    tile.rename(tmp_path / tile.name)
    document.write_text(document.read_text().replace(tile.name, f"../../{tile.name}"))
    with pytest.raises(InputError, match="which is not in"):
        open_scene(order)
