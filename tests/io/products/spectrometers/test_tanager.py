"""Tanager ortho products, read against the arrays that they were written from."""

import instruments
import numpy as np
import pytest

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.scenes import open_delivered, open_scene
from dualsr_geo.raster.windows import Window


def whole(scene):
    height, width = scene.shape
    return scene.source.read(Window(0, height, 0, width))


@pytest.mark.parametrize("centre", [False, True])
def test_surface_reflectance_is_on_its_map_grid(centre, tmp_path):
    path, cube = instruments.tanager(tmp_path, centre=centre)
    delivery = open_delivered(path)
    scene = delivery.scene
    np.testing.assert_array_equal(whole(scene), np.where(cube == -9999, np.nan, cube))
    assert (delivery.sensor, delivery.level) == ("tanager", "ortho_sr")
    assert scene.geobox.crs.to_epsg() == 32633
    shift = 15 if centre else 0
    expected = (30, 0, instruments.EAST - shift, 0, -30, instruments.NORTH + shift)
    assert tuple(scene.geobox.affine)[:6] == pytest.approx(expected)
    assert (scene.bands[0].wavelength_nm, scene.bands[0].fwhm_nm) == (376.44, 5.5)
    assert [i for i, b in enumerate(scene.bands) if not b.good] == [7]
    assert delivery.notes == (
        "Values are surface reflectance.", "1 of 9 bands are marked as bad, as in the product.",
    )  # fmt: skip
    assert scene.tags[""]["ACQUISITION"] == "2025-04-23T13:40:21Z"


def test_radiance_has_its_unit(tmp_path):
    path, cube = instruments.tanager(tmp_path, "ortho_radiance")
    delivery = open_delivered(path)
    np.testing.assert_array_equal(whole(delivery.scene), np.where(cube == -9999, np.nan, cube))
    assert delivery.scene.bands[0].unit == "W/(m^2 sr um)"
    assert delivery.notes == ("Values are top-of-atmosphere radiance.",)


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ("wavelengths", "9 bands, but its attribute wavelengths lists 0"),
        ("HDFEOS INFORMATION/StructMetadata.0", "has no HDFEOS INFORMATION/StructMetadata.0"),
        ("HDFEOS/GRIDS/HYP/Data Fields/surface_reflectance", "has neither surface_reflectance nor toa_radiance"),
    ],
)
def test_a_missing_part_is_named(drop, message, tmp_path):
    path, _ = instruments.tanager(tmp_path, drop=[drop])
    with pytest.raises(InputError, match=message):
        open_scene(path)


def test_basic_products_are_refused(tmp_path):
    path, _ = instruments.tanager(tmp_path, "basic_sr")
    with pytest.raises(InputError, match="basic product, which is not on a map grid. Give the ortho product"):
        open_scene(path)
    path, _ = instruments.tanager(tmp_path)
    with pytest.raises(OptionError, match=r"--gsd 10 m .*30 m \(all\)"):
        open_scene(path, gsd=10)


def test_a_grid_without_extent_is_refused(tmp_path):
    path, _ = instruments.tanager(tmp_path)
    with instruments.h5py.File(path, "r+") as file:
        text = file["HDFEOS INFORMATION/StructMetadata.0"][()].decode()
        del file["HDFEOS INFORMATION/StructMetadata.0"]
        name = "HDFEOS INFORMATION/StructMetadata.0"
        file[name] = np.bytes_(text.replace("LowerRightMtrs=(", "LowerRightMtrs=(-"))
    with pytest.raises(InputError, match="states a grid from 399960, .* to -"):
        open_scene(path)
