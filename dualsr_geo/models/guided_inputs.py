"""In what terms our network with a guide is told of a scene: a frozen value, part of the survey."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.fusion.anchor_bands import choose_anchor_bands as find_anchors
from dualsr_geo.fusion.scene_regression import SceneRegression
from dualsr_geo.fusion.subspace import Subspace

# Leading components that are corrected on noisy scenes.
COMPONENTS = 8
# The regression's error counts as no less than this share of a deviation.
LEAST_ERROR = 0.01
# Weak directions of the guide are not blown up beyond this share of the strongest's variance.
LEAST_GUIDE = 0.03
GUIDE_PLANES = 3


@dataclass(frozen=True)
class GuidedInputs:
    """In what terms the network is told of a scene; part of the survey.

    Attributes
    ----------
    anchors : AnchorBands
        What is corrected, bands or components, and how that reaches all bands.
    spectral : bool
        Whether the anchors are spectral components.
    std, error, noise : array of float32, shape (band or component,)
        Deviation without noise, error of the scene-wide regression on the lr grid, and noise.
    weights : array of float32, shape (band or component, candidate)
        What each candidate counts in the start; rows sum to 1.
    look : array of float32, shape (3, guide band)
        From the standardised guide to what the network sees of it: principal components.
    share : float
        How much of the correction is used, 0..1.
    """

    anchors: AnchorBands
    spectral: bool
    std: NDArray[np.float32]
    error: NDArray[np.float32]
    noise: NDArray[np.float32]
    weights: NDArray[np.float32]
    look: NDArray[np.float32]
    share: float = field(default=1.0, kw_only=True)

    @classmethod
    def of(
        cls,
        space: Subspace,
        fit: SceneRegression,
        mixture: NDArray[np.float32],
        spectra: NDArray[np.float32],
        guide: NDArray[np.float32],
        weight: NDArray[np.float32],
        count: int | None = None,
    ) -> GuidedInputs:
        """Say in what terms the network is told of a scene.

        Parameters
        ----------
        space : Subspace
        fit : SceneRegression
        mixture : array, shape (component, candidate)
        spectra : array, shape (band, pixel)
            Of the lr sample, without NaN.
        guide : array, shape (guide band, pixel)
            The degraded guide at the same pixels.
        weight : array, shape (pixel,)
            0..1, how valid a pixel is.
        count : int, optional
            Most anchors; by default 8, bands or components.
        """
        used = weight > 0
        spectra, guide, w = spectra[:, used], guide[:, used], weight[used].astype(np.float64)
        w /= w.sum()
        y = (guide - fit.guide_mean[:, None]) / fit.guide_std[:, None]
        z = space.components(spectra)
        left = z - fit.slope @ y - fit.intercept[:, None]
        energy = (z.astype(np.float64) ** 2) @ w
        anchors, rows, values = _anchors(space, spectra, weight[used], z, count)
        noise = np.full(len(rows), space.noise)
        std = _root((values.astype(np.float64) ** 2) @ w, noise)
        error = np.hypot(_root(((rows @ left).astype(np.float64) ** 2) @ w, noise), LEAST_ERROR * std)
        # A band's start is no mixture of its own; its components' weights count by what they carry.
        carried = rows.astype(np.float64) ** 2 * energy + 1e-30
        weights = carried @ mixture / carried.sum(1, keepdims=True)
        single = (np.asarray(v, np.float32) for v in (std, error, noise, weights, _look(y, w)))
        return cls(anchors, not space.keeps_rest, *single)


def _anchors(
    space: Subspace,
    spectra: NDArray[np.float32],
    weight: NDArray[np.float32],
    z: NDArray[np.float32],
    count: int | None,
) -> tuple[AnchorBands, NDArray[np.float32], NDArray[np.float32]]:
    """Return the anchors, how all that may be one is made of components, and its values less their mean."""
    if space.keeps_rest:
        found = find_anchors(spectra, weight, *(() if count is None else (count,)))
        return found, space.expand, spectra - space.mean[:, None]
    number = min(space.count, COMPONENTS if count is None else count)
    found = AnchorBands(tuple(range(number)), space.expand[:, :number].copy())
    return found, np.eye(space.count, dtype=np.float32), z


def _root(square: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return deviations without their noise; a band without contrast gets one that no detail can grow from."""
    return np.asarray(np.sqrt(np.maximum(square - noise**2, 0.02 * square)))


def _look(guide: NDArray[np.float32], w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the guide's leading directions, each of unit variance; rows of zeros beyond its bands."""
    values, vectors = np.linalg.eigh((guide * w) @ guide.T.astype(np.float64))
    values, vectors = values[::-1][:GUIDE_PLANES], vectors[:, ::-1][:, :GUIDE_PLANES]
    # The sign of an eigenvector is arbitrary; fix it, so that the first is brightness.
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    found = vectors.T / np.sqrt(np.maximum(values, LEAST_GUIDE * values[0]) + 1e-12)[:, None]
    return np.concatenate([found, np.zeros((GUIDE_PLANES - len(found), len(guide)))])
