"""A window computed from a stored survey is that window of the product on disk."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
import rioxarray
from rasterio.windows import Window

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.engine.on_the_fly.sharpen_window import open_sharpener
from dualsr_geo.errors import InputError, KeywordError
from dualsr_geo.raster.windows import Window as Ours

# Column, row, width, height: odd ones, edges, a pixel, all of it.
WINDOWS = [
    (0, 0, 7, 5),
    (13, 21, 1, 1),
    (33, 17, 90, 61),
    (199, 101, 29, 63),
    (227, 0, 1, 164),
    (0, 163, 228, 1),
    (0, 0, 228, 164),
]
STEPS = 1e-4  # of the scale


def surveyed(folder, scene, guide, **options):
    """Return the path of a survey, and the product on disk."""
    product = folder / "product.tif"
    dualsr_geo.upscale(scene, product, guide=guide, format="GTiff", **options)
    dualsr_geo.survey(scene, folder / "survey.json", guide=guide, **options)
    with rasterio.open(product) as dataset:
        return folder / "survey.json", dataset.read()


def cut(product, window):
    column, row, width, height = window
    return product[:, row : row + height, column : column + width]


def require_equal(values, expected, share=1e-5):
    """Check that no value differs by more than a step, and few by one: where the product rounds to integers."""
    difference = np.abs(values.astype(np.float64) - expected.astype(np.float64))
    assert values.shape == expected.shape
    if values.dtype.kind == "f":
        assert difference.max() <= 1e-5 * np.ptp(expected)
        return
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= 1 + share * difference.size


@pytest.fixture(scope="module")
def made(inputs, tmp_path_factory):
    return {model: surveyed(tmp_path_factory.mktemp(model), *inputs, model=model) for model in ("regression", "auto")}


@pytest.mark.parametrize(
    ("model", "window"), [*(("regression", w) for w in WINDOWS), *(("auto", w) for w in WINDOWS[2:5])], ids=str
)
def test_windows_are_those_of_the_product(made, inputs, model, window):
    survey, product = made[model]
    values = dualsr_geo.sharpen_window(survey, inputs[0], Window(*window), guide=inputs[1])
    assert values.dtype == product.dtype
    require_equal(values.to_numpy(), cut(product, window))


def test_a_window_has_the_place_and_the_packing_of_the_product(made, inputs, tmp_path):
    survey, _ = made["regression"]
    product = rioxarray.open_rasterio(survey.with_name("product.tif"))[:, 17:30, 33:50]
    values = dualsr_geo.sharpen_window(survey, inputs[0], Window(33, 17, 17, 13), guide=inputs[1])
    assert values.rio.crs == product.rio.crs
    np.testing.assert_allclose(values.x, product.x)
    np.testing.assert_allclose(values.y, product.y)
    assert np.allclose(values.rio.transform(), product.rio.transform())
    assert values.rio.nodata == product.rio.nodata
    assert values.attrs["scale_factor"] == product.attrs["scale_factor"]
    assert tuple(values.attrs["long_name"]) == tuple(product.attrs["long_name"])
    assert values.wavelength.size == values.sizes["band"]
    np.testing.assert_array_equal(values, product)


def test_bounds_give_the_pixels_that_they_touch(made, inputs):
    survey, product = made["regression"]
    with rasterio.open(survey.with_name("product.tif")) as dataset:
        bounds = rasterio.windows.bounds(Window(33, 17, 17, 13), dataset.transform)
        far = rasterio.warp.transform_bounds(dataset.crs, "EPSG:4326", *bounds)
        edge = dataset.bounds
    values = dualsr_geo.sharpen_window(survey, inputs[0], bounds, guide=inputs[1])
    np.testing.assert_array_equal(values, cut(product, (33, 17, 17, 13)))
    around = dualsr_geo.sharpen_window(survey, inputs[0], far, crs="EPSG:4326", guide=inputs[1])
    assert around.x.min() <= values.x.min()
    assert around.x.max() >= values.x.max()
    assert around.sizes["x"] <= values.sizes["x"] + 4
    beyond = (edge.left - 5, edge.bottom - 5, edge.left + 1, edge.bottom + 1)
    corner = dualsr_geo.sharpen_window(survey, inputs[0], beyond, guide=inputs[1])
    np.testing.assert_array_equal(corner, product[:, -corner.sizes["y"] :, : corner.sizes["x"]])


def test_some_bands_are_those_of_all(made, inputs):
    survey, product = made["regression"]
    values = dualsr_geo.sharpen_window(survey, inputs[0], Window(3, 5, 11, 9), guide=inputs[1], bidx="4,1..2")
    np.testing.assert_array_equal(values, cut(product, (3, 5, 11, 9))[[3, 0, 1]])
    assert values.band.to_numpy().tolist() == [4, 1, 2]


def holed(path, source, guide_part):
    """Write a copy of a scene with holes and an edge without data; return it with a part of its guide."""
    with rasterio.open(source[0]) as dataset:
        values, profile, scales = dataset.read(), dataset.profile, dataset.scales
    values[:, 10:13, 20:31] = profile["nodata"]
    values[:, :, :3] = profile["nodata"]
    values[1, 30, 40] = profile["nodata"]
    with rasterio.open(path / "scene.tif", "w", **profile) as dataset:
        dataset.write(values)
        dataset.scales = scales
    with rasterio.open(source[1]) as dataset:
        window = Window(0, 0, int(dataset.width * guide_part), dataset.height)
        part = dataset.profile | {"width": window.width}
        guide = dataset.read(window=window)
    with rasterio.open(path / "guide.tif", "w", **part) as dataset:
        dataset.write(guide)
    return path / "scene.tif", path / "guide.tif"


@pytest.mark.parametrize("model", ["regression", "auto"])
def test_holes_and_a_guide_of_a_part(inputs, tmp_path, model):
    files = holed(tmp_path, inputs, 0.6)
    survey, product = surveyed(tmp_path, *files, model=model)
    for window in WINDOWS[2:5]:
        values = dualsr_geo.sharpen_window(survey, files[0], Window(*window), guide=files[1])
        require_equal(values.to_numpy(), cut(product, window))


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 2},
        {"scale": 3, "model": "interpolation", "dtype": "float32"},
        {"scale": 2, "model": "bicubic", "bidx": "3,1", "dtype": "int16", "nodata": -1},
    ],
    ids=str,
)
def test_without_a_guide_and_by_other_options(inputs, tmp_path, options):
    survey, product = surveyed(tmp_path, inputs[0], None, **options)
    for window in ((5, 3, 31, 40), (0, 0, 1, 1), (60, 50, 22, 32)):
        values = dualsr_geo.sharpen_window(survey, inputs[0], Window(*window))
        require_equal(values.to_numpy(), cut(product, window))


def test_standard_deviations_follow_the_bands(tmp_path):
    files = synthetic.write(tmp_path, shape=(24, 30), bands=18, guide="rgb", seed=5)
    survey, product = surveyed(tmp_path, *files, model="regression", uncertainty=True)
    values = dualsr_geo.sharpen_window(survey, files[0], Window(9, 7, 50, 33), guide=files[1])
    np.testing.assert_array_equal(values, cut(product, (9, 7, 50, 33)))
    some = dualsr_geo.sharpen_window(survey, files[0], Window(9, 7, 50, 33), guide=files[1], bidx="2,20")
    np.testing.assert_array_equal(some, cut(product, (9, 7, 50, 33))[[1, 19]])
    assert some.attrs["long_name"][1] == f"{some.attrs['long_name'][0]} sigma"


@pytest.mark.parametrize(
    "options", [{"model": "auto", "tile": 16}, {"model": "regression", "fine": "finenet", "tile": 16}], ids=str
)
def test_a_stated_tile_makes_windows_equal_to_the_bit(inputs, tmp_path, options):
    survey, product = surveyed(tmp_path, *inputs, dtype="float32", **options)
    for window in WINDOWS[1:4]:
        values = dualsr_geo.sharpen_window(survey, inputs[0], Window(*window), guide=inputs[1])
        np.testing.assert_array_equal(values, cut(product, window))


@pytest.mark.slow
def test_a_fine_stage_that_is_fitted_to_each_tile(inputs, tmp_path):
    survey, product = surveyed(tmp_path, *inputs, model="regression", fine="finenet-per-tile")
    values = dualsr_geo.sharpen_window(survey, inputs[0], Window(33, 17, 90, 61), guide=inputs[1])
    np.testing.assert_array_equal(values, cut(product, (33, 17, 90, 61)))


def test_threads_and_another_process_get_the_same_values(made, inputs):
    survey, _ = made["auto"]

    def window(k):
        return dualsr_geo.sharpen_window(survey, inputs[0], Window(*WINDOWS[k % 5]), guide=inputs[1]).to_numpy()

    with ThreadPoolExecutor(8) as pool:
        both = list(pool.map(window, range(15)))
    for k, values in enumerate(both):
        np.testing.assert_array_equal(values, both[k % 5])
    sharpener = open_sharpener(survey, inputs[0], [inputs[1]])
    code = (
        "import pickle, sys\n"
        "from dualsr_geo.raster.windows import Window\n"
        "sharpener = pickle.loads(sys.stdin.buffer.read())\n"
        "sys.stdout.buffer.write(sharpener.read(Window(17, 78, 33, 123)).tobytes())"
    )
    run = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(sharpener), capture_output=True, check=True)
    assert run.stdout == sharpener.read(Ours(17, 78, 33, 123)).tobytes()


def test_arrays_and_copies_are_taken_for_their_originals(made, inputs, tmp_path):
    survey, product = made["regression"]
    copies = [tmp_path / path.name for path in inputs]
    for copy, path in zip(copies, inputs, strict=True):
        copy.write_bytes(path.read_bytes())
    for scene, guide in (
        copies,
        [rioxarray.open_rasterio(p) for p in inputs],
        [rioxarray.open_rasterio(p, chunks=64) for p in inputs],
    ):
        values = dualsr_geo.sharpen_window(survey, scene, Window(33, 17, 90, 61), guide=guide)
        np.testing.assert_array_equal(values, cut(product, (33, 17, 90, 61)))


def test_a_store_gives_the_same_values(made, inputs, bucket, tmp_path):
    survey, product = made["regression"]
    bucket.put("in/survey.json", survey)
    urls = [f"s3://{bucket.name}/in/{name}" for name in ("survey.json", "scene.tif", "rgb.tif")]
    values = dualsr_geo.sharpen_window(*urls[:2], Window(33, 17, 90, 61), guide=urls[2])
    np.testing.assert_array_equal(values, cut(product, (33, 17, 90, 61)))


def test_only_the_window_and_its_margin_are_read(made, inputs, monkeypatch):
    survey, _ = made["regression"]
    sharpener = open_sharpener(survey, inputs[0], [inputs[1]])
    reads = []
    kind = type(sharpener.reader)
    read = kind.read_scene
    monkeypatch.setattr(kind, "read_scene", lambda self, window: reads.append(window) or read(self, window))
    sharpener.read(Ours(80, 84, 100, 104))
    halo = sharpener.context.model.halo
    assert reads == [Ours(20, 21, 25, 26).grown(halo).clipped((41, 57))]


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (Window(-1, 0, 5, 5), "not inside the product, which has 164 rows and 228 columns"),
        (Window(200, 0, 29, 5), "not inside the product"),
        (Window(0.5, 0, 5, 5), "round_offsets"),
        (Window(3, 3, 0, 5), "has no pixel"),
        (Window(float("nan"), 3, 4, 5), "round_offsets"),
        ((0, 0, 1, 1), "outside of the product"),
        ((1, 0, 0, 1), "have no area"),
        ((0, 0, float("inf"), 1), "have no area"),
    ],
)
def test_windows_that_are_none_are_refused(made, inputs, window, message):
    with pytest.raises(InputError, match=message):
        dualsr_geo.sharpen_window(made["regression"][0], inputs[0], window, guide=inputs[1])


@pytest.mark.parametrize("window", ["0,0,1,1", (1, 2, 3), None, 5, (1, 2, "x", 4), {"a": 1}])
def test_windows_of_another_type_are_refused(made, inputs, window):
    with pytest.raises(KeywordError, match="Give a rasterio.windows.Window, or bounds"):
        dualsr_geo.sharpen_window(made["regression"][0], inputs[0], window, guide=inputs[1])


def test_a_crs_that_is_none_is_refused(made, inputs):
    with pytest.raises(InputError, match="no CRS"):
        dualsr_geo.sharpen_window(made["regression"][0], inputs[0], (0, 0, 1, 1), guide=inputs[1], crs="nowhere")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_windows(made, inputs):
    survey, _ = made["regression"]
    code = (
        "import gc, sys, psutil, dualsr_geo\n"
        "from rasterio.windows import Window\n"
        "survey, scene, guide = sys.argv[1:]\n"
        "def rss():\n"
        "    gc.collect()\n"
        "    return psutil.Process().memory_info().rss\n"
        "for k in range(100):\n"
        "    dualsr_geo.sharpen_window(survey, scene, Window(k % 90, k % 40, 128, 120), guide=guide)\n"
        "    if k == 40: before = rss()\n"
        "print(rss() - before)"
    )
    command = [sys.executable, "-c", code, str(survey), *map(str, inputs)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    # 60 windows of 150 kB each, with their inputs, would be 20 MB if they were kept.
    assert int(run.stdout) < 10e6
