"""An undecimated wavelet: differences of the plane and its smoothed versions (a trous; Holschneider et al., 1989)."""

from __future__ import annotations

from functools import cache

import numpy as np
from torch import Tensor

from dualsr_geo.fusion.guide_noise.convolution import Taps, convolve, cropped

# Levels of detail. A fourth is not better.
LEVELS = 3
# Support of the coarsest level on every side: the kernel is [1 2 1] / 4 with holes of 1, 2 and 4 px.
WAVELET_REACH_PX = 2**LEVELS - 1


@cache
def kernel(level: int) -> Taps:
    """Return the taps of a level, [1 2 1] / 4 with zeros between."""
    gap = 2**level - 1
    return (0.25, *[0.0] * gap, 0.5, *[0.0] * gap, 0.25)


def details(planes: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return the details of each level and the coarse plane; their sum is the plane, where all have support.

    Parameters
    ----------
    planes : Tensor, shape (..., Y, X)

    Returns
    -------
    details : list of Tensor
        The finest first. Those of a level are smaller by `lost_px` on every side.
    coarse : Tensor
        As large as the last details.
    """
    out = []
    for level in range(LEVELS):
        smooth = convolve(planes, kernel(level))
        out.append(cropped(planes, 2**level) - smooth)
        planes = smooth
    return out, planes


def lost_px(level: int) -> int:
    """Return the support that the details of a level lose on every side, px."""
    return (2 << level) - 1


@cache
def noise_variances() -> tuple[float, ...]:
    """Return the variance that white noise of variance 1 has in the details of each level."""
    size = 2 * WAVELET_REACH_PX + 1
    axis = np.zeros(size)
    axis[WAVELET_REACH_PX] = 1
    plane, out = np.outer(axis, axis), []
    for level in range(LEVELS):
        axis = np.convolve(axis, kernel(level), "same")
        smooth = np.outer(axis, axis)
        out.append(float(((plane - smooth) ** 2).sum()))
        plane = smooth
    return tuple(out)
