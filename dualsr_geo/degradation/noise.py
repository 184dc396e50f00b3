"""The noise of bands: what neither their spectral neighbours nor their spatial ones explain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve

# A scene's noise is taken as often, each time without one of these parts along an axis.
QUARTERS = 2

# Below a dozen bands, what a band does not share with the others may be signal: there space decides.
NOISE_BANDS = 12
# Neighbours of a band in all, and steps of the correction: six to either side and one step leave
# the bands at both ends 30 % too noisy, which cost 0.15 dB on sponges x4 S.
NOISE_NEIGHBOURS = 20
TAIL_STEPS = 10
# Noise above 3 % of a typical band's standard deviation is treated as noise: the lab's clean
# scenes have 0.1 to 1.2 %, its noisy ones 5.7 to 12 %.
NOISY = 0.03
# Immerkaer's (1996) mask: blind to planes and quadratics; white noise passes with gain 1.
MASK = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]) / 6
# The calmest tenth of the blocks shows noise alone. Of white noise, a tenth of 8 x 8 blocks has
# a root mean square below 0.796 of its standard deviation (simulated, 5 x 250 x 250 pixels).
BLOCK = 8
CALM_PERCENT = 10
CALM_SHARE = 0.796
FEWEST_BLOCKS = 9


def estimate_noise(cubes: Sequence[NDArray[np.float32]], weights: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Estimate the noise of each band of a scene from pieces of it.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
        Filled, without NaN.
    weights : sequence of array, shape (y, x)
        0..1, how valid a pixel is.

    Returns
    -------
    array, shape (band,)
        Standard deviations in the bands' units; 0 where noise cannot be told from signal.
    """
    if len(cubes[0]) < NOISE_BANDS:
        return estimate_spatial_noise(cubes, weights)
    return estimate_spectral_noise(
        np.concatenate([c.reshape(len(c), -1) for c in cubes], 1), np.concatenate([w.ravel() for w in weights])
    )


