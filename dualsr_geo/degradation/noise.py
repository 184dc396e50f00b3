"""Noise of a scene's bands: the variance that neither spectral nor spatial neighbours explain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve

# Parts along an axis that the jackknife leaves out in turn.
JACKKNIFE_PARTS = 2

# From this number of bands on the spectral estimate is used: of fewer bands, what one does not share with the others
# may be signal.
MIN_SPECTRAL_BANDS = 12
# Neighbours of a band in all, and steps of the correction by eigenvalues. With six neighbours on either side and one
# step the outermost bands are 30 % too noisy, which loses 0.15 dB on sponges x4 with SFPN's blur and noise.
NOISE_NEIGHBOURS = 20
EIGENVALUE_STEPS = 10
# A scene is noisy from this share of noise in a typical band's standard deviation on: clean scenes have 0.1 to 1.2 %,
# noisy ones 5.7 to 12 %.
NOISY_SHARE = 0.03
# Immerkaer's (1996) mask: its response to planes and quadratics is 0, its gain on white noise 1.
MASK = np.array([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]) / 6
# The smoothest tenth of the blocks shows noise only. Of white noise, a tenth of 8 x 8 blocks has a root mean square
# below 0.796 of its standard deviation (simulated, 5 x 250 x 250 pixels).
BLOCK_PX = 8
SMOOTHEST_PERCENT = 10
SMOOTHEST_RMS = 0.796
MIN_BLOCKS = 9
# Relative rounding of 64-bit floats, by which a band counts as a combination of others.
ROUNDING = float(np.finfo(np.float64).eps)


def estimate_noise(cubes: Sequence[NDArray[np.float32]], weights: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Estimate the noise of each band from a sample of a scene.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
        Filled, without NaN.
    weights : sequence of array, shape (y, x)
        0..1, how valid a pixel is.

    Returns
    -------
    array, shape (band,)
        Standard deviations, physical units; 0 where noise cannot be distinguished from signal.
    """
    if len(cubes[0]) < MIN_SPECTRAL_BANDS:
        return estimate_spatial_noise(cubes, weights)
    return estimate_spectral_noise(
        np.concatenate([c.reshape(len(c), -1) for c in cubes], 1), np.concatenate([w.ravel() for w in weights])
    )


