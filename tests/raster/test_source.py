"""The methods that all sources share, and windows of sources."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import rasterio
import rioxarray
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.io.scenes import open_scene
from dualsr_geo.raster.packing import Decoding
from dualsr_geo.raster.source import CroppedSource, StoredSource, thumbnail_indices
from dualsr_geo.raster.windows import Window

COUNT, HEIGHT, WIDTH = 4, 13, 9
VALUES = np.arange(COUNT * HEIGHT * WIDTH, dtype=np.float32).reshape(COUNT, HEIGHT, WIDTH)


@dataclass(frozen=True)
class Ramp(StoredSource):
    """A source of known values."""

    def files_read(self):
        return ("ramp",)

    def fingerprint(self):
        return {"bands": list(self.indices)}

    def _load(self, bands, window):
        return VALUES[[self.indices[i] for i in bands]][:, *window.slices]


RAMP = Ramp(
    indices=tuple(range(COUNT)),
    size=(HEIGHT, WIDTH),
    decoding=Decoding((1.0,) * COUNT, (0.0,) * COUNT, (None,) * COUNT),
)


@st.composite
def windows(draw, height=HEIGHT, width=WIDTH):
    y0, x0 = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return Window(y0, draw(st.integers(y0 + 1, height)), x0, draw(st.integers(x0 + 1, width)))


@given(windows(), st.data())
def test_a_cropped_source_reads_the_window_and_crops_of_it_are_crops_of_the_source(window, data):
    cropped = RAMP.crop(window)
    assert cropped.shape == (COUNT, *window.shape)
    inner = data.draw(windows(*window.shape))
    np.testing.assert_array_equal(cropped.read(inner), VALUES[:, *window.slices][:, *inner.slices])
    assert cropped.crop(inner) == CroppedSource(RAMP, inner.moved(window.y0, window.x0))


@given(windows(), st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=6))
def test_bands_are_selected_before_and_after_a_crop(window, bands):
    wanted = VALUES[bands][:, *window.slices]
    whole = Window(0, window.shape[0], 0, window.shape[1])
    for source in (RAMP.select(bands).crop(window), RAMP.crop(window).select(bands)):
        np.testing.assert_array_equal(source.read(whole), wanted)
    np.testing.assert_array_equal(RAMP.crop(window).read(whole, bands), wanted)


@given(windows(), st.integers(1, 5), st.integers(1, 5))
def test_a_thumbnail_has_pixels_spread_over_the_window(window, rows, columns):
    thumbnail = RAMP.crop(window).thumbnail(2, (rows, columns))
    y, x = thumbnail_indices(window.shape, (rows, columns))
    np.testing.assert_array_equal(thumbnail, VALUES[2, *window.slices][np.ix_(y, x)])
    assert (y >= 0).all()
    assert (y < window.shape[0]).all()
    assert (np.diff(x) >= 0).all()


def test_a_cropped_source_is_identified_by_source_and_window():
    one, other = RAMP.crop(Window(0, 5, 0, 5)), RAMP.crop(Window(1, 6, 0, 5))
    assert json.dumps(one.fingerprint()) != json.dumps(other.fingerprint())
    assert one.fingerprint().items() > RAMP.fingerprint().items()
    assert one.files_read() == ("ramp",)
    assert one.masked is RAMP.masked is False
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize(("size", "shape"), [((10, 10), (10, 10)), ((7, 5), (7, 5))])
def test_a_thumbnail_of_the_same_size_is_the_band(size, shape):
    y, x = thumbnail_indices(size, shape)
    assert list(y) == list(range(size[0]))
    assert list(x) == list(range(size[1]))


def test_parts_of_a_file_that_is_not_read_have_different_fingerprints(tmp_path):
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "count": 2, "height": 6, "width": 8, "dtype": "float32", "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=rasterio.Affine(2, 0, 0, 0, -2, 0), **profile) as target:
        target.write(np.arange(96, dtype=np.float32).reshape(2, 6, 8))

    def identity(*key: slice) -> dict[str, object]:
        return open_scene(rioxarray.open_rasterio(path)[key]).source.fingerprint()

    left, right = (identity(slice(2), slice(6), x) for x in (slice(4), slice(4, 8)))
    assert left == identity(slice(2), slice(6), slice(4))
    assert left != right
    assert identity(slice(1, 2)) != identity(slice(1))
