"""Quantised spectra, against the arrays."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from report_cases import RATIO, crop

from dualsr_geo.report.spectra import CropCubes, quantise, quantise_crops


def dequantised(quantised):
    codes = np.frombuffer(zlib.decompress(base64.b64decode(quantised.text)), "<u2").reshape(quantised.shape)
    values = codes * np.array(quantised.scale)[:, None, None] + np.array(quantised.offset)[:, None, None]
    return np.where(codes == 65535, np.nan, values)


def test_quantised_values_are_within_a_65000th_of_the_range_of_each_band():
    rng = np.random.default_rng(0)
    cube = (rng.standard_normal((5, 31, 17)) * [[[1e-6]], [[1]], [[1e4]], [[0]], [[3]]]).astype(np.float32)
    cube[1] += 300
    cube[2, 3:9, 4] = np.nan
    cube[4] = np.nan
    cube[0, 0, 0] = np.inf
    got = dequantised(quantise(cube))
    valid = np.isfinite(cube)
    np.testing.assert_array_equal(np.isfinite(got), valid)
    for band in range(4):
        values = cube[band][valid[band]].astype(float)
        assert np.abs(got[band][valid[band]] - values).max() <= np.ptp(values) / 65000


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 40])
def test_spectra_keep_the_budget_and_name_their_pixels(stride):
    one = crop(shape=(11, 7))
    crops = [CropCubes(RATIO, {"before": one.scene}, {"after": one.product})] * 2

    def size(spectra):
        return sum(len(c.text) for s in spectra for c in s.cubes.values())

    whole = size(quantise_crops(crops, 10**9))
    (first, _) = spectra = quantise_crops(crops, whole // stride**2 + 200)
    assert first.stride <= stride + 1
    assert size(spectra) <= whole // stride**2 + 200 or first.stride == one.product.shape[1]
    np.testing.assert_allclose(
        dequantised(first.cubes["after"]), one.product[:, first.rows[:, None], first.columns], atol=1e-4
    )
    lr = dequantised(first.cubes["before"])
    expected = (
        one.scene if first.stride <= RATIO else one.scene[:, first.rows[:, None] // RATIO, first.columns // RATIO]
    )
    np.testing.assert_allclose(lr, expected, atol=1e-4)


def test_the_smallest_stride_that_fits_is_taken():
    one = crop(shape=(11, 7))
    crops = [CropCubes(RATIO, {"before": one.scene}, {"after": one.product})]

    def size(spectra):
        return sum(len(c.text) for c in spectra.cubes.values())

    (whole,) = quantise_crops(crops, 10**9)
    (fits,), (short,) = quantise_crops(crops, size(whole)), quantise_crops(crops, size(whole) - 1)
    assert (whole.stride, fits.stride, short.stride) == (1, 1, 2)
    (last,) = quantise_crops(crops, 0)
    assert len(last.rows) == len(last.columns) == 1
