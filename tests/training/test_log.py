"""The log: rows as CSV and as lines of progress."""

from __future__ import annotations

import csv
import math

import pytest

from dualsr_geo.training.log import Row, progress_line, write_log

ROWS = [
    Row(5, 1.5, 0.25, 1e-3),
    Row(10, 3.0, 0.125, 5e-4, {"a & b": {"psnr": 30.5, "sam": 4.25}}),
    Row(15, 4.5, math.nan, 2.5e-4, {"a & b": {"psnr": 31.5, "sam": 4.0}, "late": {"psnr": 20.0}}),
]


def test_the_table_has_a_column_a_scene_and_score(tmp_path):
    write_log(ROWS, tmp_path)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert list(rows[0]) == ["step", "seconds", "loss", "rate", "a & b psnr", "a & b sam", "late psnr"]
    assert rows[0]["a & b psnr"] == ""
    assert [float(r["late psnr"] or "nan") for r in rows][2] == 20.0
    assert [float(r["loss"]) for r in rows[:2]] == [0.25, 0.125]


def test_a_line_estimates_the_whole_time():
    assert progress_line(ROWS[1], 40) == "step 10/40  0.1 of about 0.2 min  loss 0.125  a & b 30.50 dB 4.25 deg"


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_one_line(row):
    assert "\n" not in progress_line(row, 20)
