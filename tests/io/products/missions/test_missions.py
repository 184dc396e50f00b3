"""EO-1, HLS, ECOSTRESS and Sentinel-3 deliveries, read against plain rasterio."""

import instruments
import numpy as np
import pytest
import rasterio

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.scenes import open_delivered, open_scene
from dualsr_geo.raster import grid
from dualsr_geo.raster.windows import Window


def whole(scene):
    height, width = scene.shape
    return scene.source.read(Window(0, height, 0, width))


def stored(path, nodata):
    with rasterio.open(path) as file:
        values = file.read(1).astype(float)
    return np.where(values == nodata, np.nan, values)


# ---- EO-1 --------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["L1T", "L1GST"])
def test_hyperion_is_radiance_of_its_calibrated_bands(level, tmp_path):
    folder = instruments.hyperion(tmp_path, level=level)
    delivery = open_delivered(folder)
    scene, values = delivery.scene, whole(delivery.scene)
    numbers = [int(b.name) for b in scene.bands]
    assert numbers == [*range(8, 58), *range(77, 225)]
    for band, divisor in ((8, 40), (57, 40), (77, 80), (224, 80)):
        expected = stored(folder / f"{folder.name[:-3]}_B{band:03d}_{level}.TIF", 0) / divisor
        np.testing.assert_allclose(values[numbers.index(band)], expected, rtol=1e-6)
    assert scene.bands[0].wavelength_nm == pytest.approx(426.8, abs=1)
    assert (delivery.sensor, delivery.level, scene.bands[0].unit) == ("hyperion", level, "W m-2 sr-1 um-1")
    assert scene.sensor.used
    assert "1 to 7, 58 to 76 and 225 to 242 are not calibrated" in delivery.notes[1]
    assert open_delivered(next(folder.glob("*.TXT"))).scene.count == 198


def test_ali_is_radiance_guided_by_its_pan_band(tmp_path):
    folder = instruments.ali(tmp_path)
    delivery = open_delivered(folder)
    for i, plane in enumerate(whole(delivery.scene)):
        factor, offset = instruments.ALI_SCALING[i + 1]
        expected = stored(folder / f"{folder.name[:-3]}_B{i + 2:02d}_L1T.TIF", 0) * factor + offset
        np.testing.assert_allclose(plane, expected, rtol=1e-5, atol=1e-6)
    (pan,) = delivery.guides
    assert delivery.gsds == (10, 30)
    expected = stored(folder / f"{folder.name[:-3]}_B01_L1T.TIF", 0) * 0.024 - 2.2
    np.testing.assert_allclose(whole(pan)[0], expected, rtol=1e-5)
    assert grid.largest_ratio(delivery.scene.geobox, pan.geobox) == 3
    assert [b.name for b in delivery.scene.bands] == [f"B{n:02d}" for n in range(2, 11)]
    assert all(b.wavelength_nm for b in (*delivery.scene.bands, *pan.bands))
    assert delivery.scene.sensor.sensor == "eo-1-ali"


def test_ali_without_its_pan_band(tmp_path):
    delivery = open_delivered(instruments.ali(tmp_path, pan=False))
    assert delivery.guides == ()
    assert "pan band, was not delivered" in delivery.notes[1]


def test_faults_of_eo1_are_named(tmp_path):
    folder = instruments.ali(tmp_path)
    with pytest.raises(OptionError, match=r"--gsd 15 m .*10 m \(B01\); 30 m \(B02"):
        open_scene(folder, gsd=15)
    next(folder.glob("*_B07_L1T.TIF")).unlink()
    with pytest.raises(InputError, match="lacks band 7: there is no EO1A.*_B07_L1T.TIF"):
        open_scene(folder)
    document = next(folder.glob("*.TXT"))
    document.write_text(document.read_text().replace("BAND2_OFFSET", "OTHER"))
    with pytest.raises(InputError, match="has no BAND2_OFFSET in RADIANCE_SCALING"):
        open_scene(folder)
    document.unlink()
    with pytest.raises(InputError, match=r"holds 0 files \*_MTL_L1T.TXT"):
        open_scene(folder)
    folder = instruments.hyperion(tmp_path, numbers=range(8, 12))
    document = next(folder.glob("*.TXT"))
    document.write_text(document.read_text().replace("40.00", "0"))
    with pytest.raises(InputError, match="SCALING_FACTOR_VNIR 0, by which values cannot be divided"):
        open_scene(folder)


