"""The leading spectral components of a scene's sample as planes, whose sharpness is described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Components that are described; more of them hold mostly noise.
COMPONENT_COUNT = 3
# More bands than these do not change the leading components.
MAX_BANDS = 31
# A pixel of at least this weight has no hole near.
WHOLE_WEIGHT = 0.999
# A component below this share of the leading one's variance is rounding.
MIN_VARIANCE_SHARE = 1e-6


@dataclass(frozen=True)
class ComponentPlanes:
    """One spectral component of a sample.

    Attributes
    ----------
    index : int
        0 for the leading one.
    share : float
        Its variance over that of the leading one.
    planes : tuple of array, shape (y, x)
        One a block of the sample; NaN where the scene has no value.
    """

    index: int
    share: float
    planes: tuple[Floats, ...]


def component_planes(cubes: Sequence[Floats], weights: Sequence[Floats]) -> list[ComponentPlanes]:
    """Return the leading components of blocks of a scene.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
        Without NaN.
    weights : sequence of array, shape (y, x)
        Validity of the pixels, 0..1.
    """
    bands = len(cubes[0])
    some = np.unique(np.linspace(0, bands - 1, min(bands, MAX_BANDS)).round().astype(int))
    whole = [w >= WHOLE_WEIGHT for w in weights]
    spectra = np.concatenate([c[some][:, w] for c, w in zip(cubes, whole, strict=True)], 1).astype(np.float64)
    if spectra.shape[1] < 2:
        return []
    mean = spectra.mean(1, keepdims=True)
    variances, vectors = np.linalg.eigh(np.cov(spectra - mean).reshape(len(some), len(some)))
    largest = max(float(variances[-1]), np.finfo(np.float64).tiny)
    out = []
    for i in range(min(COMPONENT_COUNT, len(some))):
        share = float(variances[-1 - i]) / largest
        if share < MIN_VARIANCE_SHARE:
            break
        vector = vectors[:, -1 - i]
        planes = tuple(_plane(c[some], w, vector, mean) for c, w in zip(cubes, whole, strict=True))
        out.append(ComponentPlanes(i, share, planes))
    return out


def _plane(cube: Floats, whole: NDArray[np.bool_], vector: NDArray[np.float64], mean: NDArray[np.float64]) -> Floats:
    """Return a component of a cube (band, y, x) as a plane (y, x), NaN where it is not whole."""
    plane = np.tensordot(vector, cube, 1) - float(vector @ mean[:, 0])
    return np.where(whole, plane, np.nan).astype(np.float32)
