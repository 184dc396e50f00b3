"""The pages on extensions: their modules, installed as a plugin, run as the pages describe."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dualsr_geo import synthetic
from dualsr_geo.cli import main
from dualsr_geo.sensors import sensors
from dualsr_geo.sensors.registry import find

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "plugins/sensors/template"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install the sensor template with the reader of the page, as pip does: package and dist-info."""
    site = tmp_path / "site"
    package = site / "dualsr_geo_my_sensor"
    shutil.copytree(TEMPLATE / package.name, package)
    code = (package / "__init__.py").read_text()
    opener = 'aliases=("MYSENSOR", "My Sensor 1"),\n    opener="dualsr_geo_my_sensor.reader:open_delivery",'
    (package / "__init__.py").write_text(code.replace('aliases=("MYSENSOR", "My Sensor 1"),', opener))
    page = (ROOT / "docs/extend/reader.md").read_text()
    (package / "reader.py").write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1])
    info = site / "dualsr_geo_my_sensor-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dualsr-geo-my-sensor\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[dualsr_geo.sensors]\nmy-sensor = dualsr_geo_my_sensor:SENSORS\n")
    monkeypatch.syspath_prepend(site)
    sensors.cache_clear()
    yield
    sensors.cache_clear()
    for name in [n for n in sys.modules if n.startswith("dualsr_geo_my_sensor")]:
        sys.modules.pop(name)


@pytest.fixture
def folder(tmp_path, plugin):
    """Write a product of the page's camera, and a guide."""
    synthetic.write(
        tmp_path, guide="pan", shape=(24, 32), wavelengths_nm=find("my-sensor").wavelengths_nm, gsd_m=5.0, seed=1
    )
    product = tmp_path / "product"
    product.mkdir()
    shutil.move(tmp_path / "scene.tif", product / "bands.tif")
    (product / "camera.txt").write_text("0.001\n")
    return product


@pytest.mark.usefixtures("plugin")
def test_the_reader_of_the_page_opens_a_product_and_its_errors_are_one_line(folder):
    assert find("my-sensor").opener == "dualsr_geo_my_sensor.reader:open_delivery"
    arguments = ["upscale", str(folder), "--sensor", "my-sensor", "--rgb", str(folder.parent / "pan.tif")]
    done = CliRunner().invoke(main, [*arguments, "--scale", "2", "--model", "regression"])
    assert done.exit_code == 0, done.output
    assert "Opened as my-sensor L2: band 1 (560.0 nm)" in done.output
    assert "Values are surface reflectance." in done.output
    (folder / "camera.txt").write_text("one\n")
    refused = CliRunner().invoke(main, [*arguments, "--scale", "2", "--overwrite"])
    assert (refused.exit_code, refused.output.count("\n")) == (1, 1)
    assert "camera.txt begins with `one`, not with a scale. Fetch it again." in refused.output
