"""Sums of a tile add up to those of the whole, for any tiles."""

from __future__ import annotations

import numpy as np
import pytest

from dualsr_geo.evaluation.metrics.image_pair import pair
from dualsr_geo.evaluation.metrics.ssim import RADIUS
from dualsr_geo.evaluation.metrics.sums import KINDS, TileSums, correlation, tile_sums
from dualsr_geo.raster.windows import Tiling


def images(shape=(2, 70, 53), seed=0, holes=0.0):
    random = np.random.default_rng(seed)
    reference = 1e4 + random.normal(0, 50, shape)
    estimate = reference + random.normal(0, 30, shape)
    for cube in (estimate, reference):
        cube[random.random(shape) < holes] = np.nan
    return estimate, reference


def sums_of(both, size, peak=1e4):
    total = TileSums.empty(len(both.bands))
    for tile in Tiling(both.size, size, RADIUS):
        total += tile_sums(both, tile, peak)
    return total


@pytest.mark.parametrize("holes", [0.0, 0.05])
@pytest.mark.parametrize("shape", [(2, 70, 53), (3, 9, 130), (1, 65, 66)])
def test_tiles_add_up_to_the_whole(shape, holes):
    both = pair(*images(shape, holes=holes))
    one, many = sums_of(both, 256), sums_of(both, 32)
    for name in ("bands", "edges", "windows", "spectra", "blocks"):
        assert getattr(many, name) == pytest.approx(getattr(one, name), rel=1e-9, abs=1e-9), name
    assert (many.windows[2] == one.windows[2]).all()
    assert (many.edges[0] == one.edges[0]).all()


def test_sums_are_those_of_numpy():
    estimate, reference = images(holes=0.1)
    both = pair(estimate, reference)
    total = sums_of(both, 64).bands
    for band in range(2):
        valid = np.isfinite(estimate[band]) & np.isfinite(reference[band])
        x, y = (c[band][valid] - both.pivot[band, 0, 0] for c in (estimate, reference))
        expected = [valid.sum(), x.sum(), y.sum(), x @ x, y @ y, x @ y, ((x - y) ** 2).sum()]
        assert total[:, band] == pytest.approx(expected, rel=1e-9)


def test_only_what_is_asked_for_is_counted():
    both = pair(*images())
    tile = Tiling(both.size, 128, RADIUS)[0]
    everything = tile_sums(both, tile, 1e4)
    for kind in KINDS:
        chosen = tile_sums(both, tile, 1e4, {kind})
        for name in ("edges", "windows", "blocks"):
            expected = getattr(everything, name) * (name == kind)
            assert (getattr(chosen, name) == expected).all()
        assert chosen.spectra[0] == (everything.spectra[0] if kind == "spectra" else 0)
        assert chosen.spectra[2] == 70 * 53


def test_a_constant_has_no_correlation():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 1000))
    flat = np.full(1000, 1e-13)  # what a pivot leaves of a constant

    def sums(a, b):
        return np.array([1000, a.sum(), b.sum(), a @ a, b @ b, a @ b])[:, None]

    assert correlation(sums(x, y), np.array([1.0]))[0] == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-12)
    assert np.isnan(correlation(sums(x, flat), np.array([1.0]))[0])
    assert np.isnan(correlation(np.zeros((6, 1)), np.array([1.0]))[0])
