"""Holes are filled from their neighbours; valid values stay as they are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_windows import noise

from dualsr_geo.fusion.hole_filling import FILL_REACH, fill_holes

NAN = float("nan")


@given(st.integers(1, 3), st.integers(2, 20), st.integers(2, 20), st.floats(-50, 50, width=32), st.integers(0, 99))
def test_constants_are_filled_exactly(bands, height, width, value, seed):
    cube = torch.full((bands, height, width), value)
    cube[noise(bands, height, width, seed=seed) < 0.6] = NAN
    filled, _ = fill_holes(cube, torch.full((bands,), value))
    torch.testing.assert_close(filled, torch.full_like(cube, value), rtol=1e-5, atol=1e-5)


def test_what_is_valid_stays_to_the_bit():
    cube = noise(3, 17, 12)
    hole = noise(3, 17, 12, seed=1) < 0.3
    filled, weight = fill_holes(torch.where(hole, NAN, cube), cube.mean((1, 2)))
    assert bool((filled == cube)[~hole].all())
    torch.testing.assert_close(weight, (~hole).float().mean(0))


def test_a_cube_without_holes_is_returned():
    cube = noise(2, 5, 7)
    filled, weight = fill_holes(cube, torch.zeros(2))
    assert filled is cube
    assert weight is None


def test_a_pixel_is_filled_from_its_reach_only():
    cube = noise(1, 30, 30)
    cube[0, 15, 15] = NAN
    far = cube.clone()
    far[0, :, : 15 - FILL_REACH] += 100
    far[0, 15 + FILL_REACH + 1 :] -= 70
    near = cube.clone()
    near[0, 15, 15 - FILL_REACH] += 100
    a, b, c = (fill_holes(x, torch.zeros(1))[0][0, 15, 15] for x in (cube, far, near))
    assert float(a) == pytest.approx(float(b), abs=1e-6)
    assert float(c) > float(a) + 0.01


@pytest.mark.parametrize("size", [1, 5, 12, 30])
def test_a_hole_of_any_size_is_filled_within_the_range_of_the_scene(size):
    cube = noise(2, 30, 30) + 3
    cube[:, :size, :size] = NAN
    filled, _ = fill_holes(cube, torch.tensor([3.5, 3.4]))
    assert bool(torch.isfinite(filled).all())
    assert float(filled.amin()) >= 3
    assert float(filled.amax()) <= 4
    if size > FILL_REACH:
        assert filled[:, 0, 0].tolist() == pytest.approx([3.5, 3.4])
