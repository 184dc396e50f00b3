"""Maxar orders of other satellites than WorldView-2."""

import delivered
import numpy as np
import pytest
import rasterio

from dualsr_geo.io.scenes import open_delivered
from dualsr_geo.raster.windows import Window


@pytest.mark.parametrize(
    ("satellite", "sensor"),
    [
        ("WV04", "worldview-4"),
        ("GE01", "geoeye-1"),
        ("QB02", "quickbird-2"),
        ("IK02", "ikonos-2"),
        ("WV02", "worldview-2"),
    ],
)
def test_four_bands_have_the_wavelengths_of_their_satellite(satellite, sensor, tmp_path):
    order = delivered.maxar(tmp_path, names=("B", "G", "R", "N"), satellite=satellite)
    delivery = open_delivered(order)
    bands = delivery.scene.bands
    assert [b.name for b in bands] == ["blue", "green", "red", "nir1" if satellite == "WV02" else "nir"]
    assert all(b.wavelength_nm for b in bands)
    assert delivery.sensor == sensor
    assert len(delivery.guides) == 1
    with rasterio.open(next(order.glob("*MUL/*R1C1*.TIF"))) as tile:
        stored = tile.read()
    height, width = stored.shape[1:]
    np.testing.assert_array_equal(delivery.scene.source.read(Window(0, height, 0, width)), stored)


def test_short_wave_bands_are_a_sensor_of_their_own(tmp_path):
    names = tuple(f"S{n}" for n in range(1, 9))
    delivery = open_delivered(delivered.maxar(tmp_path, names=names, satellite="WV03"))
    assert [b.name for b in delivery.scene.bands][:2] == ["swir1", "swir2"]
    assert delivery.scene.bands[0].wavelength_nm == 1209.5
    assert delivery.sensor == "worldview-3-swir"


def test_a_satellite_that_the_registry_lacks_opens_without_its_numbers(tmp_path):
    delivery = open_delivered(delivered.maxar(tmp_path, names=("B", "G", "R", "N"), satellite="LG01"))
    assert (delivery.sensor, delivery.scene.count, delivery.scene.tags[""]["SENSOR"]) == ("", 4, "LG01")
