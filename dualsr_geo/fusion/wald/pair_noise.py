"""Noise of the guide in a Wald pair.

A Wald pair's guide is degraded, and the blur averages its noise away. A pair that keeps the noise shows what the
noise does to the product: noise of the measured covariance is added to the degraded guide, which is then denoised
as the guide of the scene is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.fusion.guide_noise.filter import GuideFilter


@dataclass(frozen=True, eq=False)
class PairNoise:
    """Noise that is added to the guide of a Wald pair, and the filter that follows.

    Attributes
    ----------
    amplitudes : array, shape (guide band, direction)
        Directions of the noise times its standard deviation in each, physical units.
    filter : GuideFilter or None
        None for a guide that is not denoised.
    """

    amplitudes: NDArray[np.float32]
    filter: GuideFilter | None = None

    def added(self, guide: Tensor, generator: torch.Generator) -> Tensor:
        """Return a degraded guide (guide band, y, x) with noise added, denoised."""
        white = torch.randn(self.amplitudes.shape[1], *guide.shape[1:], generator=generator)
        noisy = guide + torch.einsum("gd,dyx->gyx", torch.from_numpy(self.amplitudes), white)
        return noisy if self.filter is None else self.filter(noisy)
