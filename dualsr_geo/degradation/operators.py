"""The linear operators of the observation model: degradation by a PSF, and interpolation.

An observed pixel is a weighted mean of target pixels. The weights are separable, so the degradation is two
banded matrices, and a tile uses slices of them:

    degrade(X)  = Dy X Dx^T          (blur + decimate)
    upsample(L) = By L Bx^T          (bicubic, at the PSF's own phase)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.raster.windows import Window

# Parameter a of the cubic kernel; -0.75 is the value of OpenCV and torch, and gains half a decibel over -0.5.
CUBIC_A = -0.75
# Rows of a banded matrix that are multiplied together, lr pixels; the fastest of 8 to 78.
BLOCK_LR = 16
# Narrower planes are multiplied in one batch rather than one after another; the calls would cost more than the copies.
MIN_LOOP_WIDTH = 256

# First column, the one after the last, and the matrix between.
Part = tuple[int, int, torch.Tensor]


def cubic_kernel(distance: NDArray[np.float64], a: float = CUBIC_A) -> NDArray[np.float64]:
    """Return Keys' (1981) cubic convolution kernel at some distances, lr pixels."""
    d = np.abs(distance)
    inner = (a + 2) * d**3 - (a + 3) * d**2 + 1
    outer = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d < 1, inner, np.where(d < 2, outer, 0.0))


def blur_matrix(
    taps: tuple[float, ...], start: int, ratio: int, length: int, low: int, high: int
) -> NDArray[np.float64]:
    """Return D for the lr pixels low..high of an axis, shape (high - low, ratio * (high - low)).

    The scene's last pixel is repeated beyond its edge. At the edge of a window within the scene the same is
    done; the values that it changes are in the window's halo.

    Parameters
    ----------
    taps : tuple of float
    start : int
        Position of the first tap, as in `Psf`.
    ratio : int
    length : int
        Of the scene's axis, lr pixels.
    low, high : int
        The window, lr pixels.
    """
    rows = np.arange(low, high)[:, None]
    columns = _within(rows * ratio + start + np.arange(len(taps)), ratio, length, low, high)
    return _summed(columns, np.asarray(taps), (high - low) * ratio)


def cubic_matrix(shift: float, ratio: int, length: int, low: int, high: int, a: float = CUBIC_A) -> NDArray[np.float64]:
    """Return B for the lr pixels low..high of an axis, shape (ratio * (high - low), high - low).

    The centre of lr pixel `i` is at hr position ``ratio * i + (ratio - 1) / 2 + shift``. The other parameters
    are those of `blur_matrix`.
    """
    rows = np.arange(low * ratio, high * ratio)
    position = (rows - shift + 0.5) / ratio - 0.5
    near = np.floor(position).astype(int)[:, None] + np.arange(-1, 3)
    weights = cubic_kernel(position[:, None] - near, a)
    return _summed(_within(near, 1, length, low, high), weights, high - low)


def _within(positions: NDArray[np.intp], ratio: int, length: int, low: int, high: int) -> NDArray[np.intp]:
    """Return positions in a window that repeats its edges, from the window's first one; lr pixels times the ratio."""
    first, last = max(0, low) * ratio, min(length, high) * ratio - 1
    # Faster than numpy's `clip`.
    return np.minimum(np.maximum(positions, first), last) - low * ratio


