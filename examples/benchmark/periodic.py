"""Blur and decimation on the Fourier domain, for methods that solve there; and their spectral subspace.

The scene and the guide are continued by mirroring before, and cut after, because the Fourier domain is periodic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft, ndimage

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf

Floats = NDArray[np.float32]
Complex = NDArray[np.complex64]
# Pixels that the scene is continued by on each side, lr pixels.
MARGIN_LR = 6
# Components of the spectral subspace.
COMPONENTS = 10


@dataclass(frozen=True)
class Inputs:
    """What the methods are given.

    Attributes
    ----------
    scene : array, shape (band, y, x)
    guide : array, shape (guide band, ratio * y, ratio * x)
    psf : Psf
        The true blur.
    response : array, shape (guide band, band)
        The guide's true spectral response.
    """

    scene: Floats
    guide: Floats
    psf: Psf
    response: NDArray[np.float64]

    def continued(self) -> Inputs:
        """Return scene and guide with their margins."""
        ratio = self.psf.ratio
        return Inputs(padded(self.scene, MARGIN_LR), padded(self.guide, MARGIN_LR * ratio), self.psf, self.response)

    def cut(self, product: Floats) -> Floats:
        """Return a product of the continued inputs without its margins."""
        margin = MARGIN_LR * self.psf.ratio
        return np.ascontiguousarray(product[:, margin:-margin, margin:-margin])


def padded(cube: Floats, by: int) -> Floats:
    """Return a cube (band, y, x) continued by mirroring it at its edges."""
    return np.pad(cube, ((0, 0), (by, by), (by, by)), mode="symmetric")


def subspace(scene: Floats, count: int = COMPONENTS) -> NDArray[np.float64]:
    """Return the leading spectral directions of a scene, (band, component), orthonormal."""
    spectra = scene.reshape(len(scene), -1).astype(np.float64)
    vectors = np.linalg.eigh(spectra @ spectra.T)[1][:, ::-1]
    return np.asarray(vectors[:, : min(count, len(scene))])


def kernel(psf: Psf, shape: tuple[int, ...]) -> Complex:
    """Return the transfer function of a blur on a grid (ratio * y, ratio * x); every `ratio`-th pixel is then observed."""
    axes = []
    for taps, start, length in zip((psf.taps_y, psf.taps_x), (psf.start_y, psf.start_x), shape, strict=True):
        line = np.zeros(length)
        np.add.at(line, -(start + np.arange(len(taps))) % length, taps)
        axes.append(fft.fft(line))
    return np.asarray(np.outer(*axes), np.complex64)


def by_alias(spectrum: Complex, ratio: int) -> Complex:
    """Return a spectrum (..., ratio * y, ratio * x) as (..., alias y, y, alias x, x); decimation sums the aliases."""
    height, width = (n // ratio for n in spectrum.shape[-2:])
    return spectrum.reshape(*spectrum.shape[:-2], ratio, height, ratio, width)


def degraded(cube: Floats, psf: Psf) -> Floats:
    """Return a cube (band, ratio * y, ratio * x) blurred and decimated, (band, y, x); edges repeated."""
    shape = (cube.shape[1] // psf.ratio, cube.shape[2] // psf.ratio)
    made: Floats = operator(psf, shape).degrade(torch.from_numpy(np.ascontiguousarray(cube))).numpy()
    return made


def spline(cube: Floats, ratio: int) -> Floats:
    """Return a cube (band, y, x) interpolated by a cubic spline on pixel centres."""
    made: Floats = ndimage.zoom(cube, (1, ratio, ratio), order=3, mode="nearest", grid_mode=True).astype(np.float32)
    return made
