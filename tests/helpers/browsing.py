"""What tests of the page do in a browser."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from report_cases import RATIO


def wait(browser, script, expected=None):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20).until(
        lambda d: (result := d.execute_script(script)) and (expected is None or result == expected) and result
    )


def find(browser, css):
    return browser.find_element("css selector", css)


def pixels(browser, css="#stage"):
    """Return the screenshot of an element, (y, x, 3)."""
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
    """Return the values in the table of the picked pixel, shape (cube, band)."""
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
