"""What tiles counted, added up."""

from __future__ import annotations

import json
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
from dualsr_geo.engine.provenance import REPORTED, provenance_of, summarise
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.survey.detail import DetailAssessment
from dualsr_geo.survey.survey import Survey


def job(guided: bool = True, **options: Any) -> RunPlan:
    sample = synthetic.make((24, 31), bands=4, ratio=2)
    guides = [open_scene(synthetic.as_dataarray(sample, "guide"))] if guided else []
    return plan_run(open_scene(synthetic.as_dataarray(sample)), guides, Options(scale=2, tile=16, **options))


def known(used: tuple[int, ...] = (0, 1, 3)) -> Survey:
    count = len(used)
    flat = np.zeros(count, np.float32)
    space = Subspace(flat, np.zeros((count, 1), np.float32), flat + 1, 0.0)
    relevance = np.linspace(0.2, 0.9, count, dtype=np.float32)
    return Survey(Psf.from_mtf(2), "default", used, 0.0, flat, space, flat[:1], flat[:1], relevance=relevance)


def tile(square: float, pixels: int, **more: float) -> dict[str, Any]:
    each = {"square": [square, 0.0, 0.0, square], "pixels": [pixels, pixels, 0, pixels], "angle": 0.0, "angles": 0}
    return {**each, "cut": 0, "saturated": 0, "guided": 0.0, "coverage": 0.0, "withheld": 0.0, **more}


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**6)), min_size=4, max_size=4))
def test_rmse_is_that_of_all_pixels(tiles: list[tuple[float, int]]) -> None:
    said = summarise(job(), known(), [tile(s, n) for s, n in tiles])["consistency"]
    square, pixels = sum(s for s, _ in tiles), sum(n for _, n in tiles)
    if pixels == 0:
        assert said["rmse"] is None
        assert said["rmse_per_band"] == [None] * 4
        return
    assert said["rmse"] == pytest.approx(np.sqrt(2 * square / (3 * pixels)))
    assert said["rmse_per_band"] == [
        pytest.approx(np.sqrt(square / pixels), rel=1e-5),
        0,
        None,
        said["rmse_per_band"][0],
    ]


def test_angles_are_averaged_and_clips_counted() -> None:
    tiles = [tile(0, 1, angle=3.0, angles=2, cut=5), tile(0, 1, angle=1.0, angles=6, saturated=7)]
    said = summarise(job(), known(), tiles)
    assert said["consistency"]["sam_deg"] == 0.5
    assert said["clipped"] == {"below_minimum": 5, "saturated": 7}
    assert summarise(job(), known(), [tile(0, 1)])["consistency"]["sam_deg"] is None


def test_coverage_is_said_tile_by_tile_where_it_is_not_whole() -> None:
    tiles = [tile(0, 1, guided=g, coverage=c) for g, c in ((256, 1), (120, 0.5), (128, 1), (0, 0))]
    guide = summarise(job(), known(), tiles)["guide"]
    assert guide["coverage"] == round(504 / 744, 4)
    assert guide["coverage_by_tile"] == [[1, 0.5], [1, 0]]
    whole = [tile(0, 1, guided=g, coverage=1) for g in (256, 240, 128, 120)]
    assert "coverage_by_tile" not in summarise(job(), known(), whole)["guide"]


def test_relevance_stands_at_its_band_and_nothing_at_an_empty_one() -> None:
    said = summarise(job(), known(), [tile(0, 1)])
    assert said["guide"]["relevance"] == [0.2, 0.55, None, 0.9]
    assert summarise(job(guided=False), known(), [tile(0, 1)])["guide"] is None


def test_lineage_is_json_and_the_same_for_the_same_job() -> None:
    report = {"output": "a.tif", **summarise(job(), known(), [tile(1, 2)])}
    first, again = (json.dumps(provenance_of(job(), report), sort_keys=True, allow_nan=False) for _ in range(2))
    assert first == again
    said = json.loads(first)
    assert set(REPORTED) <= set(said)
    assert said["parameters"]["scale"] == 2
    assert said["parameters"]["tile"] == 16
    assert {"scene", "guide"} == set(said["inputs"])
    assert {len(sha) for sha in said["weights_sha256"].values()} == {64}
    assert "a.tif" not in first


def worth(guided: bool) -> DetailAssessment:
    improvement, guide, neither = (
        np.float32(v) for v in ([0.9, 0.8, np.nan], [0.04, 0.06, np.nan], [0.01, 0.03, np.nan])
    )
    taken = np.float32([0.1, 0.2, 0.3]) if guided else None
    return DetailAssessment(3, improvement, guide if guided else 0 * guide, neither, taken)


@pytest.mark.parametrize("guided", [True, False])
def test_the_detail_assessment_is_kept_on_average_and_by_band(guided: bool) -> None:
    said = summarise(job(), replace(known(), detail=worth(guided)), [tile(0, 1)])["detail"]
    assert (said["wald_ratio"], said["mean"]["improvement"], said["mean"]["omission"]) == (3, 0.85, 0.15)
    assert said["per_band"]["improvement"] == [0.9, 0.8, None, None]
    assert ("contradicted" in said["per_band"]) == guided
    json.dumps(said, allow_nan=False)


def test_without_a_detail_assessment_there_is_none() -> None:
    nothing = DetailAssessment(2, *(np.full(3, np.nan, np.float32) for _ in range(3)))
    for found in (None, nothing):
        said = summarise(job(), replace(known(), detail=found), [tile(0, 1)])["detail"]
        assert said is None
