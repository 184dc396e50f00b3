"""The classical pansharpening methods: every band takes the guide's detail by one rule for the whole scene.

With `up` the bicubic interpolation, `P` the guide, `D` blur and decimation:

    Brovey         up(L_b) * P / up(mean of all L)            (GDAL's weighted Brovey)
    GSA            up(L_b) + g_b (P - up(I)),  I = sum w_b L_b + w_0 ~ D(P),  g_b = cov(I, L_b) / var(I)
                   (Aiazzi, Baronti & Selva, 2007)
    MTF-GLP-HPM    up(L_b) * S_b / up(D(S_b)),  S_b = the regression of L_b on D(P), applied to P
                   (Aiazzi et al., 2006; Vivone et al., 2018; hypersharpening: Selva et al., 2015)

The statistics are estimated on the survey's sample, so that a tile is a pure function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

# Directions of the regression below this share of the largest are noise.
RCOND = 1e-9

# From interpolated bands (band, ratio * y, ratio * x), and which bands they are, to sharpened ones.
Sharpened = Callable[[torch.Tensor, slice], torch.Tensor]


@dataclass(frozen=True)
class Injection:
    """The statistics of the classical methods; part of the survey.

    Attributes
    ----------
    intensity : array, shape (guide band, band + 1)
        Regression of the guide's bands on the scene's; the intercept last.
    guide_band : array, shape (band,)
        Index of the guide band whose detail a band takes: the one that explains the band best.
    gain : array, shape (band,)
        Of that detail.
    synthesis : array, shape (band, guide band + 1)
        Regression of the scene's bands on the guide's; the intercept last.
    """

    intensity: NDArray[np.float32]
    guide_band: NDArray[np.float32]
    gain: NDArray[np.float32]
    synthesis: NDArray[np.float32]


def fit_injection(spectra: NDArray[np.float32], guide: NDArray[np.float32], weight: NDArray[np.float32]) -> Injection:
    """Fit the statistics of the classical methods to a sample on the lr grid.

    Parameters
    ----------
    spectra : array, shape (band, pixel)
    guide : array, shape (guide band, pixel)
        Degraded.
    weight : array, shape (pixel,)
        Pixels of weight 0 are omitted.
    """
    x, y = (v[:, weight > 0].astype(np.float64) for v in (spectra, guide))
    intensity, synthesis = _regress(x, y), _regress(y, x)
    modelled = intensity[:, :-1] @ x
    xc, ic = x - x.mean(1, keepdims=True), modelled - modelled.mean(1, keepdims=True)
    cross, square = ic @ xc.T, np.maximum((ic**2).sum(1), 1e-30)
    explained = cross**2 / square[:, None]
    guide_band = explained.argmax(0)
    gain = cross[guide_band, np.arange(len(x))] / square[guide_band]
    return Injection(*(v.astype(np.float32) for v in (intensity, guide_band, gain, synthesis)))


def _regress(design: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least-squares regression of `target` (row, pixel) on `design` (column, pixel), (row, column + 1)."""
    dm, tm = design.mean(1), target.mean(1)
    centred = design - dm[:, None]
    gram = centred @ centred.T
    slope = (target - tm[:, None]) @ centred.T @ np.linalg.pinv(gram, rcond=RCOND, hermitian=True)
    return np.concatenate([slope, (tm - slope @ dm)[:, None]], 1)


def linear_combinations(weights: NDArray[np.float32], planes: torch.Tensor) -> torch.Tensor:
    """Return linear combinations of planes, constants added: (row, y, x)."""
    w = torch.from_numpy(weights).to(planes)
    return torch.addmm(w[:, -1:], w[:, :-1], planes.flatten(1)).view(-1, *planes.shape[1:])
