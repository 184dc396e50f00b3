"""How a scene is made of its reference: blur, decimation, noise.

They are written as matrices of their own, so that they also check `dualsr_geo.degradation.operators`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

SFPN_NOISE = 3 / 255
SFPN_VARIANCES = (2.0, 10.0)
LANCZOS_LOBES = 3


@dataclass(frozen=True)
class Degradation:
    """A way to make a scene.

    Attributes
    ----------
    sentence : str
        What is done, for the reader of the results.
    observe : callable
        (cube (band, y, x), ratio, MTF gains of the bands) -> scene (band, y / ratio, x / ratio).
    coregister : str
        Option of `upscale`; ``"off"`` where the scene's pixels are not at the centres of its grid,
        since a guide moved onto them would leave the reference's grid.
    """

    sentence: str
    observe: Callable[[Floats, int, tuple[float, ...]], Floats]
    coregister: str = "auto"


def gaussian_matrix(length: int, ratio: int, gain: float) -> Matrix:
    """Return blur and decimation along an axis of `length` hr pixels, (lr, hr); edges repeated.

    Parameters
    ----------
    length, ratio : int
    gain : float
        MTF gain at the lr Nyquist frequency.
    """
    sigma = ratio / math.pi * math.sqrt(-2 * math.log(gain))
    half = math.ceil(4 * sigma) + 1
    out = np.zeros((length // ratio, length))
    for i, row in enumerate(out):
        centre = i * ratio + (ratio - 1) / 2
        at = np.arange(math.floor(centre) - half, math.floor(centre) + half + 2)
        weights = np.exp(-0.5 * ((at - centre) / sigma) ** 2)
        np.add.at(row, at.clip(0, length - 1), weights / weights.sum())
    return out


def imresize_matrix(length: int, ratio: int) -> Matrix:
    """Return MATLAB's ``imresize(..., 1 / ratio, "bicubic")`` along an axis, (lr, hr).

    Keys' kernel of a = -0.5, widened by the ratio; beyond the edge the axis is mirrored.
    """
    return kernel_matrix(length, ratio, partial(keys, a=-0.5), 2.0)


def kernel_matrix(length: int, ratio: int, kernel: Callable[[Matrix], Matrix], reach: float) -> Matrix:
    """Return blur by a kernel and decimation along an axis, (lr, hr); beyond the edge the axis is mirrored.

    Parameters
    ----------
    length, ratio : int
    kernel : callable
        From distances to weights, in lr pixels.
    reach : float
        Of the kernel, lr pixels.
    """
    out = np.zeros((length // ratio, length))
    half = math.ceil(reach * ratio) + 1
    for i, row in enumerate(out):
        centre = i * ratio + (ratio - 1) / 2
        at = np.arange(math.floor(centre) - half, math.floor(centre) + half + 2)
        weights = kernel((at - centre) / ratio)
        np.add.at(row, mirrored(at, length), weights / weights.sum())
    return out


def lanczos(distance: Matrix) -> Matrix:
    """Return Lanczos' kernel of three lobes."""
    return np.where(np.abs(distance) < LANCZOS_LOBES, np.sinc(distance) * np.sinc(distance / LANCZOS_LOBES), 0.0)