def estimate_spatial_noise(
    cubes: Sequence[NDArray[np.float32]], weights: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Estimate the noise of a few bands: the calmest places of what their neighbours in space do not explain.

    Texture passes the mask as well, but bands share it: what the other bands explain is taken
    out first. Shapes as for `estimate_noise`; 0 for a single band and for scenes of few pixels.
    """
    fine = [_beyond_planes(c, w) for c, w in zip(cubes, weights, strict=True)]
    count = len(cubes[0])
    z = np.concatenate([f.reshape(count, -1) for f in fine], 1)
    z = z[:, np.isfinite(z[0])]
    if count < 2 or z.shape[1] < FEWEST_BLOCKS * BLOCK**2:
        return np.zeros(count)
    found = np.zeros(count)
    for band in range(count):
        others = [b for b in range(count) if b != band]
        slope = np.linalg.lstsq(z[others].T, z[band], rcond=None)[0]
        calm = np.concatenate([_block_rms(f[band] - np.tensordot(slope, f[others], 1)) for f in fine])
        if len(calm) < FEWEST_BLOCKS:
            return np.zeros(count)
        # The others bring their own noise along.
        found[band] = np.percentile(calm, CALM_PERCENT) / CALM_SHARE / math.sqrt(1 + float(slope @ slope))
    return found


def _beyond_planes(cube: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mask's response, (band, y - 2, x - 2), NaN where a pixel under it is missing."""
    if min(weight.shape) < 3:
        return np.full((len(cube), 0, 0), np.nan)
    response = np.stack([convolve(p.astype(np.float64), MASK)[1:-1, 1:-1] for p in cube])
    missing = convolve((weight < 1).astype(np.float64), np.ones((3, 3)))[1:-1, 1:-1] > 0
    response[:, missing] = np.nan
    return response


def _block_rms(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root mean squares of a plane's whole blocks."""
    rows, columns = (n // BLOCK for n in plane.shape)
    blocks = plane[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    square = (blocks**2).mean((1, 3)).ravel()
    return np.asarray(np.sqrt(square[np.isfinite(square)]))


def estimate_spectral_noise(spectra: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """Estimate the noise of each band: what its spectral neighbours do not explain.

    The multiple-regression estimator of Roger and Arnold (1996) and HySime (Bioucas-Dias and
    Nascimento, 2008), on the nearest bands, then corrected by the scene's smallest eigenvalues.

    Parameters
    ----------
    spectra : array, shape (band, pixel)
    weight : array, shape (pixel,)

    Returns
    -------
    array, shape (band,)
        Standard deviations in the bands' units; 0 for constant scenes.
    """
    count = len(spectra)
    x = (spectra[:, weight > 0]).astype(np.float64)
    x -= x.mean(1, keepdims=True)
    pixels = x.shape[1]
    covariance = x @ x.T / pixels
    if count < NOISE_BANDS or not covariance.any():
        return np.zeros(count)
    left = _unexplained(covariance) * pixels / max(pixels - min(NOISE_NEIGHBOURS, count - 1), 1)
    # Below this there is rounding, by which nothing can be whitened.
    least = np.sqrt(1e-12 * np.trace(covariance) / count)
    noise = np.sqrt(left).clip(least)
    for _ in range(TAIL_STEPS):
        noise = (noise * _tail(covariance / np.outer(noise, noise), pixels)).clip(least)
    return np.asarray(noise)


def _unexplained(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance of each band that its nearest bands do not explain."""
    count = len(covariance)
    ridge = 1e-9 * np.trace(covariance) / count
    neighbours = min(NOISE_NEIGHBOURS, count - 1)
    left = np.empty(count)
    for b in range(count):
        first = min(max(0, b - neighbours // 2), count - neighbours - 1)
        near = [j for j in range(first, first + neighbours + 1) if j != b]
        gram = covariance[np.ix_(near, near)] + ridge * np.eye(len(near))
        cross = covariance[near, b]
        left[b] = covariance[b, b] - cross @ np.linalg.solve(gram, cross)
    return left.clip(0)


def _tail(whitened: NDArray[np.float64], pixels: int) -> NDArray[np.float64]:
    """Return by how much the neighbours' residual overstates each band's noise, <= 1.

    It also holds signal that the neighbours miss. The smaller half of the whitened eigenvalues
    holds none; pure noise would spread them as Marchenko and Pastur (1967) say.
    """
    count = len(whitened)
    if pixels < 2 * count:
        return np.ones(count)
    values, vectors = np.linalg.eigh(whitened)
    half = count // 2
    square = vectors[:, :half] ** 2
    level = square @ values[:half].clip(0) / square.sum(1).clip(1e-3)
    return np.asarray(np.sqrt(level / _pastur_lower_half(count / pixels)).clip(0, 1))


def marchenko_pastur_range(aspect: float) -> tuple[float, float]:
    """Return where the eigenvalues of white noise of unit variance lie, for bands over pixels."""
    return (1 - math.sqrt(aspect)) ** 2, (1 + math.sqrt(aspect)) ** 2


def _pastur_lower_half(aspect: float) -> float:
    """Return the mean of the smaller half of the eigenvalues of white noise of unit variance."""
    low, high = marchenko_pastur_range(aspect)
    at = np.linspace(low, high, 2001)[1:-1]
    density = np.sqrt((high - at) * (at - low)) / at
    share = np.cumsum(density) / density.sum()
    half = share <= 0.5
    return float((at[half] * density[half]).sum() / density[half].sum())


def is_noisy(noise: NDArray[np.float64], std: NDArray[np.float64]) -> bool:
    """Say whether the noise of the bands is worth modelling."""
    return bool(np.median(noise / np.maximum(std, 1e-30)) > NOISY)


def noise_standard_errors(
    cubes: Sequence[NDArray[np.float32]], weights: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Return the standard error of each band's noise: by leaving out a quarter of the scene in turn (jackknife).

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
    weights : sequence of array, shape (y, x)
        As for `dualsr_geo.degradation.noise.estimate_noise`.

    Returns
    -------
    array, shape (band,)
        In the bands' units.
    """
    parts = [(i, j) for i in range(QUARTERS) for j in range(QUARTERS)]
    said = np.stack([estimate_noise(cubes, [_without(w, *part) for w in weights]) for part in parts])
    count = len(parts)
    return np.asarray(np.sqrt((count - 1) / count * ((said - said.mean(0)) ** 2).sum(0)))


def _without(weight: NDArray[np.float32], row: int, column: int) -> NDArray[np.float32]:
    out = weight.copy()
    y, x = ([n * k // QUARTERS for k in range(QUARTERS + 1)] for n in weight.shape)
    out[y[row] : y[row + 1], x[column] : x[column + 1]] = 0
    return out