# ---- HLS ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "count", "red"), [("S30", 13, 664.6), ("L30", 8, 654.6)])
def test_hls_is_surface_reflectance_without_its_thermal_bands(kind, count, red, tmp_path):
    folder = instruments.hls(tmp_path, kind)
    delivery = open_delivered(folder)
    names = [b.name for b in delivery.scene.bands]
    assert len(names) == count
    values = stored(next(folder.glob("*.B04.tif")), -9999) / 1e4
    np.testing.assert_allclose(whole(delivery.scene)[names.index("B04")], values, atol=1e-7)
    assert delivery.scene.bands[names.index("B04")].wavelength_nm == pytest.approx(red, abs=1)
    assert all(b.wavelength_nm for b in delivery.scene.bands)
    assert delivery.sensor == ""
    assert delivery.notes[0].startswith(f"HLS {kind}: B01, ")


def test_hls_opens_the_bands_that_were_fetched(tmp_path):
    delivery = open_delivered(instruments.hls(tmp_path, names=("B8A", "B02")))
    assert [b.name for b in delivery.scene.bands] == ["B02", "B8A"]
    assert "Bands B01, B03, " in delivery.notes[2]


def test_faults_of_hls_are_named(tmp_path):
    folder = instruments.hls(tmp_path / "a", "L30", names=("B10",))
    with pytest.raises(InputError, match="has none of the bands B01, B02"):
        open_scene(folder)
    folder = instruments.hls(tmp_path / "b")
    with pytest.raises(OptionError, match="--gsd 10 m.*30 m"):
        open_scene(folder, gsd=10)
    image = next(folder.glob("*.B04.tif"))
    image.rename(image.with_name(image.name.replace("163T", "164T")))
    with pytest.raises(InputError, match="holds 2 granules"):
        open_scene(folder)


# ---- temperatures ------------------------------------------------------------------------


@pytest.mark.parametrize("by_file", [False, True])
def test_ecostress_is_one_band_in_kelvin(by_file, tmp_path):
    folder = instruments.ecostress(tmp_path)
    image = folder / f"{folder.name}_LST.tif"
    delivery = open_delivered(image if by_file else folder)
    with rasterio.open(image) as file:
        np.testing.assert_array_equal(whole(delivery.scene), file.read())
    (band,) = delivery.scene.bands
    assert (band.name, band.unit, band.wavelength_nm) == ("LST", "K", None)
    assert np.isnan(whole(delivery.scene)[0, 0, 0])
    assert "kelvin; clouds (_cloud.tif) are not masked" in delivery.notes[1]


def test_ecostress_without_its_temperature(tmp_path):
    folder = instruments.ecostress(tmp_path)
    image = folder / f"{folder.name}_LST.tif"
    image.unlink()
    with pytest.raises(InputError, match=r"holds 0 files \*_LST.tif"):
        open_scene(folder)
    with pytest.raises(InputError, match="_LST.tif does not exist"):
        open_scene(image)


@pytest.mark.parametrize(
    "name", ["S3A_SL_2_LST____20230612T094512_x_004.SEN3", "S3B_OL_1_EFR____20230612T094512_x.SEN3"]
)
def test_sentinel3_is_refused_with_the_way_to_a_grid(name, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "xfdumanifest.xml").write_text("<xfdu/>")
    for path in (folder, folder / "xfdumanifest.xml"):
        with pytest.raises(
            InputError, match="is in swath geometry, which is not a map grid. Make a grid .*gpt Reproject"
        ):
            open_scene(path)
