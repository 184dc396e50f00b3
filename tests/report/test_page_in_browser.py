"""What a reader sees of the page in a browser, against the arrays."""

from __future__ import annotations

import base64
import csv
import io
import json
import re

import numpy as np
import pytest
from browsing import assert_spectra, click_pixel, find, keys, pixels, wait
from report_cases import EVIL, crop, read_image, report_data

from dualsr_geo.report.figures import crop_figures


def test_the_divider_by_keys_uncovers_before_or_after(page):
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


def test_the_divider_follows_the_mouse(page):
    from selenium.webdriver.common.action_chains import ActionChains

    browser = page()
    width = find(browser, "#stage").size["width"]
    before = pixels(browser)
    ActionChains(browser).click_and_hold(find(browser, "#divider")).move_by_offset(
        round(-0.3 * width), 0
    ).release().perform()
    assert abs(float(find(browser, "#divider").get_attribute("aria-valuenow")) - 20) <= 1
    shown = float(browser.execute_script("return getComputedStyle(right).clipPath.match(/([\\d.]+)%/)[1]"))
    assert abs(shown - 20) < 1
    moved = np.abs(pixels(browser) - before)[60:100]
    assert moved[:, int(0.25 * width) : int(0.4 * width)].mean() > 2
    assert moved[:, : int(0.15 * width)].max() == 0


def test_before_is_the_scene_pixel_by_pixel(page):
    browser, one = page(), crop("A")
    keys(browser, "#divider", "\ue010")
    shown = pixels(browser)
    before = read_image(next(f for f in crop_figures(one, report_data().bands, "") if f.kind == "before"))
    height, width = before.shape[:2]
    for y, x in ((4, 2), (5, 4), (7, 9), (6, 11)):
        at = shown[round((y + 0.5) * shown.shape[0] / height), round((x + 0.5) * shown.shape[1] / width)]
        np.testing.assert_allclose(at, before[y, x, :3], atol=2)


def test_missing_pixels_do_not_show_the_image_below(page):
    browser, one = page(), crop("A")
    assert np.isnan(one.product[2, 4, 5])
    assert np.isfinite(one.scene[:, 1, 1]).all()
    keys(browser, "#divider", "\ue011")  # Home: only the product is shown
    shown = pixels(browser)
    (height, width), (tall, wide) = one.product.shape[1:], shown.shape[:2]
    at = shown[round(4.5 * tall / height), round(5.5 * wide / width)]
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
    before = pixels(browser)
    for kind in ("reference", "guide", "error", "consistency"):
        find(browser, f"#layer-choice input[value={kind}]").click()
        src = browser.execute_script(f"return right.src === document.getElementById('figure-0-{kind}').src")
        assert src
        after = pixels(browser)
        assert np.abs(after - before).mean() > 0.5
        before = after
        assert bool(find(browser, "#layer-legend").text) == (kind in ("error", "consistency"))
    find(browser, "#crop-choice input[value='1']").click()
    assert find(browser, "#layer-choice input:checked").get_attribute("value") == "consistency"
    click_pixel(browser, other, 12, 3)
    assert_spectra(browser, other, 12, 3, crop_index=1)


def test_layers_are_chosen_by_keys(page):
    browser = page()
    keys(browser, "#layer-choice input:checked", "\ue014")
    assert find(browser, "#right-tag").text == "Reference"


def test_lines_break_at_missing_values_and_between_distant_bands(page):
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
    before = browser.execute_script(path)
    browser.execute_script(
        "const s = arguments[0]; s.value = 'ssim'; s.dispatchEvent(new Event('change'))", find(browser, "#metric")
    )
    assert browser.execute_script(path) != before
    keys(browser, "#per-band [role=slider]", "\ue011")
    values = [float(v) for v in re.findall(r"(?:ours|theirs) ([\d.]+)", find(browser, "#per-band .readout").text)]
    np.testing.assert_allclose(values, [report_data().per_band[m]["ssim"][0] for m in ("ours", "theirs")], rtol=1e-3)


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
    assert json.loads(find(browser, "#provenance-json").text) == {
        "software": "dualsr-geo",
        "survey": {"psf": [1.5, 1.25]},
    }


@pytest.mark.parametrize("name", ["full", "evil"])
def test_a_table_is_saved_as_csv_without_formulas(page, name):
    browser = page(name)
    text = browser.execute_async_script(
        """const done = arguments[0];
        HTMLAnchorElement.prototype.click = () => {};
        const create = URL.createObjectURL.bind(URL);
        URL.createObjectURL = (blob) => { blob.text().then(done); return create(blob); };
        const cell = document.querySelector("#scores tbody th");
        cell.textContent = '=1+1, "x"';
        cell.closest(".scroll").nextElementSibling.click();"""
    )
    rows = list(csv.reader(io.StringIO(text)))
    table = find(browser, "#scores")
    assert len(rows) == len(table.find_elements("css selector", "tr"))
    assert rows[1][0] == '\'=1+1, "x"'
    cells = table.find_elements("css selector", "tbody tr:first-child td")
    assert rows[1][1:] == [c.text for c in cells]


def test_the_parameters_are_folded(page):
    browser = page()
    assert not find(browser, "dl.provenance").is_displayed()


@pytest.mark.parametrize("name", ["evil", "bare", "nothing"])
def test_odd_pages_run_without_errors(page, name):
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


def test_print_has_the_figures_side_by_side_and_no_controls(page):
    browser = page()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        displayed = {
            css: [e.is_displayed() for e in browser.find_elements("css selector", css)]
            for css in ("#stage", ".controls", "#copy", "#figures img[id]", ".drawing", "#scores", "#spectrum svg")
        }
        before, after = (find(browser, f"#figure-0-{k}").rect for k in ("before", "after"))
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert [any(displayed[c]) for c in ("#stage", ".controls", "#copy")] == [False] * 3
    assert all(all(v) and v for c, v in displayed.items() if c not in ("#stage", ".controls", "#copy"))
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


def test_without_javascript_the_figures_are_shown(page, browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page(ready=False)
        assert find(browser, "#figure-0-before").is_displayed()
        assert find(browser, "#figure-1-reference").is_displayed()
        assert not find(browser, "#stage").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
