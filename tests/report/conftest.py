"""A browser that opens reports; tests with it skip where chromium or chromedriver is missing."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from browsing import wait
from report_cases import EVIL, NM, crop, report_data

from dualsr_geo.raster.bands import Band
from dualsr_geo.report.page import render, write_report

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
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
    folder = tmp_path_factory.mktemp("pages")
    write_report(report_data(), folder / "full.html")
    (folder / "thin.html").write_text(render(report_data(), budget_bytes=5000), encoding="utf-8")
    write_report(report_data(title=EVIL, bands=tuple(Band(EVIL) for _ in NM), model=EVIL), folder / "evil.html")
    write_report(report_data(crops=(), scores={}, per_band={}), folder / "bare.html")
    columns = {f"a_score_of_{i}": 1.0 * i for i in range(20)}
    write_report(report_data(scores={"a": columns, "b": dict.fromkeys(columns, 0.5)}), folder / "wide.html")
    nothing = replace(crop(), scene=crop().scene * np.nan, product=crop().product * np.nan, reference=None, guide=None)
    write_report(report_data(crops=(nothing,)), folder / "nothing.html")
    return folder


@pytest.fixture
def page(browser, pages):
    """Opens a page, waits for its first spectrum, and checks afterwards that the browser logged nothing."""
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
