"""A product with its standard deviations, opened by pystac, xarray, GDAL and QGIS: each finds which they are."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pystac
import pystac.validation
import pytest
import rasterio
import rioxarray  # noqa: F401  registers .rio
import xarray as xr

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.batching.scene_record import SceneRecord
from dualsr_geo.batching.stac_output import write_item

BANDS = 3
# The Python that QGIS's bindings are built for; a virtual environment's does not see them.
QGIS_PYTHON = "/usr/bin/python3"
QGIS_CODE = """
import json, sys
from qgis.core import QgsApplication, QgsRasterLayer
application = QgsApplication([], False)
application.initQgis()
layer = QgsRasterLayer(sys.argv[1], "product")
assert layer.isValid()
provider = layer.dataProvider()
bands = range(1, layer.bandCount() + 1)
point = layer.extent().center()
values = [provider.sample(point, band) for band in bands]
print(json.dumps({"names": [layer.bandName(band) for band in bands], "values": values, "page": layer.htmlMetadata(),
                  "crs": layer.crs().authid()}))
"""


def has_qgis():
    command = [QGIS_PYTHON, "-c", "import qgis.core"]
    return Path(QGIS_PYTHON).exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """One product as COG, Zarr and netCDF, each with standard deviations."""
    folder = tmp_path_factory.mktemp("products")
    scene, guide = synthetic.write(folder, shape=(20, 22), bands=BANDS)
    places = {}
    for name in ("cog.tif", "group.zarr", "cube.nc"):
        places[name] = folder / name
        dualsr_geo.upscale(scene, folder / name, rgb=guide, scale=2, model="regression", uncertainty=True, jobs=1)
    return places


@pytest.fixture(scope="module")
def expected(products):
    """Stored values of the COG: those of the bands, then their standard deviations."""
    with rasterio.open(products["cog.tif"]) as raster:
        return raster.read()


def test_gdal_names_the_standard_deviations_with_their_unit_and_band(products):
    with rasterio.open(products["cog.tif"]) as raster:
        for band in range(1, BANDS + 1):
            deviation = band + BANDS
            assert raster.descriptions[deviation - 1] == f"{raster.descriptions[band - 1]} sigma"
            assert raster.tags(deviation)["STANDARD_DEVIATION_OF"] == str(band)
            assert raster.units[deviation - 1] == raster.units[band - 1] != ""
            assert raster.scales[deviation - 1] == raster.scales[band - 1]
            assert raster.offsets[deviation - 1] == 0


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="GDAL's programs are not installed here")
def test_gdalinfo_shows_the_software_and_the_standard_deviations(products):
    # GDAL's programs are of another version than rasterio's GDAL, with data files of their own.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GDAL", "PROJ"))}
    command = ["gdalinfo", "-json", str(products["cog.tif"])]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    shown = json.loads(done.stdout)
    assert shown["metadata"][""]["TIFFTAG_SOFTWARE"] == f"dualsr-geo {dualsr_geo.__version__}"
    marked = [
        band["band"] for band in shown["bands"] if "STANDARD_DEVIATION_OF" in band.get("metadata", {}).get("", {})
    ]
    assert marked == [4, 5, 6]


@pytest.mark.parametrize("name", ["group.zarr", "cube.nc"])
def test_xarray_finds_the_ancillary_variable(products, expected, name):
    options = {"engine": "zarr"} if name.endswith("zarr") else {"engine": "h5netcdf"}
    with xr.open_dataset(products[name], **options) as dataset:
        (product,) = [v for v in dataset.data_vars.values() if "ancillary_variables" in v.attrs]
        deviations = dataset[product.attrs["ancillary_variables"]]
        assert "standard deviation of the error" in deviations.attrs["long_name"]
        assert deviations.dims == product.dims
        assert deviations.attrs["units"] == product.attrs["units"]
        assert product.rio.crs == deviations.rio.crs
        scale = product.encoding["scale_factor"]
        stored = np.where(expected[BANDS:] == 65535, np.nan, expected[BANDS:] * scale)
        np.testing.assert_allclose(deviations.values, stored, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "key"), [("cog.tif", "data"), ("group.zarr", "uncertainty"), ("cube.nc", "uncertainty")]
)
def test_pystac_finds_the_described_bands(products, name, key):
    path = write_item(str(products[name]), SceneRecord("scene.tif", "done", scale=2, model="regression"))
    pystac.validation.validate_dict(json.loads(path.read_text()), extensions=[])
    item = pystac.Item.from_file(str(path))
    bands = item.assets[key].extra_fields["bands"][-BANDS:]
    for band, product in zip(bands, item.assets["data"].extra_fields["bands"], strict=False):
        assert band["name"] == f"{product['name']} sigma"
        assert "Standard deviation of the error" in band["description"]
        assert (band["unit"], band["data_type"]) == (product["unit"], product["data_type"])
    assert (item.assets[key].roles == ["uncertainty"]) == (key == "uncertainty")


@pytest.mark.qgis
@pytest.mark.skipif(not has_qgis(), reason="QGIS is not installed here (apt-get install qgis python3-qgis)")
def test_qgis_lists_the_standard_deviations_and_reads_their_values(products, expected, tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "PYTHON", "GDAL", "PROJ"))}
    env |= {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "QT_QPA_PLATFORM": "offscreen",
    }
    command = [QGIS_PYTHON, "-c", QGIS_CODE, str(products["cog.tif"])]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout.splitlines()[-1])
    assert ["sigma" in name for name in shown["names"]] == [False] * BANDS + [True] * BANDS
    assert shown["crs"] == "EPSG:32633"
    assert "STANDARD_DEVIATION_OF" in shown["page"]
    middle = list(expected[:, expected.shape[1] // 2, expected.shape[2] // 2])
    with rasterio.open(products["cog.tif"]) as raster:
        scales = raster.scales
    for (value, known), stored, scale in zip(shown["values"], middle, scales, strict=True):
        assert known
        assert value == pytest.approx(float(stored) * scale)
