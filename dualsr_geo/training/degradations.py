"""How references are degraded to train the published networks: as their papers say, or as real sensors do."""

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

# SFPN section IV-B and its published code: sizes of kernels, how they are decimated, and the noise.
SIZES = (7, 9, 13, 15, 21)
LEAST_SIGMA = 0.2
WAYS = ("direct", "bicubic", "bilinear")
CLEAN_SHARE, NOISES = 0.2, (1 / 255, 2 / 255, 3 / 255, 4 / 255)


def degraded(rng: Rng, cube: Tensor, ratio: int, how: Degradation, gain: float) -> Tensor:
    """Return what a sensor of `ratio` times larger pixels would have seen.

    Parameters
    ----------
    rng : Generator
        Draws kernels and noise.
    cube : Tensor of float32, shape (band, ratio * y, ratio * x)
    ratio : int
    how : str
        ``"bicubic"``, antialiased, as DualSR has it; ``"mtf"``, a Gaussian; ``"kernels"``, SFPN's
        random Gaussians, decimations and noise; ``"published-kernels"``, the same with the slips of
        its code: isotropic kernels lie in a corner of their window, others half an lr pixel off
        where they are decimated by interpolation.
    gain : float
        MTF gain at the lr Nyquist frequency, of ``"mtf"``.

    Returns
    -------
    Tensor, shape (band, y, x)
    """
    if how == "bicubic":
        return _smaller(cube, ratio, "bicubic", antialias=True)
    if how == "mtf":
        return _gaussian(ratio, gain, (cube.shape[1] // ratio, cube.shape[2] // ratio)).degrade(cube)
    way = str(rng.choice(WAYS))
    taps = kernel(rng, ratio, way, published=how == "published-kernels")
    return _noisy(rng, blurred_and_decimated(cube, taps, ratio, way))


@lru_cache(maxsize=16)
def _gaussian(ratio: int, gain: float, shape: tuple[int, int]) -> Operator:
    return operator(Psf.from_mtf(ratio, gain), shape)


def kernel(rng: Rng, ratio: int, way: str, *, published: bool) -> NDArray[np.float64]:
    """Draw one of SFPN's kernels, (size, size), its sum 1, to be decimated in a `way`.

    An lr pixel's centre lies (ratio - 1) / 2 hr pixels after its first; direct decimation takes the
    first, so that the kernel itself must lie there, and interpolation does it by itself.
    """
    size = int(rng.choice(SIZES))
    isotropic = rng.random() < 0.5
    first, second = rng.uniform(LEAST_SIGMA, ratio, 2)
    angle = rng.uniform(0, math.pi)
    if isotropic:
        second = first
    middle = (size - 1) / 2 + ((ratio - 1) / 2 if way == "direct" else 0.0)
    if published:
        middle = 0.0 if isotropic else (size - 1) / 2 + (ratio - 1) / 2
    at = np.arange(size) - middle
    y, x = np.meshgrid(at, at, indexing="ij")
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    # The paper's lambda are eigenvalues of the covariance where a kernel has a direction.
    powers = (first**2, second**2) if isotropic else (first, second)
    logarithm = -0.5 * (along**2 / powers[0] + across**2 / powers[1])
    weights = np.exp(logarithm - logarithm.max())
    made: NDArray[np.float64] = weights / weights.sum()
    return made


def blurred_and_decimated(cube: Tensor, taps: NDArray[np.float64], ratio: int, way: str) -> Tensor:
    """Blur a cube (band, y, x), edges repeated, and decimate it directly or by interpolation."""
    before = len(taps) // 2
    bordered = functional.pad(cube[:, None], [before, len(taps) - 1 - before] * 2, mode="replicate")
    blurred = functional.conv2d(bordered, torch.from_numpy(taps).to(cube)[None, None])[:, 0]
    return blurred[:, ::ratio, ::ratio] if way == "direct" else _smaller(blurred, ratio, way)


def _smaller(cube: Tensor, ratio: int, way: str, *, antialias: bool = False) -> Tensor:
    size = cube.shape[1] // ratio, cube.shape[2] // ratio
    return functional.interpolate(cube[None], size, mode=way, align_corners=False, antialias=antialias)[0]


def _noisy(rng: Rng, lr: Tensor) -> Tensor:
    if rng.random() < CLEAN_SHARE:
        return lr
    noise = float(rng.choice(NOISES)) * rng.standard_normal(tuple(lr.shape), np.float32)
    return (lr + torch.from_numpy(noise)).clamp(0, 1)
