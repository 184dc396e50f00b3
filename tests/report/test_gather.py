"""What a report shows, against the run that it tells of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rasterio.transform import from_origin

from dualsr_geo import Options, open_scene, synthetic
from dualsr_geo.degradation.operators import operator
from dualsr_geo.engine.run_report import report_data_of_run
from dualsr_geo.engine.upscale import prepare, upscale
from dualsr_geo.raster.windows import Window
from dualsr_geo.report.gather import carried_survey, tile_rmse
from dualsr_geo.report.views import CROP_PX, PLACES, Material, crop_windows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("exhibit")
    synthetic.write(place, shape=(150, 97), bands=7, seed=2, guide="rgb", shift_px=(1.5, -2.0))
    return place


@pytest.fixture(scope="module")
def ran(folder):
    options = Options(tile=64, scale=4)
    said = upscale(folder / "scene.tif", folder / "out.zarr", rgb=folder / "rgb.tif", options=options)
    job, layout = prepare(folder / "scene.tif", folder / "out.zarr", rgb=folder / "rgb.tif", options=options)
    figures = [{"square": [i + 1.0] * 7, "pixels": [0 if i == 1 else 4] * 7} for i in range(len(job.tiling))]
    return job, layout, said, figures


@pytest.fixture(scope="module")
def page(ran):
    return report_data_of_run(*ran)


def test_crops_are_cut_from_scene_product_and_guide(page, ran):
    job, layout, *_ = ran
    product = open_scene(layout.path)
    assert len(page.crops) >= len(PLACES)
    for crop in page.crops:
        rows, columns = (
            tuple(map(int, p.split()[1::2])) for p in crop.where.removesuffix(" of the product").split(",")
        )
        hr = Window(*rows, *columns)
        np.testing.assert_array_equal(crop.product, product.source.read(hr))
        lr = Window(*(v // 4 for v in (hr.y0, hr.y1, hr.x0, hr.x1)))
        assert lr.scaled(4) == hr
        np.testing.assert_array_equal(crop.scene, job.scene.source.read(lr))
        assert crop.guide.shape == (3, *hr.shape)
        assert max(hr.shape) <= CROP_PX


def test_the_guide_is_shown_where_it_was_used(page, ran, folder):
    """As delivered it lies (1.5, -2) px off; the crop has it moved back, as a guide without shift lies."""
    synthetic.write(folder / "calm", shape=(150, 97), bands=7, seed=2, guide="rgb")
    calm = open_scene(folder / "calm/rgb.tif")
    for crop in page.crops:
        y, x = (int(p.split()[1]) for p in crop.where.split(","))
        wanted = calm.source.read(Window(y, y + crop.guide.shape[1], x, x + crop.guide.shape[2]))
        inner = np.s_[:, 8:-8, 8:-8]
        assert np.nanmean(np.abs(crop.guide[inner] - wanted[inner])) < 0.1 * wanted.std()


def test_shifts_are_those_of_the_guide_as_delivered(page):
    assert len(page.shifts) >= 6
    found = np.median([(s.dy_px, s.dx_px) for s in page.shifts], axis=0)
    np.testing.assert_allclose(found, (1.5, -2.0), atol=0.3)
    assert all(0 < s.y < 1 and 0 < s.x < 1 for s in page.shifts)
    assert "the guide was moved by -1" in page.shift_scale


def test_consistency_is_that_of_the_degraded_product(page, ran):
    job, layout, *_ = ran
    known = carried_survey(layout.path, layout.format)
    whole = operator(known.psf, job.scene.shape).degrade(
        torch.from_numpy(open_scene(layout.path).source.read(Window(0, 600, 0, 388)))
    )
    wanted = np.sqrt(((whole.numpy() - job.scene.source.read(Window(0, 150, 0, 97))) ** 2).mean(0))
    for crop in page.crops:
        y, x = (int(p.split()[1]) // 4 for p in crop.where.split(","))
        h, w = crop.consistency.shape
        np.testing.assert_allclose(crop.consistency, wanted[y : y + h, x : x + w], atol=1e-7)


def test_the_worst_tile_gets_a_crop(ran):
    job, layout, *_ = ran
    tiles = np.zeros((3, 2))
    tiles[2, 1] = 1.0
    material = Material(job.scene, open_scene(layout.path), 4, tiles=tiles)
    windows = crop_windows(material, np.random.default_rng(0).random((3, 150, 97)).astype(np.float32))
    assert any(w.y0 < 125 < w.y1 and w.x0 < 72 < w.x1 for w in windows)
    assert len(windows) == len(set(windows))


def test_crops_avoid_where_nothing_is(ran):
    job, layout, *_ = ran
    seen = np.random.default_rng(0).random((3, 150, 97)).astype(np.float32)
    seen[:, :80] = np.nan
    for window in crop_windows(Material(job.scene, open_scene(layout.path), 4), seen):
        assert window.y1 > 80


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (65, 64), (1000, 700)])
def test_crops_lie_inside_whatever_the_shape(shape, tmp_path):
    import rasterio

    profile = {"count": 1, "height": shape[0], "width": shape[1], "dtype": "float32", "crs": "EPSG:32633"}
    with rasterio.open(tmp_path / "s.tif", "w", driver="GTiff", transform=from_origin(0, 0, 8, 8), **profile) as f:
        f.write(np.random.default_rng(0).random((1, *shape), np.float32))
    scene = open_scene(tmp_path / "s.tif")
    found = crop_windows(Material(scene, scene, 4), scene.source.read(Window(0, shape[0], 0, shape[1])))
    assert 1 <= len(found) <= 4
    for w in found:
        assert w == w.clipped(shape)
        assert min(w.shape) >= 1


def test_figures_make_a_map_of_tiles(ran):
    job, _, _, figures = ran
    tiles = tile_rmse(figures, job.tiling.grid)
    assert tiles.shape == job.tiling.grid == (3, 2)
    assert tiles[0, 0] == pytest.approx(0.5)
    assert np.isnan(tiles[0, 1])
    assert tiles[2, 1] == pytest.approx(np.sqrt(6 / 4))


def test_what_it_says_is_what_the_run_said(page, ran):
    _, _, said, _ = ran
    assert page.facts["Pixels"] == "8 to 2 metre" or page.facts["Pixels"].startswith("8 to 2 ")
    assert page.facts["Model"].startswith("auto, fine stage consistency; ")
    assert "`regression`" in page.facts["Model"]
    assert f"{said['consistency']['rmse']:.3g}" in page.facts["Consistency"]
    assert page.lineage["scale"] == 4
    assert page.relevance.shape == (7,)
    assert page.consistency_tiles.shape == (3, 2)
    assert page.overview.shape == (3, 150, 97)


def test_without_guide_and_figures(folder):
    options = Options(scale=2)
    said = upscale(folder / "scene.tif", folder / "alone.tif", options=options)
    job, layout = prepare(folder / "scene.tif", folder / "alone.tif", options=options)
    page = report_data_of_run(job, layout, said)
    assert page.relevance is None
    assert page.shifts == ()
    assert page.consistency_tiles is None
    assert page.crops[0].guide is None


def test_the_worth_of_detail_is_what_the_run_reported(page, ran):
    said = ran[2]["detail"]
    assert {"improvement", "omission", "hallucination_guide", "hallucination_neither", "contradicted"} == set(
        page.detail
    )
    for kind, values in said["per_band"].items():
        np.testing.assert_array_equal(page.detail[kind], np.array(values, float))
    assert page.facts["Detail"].startswith("on the scene degraded 4x: ")
