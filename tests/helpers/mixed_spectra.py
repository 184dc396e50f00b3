"""Mixtures of smooth spectra."""

import numpy as np

ONES = np.ones(3000, np.float32)


def mixed_spectra(bands: int = 31, pixels: int = 3000, noise: float = 0.0, seed: int = 0, rank: int = 4) -> np.ndarray:
    """Mix smooth spectra, as materials do."""
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 1, bands)
    pure = np.stack([np.exp(-(((at - c) / 0.3) ** 2)) for c in np.linspace(0, 1, rank)])
    share = rng.dirichlet(np.full(rank, 0.7), pixels).T
    mixed = 0.1 + 0.4 * pure.T @ share
    return (mixed + noise * rng.standard_normal(mixed.shape)).astype(np.float32)
