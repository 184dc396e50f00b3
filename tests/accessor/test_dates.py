"""Stacks of dates: guides are paired by label."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dualsr_geo import synthetic
from dualsr_geo.accessor.dates import guides_by_date
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import InputError

PSF = Psf.from_mtf(2)


def stack(array, dates, factors=None):
    parts = [array * f for f in factors or [1.0] * len(dates)]
    return xr.concat(parts, dim=pd.Index(pd.to_datetime(dates), name="time"))


@pytest.fixture(scope="module")
def made():
    sample = synthetic.make((16, 20), ratio=2, bands=3, guide="pan")
    return synthetic.as_dataarray(sample), synthetic.as_dataarray(sample, "guide")


def test_guides_of_another_order_are_paired_by_date(made):
    scene, pan = made
    other = pan**1.5
    days = ["2024-01-01", "2024-02-01", "2024-03-01"]
    scenes = stack(scene, days[:2])
    # In another order, and with a date more than the scene.
    guides = xr.concat([other, pan, pan], dim=pd.Index(pd.to_datetime([days[1], days[2], days[0]]), name="time"))
    sharp = scenes.dualsr.upscale(rgb=guides, psf=PSF, changes="off").compute()
    for day, guide in ((0, pan), (1, other)):
        one = scenes.isel(time=day).dualsr.upscale(rgb=guide, psf=PSF, changes="off")
        np.testing.assert_array_equal(sharp[day], one)
    assert [text.split(":")[0] for text in sharp.attrs["dualsr_shift"]] == days[:2]
    assert all(text.startswith("2024-0") for text in sharp.attrs["dualsr_consistency"])


@pytest.mark.parametrize("keep", [True, False])
def test_one_guide_serves_all_dates(keep, made):
    scene, pan = made
    guide = stack(pan, ["2023-06-01"]) if keep else pan
    pairs = guides_by_date(stack(scene, ["2024-01-01", "2024-02-01"]), [guide])
    for images in pairs:
        np.testing.assert_array_equal(images[0], pan)


@pytest.mark.parametrize(
    ("days", "guide_days", "message"),
    [
        (["2024-01-01", "2024-02-01"], ["2024-01-01", "2024-02-02"], "no image of the guide for 2024-02-01"),
        (["2024-01-01"], ["2024-01-02", "2024-01-03"], "no image of the guide for 2024-01-01"),
        (["2024-01-01", "2024-01-02"], ["2024-01-01"] * 2 + ["2024-01-02"], "several images of the guide"),
        (["2024-01-01T10:30"] * 2, ["2024-01-01"] * 2, "for 2024-01-01T10:30:00"),
    ],
)
def test_dates_that_do_not_pair_are_an_error_with_both_lists(days, guide_days, message, made):
    scene, pan = made
    with pytest.raises(InputError, match=message) as caught:
        stack(scene, days).dualsr.upscale(rgb=stack(pan, guide_days))
    assert f"of the scene: {', '.join(d + ':00' * ('T' in d) for d in days)}" in str(caught.value)
    assert f"of the guide: {', '.join(guide_days)}" in str(caught.value)


def test_without_labels_the_order_pairs(made):
    scene, pan = made
    scenes, guides = (xr.concat([array, 2 * array], dim="time") for array in (scene, pan))
    pairs = guides_by_date(scenes, [guides])
    np.testing.assert_array_equal(pairs[1][0], 2 * pan)
    with pytest.raises(InputError, match=r"The guide has 3 dates and the scene 2, and they have no labels"):
        guides_by_date(scenes, [xr.concat([pan] * 3, dim="time")])


def test_a_scene_of_one_date_takes_its_guide_from_a_stack(made):
    scene, pan = made
    days = ["2024-01-01", "2024-02-01"]
    pairs = guides_by_date(stack(scene, days).isel(time=1), [stack(pan, days, [1.0, 3.0])])
    np.testing.assert_array_equal(pairs[0][0], 3 * pan)
