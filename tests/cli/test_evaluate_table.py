"""The table of `evaluate`: units, the best of each column, significant digits."""

import pytest

from dualsr_geo.cli.evaluate import LEGEND, _significant, table

SCORES = {
    "auto": {"psnr_db": 31.234, "sam_deg": 2.345, "rmse": 12.345, "seconds": 3.0, "peak_memory_bytes": 2**20},
    "gsa": {"psnr_db": 30.0, "sam_deg": 2.1, "rmse": 123.45, "seconds": 1.0, "peak_memory_bytes": 2**21},
}


def test_the_best_of_each_score_is_marked_and_no_cost():
    head, auto, gsa, legend = table(SCORES).splitlines()
    assert head.split("  ")[-1].strip() == "memory MiB"
    assert [w for w in head.split() if w.isupper()] == ["PSNR", "SAM", "RMSE"]
    assert auto.split() == ["auto", "31.23*", "2.35", "12.35*" if "12.35*" in auto else "12.34*", "3.00", "1.000"]
    assert gsa.split() == ["gsa", "30.00", "2.10*", "123.5" if "123.5" in gsa else "123.4", "1.00", "2.000"]
    assert legend == LEGEND


def test_one_row_has_no_best_and_a_tie_has_two():
    assert "*" not in table({"product": SCORES["auto"]})
    assert table({"a": SCORES["auto"], "b": SCORES["auto"]}).count("31.23*") == 2


def test_an_error_and_a_missing_score_are_no_best():
    text = table({"a": {"error": "It fails."}, "b": {**SCORES["auto"], "sam_deg": None}, "c": SCORES["gsa"]})
    assert "a  It fails." in text
    assert "2.10*" not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.98765, "0.9877"), (9.8765, "9.877"), (98765.4, "98765"), (1.5e-9, "1.500e-09"), (float("inf"), "inf"), (float("nan"), "nan"), (-0.123456, "-0.1235")],
)  # fmt: skip
def test_four_significant_digits(value, text):
    assert _significant(value, 4) == text
