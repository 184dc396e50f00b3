"""The summary of a run, added up from its tiles, and the provenance of its product."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.plan import RunPlan, plan_run
from dualsr_geo.engine.records.provenance import _guide_noise, provenance_of, summarise
from dualsr_geo.engine.records.run_summary import ArtefactSummary, RunSummary, TileRecord
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.fusion.artefacts import ArtefactSums
from dualsr_geo.fusion.guide_noise.filter import GuideFilter
from dualsr_geo.fusion.guide_noise.level import NoiseLevel
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.wald.scene_sample import GuideStatistics, SceneStatistics
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.registration.guide_placement import Placement
from dualsr_geo.surveying.detail import DetailAssessment
from dualsr_geo.surveying.guide_denoising import GuideDenoising
from dualsr_geo.surveying.survey import Survey


def plan_of(guided: bool = True, **options: Any) -> RunPlan:
    sample = synthetic.make((24, 31), bands=4, ratio=2)
    guides = [open_scene(synthetic.as_dataarray(sample, "guide"))] if guided else []
    return plan_run(open_scene(synthetic.as_dataarray(sample)), guides, Options(scale=2, tile=16, **options))


def survey_of(used: tuple[int, ...] = (0, 1, 3)) -> Survey:
    count = len(used)
    flat = np.zeros(count, np.float32)
    space = Subspace(flat, np.zeros((count, 1), np.float32), flat + 1, 0.0)
    statistics = SceneStatistics(used, 0.0, flat.astype(np.float64), flat, space, flat[:1])
    guide = GuideStatistics(np.zeros(1, np.float32), np.linspace(0.2, 0.9, count, dtype=np.float32))
    return Survey(statistics, Placement(Psf.from_mtf(2), "default"), guide)


def record(square: float = 0.0, pixels: int = 1, **changes: Any) -> TileRecord:
    """Return the record of a tile whose third band has no data."""
    mark = TileStatistics(4).to_json() | {"square": [square, 0.0, 0.0, square], "pixels": [pixels, pixels, 0, pixels]}
    return replace(TileRecord.from_json(mark), **changes)


def summary_of(plan: RunPlan, survey: Survey, records: Sequence[TileRecord]) -> RunSummary:
    return summarise(plan, survey, records, output="a.tif")


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**6)), min_size=4, max_size=4))
def test_rmse_is_that_of_all_pixels(tiles: list[tuple[float, int]]) -> None:
    consistency = summary_of(plan_of(), survey_of(), [record(s, n) for s, n in tiles]).consistency
    square, pixels = sum(s for s, _ in tiles), sum(n for _, n in tiles)
    if pixels == 0:
        assert consistency.rmse is None
        assert consistency.rmse_per_band == (None,) * 4
        return
    assert consistency.rmse == pytest.approx(np.sqrt(2 * square / (3 * pixels)))
    first, second, third, fourth = consistency.rmse_per_band
    assert first == fourth == pytest.approx(np.sqrt(square / pixels), rel=1e-5)
    assert (second, third) == (0, None)


def test_artefacts_of_tiles_add_up() -> None:
    steps = np.tile([0.5, 1.5, 0.5, 1.5], (2, 1))
    some = ArtefactSums(30, 30 * steps, 30 * float((steps**2).sum()), 100, 20)
    records = [record(artefacts=some), record(), record(artefacts=some, guide_artefacts=ArtefactSums(pixels=10))]
    artefacts = summary_of(plan_of(), survey_of(), records).artefacts
    assert artefacts == ArtefactSummary(0.5, None, 0.2, 0.0)
    assert summary_of(plan_of(), survey_of(), [record()]).artefacts == ArtefactSummary(None, None, None, None)


def test_angles_are_averaged_and_clipped_values_counted() -> None:
    tiles = [
        record(angle_sum_deg=3.0, angle_count=2, below_minimum=5),
        record(angle_sum_deg=1.0, angle_count=6, saturated=7),
    ]
    summary = summary_of(plan_of(), survey_of(), tiles)
    assert summary.consistency.sam_deg == 0.5
    assert (summary.clipped.below_minimum, summary.clipped.saturated) == (5, 7)
    assert summary_of(plan_of(), survey_of(), [record()]).consistency.sam_deg is None


def test_coverage_is_given_tile_by_tile_unless_it_is_complete() -> None:
    tiles = [record(guided=g, coverage=c) for g, c in ((256, 1), (120, 0.5), (128, 1), (0, 0))]
    guide = summary_of(plan_of(), survey_of(), tiles).guide
    assert guide is not None
    assert guide.coverage == round(504 / 744, 4)
    assert guide.coverage_by_tile == ((1, 0.5), (1, 0))
    whole = summary_of(plan_of(), survey_of(), [record(guided=g, coverage=1) for g in (256, 240, 128, 120)])
    assert "coverage_by_tile" not in whole.to_json()["guide"]


def test_relevance_is_given_by_band_and_none_for_a_band_without_data() -> None:
    guide = summary_of(plan_of(), survey_of(), [record()]).guide
    assert guide is not None
    assert guide.relevance == (0.2, 0.55, None, 0.9)
    assert summary_of(plan_of(guided=False), survey_of(), [record()]).guide is None


def test_provenance_is_json_and_the_same_for_the_same_plan() -> None:
    summary = replace(summary_of(plan_of(), survey_of(), [record(1, 2)]), seconds=3.0, report="a.html")
    first, again = (json.dumps(provenance_of(plan_of(), summary), sort_keys=True, allow_nan=False) for _ in range(2))
    assert first == again
    provenance = json.loads(first)
    assert provenance["parameters"]["scale"] == 2
    assert provenance["parameters"]["tile"] == 16
    assert {"scene", "guide"} == set(provenance["inputs"])
    assert {len(sha) for sha in provenance["weights_sha256"].values()} == {64}
    assert not {"a.tif", "a.html", "seconds"} & set(provenance)
    assert "a.tif" not in first


def test_the_summary_of_a_finished_product_is_read_from_its_provenance() -> None:
    summary = summary_of(plan_of(), survey_of(), [record(1, 2, guided=3.0)])
    provenance = json.loads(json.dumps(provenance_of(plan_of(), summary)))
    again = RunSummary.from_provenance(provenance, output="a.tif", shape=(48, 62), bands=4)
    assert again.to_json() == {**summary.to_json(), "already_finished": True}
    assert (again.consistency, again.guide, again.psf) == (summary.consistency, summary.guide, summary.psf)


def detail_of(guided: bool) -> DetailAssessment:
    improvement, guide, neither = (
        np.float32(v) for v in ([0.9, 0.8, np.nan], [0.04, 0.06, np.nan], [0.01, 0.03, np.nan])
    )
    contradicted = np.float32([0.1, 0.2, 0.3]) if guided else None
    return DetailAssessment(3, improvement, guide if guided else 0 * guide, neither, contradicted)


@pytest.mark.parametrize("guided", [True, False])
def test_the_detail_assessment_is_given_on_average_and_by_band(guided: bool) -> None:
    detail = summary_of(plan_of(), replace(survey_of(), detail=detail_of(guided)), [record()]).to_json()["detail"]
    assert (detail["wald_ratio"], detail["mean"]["improvement"], detail["mean"]["omission"]) == (3, 0.85, 0.15)
    assert detail["per_band"]["improvement"] == [0.9, 0.8, None, None]
    assert ("contradicted" in detail["per_band"]) == guided
    json.dumps(detail, allow_nan=False)


def test_without_a_detail_assessment_there_is_none() -> None:
    empty = DetailAssessment(2, *(np.full(3, np.nan, np.float32) for _ in range(3)))
    for detail in (None, empty):
        assert summary_of(plan_of(), replace(survey_of(), detail=detail), [record()]).detail is None


def test_the_noise_of_each_guide_band_is_recorded_with_what_the_filter_assumes() -> None:
    turn = np.array([[0.6, -0.8], [0.8, 0.6]], np.float32)
    std, error, mean = (np.array(v, np.float32) for v in ((3.0, 1.0), (0.3, 0.1), (0.0, 0.0)))
    level = NoiseLevel(mean, turn, std, std, 0 * std, std, error, white=False)
    denoising = GuideDenoising(level, GuideFilter(mean, turn, 2 * std), gain_db=1.23456, loss_db=0.5)
    noise = _guide_noise(denoising)
    expected = np.sqrt((turn**2) @ std**2)
    assert noise.std_per_band == pytest.approx(expected, rel=1e-3)
    assert noise.error_per_band == pytest.approx(expected / 10, rel=1e-3)
    assert noise.filter_std_per_band == pytest.approx(2 * expected, rel=1e-3)
    assert (noise.white, noise.gain_db) == (False, 1.235)
    assert _guide_noise(replace(denoising, filter=None)).filter_std_per_band is None
    summary = summary_of(plan_of(), replace(survey_of(), denoising=denoising), [record()])
    carried = json.loads(json.dumps(summary.to_json()))
    assert carried["guide"]["noise"]["white"] is False
    again = RunSummary.from_provenance(summary.provenance(), output="a.tif", shape=(48, 62), bands=4)
    assert again.guide == summary.guide
