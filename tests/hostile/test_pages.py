"""Names of files, bands and models that are HTML, scripts or formulas: in pages and tables they are text."""

import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import rasterio
from delivered import raster
from hostile_case import Case, check
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.serialization import csv_cell

SCRIPT = "<script>document.title='pwned'<_script>"
IMAGE = '"><img src=x onerror=alert(1)>'
TEMPLATE = "{{7*7}}${7*7}<%=7*7%>"
FORMULAS = ("=1+1.tif", "+cmd|x.tif", "-2+3.tif", "@SUM(1).tif")
POLICY = r"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-[A-Za-z0-9+/=]{44}'"


def cube(bands=3, side=24, seed=1):
    return np.random.default_rng(seed).integers(500, 5000, (bands, side, side)).astype("uint16")


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def is_safe(name="page.html"):
    """Return a check that a page runs no script but its own, loads nothing, and shows the names as text."""

    def verify(folder, _outcome):
        text = (folder / name).read_text(encoding="utf-8")
        page = Page()
        page.feed(text)
        policies = [
            a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
        ]
        assert len(policies) == 1
        assert re.fullmatch(POLICY, policies[0])
        # Before anything that it has to govern.
        assert text.index("Content-Security-Policy") < text.index("<style") < text.index("<body")
        scripts = [a for t, a in page.tags if t == "script"]
        # Data of other types are not run.
        assert [a for a in scripts if a.get("type") not in ("application/json", "text/plain")] == [{"type": "module"}]
        assert not [a for t, a in page.tags if any(k.startswith("on") for k in a)]
        assert not [
            a["src"] for t, a in page.tags if a.get("src") and not a["src"].startswith("data:image/png;base64,")
        ]
        assert not [t for t, _ in page.tags if t in ("iframe", "object", "embed", "base", "form", "link", "a")]
        assert SCRIPT not in text
        assert IMAGE not in text

    return verify


def scene(folder, name):
    path = folder / name
    raster(path, cube(), 8.0)
    with rasterio.open(path, "r+") as file:
        for band, text in enumerate((SCRIPT, IMAGE, TEMPLATE), 1):
            file.set_band_description(band, text)
            file.update_tags(band, evil=text)
        file.units = (SCRIPT, IMAGE, TEMPLATE)
        file.update_tags(evil=SCRIPT, ACQUISITION=IMAGE)
    return name


def sharpened(name):
    return lambda folder: [
        "upscale", scene(folder, name), "--scale", "2", "--model", "interpolation", "-o", "o.tif", "--report", "page.html",
    ]  # fmt: skip


def evaluated(name):
    def make(folder):
        raster(folder / f"{name}pan.tif", cube(1, 96), 2.0)
        command = ["evaluate", scene(folder, name), "--rgb", f"{name}pan.tif", "--scale", "2"]
        return [*command, "--models", "bicubic,brovey", "--report", "page.html"]

    return make


def in_a_batch(folder):
    (folder / "in").mkdir()
    for name in (f"{SCRIPT}.tif", f"{IMAGE}.tif", f"{TEMPLATE}.tif".replace("/", "_"), *FORMULAS):
        scene(folder / "in", name)
    return ["batch", "in", "-o", "out", "--scale", "2", "--model", "bicubic", "--report"]


def pages_and_table_are_safe(folder, _outcome):
    pages = sorted((folder / "out").glob("*.html"))
    assert len(pages) == 7
    for page in pages:
        is_safe(f"out/{page.name}")(folder, None)
    table_is_safe(folder, _outcome)


def table_is_safe(folder, _outcome):
    rows = list(csv.DictReader((folder / "out/summary.csv").read_text().splitlines()))
    assert rows
    for row in rows:
        assert not [c for c in row.values() if c.startswith(("=", "+", "-", "@", "\t", "\r"))]
        assert not row["seconds"] or float(row["seconds"]) >= 0
    if len(rows) > 1:
        assert {r["product"] for r in rows} >= {"'=1+1_x2.tif", "'+cmd|x_x2.tif", "'-2+3_x2.tif", "'@SUM(1)_x2.tif"}


def stac_ids(folder):
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "=cmd|'/c calc'!A1", "geometry": None, "links": [],
        "properties": {"datetime": "2023-06-12T10:00:00Z"}, "assets": {},
    }  # fmt: skip
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    return ["batch", "items.json", "-o", "out", "--scale", "2", "--quiet"]


CASES = (
    Case("a page of a scene named like a script", sharpened(f"{SCRIPT}.tif"), verify=is_safe()),
    Case("a page of a scene named like an image", sharpened(f"{IMAGE}.tif"), verify=is_safe()),
    Case("a page of a scene named like a template", sharpened(f"{TEMPLATE}.tif"), verify=is_safe()),
    Case("an evaluation of a scene named like a script", evaluated(f"{SCRIPT}.tif"), verify=is_safe()),
    Case("an evaluation of a scene named like an image", evaluated(f"{IMAGE}.tif"), verify=is_safe()),
    Case("a batch of all of them", in_a_batch, verify=pages_and_table_are_safe),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


def test_the_id_of_a_stac_item_is_no_formula(tmp_path):
    from click.testing import CliRunner

    from dualsr_geo.cli import main

    (tmp_path / "in").mkdir()
    words = [
        w.replace("items.json", f"{tmp_path}/items.json").replace("out", f"{tmp_path}/out") for w in stac_ids(tmp_path)
    ]
    assert CliRunner().invoke(main, words).exit_code == 1
    table_is_safe(tmp_path, None)


@given(st.text())
def test_no_text_of_a_cell_is_a_formula(text):
    cell = csv_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert cell.isprintable()


@pytest.mark.parametrize("value", [-1.5, 3, 1e-7, -2])
def test_numbers_of_cells_stay_numbers(value):
    assert float(csv_cell(value)) == value
