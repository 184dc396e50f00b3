"""The error model of a scene: the values of the survey from which a tile computes its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True)
class BrightnessFactors:
    """Factors on the standard deviation by brightness: errors are larger in bright pixels.

    Attributes
    ----------
    place : array of float32, shape (class,)
        Medians of the classes: mean over the used bands less that of the scene, physical units, ascending.
    factor : array of float32, shape (class,)
        The factor there; in between their logarithms are interpolated.
    """

    place: NDArray[np.float32]
    factor: NDArray[np.float32]

    def at(self, brightness: torch.Tensor) -> torch.Tensor:
        """Return the factors at pixels of some brightness, of its shape."""
        logarithm = np.log(self.factor)
        out = torch.full_like(brightness, float(logarithm[0]))
        for k in range(len(self.place) - 1):
            low, width = float(self.place[k]), float(self.place[k + 1]) - float(self.place[k])
            if width > 0:
                part = (brightness - low).div_(width).clamp_(0, 1)
                out.add_(part, alpha=float(logarithm[k + 1] - logarithm[k]))
        return out.exp_()


@dataclass(frozen=True)
class PairCoverage:
    """Shares of the errors of a Wald pair within the interval of 90 % that is calibrated there.

    Attributes
    ----------
    band : array of float32, shape (band,)
    brightness, detail : array of float32, shape (class,)
        By classes of equal numbers of pixels, lowest first.
    """

    band: NDArray[np.float32]
    brightness: NDArray[np.float32]
    detail: NDArray[np.float32]


@dataclass(frozen=True)
class ErrorLevel:
    """The errors' level with a guide, or without one.

    Attributes
    ----------
    size : array of float32, shape (band,)
        Standard deviation where all predictors have their means, physical units.
    detail : array of float32, shape (band,)
        Mean of this predictor over the scene, physical units.
    disagreement : array of float32, shape (band,), or None
        Mean of this predictor over the scene, physical units; None without a guide.
    ratio : int
        Of the Wald pair.
    trend : float
        Factor by which errors grow from the scene degraded by 2 to the scene itself.
    growth : float
        Detail on the target grid over detail on the Wald pair.
    brightness : BrightnessFactors or None
        Factors on the standard deviation by brightness; None in surveys of earlier versions.
    coverage : PairCoverage or None
        What the intervals of the level cover on the Wald pair; None in surveys of earlier versions.
    """

    size: NDArray[np.float32]
    detail: NDArray[np.float32]
    disagreement: NDArray[np.float32] | None
    ratio: int
    trend: float
    growth: float
    brightness: BrightnessFactors | None = None
    coverage: PairCoverage | None = None


@dataclass(frozen=True)
class ErrorModel:
    """The scene's values from which a tile computes its uncertainty; part of the survey.

    Attributes
    ----------
    floor : array of float32, shape (band,)
        Standard deviation of the sensor's noise on the target grid, physical units; 0 on noisy scenes,
        whose Wald pairs contain it.
    unguided : ErrorLevel
        Where the guide is not used.
    guided : ErrorLevel or None
        Where it is used; None without a guide.
    """

    floor: NDArray[np.float32]
    unguided: ErrorLevel
    guided: ErrorLevel | None = None
