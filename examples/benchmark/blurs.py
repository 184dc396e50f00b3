"""The blurs of reduced scenes: kernels of common reductions and of sensors, as taps on the hr grid, and as matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from degradations import Floats, Matrix, keys, mirrored


@dataclass(frozen=True)
class Kernel:
    """Taps along an axis: lr pixel i is the sum of taps[k] * hr[ratio * i + start + k].

    Attributes
    ----------
    ratio : int
    taps : array, shape (tap,)
        Their sum is 1.
    start : int
        hr pixels.
    """

    ratio: int
    taps: Matrix
    start: int

    @property
    def centroid(self) -> float:
        """Of the taps, hr pixels from the first hr pixel of a lr pixel."""
        return float(self.taps @ (self.start + np.arange(len(self.taps))))

    def transfer(self, frequencies: Matrix) -> Matrix:
        """Return the transfer function about the centroid, frequencies in cycles a lr pixel."""
        at = self.start + np.arange(len(self.taps)) - self.centroid
        return np.cos(2 * np.pi * np.outer(frequencies, at) / self.ratio) @ self.taps

    def matrix(self, length: int) -> Matrix:
        """Return blur and decimation along an axis of `length` hr pixels, (lr, hr); edges mirrored."""
        out = np.zeros((length // self.ratio, length))
        for i, row in enumerate(out):
            at = i * self.ratio + self.start + np.arange(len(self.taps))
            np.add.at(row, mirrored(at, length), self.taps)
        return out

    def then(self, lr_taps: Matrix, lr_start: int) -> Kernel:
        """Return the kernel of a reduction whose lr pixels are resampled by taps on the lr grid."""
        out = np.zeros(len(self.taps) + self.ratio * (len(lr_taps) - 1))
        for k, tap in enumerate(lr_taps):
            out[k * self.ratio : k * self.ratio + len(self.taps)] += tap * self.taps
        return Kernel(self.ratio, out / out.sum(), self.start + self.ratio * lr_start)


def _sampled(ratio: int, reach: float, kernel: Callable[[Matrix], Matrix]) -> Kernel:
    """Return a kernel of the distance from the lr pixel's centre in hr pixels, up to `reach`."""
    centre = (ratio - 1) / 2
    at = np.arange(math.ceil(centre - reach), math.floor(centre + reach) + 1)
    taps = kernel(np.asarray(at - centre, np.float64))
    return Kernel(ratio, taps / taps.sum(), int(at[0]))


def gaussian(ratio: int, width_lr: float) -> Kernel:
    """Return a Gaussian of this width in lr pixels."""
    sigma = max(width_lr * ratio, 0.05)
    # Relative to the nearest tap: of a very narrow Gaussian all taps are 0 otherwise.
    return _sampled(ratio, 4 * sigma + 1, lambda d: np.exp(-0.5 * (d**2 - (d**2).min()) / sigma**2))


def from_gain(ratio: int, gain: float) -> Kernel:
    """Return the Gaussian of this MTF gain at the lr Nyquist frequency."""
    return gaussian(ratio, math.sqrt(-2 * math.log(gain)) / math.pi)


def stretched(ratio: int, a: float = -0.5) -> Kernel:
    """Return Keys' cubic kernel widened by the ratio: MATLAB's ``imresize`` for a = -0.5."""
    return _sampled(ratio, 2.0 * ratio, lambda d: keys(d / ratio, a))


def lanczos(ratio: int) -> Kernel:
    """Return Lanczos' kernel of three lobes, widened by the ratio, as Pillow's."""
    return _sampled(ratio, 3.0 * ratio, lambda d: np.sinc(d / ratio) * np.sinc(d / ratio / 3) * (np.abs(d) < 3 * ratio))


def triangle(ratio: int) -> Kernel:
    """Return the triangle widened by the ratio."""
    return _sampled(ratio, float(ratio), lambda d: np.maximum(0, 1 - np.abs(d) / ratio))


def box(ratio: int) -> Kernel:
    """Return the average of the hr pixels of a lr pixel."""
    return Kernel(ratio, np.full(ratio, 1 / ratio), 0)


def nearest(ratio: int) -> Kernel:
    """Return sampling without blur: pixel ratio // 2 of each lr pixel."""
    return Kernel(ratio, np.ones(1), ratio // 2)


def cubic(ratio: int) -> Kernel:
    """Return cubic interpolation at the lr pixel's centre without antialiasing, as OpenCV's."""
    return _sampled(ratio, 2.0, lambda d: keys(d, -0.75))


def linear(ratio: int) -> Kernel:
    """Return linear interpolation at the lr pixel's centre without antialiasing."""
    return _sampled(ratio, 1.0, lambda d: np.maximum(0, 1 - np.abs(d)))


def averaged(ratio: int, width_lr: float) -> Kernel:
    """Return a Gaussian of this width in lr pixels, averaged over the lr pixel as by a detector."""
    sigma = max(width_lr * ratio, 0.05)
    half = math.ceil(4 * sigma) + 1
    taps = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return Kernel(ratio, np.convolve(box(ratio).taps, taps / taps.sum()), -half)


BLURS = {
    "imresize": stretched,
    "lanczos": lanczos,
    "box": box,
    "g0.15": lambda r: from_gain(r, 0.15),
    "g0.3": lambda r: from_gain(r, 0.3),
    "g0.45": lambda r: from_gain(r, 0.45),
    "g0.6": lambda r: from_gain(r, 0.6),
    "nearest": nearest,
    "cv2": cubic,
}


def reduced(cube: Floats, kernel_y: Kernel, kernel_x: Kernel) -> Floats:
    """Blur and decimate a cube (band, y, x)."""
    dy, dx = kernel_y.matrix(cube.shape[1]), kernel_x.matrix(cube.shape[2])
    out: Floats = (dy.astype(np.float32) @ cube @ dx.T.astype(np.float32)).astype(np.float32)
    return out
