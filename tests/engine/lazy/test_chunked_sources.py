"""Windows of dask arrays without slicing them: the chunks that a window touches, and the same values."""

from __future__ import annotations

import pickle

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.engine.lazy.chunked_sources import ChunkedSource, Chunks, InputPiece
from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.raster.packing import Decoding
from dualsr_geo.raster.windows import Window


def cut(length: int, draw) -> tuple[int, ...]:
    marks = sorted(draw(st.sets(st.integers(1, length - 1), max_size=4))) if length > 1 else []
    return tuple(int(n) for n in np.diff([0, *marks, length]))


@st.composite
def arrays_and_windows(draw) -> tuple[da.Array, Window]:
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 23)), draw(st.integers(1, 17))
    values = np.arange(np.prod(shape), dtype=draw(st.sampled_from(["int16", "float32"]))).reshape(shape)
    y0, x0 = draw(st.integers(0, shape[1] - 1)), draw(st.integers(0, shape[2] - 1))
    window = Window(y0, draw(st.integers(y0 + 1, shape[1])), x0, draw(st.integers(x0 + 1, shape[2])))
    return da.from_array(values, chunks=tuple(cut(n, draw) for n in shape)), window


def whole_of(array: da.Array) -> ChunkedSource:
    count, height, width = array.shape
    decoding = Decoding((1.0,) * count, (0.0,) * count, (None,) * count)
    return ChunkedSource(Chunks.of(array), Window(0, height, 0, width), decoding)


@given(arrays_and_windows())
def test_a_filled_window_equals_the_slice_and_needs_no_other_chunk(case):
    array, window = case
    view = whole_of(array).crop(window)
    keys = view.keys()
    blocks = dask.get(dict(array.__dask_graph__()), keys)
    wanted = array.compute()[:, *window.slices]
    assert view.shape == wanted.shape
    filled = view.filled(blocks).array
    np.testing.assert_array_equal(filled.values, wanted)
    assert filled.dtype == array.dtype
    # Oracle: the chunks that dask itself culls the slice down to.
    sliced = array[:, *window.slices]
    needed = {
        k for k in sliced.__dask_graph__().cull(set(dask.core.flatten(sliced.__dask_keys__()))) if k[0] == array.name
    }
    assert set(keys) == (needed or set(keys))
    assert len(keys) == len(set(keys))


@given(arrays_and_windows())
def test_cropping_twice_is_cropping_once(case):
    array, window = case
    whole = whole_of(array)
    inner = Window(0, 1, 0, 1)
    assert whole.crop(window).crop(inner) == whole.crop(inner.moved(window.y0, window.x0))


def test_an_input_piece_is_pickled_without_values_and_reads_like_the_source():
    values = np.random.default_rng(0).normal(size=(2, 300, 200)).astype("float32")
    lazy = xr.DataArray(da.from_array(values, chunks=(2, 64, 50)), dims=("band", "y", "x"))
    source = ArraySource(lazy, Decoding((1.0, 1.0), (0.0, 0.0), (None, None)))
    chunked, array = ChunkedSource.of(source)
    with pytest.raises(TypeError, match="no values"):
        chunked.read(Window(0, 1, 0, 1))
    piece = InputPiece(chunked, Window(0, 300, 0, 200), None).near(Window(60, 130, 20, 90), 4, 5)
    assert len(pickle.dumps(piece)) < 3000
    blocks = dask.get(dict(array.__dask_graph__()), piece.keys())
    window = Window(65, 129, 48, 90)
    np.testing.assert_array_equal(piece.filled(blocks).read(window), source.read(window))
