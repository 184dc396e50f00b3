"""HySure: subspace fusion with vector total variation, by the alternating direction method of multipliers.

M. Simoes, J. Bioucas-Dias, L. B. Almeida and J. Chanussot, "A convex formulation for hyperspectral image
superresolution via subspace-based regularization", IEEE Trans. Geosci. Remote Sens. 53(6), 2015. With X = E U,

    min  |E U B M - Y_h|^2 / 2 + GUIDE_WEIGHT |R E U - Y_m|^2 / 2 + variation sum_pixels |(U D_h, U D_v)|,

split into V1 = U B, V2 = U, V3 = U D_h, V4 = U D_v; M keeps the observed pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from periodic import Complex, Floats, Inputs, kernel, spline, subspace
from scipy import fft

# Weights of the total variation for data in 0..1; the best of the three counts. The authors' code has 5e-4.
VARIATIONS = (1e-4, 5e-4, 2.5e-3)
# Weight of the guide, and penalty of the splitting, as in the authors' code.
GUIDE_WEIGHT, PENALTY = 1.0, 0.05
# Steps; on a CAVE scene 30 are within 0.1 dB of 200, and 60 within 0.02 dB, since they start at the spline.
STEPS = 40


def hysure(given: Inputs, variation: float, steps: int = STEPS) -> Floats:
    """Return the product (band, ratio * y, ratio * x).

    Parameters
    ----------
    given : Inputs
    variation : float
        Weight of the total variation.
    steps : int
    """
    wide = given.continued()
    ratio = given.psf.ratio
    expand = subspace(wide.scene).astype(np.float32)
    observed = np.tensordot(expand.T, wide.scene, 1)
    responses = (wide.response @ expand).astype(np.float32)
    start = spline(observed, ratio)
    shape = start.shape[1:]
    blur, *slopes = _transfers(given, shape)
    total = 1 + sum(np.abs(t) ** 2 for t in (blur, *slopes))
    of_guide = GUIDE_WEIGHT * responses.T @ responses + PENALTY * np.eye(len(expand.T), dtype=np.float32)
    from_guide = GUIDE_WEIGHT * np.tensordot(responses.T, wide.guide, 1)
    inverse = np.linalg.inv(of_guide)

    transfers = (blur, None, *slopes)
    split = [_applied(fft.rfft2(start), t, shape) for t in transfers]
    dual = [np.zeros_like(start) for _ in transfers]
    for _ in range(steps):
        spectrum = sum(_adjoint(fft.rfft2(v + d), t) for v, d, t in zip(split, dual, transfers, strict=True)) / total
        parts = [_applied(spectrum, t, shape) for t in transfers]
        blurred, plain, *gradient = (p - d for p, d in zip(parts, dual, strict=True))
        blurred[:, ::ratio, ::ratio] = (observed + PENALTY * blurred[:, ::ratio, ::ratio]) / (1 + PENALTY)
        split = [
            blurred,
            np.asarray(np.tensordot(inverse, from_guide + PENALTY * plain, 1), np.float32),
            *_shrunk(gradient, variation / PENALTY),
        ]
        dual = [d - (p - v) for d, p, v in zip(dual, parts, split, strict=True)]
    return given.cut(np.asarray(np.tensordot(expand, parts[1], 1), np.float32))


def _transfers(given: Inputs, shape: tuple[int, ...]) -> tuple[Complex, Complex, Complex]:
    """Return the transfer functions of blur and of the differences along x and y, of the real Fourier transform."""
    half = shape[1] // 2 + 1
    y, x = (np.exp(2j * np.pi * np.arange(n) / n) - 1 for n in shape)
    ones = np.ones(shape)
    return (
        kernel(given.psf, shape)[:, :half],
        (ones * x)[:, :half].astype(np.complex64),
        (ones * y[:, None])[:, :half].astype(np.complex64),
    )


def _applied(spectrum: Complex, transfer: Complex | None, shape: tuple[int, ...]) -> Floats:
    made: Floats = fft.irfft2(spectrum if transfer is None else spectrum * transfer, shape).astype(np.float32)
    return made


def _adjoint(spectrum: Complex, transfer: Complex | None) -> Complex:
    return spectrum if transfer is None else np.asarray(spectrum * transfer.conj(), np.complex64)


def _shrunk(gradient: Sequence[NDArray[np.float32]], by: float) -> list[Floats]:
    """Return the gradient with the length over all components and both directions reduced by a threshold."""
    length = np.sqrt(sum((g**2).sum(0) for g in gradient))
    factor = (np.maximum(length - by, 0) / np.maximum(length, 1e-12)).astype(np.float32)
    return [g * factor for g in gradient]
