"""Degradations of references to train the published networks: those of their papers, and a Gaussian PSF."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dualsr_geo.degradation.operators import Operator, operator
from dualsr_geo.degradation.psf import Psf

Degradation = Literal["bicubic", "mtf", "kernels", "published-kernels"]
Rng = np.random.Generator

# SFPN section IV-B and its published code: sides and least width of the kernels, how they are decimated,
# the share of samples without noise, and the noise of the others in units of the range.
KERNEL_SIZES_PX = (7, 9, 13, 15, 21)
MIN_SIGMA_PX = 0.2
DECIMATIONS = ("direct", "bicubic", "bilinear")
NOISE_FREE_SHARE = 0.2
NOISE_STDS = (1 / 255, 2 / 255, 3 / 255, 4 / 255)


def degrade(rng: Rng, cube: Tensor, ratio: int, degradation: Degradation, gain: float) -> Tensor:
    """Degrade a cube to `ratio` times larger pixels.

    Parameters
    ----------
    rng : Generator
        Draws kernels and noise.
    cube : Tensor of float32, shape (band, ratio * y, ratio * x)
    ratio : int
    degradation : str
        ``"bicubic"``, antialiased, as in DualSR; ``"mtf"``, a Gaussian; ``"kernels"``, SFPN's
        random Gaussians, decimations and noise; ``"published-kernels"``, the same with the errors
        of its code: isotropic kernels are in a corner of their window, others half an lr pixel off
        if they are decimated by interpolation.
    gain : float
        MTF gain at the lr Nyquist frequency, of ``"mtf"``.

    Returns
    -------
    Tensor, shape (band, y, x)
    """
    if degradation == "bicubic":
        return _resample(cube, ratio, "bicubic", antialias=True)
    if degradation == "mtf":
        return _gaussian(ratio, gain, (cube.shape[1] // ratio, cube.shape[2] // ratio)).degrade(cube)
    decimation = str(rng.choice(DECIMATIONS))
    taps = draw_kernel(rng, ratio, decimation, published=degradation == "published-kernels")
    return _with_noise(rng, blur_and_decimate(cube, taps, ratio, decimation))


@lru_cache(maxsize=16)
def _gaussian(ratio: int, gain: float, shape: tuple[int, int]) -> Operator:
    return operator(Psf.from_mtf(ratio, gain), shape)


def draw_kernel(rng: Rng, ratio: int, decimation: str, *, published: bool) -> NDArray[np.float64]:
    """Draw one of SFPN's kernels of sum 1, shape (size, size).

    The centre of an lr pixel is (ratio - 1) / 2 hr pixels after its first hr pixel. Direct
    decimation takes the first, so the kernel is centred there; interpolation shifts by itself.
    """
    size = int(rng.choice(KERNEL_SIZES_PX))
    isotropic = rng.random() < 0.5
    first, second = rng.uniform(MIN_SIGMA_PX, ratio, 2)
    angle = rng.uniform(0, math.pi)
    if isotropic:
        second = first
    centre = (size - 1) / 2 + ((ratio - 1) / 2 if decimation == "direct" else 0.0)
    if published:
        centre = 0.0 if isotropic else (size - 1) / 2 + (ratio - 1) / 2
    offsets = np.arange(size) - centre
    y, x = np.meshgrid(offsets, offsets, indexing="ij")
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    # The paper's lambda are eigenvalues of the covariance if the kernel is anisotropic.
    variances = (first**2, second**2) if isotropic else (first, second)
    logarithm = -0.5 * (along**2 / variances[0] + across**2 / variances[1])
    weights = np.exp(logarithm - logarithm.max())
    taps: NDArray[np.float64] = weights / weights.sum()
    return taps


def blur_and_decimate(cube: Tensor, taps: NDArray[np.float64], ratio: int, decimation: str) -> Tensor:
    """Blur a cube (band, y, x), its edges replicated, and decimate it directly or by interpolation."""
    before = len(taps) // 2
    bordered = functional.pad(cube[:, None], [before, len(taps) - 1 - before] * 2, mode="replicate")
    blurred = functional.conv2d(bordered, torch.from_numpy(taps).to(cube)[None, None])[:, 0]
    return blurred[:, ::ratio, ::ratio] if decimation == "direct" else _resample(blurred, ratio, decimation)


def _resample(cube: Tensor, ratio: int, mode: str, *, antialias: bool = False) -> Tensor:
    size = cube.shape[1] // ratio, cube.shape[2] // ratio
    return functional.interpolate(cube[None], size, mode=mode, align_corners=False, antialias=antialias)[0]


def _with_noise(rng: Rng, lr: Tensor) -> Tensor:
    if rng.random() < NOISE_FREE_SHARE:
        return lr
    noise = float(rng.choice(NOISE_STDS)) * rng.standard_normal(tuple(lr.shape), np.float32)
    return (lr + torch.from_numpy(noise)).clamp(0, 1)
