"""The pages on extensions: their modules, installed as a plugin, run as the pages describe."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

from dualsr_geo import synthetic
from dualsr_geo.cli import main
from dualsr_geo.models import methods, registry
from dualsr_geo.models.definition import Model
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
    forget_plugin()
    yield
    forget_plugin()


def forget_plugin():
    """Forget the sensors and the plugin's modules: other tests load a plugin of the same name."""
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


# ---- a model -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Install the model template with pip into a folder of its own."""
    pytest.importorskip("hatchling")
    target, source = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("source") / "template"
    shutil.copytree(ROOT / "plugins/models/template", source)
    options = ["-q", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True, capture_output=True)
    return target


@pytest.fixture
def with_site(site, monkeypatch):
    """Make the installed template visible to this process."""
    monkeypatch.syspath_prepend(site)
    registry.models.cache_clear()
    yield site
    registry.models.cache_clear()
    sys.modules.pop("dualsr_geo_my_model", None)


def upscaled(folder, *words):
    """Run the command in this process and return the product's values."""
    product = folder / f"{len(list(folder.iterdir()))}.tif"
    arguments = ["upscale", str(folder / "scene.tif"), "--model", "my-model", "-t", "float32", "-o", str(product)]
    done = CliRunner().invoke(main, [*arguments, *words])
    assert done.exit_code == 0, done.output
    with rasterio.open(product) as file:
        return file.read()


def test_the_template_is_a_model_in_a_command_of_its_own(site, tmp_path):
    scene, pan = synthetic.write(tmp_path, guide="pan", shape=(24, 32), bands=4, seed=1)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}

    def run(*words):
        command = [sys.executable, "-c", "from dualsr_geo.cli import main; main()", *map(str, words)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert "my-model" in run("models", "list")
    product = tmp_path / "product.tif"
    summary = json.loads(run("upscale", scene, "--rgb", pan, "--model", "my-model", "-o", product, "--json"))
    assert (summary["model"], summary["shape"], product.is_file()) == ("my-model", [96, 128], True)


@pytest.mark.usefixtures("with_site")
def test_the_template_is_tiled_without_a_difference_and_helps(tmp_path):
    scene = synthetic.make((30, 41), bands=4, guide="pan", seed=2)
    _, pan = synthetic.write(tmp_path, guide="pan", shape=(30, 41), bands=4, seed=2)
    assert methods.model_names()[-1] == "my-model"
    whole, tiled = (upscaled(tmp_path, "--rgb", str(pan), *tile) for tile in ((), ("--tile", "16")))
    np.testing.assert_allclose(whole, tiled, atol=1e-5 * float(np.ptp(whole)))
    interpolated = upscaled(tmp_path, "--scale", "4")
    scale = float(np.median(scene.reference) / np.median(whole))
    errors = [np.mean((v * scale - scene.reference) ** 2) for v in (whole, interpolated)]
    # Without a guide the blur is estimated from the scene, which makes interpolation better.
    assert errors[0] < 0.85 * errors[1]


def test_the_model_of_the_page_is_one():
    page = (ROOT / "docs/extend/model.md").read_text()
    names = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], names)
    assert isinstance(names["MODEL"], Model)
    assert names["MODEL"].state_type is names["BrighterState"]
