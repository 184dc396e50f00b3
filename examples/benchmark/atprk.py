"""Area-to-point regression kriging.

Q. Wang, W. Shi, P. M. Atkinson and Y. Zhao, "Downscaling MODIS images with area-to-point regression kriging", Remote
Sens. Environ. 166, 2015; for Sentinel-2 Q. Wang et al., Remote Sens. Environ. 187, 2016:

    X = a G + b + K (L - a D G - b)

by least squares on the lr pair; K is the kriging of points from areas, whose weights solve

    [C_vv 1; 1' 0] [w; m] = [C_vp; 1]

for the lr pixels v around the point p. The covariance of points is exponential; its sill and range are those whose
means over areas fit the empirical semivariances of the lr residual best (deconvolution).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from periodic import Floats, Inputs, degraded, padded

Matrix = NDArray[np.float64]

# Settings: whether an area is a lr pixel, as in the publication, or is weighted by the true blur.
AREAS = (0.0, 1.0)
# lr pixels on either side of a point from which it is kriged, and largest lag of the semivariances, lr pixels.
REACH_LR, MAX_LAG_LR = 2, 10
# Ranges that are tried, lr pixels.
RANGES_LR = (0.3, 0.5, 0.8, 1.2, 1.8, 2.7, 4.0, 6.0, 9.0, 14.0)
# Share of the sill that is added to the variance of an area: kriging of a smooth covariance is singular.
NUGGET = 1e-6


def atprk(given: Inputs, area: float) -> Floats:
    """Return the product (band, ratio * y, ratio * x).

    Parameters
    ----------
    given : Inputs
    area : float
        One of `AREAS`.
    """
    ratio = given.psf.ratio
    low = degraded(given.guide, given.psf)
    if not area:
        low = given.guide.reshape(len(low), low.shape[1], ratio, low.shape[2], ratio).mean((2, 4))
    design = np.concatenate([low.reshape(len(low), -1), np.ones((1, low[0].size))]).astype(np.float64)
    fine = np.concatenate([given.guide.reshape(len(low), -1), np.ones((1, given.guide[0].size))])
    taps = _taps(given, int(area))
    out = []
    for band in given.scene.astype(np.float64):
        # Around the mean: least squares of numbers such as 300 K lose digits.
        line = np.linalg.lstsq(design.T, band.ravel() - band.mean(), rcond=1e-6)[0]
        residual = band - band.mean() - (line @ design).reshape(band.shape)
        made = (line @ fine).reshape(given.guide.shape[1:]) + band.mean()
        out.append(made + kriged(residual, ratio, taps))
    return np.asarray(out, np.float32)


def _taps(given: Inputs, area: int) -> tuple[Matrix, Matrix]:
    """Return the positions and the weights of an area along an axis, target pixels from its centre."""
    ratio, psf = given.psf.ratio, given.psf
    if not area:
        return np.arange(ratio) - (ratio - 1) / 2, np.full(ratio, 1 / ratio)
    taps = np.asarray(psf.taps_y)
    return psf.start_y + np.arange(len(taps)) - (ratio - 1) / 2, taps / taps.sum()


def kriged(residual: Matrix, ratio: int, taps: tuple[Matrix, Matrix]) -> Matrix:
    """Return points of a plane (y, x) of areas, (ratio * y, ratio * x)."""
    width = _point_range(residual, ratio, taps)
    weights = _weights(ratio, taps, width)
    height, columns = residual.shape
    wide = padded(residual[None].astype(np.float32), REACH_LR)[0].astype(np.float64)
    side = 2 * REACH_LR + 1
    near = np.stack([wide[i : i + height, j : j + columns] for i in range(side) for j in range(side)])
    points = np.tensordot(weights, near, 1).reshape(ratio, ratio, height, columns)
    return points.transpose(2, 0, 3, 1).reshape(height * ratio, columns * ratio)


def _weights(ratio: int, taps: tuple[Matrix, Matrix], width: float) -> Matrix:
    """Return the weights of the areas around each target pixel of a lr pixel, (pixel, area)."""
    side = np.arange(-REACH_LR, REACH_LR + 1) * ratio
    centres = np.array([(y, x) for y in side for x in side], np.float64)
    points = np.array([(y, x) for y in range(ratio) for x in range(ratio)]) - (ratio - 1) / 2
    areas = _covariances(centres, taps, width)
    count = len(centres)
    system = np.ones((count + 1, count + 1))
    system[:count, :count] = areas + NUGGET * np.eye(count)
    system[-1, -1] = 0
    y, x = np.meshgrid(taps[0], taps[0], indexing="ij")
    share = np.outer(taps[1], taps[1]).ravel()
    cells = np.stack([y.ravel(), x.ravel()], 1)
    right = np.ones((count + 1, len(points)))
    for index, centre in enumerate(centres):
        distance = np.linalg.norm((centre + cells)[:, None] - points[None], axis=-1)
        right[index] = share @ np.exp(-distance / width)
    return np.linalg.solve(system, right)[:count].T


def _covariances(centres: Matrix, taps: tuple[Matrix, Matrix], width: float) -> Matrix:
    """Return the covariances of areas at these centres, (area, area), of points of unit variance."""
    # The covariance of two areas is that of points, at the distances of their correlated weights.
    lags = taps[0][:, None] - taps[0][None]
    values, inverse = np.unique(lags.round(9), return_inverse=True)
    share = np.bincount(inverse.ravel(), weights=np.outer(taps[1], taps[1]).ravel())
    y, x = np.meshgrid(values, values, indexing="ij")
    both = np.outer(share, share)
    kept = both > 1e-9
    y, x, both = y[kept], x[kept], both[kept]
    offsets = centres[:, None] - centres[None]
    unique, where = np.unique(offsets.reshape(-1, 2), axis=0, return_inverse=True)
    found = [float(both @ np.exp(-np.hypot(dy + y, dx + x) / width)) for dy, dx in unique]
    return np.asarray(found)[where.ravel()].reshape(len(centres), len(centres))


def _point_range(residual: Matrix, ratio: int, taps: tuple[Matrix, Matrix]) -> float:
    """Return the range of points, target pixels, whose areas fit the semivariances of a residual best."""
    lags = np.arange(1, min(MAX_LAG_LR, min(residual.shape) // 2) + 1)
    empirical = np.array([_semivariance(residual, lag) for lag in lags])
    pairs = [(0, 0), *((0, lag * ratio) for lag in lags)]
    best, least = float(RANGES_LR[0] * ratio), np.inf
    for lr in RANGES_LR:
        row = _covariances(np.array(pairs, np.float64), taps, lr * ratio)[0]
        model = row[0] - row[1:]
        # Near lags have more pairs, and matter more to the weights.
        importance = 1 / lags
        sill = (importance * model * empirical).sum() / (importance * model**2).sum()
        error = float((importance * (empirical - sill * model) ** 2).sum())
        if error < least:
            best, least = float(lr * ratio), error
    return best


def _semivariance(plane: Matrix, lag: int) -> float:
    along = ((plane[lag:] - plane[:-lag]) ** 2).mean(), ((plane[:, lag:] - plane[:, :-lag]) ** 2).mean()
    return float(np.mean(along) / 2)
