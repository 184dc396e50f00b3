"""Inputs of the guided network: those that are fixed for a scene (anchor bands, scales and mixture), and a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.consistency import Consistency
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.anchor_bands import ANCHOR_COUNT, AnchorBands, anchor_count, choose_anchor_bands
from dualsr_geo.fusion.coarse_stage import GuidedStart
from dualsr_geo.fusion.regression_inputs import RegressionInputs
from dualsr_geo.fusion.scene_regression import GuideFit
from dualsr_geo.fusion.subspace import Subspace

# The regression's error is no less than this share of a band's standard deviation.
MIN_ERROR_SHARE = 0.01
# Principal directions of the guide are standardised as if they had at least this share of the largest variance.
MIN_GUIDE_VARIANCE_SHARE = 0.03
# Number of the guide's principal components that the network reads.
GUIDE_PLANES = 3
# Smallest variance without the noise, relative to the variance with it.
MIN_SIGNAL_SHARE = 0.02
# Anchor bands of a scene of few bands where these carry the errors of the regression to all bands, but for at most this
# share of their variance. They are what the network corrects.
FEWEST_ANCHORS, MAX_UNCARRIED_SHARE = 3, 0.03


@dataclass(frozen=True)
class GuidedInputs:
    """Inputs of the guided network that are fixed for a scene; part of the model's state.

    Attributes
    ----------
    anchors : AnchorBands
        The bands or components that are corrected, and their linear relations to all bands.
    spectral : bool
        Whether the anchors are spectral components.
    std, error, noise : array of float32, shape (band or component,)
        Standard deviation without noise, error of the scene-wide regression on the lr grid, and noise.
    weights : array of float32, shape (band or component, candidate)
        Weights of the candidates in the start; rows sum to 1.
    look : array of float32, shape (3, guide band)
        Matrix from the standardised guide to its principal components.
    correlations : array of float32, shape (2, anchor, anchor)
        Of the anchors, and of the errors of the regression to them, on the lr grid.
    guide_correlations : array of float32, shape (anchor, 3)
        Of the anchors with the guide's principal components, in standard deviations without noise; weak components
        have less than unit variance, so theirs are lower.
    share : float
        Shrinkage factor of the correction, 0..1.
    """

    anchors: AnchorBands
    spectral: bool
    std: NDArray[np.float32]
    error: NDArray[np.float32]
    noise: NDArray[np.float32]
    weights: NDArray[np.float32]
    look: NDArray[np.float32]
    correlations: NDArray[np.float32]
    guide_correlations: NDArray[np.float32]
    share: float = field(default=1.0, kw_only=True)

    @classmethod
    def of(
        cls,
        space: Subspace,
        fit: GuideFit,
        spectra: NDArray[np.float32],
        guide: NDArray[np.float32],
        weight: NDArray[np.float32],
        count: int | None = None,
    ) -> GuidedInputs:
        """Estimate the inputs of a scene from a sample.

        Parameters
        ----------
        space : Subspace
        fit : GuideFit
        spectra : array, shape (band, pixel)
            Of the lr sample, without NaN.
        guide : array, shape (guide band, pixel)
            The degraded guide at the same pixels.
        weight : array, shape (pixel,)
            Validity of the pixels, 0..1.
        count : int, optional
            Largest number of anchors, bands or components; by default `anchor_count`, or fewer where these suffice.
        """
        used, regression = weight > 0, fit.fit
        spectra, guide, w = spectra[:, used], guide[:, used], weight[used].astype(np.float64)
        w /= w.sum()
        y = (guide - regression.guide_mean[:, None]) / regression.guide_std[:, None]
        z = space.components(spectra)
        residual = z - regression.slope @ y - regression.intercept[:, None]
        energy = (z.astype(np.float64) ** 2) @ w
        anchors, rows, values = _anchors(space, spectra, weight[used], z, residual, count)
        noise = np.full(len(rows), space.noise)
        std = _root((values.astype(np.float64) ** 2) @ w, noise)
        error = np.hypot(_root(((rows @ residual).astype(np.float64) ** 2) @ w, noise), MIN_ERROR_SHARE * std)
        # The mixture of a band is the mean of those of its components, weighted by their energy in the band.
        carried = rows.astype(np.float64) ** 2 * energy + 1e-30
        weights = carried @ fit.mixture / carried.sum(1, keepdims=True)
        look = _principal_directions(y, w)
        chosen, few = rows[list(anchors.bands)], std[list(anchors.bands)]
        correlations = np.stack([_correlations(chosen @ v, w) for v in (z, residual)])
        with_guide = ((chosen @ z) * w) @ (look @ y).T / few[:, None]
        arrays = (np.asarray(v, np.float32) for v in (std, error, noise, weights, look, correlations, with_guide))
        return cls(anchors, not space.keeps_rest, *arrays)


@dataclass(frozen=True)
class GuidedWindow:
    """A window of a scene with its training-free start.

    Attributes
    ----------
    space : Subspace
    cube : Tensor, shape (band, y, x)
        The filled lr window.
    components : Tensor, shape (component, y, x)
        The coefficients of `cube`.
    hr : Tensor, shape (component, ratio * y, ratio * x)
        The start.
    guided : GuidedStart
        Guide, regressions and weights of the candidates.
    psf : Psf
    closed : Consistency
        The closed form of the components, where the guide is used.
    weight : Tensor, shape (y, x), or None
        Validity of the pixels, 0..1; None where all are valid.
    origin : (int, int)
        Row and column of the window's first lr pixel in the scene.
    """

    space: Subspace
    cube: Tensor
    components: Tensor
    hr: Tensor
    guided: GuidedStart
    psf: Psf
    closed: Consistency
    weight: Tensor | None = None
    origin: tuple[int, int] = (0, 0)

    @cached_property
    def expand(self) -> Tensor:
        """The matrix from components to bands, (band, component)."""
        return torch.as_tensor(self.space.expand, device=self.cube.device)

    @cached_property
    def pair(self) -> RegressionInputs:
        """The inputs of the candidates, which share what depends only on the guide."""
        return self.guided.regression_inputs(self.components, self.weight, self.closed.operator)

    def start(self, bands: Sequence[int], *, spectral: bool) -> Tensor:
        """Return the start of some bands or components less the scene's mean, (band, ratio * y, ratio * x)."""
        some = list(bands)
        if spectral:
            return self.hr[some]
        start = torch.einsum("bk,kyx->byx", self.expand[some], self.hr)
        return start + self.closed.operator.upsample(self._rest(some))

    def centred(self, cube: Tensor, bands: Sequence[int], *, spectral: bool) -> Tensor:
        """Return some bands or components of a cube (band, ...) less the scene's mean."""
        mean = torch.as_tensor(self.space.mean, device=cube.device)[:, None, None]
        if not spectral:
            return (cube - mean)[list(bands)]
        project = torch.as_tensor(self.space.project[list(bands)], device=cube.device)
        return torch.einsum("kb,byx->kyx", project, cube - mean)

    def _rest(self, some: list[int]) -> Tensor:
        """Return the part of some lr bands outside the subspace, (band, y, x)."""
        mean = torch.as_tensor(self.space.mean, device=self.cube.device)[some, None, None]
        carried = torch.einsum("bk,kyx->byx", self.expand[some], self.components)
        return self.cube[some] - mean - carried


