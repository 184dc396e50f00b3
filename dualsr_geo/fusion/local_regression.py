"""Regression in a sliding Gaussian window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import BLOCK_LR, Banded

# Windows end at so many widths.
REACH_WIDTHS = 2.5


@dataclass(frozen=True)
class Moments:
    """Window means and covariances of a guide on the lr grid, which all regressions of one width share.

    Windows end at ``ceil(2.5 width)`` pixels. All values are float64: a variance is the difference of two large
    numbers, and a small ridge multiplies its rounding; in float32 tiles differ from the whole scene by 1e-5 of the
    range.

    Attributes
    ----------
    rows, columns : Banded
        The window along y and x.
    weight : Tensor, shape (y, x), or None
        How valid a pixel is, 0..1; None where all are.
    norm : Tensor, shape (y, x), or None
        The window's sum of weights.
    guide, mean : Tensor, shape (guide band, y, x)
    covariance : Tensor, shape (guide band, guide band, y, x)
    """

    rows: Banded
    columns: Banded
    weight: torch.Tensor | None
    norm: torch.Tensor | None
    guide: torch.Tensor
    mean: torch.Tensor
    covariance: torch.Tensor

    @classmethod
    def of(cls, guide: torch.Tensor, width: float, weight: torch.Tensor | None) -> Moments:
        """Return the moments of a guide (guide band, y, x) in windows of this width, lr pixels."""
        rows, columns = (_window(n, width, guide.device) for n in guide.shape[1:])
        guide, weight = guide.double(), None if weight is None else weight.double()
        norm = None if weight is None else rows.rows(columns.columns(weight)).clamp_min(1e-6)
        empty = guide.new_zeros(0)
        window = cls(rows, columns, weight, norm, guide, empty, empty)
        mean = window.average(guide)
        products = window.average((guide[:, None] * guide[None]).flatten(0, 1))
        covariance = products.view(len(guide), len(guide), *guide.shape[1:]) - mean[:, None] * mean[None]
        return cls(rows, columns, weight, norm, guide, mean, covariance)

    def average(self, plane: torch.Tensor) -> torch.Tensor:
        """Return the window mean at every pixel of (..., y, x)."""
        if self.weight is None or self.norm is None:
            return self.rows.rows(self.columns.columns(plane))
        return self.rows.rows(self.columns.columns(plane * self.weight)) / self.norm

    def regress(self, values: torch.Tensor, ridge: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Regress values on the guide in every window.

        Parameters
        ----------
        values : Tensor, shape (component, y, x)
        ridge : float
            In units of the guide's variance, which is 1 after standardising.

        Returns
        -------
        slopes : Tensor, shape (guide band, component, y, x)
        intercepts : Tensor, shape (component, y, x)
        """
        values, dtype = values.double(), values.dtype
        mean = self.average(values)
        cross = [
            self.average(values * g).addcmul_(mean, m, value=-1) for g, m in zip(self.guide, self.mean, strict=True)
        ]
        slopes = mean.new_empty(len(cross), *mean.shape, dtype=dtype)
        for row, slope, guide_mean in zip(_inverse(self.covariance, ridge), slopes, self.mean, strict=True):
            exact = row[0] * cross[0]
            for weight, covariance in zip(row[1:], cross[1:], strict=True):
                exact.addcmul_(weight, covariance)
            slope.copy_(exact)
            mean.addcmul_(slope.double(), guide_mean, value=-1)
        return slopes, mean.to(dtype)


def _inverse(covariance: torch.Tensor, ridge: float) -> torch.Tensor:
    """Invert (guide band, guide band, y, x) matrices with a ridge."""
    count = len(covariance)
    if count == 1:
        return torch.reciprocal(covariance + ridge)
    square = covariance.permute(2, 3, 0, 1) + ridge * torch.eye(count).to(covariance)
    inverse: torch.Tensor = torch.linalg.inv(square)
    return inverse.permute(2, 3, 0, 1).contiguous()


def gaussian_window(outputs: range, inputs: range, width: float, reach: float) -> NDArray[np.float64]:
    """Return the weights of a Gaussian window along one axis, shape (output, input); rows sum to 1.

    At the end of the inputs the window has one side.

    Parameters
    ----------
    outputs, inputs : range
        Pixels of one grid: where means are taken, and what of.
    width : float
        Standard deviation, pixels.
    reach : float
        Pixels beyond which a weight is 0.
    """
    distance = np.abs(np.asarray(outputs)[:, None] - np.asarray(inputs))
    weights = np.where(distance <= reach, np.exp(-0.5 * (distance / width) ** 2), 0.0)
    return np.asarray(weights / weights.sum(1, keepdims=True))


# The blocks of a sample and the tiles of a scene have few sizes.
@lru_cache(maxsize=32)
def _window(length: int, width: float, device: torch.device) -> Banded:
    """Return the window along an axis as a banded matrix, which is six times faster than a convolution here."""
    pixels = range(length)
    weights = gaussian_window(pixels, pixels, width, max(1, math.ceil(REACH_WIDTHS * width)))
    # A training may use what a survey made; autograd takes no tensors of inference mode.
    with torch.inference_mode(mode=False):
        return Banded(weights, BLOCK_LR, device, torch.float64)
