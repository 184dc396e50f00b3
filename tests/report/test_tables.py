"""Tables of a report."""

from __future__ import annotations

import numpy as np
import pytest
from report_cases import report_data

from dualsr_geo.report.tables import number, provenance_rows, score_table


def test_the_best_is_the_highest_psnr_the_smallest_angle_and_never_a_missing_value():
    table = score_table(report_data().scores, "K")
    assert [c.label for c in table.columns] == ["PSNR", "SAM", "Time"]
    assert table.common == "pixels 936"
    ours, theirs = (dict(zip(("psnr", "sam", "s"), cells, strict=True)) for _, cells in table.rows)
    assert (ours["psnr"], theirs["psnr"]) == (("41.25", True), ("39.50", False))
    assert (ours["sam"], theirs["sam"]) == (("1.500", False), ("1.250", True))
    assert theirs["s"] == ("\u2013", False)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "\u2013"), (float("nan"), "\u2013"), (float("inf"), "\u221e"), (0.0, "0"), (12345.6, "12,346"),
     (-0.0125, "\u22120.01250"), (1234.0, "1234"), (1e-9, "1.000e\u221209")],
)  # fmt: skip
def test_number(value, text):
    assert number(value) == text


def test_provenance_is_flat_and_cut_to_a_line():
    rows = dict(provenance_rows({"a": {"b": [1, 2], "c": {"d": "x"}}, "long": list(range(200)), "n": np.float32(0.5)}))
    assert rows["a.b"] == "[1, 2]"
    assert rows["a.c.d"] == "x"
    assert rows["n"] == "0.5"
    assert len(rows["long"]) == 161
