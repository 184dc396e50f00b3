"""Regressions in a sliding Gaussian window: the sums that all of one width share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import BLOCK_LR, Banded


@dataclass(frozen=True)
class Moments:
    """Gaussian window sums of a guide on the lr grid, shared by all fits of one width.

    Windows are truncated at ``ceil(2.5 width)`` pixels and normalised by their own sum. All is float64:
    a variance is the difference of two large numbers, and a small ridge multiplies what rounding
    leaves of it, so that tiles differed from the whole by 1e-5 of the range.
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
        """Take the moments of a guide (guide band, y, x)."""
        rows, columns = (_window(n, width, guide.device) for n in guide.shape[1:])
        guide, weight = guide.double(), None if weight is None else weight.double()
        norm = None if weight is None else rows.rows(columns.columns(weight)).clamp_min(1e-6)
        empty = guide.new_zeros(0)
        bare = cls(rows, columns, weight, norm, guide, empty, empty)
        mean = bare.average(guide)
        products = bare.average((guide[:, None] * guide[None]).flatten(0, 1))
        covariance = products.view(len(guide), len(guide), *guide.shape[1:]) - mean[:, None] * mean[None]
        return cls(rows, columns, weight, norm, guide, mean, covariance)

    def average(self, plane: torch.Tensor) -> torch.Tensor:
        """Return the window mean at every pixel of (..., y, x)."""
        if self.weight is None or self.norm is None:
            return self.rows.rows(self.columns.columns(plane))
        return self.rows.rows(self.columns.columns(plane * self.weight)) / self.norm

    def regress(self, values: torch.Tensor, ridge: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Fit values (component, y, x) on the guide in every window.

        The ridge is in units of the guide's variance (1 after standardising). Returns slopes
        (guide band, component, y, x) and intercepts (component, y, x).
        """
        values, dtype = values.double(), values.dtype
        mean = self.average(values)
        cross = [self.average(values * g) - mean * m for g, m in zip(self.guide, self.mean, strict=True)]
        inverse = _inverse(self.covariance, ridge)
        zero = torch.zeros_like(mean)
        slopes = torch.stack([sum((row[j] * c for j, c in enumerate(cross)), zero) for row in inverse])
        return slopes.to(dtype), (mean - (slopes * self.mean[:, None]).sum(0)).to(dtype)


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


def _window(length: int, width: float, device: torch.device) -> Banded:
    """Return the window of a whole axis as a band matrix: six times faster than a convolution here."""
    pixels = range(length)
    weights = gaussian_window(pixels, pixels, width, max(1, math.ceil(2.5 * width)))
    return Banded(weights, BLOCK_LR, device, torch.float64)
