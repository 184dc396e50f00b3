"""What a report shows, against the run that it describes."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
import torch

from dualsr_geo import Options, open_scene, synthetic
from dualsr_geo.degradation.operators import operator
from dualsr_geo.engine.preparation import prepare
from dualsr_geo.engine.records.run_log import scene_log
from dualsr_geo.engine.records.run_summary import TileRecord
from dualsr_geo.engine.run_report import report_data_of_run, tile_rmse
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.engine.upscale import run_plan
from dualsr_geo.raster.windows import Window
from dualsr_geo.report.gather import read_survey
from dualsr_geo.report.views import CROP_PX, DETAIL_QUANTILES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    synthetic.write(folder, shape=(150, 97), bands=7, seed=2, guide="rgb", shift_px=(1.5, -2.0))
    return folder


@pytest.fixture(scope="module")
def ran(folder):
    options = Options(tile=64, scale=4)
    plan, spec, summary = run(folder / "scene.tif", folder / "out.zarr", rgb=folder / "rgb.tif", options=options)
    marks = [{"square": [i + 1.0] * 7, "pixels": [0 if i == 1 else 4] * 7} for i in range(len(plan.tiling))]
    records = [TileRecord.from_json({**TileStatistics(7).to_json(), **mark}) for mark in marks]
    return plan, spec, summary, records


def run(*paths, **options):
    plan, spec = prepare(*paths, **options)
    with scene_log(str(paths[0]), None) as log:
        return plan, spec, run_plan(plan, spec, log, time.monotonic())


@pytest.fixture(scope="module")
def page(ran):
    return report_data_of_run(*ran)


def test_crops_are_cut_from_scene_product_and_guide(page, ran):
    plan, spec, *_ = ran
    product = open_scene(spec.path)
    assert len(page.crops) >= len(DETAIL_QUANTILES)
    for crop in page.crops:
        rows, columns = (
            tuple(map(int, p.split()[1::2])) for p in crop.where.removesuffix(" of the product").split(",")
        )
        hr = Window(*rows, *columns)
        np.testing.assert_array_equal(crop.product, product.source.read(hr))
        lr = Window(*(v // 4 for v in (hr.y0, hr.y1, hr.x0, hr.x1)))
        assert lr.scaled(4) == hr
        np.testing.assert_array_equal(crop.scene, plan.scene.source.read(lr))
        assert crop.guide.shape == (3, *hr.shape)
        assert max(hr.shape) <= CROP_PX


def test_the_guide_is_shown_where_it_was_used(page, ran, folder):
    """It is delivered with a shift of (1.5, -2) px; the crop shows it moved back, as a guide without a shift."""
    synthetic.write(folder / "calm", shape=(150, 97), bands=7, seed=2, guide="rgb")
    calm = open_scene(folder / "calm/rgb.tif")
    for crop in page.crops:
        y, x = (int(p.split()[1]) for p in crop.where.split(","))
        wanted = calm.source.read(Window(y, y + crop.guide.shape[1], x, x + crop.guide.shape[2]))
        inner = np.s_[:, 8:-8, 8:-8]
        assert np.nanmean(np.abs(crop.guide[inner] - wanted[inner])) < 0.1 * wanted.std()


def test_shifts_are_those_of_the_guide_as_delivered(page):
    assert len(page.shifts) >= 6
    median = np.median([(s.dy_px, s.dx_px) for s in page.shifts], axis=0)
    np.testing.assert_allclose(median, (1.5, -2.0), atol=0.3)
    assert all(0 < s.y < 1 and 0 < s.x < 1 for s in page.shifts)
    assert re.search(
        r"; the guide lay 1\.\d px too low and [12]\.\d px too far left \(.* px\) and was moved back\.$",
        page.shifts_note,
    )


def test_consistency_is_that_of_the_degraded_product(page, ran):
    plan, spec, *_ = ran
    survey = read_survey(spec.path, spec.format)
    whole = operator(survey.psf, plan.scene.shape).degrade(
        torch.from_numpy(open_scene(spec.path).source.read(Window(0, 600, 0, 388)))
    )
    wanted = np.sqrt(((whole.numpy() - plan.scene.source.read(Window(0, 150, 0, 97))) ** 2).mean(0))
    for crop in page.crops:
        y, x = (int(p.split()[1]) // 4 for p in crop.where.split(","))
        h, w = crop.consistency.shape
        np.testing.assert_allclose(crop.consistency, wanted[y : y + h, x : x + w], atol=1e-7)


def test_tile_statistics_make_a_map_of_tiles(ran):
    plan, _, _, records = ran
    tiles = tile_rmse(records, plan.tiling.grid)
    assert tiles.shape == plan.tiling.grid == (3, 2)
    assert tiles[0, 0] == pytest.approx(0.5)
    assert np.isnan(tiles[0, 1])
    assert tiles[2, 1] == pytest.approx(np.sqrt(6 / 4))


def test_the_facts_are_those_of_the_run(page, ran):
    _, _, summary, _ = ran
    assert page.facts["Pixels"] == "8 to 2 metre" or page.facts["Pixels"].startswith("8 to 2 ")
    assert page.facts["Model"].startswith("auto, fine stage consistency; ")
    assert re.search(r"network used at \d+% strength", page.facts["Model"])
    assert f"{summary.consistency.rmse:.3g}" in page.facts["Consistency"]
    assert page.provenance["scale"] == 4
    assert page.relevance.shape == (7,)
    assert page.tile_rmse.shape == (3, 2)
    assert page.overview.shape == (3, 150, 97)


def test_without_guide_and_tile_statistics(folder):
    options = Options(scale=2)
    page = report_data_of_run(*run(folder / "scene.tif", folder / "unguided.tif", options=options))
    assert page.relevance is None
    assert page.shifts == ()
    assert page.tile_rmse is None
    assert page.crops[0].guide is None


def test_the_detail_assessment_is_that_of_the_run(page, ran):
    detail = ran[2].detail
    assert {"improvement", "omission", "hallucination_guide", "hallucination_neither", "contradicted"} == set(
        page.detail
    )
    for kind, values in detail["per_band"].items():
        np.testing.assert_array_equal(page.detail[kind], np.array(values, float))
    assert page.facts["Detail"].startswith("made 4 times coarser and sharpened again, the scene has ")
