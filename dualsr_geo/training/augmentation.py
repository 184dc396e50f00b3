"""What is drawn at random to train without a guide: blurs, patches and bands of references.

The shares are those of research/algorithm-lab-2.md B1, widened where a scene of another kind
would else be something never seen: few wide bands, soft optics, unlike blurs, PSFs misjudged.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dualsr_geo.degradation.operators import cubic_kernel
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.models.unguided_correction import neighbours

Rng = np.random.Generator
Floats = NDArray[np.float32]

# A third of the scenes is reduced as MATLAB does it; the others by Gaussians of these gains.
CUBIC_SHARE = 1 / 3
GAINS, GAIN_SPREAD = (0.15, 0.5), 0.02
# Some blur y and x unlike, as SFPN's operator does, and some are sampled off the centres.
UNLIKE_SHARE, UNLIKE_GAINS, SHIFT_SHARE = 0.12, (0.03, 0.9), 0.1
# Some PSFs are not what they are said to be, by this much in the logarithm of the gain.
MISTAKEN_SHARE, MISTAKE = 0.1, 0.2
# Share of patches averaged over so many pixels a side, and of blurred ones.
AVERAGED = {1: 0.6, 2: 0.3, 3: 0.1}
SOFT_SHARE, SOFT_PX = 0.1, (0.3, 0.8)
# Neighbours lie a band apart, or up to a sixth of the spectrum as few wide bands do, or are the band itself.
NEAR_SHARE, WIDEST, LONE_SHARE = 0.4, 6, 0.05


def psfs(rng: Rng, ratio: int) -> tuple[Psf, Psf]:
    """Draw how a scene is blurred, and how it is said to be, which is mostly the same."""
    if rng.random() < CUBIC_SHARE:
        blur = matlab_bicubic(ratio)
        return blur, blur
    gains = _gains(rng)
    shift = tuple(rng.uniform(-ratio / 2, ratio / 2, 2)) if rng.random() < SHIFT_SHARE else (0.0, 0.0)
    blur = _gaussian(ratio, gains, shift)
    if rng.random() >= MISTAKEN_SHARE:
        return blur, blur
    factor = math.exp(rng.normal(0, MISTAKE))
    return blur, _gaussian(ratio, (gains[0] * factor, gains[1] * factor), shift)


def matlab_bicubic(ratio: int) -> Psf:
    """Return MATLAB's ``imresize(..., 1 / ratio, "bicubic")`` as a PSF: Keys' kernel, a = -0.5, widened by the ratio."""
    at = np.arange(-2 * ratio, 3 * ratio)
    weights = cubic_kernel((at - (ratio - 1) / 2) / ratio, a=-0.5)
    taps = tuple((weights / weights.sum()).tolist())
    return Psf(ratio, taps, taps, int(at[0]), int(at[0]))


def _gains(rng: Rng) -> tuple[float, float]:
    if rng.random() < UNLIKE_SHARE:
        both = rng.uniform(*UNLIKE_GAINS, 2)
        return float(both[0]), float(both[1])
    gain = rng.uniform(*GAINS)
    return float(gain), float(np.clip(gain + rng.normal(0, GAIN_SPREAD), 0.12, 0.55))


def _gaussian(ratio: int, gains: tuple[float, float], shift: tuple[float, float]) -> Psf:
    y, x = (ratio / math.pi * math.sqrt(-2 * math.log(g)) for g in np.clip(gains, 0.02, 0.9))
    return Psf.gaussian(ratio, (y, x), shift)


def patch(rng: Rng, scene: Floats, side: int, some: NDArray[np.int_]) -> Floats:
    """Draw a square of some bands of a scene (band, y, x): averaged, turned, mirrored, softened."""
    factors = {f: p for f, p in AVERAGED.items() if min(scene.shape[1:]) >= f * side}
    shares = np.array(list(factors.values()))
    factor = int(rng.choice(list(factors), p=shares / shares.sum()))
    y, x = (int(rng.integers(0, n - side * factor + 1)) for n in scene.shape[1:])
    cut = scene[some, y : y + side * factor, x : x + side * factor]
    if factor > 1:
        cut = cut.reshape(len(cut), side, factor, side, factor).mean((2, 4))
    cut = np.rot90(cut, int(rng.integers(4)), (1, 2))
    if rng.random() < 0.5:
        cut = cut[:, :, ::-1]
    if rng.random() < SOFT_SHARE:
        width = rng.uniform(*SOFT_PX)
        cut = gaussian_filter(cut, (0, width, width), mode="nearest")
    return np.ascontiguousarray(cut, np.float32)


def bands(rng: Rng, count: int, number: int) -> NDArray[np.int_]:
    """Draw some of `count` bands and what is seen of each, (band, neighbour): spacing and direction vary."""
    chosen = rng.choice(count, number, replace=number > count)
    kind = rng.random()
    widest = max(1, count // WIDEST)
    stride = 1 if kind < NEAR_SHARE else int(np.exp(rng.uniform(0, np.log(widest + 0.99))))
    if kind > 1 - LONE_SHARE:
        stride = 0
    return neighbours(chosen, count, stride if rng.random() < 0.5 else -stride)
