"""Random blurs, patches and bands of references, to train our networks.

The shares (docs/algorithm.md) include what few scenes have, so that the networks know it: few wide
bands, soft optics, anisotropic blurs, wrong PSFs.
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
Matrix = NDArray[np.float64]

# Share of the samples that are degraded by MATLAB's bicubic reduction.
CUBIC_SHARE = 1 / 3
# MTF gains at the lr Nyquist frequency of the others' Gaussians: range along y, and standard deviation of
# the difference along x.
GAINS, GAIN_DIFFERENCE_STD = (0.15, 0.5), 0.02
# Bounds of a gain along x.
MIN_GAIN, MAX_GAIN = 0.12, 0.55
# Share of the Gaussians with independent gains along y and x, as SFPN's operator has them, and their range.
ANISOTROPIC_SHARE, ANISOTROPIC_GAINS = 0.12, (0.03, 0.9)
# Share of the Gaussians that are not centred on the lr pixel.
SHIFTED_SHARE = 0.1
# Share of the PSFs that the closed form is given wrongly, and the standard deviation of the error, in
# logarithms of the gain.
WRONG_PSF_SHARE, WRONG_GAIN_LOG_STD = 0.1, 0.2
# Shares of the patches that are averages of 1 x 1, 2 x 2 and 3 x 3 pixels.
AVERAGING_SHARES = {1: 0.6, 2: 0.3, 3: 0.1}
# Share of the patches that are blurred before, and the range of the blur's standard deviation, hr pixels.
SOFT_SHARE, SOFT_SIGMA_PX = 0.1, (0.3, 0.8)
# Share of the samples whose neighbours are the adjacent bands. Of the others they are up to a sixth of the
# spectrum apart, as few wide bands are; of a few they are the band itself.
ADJACENT_SHARE, BANDS_PER_WIDEST_STRIDE, NO_NEIGHBOUR_SHARE = 0.4, 6, 0.05


def draw_psfs(rng: Rng, ratio: int) -> tuple[Psf, Psf]:
    """Draw the PSF of a scene and the one that the closed form is given, which is mostly the same."""
    if rng.random() < CUBIC_SHARE:
        blur = matlab_bicubic(ratio)
        return blur, blur
    gains = _draw_gains(rng)
    shift = tuple(rng.uniform(-ratio / 2, ratio / 2, 2)) if rng.random() < SHIFTED_SHARE else (0.0, 0.0)
    blur = _gaussian_psf(ratio, gains, shift)
    if rng.random() >= WRONG_PSF_SHARE:
        return blur, blur
    factor = math.exp(rng.normal(0, WRONG_GAIN_LOG_STD))
    return blur, _gaussian_psf(ratio, (gains[0] * factor, gains[1] * factor), shift)


def matlab_bicubic(ratio: int) -> Psf:
    """Return MATLAB's ``imresize(..., 1 / ratio, "bicubic")`` as a PSF: Keys' kernel, a = -0.5, widened by the ratio."""
    offsets = np.arange(-2 * ratio, 3 * ratio)
    weights = cubic_kernel((offsets - (ratio - 1) / 2) / ratio, a=-0.5)
    taps = tuple((weights / weights.sum()).tolist())
    return Psf(ratio, taps, taps, int(offsets[0]), int(offsets[0]))


def _draw_gains(rng: Rng) -> tuple[float, float]:
    if rng.random() < ANISOTROPIC_SHARE:
        y, x = rng.uniform(*ANISOTROPIC_GAINS, 2)
        return float(y), float(x)
    gain = rng.uniform(*GAINS)
    return float(gain), float(np.clip(gain + rng.normal(0, GAIN_DIFFERENCE_STD), MIN_GAIN, MAX_GAIN))


def _gaussian_psf(ratio: int, gains: tuple[float, float], shift: tuple[float, float]) -> Psf:
    y, x = (ratio / math.pi * math.sqrt(-2 * math.log(g)) for g in np.clip(gains, 0.02, 0.9))
    return Psf.gaussian(ratio, (y, x), shift)


def draw_patch(rng: Rng, scene: Floats, side: int, bands: NDArray[np.int_]) -> Floats:
    """Draw a square of some bands of a scene (band, y, x): averaged, rotated, mirrored, blurred."""
    factors = {f: p for f, p in AVERAGING_SHARES.items() if min(scene.shape[1:]) >= f * side}
    shares = np.array(list(factors.values()))
    factor = int(rng.choice(list(factors), p=shares / shares.sum()))
    y, x = (int(rng.integers(0, n - side * factor + 1)) for n in scene.shape[1:])
    cut = scene[bands, y : y + side * factor, x : x + side * factor]
    if factor > 1:
        cut = cut.reshape(len(cut), side, factor, side, factor).mean((2, 4))
    cut = np.rot90(cut, int(rng.integers(4)), (1, 2))
    if rng.random() < 0.5:
        cut = cut[:, :, ::-1]
    if rng.random() < SOFT_SHARE:
        sigma = rng.uniform(*SOFT_SIGMA_PX)
        cut = gaussian_filter(cut, (0, sigma, sigma), mode="nearest")
    return np.ascontiguousarray(cut, np.float32)


def draw_bands(rng: Rng, count: int, number: int) -> NDArray[np.int_]:
    """Draw some of `count` bands with their neighbours, (band, neighbour), of random spacing and direction."""
    chosen = rng.choice(count, number, replace=number > count)
    kind = rng.random()
    widest = max(1, count // BANDS_PER_WIDEST_STRIDE)
    stride = 1 if kind < ADJACENT_SHARE else int(np.exp(rng.uniform(0, np.log(widest + 0.99))))
    if kind > 1 - NO_NEIGHBOUR_SHARE:
        stride = 0
    return neighbours(chosen, count, stride if rng.random() < 0.5 else -stride)
