"""The spectral subspace: a few components that carry the scene, and the noise of its bands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

# A component is kept if its variance is beyond what pure noise reaches in a sample of this size,
# with 2 % to spare, or 1e-7 of the largest. (The lab's fixed margin of a quarter is 0.1 to 0.3 dB
# worse on large scenes, which can tell weaker components from noise.)
NOISE_MARGIN = 1.02
FLOOR = 1e-7
# Below a dozen bands, what a band does not share with the others is signal, not noise.
NOISE_BANDS = 12
# Neighbours of a band in all, and steps of the correction: six to either side and one step leave
# the bands at both ends 30 % too noisy, which cost 0.15 dB on sponges x4 S.
NOISE_NEIGHBOURS = 20
TAIL_STEPS = 10
# Noise above 3 % of a typical band's standard deviation is treated as noise: the lab's clean
# scenes have 0.1 to 1.2 %, its noisy ones 5.7 to 12 %.
NOISY = 0.03


@dataclass(frozen=True)
class Subspace:
    """Bands to components and back: ``z = project (x - mean)``, ``x = mean + expand z``.

    Attributes
    ----------
    mean : array, shape (band,)
    expand : array, shape (band, component)
        Orthonormal columns, times `scale`.
    scale : array, shape (band,)
        Relative noise of the bands on noisy scenes, else 1.
    noise : float
        Standard deviation of the noise of each component; 0 where the scene counts as clean.
        On clean scenes what the components do not carry is interpolated and added back; on
        noisy ones it is dropped.
    """

    mean: NDArray[np.float32]
    expand: NDArray[np.float32]
    scale: NDArray[np.float32]
    noise: float

    @cached_property
    def project(self) -> NDArray[np.float32]:
        """The way to components, shape (component, band)."""
        return np.ascontiguousarray((self.expand / self.scale[:, None] ** 2).T)

    @property
    def count(self) -> int:
        """Number of components."""
        return int(self.expand.shape[1])

    @property
    def keeps_rest(self) -> bool:
        """Whether what lies outside the subspace is added back."""
        return self.noise == 0

    def components(self, spectra: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the coefficients, shape (component, pixel), of spectra (band, pixel)."""
        return self.project @ (spectra - self.mean[:, None])

    def share(self) -> NDArray[np.float64]:
        """Return how much of each component a band makes up, shape (component, band); rows sum to 1."""
        square = self.expand.T.astype(np.float64) ** 2
        return np.asarray(square / square.sum(1, keepdims=True))


def band_noise(spectra: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float64]:
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
        Standard deviations in the bands' units; 0 for constant scenes and for those below a dozen bands.
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


def _pastur_range(aspect: float) -> tuple[float, float]:
    """Return where the eigenvalues of white noise of unit variance lie, for bands over pixels."""
    return (1 - math.sqrt(aspect)) ** 2, (1 + math.sqrt(aspect)) ** 2


def _pastur_lower_half(aspect: float) -> float:
    """Return the mean of the smaller half of the eigenvalues of white noise of unit variance."""
    low, high = _pastur_range(aspect)
    at = np.linspace(low, high, 2001)[1:-1]
    density = np.sqrt((high - at) * (at - low)) / at
    share = np.cumsum(density) / density.sum()
    half = share <= 0.5
    return float((at[half] * density[half]).sum() / density[half].sum())


def is_noisy(noise: NDArray[np.float64], std: NDArray[np.float64]) -> bool:
    """Say whether the noise of the bands is worth modelling."""
    return bool(np.median(noise / np.maximum(std, 1e-30)) > NOISY)


def find(
    spectra: NDArray[np.float32], weight: NDArray[np.float32], noise: NDArray[np.float64] | None = None
) -> Subspace:
    """Find the subspace that carries the scene.

    Parameters
    ----------
    spectra : array, shape (band, pixel)
        Filled, without NaN.
    weight : array, shape (pixel,)
        0..1, how valid a pixel is.
    noise : array, shape (band,), optional
        Noise of the bands on a noisy scene. The bands are scaled to equal noise first.

    Returns
    -------
    Subspace
    """
    used = weight > 0
    x, w = spectra[:, used].astype(np.float64), weight[used].astype(np.float64)
    mean = (x * w).sum(1) / w.sum()
    level = 0.0 if noise is None else float(np.median(noise))
    scale = np.ones(len(x)) if noise is None else np.maximum(noise, 0.1 * level) / level
    centred = (x - mean[:, None]) / scale[:, None]
    values, vectors = np.linalg.eigh((centred * w) @ centred.T / w.sum())
    values, vectors = values[::-1], vectors[:, ::-1]
    edge = NOISE_MARGIN * _pastur_range(len(x) / x.shape[1])[1]
    kept = int((values > edge * level**2 + FLOOR * values[0]).sum())
    basis = vectors[:, : min(max(kept, 2), len(x))]
    # The sign of an eigenvector is arbitrary; fix it, so that every run agrees.
    basis = basis * np.where(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])] < 0, -1.0, 1.0)
    expand = basis * scale[:, None]
    return Subspace(mean.astype(np.float32), expand.astype(np.float32), scale.astype(np.float32), level)
