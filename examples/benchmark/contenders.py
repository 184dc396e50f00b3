"""Methods of others that are run next to ours, written from their equations; each is given the true blur and response."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from disturbances import Pair
from fuse import GUIDE_NOISES, fuse
from glp import RIDGES, glp
from hysure import VARIATIONS, hysure
from numpy.typing import NDArray
from periodic import Floats, Inputs, degraded, spline

from dualsr_geo.degradation.psf import Psf

# Ridge of the response that is fitted where the true one is not known, share of the scene's mean variance.
RESPONSE_RIDGE = 1e-4


@dataclass(frozen=True)
class Contender:
    """A method.

    Attributes
    ----------
    sentence : str
        For the page of results.
    settings : tuple of float
        Values of its free parameter; the one with the best PSNR counts, which is more than a user can have.
    product : callable
        (inputs, setting) -> product (band, y, x).
    """

    sentence: str
    settings: tuple[float, ...]
    product: Callable[[Inputs, float], Floats]


CONTENDERS = {
    "spline": Contender(
        "Cubic spline on pixel centres, no guide.", (0.0,), lambda given, _: spline(given.scene, given.psf.ratio)
    ),
    "fuse": Contender(
        "FUSE (Wei, Dobigeon and Tourneret 2015): Sylvester equation in closed form, subspace, Gaussian prior.",
        GUIDE_NOISES,
        fuse,
    ),
    "hysure": Contender("HySure (Simoes et al. 2015): subspace, vector total variation, ADMM.", VARIATIONS, hysure),
    "glp-ridge": Contender("MTF-GLP with gains fitted on the high-pass of the lr pair, with a ridge.", RIDGES, glp),
}


def best(name: str, pair: Pair) -> tuple[Floats, float]:
    """Return the product of a contender's best setting, and the seconds of one setting."""
    contender, given = CONTENDERS[name], inputs(pair)
    begin = time.perf_counter()
    made = [contender.product(given, setting) for setting in contender.settings]
    seconds = (time.perf_counter() - begin) / len(made)
    return min(made, key=lambda product: _error(product, pair.reference)), seconds


def inputs(pair: Pair) -> Inputs:
    """Return what a contender is given for a pair."""
    psf = pair.psf or Psf.from_mtf(pair.ratio, pair.gain)
    nothing = np.empty((0, pair.reference.shape[1], pair.reference.shape[2]), np.float32)
    guide = nothing if pair.guide is None else np.ascontiguousarray(pair.guide, np.float32)
    response = pair.response if pair.response is not None else fitted_response(pair.scene, guide, psf)
    return Inputs(pair.scene, guide, psf, response)


def fitted_response(scene: Floats, guide: Floats, psf: Psf) -> NDArray[np.float64]:
    """Return the response (guide band, band) that fits best on the lr pair, with a small ridge."""
    spectra = scene.reshape(len(scene), -1).astype(np.float64)
    low = degraded(guide, psf).reshape(len(guide), spectra.shape[1]).astype(np.float64)
    product = spectra @ spectra.T
    ridge = RESPONSE_RIDGE * np.trace(product) / len(product) * np.eye(len(product))
    return np.asarray(np.linalg.solve(product + ridge, spectra @ low.T).T)


def _error(product: Floats, reference: Floats) -> float:
    return float(np.nanmean((product.clip(0) - reference) ** 2))
