"""The text of the page, and its file."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_cases import EVIL, NM, crop, report_data

from dualsr_geo.errors import OutputError
from dualsr_geo.raster.bands import Band
from dualsr_geo.report.page import render, require_report, write_report


class Page(HTMLParser):
    """Collects tags, and the texts of scripts and of all else."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.words, self.inside = [], {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = dict(attributes).get("id", "main") if tag == "script" else None

    def handle_endtag(self, tag):  # noqa: ARG002
        self.inside = None

    def handle_data(self, data):
        if self.inside is not None:
            self.scripts[self.inside] = self.scripts.get(self.inside, "") + data
        else:
            self.words.append(data)


def test_the_page_contains_no_address():
    text = render(report_data())
    assert not re.search(r"https?:|//[a-z]|url\((?!#)|@import", re.sub(r"[A-Za-z0-9+/=]{200,}", "", text))
    for _, attributes in Page(text).tags:
        for name in ("src", "href", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))


def test_names_are_text_everywhere():
    one = report_data(
        title=EVIL,
        facts={EVIL: EVIL},
        bands=tuple(Band(EVIL, w) for w in NM),
        unit=EVIL,
        crops=(replace(crop(), name=EVIL, where=EVIL),),
        scores={EVIL: {EVIL: 1.0}},
        per_band={EVIL: {EVIL: np.ones(8)}},
        model=EVIL,
        shifts_note=EVIL,
        provenance={EVIL: EVIL},
        notes=(EVIL,),
    )
    page = Page(render(one))
    assert len([t for t, _ in page.tags if t == "script"]) == len(page.scripts) == 2 + 3
    assert json.loads(page.scripts["data"])["bands"][0] == f"Band 1, {EVIL}, 450 nm"
    assert "".join(page.words).count(EVIL) >= 10


def test_without_scripts_there_are_pictures_and_tables():
    page = Page(render(report_data()))
    figures = [a for t, a in page.tags if t == "img" and a.get("id", "").startswith("figure-")]
    assert len(figures) == 2 * 6
    assert all(a["alt"] for a in figures)
    words = "".join(page.words)
    for text in (
        "41.25",
        "0.1250",
        "\u22122.00",
        "The guide is displaced by 2.5 px.",
        "survey.psf",
        "Measured in 2 of 4 blocks.",
    ):
        assert text in words


@pytest.mark.parametrize("case", ["no crops", "one band", "400 bands", "all NaN", "no wavelengths", "bare"])
def test_odd_data_renders(case):
    odd = {
        "no crops": {"crops": ()},
        "one band": {"bands": (Band(),), "crops": (crop(count=1 + 2),), "per_band": {}, "relevance": None,
                     "detail": {"omission": np.zeros(1)}},
        "400 bands": {"bands": tuple(Band(wavelength_nm=400.0 + 5 * i) for i in range(400)), "crops": (crop(count=400),),
                      "per_band": {"m": {"psnr_db": np.full(400, np.inf)}}, "relevance": np.zeros(400, np.float32),
                      "detail": {"omission": np.zeros(400)}},
        "all NaN": {"overview": np.full((1, 3, 4), np.nan, np.float32), "tile_rmse": np.full((1, 1), np.nan),
                    "crops": (replace(crop(), scene=crop().scene * np.nan, product=crop().product * np.nan),)},
        "no wavelengths": {"bands": (Band(),) * 8},
        "bare": {"crops": (), "scores": {}, "per_band": {}, "relevance": None, "shifts": (), "shifts_note": "", "facts": {},
                 "tile_rmse": None, "provenance": {}, "notes": (), "unit": None, "model": "", "detail": {}},
    }[case]  # fmt: skip
    if case == "one band":
        one = crop(count=3)
        odd["crops"] = (replace(one, scene=one.scene[:1], product=one.product[:1], reference=one.reference[:1]),)
    page = Page(render(report_data(**odd)))
    data = json.loads(page.scripts["data"])
    assert data["axis"]["label"] == ("Band number" if case in ("one band", "no wavelengths") else "Wavelength (nm)")
    assert len(data["crops"]) == len([k for k in page.scripts if k.endswith("-before")])


def test_spectra_keep_the_budget_of_bytes_and_the_page_says_so():
    page = Page(render(report_data(), budget_bytes=5000))
    data = json.loads(page.scripts["data"])
    assert sum(len(text) for name, text in page.scripts.items() if name.startswith("cube-")) <= 5000
    assert {c["stride"] for c in data["crops"]} != {1}


# ---- the file ----------------------------------------------------------------------------


def test_a_report_appears_whole(tmp_path):
    path = tmp_path / "r\u00e9port.html"
    write_report(report_data(), path)
    assert path.read_text(encoding="utf-8") == render(report_data())
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_report_is_replaced_only_with_overwrite(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"report\.html exists\. Give --overwrite"):
        write_report(report_data(crops=()), path)
    assert path.read_text() == "mine"
    write_report(report_data(crops=()), path, overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_missing_directory_or_a_directory_is_refused_before_the_work(tmp_path):
    with pytest.raises(OutputError, match=r"nowhere of .*report\.html does not exist.*--report"):
        require_report(tmp_path / "nowhere" / "report.html")
    with pytest.raises(OutputError, match="is a directory"):
        require_report(tmp_path, overwrite=True)


def test_a_full_disk_leaves_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("mine")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match=r"No space left on device.*--report"):
        write_report(report_data(crops=()), path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "mine"


def test_the_detail_assessment_is_in_a_table_and_a_chart():
    text = render(report_data())
    assert text.count('id="detail"') == 1
    assert "Improved" in text
    assert json.loads(Page(text).scripts["data"])["detail"]["Contradicted"] == [0.0625, *[None] * 7]
    assert 'id="detail"' not in render(report_data(detail={}))
