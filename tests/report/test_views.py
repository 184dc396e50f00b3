"""The windows of the crops."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from dualsr_geo import open_scene, synthetic
from dualsr_geo.raster.windows import Window
from dualsr_geo.report.views import ReportInputs, crop_windows


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    synthetic.write(folder, shape=(150, 97), bands=7, seed=2)
    return open_scene(folder / "scene.tif")


def test_the_worst_tile_gets_a_crop(scene):
    tiles = np.zeros((3, 2))
    tiles[2, 1] = 1.0
    inputs = ReportInputs(scene, scene, 4, tile_rmse=tiles)
    windows = crop_windows(inputs, np.random.default_rng(0).random((3, 150, 97)).astype(np.float32))
    assert any(w.y0 < 125 < w.y1 and w.x0 < 72 < w.x1 for w in windows)
    assert len(windows) == len(set(windows))


def test_crops_avoid_where_there_is_no_value(scene):
    overview = np.random.default_rng(0).random((3, 150, 97)).astype(np.float32)
    overview[:, :80] = np.nan
    for window in crop_windows(ReportInputs(scene, scene, 4), overview):
        assert window.y1 > 80


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (65, 64), (1000, 700)])
def test_crops_are_inside_for_any_shape(shape, tmp_path):
    profile = {"count": 1, "height": shape[0], "width": shape[1], "dtype": "float32", "crs": "EPSG:32633"}
    with rasterio.open(tmp_path / "s.tif", "w", driver="GTiff", transform=from_origin(0, 0, 8, 8), **profile) as f:
        f.write(np.random.default_rng(0).random((1, *shape), np.float32))
    scene = open_scene(tmp_path / "s.tif")
    windows = crop_windows(ReportInputs(scene, scene, 4), scene.source.read(Window(0, shape[0], 0, shape[1])))
    assert 1 <= len(windows) <= 4
    for w in windows:
        assert w == w.clipped(shape)
        assert min(w.shape) >= 1
