"""The spectral subspace: a few components that carry the scene."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.degradation.noise import marchenko_pastur_range

# A component is kept if its variance is beyond what pure noise reaches in a sample of this size,
# with 2 % to spare, or 1e-7 of the largest. (The lab's fixed margin of a quarter is 0.1 to 0.3 dB
# worse on large scenes, which can tell weaker components from noise.)
NOISE_MARGIN = 1.02
FLOOR = 1e-7


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


def estimate_subspace(
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
    edge = NOISE_MARGIN * marchenko_pastur_range(len(x) / x.shape[1])[1]
    kept = int((values > edge * level**2 + FLOOR * values[0]).sum())
    basis = vectors[:, : min(max(kept, 2), len(x))]
    # The sign of an eigenvector is arbitrary; fix it, so that every run agrees.
    basis = basis * np.where(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])] < 0, -1.0, 1.0)
    expand = basis * scale[:, None]
    return Subspace(mean.astype(np.float32), expand.astype(np.float32), scale.astype(np.float32), level)
