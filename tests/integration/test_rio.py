"""`rio dualsr`: the commands as a plugin of rio, with the options of rio."""

from __future__ import annotations

import re

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from rasterio.rio import options as rio_options
from rasterio.rio.main import main_group

from dualsr_geo import synthetic
from dualsr_geo.cli import main


def rio(*args):
    return CliRunner().invoke(main_group, [str(a) for a in args])


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return synthetic.write(tmp_path_factory.mktemp("pair"), shape=(11, 17), bands=3, guide="pan")


def test_rio_lists_the_plugin_and_it_loads():
    listed = rio("--help").stdout
    assert re.search(r"^  dualsr +Sharpen hyperspectral", listed, re.MULTILINE)
    assert "dualsr*" not in listed, "rio marks a plugin that does not load with a star"


def test_rio_has_every_command():
    for name in main.commands:
        assert rio("dualsr", name, "--help").exit_code == 0


def test_rio_dualsr_writes_the_product_of_dualsr_geo(pair, tmp_path):
    scene, guide = pair
    product_path, direct = tmp_path / "rio.tif", tmp_path / "direct.tif"
    options = ["--rgb", guide, "--model", "regression"]
    assert rio("-q", "dualsr", "upscale", scene, *options, "-o", product_path).exit_code == 0
    assert CliRunner().invoke(main, ["upscale", *map(str, [scene, *options, "-o", direct])]).exit_code == 0
    with rasterio.open(product_path) as ours, rasterio.open(direct) as theirs:
        assert ours.profile == theirs.profile
        np.testing.assert_array_equal(ours.read(), theirs.read())


@pytest.mark.parametrize("command", ["upscale", "degrade"])
@pytest.mark.parametrize(
    "habit", [rio_options.output_opt, rio_options.bidx_opt, rio_options.overwrite_opt, rio_options.dtype_opt,
              rio_options.nodata_opt, rio_options.format_opt, rio_options.creation_options]
)  # fmt: skip
def test_options_of_rio_have_its_names(command, habit):
    def declared():
        """A command with rio's option."""

    theirs = habit(declared).__click_params__[0]
    ours = [p for p in main.commands[command].params if set(theirs.opts) <= set(p.opts)]
    assert len(ours) == 1, theirs.opts
    assert ours[0].multiple == theirs.multiple or theirs.name == "bidx"


def test_options_of_rio_have_its_effects(pair, tmp_path):
    scene, _ = pair
    product_path = tmp_path / "p.tif"
    words = ["dualsr", "upscale", scene, "--scale", 2, "--model", "bicubic", "-o", product_path]
    habits = ["-b", "3,1", "-t", "float32", "-f", "GTiff", "--co", "COMPRESS=LZW", "--co", "TILED=YES"]
    result = rio(*words, *habits)
    assert result.exit_code == 0, result.stderr
    with rasterio.open(product_path) as product, rasterio.open(scene) as source:
        assert product.count == 2
        assert product.descriptions == (source.descriptions[2], source.descriptions[0])
        assert set(product.dtypes) == {"float32"}
        assert product.compression.name == "lzw"
    again = rio(*words, *habits)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert rio(*words, *habits, "--overwrite").exit_code == 0


def test_a_mistake_is_one_line_under_rio(pair):
    scene, guide = pair
    result = rio("dualsr", "upscale", scene, "--rgb", guide, "--scale", 9)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert re.search(r"^Error: .*\b9\b.*\b4\b", result.stderr)
