"""The middle of a block, on both grids."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.errors import InputError
from dualsr_geo.fusion.blocks import MIN_VALID_PX, Block, band_means, bands_with_data, central_block


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4), st.integers(1, 25))
def test_the_middle_is_the_same_pixels_of_scene_weight_and_guide(height, width, ratio, side):
    lr = torch.arange(height * width, dtype=torch.float32).view(height, width)
    hr = lr.repeat_interleave(ratio, 0).repeat_interleave(ratio, 1)
    middle = central_block(Block(lr[None], lr, hr[None]), ratio, side)
    assert middle.shape == (min(height, side), min(width, side))
    assert bool((middle.cube[0] == middle.weight).all())
    assert bool((middle.guide[0, ::ratio, ::ratio] == middle.weight).all())
    before = int(middle.weight[0, 0]) // width
    after = height - before - middle.shape[0]
    assert after - before in (0, 1)


def test_bands_need_valid_pixels_in_all_blocks_together():
    cubes = [torch.full((2, 3, MIN_VALID_PX), torch.nan) for _ in range(2)]
    cubes[0][1, 0, : MIN_VALID_PX - 1] = cubes[1][1, 0, :1] = 2.0
    assert bands_with_data(cubes) == (1,)
    assert band_means(cubes).tolist() == [0.0, 2.0]
    cubes[1][1] = torch.nan
    with pytest.raises(InputError, match="15 valid pixels among 96 sampled ones, .* at least 16"):
        bands_with_data(cubes)
