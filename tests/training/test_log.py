"""The log: rows as CSV, curves as SVG."""

from __future__ import annotations

import csv
import math
from xml.etree import ElementTree as ET

import pytest

from dualsr_geo.training.log import Row, draw, line, write_table

ROWS = [
    Row(5, 1.5, 0.25, 1e-3),
    Row(10, 3.0, 0.125, 5e-4, {"a & b": {"psnr": 30.5, "sam": 4.25}}),
    Row(15, 4.5, math.nan, 2.5e-4, {"a & b": {"psnr": 31.5, "sam": 4.0}, "late": {"psnr": 20.0}}),
]


def polylines(folder):
    root = ET.parse(folder / "curves.svg").getroot()
    named = "{http://www.w3.org/2000/svg}"
    lines = [[tuple(map(float, p.split(","))) for p in e.get("points").split()] for e in root.iter(f"{named}polyline")]
    return lines, [e.text for e in root.iter(f"{named}text")]


def test_the_table_has_a_column_a_scene_and_score(tmp_path):
    write_table(ROWS, tmp_path)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert list(rows[0]) == ["step", "seconds", "loss", "rate", "a & b psnr", "a & b sam", "late psnr"]
    assert rows[0]["a & b psnr"] == ""
    assert [float(r["late psnr"] or "nan") for r in rows][2] == 20.0
    assert [float(r["loss"]) for r in rows[:2]] == [0.25, 0.125]


def test_curves_are_drawn_from_left_to_right_and_higher_is_higher(tmp_path):
    draw(ROWS, tmp_path)
    lines, texts = polylines(tmp_path)
    loss, psnr = lines[0], lines[1]
    assert [len(points) for points in lines] == [2, 2, 1, 2]
    assert loss[0][0] < loss[1][0]
    assert loss[0][1] < loss[1][1]  # a smaller loss is further down
    assert psnr[0][1] > psnr[1][1]
    assert {"a & b", "late", "psnr", "sam", "loss"} <= set(texts)


def test_nothing_to_draw_is_an_empty_picture(tmp_path):
    draw([], tmp_path)
    assert polylines(tmp_path) == ([], [])


def test_a_line_foretells_the_end():
    assert line(ROWS[1], 40) == "step 10/40  0.1 of about 0.2 min  loss 0.125  a & b 30.50 dB 4.25 deg"


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_one_line(row):
    assert "\n" not in line(row, 20)