def _anchors(
    space: Subspace,
    spectra: NDArray[np.float32],
    weight: NDArray[np.float32],
    z: NDArray[np.float32],
    residual: NDArray[np.float32],
    count: int | None,
) -> tuple[AnchorBands, NDArray[np.float32], NDArray[np.float32]]:
    """Return the anchors, and of all bands or components their rows of `expand` and values less the mean."""
    most = anchor_count(len(spectra)) if count is None else count
    if space.keeps_rest:
        chosen = choose_anchor_bands(spectra, weight, most)
        if count is None and FEWEST_ANCHORS < most < ANCHOR_COUNT:
            fewer = choose_anchor_bands(spectra, weight, FEWEST_ANCHORS)
            if _uncarried_share(fewer, space.expand @ residual, weight) <= MAX_UNCARRIED_SHARE:
                chosen = fewer
        return chosen, space.expand, spectra - space.mean[:, None]
    number = min(space.count, most)
    leading = AnchorBands(tuple(range(number)), space.expand[:, :number].copy())
    return leading, np.eye(space.count, dtype=np.float32), z


def _uncarried_share(anchors: AnchorBands, errors: NDArray[np.float32], weight: NDArray[np.float32]) -> float:
    """Return the share of the variance of errors (band, pixel) that those of the anchors do not carry to all bands."""
    rest = errors - anchors.spread @ errors[list(anchors.bands)]
    uncarried, total = (float((np.square(v, dtype=np.float64) @ weight).sum()) for v in (rest, errors))
    return uncarried / total if total > 0 else 0.0


def _root(square: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return standard deviations without the noise, at least a small share of those with it."""
    return np.asarray(np.sqrt(np.maximum(square - noise**2, MIN_SIGNAL_SHARE * square)))


def _correlations(values: NDArray[np.floating], w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted correlations of values (anchor, pixel), (anchor, anchor); 0 with a constant."""
    centred = values - (values @ w)[:, None]
    covariance = (centred * w) @ centred.T.astype(np.float64)
    deviation = np.sqrt(np.diag(covariance))
    product = np.outer(deviation, deviation)
    return np.asarray(np.divide(covariance, product, out=np.zeros_like(covariance), where=product > 0), np.float64)


def _principal_directions(guide: NDArray[np.float32], w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the guide's leading directions, each of unit variance; rows of zeros beyond its bands."""
    values, vectors = np.linalg.eigh((guide * w) @ guide.T.astype(np.float64))
    values, vectors = values[::-1][:GUIDE_PLANES], vectors[:, ::-1][:, :GUIDE_PLANES]
    # The sign of an eigenvector is arbitrary; fix it, so that the first is brightness.
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    variance = np.maximum(values, MIN_GUIDE_VARIANCE_SHARE * values[0]) + 1e-12
    directions = vectors.T / np.sqrt(variance)[:, None]
    return np.concatenate([directions, np.zeros((GUIDE_PLANES - len(directions), len(guide)))])
