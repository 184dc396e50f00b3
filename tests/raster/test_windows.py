"""Tiles partition the scene on both grids; windows are exact integers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.raster.windows import Tiling, Window

sides = st.integers(1, 60)
shapes = st.tuples(sides, sides)
margins = st.integers(0, 20)
places = st.integers(-70, 70)
windows = st.builds(lambda y, x, shape: Window(y, y + shape[0], x, x + shape[1]), places, places, shapes)
tilings = st.builds(Tiling, shapes, st.integers(1, 70), margins)


def painted(window: Window, shape: tuple[int, int]) -> np.ndarray:
    """Mark the pixels of a window by asking each pixel, not by slicing."""
    y, x = np.indices(shape)
    return (y >= window.y0) & (y < window.y1) & (x >= window.x0) & (x < window.x1)


@given(tilings, st.integers(1, 4))
def test_cores_partition_the_scene_and_the_target(tiling, ratio):
    for scale in (1, ratio):
        count = np.zeros((tiling.shape[0] * scale, tiling.shape[1] * scale), int)
        for tile in tiling:
            count[tile.core.scaled(scale).slices] += 1
        assert (count == 1).all()


@given(tilings)
def test_padded_is_the_core_and_as_much_halo_as_the_scene_has(tiling):
    for tile in tiling:
        core, padded = painted(tile.core, tiling.shape), painted(tile.padded, tiling.shape)
        assert core.any()
        assert core.sum() == np.prod(tile.core.shape)
        near = painted(
            Window(
                tile.core.y0 - tiling.halo,
                tile.core.y1 + tiling.halo,
                tile.core.x0 - tiling.halo,
                tile.core.x1 + tiling.halo,
            ),
            tiling.shape,
        )
        assert (padded == near).all()
        assert padded.sum() == np.prod(tile.padded.shape)


@given(tilings)
def test_cutting_the_core_out_of_the_padded_puts_the_scene_together(tiling):
    scene = np.arange(tiling.shape[0] * tiling.shape[1]).reshape(tiling.shape)
    out = np.full_like(scene, -1)
    for tile in tiling:
        piece = scene[tile.padded.slices]
        out[tile.core.slices] = piece[tile.core.within(tile.padded).slices]
    assert (out == scene).all()


@given(tilings)
def test_tiles_are_numbered_in_row_major_order(tiling):
    tiles = list(tiling)
    assert [t.index for t in tiles] == list(range(len(tiling)))
    corners = [(t.core.y0, t.core.x0) for t in tiles]
    assert corners == sorted(corners)
    assert len(tiling) == tiling.grid[0] * tiling.grid[1]


def test_a_tile_that_is_not_there_is_an_index_error():
    tiling = Tiling((7, 12), 5, 2)
    assert tiling.grid == (2, 3)
    assert tiling[5].core == Window(5, 7, 10, 12)
    assert tiling[5].padded == Window(3, 7, 8, 12)
    for index in (-1, 6):
        with pytest.raises(IndexError, match=f"tile {index} of 6"):
            tiling[index]


def test_a_tiling_travels_between_processes():
    tiling = Tiling((7, 12), 5, 2)
    assert len(tiling) == 6
    assert list(pickle.loads(pickle.dumps(tiling))) == list(tiling)


@given(windows, shapes)
def test_clipped_keeps_exactly_what_is_on_the_grid(window, shape):
    clipped = window.clipped(shape)
    assert (painted(clipped, shape) == painted(window, shape)).all()
    assert 0 <= clipped.y0 <= clipped.y1 <= shape[0]
    assert 0 <= clipped.x0 <= clipped.x1 <= shape[1]
    assert np.zeros(shape)[clipped.slices].shape == clipped.shape


@given(windows, margins, st.integers(1, 9))
def test_growing_before_or_after_scaling_is_the_same(window, margin, ratio):
    assert window.grown(margin).scaled(ratio) == window.scaled(ratio).grown(margin * ratio)
    assert window.grown(margin).grown(-margin) == window
    assert window.scaled(ratio).shape == (window.shape[0] * ratio, window.shape[1] * ratio)


@given(windows, places, places)
def test_moved_and_within_undo_each_other(window, rows, columns):
    outer = Window(rows, rows + 3, columns, columns + 5)
    assert window.within(outer).moved(rows, columns) == window
    assert window.moved(rows, columns).shape == window.shape
    assert outer.within(outer) == Window(0, 3, 0, 5)


@given(windows, windows, st.integers(1, 5))
def test_within_holds_on_the_finer_grid_too(window, outer, ratio):
    assert window.within(outer).scaled(ratio) == window.scaled(ratio).within(outer.scaled(ratio))