def sfpn_matrix(length: int, ratio: int, variance: float) -> Matrix:
    """Return SFPN's degradation: a 13-tap window around a Gaussian off its middle, then bicubic sampling."""
    off = np.arange(13) - 6
    taps = np.exp(-0.5 * (off - (ratio - 1) / 2) ** 2 / variance)
    blur, sample = np.zeros((length, length)), np.zeros((length // ratio, length))
    for n, row in enumerate(blur):
        np.add.at(row, mirrored(n + off, length), taps / taps.sum())
    for i, row in enumerate(sample):
        position = (i + 0.5) * ratio - 0.5
        at = math.floor(position) + np.arange(-1, 3)
        np.add.at(row, at.clip(0, length - 1), keys(position - at, a=-0.75))
    return sample @ blur


def keys(distance: NDArray[np.floating[Any]], a: float) -> Matrix:
    """Return Keys' cubic convolution kernel."""
    d = np.abs(distance)
    inner = (a + 2) * d**3 - (a + 3) * d**2 + 1
    outer = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d < 1, inner, np.where(d < 2, outer, 0.0))


def mirrored(at: NDArray[np.int_], length: int) -> NDArray[np.int_]:
    """Return indices with those beyond the edge mirrored at it: -1 is 0, `length` is `length` - 1."""
    around = at % (2 * length)
    return np.where(around < length, around, 2 * length - 1 - around)


def degraded(cube: Floats, ratio: int, gain: float) -> Floats:
    """Blur a cube (band, y, x) by a Gaussian of this MTF gain and decimate it."""
    dy, dx = (gaussian_matrix(n, ratio, gain) for n in cube.shape[1:])
    return _applied(dy, cube, dx)


def _applied(dy: Matrix, cube: NDArray[Any], dx: Matrix) -> Floats:
    out: Floats = (dy @ cube @ dx.T).astype(np.float32)
    return out


def _mtf(cube: Floats, ratio: int, gains: tuple[float, ...]) -> Floats:
    if len(gains) == 1:
        return degraded(cube, ratio, gains[0])
    return np.concatenate([degraded(cube[i : i + 1], ratio, g) for i, g in enumerate(gains)])


def _imresize(cube: Floats, ratio: int, _: tuple[float, ...]) -> Floats:
    dy, dx = (imresize_matrix(n, ratio) for n in cube.shape[1:])
    return _applied(dy, cube, dx)


def _lanczos(cube: Floats, ratio: int, _: tuple[float, ...]) -> Floats:
    dy, dx = (kernel_matrix(n, ratio, lanczos, LANCZOS_LOBES) for n in cube.shape[1:])
    return _applied(dy, cube, dx)


def _box(cube: Floats, ratio: int, _: tuple[float, ...]) -> Floats:
    bands, height, width = cube.shape
    parts = cube.reshape(bands, height // ratio, ratio, width // ratio, ratio)
    return np.asarray(parts.mean((2, 4), dtype=np.float64), np.float32)


def _gaussian(cube: Floats, ratio: int, _: tuple[float, ...], gain: float) -> Floats:
    return degraded(cube, ratio, gain)


def _nearest(cube: Floats, ratio: int, _: tuple[float, ...]) -> Floats:
    return np.ascontiguousarray(cube[:, ratio // 2 :: ratio, ratio // 2 :: ratio])


def _cubic(cube: Floats, ratio: int, _: tuple[float, ...]) -> Floats:
    dy, dx = (kernel_matrix(n, ratio, lambda d: keys(d * ratio, a=-0.75), 2 / ratio) for n in cube.shape[1:])
    return _applied(dy, cube, dx)


def _sfpn(cube: Floats, ratio: int, _: tuple[float, ...]) -> Floats:
    dy, dx = (sfpn_matrix(n, ratio, v) for n, v in zip(cube.shape[1:], SFPN_VARIANCES, strict=True))
    clean = torch.from_numpy(_applied(dy, cube, dx))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    noisy: Floats = (clean + SFPN_NOISE * noise).clamp(0, 1).numpy()
    return noisy


DEGRADATIONS = {
    "mtf": Degradation(
        "The reference is blurred by a Gaussian with an MTF gain of 0.3 at the lr Nyquist frequency (wv2: 0.35, its "
        "last band 0.27) and sampled at the centres of the lr pixels. No noise.",
        _mtf,
    ),
    "matlab-bicubic": Degradation(
        "The reference is reduced as by MATLAB's `imresize(..., 'bicubic')`: a cubic kernel (a = -0.5) widened by the "
        "ratio, sampled at the centres of the lr pixels. It keeps more than a sensor does. No noise.",
        _imresize,
    ),
    "sfpn-noise": Degradation(
        "SFPN's own test: 13 x 13 taps of a Gaussian of variances 2 (y) and 10 (x) hr pixels squared, whose centre is "
        "(ratio - 1) / 2 hr pixels off their middle, and which is cut on that side; bicubic sampling; noise of 3/255; "
        "cut to 0..1. The guide is not moved (`coregister='off'`), since the reference is registered to it.",
        _sfpn,
        coregister="off",
    ),
}

# Blurs of resampled and of other sensors' products, which the default grid leaves out; all without noise.
BLURS = {
    "lanczos": Degradation("Lanczos' kernel of three lobes, widened by the ratio.", _lanczos),
    "box": Degradation("The average of each lr pixel.", _box),
    **{
        f"gaussian-{gain}": Degradation(
            f"A Gaussian with an MTF gain of {gain} at the lr Nyquist frequency.", partial(_gaussian, gain=gain)
        )
        for gain in (0.15, 0.45, 0.6)
    },
    "nearest": Degradation("One pixel of each lr pixel, without blur; half an hr pixel off for even ratios.", _nearest),
    "cubic": Degradation(
        "Cubic interpolation (a = -0.75) at the lr pixel's centre, without blur, as OpenCV's.", _cubic
    ),
}
ALL_DEGRADATIONS = {**DEGRADATIONS, **BLURS}
