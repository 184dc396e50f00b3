"""Tiles of a product that is not on disk are those that rio-tiler reads of the product on disk."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform

import dualsr_geo

rio_tiler = pytest.importorskip("rio_tiler", reason="rio-tiler is not installed: pip install 'dualsr-geo[tiles]'")
from rio_tiler.errors import PointOutsideBounds, TileOutsideBounds  # noqa: E402
from rio_tiler.io import Reader  # noqa: E402

from dualsr_geo.web_tiles import DualSRReader, block_means  # noqa: E402


@pytest.fixture(scope="module")
def surveyed(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    dualsr_geo.upscale(inputs[0], folder / "product.tif", guide=inputs[1], model="regression", format="GTiff")
    dualsr_geo.survey(inputs[0], folder / "survey.json", guide=inputs[1], model="regression")
    return folder / "survey.json", folder / "product.tif"


@pytest.fixture
def reader(surveyed, inputs):
    return DualSRReader(str(inputs[0]), survey=surveyed[0], guide=inputs[1])


def middle(reader):
    left, bottom, right, top = reader.bounds
    (lon,), (lat,) = transform(reader.crs, "EPSG:4326", [(left + right) / 2], [(bottom + top) / 2])
    return lon, lat


def tiles(reader, zoom):
    """Return the tiles of a zoom that touch the product."""
    bounds = rasterio.warp.transform_bounds(reader.crs, "EPSG:4326", *reader.bounds)
    return list(reader.tms.tiles(*bounds, [zoom]))


@pytest.mark.parametrize("above", [0, 1, 2])
def test_tiles_are_those_of_the_product(reader, surveyed, above):
    with Reader(str(surveyed[1])) as product:
        assert (reader.minzoom, reader.maxzoom) == (product.minzoom, product.maxzoom)
        for tile in tiles(reader, reader.maxzoom + above)[:6]:
            ours, theirs = (r.tile(tile.x, tile.y, tile.z) for r in (reader, product))
            np.testing.assert_array_equal(ours.array.mask, theirs.array.mask)
            np.testing.assert_array_equal(ours.array.filled(0), theirs.array.filled(0))
            assert ours.bounds == theirs.bounds
            assert ours.band_descriptions == theirs.band_descriptions


@pytest.mark.parametrize(
    "options",
    [
        {"indexes": (3, 1)},
        {"expression": "(b4-b1)/(b4+b1)"},
        {"tilesize": 100},
        {"reproject_method": "cubic", "resampling_method": "bilinear"},
        {"buffer": 2},
        {"unscale": True},
    ],
    ids=str,
)
def test_options_of_rio_tiler(reader, surveyed, options):
    tile = reader.tms.tile(*middle(reader), reader.maxzoom)
    with Reader(str(surveyed[1])) as product:
        ours, theirs = (r.tile(tile.x, tile.y, tile.z, **options) for r in (reader, product))
    np.testing.assert_array_equal(ours.array.mask, theirs.array.mask)
    np.testing.assert_array_equal(ours.array.filled(0), theirs.array.filled(0))


def test_parts_points_and_features(reader, surveyed):
    lon, lat = middle(reader)
    box = (lon - 2e-4, lat - 1e-4, lon + 1e-4, lat + 2e-4)
    ring = [[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[1]]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    with Reader(str(surveyed[1])) as product:
        for call in (
            lambda r: r.part(box),
            lambda r: r.part(box, dst_crs=r.crs),
            lambda r: r.part(box, height=40, width=50),
            lambda r: r.feature(feature),
            lambda r: r.point(lon, lat),
        ):
            ours, theirs = call(reader), call(product)
            np.testing.assert_array_equal(ours.array.filled(0), theirs.array.filled(0))
        assert reader.info().model_dump(exclude={"overviews"})["band_descriptions"] == product.info().band_descriptions
        assert reader.info().bounds == product.info().bounds
    with pytest.raises(PointOutsideBounds):
        reader.point(lon + 5, lat)
    with pytest.raises(TileOutsideBounds):
        reader.tile(0, 0, reader.maxzoom)


def test_coarse_zooms_and_previews_are_read_from_the_scene(reader, inputs, monkeypatch):
    def never(*_args, **_kwargs):
        raise AssertionError("a coarse image was sharpened")

    monkeypatch.setattr("dualsr_geo.engine.on_the_fly.window_sharpener.sharpen_tile", never)
    with rasterio.open(inputs[0]) as dataset:
        scene = dataset.read()
    for zoom in (reader.maxzoom - 3, reader.maxzoom - 6, 3, 0):
        tile = reader.tms.tile(*middle(reader), zoom)
        image = reader.tile(tile.x, tile.y, zoom)
        if zoom == reader.maxzoom - 3:
            valid = image.array.compressed()
            assert valid.size
            assert abs(valid.mean() / scene.mean() - 1) < 0.05
    preview = reader.preview(max_size=57)
    assert preview.array.shape == (5, 41, 57)
    np.testing.assert_array_equal(preview.array.filled(0), scene)
    statistics = reader.statistics(max_size=57)
    assert statistics["b1"].mean == pytest.approx(scene[0].mean(), rel=1e-6)


def test_means_of_blocks_leave_missing_values_out():
    values = np.arange(15.0).reshape(1, 3, 5)
    values[0, 0, 0] = values[0, 2, 4] = np.nan
    expected = [[(1 + 5 + 6) / 3, (2 + 3 + 7 + 8) / 4, (4 + 9) / 2], [(10 + 11) / 2, (12 + 13) / 2, np.nan]]
    np.testing.assert_allclose(block_means(values, 2, (2, 3))[0], expected)


def test_pixels_of_two_have_the_mean_of_the_product(reader, surveyed):
    left, bottom, right, top = reader.bounds
    image = reader.part((left, bottom, right, top), bounds_crs=reader.crs, height=82, width=114)
    with rasterio.open(surveyed[1]) as product:
        blocks = product.read().reshape(5, 82, 2, 114, 2).mean((2, 4))
    np.testing.assert_array_equal(image.array.filled(0), np.floor(blocks + 0.5))


def test_threads_get_the_same_tiles(inputs, surveyed, reader):
    chosen = tiles(reader, reader.maxzoom)[:4]

    def read(k):
        own = DualSRReader(str(inputs[0]), survey=surveyed[0], guide=inputs[1])
        return own.tile(*chosen[k % len(chosen)]).array.filled(0)

    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(read, range(24)))
    for k, image in enumerate(images):
        np.testing.assert_array_equal(image, images[k % len(chosen)])


@pytest.mark.slow
def test_a_server_does_not_grow(surveyed, inputs):
    code = (
        "import gc, sys, psutil\n"
        "from rasterio.warp import transform_bounds\n"
        "from dualsr_geo.web_tiles import DualSRReader\n"
        "scene, guide, survey = sys.argv[1:]\n"
        "for k in range(120):\n"
        "    reader = DualSRReader(scene, survey=survey, guide=guide)\n"
        "    zoom = reader.maxzoom + 1 - k % 4\n"
        "    box = transform_bounds(reader.crs, 'EPSG:4326', *reader.bounds)\n"
        "    tile = list(reader.tms.tiles(*box, [zoom]))[0]\n"
        "    reader.tile(tile.x, tile.y, zoom)\n"
        "    if k == 40:\n"
        "        gc.collect()\n"
        "        before = psutil.Process().memory_info().rss\n"
        "gc.collect()\n"
        "print(psutil.Process().memory_info().rss - before)"
    )
    command = [sys.executable, "-c", code, *map(str, inputs), str(surveyed[0])]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    # 80 tiles of 650 kB would be 50 MB if they were kept.
    assert int(run.stdout) < 15e6


def test_without_rio_tiler_the_import_names_the_extra():
    code = "import sys; sys.modules['rio_tiler.constants'] = None; import dualsr_geo.web_tiles"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'dualsr-geo[tiles]'" in run.stderr.splitlines()[-1]
