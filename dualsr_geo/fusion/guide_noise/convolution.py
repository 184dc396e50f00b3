"""Symmetric separable convolution of the part of planes that has its whole support."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

# Rows that one matrix product makes; the fastest of 32, 64, 128 for 3 to 11 taps.
BLOCK_PX = 32

Taps = tuple[float, ...]


def convolve(planes: Tensor, taps: Taps) -> Tensor:
    """Convolve along y and x, (..., Y, X) -> (..., Y - n + 1, X - n + 1) with n taps.

    Parameters
    ----------
    planes : Tensor, shape (..., Y, X)
    taps : tuple of float
        Symmetric, of odd number.
    """
    matrix = _band(taps, planes.device)
    reach = len(taps) - 1
    height, width = planes.shape[-2] - reach, planes.shape[-1] - reach
    rows = planes.new_empty(*planes.shape[:-2], height, planes.shape[-1])
    for at in range(0, height, BLOCK_PX):
        count = min(BLOCK_PX, height - at)
        rows[..., at : at + count, :] = matrix[:count, : count + reach] @ planes[..., at : at + count + reach, :]
    out = planes.new_empty(*planes.shape[:-2], height, width)
    for at in range(0, width, BLOCK_PX):
        count = min(BLOCK_PX, width - at)
        out[..., at : at + count] = rows[..., at : at + count + reach] @ matrix[:count, : count + reach].T
    return out


@lru_cache(maxsize=64)
def _band(taps: Taps, device: torch.device) -> Tensor:
    """Return the matrix of `BLOCK_PX` rows of a convolution."""
    matrix = np.zeros((BLOCK_PX, BLOCK_PX + len(taps) - 1), np.float32)
    for i, row in enumerate(matrix):
        row[i : i + len(taps)] = taps
    return torch.from_numpy(matrix).to(device)


def gaussian_taps(half_width: int, sigma: float) -> Taps:
    """Return the taps of a Gaussian that is cut at a half-width, px; their sum is 1."""
    weights = np.exp(-0.5 * (np.arange(-half_width, half_width + 1) / sigma) ** 2)
    return tuple((weights / weights.sum()).tolist())


def cropped(planes: Tensor, margin: int) -> Tensor:
    """Return planes without a margin, px."""
    return planes[..., margin : planes.shape[-2] - margin, margin : planes.shape[-1] - margin]
