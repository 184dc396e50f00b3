"""What a survey hands to a model: the sample of a scene, and the estimates that every model shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block, Filled
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.wald.pairs import WaldPairs


@dataclass(frozen=True)
class SceneStatistics:
    """What is estimated of a scene without its guide.

    Attributes
    ----------
    used : tuple of int
        Bands that have data; the others stay nodata.
    low : float
        The scene's own minimum, physical units; no value of the product is below it.
    noise : array, shape (band,)
        Standard deviation of the noise of the used bands, physical units; 0 where it cannot be separated from signal.
    noise_error : array, shape (band,)
        Standard error of `noise`.
    space : Subspace
        Spectral components; none for a model that works band by band.
    ridges : array, shape (component,)
        Noise variance over prior variance, where no guide explains a component.
    """

    used: tuple[int, ...]
    low: float
    noise: NDArray[np.float64]
    noise_error: NDArray[np.float32]
    space: Subspace
    ridges: NDArray[np.float32]


@dataclass(frozen=True)
class GuideStatistics:
    """What is estimated of a guide.

    Attributes
    ----------
    mean : array, shape (guide band,)
    relevance : array, shape (band,), or None
        How well the guide explains each band (R2), 0..1; None where it covers too little of the scene.
    response : array, shape (guide band, band), or None
        Non-negative response of the guide to the used bands.
    """

    mean: NDArray[np.float32]
    relevance: NDArray[np.float32] | None = None
    response: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class FilledSample:
    """The sample of a scene as read, without its unused bands.

    Attributes
    ----------
    filled : tuple of (Tensor, Tensor), shapes (band, y, x) and (y, x)
        Cubes with holes filled, and how valid their pixels are, 0..1.
    guides : tuple of array, shape (guide band, Y, X)
        As read, with a margin; NaN where the guide does not reach. Empty without a guide.
    margin_px : int
        Of the guides, hr pixels on every side.
    """

    filled: tuple[Filled, ...]
    guides: tuple[NDArray[np.float32], ...] = ()
    margin_px: int = 0

    @property
    def is_covered(self) -> bool:
        """Whether the guide covers all of the sample."""
        m = self.margin_px
        return all(bool(np.isfinite(g[:, m : g.shape[1] - m, m : g.shape[2] - m]).all()) for g in self.guides)


@dataclass(frozen=True, eq=False)
class CommonEstimates:
    """What the survey estimates for every model; the second argument of `Model.estimate`.

    Attributes
    ----------
    statistics : SceneStatistics
    psf : Psf
        Blur of the scene against the guide as it is used.
    blocks : tuple of Block
        The sample with its registered guide, where that reaches; empty without a guide.
    guide : GuideStatistics or None
    pairs : WaldPairs or None
        Of `blocks`; None where the guide covers too little of the scene to be used.
    fine : str
        The fine stage of the run.
    anchors : int or None
        At most so many anchor bands; None for the model's own choice.
    """

    statistics: SceneStatistics
    psf: Psf
    blocks: tuple[Block, ...] = ()
    guide: GuideStatistics | None = None
    pairs: WaldPairs | None = None
    fine: str = "none"
    anchors: int | None = None
