"""Data mining sharpener: regression trees with linear leaves, one for the scene and one a window, and the residual.

F. Gao, W. P. Kustas and M. C. Anderson, "A data mining approach for sharpening thermal satellite imagery over land",
Remote Sens. 4(11), 2012, and pyDMS (R. Guzinski and H. Nieto, Remote Sens. Environ. 221, 2019): trees of the lr pixels'
temperature by the guide's mean, weighted by how even the guide is in a lr pixel; bagged; the global and the local
prediction are weighted by their squared residuals, and what is left of the lr pair is added, smoothed.

Cubist's rules are replaced by binary trees that are split by variance, with a ridge regression in every leaf.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from periodic import Floats, Inputs, spline
from tsharp import blocks

Matrix = NDArray[np.float64]
Predictor = Callable[[Matrix], Matrix]

# Settings: least number of lr pixels in a leaf.
LEAVES = (10.0, 40.0)
# Side of the local windows and their overlap on each side, lr pixels.
WINDOW_PX, OVERLAP_PX = 30, 8
# Trees of a bag, and the share of the pixels that each is grown from.
TREES, BAG_SHARE = 8, 0.8
# Values of a split that are tried, and ridge of a leaf's regression, share of its mean variance.
SPLITS, RIDGE = 8, 1e-2
# Floor of the variation of the guide in a lr pixel, share of its mean, and of a squared residual.
MIN_VARIATION, MIN_SQUARE = 0.02, 1e-4


def dms(given: Inputs, leaf: float) -> Floats:
    """Return the product (band, ratio * y, ratio * x).

    Parameters
    ----------
    given : Inputs
    leaf : float
        Least number of lr pixels in a leaf.
    """
    ratio = given.psf.ratio
    fine = given.guide.astype(np.float64)
    cells = np.stack([blocks(plane, ratio) for plane in fine])
    low = cells.mean(-1)
    scale = low.std((1, 2)) + 1e-12
    weight = 1 / (MIN_VARIATION + (cells.std(-1) / scale[:, None, None]).mean(0))
    centre = low.mean((1, 2))[:, None, None]
    fine, low = ((v - centre) / scale[:, None, None] for v in (fine, low))
    return np.stack([_sharpened(band.astype(np.float64), low, fine, weight, int(leaf), ratio) for band in given.scene])


def _sharpened(band: Matrix, low: Matrix, fine: Matrix, weight: Matrix, leaf: int, ratio: int) -> Floats:
    whole = np.s_[0 : band.shape[0]], np.s_[0 : band.shape[1]]
    everywhere = _bag(band, low, weight, whole, leaf)
    total, sums = np.zeros(fine.shape[1:]), np.zeros(fine.shape[1:])
    for inner, outer in _windows(band.shape):
        local = _bag(band, low, weight, outer, leaf)
        both = []
        for predict in (everywhere, local):
            square = (band[inner] - predict(low[(slice(None), *inner)])) ** 2
            share = spline((1 / (square + MIN_SQUARE))[None].astype(np.float32), ratio)[0].clip(1e-6)
            both.append((share, predict(fine[(slice(None), *_fine(inner, ratio))])))
        total[_fine(inner, ratio)] = sum(share * value for share, value in both)
        sums[_fine(inner, ratio)] = sum(share for share, _ in both)
    start = total / sums
    residual = band - blocks(start, ratio).mean(-1)
    return (start + spline(residual[None].astype(np.float32), ratio)[0]).astype(np.float32)


def _windows(shape: tuple[int, ...]) -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Return windows that tile the scene, and the same with their overlap."""
    out = []
    for y in range(0, shape[0], WINDOW_PX):
        for x in range(0, shape[1], WINDOW_PX):
            inner = slice(y, min(y + WINDOW_PX, shape[0])), slice(x, min(x + WINDOW_PX, shape[1]))
            outer = (
                slice(max(y - OVERLAP_PX, 0), y + WINDOW_PX + OVERLAP_PX),
                slice(max(x - OVERLAP_PX, 0), x + WINDOW_PX + OVERLAP_PX),
            )
            out.append((inner, outer))
    return out


