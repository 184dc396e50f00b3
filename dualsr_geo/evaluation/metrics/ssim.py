"""SSIM and UQI in sliding Gaussian windows, and Laplacians."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Wang et al., IEEE TIP 13(4), 2004: 11 taps, sigma 1.5, K1 = 0.01, K2 = 0.03.
RADIUS = 5
SIGMA = 1.5
K1, K2 = 0.01, 0.03
# Output pixels of one band matrix: 16 took 2 ns a pixel, 64 took 4 (mostly zeros), scipy.ndimage 5 along x and
# 20 along y.
BLOCK_PX = 16
# A variance below this share of the mean square is rounding: float32 resolves a standard deviation of 1e-7 of the values.
FLAT = 1e-14


def window_sums(x: Planes, y: Planes, valid: Mask | None, pivot: Planes, peak: float) -> Planes:
    """Sum SSIM and UQI over all windows that are inside the images and centred on a valid pixel.

    SSIM has population covariance. UQI is SSIM without its constants; where both images are flat it compares only
    their means, as in Wang and Bovik's own program (torchmetrics has 0 there). In a window with invalid pixels the
    weights of the valid ones are scaled to sum up to 1.

    Parameters
    ----------
    x, y : array, shape (band, y, x)
        The two images, less `pivot`; 0 where invalid.
    valid : array of bool, shape (band, y, x), or None
        None if all are.
    pivot : array, shape (band, 1, 1)
    peak : float
        Data range of SSIM.

    Returns
    -------
    array, shape (3, band)
        Sum of SSIM, sum of UQI, number of windows.
    """
    if min(x.shape[1:]) <= 2 * RADIUS:
        return np.zeros((3, len(x)))
    a, b, variance, covariance, scale = _moments(x, y, valid, pivot)
    ssim, uqi = _indices(a, b, variance, covariance, scale, peak)
    if valid is None:
        count = np.full(len(x), float(ssim[0].size))
    else:
        centre = valid[:, RADIUS:-RADIUS, RADIUS:-RADIUS]
        count = centre.sum((1, 2)).astype(np.float64)
        ssim *= centre
        uqi *= centre
    return np.stack([ssim.sum((1, 2)), uqi.sum((1, 2)), count])


def _moments(x: Planes, y: Planes, valid: Mask | None, pivot: Planes) -> tuple[Planes, Planes, Planes, Planes, Planes]:
    """Return means of x and y, the sum of their variances, their covariance, and the sum of their mean squares."""
    weights = None if valid is None else local_means(valid.astype(np.float64))

    def mean(planes: Planes) -> Planes:
        means = local_means(planes)
        # A window without a valid pixel has no valid centre either, so its value is not counted.
        return means if weights is None else np.divide(means, weights, out=means, where=weights > FLAT)

    a, b, squares, covariance = mean(x), mean(y), mean(x * x + y * y), mean(x * y)
    covariance -= a * b
    variance = squares - a * a
    variance -= b * b
    np.maximum(variance, 0, out=variance)
    a += pivot
    b += pivot
    return a, b, variance, covariance, squares


def _indices(
    a: Planes, b: Planes, variance: Planes, covariance: Planes, scale: Planes, peak: float
) -> tuple[Planes, Planes]:
    """Return SSIM and UQI of every window; the arguments are overwritten."""
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    product, squares = 2 * a * b, a * a
    squares += b * b
    scale += squares
    flat = variance <= FLAT * scale
    covariance *= 2
    ssim = (product + c1) * (covariance + c2) / ((squares + c1) * (variance + c2))
    zero = squares <= FLAT * scale
    uqi = np.divide(product, squares, out=np.ones_like(product), where=~zero)
    np.multiply(uqi, np.divide(covariance, variance, out=np.ones_like(product), where=~flat), out=uqi)
    return ssim, uqi


def local_means(planes: Planes) -> Planes:
    """Return Gaussian means of the windows inside the planes, shape (band, y - 10, x - 10)."""
    weights = _weights()
    count, height, width = planes.shape
    height, width = height - 2 * RADIUS, width - 2 * RADIUS
    rows = np.empty((count, height, width + 2 * RADIUS))
    for start in range(0, height, BLOCK_PX):
        n = min(BLOCK_PX, height - start)
        part = planes[:, start : start + n + 2 * RADIUS]
        np.matmul(weights[:n, : n + 2 * RADIUS], part, out=rows[:, start : start + n])
    means = np.empty((count, height, width))
    for start in range(0, width, BLOCK_PX):
        n = min(BLOCK_PX, width - start)
        part = rows[:, :, start : start + n + 2 * RADIUS]
        np.matmul(part, weights[:n, : n + 2 * RADIUS].T, out=means[:, :, start : start + n])
    return means


@lru_cache(maxsize=1)
def _weights() -> Planes:
    """Return the window as a band matrix, shape (BLOCK_PX, BLOCK_PX + 10)."""
    taps = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    matrix = np.zeros((BLOCK_PX, BLOCK_PX + 2 * RADIUS))
    for i in range(BLOCK_PX):
        matrix[i, i : i + 2 * RADIUS + 1] = taps / taps.sum()
    return matrix


def laplacian(planes: Planes) -> Planes:
    """Return 8 times each inner pixel less its eight neighbours, shape (band, y - 2, x - 2)."""
    inner = 9 * planes[:, 1:-1, 1:-1]
    inner -= _reduce_3x3(planes, np.add)
    return inner


def valid_neighbourhoods(valid: Mask) -> Mask:
    """Return which inner pixels are valid together with their eight neighbours, shape (band, y - 2, x - 2)."""
    inner: Mask = _reduce_3x3(valid, np.logical_and)
    return inner


def _reduce_3x3(planes: NDArray[Any], ufunc: np.ufunc) -> Any:
    """Reduce the 3 x 3 pixels around each inner pixel by a ufunc of two arguments."""
    rows = ufunc(ufunc(planes[:, :-2], planes[:, 1:-1]), planes[:, 2:])
    return ufunc(ufunc(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:])
