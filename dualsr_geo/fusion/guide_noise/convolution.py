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
    matrix, reach = _band(taps, planes.device), len(taps) - 1
    stacked = planes.reshape(-1, *planes.shape[-2:])
    count, height, width = stacked.shape[0], stacked.shape[1] - reach, stacked.shape[2] - reach
    rows = stacked.new_empty(count, height, width + reach)
    for at in range(0, height, BLOCK_PX):
        n = min(BLOCK_PX, height - at)
        band = matrix[:n, : n + reach].expand(count, -1, -1)
        torch.bmm(band, stacked[:, at : at + n + reach], out=rows[:, at : at + n])
    out = stacked.new_empty(count, height, width)
    # All planes as one matrix; products are written in place.
    rows_2d, out_2d = rows.view(-1, width + reach), out.view(-1, width)
    for at in range(0, width, BLOCK_PX):
        n = min(BLOCK_PX, width - at)
        torch.mm(rows_2d[:, at : at + n + reach], matrix[:n, : n + reach].T, out=out_2d[:, at : at + n])
    return out.view(*planes.shape[:-2], height, width)


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