def _fine(window: tuple[slice, slice], ratio: int) -> tuple[slice, slice]:
    rows, columns = (slice(s.start * ratio, s.stop * ratio) for s in window)
    return rows, columns


def _bag(band: Matrix, low: Matrix, weight: Matrix, window: tuple[slice, slice], leaf: int) -> Predictor:
    """Return the mean of the trees that are grown from parts of a window's pixels."""
    x = low[(slice(None), *window)].reshape(len(low), -1).T
    y, w = band[window].ravel(), weight[window].ravel()
    rng = np.random.default_rng(0)
    trees = []
    for _ in range(TREES):
        some = rng.permutation(len(y))[: max(int(BAG_SHARE * len(y)), min(len(y), 2 * leaf))]
        trees.append(_grown(x[some], y[some], w[some], leaf))

    def predict(planes: Matrix) -> Matrix:
        pixels = planes.reshape(len(planes), -1).T
        return np.asarray(np.mean([tree.values(pixels) for tree in trees], 0).reshape(planes.shape[1:]))

    return predict


@dataclass(frozen=True)
class _Tree:
    """A node: a split of one feature, or the linear regression of a leaf, clipped to the range of its pixels."""

    line: Matrix
    low: float
    high: float
    feature: int = -1
    value: float = 0.0
    below: _Tree | None = None
    above: _Tree | None = None

    def values(self, x: Matrix) -> Matrix:
        """Return the prediction at pixels (pixel, feature)."""
        if self.below is None or self.above is None:
            return np.asarray((x @ self.line[:-1] + self.line[-1]).clip(self.low, self.high))
        left = x[:, self.feature] <= self.value
        out = np.empty(len(x))
        out[left], out[~left] = self.below.values(x[left]), self.above.values(x[~left])
        return out


def _grown(x: Matrix, y: Matrix, w: Matrix, leaf: int) -> _Tree:
    margin = 0.25 * np.ptp(y)
    node = _Tree(_line(x, y, w), y.min() - margin, y.max() + margin)
    split = _split(x, y, w, leaf)
    if split is None:
        return node
    feature, value = split
    left = x[:, feature] <= value
    below, above = (_grown(x[s], y[s], w[s], leaf) for s in (left, ~left))
    return _Tree(node.line, node.low, node.high, feature, value, below, above)


def _line(x: Matrix, y: Matrix, w: Matrix) -> Matrix:
    """Return slopes and intercept of a ridge regression, (feature + 1,)."""
    mx, my = np.average(x, 0, w), np.average(y, weights=w)
    centred = x - mx
    gram = (centred * w[:, None]).T @ centred
    gram += (RIDGE * np.trace(gram) / len(gram) + 1e-9) * np.eye(len(gram))
    slope = np.linalg.solve(gram, (centred * w[:, None]).T @ (y - my))
    return np.append(slope, my - mx @ slope)


def _split(x: Matrix, y: Matrix, w: Matrix, leaf: int) -> tuple[int, float] | None:
    """Return the feature and the value that lower the variance most; None for a leaf."""
    if len(y) < 2 * leaf:
        return None
    best, most = None, 0.0
    total, square = (w * y).sum(), w.sum()
    for feature in range(x.shape[1]):
        for value in np.quantile(x[:, feature], np.linspace(0, 1, SPLITS + 2)[1:-1]):
            left = x[:, feature] <= value
            if not leaf <= left.sum() <= len(y) - leaf:
                continue
            a, b = (w[left] * y[left]).sum(), w[left].sum()
            gain = a**2 / b + (total - a) ** 2 / (square - b) - total**2 / square
            if gain > most:
                best, most = (feature, float(value)), gain
    return best