def estimate_spatial_noise(
    cubes: Sequence[NDArray[np.float32]], weights: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Estimate the noise of a few bands, in the smoothest blocks of their residual from spatial neighbours.

    Texture is in that residual, too, but bands share it: what the other bands explain is subtracted first.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
    weights : sequence of array, shape (y, x)
        As for `estimate_noise`.

    Returns
    -------
    array, shape (band,)
        Standard deviations, physical units; 0 for a single band and for a sample of few pixels.
    """
    return _spatial_noise([_response(c) for c in cubes], weights)


def _spatial_noise(
    responses: Sequence[NDArray[np.float64]], weights: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Return the noise of each band from the mask's responses, (band, y - 2, x - 2); see `estimate_spatial_noise`."""
    residuals = [_masked(r, w) for r, w in zip(responses, weights, strict=True)]
    count = len(residuals[0])
    z = np.concatenate([r.reshape(count, -1) for r in residuals], 1)
    z = z[:, np.isfinite(z[0])]
    if count < 2 or z.shape[1] < MIN_BLOCKS * BLOCK_PX**2:
        return np.zeros(count)
    noise = np.zeros(count)
    # The regression of any band on the others is that of the columns of this factor, which has few rows.
    factor: NDArray[np.float64] = np.linalg.qr(z.T)[1]
    for band in range(count):
        others = [b for b in range(count) if b != band]
        slope = np.linalg.lstsq(factor[:, others], factor[:, band], rcond=ROUNDING * z.shape[1])[0]
        rms = np.concatenate([_block_rms(r[band] - np.tensordot(slope, r[others], 1)) for r in residuals])
        if len(rms) < MIN_BLOCKS:
            return np.zeros(count)
        # The other bands add their own noise.
        noise[band] = np.percentile(rms, SMOOTHEST_PERCENT) / SMOOTHEST_RMS / math.sqrt(1 + float(slope @ slope))
    return noise


def _response(cube: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mask's response, (band, y - 2, x - 2)."""
    if min(cube.shape[1:]) < 3:
        return np.full((len(cube), 0, 0), np.nan)
    return np.stack([convolve(p.astype(np.float64), MASK)[1:-1, 1:-1] for p in cube])


def _masked(response: NDArray[np.float64], weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return a response with NaN where a pixel in the mask's support is missing."""
    if not response.size or not (weight < 1).any():
        return response
    missing = convolve((weight < 1).astype(np.float64), np.ones((3, 3)))[1:-1, 1:-1] > 0
    return np.where(missing, np.nan, response)


def _block_rms(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the root mean squares of the blocks of a plane that have no missing pixel, (block,)."""
    rows, columns = (n // BLOCK_PX for n in plane.shape)
    blocks = plane[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    square = (blocks**2).mean((1, 3)).ravel()
    return np.asarray(np.sqrt(square[np.isfinite(square)]))


def estimate_spectral_noise(spectra: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """Estimate the noise of each band by its residual from spectral neighbours.

    The multiple-regression estimator of Roger and Arnold (1996) and HySime (Bioucas-Dias and
    Nascimento, 2008) with the nearest bands, corrected by the scene's smallest eigenvalues.

    Parameters
    ----------
    spectra : array, shape (band, pixel)
    weight : array, shape (pixel,)

    Returns
    -------
    array, shape (band,)
        Standard deviations, physical units; 0 for constant scenes.
    """
    x = (spectra[:, weight > 0]).astype(np.float64)
    x -= x.mean(1, keepdims=True)
    pixels = x.shape[1]
    return _spectral_noise(x @ x.T / pixels, pixels)


def _spectral_noise(covariance: NDArray[np.float64], pixels: int) -> NDArray[np.float64]:
    """Return the noise of each band from the covariance of so many pixels; see `estimate_spectral_noise`."""
    count = len(covariance)
    if count < MIN_SPECTRAL_BANDS or not covariance.any():
        return np.zeros(count)
    variance = _unexplained(covariance) * pixels / max(pixels - min(NOISE_NEIGHBOURS, count - 1), 1)
    # Below this is rounding, by which the covariance cannot be whitened.
    least = np.sqrt(1e-12 * np.trace(covariance) / count)
    noise = np.sqrt(variance).clip(least)
    for _ in range(EIGENVALUE_STEPS):
        noise = (noise * _correction(covariance / np.outer(noise, noise), pixels)).clip(least)
    return np.asarray(noise)


def _unexplained(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance of each band that its nearest bands do not explain, (band,)."""
    count = len(covariance)
    ridge = 1e-9 * np.trace(covariance) / count
    neighbours = min(NOISE_NEIGHBOURS, count - 1)
    unexplained = np.empty(count)
    for b in range(count):
        first = min(max(0, b - neighbours // 2), count - neighbours - 1)
        near = [j for j in range(first, first + neighbours + 1) if j != b]
        gram = covariance[np.ix_(near, near)] + ridge * np.eye(len(near))
        cross = covariance[near, b]
        unexplained[b] = covariance[b, b] - cross @ np.linalg.solve(gram, cross)
    return unexplained.clip(0)


def _correction(whitened: NDArray[np.float64], pixels: int) -> NDArray[np.float64]:
    """Return the factor from the residual of spectral neighbours to the noise of each band, (band,), 0..1.

    The residual contains signal that the neighbours do not explain. The smaller half of the whitened eigenvalues
    contains none: it is compared with the distribution of Marchenko and Pastur (1967) for pure noise.
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
    """Return least and largest eigenvalue of white noise of unit variance, for bands over pixels."""
    return (1 - math.sqrt(aspect)) ** 2, (1 + math.sqrt(aspect)) ** 2


def _pastur_lower_half(aspect: float) -> float:
    """Return the mean of the smaller half of the eigenvalues of white noise of unit variance."""
    low, high = marchenko_pastur_range(aspect)
    values = np.linspace(low, high, 2001)[1:-1]
    density = np.sqrt((high - values) * (values - low)) / values
    half = np.cumsum(density) / density.sum() <= 0.5
    return float((values[half] * density[half]).sum() / density[half].sum())


def is_noisy(noise: NDArray[np.float64], std: NDArray[np.float64]) -> bool:
    """Return whether the noise of the bands (band,) is large against their standard deviations (band,)."""
    return bool(np.median(noise / np.maximum(std, 1e-30)) > NOISY_SHARE)


def noise_standard_errors(
    cubes: Sequence[NDArray[np.float32]], weights: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Return the standard error of each band's noise, by leaving out each quarter of the scene in turn (jackknife).

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
    weights : sequence of array, shape (y, x)
        As for `estimate_noise`.

    Returns
    -------
    array, shape (band,)
        Physical units.
    """
    parts = [(i, j) for i in range(JACKKNIFE_PARTS) for j in range(JACKKNIFE_PARTS)]
    if len(cubes[0]) < MIN_SPECTRAL_BANDS:
        # The response is the same for all parts.
        responses = [_response(c) for c in cubes]
        estimates = np.stack([_spatial_noise(responses, [_without(w, *part) for w in weights]) for part in parts])
    else:
        estimates = np.stack(_spectral_noise_without(parts, cubes, weights))
    count = len(parts)
    return np.asarray(np.sqrt((count - 1) / count * ((estimates - estimates.mean(0)) ** 2).sum(0)))


def _spectral_noise_without(
    parts: Sequence[tuple[int, int]], cubes: Sequence[NDArray[np.float32]], weights: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float64]]:
    """Return the noise of each band without each of the parts in turn, from products that are formed once a part."""
    count, sums = len(cubes[0]), []
    # Differences from a spectrum of the scene, by which little is lost to rounding.
    centre = cubes[0].mean((1, 2), dtype=np.float64)
    for part in parts:
        cut = [_part(w.shape, *part) for w in weights]
        used = [c[:, y, x][:, w[y, x] > 0] for c, w, (y, x) in zip(cubes, weights, cut, strict=True)]
        z = np.concatenate(used, 1).astype(np.float64) - centre[:, None]
        sums.append((z.shape[1], z.sum(1), z @ z.T))
    out = []
    for left in range(len(parts)):
        others = [s for i, s in enumerate(sums) if i != left]
        pixels = sum(n for n, _, _ in others)
        mean = sum((s for _, s, _ in others), np.zeros(count)) / max(pixels, 1)
        products = sum((p for _, _, p in others), np.zeros((count, count)))
        out.append(_spectral_noise(products / max(pixels, 1) - np.outer(mean, mean), pixels))
    return out


def _part(shape: tuple[int, ...], row: int, column: int) -> tuple[slice, slice]:
    """Return rows and columns of a part of a window."""
    y, x = ([n * k // JACKKNIFE_PARTS for k in range(JACKKNIFE_PARTS + 1)] for n in shape)
    return slice(y[row], y[row + 1]), slice(x[column], x[column + 1])


def _without(weight: NDArray[np.float32], row: int, column: int) -> NDArray[np.float32]:
    """Return weights with those of one part of the window at 0."""
    out = weight.copy()
    out[_part(weight.shape, row, column)] = 0
    return out
