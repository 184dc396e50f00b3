"""Scenes whose texture is of one image and whose spectra are of another, so that a few spectra meet any texture.

A pixel's spectrum is a mixture of materials. Which ones, is decided by the colours of the texture, so edges between
materials are edges of the texture. Spectra are those of real pixels.
"""

from __future__ import annotations

import numpy as np

from dualsr_geo.training.augmentation import Floats, Matrix, Rng

# Range of the number of materials, and the number of pixels among which a material unlike the others is looked for.
MATERIALS, CANDIDATES = (4, 20), 400
# One of so many candidates that are least like the materials drawn before.
UNLIKE_CANDIDATES = 40
# Number of random directions in which the colours of a texture are compared.
DIRECTIONS = 4
# Range of the width of the transition between materials, relative to the median squared distance of the colours.
TRANSITIONS = (0.02, 0.6)
# Share of the scenes whose shading is the texture's brightness within a material; that of the others is its brightness
# to a random power, at least `MIN_SHADE_POWER`.
SHADED_SHARE, MIN_SHADE_POWER = 0.6, 0.2
# Bounds of the shading.
MIN_SHADE, MAX_SHADE = 0.05, 5.0
TINY = 1e-9


def with_spectra(rng: Rng, texture: Floats, spectra: Floats) -> Floats:
    """Return a scene of the texture of one image and the spectra of another.

    Parameters
    ----------
    rng : Generator
    texture : array, shape (channel, y, x)
        Values of at least 0.
    spectra : array, shape (band, pixel)
        Of real pixels.

    Returns
    -------
    array of float32, shape (band, y, x)
    """
    shares = _shares(rng, texture, int(rng.integers(*MATERIALS)))
    materials = _materials(rng, spectra, shares.shape[1])
    mixed = materials @ shares.T * _shading(rng, texture, shares)
    return np.ascontiguousarray(mixed.reshape(len(spectra), *texture.shape[1:]), np.float32)


def _shares(rng: Rng, texture: Floats, count: int) -> Floats:
    """Return the shares of materials of each pixel, (pixel, material), by distance of its colour from random pixels'."""
    colours = texture.reshape(len(texture), -1).T
    colours = (colours - colours.mean(0)) / (colours.std(0) + TINY)
    directed = colours @ rng.standard_normal((len(texture), DIRECTIONS))
    centres = directed[rng.integers(0, len(directed), count)]
    distance = ((directed[:, None] - centres) ** 2).sum(2)
    distance -= distance.min(1, keepdims=True)
    shares = np.exp(-distance / (rng.uniform(*TRANSITIONS) * np.median(distance) + TINY))
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


def _materials(rng: Rng, spectra: Floats, count: int) -> Floats:
    """Return spectra of random pixels, (band, material); half of them unlike the others."""
    chosen = spectra[:, rng.integers(0, spectra.shape[1], count)].astype(np.float32)
    candidates = spectra[:, rng.integers(0, spectra.shape[1], CANDIDATES)]
    for place in range(count // 2):
        likeness = (_unit(candidates).T @ _unit(chosen)).max(1)
        chosen[:, place] = candidates[:, likeness.argsort()[int(rng.integers(0, UNLIKE_CANDIDATES))]]
    return chosen


def _unit(spectra: Floats) -> Matrix:
    return np.asarray(spectra / (np.linalg.norm(spectra, axis=0) + TINY), np.float64)


def _shading(rng: Rng, texture: Floats, shares: Floats) -> Floats:
    """Return factors of the spectra, (pixel,)."""
    brightness = texture.mean(0).ravel()
    brightness = brightness / (brightness.mean() + TINY)
    if rng.random() >= SHADED_SHARE:
        power = rng.uniform(MIN_SHADE_POWER, 1)
        return np.asarray(np.clip(brightness, MIN_SHADE, MAX_SHADE) ** power, np.float32)
    weight = shares.sum(0) + TINY
    within = shares @ ((shares.T @ brightness) / weight)
    return np.asarray(np.clip(brightness / np.maximum(within, MIN_SHADE), MIN_SHADE, MAX_SHADE), np.float32)
