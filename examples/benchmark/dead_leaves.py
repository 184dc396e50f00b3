"""Synthetic scenes of leaves that hide one another: edges of every size and direction, as sharp as their pixels allow.

They are unlike any camera's, so that what learns from them besides real scenes does not learn one camera's sharpness.
"""

from __future__ import annotations

import numpy as np
from degradations import Floats, Matrix
from scipy.ndimage import gaussian_filter

# Rendered so much finer, then averaged.
OVERSAMPLING = 2
BANDS = 6


def dead_leaves(seed: int, side: int = 400) -> Floats:
    """Return a scene (band, y, x) in 0..1."""
    rng = np.random.default_rng([seed, 7])
    size = side * OVERSAMPLING
    spectra = rng.uniform(0.05, 1, (8, BANDS)) * rng.uniform(0.3, 1, (8, 1))
    image = np.broadcast_to(spectra[0, :, None, None], (BANDS, size, size)).astype(np.float32).copy()
    texture = _texture(rng, size)
    smallest, largest = rng.uniform(2, 6), rng.uniform(60, 250)
    for _ in range(int(rng.integers(1500, 5000))):
        # Areas follow a power law, so that the scene looks alike at every scale.
        radius = (smallest**-2 + rng.uniform() * (largest**-2 - smallest**-2)) ** -0.5
        _paint(image, texture, rng, radius, spectra)
    fine = image.reshape(BANDS, side, OVERSAMPLING, side, OVERSAMPLING).mean((2, 4))
    soft = gaussian_filter(fine, (0, *[rng.uniform(0.2, 0.55)] * 2))
    out: Floats = np.clip(soft / soft.max(), 0, 1).astype(np.float32)
    return out


def _texture(rng: np.random.Generator, size: int) -> Floats:
    """Return noise whose spectrum falls by a power of the frequency, deviation 1."""
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    f[0, 0] = 1
    spectrum = np.fft.rfft2(rng.normal(size=(size, size))) * f ** -rng.uniform(0.8, 1.8)
    plane = np.fft.irfft2(spectrum, s=(size, size))
    out: Floats = (plane / plane.std()).astype(np.float32)
    return out


def _paint(image: Floats, texture: Floats, rng: np.random.Generator, radius: float, spectra: Matrix) -> None:
    """Paint one leaf: an ellipse or a rectangle of one material, turned, with texture and a gradient."""
    size = image.shape[1]
    cy, cx = rng.uniform(0, size, 2)
    reach = int(1.5 * radius) + 2
    y0, y1, x0, x1 = (int(np.clip(v, 0, size)) for v in (cy - reach, cy + reach, cx - reach, cx + reach))
    if y1 <= y0 or x1 <= x0:
        return
    y, x = np.mgrid[y0:y1, x0:x1] - np.array([cy, cx])[:, None, None]
    angle, aspect = rng.uniform(0, np.pi), rng.uniform(0.4, 1)
    u, v = np.cos(angle) * y + np.sin(angle) * x, (np.cos(angle) * x - np.sin(angle) * y) / aspect
    inside = (u**2 + v**2 < radius**2) if rng.uniform() < 0.6 else np.maximum(abs(u), abs(v)) < 0.8 * radius
    share = rng.dirichlet(np.full(len(spectra), 0.3))
    light = rng.uniform(0.4, 1) * (1 + rng.uniform(-0.3, 0.3) * u / radius)
    light = light * (1 + rng.uniform(0, 0.12) * texture[y0:y1, x0:x1])
    colour = (share @ spectra)[:, None, None] * np.maximum(light, 0.02)
    image[:, y0:y1, x0:x1] = np.where(inside, colour, image[:, y0:y1, x0:x1])
