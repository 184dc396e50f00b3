"""Several guides that cover parts: what one lacks is predicted from the others, without seams and in tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dualsr_geo.fusion.guide_completion import GuideCompletion, fit_completion, placing_part
from dualsr_geo.raster.windows import Window
from dualsr_geo.serialization import from_json, to_json

RATIO, SIDE = 4, 96
PARTS = (2, 1)
Array = NDArray[Any]


def whole_guides() -> Array:
    """Return guides of two bands and of one band, which is a linear function of the two."""
    noise = np.random.default_rng(0).standard_normal((2, SIDE, SIDE))
    two = 10 + gaussian_filter(noise, (0, 2, 2)) * 20
    return np.concatenate([two, 3 + two[:1] - 0.5 * two[1:]]).astype(np.float32)


def partial_guides() -> Array:
    """Return the guides, the first one of the left two thirds, the second one of the right two thirds."""
    guides = whole_guides()
    guides[:2, :, 64:] = np.nan
    guides[2:, :, :32] = np.nan
    return guides


def around(guide: Array, window: Window, margin: int) -> Array:
    """Return a window with a margin, NaN beyond the grid."""
    padded = np.pad(guide, ((0, 0), (margin, margin), (margin, margin)), constant_values=np.nan)
    return padded[:, window.y0 : window.y1 + 2 * margin, window.x0 : window.x1 + 2 * margin]


def completed(completion: GuideCompletion, guide: Array, window: Window) -> Array:
    m = completion.margin_px
    return completion.completed(around(guide, window, m), window.grown(m), (SIDE, SIDE))


def test_a_linear_function_of_another_guide_is_predicted() -> None:
    completion = fit_completion([partial_guides()], PARTS, RATIO)
    best = completion.fits[0]
    assert (best.target, best.source) == (1, 0)
    assert best.explained == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(best.slopes, [[1, -0.5]], atol=1e-2)
    out = completed(completion, partial_guides(), Window(0, SIDE, 0, SIDE))
    np.testing.assert_allclose(out[2], whole_guides()[2], atol=0.05)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(completion.coverage(partial_guides()), [2 / 3, 2 / 3])


def test_own_values_are_kept_inside_and_fade_at_the_edge() -> None:
    guide = partial_guides()
    completion = fit_completion([guide], PARTS, RATIO)
    out = completed(completion, guide, Window(0, SIDE, 0, SIDE))
    inside = np.s_[:2, :, : 64 - 3 * RATIO]
    np.testing.assert_array_equal(out[inside], guide[inside])
    # A band of constant detail that the other guide does not have would show a step at the edge without a ramp.
    stepped = guide.copy()
    stepped[:2] += 5
    steps = np.abs(np.diff(completed(completion, stepped, Window(0, SIDE, 0, SIDE))[:2].mean((0, 1))))
    assert steps[55:72].max() < 2.5


def test_tiles_are_parts_of_the_whole() -> None:
    guide = partial_guides()
    guide[:, 40:50, 20:30] = np.nan
    completion = fit_completion([guide], PARTS, RATIO)
    whole = completed(completion, guide, Window(0, SIDE, 0, SIDE))
    for y in range(0, SIDE, 24):
        for x in range(0, SIDE, 24):
            tile = completed(completion, guide, Window(y, y + 24, x, x + 24))
            np.testing.assert_allclose(tile, whole[:, y : y + 24, x : x + 24], atol=1e-4)
    assert np.isnan(whole[:, 40:50, 20:30]).all()


def test_a_complete_guide_is_unchanged() -> None:
    guide = whole_guides()
    completion = fit_completion([partial_guides()], PARTS, RATIO)
    np.testing.assert_array_equal(completed(completion, guide, Window(8, 40, 8, 40)), guide[:, 8:40, 8:40])


def test_guides_without_a_common_pixel_have_their_mean_elsewhere() -> None:
    guide = whole_guides()
    guide[:2, :, 48:], guide[2:, :, :48] = np.nan, np.nan
    completion = fit_completion([guide], PARTS, RATIO)
    assert completion.fits == ()
    out = completed(completion, guide, Window(0, SIDE, 0, SIDE))
    np.testing.assert_allclose(out[2, :, :48], np.nanmean(guide[2]), rtol=1e-5)


def test_it_is_json() -> None:
    completion = fit_completion([partial_guides()], PARTS, RATIO)
    again = from_json(GuideCompletion, to_json(completion))
    window = Window(0, SIDE, 0, SIDE)
    np.testing.assert_array_equal(
        completed(again, partial_guides(), window), completed(completion, partial_guides(), window)
    )


def test_guides_are_placed_by_measured_and_sharp_bands() -> None:
    assert placing_part([whole_guides()], PARTS, (0, 1)) == (0, 1, 2)
    assert placing_part([whole_guides()], PARTS, (1,)) == (2,)
    partial = partial_guides()
    partial[:2, :, 40:] = np.nan
    assert placing_part([partial], PARTS, (0, 1)) == (2,)
    assert placing_part([partial], PARTS, (0,)) == (0, 1)
