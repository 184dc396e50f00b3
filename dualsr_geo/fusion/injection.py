"""The classic baselines: each band takes the guide's detail by one rule for the whole scene.

With `up` the bicubic interpolation, `P` the guide, `D` blur and decimation:

    Brovey         up(L_b) * P / up(mean of all L)            (GDAL's weighted Brovey)
    GSA            up(L_b) + g_b (P - up(I)),  I = sum w_b L_b + w_0 ~ D(P),  g_b = cov(I, L_b) / var(I)
                   (Aiazzi, Baronti & Selva, 2007)
    MTF-GLP-HPM    up(L_b) * S_b / up(D(S_b)),  S_b = the regression of L_b on D(P), applied to P
                   (Aiazzi et al., 2006; Vivone et al., 2018; hypersharpening: Selva et al., 2015)

Statistics come from the survey's sample, so a tile is a pure function here as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import Operator

# Directions of the regression below this share of the largest are noise.
RCOND = 1e-9
# A modulation by more than this is a division by almost nothing.
MOST = 5.0

Sharpened = Callable[[torch.Tensor, slice], torch.Tensor]


@dataclass(frozen=True)
class Injection:
    """What the baselines take from the whole scene; part of the survey.

    Attributes
    ----------
    intensity : array, shape (guide band, band + 1)
        Each guide band as the scene's bands have it; the constant last.
    guide_band : array, shape (band,)
        The guide band whose detail a band takes: the one that it follows most.
    gain : array, shape (band,)
        Of that detail.
    synthesis : array, shape (band, guide band + 1)
        Each band as the guide has it; the constant last.
    """

    intensity: NDArray[np.float32]
    guide_band: NDArray[np.float32]
    gain: NDArray[np.float32]
    synthesis: NDArray[np.float32]


def fit_injection(spectra: NDArray[np.float32], guide: NDArray[np.float32], weight: NDArray[np.float32]) -> Injection:
    """Fit the baselines' statistics to a sample on the lr grid.

    Parameters
    ----------
    spectra : array, shape (band, pixel)
    guide : array, shape (guide band, pixel)
        Degraded.
    weight : array, shape (pixel,)
        Pixels of weight 0 are left out.
    """
    x, y = (v[:, weight > 0].astype(np.float64) for v in (spectra, guide))
    intensity, synthesis = _regress(x, y), _regress(y, x)
    made = intensity[:, :-1] @ x
    xc, ic = x - x.mean(1, keepdims=True), made - made.mean(1, keepdims=True)
    cross, square = ic @ xc.T, np.maximum((ic**2).sum(1), 1e-30)
    follows = cross**2 / square[:, None]
    chosen = follows.argmax(0)
    gain = cross[chosen, np.arange(len(x))] / square[chosen]
    return Injection(*(v.astype(np.float32) for v in (intensity, chosen, gain, synthesis)))


def _regress(design: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return least squares of `target` (row, pixel) on `design` (column, pixel): (row, column + 1)."""
    dm, tm = design.mean(1), target.mean(1)
    centred = design - dm[:, None]
    gram = centred @ centred.T
    slope = (target - tm[:, None]) @ centred.T @ np.linalg.pinv(gram, rcond=RCOND, hermitian=True)
    return np.concatenate([slope, (tm - slope @ dm)[:, None]], 1)


def injector(rule: str, known: Injection, cube: torch.Tensor, guide: torch.Tensor, operator: Operator) -> Sharpened:
    """Return a function that adds the guide's detail to interpolated bands of one window.

    Parameters
    ----------
    rule : str
        One of `RULES`.
    known : Injection
    cube : Tensor, shape (band, y, x)
        The filled lr window.
    guide : Tensor, shape (guide band, ratio * y, ratio * x)
    operator : Operator

    Returns
    -------
    callable
        From interpolated bands (band, ratio * y, ratio * x), and which bands they are, to sharpened ones.
    """
    return RULES[rule](known, cube, guide, operator)


def _brovey(known: Injection, cube: torch.Tensor, guide: torch.Tensor, operator: Operator) -> Sharpened:  # noqa: ARG001  # as the others
    """Several guide bands count as their mean."""
    pseudo = operator.upsample(cube.mean(0, keepdim=True))
    factor = torch.where(pseudo != 0, guide.mean(0, keepdim=True) / pseudo, 0.0)
    return lambda up, _: up * factor


def _gsa(known: Injection, cube: torch.Tensor, guide: torch.Tensor, operator: Operator) -> Sharpened:
    made = _applied(known.intensity, cube)
    detail = guide - operator.upsample(made)
    gain = torch.from_numpy(known.gain).to(cube)
    chosen = torch.from_numpy(known.guide_band.astype(np.int64)).to(cube.device)
    return lambda up, rows: up + gain[rows, None, None] * detail[chosen[rows]]


def _hpm(known: Injection, cube: torch.Tensor, guide: torch.Tensor, operator: Operator) -> Sharpened:  # noqa: ARG001
    smooth = operator.upsample(operator.degrade(guide))

    def sharpened(up: torch.Tensor, rows: slice) -> torch.Tensor:
        sharp, low = (_applied(known.synthesis[rows], v) for v in (guide, smooth))
        # A band around zero has no modulation; there the detail is left out.
        factor = torch.where(low.abs() > 0, sharp / low, 1.0)
        return up * factor.clamp(0, MOST)

    return sharpened


def _applied(weights: NDArray[np.float32], planes: torch.Tensor) -> torch.Tensor:
    """Return linear combinations of planes, constants added: (row, y, x)."""
    w = torch.from_numpy(weights).to(planes)
    return torch.addmm(w[:, -1:], w[:, :-1], planes.flatten(1)).view(-1, *planes.shape[1:])


RULES: dict[str, Callable[[Injection, torch.Tensor, torch.Tensor, Operator], Sharpened]] = {
    "brovey": _brovey,
    "gsa": _gsa,
    "mtf-glp-hpm": _hpm,
}
