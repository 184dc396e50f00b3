"""Pictures of cubes, against NumPy, Pillow and matplotlib."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from dualsr_geo.raster.bands import Band
from dualsr_geo.report.quicklook import composite, heat, image, quicklook, stretch, to_png, visible_bands


def waves(*nm):
    return [Band(wavelength_nm=w) for w in nm]


@pytest.mark.parametrize(
    ("bands", "count", "chosen"),
    [
        (waves(443, 490, 560, 665, 705, 842), 6, (3, 2, 0)),  # Sentinel-2
        (waves(*range(400, 1001, 10)), 61, (24, 15, 6)),
        (waves(*range(1000, 2400, 100)), 14, (11, 7, 2)),
        ([Band(color=c) for c in ("blue", "green", "red", "undefined")], 4, (2, 1, 0)),
        ([Band(color=c) for c in ("undefined", "red", "red", "green", "blue")], 5, (1, 3, 4)),
        ([Band()] * 3, 3, (0, 1, 2)),
        ([], 7, (5, 3, 1)),
        ([Band()] * 2, 2, (0,)),
        ([Band()], 1, (0,)),
    ],
)
def test_visible_bands(bands, count, chosen):
    assert visible_bands(bands, count) == chosen


def test_bad_bands_are_not_shown():
    bands = waves(460, 550, 640, 650)
    bands[2] = Band(wavelength_nm=640, good=False)
    assert visible_bands(bands, 4) == (3, 1, 0)
    assert not {0, 8} & set(visible_bands([Band(good=i not in (0, 8)) for i in range(9)], 9))


@given(st.lists(st.none() | st.floats(300, 2500), min_size=1, max_size=40))
def test_visible_bands_are_bands(nm):
    chosen = visible_bands(waves(*nm), len(nm))
    assert len(set(chosen)) == len(chosen) == (3 if len(nm) > 2 else 1)
    assert all(0 <= c < len(nm) for c in chosen)


def test_stretch_is_shared_by_all_cubes():
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 7, 5), np.float32), rng.random((3, 14, 10), np.float32) * 4
    a[1, :3] = np.nan
    limits = stretch(a, b)
    for k in range(3):
        pooled = np.concatenate([a[k][np.isfinite(a[k])], b[k].ravel()])
        np.testing.assert_allclose(limits[k], np.percentile(pooled, (2, 98)), rtol=1e-6)


@given(arrays(np.float32, (2, 3, 5), elements=st.floats(-1e6, 1e6, width=32) | st.just(np.nan)))
def test_stretch_always_has_a_span(cube):
    limits = stretch(cube)
    assert np.isfinite(limits).all()
    assert (limits[:, 0] < limits[:, 1]).all()


def test_composite_is_linear_between_the_limits_and_clear_where_nothing_is():
    cube = np.array([[[-1.0, 0.0, 1.0, 2.0, 9.0, np.nan]]], np.float32)
    rgba = composite(cube, np.array([[0.0, 2.0]]))
    assert rgba.shape == (1, 6, 4)
    np.testing.assert_array_equal(rgba[0, :, 0], [0, 0, 128, 255, 255, 0])
    np.testing.assert_array_equal(rgba[0, :, 3], [255] * 5 + [0])
    np.testing.assert_array_equal(rgba[..., 0], rgba[..., 2])


def test_composite_keeps_the_order_of_channels():
    cube = np.stack([np.full((2, 3), v, np.float32) for v in (1.0, 0.5, 0.0)])
    cube[1, 0, 0] = np.nan
    rgba = composite(cube, np.array([[0.0, 1.0]] * 3))
    assert rgba[1, 1].tolist() == [255, 128, 0, 255]
    assert rgba[0, 0, 3] == 0


def test_heat_is_viridis():
    colormaps = pytest.importorskip("matplotlib").colormaps
    values = np.linspace(0, 1, 256)
    ours = heat(values[None] * 8 - 3, -3.0, 5.0)[0, :, :3].astype(int)
    theirs = colormaps["viridis"](values)[:, :3] * 255
    assert np.abs(ours - theirs).max() < 6


def test_heat_is_even_in_grey_and_clear_where_nothing_is():
    rgba = heat(np.append(np.linspace(0, 1, 50), np.nan)[None], 0.0, 1.0)[0]
    grey = rgba[:-1, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(grey) > 0).all()
    assert rgba[-1, 3] == 0


def test_png_is_read_back_by_pillow():
    rgba = np.random.default_rng(1).integers(0, 256, (7, 11, 4), np.uint8)
    with Image.open(io.BytesIO(to_png(rgba))) as read:
        np.testing.assert_array_equal(np.asarray(read), rgba)


def test_image_averages_down():
    rgba = np.zeros((4, 8, 4), np.uint8)
    rgba[..., 3] = 255
    rgba[:, ::2, 0] = 200
    small = image(rgba, 4)
    assert small.size == (4, 2)
    assert set(np.asarray(small)[..., 0].ravel()) == {100}
    assert image(rgba, 8).size == (8, 4)


def test_quicklook_shows_three_bands_as_they_are_and_chooses_of_more():
    rng = np.random.default_rng(2)
    cube = rng.random((6, 31, 17), np.float32)
    bands = waves(443, 490, 560, 665, 705, 842)
    full = np.asarray(quicklook(cube, bands))
    chosen = cube[[3, 2, 0]]
    np.testing.assert_array_equal(full, composite(chosen, stretch(chosen)))
    np.testing.assert_array_equal(np.asarray(quicklook(chosen[::-1], bands[:3])), full[..., [2, 1, 0, 3]])
    fixed = np.asarray(quicklook(chosen, bands[:3], np.array([[0.0, 2.0]] * 3)))
    assert fixed[..., :3].max() <= 128
    assert max(quicklook(cube, bands, longest=8).size) == 8
