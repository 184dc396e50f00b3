"""`info --blur` prints and plots the blur that a scene shows, and what is assumed."""

import json

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from made_up_scenes import SEEDS, made_up, reduced_by
from PIL import Image
from rasterio.transform import from_origin

from dualsr_geo.cli import main
from dualsr_geo.evaluation.blur_check import check_blur


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write(tmp_path_factory.mktemp("scene") / "a.tif", reduced_by(made_up(SEEDS[0]), "imresize"))


def write(path, cube):
    profile = {"driver": "GTiff", "count": len(cube), "height": cube.shape[1], "width": cube.shape[2]}
    grid = {"dtype": "float32", "crs": "EPSG:32631", "transform": from_origin(4e5, 5e6, 10, 10)}
    with rasterio.open(path, "w", **profile, **grid) as target:
        target.write(cube)
    return path


def run(*arguments):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_blur_is_printed_and_plotted(scene, tmp_path):
    plot = tmp_path / "blur.png"
    values = json.loads(run("info", scene, "--blur", "--scale", 4, "--plot", plot, "--json"))["blur"]
    low, high = values["gain_range"]
    assert low < values["gain"] < high
    assert values["gain"] == pytest.approx(0.49, abs=0.12)
    assert values["assumed_gain"] > values["gain"]
    assert values["pixels"] == 96 * 96
    text = run("info", scene, "--blur", "--scale", 4)
    assert f"MTF gain {values['gain']:.2f} at Nyquist ({low:.2f} to {high:.2f})" in text
    assert f"MTF gain {values['assumed_gain']:.2f} at Nyquist (estimated from the scene), for --scale 4" in text
    with Image.open(plot) as image:
        colors = {tuple(c) for c in np.asarray(image).reshape(-1, 3)}
    assert {(31, 119, 180), (200, 222, 240), (214, 90, 30)} <= colors


def test_a_scene_without_edges_shows_nothing(tmp_path):
    y = np.linspace(0.1, 1, 40, dtype=np.float32)
    flat = write(tmp_path / "flat.tif", np.broadcast_to(y[:, None], (3, 40, 50)))
    values = check_blur(flat, plot=tmp_path / "blur.png")
    assert values["gain"] is None
    assert values["assumed_gain"] == pytest.approx(0.5, abs=0.01)
    assert "could not be estimated" in values["assumption"]
    assert "nothing that can be measured" in run("info", flat, "--blur")


def test_a_given_gain_is_what_is_assumed_next_to_what_the_scene_shows(scene):
    values = check_blur(scene, scale=4, mtf_gain=0.2)
    assert values["assumed_gain"] == pytest.approx(0.2, abs=0.01)
    assert values["source"] == "sensor"
    assert values["gain"] == pytest.approx(0.49, abs=0.12)


def test_a_plot_needs_the_blur(scene, tmp_path):
    result = CliRunner().invoke(main, ["info", str(scene), "--plot", str(tmp_path / "a.png")])
    assert result.exit_code == 2
    assert "Give --blur with it" in result.output
