"""Estimation of a scene's blur from the scene: how narrow its sharpest structures are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.registration.scene_blur.features import PlaneFeatures, plane_features
from dualsr_geo.registration.scene_blur.planes import ComponentPlanes, component_planes
from dualsr_geo.registration.scene_blur.regressors import FREQUENCIES, Regressors, load_regressors

Floats = NDArray[np.float32]

# Least side of a block for an estimate, lr pixels: the window of the spectra.
MIN_SIDE_LR = 16
# Side of the blocks whose estimates are compared, lr pixels; there must be this many of them.
BLOCK_SIDE_LR, MIN_BLOCKS = 36, 4
# The narrowest credible block: this quantile of the blocks' widths.
BLOCK_QUANTILE = 0.1
# Components of a block that are described.
BLOCK_COMPONENTS = 2
# Weights of the components' estimates.
COMPONENT_WEIGHTS = (1.0, 0.7, 0.5)
# Factor on the combined standard error, by which two thirds of the estimates are within it; smallest error, lr pixels.
ERROR_FACTOR, MIN_ERROR_LR = 1.4, 0.03
# From this error on the estimate is worth nothing, lr pixels: the widths of sensors have a deviation of 0.17.
MAX_ERROR_LR = 0.2
# Where the narrowest edges are wider than this, nothing in the scene shows the sensor's blur: the differences on both
# sides of an edge, relative to the edge; a Gaussian of MTF gain 0.15 leaves 0.7 of a step.
MAX_NARROWEST = 1.5
# Correlation of neighbouring pixels below which a scene is noise: reduced scenes have 0.6 and more, those sampled without
# a blur 0.3 and more.
MIN_CORRELATION = 0.2


@dataclass(frozen=True)
class SceneBlur:
    """The blur of a scene as the scene itself shows it, alike along rows and columns.

    Attributes
    ----------
    width_lr, error_lr : float
        Width of the Gaussian that has the same gain at the Nyquist frequency, and its standard error, lr pixels.
    narrow_lr : float or None
        Width of the narrowest credible block, lr pixels: a scene that is out of focus in parts is wider elsewhere.
        None where there are too few blocks.
    gain : float
        MTF gain at the lr Nyquist frequency.
    gain_range : (float, float)
        The gains of a width that is larger and smaller by its standard error.
    pixels, blocks : int
        Number of lr pixels, and of the compared blocks.
    transfer : tuple of float
        Transfer function at `frequencies`.
    frequencies : tuple of float
        Cycles a lr pixel.
    """

    width_lr: float
    error_lr: float
    narrow_lr: float | None
    gain: float
    gain_range: tuple[float, float]
    pixels: int
    blocks: int
    transfer: tuple[float, ...]
    frequencies: tuple[float, ...] = FREQUENCIES


def gain_of(width_lr: float) -> float:
    """Return the MTF gain at the Nyquist frequency of a Gaussian, from its width in lr pixels."""
    return math.exp(-0.5 * (math.pi * max(width_lr, 0.0)) ** 2)


def width_of(gain: float) -> float:
    """Return the width in lr pixels of the Gaussian with this MTF gain at the Nyquist frequency."""
    return math.sqrt(max(-2 * math.log(gain), 0.0)) / math.pi


def estimate_scene_blur(
    cubes: Sequence[NDArray[Any]], weights: Sequence[NDArray[Any]], ratio: int, regressors: Regressors | None = None
) -> SceneBlur | None:
    """Estimate the blur of a scene from some of its blocks.

    Parameters
    ----------
    cubes : sequence of array, shape (band, y, x)
        Filled, without NaN.
    weights : sequence of array, shape (y, x)
        Validity of the pixels, 0..1.
    ratio : int
        GSD lr / GSD hr: the blur is that against the product, whose own pixels have a width.
    regressors : Regressors, optional
        Others than those of the package.

    Returns
    -------
    SceneBlur or None
        None where it cannot be estimated: the blocks are smaller than `MIN_SIDE_LR`, the scene is constant, has no
        edge, or is noise.
    """
    large = [(c, w) for c, w in zip(cubes, weights, strict=True) if min(w.shape) >= MIN_SIDE_LR]
    if not large:
        return None
    regressors = regressors or load_regressors()
    components = component_planes(*zip(*large, strict=True))
    described = [(c, plane_features(c.planes)) for c in components]
    used = [(c, f) for c, f in described if f is not None]
    if not used or not _is_clear(used[0][1]):
        return None
    width, error, transfer = _combined(used, ratio, regressors)
    if error > MAX_ERROR_LR:
        return None
    blocks = [b for b in (_block(part, ratio, regressors) for part in _parts(components)) if b is not None]
    narrow = _narrow(blocks) if len(blocks) >= MIN_BLOCKS else None
    ends = gain_of(width + error), gain_of(width - error)
    pixels = max(f.pixels for _, f in used)
    return SceneBlur(width, error, narrow, gain_of(width), ends, pixels, len(blocks), tuple(transfer.tolist()))


def regressor_inputs(component: ComponentPlanes, features: PlaneFeatures, ratio: int) -> Floats:
    """Return what the regressors read of a component, (input,)."""
    own = [component.index, math.log(component.share), math.log2(ratio)]
    return np.concatenate([features.values, own]).astype(np.float32)


def _is_clear(features: PlaneFeatures) -> bool:
    """Return whether the leading component has edges that are no noise."""
    return features.narrowest <= MAX_NARROWEST and features.correlation >= MIN_CORRELATION


def _combined(
    used: Sequence[tuple[ComponentPlanes, PlaneFeatures]], ratio: int, regressors: Regressors
) -> tuple[float, float, NDArray[np.float64]]:
    """Return width, standard error and transfer function of several components together."""
    transfer, widths, errors = regressors(np.stack([regressor_inputs(c, f, ratio) for c, f in used]))
    q = np.array([COMPONENT_WEIGHTS[c.index] for c, _ in used]) / errors.astype(np.float64) ** 2
    width = float(q @ widths / q.sum())
    spread = math.sqrt(float(q @ (widths - width) ** 2 / q.sum()))
    error = max(ERROR_FACTOR / math.sqrt(float(q.sum())), spread, MIN_ERROR_LR)
    return max(width, 0.0), error, q @ transfer / q.sum()


def _parts(components: Sequence[ComponentPlanes]) -> Iterator[list[ComponentPlanes]]:
    """Yield the leading components of blocks that do not overlap."""
    leading = components[:BLOCK_COMPONENTS]
    for i, plane in enumerate(leading[0].planes):
        rows, columns = (_starts(n) for n in plane.shape)
        for y in rows:
            for x in columns:
                cut = np.s_[y : y + BLOCK_SIDE_LR, x : x + BLOCK_SIDE_LR]
                yield [ComponentPlanes(c.index, c.share, (c.planes[i][cut],)) for c in leading]


def _starts(length: int) -> list[int]:
    """Return the first pixels of as many blocks as fit, spread evenly; two that overlap a little where one fits."""
    count = max(length // BLOCK_SIDE_LR, 2 if length >= MIN_BLOCKED_SIDE_LR else length // BLOCK_SIDE_LR)
    return [round(i * (length - BLOCK_SIDE_LR) / max(count - 1, 1)) for i in range(count)]


# From this side on a scene has two blocks a side, which share at most half of their pixels.
MIN_BLOCKED_SIDE_LR = 47


def _block(part: Sequence[ComponentPlanes], ratio: int, regressors: Regressors) -> tuple[float, float] | None:
    """Return width and standard error of a block; None where it shows nothing."""
    described = [(c, plane_features(c.planes)) for c in part]
    used = [(c, f) for c, f in described if f is not None]
    if not used or not _is_clear(used[0][1]):
        return None
    width, error, _ = _combined(used, ratio, regressors)
    return width, error


def _narrow(blocks: Sequence[tuple[float, float]]) -> float:
    """Return the quantile of the blocks' widths, weighted by their precisions."""
    widths, errors = np.array(sorted(blocks)).T
    precision = 1 / errors**2
    return float(np.interp(BLOCK_QUANTILE, (np.cumsum(precision) - precision / 2) / precision.sum(), widths))
