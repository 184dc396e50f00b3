"""The spectral subspace: a few components that carry the scene's spectra."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.degradation.noise import marchenko_pastur_range

# A component is kept if its variance exceeds the largest eigenvalue of pure noise in a sample of this size by this
# factor, plus this share of the largest variance. A fixed margin of a quarter loses 0.1 to 0.3 dB on large scenes,
# where weaker components can be distinguished from noise.
NOISE_MARGIN = 1.02
MIN_VARIANCE_SHARE = 1e-7


@dataclass(frozen=True)
class Subspace:
    """Maps from bands to components and back: ``z = project (x - mean)``, ``x = mean + expand z``.

    Attributes
    ----------
    mean : array, shape (band,)
    expand : array, shape (band, component)
        Orthonormal columns, times `scale`.
    scale : array, shape (band,)
        Relative noise of the bands on noisy scenes, else 1.
    noise : float
        Standard deviation of the noise of each component, the same for all; 0 of a scene without
        noise. There the remainder, what the components do not carry, is interpolated and added back;
        on noisy scenes it is dropped.
    """

    mean: NDArray[np.float32]
    expand: NDArray[np.float32]
    scale: NDArray[np.float32]
    noise: float

    @cached_property
    def project(self) -> NDArray[np.float32]:
        """The map to components, shape (component, band)."""
        return np.ascontiguousarray((self.expand / self.scale[:, None] ** 2).T)

    @property
    def count(self) -> int:
        """Number of components."""
        return int(self.expand.shape[1])

    @property
    def keeps_rest(self) -> bool:
        """Whether the remainder outside the subspace is added back."""
        return self.noise == 0

    def components(self, spectra: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the coefficients, shape (component, pixel), of spectra (band, pixel)."""
        return self.project @ (spectra - self.mean[:, None])

    def leading(self, count: int) -> Subspace:
        """Return the subspace of the first components; itself if it has no more."""
        if count >= self.count:
            return self
        return replace(self, expand=np.ascontiguousarray(self.expand[:, :count]))

    def share(self) -> NDArray[np.float64]:
        """Return the share that each band has in a component's energy, shape (component, band); rows sum to 1."""
        square = self.expand.T.astype(np.float64) ** 2
        return np.asarray(square / square.sum(1, keepdims=True))


def estimate_subspace(
    spectra: NDArray[np.float32], weight: NDArray[np.float32], noise: NDArray[np.float64] | None = None
) -> Subspace:
    """Estimate the subspace that carries a scene, by eigenvectors of its covariance.

    Parameters
    ----------
    spectra : array, shape (band, pixel)
        Without NaN.
    weight : array, shape (pixel,)
        0..1, how valid a pixel is.
    noise : array, shape (band,), optional
        Standard deviations, of a noisy scene; its bands are scaled to equal noise first.
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
    count = int((values > edge * level**2 + MIN_VARIANCE_SHARE * values[0]).sum())
    basis = vectors[:, : min(max(count, 2), len(x))]
    # The sign of an eigenvector is arbitrary; fix it, so that every run agrees.
    basis = basis * np.where(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])] < 0, -1.0, 1.0)
    expand = basis * scale[:, None]
    return Subspace(mean.astype(np.float32), expand.astype(np.float32), scale.astype(np.float32), level)
