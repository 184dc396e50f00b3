"""The guide's displacement, block by block."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.registration.block_shifts import SIDE_RANGE_LR, BlockPair, block_windows, estimate_block_shifts

RATIO = 4
PSF = Psf.from_mtf(RATIO)


def blocks_of(scene, guide):
    cut = [(w, w.scaled(RATIO)) for w in block_windows(scene.shape[1:])]
    return [BlockPair(a, scene[(slice(None), *a.slices)], guide[(slice(None), *b.slices)]) for a, b in cut]


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_windows_are_inside_few_and_disjoint_where_there_is_room(height, width):
    found = list(block_windows((height, width)))
    assert 1 <= len(found) <= 16
    for w in found:
        assert 0 <= w.y0 < w.y1 <= height
        assert 0 <= w.x0 < w.x1 <= width
        assert max(w.shape) <= SIDE_RANGE_LR[1]
    assert len(set(found)) == len(found)
    count = np.zeros((height // 7 + 1, width // 7 + 1))
    if min(height, width) >= 4 * SIDE_RANGE_LR[1]:
        for w in found:
            count[w.y0 // 7 : w.y1 // 7, w.x0 // 7 : w.x1 // 7] += 1
        assert count.max() == 1


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.0, -2.0), (-0.5, 0.75), (3.0, 1.5)])
def test_a_known_displacement_is_found_everywhere(shift):
    sample = synthetic.make((90, 121), bands=9, seed=4, shift_px=shift)
    found = estimate_block_shifts(blocks_of(sample.scene, sample.guide), PSF)
    assert len(found) >= 8
    middle = np.median([(d.dy_px, d.dx_px) for d in found], axis=0)
    np.testing.assert_allclose(middle, shift, atol=0.15)
    spread = np.abs(np.array([(d.dy_px, d.dx_px) for d in found]) - middle)
    assert np.median(spread) < 0.25


def test_a_tilt_is_measured():
    calm, moved = (synthetic.make((90, 120), bands=9, seed=4, shift_px=s) for s in ((0.0, 0.0), (2.0, 0.0)))
    guide = np.concatenate([calm.guide[:, :, :240], moved.guide[:, :, 240:]], 2)
    found = estimate_block_shifts(blocks_of(calm.scene, guide), PSF)
    left = [d.dy_px for d in found if d.window.x1 <= 60]
    right = [d.dy_px for d in found if d.window.x0 >= 60]
    assert np.median(left) == pytest.approx(0, abs=0.2)
    assert np.median(right) == pytest.approx(2, abs=0.2)


def test_a_psf_with_the_shift_gives_the_same_shifts():
    sample = synthetic.make((60, 60), bands=9, seed=4, shift_px=(1.5, -1.0))
    held = Psf.gaussian(RATIO, PSF.sigma_px, (1.5, -1.0))
    found = estimate_block_shifts(blocks_of(sample.scene, sample.guide), held)
    np.testing.assert_allclose(np.median([(d.dy_px, d.dx_px) for d in found], axis=0), (1.5, -1.0), atol=0.15)


def test_blocks_without_content_are_omitted():
    sample = synthetic.make((60, 60), bands=9, seed=4)
    scene, guide = sample.scene.copy(), sample.guide.copy()
    every = len(estimate_block_shifts(blocks_of(scene, guide), PSF))
    scene[:, :30] = np.nan
    scene[3] = np.nan
    fewer = estimate_block_shifts(blocks_of(scene, guide), PSF)
    assert 0 < len(fewer) < every
    assert all(d.window.y1 > 30 for d in fewer)
    assert estimate_block_shifts(blocks_of(scene, np.full_like(guide, np.nan)), PSF) == []
    assert estimate_block_shifts(blocks_of(np.ones_like(scene), guide), PSF) == []
    other = np.random.default_rng(0).random(guide.shape).astype(np.float32)
    assert estimate_block_shifts(blocks_of(sample.scene, other), PSF) == []
