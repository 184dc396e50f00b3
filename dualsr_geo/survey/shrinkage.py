"""Evidence of a Wald pair on how far a correction is used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

# Sides of the parts that are to agree, pixels of the scene.
PART = 8


@dataclass(frozen=True)
class Evidence:
    """What a Wald pair says of the correction.

    Attributes
    ----------
    gain : array, shape (part,)
        Products of the correction and what the start lacks, summed over a part of the scene.
    size : array, shape (part,)
        The correction's own squares.
    strength : float
        Root mean square of the correction, in deviations of its bands.
    """

    gain: NDArray[np.float64]
    size: NDArray[np.float64]
    strength: float = 0.0

    @property
    def best(self) -> float:
        """The share that loses least squared error."""
        return float(self.gain.sum() / max(self.size.sum(), 1e-300))

    @property
    def error(self) -> float:
        """Standard error of `best`, by leaving parts out in turn (jackknife)."""
        count = len(self.gain)
        if count < 2:  # one part has nothing to agree with
            return float("inf")
        left = (self.gain.sum() - self.gain) / np.maximum(self.size.sum() - self.size, 1e-300)
        return float(np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum()))


def by_parts(made: torch.Tensor, lacking: torch.Tensor, weight: torch.Tensor, ratio: int) -> NDArray[np.float64]:
    """Return products of a correction and what the start lacks, and the correction's squares, (2, part).

    Parameters
    ----------
    made, lacking : Tensor, shape (anchor, ratio * y, ratio * x)
    weight : Tensor, shape (y, x)
        Pixels of no weight are left out.
    ratio : int
    """
    valid = (weight > 0).repeat_interleave(ratio, 0).repeat_interleave(ratio, 1)
    both = torch.stack([(made * lacking).sum(0), made.square().sum(0)]) * valid
    side = min(PART, *both.shape[1:])
    summed = torch.nn.functional.avg_pool2d(both.double(), side, ceil_mode=True, divisor_override=1)
    return np.asarray(summed.flatten(1).numpy())
