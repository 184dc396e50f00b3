"""What `describe` and `dualsr-geo info` say of scenes and of products."""

import json

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from delivered import counts, raster

from dualsr_geo import upscale
from dualsr_geo.cli import main
from dualsr_geo.errors import DualSRWarning
from dualsr_geo.io.describe import describe


@pytest.fixture
def files(tmp_path):
    raster(tmp_path / "s.tif", counts(1, (3, 24, 24)), 8.0)
    upscale(tmp_path / "s.tif", tmp_path / "o.tif", scale=2, model="bicubic")
    return tmp_path


def info(*arguments):
    return CliRunner().invoke(main, ["info", *map(str, arguments)])


def test_a_product_states_how_it_was_made(files):
    made = describe(files / "o.tif")["made_by"]
    assert made["software"].startswith("dualsr-geo ")
    assert (made["model"], made["scale"], made["uncertainty_bands"]) == ("bicubic", 2, [])
    assert made["consistency"]["rmse"] > 0
    assert made["scene"] == str(files / "s.tif")
    text = info(files / "o.tif").stdout
    assert f"made by: {made['software']}, model bicubic, --scale 2, from {files / 's.tif'}" in text
    assert "fits:    averaged back to the scene's pixels it differs from the scene by" in text
    assert "made_by" not in describe(files / "s.tif")
    with rasterio.open(files / "o.tif") as file:
        tags = file.tags()
    assert (tags["TIFFTAG_SOFTWARE"], tags["DUALSR_MODEL"], tags["DUALSR_SCALE"]) == (made["software"], "bicubic", "2")


@pytest.mark.parametrize(("name", "bands"), [("u.tif", [4, 5, 6]), ("u.zarr", ["uncertainty"])])
def test_bands_of_standard_deviations_are_named(name, bands, tmp_path):
    raster(tmp_path / "s.tif", counts(1, (3, 48, 48)), 8.0)
    upscale(tmp_path / "s.tif", tmp_path / name, scale=2, model="interpolation", uncertainty=True)
    description = describe(tmp_path / name)
    assert description["bands"] == 3
    assert description["made_by"]["uncertainty_bands"] == bands
    where = "bands 4 to 6 of the file" if name == "u.tif" else "the variable uncertainty"
    assert f"errors:  {where}: standard deviations" in info(tmp_path / name).stdout


def test_several_files_are_described_and_a_broken_one_keeps_none_back(files):
    (files / "broken.tif").write_bytes(b"no raster")
    result = info(files / "s.tif", files / "broken.tif", files / "o.tif")
    assert result.exit_code == 1
    assert [line for line in result.stdout.splitlines() if line.startswith(str(files))] == [
        str(files / n) for n in ("s.tif", "broken.tif", "o.tif")
    ]
    assert "Error: 1 of 3 scenes cannot be opened" in result.stderr
    described = json.loads(info("--json", files / "s.tif", files / "broken.tif").stdout)
    assert [set(d) == {"scene", "error"} for d in described] == [False, True]
    assert isinstance(json.loads(info("--json", files / "s.tif").stdout), dict)
    assert info().exit_code == 2
    assert info(files / "s.tif", files / "o.tif", "--blur", "--plot", "b.png").exit_code == 2


def test_repeated_pixels_are_reported(tmp_path):
    raster(tmp_path / "s.tif", np.repeat(np.repeat(counts(1, (3, 24, 24)), 2, 1), 2, 2), 4.0)
    with pytest.warns(DualSRWarning, match="2.0 x 2.0 times"):
        assert describe(tmp_path / "s.tif")["repeated_pixels"] == [2, 2]