def _summed(columns: NDArray[np.intp], weights: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the matrix whose rows have these weights in these columns; weights in one column add up."""
    flat = columns + np.arange(len(columns))[:, None] * width
    values = np.broadcast_to(weights, flat.shape).ravel()
    sums = np.bincount(flat.ravel(), values, minlength=len(columns) * width)
    return np.asarray(sums, np.float64).reshape(len(columns), width)


class Banded:
    """A banded matrix that is multiplied block by block, on a tile 4 to 7 times faster than a dense one.

    Parameters
    ----------
    matrix : array, shape (out, in)
    block : int
        Rows that are multiplied together, see `BLOCK_LR`.
    device : str or torch.device
    dtype : torch.dtype
        Of the planes that it multiplies.
    """

    def __init__(
        self,
        matrix: NDArray[np.float64],
        block: int,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.shape, self.block = matrix.shape, block
        self._matrix = torch.from_numpy(matrix).to(device, dtype)
        self._ends = _support(matrix)
        lows = range(0, len(matrix), block)
        self.parts = [(low, min(low + block, len(matrix)), *self._part(low, low + block)) for low in lows]

    @property
    def device(self) -> torch.device:
        """The device of the planes that it multiplies."""
        return self._matrix.device

    def _part(self, low: int, high: int) -> Part:
        """Return the first column that the rows low..high read, the one after the last, and the matrix between."""
        first, last = int(self._ends[0][low:high].min()), int(self._ends[1][low:high].max())
        return first, last, self._matrix[low:high, first:last].contiguous()

    def rows(self, planes: torch.Tensor) -> torch.Tensor:
        """Apply along y: (..., in, x) -> (..., out, x)."""
        out = planes.new_empty(*planes.shape[:-2], self.shape[0], planes.shape[-1])
        if not _in_place(planes) or planes.shape[-1] < MIN_LOOP_WIDTH:
            for low, high, first, last, part in self.parts:
                out[..., low:high, :] = part @ planes[..., first:last, :]
            return out
        each = zip(planes.flatten(0, -3) if planes.ndim > 2 else [planes], out.view(-1, *out.shape[-2:]), strict=True)
        for plane, product in each:
            for low, high, first, last, part in self.parts:
                torch.mm(part, plane[first:last], out=product[low:high])
        return out

    def add_rows(self, planes: torch.Tensor, out: torch.Tensor) -> None:
        """Add the product along y of (..., in, x) to (..., out, x), in place and without autograd."""
        for plane, total in zip(planes.flatten(0, -3), out, strict=True):
            for low, high, first, last, part in self.parts:
                total[low:high].addmm_(part, plane[first:last])

    def some_rows(self, planes: torch.Tensor, low: int, high: int) -> torch.Tensor:
        """Apply the rows low..high along y: (..., in, x) -> (..., high - low, x)."""
        first, last, part = self._part(low, high)
        return part @ planes[..., first:last, :]

    def columns(self, planes: torch.Tensor) -> torch.Tensor:
        """Apply along x: (..., y, in) -> (..., y, out)."""
        out = planes.new_empty(*planes.shape[:-1], self.shape[0])
        if not _in_place(planes):
            for low, high, first, last, part in self.parts:
                out[..., low:high] = planes[..., first:last] @ part.T
            return out
        lines, products = planes.reshape(-1, self.shape[1]), out.view(-1, self.shape[0])
        for low, high, first, last, part in self.parts:
            torch.mm(lines[:, first:last], part.T, out=products[:, low:high])
        return out

    def cut(self, low: int, high: int) -> Banded:
        """Return the matrix of the rows low..high."""
        matrix = self._matrix[low:high]
        return Banded(matrix.double().numpy(force=True), self.block, matrix.device, matrix.dtype)


def _in_place(planes: torch.Tensor) -> bool:
    """Return whether products may be written where they belong: on the processor, and without autograd."""
    return planes.device.type == "cpu" and not (torch.is_grad_enabled() and planes.requires_grad)


def _support(matrix: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return of each row the first column that is not 0, and the one after the last."""
    used = matrix != 0
    empty = ~used.any(1)
    first, last = used.argmax(1), matrix.shape[1] - used[:, ::-1].argmax(1)
    return np.where(empty, 0, first), np.where(empty, 1, last)


@dataclass(frozen=True)
class Operator:
    """The degradation of one window, and its bicubic interpolation: a matrix for each axis."""

    blur_y: Banded
    blur_x: Banded
    cubic_y: Banded
    cubic_x: Banded

    def degrade(self, hr: torch.Tensor) -> torch.Tensor:
        """Blur and decimate, (..., ratio * y, ratio * x) -> (..., y, x)."""
        return self.blur_x.columns(self.blur_y.rows(hr))

    def upsample(self, lr: torch.Tensor) -> torch.Tensor:
        """Interpolate, (..., y, x) -> (..., ratio * y, ratio * x)."""
        return self.cubic_y.rows(self.cubic_x.columns(lr))


def operator(
    psf: Psf, shape: tuple[int, int], window: Window | None = None, device: str | torch.device = "cpu"
) -> Operator:
    """Return the degradation of a window of a scene.

    Parameters
    ----------
    psf : Psf
        It also gives the ratio.
    shape : (int, int)
        Rows and columns of the whole scene, lr pixels.
    window : Window, optional
        lr pixels; by default the whole scene.
    device : str or torch.device
        Of the matrices.
    """
    if window is None:
        return _whole_operator(psf, shape, device)
    return _operator(psf, shape, window, device)


# The blocks of a survey's sample have one size, and each is degraded by one blur dozens of times.
@lru_cache(maxsize=4)
def _whole_operator(psf: Psf, shape: tuple[int, int], device: str | torch.device) -> Operator:
    # A training may use what a survey made; autograd takes no tensors of inference mode.
    with torch.inference_mode(mode=False):
        return _operator(psf, shape, Window(0, shape[0], 0, shape[1]), device)


def _operator(psf: Psf, shape: tuple[int, int], win: Window, device: str | torch.device) -> Operator:
    dy, dx = psf.shift_px
    matrices = (
        blur_matrix(psf.taps_y, psf.start_y, psf.ratio, shape[0], win.y0, win.y1),
        blur_matrix(psf.taps_x, psf.start_x, psf.ratio, shape[1], win.x0, win.x1),
        cubic_matrix(dy, psf.ratio, shape[0], win.y0, win.y1),
        cubic_matrix(dx, psf.ratio, shape[1], win.x0, win.x1),
    )
    blocks = (BLOCK_LR, BLOCK_LR, BLOCK_LR * psf.ratio, BLOCK_LR * psf.ratio)
    return Operator(*(Banded(m, b, device) for m, b in zip(matrices, blocks, strict=True)))
