"""TsHARP: temperature by a polynomial of NDVI, and the residual of the lr pair.

N. Agam et al., "A vegetation index based technique for spatial sharpening of thermal imagery", Remote Sens. Environ.
107(4), 2007: with the vegetation index n on the target grid and its mean n_l in a lr pixel,

    T = f(n) + up(L - f(n_l)),        f fitted by least squares on the lr pixels of the most even vegetation.

The residual is that of the lr pixel in the publication; a spline between pixels is the other setting.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from periodic import Floats, Inputs, spline

# Settings: degree of the polynomial, with a sign: negative for a residual that is constant in a lr pixel.
DEGREES = (-1.0, -2.0, 1.0, 2.0)
# Share of the lr pixels with the smallest variation that the polynomial is fitted to, in each of so many classes of n.
EVEN_SHARE, CLASSES = 0.25, 3


def tsharp(given: Inputs, degree: float) -> Floats:
    """Return the product (band, ratio * y, ratio * x).

    Parameters
    ----------
    given : Inputs
        The guide is the vegetation index, of one band.
    degree : float
        One of `DEGREES`.
    """
    ratio, order = given.psf.ratio, int(abs(degree))
    index = given.guide[0].astype(np.float64)
    cells = blocks(index, ratio)
    low = cells.mean(-1)
    even = evenness(cells)
    out = []
    for band in given.scene:
        line = np.polyfit(low[even], band[even].astype(np.float64), order)
        residual = (band - np.polyval(line, low))[None].astype(np.float32)
        out.append(np.polyval(line, index) + (repeated(residual, ratio) if degree < 0 else spline(residual, ratio))[0])
    return np.asarray(out, np.float32)


def blocks(plane: NDArray[np.float64], ratio: int) -> NDArray[np.float64]:
    """Return the target pixels of every lr pixel, (y, x, pixel)."""
    height, width = (n // ratio for n in plane.shape)
    return plane.reshape(height, ratio, width, ratio).transpose(0, 2, 1, 3).reshape(height, width, -1)


def repeated(cube: Floats, ratio: int) -> Floats:
    """Return a cube whose pixels are repeated along both axes."""
    return cube.repeat(ratio, 1).repeat(ratio, 2)


def evenness(cells: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the lr pixels (y, x) whose target pixels (y, x, pixel) vary least, the same share in each class of the mean."""
    mean, variation = cells.mean(-1), cells.std(-1)
    edges = np.quantile(mean, np.linspace(0, 1, CLASSES + 1))
    label = np.clip(np.searchsorted(edges, mean, side="right") - 1, 0, CLASSES - 1)
    out = np.zeros(mean.shape, bool)
    for number in range(CLASSES):
        inside = label == number
        if inside.any():
            out |= inside & (variation <= np.quantile(variation[inside], EVEN_SHARE))
    return out
