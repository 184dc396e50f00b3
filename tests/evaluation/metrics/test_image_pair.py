"""Pairs of images: what can be compared, which bands, and in which tiles."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from dualsr_geo.errors import InputError
from dualsr_geo.evaluation.metrics import image_pair
from dualsr_geo.evaluation.metrics.image_pair import largest, pair, tiling


@dataclass
class Spy:
    """A Readable that counts the pixels read."""

    cube: np.ndarray
    pixels: int = 0
    windows: list = field(default_factory=list)

    @property
    def shape(self):
        return self.cube.shape

    def read(self, window, bands=None):
        rows, columns = window.slices
        part = self.cube[:, rows, columns] if bands is None else self.cube[list(bands), rows, columns]
        self.pixels += part.size
        self.windows.append(window)
        return part


def cube(bands=3, shape=(47, 36), seed=0):
    return (np.random.default_rng(seed).random((bands, *shape)) * 900 + 100).astype(np.float32)


@pytest.mark.parametrize(
    ("estimate", "reference", "message"),
    [
        (cube(), cube(shape=(47, 35)), r"47 x 36 pixels \(y, x\).*47 x 35.*one grid"),
        (cube(4), cube(), "4 bands.*reference 3.*--bidx"),
        (cube()[0], cube()[0], r"2 dimensions, \(47, 36\).*array\[None\]"),
        (cube(), cube() * np.nan, "47 x 36.*valid in both.*--nodata"),
        (cube(0), cube(0), r"empty.*\(0, 47, 36\)"),
        (
            cube() / 1e4,
            cube(),
            r"span 0\.08\d+ .*reference 8\d\d.*Convert both to one unit \(scale and offset\)",
        ),
        (cube(), cube() / 6, r"span 8\d\d.*reference 14\d.*one unit"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(estimate, reference, message):
    with pytest.raises(InputError, match=message) as caught:
        pair(estimate, reference)
    assert "\n" not in str(caught.value)


def test_no_common_pixel_though_each_has_some():
    estimate, reference = cube(), cube()
    estimate[:, :20] = np.nan
    reference[:, 20:] = np.nan
    with pytest.raises(InputError, match="valid in both"):
        pair(estimate, reference)


def test_a_fourfold_range_and_a_constant_are_bad_estimates_in_the_same_unit():
    assert pair(cube() * 4, cube()).bands == (0, 1, 2)
    assert pair(np.full_like(cube(), 3e-6), cube()).bands == (0, 1, 2)
    assert pair(cube() * 1e-4, cube(), one_unit=False).bands == (0, 1, 2)


def test_bands_without_a_common_pixel_are_left_out():
    estimate, reference = cube(5), cube(5, seed=1)
    estimate[1] = np.nan
    reference[3] = np.inf
    estimate[4, :20], reference[4, 20:] = np.nan, np.nan
    both = pair(estimate, reference)
    assert both.bands == (0, 2)
    assert both.pivot.shape == (2, 1, 1)
    assert both.spread(np.array([7.0, 8.0])) == pytest.approx([7, np.nan, 8, np.nan, np.nan], nan_ok=True)
    assert (both.read(tiling(2, (47, 36), 0)[0].core)[1] == reference[[0, 2]]).all()


def test_a_pixel_outside_the_sample_is_found():
    estimate, reference = cube(2, (700, 900)), cube(2, (700, 900), seed=1)
    estimate[1] = np.nan
    for y, x in ((101, 101), (699, 551)):
        estimate[1, y, x] = 5
        assert pair(estimate, reference).bands == (0, 1)
        estimate[1, y, x] = np.nan


def test_the_pivot_is_the_mean_and_the_sample_is_bounded():
    spies = [Spy(cube(2, (1100, 2300), seed=s) + 1e4) for s in (0, 1)]
    both = pair(*spies)
    assert both.pivot[:, 0, 0] == pytest.approx(spies[1].cube.mean((1, 2)), rel=5e-3)
    assert [s.pixels for s in spies] == [2 * 16 * 64 * 64] * 2


def test_masked_arrays_are_masked():
    masked = np.ma.masked_less(cube(1), 500)
    assert np.isnan(pair(masked, cube(1)).read(tiling(1, (47, 36), 0)[0].core)[0]).sum() == (cube(1) < 500).sum()


@pytest.mark.parametrize(("bands", "side"), [(1, 512), (50, 512), (128, 384), (400, 192), (10000, 64)])
def test_tiles_fit_in_memory_and_begin_at_blocks(bands, side):
    tiles = tiling(bands, (2000, 1500), 5)
    assert tiles.size == side
    assert side % 32 == 0
    assert bands > 5000 or bands * (side + 10) ** 2 * 8 <= image_pair.TILE_BYTES


def test_the_largest_value_is_a_valid_one_of_a_compared_band():
    estimate, reference = cube(2), cube(2)
    reference[0, 3, 3], reference[0, 4, 4], reference[1], estimate[1] = 1234, np.inf, 9999, np.nan
    both = pair(estimate, reference)
    tiles = tiling(1, both.size, 0)
    assert max(largest(both, t) for t in tiles) == 1234
    reference[0] = np.nan
    assert largest(both, tiles[0]) == -np.inf
