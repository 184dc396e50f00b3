"""Regressions of the spectral components on the guide, mixed with weights from the scene's Wald pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.operators import operator
from dualsr_geo.fusion.blocks import components, guided_pixels, high_pass_pixels
from dualsr_geo.fusion.few_bands.logarithms import logarithm_pixels
from dualsr_geo.fusion.scene_regression import GuideFit, fit_scene_regression
from dualsr_geo.fusion.wald.candidate_weights import principal_gain_db, scene_weights
from dualsr_geo.fusion.wald.pairs import WaldPair, mixture_of
from dualsr_geo.fusion.wald.scene_sample import CommonEstimates, FilledSample
from dualsr_geo.fusion.wald.starts import coarse_start, component_ridges, guided_start
from dualsr_geo.models.definition import Model
from dualsr_geo.models.methods._smoothing import ResidualSmoothing, choose_smoothing, describe_smoothing
from dualsr_geo.models.methods._spectral import restored, spectral_window
from dualsr_geo.models.reconstruction import Reconstruction, WindowInputs

# A gain of the first principal direction of at least so much is noted, dB.
MIN_PRINCIPAL_GAIN_DB = 0.1


@dataclass(frozen=True)
class RegressionState:
    """Estimates of the regressions for the whole scene.

    Attributes
    ----------
    fit : GuideFit
        The regressions, and their weights.
    ridges : array, shape (component,)
        Variance of the noise, and of what differs between scene and guide from place to place, over the variance
        that the regressions do not explain.
    principal_gain_db : float
        See `dualsr_geo.fusion.wald.candidate_weights.principal_gain_db`.
    smoothing : ResidualSmoothing or None
        Of the residual that the closed form adds; None where the scene leaves no lattice.
    """

    fit: GuideFit
    ridges: NDArray[np.float32]
    principal_gain_db: float = -math.inf
    smoothing: ResidualSmoothing | None = None

    @property
    def start(self) -> tuple[GuideFit, NDArray[np.float32], int]:
        """What `spectral_window` needs."""
        return self.fit, self.ridges, 0 if self.smoothing is None else self.smoothing.passes


def estimate_regression(common: CommonEstimates) -> RegressionState | None:
    """Fit the regressions, and estimate their weights on the Wald pairs; None without a usable guide."""
    space = common.statistics.space
    if common.pairs is None or not space.count:
        return None
    spectra, guide, weight = guided_pixels(common.blocks, common.psf)
    fine = high_pass_pixels(common.blocks, common.psf, space) if len(guide) > 1 else None
    logs = logarithm_pixels(common.blocks, common.psf, space)
    regression = fit_scene_regression(space.components(spectra), guide, weight, fine, logs)
    weights, errors = scene_weights(common.pairs)
    fit = GuideFit(regression, mixture_of(space, weights), weights)
    gain = principal_gain_db(errors, by_energy=not space.keeps_rest)
    ridges = _ridges(common, fit)
    return RegressionState(fit, ridges, gain, choose_smoothing(common, fit, ridges))


def regression_notes(state: RegressionState | None) -> tuple[str, ...]:
    """Return notes on a lattice that is smoothed, and on a guide whose first direction serves better than all bands."""
    return () if state is None else (*describe_smoothing(state.smoothing), *_describe_direction(state))


def _describe_direction(state: RegressionState) -> tuple[str, ...]:
    if state.principal_gain_db < MIN_PRINCIPAL_GAIN_DB:
        return ()
    bands, gain = len(state.fit.fit.guide_mean), state.principal_gain_db
    note = (
        f"The guide's first principal direction serves the scene better than its {bands} bands: on the scene degraded "
        f"once more, a regression on it has an error {gain:.1f} dB lower than those on all bands. The product relies on "
        "that direction. See whether the guide's bands are of one place and date, or give a guide of one band as --rgb."
    )
    return (note,)


def _ridges(common: CommonEstimates, fit: GuideFit) -> NDArray[np.float32]:
    """Return the ridges of the closed form, see `RegressionState`."""
    space, psf, spread = common.statistics.space, common.psf, common.spread
    if space.keeps_rest and spread is None:
        return np.zeros(space.count, np.float32)
    square, error, count = np.zeros(space.count), np.full(space.count, space.noise**2), 0.0
    misfit = np.zeros(space.count)
    for block in common.blocks:
        op, observed = operator(psf, block.shape), components(space, block.cube)
        start = coarse_start(block, observed, guided_start(block, fit), op)
        square += _energy(observed - op.degrade(start), block.weight)
        for a, b in () if spread is None else spread.contrasts(psf):
            difference = operator(a, block.shape).degrade(start) - operator(b, block.shape).degrade(start)
            misfit += _energy(difference / 2, block.weight)
        count += float(block.weight.sum())
    error += misfit / max(count, 1)
    return component_ridges(square / max(count, 1), error).astype(np.float32)


def _energy(planes: Tensor, weight: Tensor) -> NDArray[np.float64]:
    """Return the weighted sums of squares of planes (component, y, x), (component,)."""
    return np.asarray(((planes.double() ** 2) * weight).sum((1, 2)).numpy())


@dataclass(frozen=True)
class Regression(Model):
    """Mix the candidate regressions on the guide, and make the mixture consistent with the scene."""

    state_type = RegressionState

    def estimate(self, sample: FilledSample, common: CommonEstimates) -> RegressionState | None:  # noqa: ARG002
        """Fit the regressions; see `estimate_regression`."""
        return estimate_regression(common)

    def guide_fit(self, state: RegressionState | None) -> GuideFit | None:
        """Return the regressions of the scene."""
        return None if state is None else state.fit

    def notes(self, state: RegressionState | None) -> tuple[str, ...]:
        """Return notes on the guide; see `regression_notes`."""
        return regression_notes(state)

    def reconstruct(self, inputs: WindowInputs, state: RegressionState | None) -> Reconstruction:
        """Sharpen a window; outside the guide it is interpolated."""
        return spectral_window(inputs, *((None, None) if state is None else state.start))

    def restore(self, pair: WaldPair, state: RegressionState | None) -> list[Tensor]:
        """Return the sharpened blocks of a Wald pair; see `Model.restore`."""
        with torch.inference_mode():
            return [spectra.bands(slice(None)) for spectra, _ in restored(pair, self.guide_fit(state))]


MODEL = Regression(
    "regression",
    "Regressions of the scene's spectral components on the guide, weighted on the scene's Wald pairs.",
    spectral=True,
    fine="consistency",
    seconds_per_million=(0.22, 0.08),
)
