"""A product is made again from its own record, with the same values."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
from click.testing import CliRunner

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.cli import main
from dualsr_geo.errors import InputError


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    return synthetic.write(tmp_path, shape=(26, 33), bands=3)


@pytest.mark.parametrize(("name", "keywords"), [
    ("p.tif", {"uncertainty": "bands", "creation": {"COMPRESS": "LZW"}}),
    ("p.tif", {"uncertainty": "separate", "dtype": "float32"}),
    ("p.zarr", {"uncertainty": True, "bidx": "2,1"}),
    ("p.nc", {"tile": 16, "nodata": 0}),
])  # fmt: skip
def test_the_values_are_the_same(pair, tmp_path, name, keywords):
    scene, guide = pair
    keywords = {"model": "regression", "jobs": 1, **keywords}
    product = tmp_path / name
    dualsr_geo.upscale(scene, product, rgb=guide, scale=2, **keywords)
    before = sorted(p.name for p in tmp_path.iterdir())
    result = dualsr_geo.reproduce(product)
    assert result["identical"]
    assert (result["different"], result["largest_difference"], result["changed"]) == (0, None, [])
    bands = 2 if "bidx" in keywords else 3
    # Blocks of a TIFF reach beyond its edge no further than it; all bands, and the standard deviations.
    assert result["values"] == 52 * 66 * bands * (2 if "uncertainty" in keywords else 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_the_command_runs_where_the_inputs_were_given_by_other_paths(pair, tmp_path, monkeypatch):
    scene, guide = pair
    monkeypatch.chdir(tmp_path)
    dualsr_geo.upscale(scene.name, "p.tif", rgb=guide.name, scale=2, model="regression")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = CliRunner().invoke(main, ["reproduce", "../p.tif", "-o", "again.tif"])
    assert run.exit_code == 0, run.output
    assert "identical:  all 10296 stored values are equal" in run.output
    assert Path("../p.tif").read_bytes() == Path("again.tif").read_bytes()


def test_other_values_are_counted_and_what_changed_is_listed(pair, tmp_path):
    scene, guide = pair
    product = tmp_path / "p.tif"
    dualsr_geo.upscale(scene, product, rgb=guide, scale=2, model="bicubic")
    with rasterio.open(scene, "r+") as target:
        values = target.read()
        values[0, 5:9, 5:9] += 7
        target.write(values)
    os.utime(scene, (1e9, 1e9))
    run = CliRunner().invoke(main, ["reproduce", str(product), "--json"])
    assert run.exit_code == 1
    result = json.loads(run.output)
    with rasterio.open(product) as dataset:
        old = dataset.read()
    dualsr_geo.upscale(scene, tmp_path / "q.tif", rgb=guide, scale=2, model="bicubic")
    with rasterio.open(tmp_path / "q.tif") as dataset:
        new = dataset.read()
    assert result["different"] == int((old != new).sum()) > 0
    assert result["largest_difference"] == np.abs(old.astype(float) - new).max()
    assert any("inputs.scene.files was" in change for change in result["changed"])


def test_a_product_without_a_record_of_its_inputs_is_refused(pair, tmp_path):
    scene, guide = pair
    with pytest.raises(InputError, match="carries no record of a run"):
        dualsr_geo.reproduce(scene)
    with pytest.raises(InputError, match="does not exist"):
        dualsr_geo.reproduce(tmp_path / "none.tif")
    product = tmp_path / "p.tif"
    dualsr_geo.upscale(rioxarray.open_rasterio(scene), product, rgb=guide, scale=2, model="bicubic")
    with pytest.raises(InputError, match="does not name its inputs: they were arrays or URLs"):
        dualsr_geo.reproduce(product)


def test_a_missing_input_is_named(pair, tmp_path):
    scene, guide = pair
    dualsr_geo.upscale(scene, tmp_path / "p.tif", rgb=guide, scale=2, model="bicubic")
    guide.unlink()
    with pytest.raises(InputError, match=f"{guide.name} does not exist"):
        dualsr_geo.reproduce(tmp_path / "p.tif")
