"""The filter of the guide's noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.fusion.guide_noise.filter import REACH_PX, GuideFilter
from dualsr_geo.fusion.guide_noise.wavelet import details, noise_variances


def directions(bands, seed=0):
    made = np.linalg.qr(np.random.default_rng(seed).standard_normal((bands, bands)))[0]
    return made.astype(np.float32)


def filter_of(bands, level):
    return GuideFilter(np.full(bands, 0.4, np.float32), directions(bands), np.full(bands, level, np.float32))


def noise(shape, level, seed=1):
    return torch.from_numpy((0.4 + level * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32))


@given(bands=st.integers(1, 5), height=st.integers(60, 150), width=st.integers(60, 150), data=st.data())
@settings(max_examples=12, deadline=None)
def test_a_tile_with_its_context_has_the_values_of_the_whole(bands, height, width, data):
    guide = noise((bands, height, width), 0.02)
    guide[:, height // 3 :] += 0.3
    guide[:, 10:19, 30:33] = torch.nan
    guide[0, 40:44, 20:60] = torch.nan
    whole = filter_of(bands, 0.02)(guide)
    y, x = (data.draw(st.integers(0, n - 20)) for n in (height, width))
    y0, x0 = max(y - REACH_PX, 0), max(x - REACH_PX, 0)
    tile = filter_of(bands, 0.02)(guide[:, y0 : y + 20 + REACH_PX, x0 : x + 20 + REACH_PX])
    kept = tile[:, y - y0 : y - y0 + 20, x - x0 : x - x0 + 20]
    torch.testing.assert_close(kept, whole[:, y : y + 20, x : x + 20], rtol=0, atol=2e-6, equal_nan=True)


def test_parts_are_not_visible():
    guide = noise((2, 300, 280), 0.02)
    whole = filter_of(2, 0.02)(guide)
    part = filter_of(2, 0.02)(guide[:, 200:, 200:])
    torch.testing.assert_close(part[:, REACH_PX:, REACH_PX:], whole[:, 228:, 228:], rtol=0, atol=2e-6)


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5, 10])
def test_noise_of_flat_places_is_reduced_to_a_third(bands):
    guide = noise((bands, 141, 187), 0.02)
    out = filter_of(bands, 0.02)(guide)
    assert float((out - 0.4).std()) < 0.02 / 3


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_an_edge_is_kept(bands):
    clean = torch.full((bands, 96, 101), 0.3)
    clean[:, :, 50:] += 0.3
    guide = clean + noise(clean.shape, 0.01) - 0.4
    out = filter_of(bands, 0.01)(guide)
    step = out[:, :, 50].mean(1) - out[:, :, 49].mean(1)
    torch.testing.assert_close(step, torch.full((bands,), 0.3), rtol=0.03, atol=0)
    assert float((out - clean).pow(2).mean()) < 0.5 * 0.01**2


def test_a_weak_direction_is_kept_where_it_follows_a_strong_one():
    axes = GuideFilter(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), np.full(2, 0.01, np.float32))
    texture = noise((1, 120, 120), 0.3, seed=5) - 0.4
    clean = torch.cat([texture, 0.04 * texture])
    guide = clean + noise(clean.shape, 0.01) - 0.4
    out = axes(guide)
    single = GuideFilter(np.zeros(1, np.float32), np.eye(1, dtype=np.float32), np.full(1, 0.01, np.float32))
    errors = [float((e - clean[1]).pow(2).mean()) for e in (out[1], single(guide[1:])[0], guide[1])]
    assert errors[0] < 0.2 * errors[1] < 0.2 * errors[2]


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_identity_at_level_zero(bands):
    guide = noise((bands, 61, 47), 0.1)
    assert torch.equal(filter_of(bands, 0.0)(guide), guide)


def test_a_direction_of_level_zero_is_left_as_it_is():
    guide = noise((3, 61, 47), 0.1)
    level = np.array([0, 0.1, 0.1], np.float32)
    out = GuideFilter(np.zeros(3, np.float32), directions(3), level)(guide)
    first = torch.from_numpy(directions(3)[:, 0])
    torch.testing.assert_close(torch.einsum("b,byx->yx", first, out - guide), torch.zeros(61, 47), atol=1e-6, rtol=0)
    assert float((out - guide).std()) > 0.05


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (7, 5), (23, 64)])
def test_small_guides(shape):
    out = filter_of(3, 0.02)(noise((3, *shape), 0.02))
    assert out.shape == (3, *shape)
    assert bool(torch.isfinite(out).all())


def test_missing_pixels_stay_missing_and_spoil_nothing():
    guide = noise((3, 90, 77), 0.02)
    holed = guide.clone()
    holed[:, 20:50, 30:41] = torch.nan
    holed[1, 60:70, 60:] = torch.nan
    out, whole = filter_of(3, 0.02)(holed), filter_of(3, 0.02)(guide)
    assert torch.equal(torch.isfinite(out), torch.isfinite(holed))
    # The bands that a partly missing pixel has are as they were.
    assert torch.equal(out[0, 60:70, 60:], holed[0, 60:70, 60:])
    near = torch.zeros(90, 77, dtype=torch.bool)
    near[19:51, 29:42] = True
    near &= torch.isfinite(holed[0])
    assert float((out - 0.4)[:, near].std()) < 0.02 / 2
    assert float((whole - 0.4)[:, near].std()) < 0.02 / 2
    assert not bool(torch.isfinite(filter_of(3, 0.02)(torch.full((3, 30, 30), torch.nan))).any())


def test_large_values_are_filtered_like_small_ones():
    guide = noise((3, 80, 80), 0.02)
    large = GuideFilter(np.full(3, 20400, np.float32), directions(3), np.full(3, 20, np.float32))
    torch.testing.assert_close(
        (large(guide * 1000 + 20000) - 20000) / 1000, filter_of(3, 0.02)(guide), rtol=0, atol=2e-5
    )


def test_details_add_up():
    planes = noise((2, 61, 70), 1.0)
    fine, coarse = details(planes)
    total = coarse.clone()
    for d in fine:
        margin = (d.shape[1] - coarse.shape[1]) // 2
        total += d[:, margin : margin + coarse.shape[1], margin : margin + coarse.shape[2]]
    torch.testing.assert_close(total, planes[:, 7:-7, 7:-7])
    white = noise((1, 500, 500), 1.0)
    for d, variance in zip(details(white)[0], noise_variances(), strict=True):
        assert float(d.var()) == pytest.approx(variance, rel=0.08)


def test_an_edge_far_above_the_noise_overflows_nothing():
    """A guide that is saturated over half of its pixels has a calm that is next to nothing, and edges next to it."""
    rng = np.random.default_rng(0)
    guide = np.zeros((3, 70, 83), np.float32)
    guide[:, :, 40:] = np.array([1.0, 0.9, 0.7])[:, None, None]
    guide[:, :30, 40:] += 0.2 * rng.standard_normal((30, 43)).astype(np.float32)
    levels = np.full(3, 1e-6, np.float32)
    clean = GuideFilter(np.zeros(3, np.float32), np.eye(3, dtype=np.float32), levels)(torch.from_numpy(guide))
    assert torch.isfinite(clean).all()
    assert np.abs(clean.numpy() - guide).max() < 1e-4
