"""Runs from arrays to files: the record of a run has no paths of arrays."""

import pytest
import rioxarray

import dualsr_geo
from dualsr_geo import synthetic


@pytest.fixture
def arrays(tmp_path):
    paths = synthetic.write(tmp_path, shape=(24, 28), bands=4, guide="pan")
    return [rioxarray.open_rasterio(path, masked=True) for path in paths]


def test_a_scene_and_a_guide_as_arrays_become_a_file(arrays, tmp_path):
    scene, pan = arrays
    summary = dualsr_geo.upscale(scene, tmp_path / "product.tif", guide=pan, model="regression")
    assert summary["scale"] == 4
    assert (tmp_path / "product.tif").exists()


def test_the_accessor_writes_a_report_of_arrays(arrays, tmp_path):
    scene, pan = arrays
    scene.dualsr.report(tmp_path / "page.html", guide=pan, model="regression")
    assert (tmp_path / "page.html").stat().st_size > 10_000
