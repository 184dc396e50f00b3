"""Figures of a report, against the arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from report_cases import NM, RATIO, crop, read_image

from dualsr_geo.raster.bands import Band
from dualsr_geo.report.figures import arrows, crop_figures, error_map, overview, tile_map
from dualsr_geo.report.tables import number


def test_images_share_a_stretch_and_the_error_is_the_rmse_over_bands():
    one = crop()
    bands = tuple(Band(wavelength_nm=w) for w in NM)
    figures = {f.kind: f for f in crop_figures(one, bands, "K")}
    assert list(figures) == ["before", "after", "reference", "guide", "error", "consistency"]
    same = {f.kind: f for f in crop_figures(replace(one, product=one.reference), bands, "K")}
    np.testing.assert_array_equal(read_image(same["after"]), read_image(same["reference"]))
    error = np.sqrt(np.nanmean((one.product.astype(float) - one.reference)[:, RATIO:] ** 2, axis=0))
    assert number(float(np.nanpercentile(error, 99)))[:3] == figures["error"].legend.high[:3]
    assert figures["error"].legend.high.endswith("K and more")
    assert read_image(figures["before"]).shape == (8, 13, 4)
    assert read_image(figures["before"])[0, 0, 3] == 0


def test_without_reference_and_guide_there_are_no_figures_of_them():
    one = replace(crop(), reference=None, guide=None, consistency=None)
    assert [f.kind for f in crop_figures(one, (), "")] == ["before", "after"]


def test_maps_of_nothing_and_of_no_error():
    for values in (np.full((2, 3), np.nan), np.zeros((2, 3))):
        rgba, legend = error_map(values, "")
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
