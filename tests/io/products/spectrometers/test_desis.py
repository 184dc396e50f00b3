"""DESIS deliveries, read against plain rasterio."""

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


@pytest.mark.parametrize("suffix", ["tif", "TIF"])
def test_reflectance_is_the_same_by_folder_metadata_and_cube(suffix, tmp_path):
    folder = instruments.desis(tmp_path, suffix=suffix)
    cube = next(folder.glob("*-SPECTRAL_IMAGE*"))
    with rasterio.open(cube) as file:
        stored = file.read().astype(float)
    stored[stored == -32768] = np.nan
    for path in (folder, next(folder.glob("*.xml")), cube):
        delivery = open_delivered(path)
        np.testing.assert_allclose(whole(delivery.scene), stored / 1e4, atol=1e-7)
        assert (delivery.sensor, delivery.level, delivery.scene.name) == ("desis", "L2A", folder.name)
        assert delivery.scene.bands[0].wavelength_nm == 401.9
        assert delivery.scene.bands[0].fwhm_nm == 3.484
        assert delivery.scene.packing.nodata == -32768
    assert delivery.notes == ("Values are surface reflectance.",)


def test_l1c_is_radiance_by_gain_and_offset(tmp_path):
    folder = instruments.desis(tmp_path, "L1C")
    scene = open_scene(folder)
    with rasterio.open(next(folder.glob("*-SPECTRAL_IMAGE.tif"))) as file:
        stored = file.read(4).astype(float)
    stored[stored == -32768] = np.nan
    np.testing.assert_allclose(whole(scene)[3], 3.005 * stored + 0.25, rtol=1e-6)
    assert scene.bands[0].unit == "mW cm-2 sr-1 um-1"


def test_faults_are_named(tmp_path):
    with pytest.raises(InputError, match="level L1B, which is not on a map grid. Give a product of level L2A or L1C"):
        open_scene(instruments.desis(tmp_path / "a", "L1B"))
    with pytest.raises(InputError, match="12 bands, but .*METADATA.xml describes 11"):
        open_scene(instruments.desis(tmp_path / "b", described=11))
    folder = instruments.desis(tmp_path / "c")
    with pytest.raises(OptionError, match="--gsd 10 m.*30 m"):
        open_scene(folder, gsd=10)
    document, cube = next(folder.glob("*.xml")), next(folder.glob("*-SPECTRAL_IMAGE.tif"))
    document.write_text(document.read_text().replace("<gainOfBand>0.0001", "<gainOfBand>?", 1))
    with pytest.raises(InputError, match="gainOfBand '\\?', which is not a number"):
        open_scene(folder)
    document.unlink()
    with pytest.raises(InputError, match="lacks DESIS.*-METADATA.xml.*rename the cube"):
        open_scene(cube)
    with pytest.raises(InputError, match=r"holds 0 files \*-METADATA.xml"):
        open_scene(folder)
    folder = instruments.desis(tmp_path / "d")
    next(folder.glob("*-SPECTRAL_IMAGE.tif")).unlink()
    with pytest.raises(InputError, match="lacks DESIS.*-SPECTRAL_IMAGE.tif. Fetch the cube"):
        open_scene(folder)
