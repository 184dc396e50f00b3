"""Crops are whole, disjoint, varied, and without holes."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.engine.tiles.crops import choose

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(st.lists(SIZES, min_size=1, max_size=3), st.integers(1, 17), st.integers(1, 9))
@settings(deadline=None)
def test_crops_are_as_large_as_fit_and_disjoint(shapes, side, count):
    generator = torch.Generator().manual_seed(side)
    cubes = [torch.rand(2, *shape, generator=generator) for shape in shapes]
    chosen = choose(cubes, side, count)
    assert 1 <= len(chosen) <= count
    covered = [np.zeros(shape, int) for shape in shapes]
    for i, w in chosen:
        assert w.shape == tuple(min(side, n) for n in shapes[i])
        covered[i][w.slices] += 1
        assert w == w.clipped(shapes[i])
    assert all(c.max(initial=0) <= 1 for c in covered)


def test_as_many_as_there_are_if_more_are_wanted():
    assert len(choose([torch.rand(1, 25, 17)], 8, 99)) == 3 * 2


@given(st.permutations(range(6)))
@settings(deadline=None)
def test_the_odd_ones_are_taken_first(order):
    """Six crops, of which three are alike: the first four chosen hold one of each kind."""
    kinds = torch.tensor([0.0, 0.0, 0.0, 1.0, 2.0, 3.0])[list(order)]
    texture = torch.rand(5, 6, generator=torch.Generator().manual_seed(0))
    cube = torch.cat([texture * (1 + k) + 10 * k for k in kinds], 1)[None]
    chosen_kinds = {float(kinds[w.x0 // 6]) for _, w in choose([cube], 6, 4) if w.y0 == 0}
    assert chosen_kinds == {0.0, 1.0, 2.0, 3.0}


def test_holes_are_left_out():
    cube = torch.rand(3, 20, 30)
    cube[1, 3, 4] = torch.nan
    chosen = choose([cube], 10, 9)
    assert len(chosen) == 5
    assert all(bool(torch.isfinite(cube[(slice(None), *w.slices)]).all()) for _, w in chosen)
    assert choose([torch.full((2, 9, 9), torch.nan)], 4, 3) == []
