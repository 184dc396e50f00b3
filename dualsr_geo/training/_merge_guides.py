"""What is drawn at random to train with a guide: the guide's responses, and how the bands lie."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.training.augmentation import Floats, Rng

# Of scenes with more bands than this some bands are left out.
MANY = 18
# Spectra mixed with signs, so that neighbours hardly resemble each other.
MIXED_SHARE = 0.25
# Kinds of guides: pan, three gaussian responses, what a wild sample may have.
PAN_SHARE, WIDEST_GUIDE = 0.5, 5
GAIN_SPREAD = 0.25


def response(rng: Rng, bands: int, cameras: Sequence[Floats], *, wild: bool) -> NDArray[np.floating]:
    """Draw the responses of a guide, (guide band, band), rows summing to 1: pan, a camera's, or bells."""
    kind = rng.random()
    if kind < PAN_SHARE:
        first, last = (0, bands) if not wild else sorted(rng.choice(bands + 1, 2, replace=False))
        # Pan and the visible part of a scene that sees further.
        last = max(last, first + max(2, bands // 4))
        flat = ((np.arange(bands) >= first) & (np.arange(bands) < last)).astype(float)
        known = [c for c in cameras if len(c) == 1]
        return known[int(rng.integers(len(known)))] if known and not wild else flat[None] / max(flat.sum(), 1)
    known = [c for c in cameras if len(c) > 1]
    if known and (not wild or kind < (1 + PAN_SHARE) / 2):
        return known[int(rng.integers(len(known)))]
    count = int(rng.integers(2, WIDEST_GUIDE + 1)) if wild else 3
    low, high = np.sort(rng.random(2)) if wild and rng.random() < 0.5 else (0.05, 0.95)
    centres = (low + (high - low) * np.sort(rng.random(count))) * bands
    widths = bands * rng.uniform(0.03, 0.3, count)
    bells = np.exp(-0.5 * ((np.arange(bands) - centres[:, None]) / widths[:, None]) ** 2) + 1e-9
    return np.asarray(bells / bells.sum(1, keepdims=True))


def spectrum(rng: Rng, cut: Floats, *, wild: bool) -> Floats:
    """Lay the bands otherwise: some only, backwards, brighter, and wild ones mixed with signs."""
    cube = cut / max(float(cut.max()), 1e-12)
    if wild and rng.random() < MIXED_SHARE:
        at = np.arange(len(cube))
        smooth = np.exp(-0.5 * ((at[:, None] - at) / rng.uniform(2, 8)) ** 2)
        mixing = smooth @ rng.standard_normal((len(cube), len(cube)))
        mixing = 0.5 * mixing / np.linalg.norm(mixing, axis=1, keepdims=True) + rng.uniform(0, 1) * np.eye(len(cube))
        cube = np.einsum("ab,byx->ayx", mixing, cube)
        cube = cube - cube.min((1, 2), keepdims=True)
    stride = int(rng.choice([1, 1, 1, 2, 3])) if len(cube) > MANY else 1
    cube = cube[int(rng.integers(stride)) :: stride]
    if rng.random() < 0.5:
        cube = cube[::-1]
    return np.ascontiguousarray(cube * math.exp(rng.normal(0, GAIN_SPREAD)), np.float32)
