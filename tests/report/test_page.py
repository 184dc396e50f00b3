"""The report: what it says as text, and what a reader sees of it in a browser, against the arrays."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from dualsr_geo.errors import OutputError
from dualsr_geo.raster.bands import Band
from dualsr_geo.report.data import Crop, ReportData, Shift
from dualsr_geo.report.figures import arrows, crop_figures, errors, overview, tile_map
from dualsr_geo.report.page import render, require_report, write_report
from dualsr_geo.report.spectra import Subject, pixel_spectra, quantise
from dualsr_geo.report.tables import lineage_rows, number, score_table

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
RATIO = 3
# VNIR, a water vapour gap, SWIR.
NM = (450.0, 500.0, 550.0, 600.0, 650.0, 700.0, 1600.0, 1650.0)
EVIL = """<script>alert(1)</script> "it's" & </script> \u05e9\u05dc\u05d5\u05dd \u96ea"""


def crop(name="A", shape=(8, 13), seed=0, count=8):
    rng = np.random.default_rng(seed)
    scene = (rng.random((count, *shape)) * 0.4 + np.arange(count)[:, None, None]).astype(np.float32)
    truth = scene.repeat(RATIO, 1).repeat(RATIO, 2) + rng.normal(0, 0.05, (count, *(n * RATIO for n in shape)))
    product = truth + rng.normal(0, 0.02, truth.shape)
    product[2, 4, 5] = np.nan
    scene[:, 0, 0] = product[:, :RATIO, :RATIO] = np.nan
    guide = rng.random((1, *truth.shape[1:]))
    wrong = np.abs(scene[0] - scene[0].mean())
    where = f"rows 0 to {truth.shape[1]}, columns 0 to {truth.shape[2]} of the product"
    return Crop(name, where, RATIO, scene, *(a.astype(np.float32) for a in (product, truth, guide, wrong)))


def exhibit(**changes):
    rng = np.random.default_rng(9)
    plain = ReportData(
        title="A scene",
        facts={"Ratio": "3", "Model": "regression"},
        bands=tuple(Band(f"b{i}", w) for i, w in enumerate(NM)),
        unit="reflectance",
        overview=rng.random((3, 20, 31), np.float32),
        crops=(crop("A"), crop("B", (5, 7), 1)),
        scores={
            "ours": {"psnr_db": 41.25, "sam_deg": 1.5, "seconds": 9.0, "pixels": 936},
            "theirs": {"psnr_db": 39.5, "sam_deg": 1.25, "seconds": None, "pixels": 936},
        },
        per_band={m: {"psnr_db": rng.random(8) + 40, "ssim": rng.random(8)} for m in ("ours", "theirs")},
        shown="ours",
        relevance=np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, np.nan, 0.125], np.float32),
        shifts=(Shift(0.25, 0.5, 1.5, -2.0), Shift(0.75, 0.5, 0.0, 0.0)),
        shift_scale="Measured on 2 of 4 blocks.",
        consistency_tiles=np.array([[0.25, np.nan, 0.5]]),
        lineage={"software": "dualsr-geo", "survey": {"psf": [1.5, 1.25]}},
        notes=("The guide lay 2.5 px off.",),
        detail={"improvement": np.linspace(0.5, 0.8625, 8), "contradicted": np.array([0.0625, *[np.nan] * 7])},
    )
    return replace(plain, **changes)


# ---- the record --------------------------------------------------------------------------


def unpacked(recording):
    codes = np.frombuffer(zlib.decompress(base64.b64decode(recording.text)), "<u2").reshape(recording.shape)
    values = codes * np.array(recording.scale)[:, None, None] + np.array(recording.offset)[:, None, None]
    return np.where(codes == 65535, np.nan, values)


def test_a_recording_is_within_a_65000th_of_the_range_of_each_band():
    rng = np.random.default_rng(0)
    cube = (rng.standard_normal((5, 31, 17)) * [[[1e-6]], [[1]], [[1e4]], [[0]], [[3]]]).astype(np.float32)
    cube[1] += 300
    cube[2, 3:9, 4] = np.nan
    cube[4] = np.nan
    cube[0, 0, 0] = np.inf
    got = unpacked(quantise(cube))
    there = np.isfinite(cube)
    np.testing.assert_array_equal(np.isfinite(got), there)
    for band in range(4):
        valid = cube[band][there[band]].astype(float)
        assert np.abs(got[band][there[band]] - valid).max() <= np.ptp(valid) / 65000


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 40])
def test_a_record_keeps_the_budget_and_says_which_pixels_it_has(stride):
    one = crop(shape=(11, 7))
    subjects = [Subject(RATIO, {"before": one.scene}, {"after": one.product})] * 2

    def size(takes):
        return sum(len(c.text) for t in takes for c in t.cubes.values())

    whole = size(pixel_spectra(subjects, 10**9))
    (take, _) = takes = pixel_spectra(subjects, whole // stride**2 + 200)
    assert take.stride <= stride + 1
    assert size(takes) <= whole // stride**2 + 200 or take.stride == one.product.shape[1]
    np.testing.assert_allclose(
        unpacked(take.cubes["after"]), one.product[:, take.rows[:, None], take.columns], atol=1e-4
    )
    lr = unpacked(take.cubes["before"])
    expected = one.scene if take.stride <= RATIO else one.scene[:, take.rows[:, None] // RATIO, take.columns // RATIO]
    np.testing.assert_allclose(lr, expected, atol=1e-4)


def test_the_smallest_stride_that_fits_is_taken():
    one = crop(shape=(11, 7))
    subject = [Subject(RATIO, {"before": one.scene}, {"after": one.product})]

    def size(take):
        return sum(len(c.text) for c in take.cubes.values())

    (whole,) = pixel_spectra(subject, 10**9)
    (fits,), (short,) = pixel_spectra(subject, size(whole)), pixel_spectra(subject, size(whole) - 1)
    assert (whole.stride, fits.stride, short.stride) == (1, 1, 2)
    (last,) = pixel_spectra(subject, 0)
    assert len(last.rows) == len(last.columns) == 1


# ---- pictures and tables -----------------------------------------------------------------


def read(plate):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(plate.src.split(",")[1]))))


def test_plates_share_a_stretch_and_the_error_is_the_rmse_over_bands():
    one = crop()
    bands = tuple(Band(wavelength_nm=w) for w in NM)
    made = {k: getattr(one, k) for k in ("scene", "product", "reference", "guide", "consistency")}
    found = {p.kind: p for p in crop_figures(**made, bands=bands, unit="K")}
    assert list(found) == ["before", "after", "reference", "guide", "error", "consistency"]
    same = {p.kind: p for p in crop_figures(**made | {"product": one.reference}, bands=bands, unit="K")}
    np.testing.assert_array_equal(read(same["after"]), read(same["reference"]))
    wrong = np.sqrt(np.nanmean((one.product.astype(float) - one.reference)[:, RATIO:] ** 2, axis=0))
    assert number(float(np.nanpercentile(wrong, 99)))[:3] == found["error"].legend.high[:3]
    assert found["error"].legend.high.endswith("K and more")
    assert read(found["before"]).shape == (8, 13, 4)
    assert read(found["before"])[0, 0, 3] == 0


def test_without_reference_and_guide_there_are_no_plates_of_them():
    one = replace(crop(), reference=None, guide=None, consistency=None)
    found = crop_figures(
        scene=one.scene, product=one.product, reference=None, guide=None, consistency=None, bands=(), unit=""
    )
    assert [p.kind for p in found] == ["before", "after"]


def test_errors_of_nothing_and_of_no_error():
    for values in (np.full((2, 3), np.nan), np.zeros((2, 3))):
        rgba, legend = errors(values, "")
        assert rgba.shape == (2, 3, 4)
        assert legend.low == "0"


def test_arrows_keep_place_direction_and_scale():
    on = overview(np.zeros((1, 30, 60), np.float32))
    drawn = arrows([(0.5, 0.25, 1.5, -2.0), (0.1, 0.9, 0.0, 0.0), (0.1, 0.1, np.nan, 1.0)], on)
    (x0, y0, x1, y1), still = drawn.lines
    assert (x0 / on.width, y0 / on.height) == (0.25, 0.5)
    per_px = drawn.scale_length / drawn.scale_px
    np.testing.assert_allclose([(y1 - y0) / per_px, (x1 - x0) / per_px], [1.5, -2.0])
    assert drawn.scale_px == 2
    assert still[:2] == still[2:]
    assert arrows([(0.1, 0.1, np.nan, 1.0)], on) is None


def test_tiles_that_reach_over_the_edge_keep_their_size():
    on = overview(np.zeros((1, 100, 130), np.float32))
    drawn = tile_map(np.ones((2, 3)), (64 / 100, 64 / 130), on, "K")
    np.testing.assert_allclose([drawn.height / on.height, drawn.width / on.width], [128 / 100, 192 / 130])


def test_the_best_is_the_highest_psnr_the_smallest_angle_and_never_nothing():
    table = score_table(exhibit().scores, "K")
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


def test_lineage_is_flat_and_cut_to_a_line():
    rows = dict(lineage_rows({"a": {"b": [1, 2], "c": {"d": "x"}}, "long": list(range(200)), "n": np.float32(0.5)}))
    assert rows["a.b"] == "[1, 2]"
    assert rows["a.c.d"] == "x"
    assert rows["n"] == "0.5"
    assert len(rows["long"]) == 161


# ---- the text of the page ----------------------------------------------------------------


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


def test_the_page_speaks_of_no_address():
    text = render(exhibit())
    assert not re.search(r"https?:|//[a-z]|url\((?!#)|@import", re.sub(r"[A-Za-z0-9+/=]{200,}", "", text))
    for _, attributes in Page(text).tags:
        for name in ("src", "href", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))


def test_names_are_text_wherever_they_stand():
    one = exhibit(
        title=EVIL,
        facts={EVIL: EVIL},
        bands=tuple(Band(EVIL, w) for w in NM),
        unit=EVIL,
        crops=(replace(crop(), name=EVIL, where=EVIL),),
        scores={EVIL: {EVIL: 1.0}},
        per_band={EVIL: {EVIL: np.ones(8)}},
        shown=EVIL,
        shift_scale=EVIL,
        lineage={EVIL: EVIL},
        notes=(EVIL,),
    )
    page = Page(render(one))
    assert len([t for t, _ in page.tags if t == "script"]) == len(page.scripts) == 2 + 3
    assert json.loads(page.scripts["data"])["bands"][0] == f"Band 1, {EVIL}, 450 nm"
    assert "".join(page.words).count(EVIL) >= 10


def test_without_scripts_there_are_pictures_and_tables():
    page = Page(render(exhibit()))
    plates = [a for t, a in page.tags if t == "img" and a.get("id", "").startswith("plate-")]
    assert len(plates) == 2 * 6
    assert all(a["alt"] for a in plates)
    words = "".join(page.words)
    for said in (
        "41.25",
        "0.1250",
        "\u22122.00",
        "The guide lay 2.5 px off.",
        "survey.psf",
        "Measured on 2 of 4 blocks.",
    ):
        assert said in words


@pytest.mark.parametrize("case", ["no crops", "one band", "400 bands", "all NaN", "no wavelengths", "bare"])
def test_odd_exhibits_render(case):
    odd = {
        "no crops": {"crops": ()},
        "one band": {"bands": (Band(),), "crops": (crop(count=1 + 2),), "per_band": {}, "relevance": None,
                     "detail": {"omission": np.zeros(1)}},
        "400 bands": {"bands": tuple(Band(wavelength_nm=400.0 + 5 * i) for i in range(400)), "crops": (crop(count=400),),
                      "per_band": {"m": {"psnr_db": np.full(400, np.inf)}}, "relevance": np.zeros(400, np.float32),
                      "detail": {"omission": np.zeros(400)}},
        "all NaN": {"overview": np.full((1, 3, 4), np.nan, np.float32), "consistency_tiles": np.full((1, 1), np.nan),
                    "crops": (replace(crop(), scene=crop().scene * np.nan, product=crop().product * np.nan),)},
        "no wavelengths": {"bands": (Band(),) * 8},
        "bare": {"crops": (), "scores": {}, "per_band": {}, "relevance": None, "shifts": (), "shift_scale": "", "facts": {},
                 "consistency_tiles": None, "lineage": {}, "notes": (), "unit": None, "shown": "", "detail": {}},
    }[case]  # fmt: skip
    if case == "one band":
        one = crop(count=3)
        odd["crops"] = (replace(one, scene=one.scene[:1], product=one.product[:1], reference=one.reference[:1]),)
    page = Page(render(exhibit(**odd)))
    data = json.loads(page.scripts["data"])
    assert data["axis"]["label"] == ("Band number" if case in ("one band", "no wavelengths") else "Wavelength (nm)")
    assert len(data["crops"]) == len([k for k in page.scripts if k.endswith("-before")])


def test_spectra_keep_the_budget_of_bytes_and_the_page_says_so():
    page = Page(render(exhibit(), budget_bytes=5000))
    data = json.loads(page.scripts["data"])
    assert sum(len(text) for name, text in page.scripts.items() if name.startswith("cube-")) <= 5000
    assert {c["stride"] for c in data["crops"]} != {1}


# ---- the file ----------------------------------------------------------------------------


def test_a_report_appears_whole(tmp_path):
    place = tmp_path / "r\u00e9port.html"
    write_report(exhibit(), place)
    assert place.read_text(encoding="utf-8") == render(exhibit())
    assert list(tmp_path.iterdir()) == [place]


def test_an_existing_report_is_replaced_only_when_asked(tmp_path):
    place = tmp_path / "report.html"
    place.write_text("mine")
    with pytest.raises(OutputError, match=r"report\.html exists\. Give --overwrite"):
        write_report(exhibit(crops=()), place)
    assert place.read_text() == "mine"
    write_report(exhibit(crops=()), place, overwrite=True)
    assert place.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_missing_folder_or_a_folder_is_refused_before_the_work(tmp_path):
    with pytest.raises(OutputError, match=r"nowhere of .*report\.html does not exist.*--report"):
        require_report(tmp_path / "nowhere" / "report.html")
    with pytest.raises(OutputError, match="is a folder"):
        require_report(tmp_path, overwrite=True)


def test_a_full_disk_leaves_the_old_report(tmp_path, monkeypatch):
    place = tmp_path / "report.html"
    place.write_text("mine")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match=r"No space left on device.*--report"):
        write_report(exhibit(crops=()), place, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert place.read_text() == "mine"


def test_the_worth_of_detail_stands_in_a_table_and_a_chart():
    text = render(exhibit())
    assert text.count('id="detail"') == 1
    assert "Improved" in text
    assert json.loads(Page(text).scripts["data"])["detail"]["Contradicted"] == [0.0625, *[None] * 7]
    assert 'id="detail"' not in render(exhibit(detail={}))


# ---- in a browser ------------------------------------------------------------------------

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium and chromedriver to look at the page with")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1200,1400"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    place = tmp_path_factory.mktemp("pages")
    write_report(exhibit(), place / "full.html")
    (place / "thin.html").write_text(render(exhibit(), budget_bytes=5000), encoding="utf-8")
    write_report(exhibit(title=EVIL, bands=tuple(Band(EVIL) for _ in NM), shown=EVIL), place / "evil.html")
    write_report(exhibit(crops=(), scores={}, per_band={}), place / "bare.html")
    columns = {f"a_score_of_{i}": 1.0 * i for i in range(20)}
    write_report(exhibit(scores={"a": columns, "b": dict.fromkeys(columns, 0.5)}), place / "wide.html")
    nothing = replace(crop(), scene=crop().scene * np.nan, product=crop().product * np.nan, reference=None, guide=None)
    write_report(exhibit(crops=(nothing,)), place / "nothing.html")
    return place


@pytest.fixture
def page(browser, pages):
    """Opens a page, waits for its first spectrum, and checks afterwards that nothing was complained of."""
    opened = []

    def open_page(name="full", ready=True):
        browser.get((pages / f"{name}.html").as_uri())
        opened.append(name)
        if ready:
            wait(browser, "return document.getElementById('spectrum').dataset.ready")
        return browser

    browser.get_log("browser")
    yield open_page
    assert browser.get_log("browser") == []


def wait(browser, script, expected=None):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20).until(
        lambda d: (found := d.execute_script(script)) and (expected is None or found == expected) and found
    )


def find(browser, css):
    return browser.find_element("css selector", css)


def pixels(browser, css="#stage"):
    """What is seen of an element, (y, x, 3)."""
    return np.asarray(Image.open(io.BytesIO(find(browser, css).screenshot_as_png)).convert("RGB")).astype(int)


def keys(browser, css, *pressed):
    from selenium.webdriver.common.action_chains import ActionChains

    browser.execute_script("document.querySelector(arguments[0]).focus()", css)
    ActionChains(browser).send_keys(*pressed).perform()


def click_pixel(browser, one, y, x):
    from selenium.webdriver.common.action_chains import ActionChains

    box, (height, width) = find(browser, "#picker"), one.product.shape[1:]
    dx = (x + 0.5) / width * box.size["width"] - box.size["width"] / 2
    dy = (y + 0.5) / height * box.size["height"] - box.size["height"] / 2
    ActionChains(browser).move_to_element_with_offset(box, round(dx), round(dy)).click().perform()


def spectra(browser):
    """What the table of the picked pixel says, shape (cube, band)."""
    cells = browser.execute_script(
        "return [...document.querySelectorAll('#spectrum-table tbody tr')].map(r => [...r.cells].slice(1).map(c => c.textContent))"
    )
    return np.array([[np.nan if c == "\u2013" else float(c) for c in row] for row in cells]).T


def at_pixel(one, y, x):
    return [one.scene[:, y // RATIO, x // RATIO], one.product[:, y, x], one.reference[:, y, x]]


def assert_spectra(browser, one, y, x, crop_index=0):
    wait(browser, "return document.getElementById('spectrum').dataset.ready", f"{crop_index} {y} {x}")
    for shown, cube, true in zip(
        spectra(browser), (one.scene, one.product, one.reference), at_pixel(one, y, x), strict=True
    ):
        span = np.array([np.nanmax(b) - np.nanmin(b) for b in cube.astype(float)])
        np.testing.assert_array_equal(np.isnan(shown), np.isnan(true))
        assert (np.nan_to_num(np.abs(shown - true)) <= span / 65000).all()


def test_the_swipe_by_keys_uncovers_before_or_after(page):
    browser = page()
    keys(browser, "#divider", "\ue010")  # End
    before = pixels(browser)
    assert find(browser, "#divider").get_attribute("aria-valuenow") == "100"
    keys(browser, "#divider", "\ue011")  # Home
    after = pixels(browser)
    keys(browser, "#divider", *["\ue014"] * 20)  # ArrowRight, 2 % each
    assert find(browser, "#divider").get_attribute("aria-valuenow") == "40"
    mixed, width = pixels(browser), before.shape[1]
    # Away from the divider's handle, the tags and the cursor.
    rows, left, right = slice(60, 100), slice(20, int(0.3 * width)), slice(int(0.5 * width), int(0.7 * width))
    np.testing.assert_array_equal(mixed[rows, left], before[rows, left])
    np.testing.assert_array_equal(mixed[rows, right], after[rows, right])
    assert np.abs(before - after)[rows, left].mean() > 2


def test_the_swipe_follows_the_mouse(page):
    from selenium.webdriver.common.action_chains import ActionChains

    browser = page()
    width = find(browser, "#stage").size["width"]
    was = pixels(browser)
    ActionChains(browser).click_and_hold(find(browser, "#divider")).move_by_offset(
        round(-0.3 * width), 0
    ).release().perform()
    assert abs(float(find(browser, "#divider").get_attribute("aria-valuenow")) - 20) <= 1
    shown = float(browser.execute_script("return getComputedStyle(right).clipPath.match(/([\\d.]+)%/)[1]"))
    assert abs(shown - 20) < 1
    moved = np.abs(pixels(browser) - was)[60:100]
    assert moved[:, int(0.25 * width) : int(0.4 * width)].mean() > 2
    assert moved[:, : int(0.15 * width)].max() == 0


def test_before_is_the_scene_pixel_by_pixel(page):
    browser, one = page(), crop("A")
    keys(browser, "#divider", "\ue010")
    seen = pixels(browser)
    made = crop_figures(
        scene=one.scene, product=one.product, reference=one.reference, guide=None, consistency=None,
        bands=exhibit().bands, unit="",
    )  # fmt: skip
    plate = read(next(p for p in made if p.kind == "before"))
    height, width = plate.shape[:2]
    for y, x in ((4, 2), (5, 4), (7, 9), (6, 11)):
        at = seen[round((y + 0.5) * seen.shape[0] / height), round((x + 0.5) * seen.shape[1] / width)]
        np.testing.assert_allclose(at, plate[y, x, :3], atol=2)


def test_nothing_shows_as_nothing_and_not_as_the_picture_below(page):
    browser, one = page(), crop("A")
    assert np.isnan(one.product[2, 4, 5])
    assert np.isfinite(one.scene[:, 1, 1]).all()
    keys(browser, "#divider", "\ue011")  # Home: only the product is seen
    seen = pixels(browser)
    (height, width), (tall, wide) = one.product.shape[1:], seen.shape[:2]
    at = seen[round(4.5 * tall / height), round(5.5 * wide / width)]
    # The page's own wash is a light grey.
    assert at.min() > 200
    assert np.ptp(at) < 10


def test_a_click_shows_the_spectra_of_that_pixel(page):
    browser, one = page(), crop("A")
    for y, x in ((20, 5), (7, 30), (4, 5), (23, 38), (1, 1)):
        click_pixel(browser, one, y, x)
        assert_spectra(browser, one, y, x)
        assert f"row {y}, column {x} of crop A" in find(browser, "#position").text


def test_keys_move_the_cursor_and_enter_picks(page):
    browser, one = page(), crop("A")
    click_pixel(browser, one, 20, 5)
    assert_spectra(browser, one, 20, 5)
    keys(browser, "#picker", "\ue013", "\ue013", "\ue014")  # up, up, right
    assert "row 18, column 6" in find(browser, "#cursor-where").text
    assert "row 20, column 5" in find(browser, "#position").text
    keys(browser, "#picker", "\ue007")
    assert_spectra(browser, one, 18, 6)


def test_crops_and_layers_are_chosen(page):
    browser, other = page(), crop("B", (5, 7), 1)
    was = pixels(browser)
    for kind in ("reference", "guide", "error", "consistency"):
        find(browser, f"#layer-choice input[value={kind}]").click()
        src = browser.execute_script(f"return right.src === document.getElementById('plate-0-{kind}').src")
        assert src
        now = pixels(browser)
        assert np.abs(now - was).mean() > 0.5
        was = now
        assert bool(find(browser, "#layer-legend").text) == (kind in ("error", "consistency"))
    find(browser, "#crop-choice input[value='1']").click()
    assert find(browser, "#layer-choice input:checked").get_attribute("value") == "consistency"
    click_pixel(browser, other, 12, 3)
    assert_spectra(browser, other, 12, 3, crop_index=1)


def test_layers_are_chosen_by_keys(page):
    browser = page()
    keys(browser, "#layer-choice input:checked", "\ue014")
    assert find(browser, "#right-tag").text == "Reference"


def test_lines_break_where_nothing_is_and_where_no_band_lies(page):
    browser, one = page(), crop("A")
    click_pixel(browser, one, 4, 5)  # band 3 of the product is NaN here
    assert_spectra(browser, one, 4, 5)
    paths = browser.execute_script(
        "return [...document.querySelectorAll('#spectrum [role=slider] .series')].map(p => p.getAttribute('d'))"
    )
    assert [d.count("M") for d in paths] == [2, 3, 2]
    labels = [t.text for t in browser.find_elements("css selector", "#spectrum svg text")]
    assert "Wavelength (nm)" in labels
    assert "Value (reflectance)" in labels


def test_a_chart_reads_its_values_out(page):
    browser = page()
    keys(browser, "#relevance [role=slider]", "\ue010")
    assert find(browser, "#relevance .readout").text == "Band 8, b7, 1650 nm: relevance 0.125"
    keys(browser, "#relevance [role=slider]", "\ue012")
    assert find(browser, "#relevance [role=slider]").get_attribute("aria-valuetext").endswith("relevance \u2013")


def test_the_histogram_counts_the_chosen_band(page):
    browser, one = page(), crop("A")
    browser.execute_script(
        "const s = arguments[0]; s.value = '6'; s.dispatchEvent(new Event('change'))", find(browser, "#histogram-band")
    )
    wait(browser, "return document.querySelector('#histogram-table caption')?.textContent.includes('Band 7')")
    rows = browser.execute_script(
        "return [...document.querySelectorAll('#histogram-table tbody tr')].map(r => [...r.cells].slice(1).map(c => +c.textContent))"
    )
    for row, cube in zip(rows, (one.scene, one.product, one.reference), strict=True):
        valid = cube[6][np.isfinite(cube[6])].astype(float)
        np.testing.assert_allclose(row, [valid.size, valid.mean(), valid.std(), valid.min(), valid.max()], rtol=6e-4)


def test_the_metric_is_chosen(page):
    browser = page()
    path = "return document.querySelector('#per-band [role=slider] .series').getAttribute('d')"
    was = browser.execute_script(path)
    browser.execute_script(
        "const s = arguments[0]; s.value = 'ssim'; s.dispatchEvent(new Event('change'))", find(browser, "#metric")
    )
    assert browser.execute_script(path) != was
    keys(browser, "#per-band [role=slider]", "\ue011")
    said = [float(v) for v in re.findall(r"(?:ours|theirs) ([\d.]+)", find(browser, "#per-band .readout").text)]
    np.testing.assert_allclose(said, [exhibit().per_band[m]["ssim"][0] for m in ("ours", "theirs")], rtol=1e-3)


def test_a_thinned_page_shows_the_nearest_recorded_pixel(page):
    browser, one = page("thin"), crop("A")
    stride, rows, columns = browser.execute_script(
        "const c = JSON.parse(document.getElementById('data').textContent).crops[0]; return [c.stride, c.rows, c.columns]"
    )
    assert f"every {stride} pixels" in find(browser, "#stride").text
    click_pixel(browser, one, 13, 29)
    y, x = min(rows, key=lambda r: abs(r - 13)), min(columns, key=lambda c: abs(c - 29))
    assert (y, x) != (13, 29)
    assert_spectra(browser, one, y, x)


def test_the_json_is_copied_or_selected(page):
    browser = page()
    browser.execute_script("copy.closest('details').open = true; copy.click()")
    wait(browser, "return copied.textContent")
    assert json.loads(find(browser, "#lineage-json").text) == {"software": "dualsr-geo", "survey": {"psf": [1.5, 1.25]}}


@pytest.mark.parametrize("name", ["evil", "bare", "nothing"])
def test_odd_pages_run_without_complaint(page, name):
    browser = page(name, ready=name != "bare")
    assert find(browser, "h1").text == (EVIL if name == "evil" else "A scene")
    assert len(browser.find_elements("css selector", "#relevance .series")) >= 1


@pytest.mark.parametrize("name", ["full", "wide", "evil", "bare"])
def test_a_phone_need_not_scroll_sideways(page, name):
    browser = page(name, ready=name != "bare")
    size = {"width": 320, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert browser.execute_script("return [innerWidth, document.documentElement.scrollWidth]") == [320, 320]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_print_has_the_pictures_side_by_side_and_no_controls(page):
    browser = page()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        seen = {
            css: [e.is_displayed() for e in browser.find_elements("css selector", css)]
            for css in ("#stage", ".controls", "#copy", "#plates img[id]", ".drawing", "#scores", "#spectrum svg")
        }
        before, after = (find(browser, f"#plate-0-{k}").rect for k in ("before", "after"))
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert [any(seen[c]) for c in ("#stage", ".controls", "#copy")] == [False] * 3
    assert all(all(v) and v for c, v in seen.items() if c not in ("#stage", ".controls", "#copy"))
    assert before["y"] == after["y"]
    assert before["x"] + before["width"] <= after["x"]
    pdf = base64.b64decode(browser.print_page())
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Subtype\s*/Image", pdf)) >= 12


def test_the_page_loads_nothing(page):
    browser = page()
    assert (
        browser.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:'))"
        )
        == []
    )


def test_without_javascript_the_pictures_are_seen(page, browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page(ready=False)
        assert find(browser, "#plate-0-before").is_displayed()
        assert find(browser, "#plate-1-reference").is_displayed()
        assert not find(browser, "#stage").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
