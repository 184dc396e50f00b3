"""The inputs of `Model.estimate`: the sample of a scene, and the estimates that all models share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.degradation.psf_spread import PsfSpread
from dualsr_geo.fusion.blocks import Block, Filled
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.wald.pairs import WaldPairs


@dataclass(frozen=True)
class SceneStatistics:
    """Estimates for a scene without its guide.

    Attributes
    ----------
    used : tuple of int
        Indices of the bands with data; the others stay nodata.
    low : float
        Lower limit of the product, physical units: the minimum of the sample, and less of temperatures.
    noise : array, shape (band,)
        Standard deviation of the noise of the used bands, physical units; 0 where it cannot be separated from the
        signal.
    noise_error : array, shape (band,)
        Standard error of `noise`.
    space : Subspace
        Spectral components; without any for a model that works band by band.
    ridges : array, shape (component,)
        Noise variance over prior variance of the components without a guide.
    """

    used: tuple[int, ...]
    low: float
    noise: NDArray[np.float64]
    noise_error: NDArray[np.float32]
    space: Subspace
    ridges: NDArray[np.float32]

    def leading(self, count: int) -> SceneStatistics:
        """Return the statistics with the first components only."""
        return replace(self, space=self.space.leading(count), ridges=self.ridges[:count])


@dataclass(frozen=True)
class GuideStatistics:
    """Estimates for a guide.

    Attributes
    ----------
    mean : array, shape (guide band,)
    relevance : array, shape (band,), or None
        Coefficient of determination (R2) of each band by the guide, 0..1; None if the guide covers too little of
        the scene.
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
        Cubes with holes filled, and the validity of their pixels, 0..1.
    guides : tuple of array, shape (guide band, Y, X)
        The guide as read, with a margin; NaN where it does not reach. Empty without a guide.
    margin_px : int
        Margin of the guides on every side, hr pixels.
    placing : tuple of array
        The bands by which several guides are placed, in the same windows; empty where `guides` are used for that.
    measured : tuple of Tensor, shape (y, x)
        1 where all of several guides are measured, 0 where one is predicted; empty where all are measured.
    """

    filled: tuple[Filled, ...]
    guides: tuple[NDArray[np.float32], ...] = ()
    margin_px: int = 0
    placing: tuple[NDArray[np.float32], ...] = ()
    measured: tuple[torch.Tensor, ...] = ()

    @property
    def is_covered(self) -> bool:
        """Whether the guide covers all of the sample."""
        m = self.margin_px
        return all(bool(np.isfinite(g[:, m : g.shape[1] - m, m : g.shape[2] - m]).all()) for g in self.guides)


@dataclass(frozen=True, eq=False)
class CommonEstimates:
    """Estimates that all models share.

    Attributes
    ----------
    statistics : SceneStatistics
    psf : Psf
        Blur of the scene relative to the registered guide.
    blocks : tuple of Block
        The sample inside the extent of the registered guide; empty without a guide.
    spread : PsfSpread or None
        How far blur and shift differ from place to place; None where they do not.
    guide : GuideStatistics or None
    pairs : WaldPairs or None
        Wald pairs of `blocks`; None if the guide covers too little of the scene to be used.
    noisy_pairs : WaldPairs or None
        Wald pairs that keep the guide's noise, on which corrections and errors are judged; `pairs` itself if the
        guide has no noise that matters.
    fine : str
        Fine stage of the run.
    anchors : int or None
        Largest number of anchor bands; None for the model's own choice.
    repetition : float
        Mean number of times that a pixel of the scene is repeated along an axis; 1 in a scene as measured.
    """

    statistics: SceneStatistics
    psf: Psf
    blocks: tuple[Block, ...] = ()
    spread: PsfSpread | None = None
    guide: GuideStatistics | None = None
    pairs: WaldPairs | None = None
    noisy_pairs: WaldPairs | None = None
    fine: str = "none"
    anchors: int | None = None
    repetition: float = 1.0
