"""Sliding windows against scikit-image, torchmetrics and slow loops; Laplacians against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import universal_image_quality_index

from dualsr_geo.evaluation.metrics.ssim import laplacian, local_means, valid_neighbourhoods, window_sums

TAPS = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
WEIGHTS = np.outer(TAPS, TAPS) / TAPS.sum() ** 2


def images(bands=2, shape=(47, 30), *, centre=10000.0, deviation=300.0, noise=100.0, seed=0):
    random = np.random.default_rng(seed)
    reference = centre + deviation * ndimage.gaussian_filter(random.normal(size=(bands, *shape)), (0, 1, 1))
    return reference + random.normal(0, noise, reference.shape), reference


def indices(x, y, peak, valid=None):
    """Return mean SSIM and UQI of each band, and the number of windows."""
    pivot = np.nanmean(np.where(np.isfinite(y), y, np.nan), (1, 2), keepdims=True)
    both = [np.where(True if valid is None else valid, c - pivot, 0.0) for c in (x, y)]
    ssim, uqi, count = window_sums(*both, valid, pivot, peak)
    return ssim / count, uqi / count, count


@pytest.mark.parametrize("shape", [(47, 30), (11, 11), (11, 64), (12, 27), (123, 33)])
@pytest.mark.parametrize(("deviation", "noise"), [(300.0, 100.0), (3.0, 1.0)])
def test_ssim_is_that_of_scikit_image(shape, deviation, noise):
    x, y = images(shape=shape, deviation=deviation, noise=noise)
    for peak in (y.max(), 1.0):
        ssim, _, count = indices(x, y, peak)
        for band in range(2):
            expected = structural_similarity(
                x[band], y[band], data_range=peak, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )
            assert ssim[band] == pytest.approx(expected, rel=1e-6)
        assert (count == (shape[0] - 10) * (shape[1] - 10)).all()


@pytest.mark.parametrize(
    ("centre", "deviation", "noise"), [(0.4, 0.1, 0.05), (10000, 300, 100), (10000, 3, 1), (0, 1, 1)]
)
def test_uqi_is_that_of_torchmetrics(centre, deviation, noise):
    x, y = images(centre=centre, deviation=deviation, noise=noise)
    _, uqi, _ = indices(x, y, 1.0)
    for band in range(2):
        one, other = (torch.from_numpy(c[None, band : band + 1]) for c in (x, y))
        assert uqi[band] == pytest.approx(float(universal_image_quality_index(one, other)), rel=1e-6)


def in_slow_loops(x, y, valid, peak):
    ssim, uqi = [], []
    for i in range(5, x.shape[0] - 5):
        for j in range(5, x.shape[1] - 5):
            if not valid[i, j]:
                continue
            part = np.s_[i - 5 : i + 6, j - 5 : j + 6]
            weights = (WEIGHTS * valid[part])[valid[part]]
            weights /= weights.sum()
            a, b = (c[part][valid[part]] for c in (x, y))
            ma, mb = weights @ a, weights @ b
            va, vb, cov = weights @ (a - ma) ** 2, weights @ (b - mb) ** 2, weights @ ((a - ma) * (b - mb))
            c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
            ssim.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
            mean = 2 * ma * mb / (ma**2 + mb**2)
            uqi.append(mean * 2 * cov / (va + vb) if len(a) > 1 else mean)
    return np.mean(ssim), np.mean(uqi), len(ssim)


@pytest.mark.parametrize("hole_share", [0.02, 0.4, 0.99])
def test_holes_leave_their_weights_to_valid_pixels(hole_share):
    x, y = images(1, (25, 31))
    valid = np.random.default_rng(1).random(x.shape) > hole_share
    means = indices(x, y, 11000.0, valid)
    expected = in_slow_loops(x[0], y[0], valid[0], 11000.0)
    assert [float(v[0]) for v in means] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3, 12345.678])
def test_flat_and_equal_is_perfect(value):
    x = np.full((1, 20, 23), value)
    ssim, uqi, _ = indices(x, x.copy(), 1.0)
    assert (ssim[0], uqi[0]) == (pytest.approx(1), pytest.approx(1))


def test_flat_windows_are_compared_by_their_means():
    x, y = np.full((1, 20, 23), 2.0), np.full((1, 20, 23), 1.0)
    assert indices(x, y, 1.0)[1][0] == pytest.approx(2 * 2 / (4 + 1))
    assert indices(x, images(1, (20, 23), centre=2, deviation=1)[1], 1.0)[1][0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (1, 1), (3, 7)])
def test_no_window_fits(shape):
    x, y = images(3, shape)
    assert not window_sums(x, y, None, np.zeros((3, 1, 1)), 1.0).any()


def test_local_means_are_those_of_scipy():
    planes = np.random.default_rng(0).normal(size=(3, 29, 54))
    expected = ndimage.gaussian_filter(planes, (0, 1.5, 1.5), radius=(0, 5, 5))[:, 5:-5, 5:-5]
    assert local_means(planes) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("shape", [(9, 14), (3, 3), (2, 9), (1, 1)])
def test_the_laplacian_and_where_it_is_valid(shape):
    planes = np.random.default_rng(0).normal(size=(2, *shape))
    kernel = -np.ones((1, 3, 3))
    kernel[0, 1, 1] = 8
    assert laplacian(planes) == pytest.approx(ndimage.correlate(planes, kernel)[:, 1:-1, 1:-1], abs=1e-12)
    valid = planes < 1
    expected = ndimage.binary_erosion(valid, np.ones((1, 3, 3)))[:, 1:-1, 1:-1]
    assert (valid_neighbourhoods(valid) == expected).all()
