"""Shrinkage of a correction by a factor that is estimated on the scene's Wald pairs.

The best factors of the pairs are averaged with a prior, each weighted by its precision. The estimate of a
small scene, whose pairs are imprecise, is near the prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

# Side of the parts of a scene that the jackknife leaves out in turn, px.
PART_PX = 8


@dataclass(frozen=True)
class Evidence:
    """Sums over one Wald pair that give the best factor of a correction.

    Attributes
    ----------
    gain : array, shape (part,)
        Product of the correction and the error of the start, summed over a part of the scene.
    size : array, shape (part,)
        Square of the correction, summed over the same part.
    strength : float
        Root mean square of the correction, in standard deviations of its bands.
    """

    gain: NDArray[np.float64]
    size: NDArray[np.float64]
    strength: float = 0.0

    @property
    def best(self) -> float:
        """The factor with the least squared error."""
        return float(self.gain.sum() / max(self.size.sum(), 1e-300))

    @property
    def error(self) -> float:
        """Standard error of `best` (jackknife over parts); infinite for a single part."""
        count = len(self.gain)
        if count < 2:
            return float("inf")
        estimates = (self.gain.sum() - self.gain) / np.maximum(self.size.sum() - self.size, 1e-300)
        return float(np.sqrt((count - 1) / count * ((estimates - estimates.mean()) ** 2).sum()))


@dataclass(frozen=True)
class Prior:
    """Prior distribution of the best factor of a scene.

    Attributes
    ----------
    mean : float
    std : float
        Standard deviation of the best factors of scenes.
    transfer_std : float
        Standard deviation of the difference between the best factors of a scene and of its Wald pair.
    """

    mean: float
    std: float
    transfer_std: float

    def combined(self, estimates: Sequence[float], errors: Sequence[float]) -> float:
        """Return the mean of the prior and of estimates with these standard errors, weighted by precision."""
        precisions = [self.std**-2] + [1 / (self.transfer_std**2 + error**2) for error in errors]
        return float(np.average([self.mean, *estimates], weights=precisions))


def sums_by_part(
    correction: torch.Tensor, lacking: torch.Tensor, weight: torch.Tensor, ratio: int
) -> NDArray[np.float64]:
    """Return gain and size of a correction in parts of the scene, (2, part); see `Evidence`.

    Parameters
    ----------
    correction, lacking : Tensor, shape (anchor, ratio * y, ratio * x)
    weight : Tensor, shape (y, x)
        Pixels of weight 0 are left out.
    ratio : int
    """
    valid = (weight > 0).repeat_interleave(ratio, 0).repeat_interleave(ratio, 1)
    both = torch.stack([(correction * lacking).sum(0), correction.square().sum(0)]) * valid
    side = min(PART_PX, *both.shape[1:])
    summed = torch.nn.functional.avg_pool2d(both.double(), side, ceil_mode=True, divisor_override=1)
    return np.asarray(summed.flatten(1).numpy())
