"""SupReMe: subspace fusion with a smoothness that ends at the edges of the fine bands, as used for Sentinel-2.

C. Lanaras, J. Bioucas-Dias, E. Baltsavias and K. Schindler, "Super-resolution of multispectral multiresolution images from
a single sensor", CVPR Workshops, 2017. Coarse and fine bands together are E U, with E from the bands resampled to one
grid, and

    min  |E_c U B M - Y_c|^2 / 2 + |E_f U - Y_f|^2 / 2 + smoothness sum_k,pixels q_k w (|D_h U_k|^2 + |D_v U_k|^2) / 2,

where the weights w are small where the fine bands have an edge, and q_k grows with the component. The alternating direction
method of multipliers splits it into V1 = U B, V2 = U, V3 = U D_h, V4 = U D_v, as in the authors' work.
"""

from __future__ import annotations

import numpy as np
from hysure import PENALTY, _adjoint, _applied, _transfers
from numpy.typing import NDArray
from periodic import Floats, Inputs, degraded, spline, subspace
from scipy import fft

# Weights of the smoothness for bands of unit mean square; the best of the three counts. The authors have 0.005.
SMOOTHNESSES = (1e-4, 1e-3, 5e-3)
# Components, and how much more smoothness the later ones get, as in the authors' paper.
COMPONENTS, GROWTH = 7, (1.0, 1.5, 4.0, 8.0, 15.0, 15.0, 20.0)
# Spread of the weights, shares of the mean squared gradient, and their least value.
EDGE, LEAST = 2.0, 0.5
STEPS = 60


def supreme(given: Inputs, smoothness: float, steps: int = STEPS) -> Floats:
    """Return the product (band, ratio * y, ratio * x).

    Parameters
    ----------
    given : Inputs
        The response is not used: the coarse bands need no linear relation to the fine ones.
    smoothness : float
    steps : int
    """
    wide, ratio = given.continued(), given.psf.ratio
    scale, scale_fine = _scales(wide.scene), _scales(wide.guide)
    coarse, fine = wide.scene / scale, wide.guide / scale_fine
    # E is found where all bands have one blur.
    low = np.concatenate([coarse, degraded(fine, given.psf)])
    expand = subspace(low, COMPONENTS).astype(np.float32)
    of_coarse, of_fine = expand[: len(coarse)], expand[len(coarse) :]
    shape = fine.shape[1:]
    transfers = (_transfers(given, shape)[0], None, *_transfers(given, shape)[1:])
    total = sum(1 if t is None else np.abs(t) ** 2 for t in transfers)
    each = smoothness * np.array(GROWTH[: expand.shape[1]], np.float32)[:, None, None] * _weights(fine)

    start = np.tensordot(expand.T, np.concatenate([spline(coarse, ratio), fine]), 1).astype(np.float32)
    split = [_applied(fft.rfft2(start), t, shape) for t in transfers]
    dual = [np.zeros_like(start) for _ in transfers]
    for _ in range(steps):
        spectrum = sum(_adjoint(fft.rfft2(v + d), t) for v, d, t in zip(split, dual, transfers, strict=True)) / total
        parts = [_applied(spectrum, t, shape) for t in transfers]
        blurred, plain, *gradient = (p - d for p, d in zip(parts, dual, strict=True))
        blurred[:, ::ratio, ::ratio] = _fitted(of_coarse, coarse, blurred[:, ::ratio, ::ratio])
        split = [blurred, _fitted(of_fine, fine, plain), *(g * PENALTY / (PENALTY + each) for g in gradient)]
        dual = [d - (p - v) for d, p, v in zip(dual, parts, split, strict=True)]
    return given.cut(np.asarray(scale * np.tensordot(of_coarse, parts[1], 1), np.float32))


def _scales(cube: Floats) -> Floats:
    return np.sqrt((cube.astype(np.float64) ** 2).mean((1, 2), keepdims=True)).astype(np.float32)


def _weights(fine: Floats) -> Floats:
    """Return the weights (y, x): least on the strongest edges of the fine bands, 1 where these are flat."""
    square = np.zeros(fine.shape[1:], np.float32)
    for axis in (1, 2):
        square = np.maximum(square, ((np.roll(fine, -1, axis) - fine) ** 2).max(0))
    weights: Floats = np.maximum(np.exp(-square / (EDGE * square.mean())), LEAST).astype(np.float32)
    return weights


def _fitted(expand: Floats, observed: Floats, near: Floats) -> NDArray[np.float32]:
    """Return the components (component, y, x) that fit the observed bands and are near to others, by the penalty."""
    inverse = np.linalg.inv(expand.T @ expand + PENALTY * np.eye(expand.shape[1], dtype=np.float32))
    return np.asarray(np.tensordot(inverse, np.tensordot(expand.T, observed, 1) + PENALTY * near, 1), np.float32)
