"""The level of the guide's noise, from two estimates that fail in different places, and from the guide's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import MIN_VALID_PX, Block
from dualsr_geo.fusion.guide_noise.coarse_detail import coarse_detail
from dualsr_geo.fusion.guide_noise.compression import is_compressed
from dualsr_geo.fusion.guide_noise.detail_noise import Diagonal, detail_noise, diagonal_detail
from dualsr_geo.fusion.guide_noise.quantisation import lattice_steps
from dualsr_geo.fusion.guide_noise.scene_residual import (
    Moments,
    block_moments,
    component_noise,
    cpu_planes,
    residual_noise,
)
from dualsr_geo.fusion.subspace import Subspace

# From this ratio of both estimates in the weakest direction on the noise is not white: JPEG has 9 and more, white and
# quantised guides below 2.
ODD_RATIO = 4.0
# Share of the scene's estimate that is used then; most of the distortion of JPEG is detail that was removed, not added.
ODD_SHARE = 0.7
# Largest estimate from the scene in the strongest direction of a compressed guide, relative to the largest in the others.
# JPEG has 0.4 to 0.92, since it keeps brightness better than colours. A response that the bands do not explain (display
# gamma, illumination, another date) grows with the signal: 1.1 to 9.
MAX_STRONGEST_RATIO = 1.1
# Where the estimates from the scene are equal in all directions up to this factor, they are noise, and not a response that
# the bands do not explain: that differs by factors of 1.5 to 20 between directions. Interpolated noise is found so (1.1),
# whose finest detail is lost. Two directions may be equal by chance.
UNIFORM_RATIO = 1.2
# A direction of less than this share of the largest variance is constant but for rounding.
MIN_VARIANCE_SHARE = 1e-10
# Parts of each window that the jackknife leaves out in turn: quarters.
PARTS = 4


@dataclass(frozen=True)
class NoiseLevel:
    """The noise of a guide at hr scale, in each of its principal directions.

    Attributes
    ----------
    mean : array, shape (guide band,)
        Mean of the sampled guide, physical units, as all levels.
    directions : array, shape (guide band, direction)
        Orthonormal principal directions, the strongest first; the largest entry of each is positive.
    from_guide : array, shape (direction,)
        Standard deviation of the guide's finest detail in its calmest places; too large in textured scenes.
    from_scene : array, shape (direction,)
        What the scene's components do not explain of the degraded guide, at hr scale; too large where the
        bands do not span the guide's response.
    step : array, shape (direction,)
        Standard deviation of the quantisation error: q / sqrt(12) of values on a lattice of step q, else 0.
    level : array, shape (direction,)
        Standard deviation of the noise: the smaller estimate, or that from the scene where it is the same in all
        directions; at least `step`.
    error : array, shape (direction,)
        Standard error of `level`.
    white : bool
        False in a guide from a JPEG file in which the scene finds far more noise than the finest detail shows.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]
    from_guide: NDArray[np.float32]
    from_scene: NDArray[np.float32]
    step: NDArray[np.float32]
    level: NDArray[np.float32]
    error: NDArray[np.float32]
    white: bool


@dataclass(frozen=True)
class _Estimates:
    """Both estimates and their combination, from some parts of the sample."""

    guide: NDArray[np.float64]
    scene: NDArray[np.float64]
    level: NDArray[np.float64]
    white: bool


@dataclass(frozen=True)
class _Parts:
    """What the estimates are made of: for each part of the sample its diagonal detail and its moments."""

    diagonals: tuple[tuple[Diagonal, ...], ...]
    moments: tuple[Moments, ...]
    step: NDArray[np.float64]
    constant: NDArray[np.bool_]
    coarse: NDArray[np.float64] | None
    psf: Psf
    component_noise: NDArray[np.float64] | None
    compressed: bool

    def estimate(self, without: int | None = None) -> _Estimates:
        """Return the estimates of the whole sample, or without one of its parts."""
        parts = [i for i in range(PARTS) if i != without]
        detail = detail_noise([d for i in parts for d in self.diagonals[i]], self.step)
        moments = sum((self.moments[i] for i in parts[1:]), self.moments[parts[0]])
        scene = residual_noise(moments, len(self.step), self.psf, self.component_noise)
        return _combined(detail, scene, self)


def estimate_noise_level(
    guides: Sequence[Tensor],
    valid: Sequence[Tensor],
    blocks: Sequence[Block],
    psf: Psf,
    space: Subspace,
    scene_noise: NDArray[np.floating] | None = None,
) -> NoiseLevel | None:
    """Estimate the noise of a guide.

    Parameters
    ----------
    guides : sequence of Tensor, shape (guide band, Y, X)
        Windows of the guide as it was read: interpolated noise is smaller. No NaN inside `valid`.
    valid : sequence of Tensor of bool, shape (Y, X)
    blocks : sequence of Block
        The sample of the scene with its registered guide. Pixels of a weight below 1 are left out.
    psf : Psf
        Blur of the scene.
    space : Subspace
        Components of the scene.
    scene_noise : array, shape (band,), optional
        Standard deviations of the scene's own noise; subtracted on noisy scenes.

    Returns
    -------
    NoiseLevel or None
        None where no part of the guide is valid, or the guide has no bands.
    """
    planes = [cpu_planes(g) for g in guides]
    masks = [v.cpu().numpy().astype(bool) for v in valid]
    if not planes or len(planes[0]) == 0 or sum(int(m.sum()) for m in masks) < MIN_VALID_PX:
        return None
    values = np.concatenate([p[:, m] for p, m in zip(planes, masks, strict=True)], 1)
    mean, directions, variance = _principal(values)
    quantisation = np.sqrt((directions.T.astype(np.float64) ** 2) @ (lattice_steps(list(values)) ** 2 / 12))
    constant = variance <= MIN_VARIANCE_SHARE * max(variance[0], 1e-300)
    unsaturated = _unsaturated(planes, masks, values)
    rotated = [_rotated(p, m, mean, directions) for p, m in zip(planes, masks, strict=True)]
    parts = _Parts(
        _diagonals(rotated, unsaturated),
        _moments(blocks, psf, space, (mean, directions)),
        np.where(constant, 0.0, quantisation),
        constant,
        coarse_detail(rotated, unsaturated),
        psf,
        component_noise(space, scene_noise),
        is_compressed(planes, masks),
    )
    whole = parts.estimate()
    others = np.stack([parts.estimate(without=i).level for i in range(PARTS)])
    error = np.sqrt((PARTS - 1) / PARTS * ((others - others.mean(0)) ** 2).sum(0))
    guide, scene, step, level, deviation = (
        c.astype(np.float32) for c in (whole.guide, whole.scene, parts.step, whole.level, error)
    )
    return NoiseLevel(mean, directions, guide, scene, step, level, deviation, whole.white)


def _combined(detail: NDArray[np.float64], scene: NDArray[np.float64] | None, parts: _Parts) -> _Estimates:
    """Combine both estimates; in constant directions there is no noise."""
    varying = np.flatnonzero(~parts.constant)
    if len(varying) == 0:
        nothing = np.zeros(len(detail))
        return _Estimates(nothing, nothing, nothing, white=True)
    weakest = int(varying[-1])
    guide = np.where(parts.constant, 0.0, np.maximum(np.minimum(detail, detail[weakest]), parts.step))
    if scene is None:
        return _Estimates(guide, guide, guide, white=True)
    scene = np.where(parts.constant, 0.0, scene)
    white = not (parts.compressed and _is_compression(guide[varying], scene[varying]))
    if not white:
        limit = np.inf if parts.coarse is None else parts.coarse[weakest]
        level = np.minimum(ODD_SHARE * scene, limit)
    elif len(varying) > 2 and scene[varying].max() <= UNIFORM_RATIO * scene[varying].min():
        level = scene
    else:
        level = np.minimum(guide, scene)
    return _Estimates(guide, scene, np.maximum(level, parts.step), white)


def _is_compression(guide: NDArray[np.float64], scene: NDArray[np.float64]) -> bool:
    """Return whether the scene finds the noise of JPEG; of one direction that is open."""
    if len(scene) < 2 or scene[-1] <= ODD_RATIO * guide[-1]:
        return False
    return bool(scene[0] <= MAX_STRONGEST_RATIO * scene[1:].max())


def _principal(
    values: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """Return mean, principal directions and variances, the largest first, of values (guide band, value)."""
    mean = values.mean(1, dtype=np.float64)
    centred = values - mean.astype(np.float32)[:, None]
    variance, vectors = np.linalg.eigh(np.cov(centred.astype(np.float64), bias=True).reshape(len(values), -1))
    variance, vectors = variance[::-1], vectors[:, ::-1]
    largest = vectors[np.abs(vectors).argmax(0), np.arange(len(vectors))]
    return mean.astype(np.float32), (vectors * np.where(largest < 0, -1.0, 1.0)).astype(np.float32), variance


def _unsaturated(
    planes: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.bool_]], values: NDArray[np.float32]
) -> list[NDArray[np.bool_]]:
    """Return the valid pixels that have no band's largest or smallest value, which hide noise.

    All valid pixels where these are more than half, as in guides of a few grey levels.
    """
    low, high = (f(values, axis=1)[:, None, None] for f in (np.min, np.max))
    varies = low < high
    inside = [m & ~(((p == low) | (p == high)) & varies).any(0) for p, m in zip(planes, masks, strict=True)]
    return inside if 2 * sum(int(i.sum()) for i in inside) > values.shape[1] else list(masks)


def _rotated(
    planes: NDArray[np.float32],
    mask: NDArray[np.bool_],
    mean: NDArray[np.float32],
    directions: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the directions of a window, (direction, Y, X), 0 where it is not valid."""
    centred = np.where(mask, planes - mean[:, None, None], np.float32(0))
    return np.ascontiguousarray(np.tensordot(directions.T, centred, 1), np.float32)


def _diagonals(
    planes: Sequence[NDArray[np.float32]], masks: Sequence[NDArray[np.bool_]]
) -> tuple[tuple[Diagonal, ...], ...]:
    """Return the diagonal detail of every window, for each quarter."""
    quarters: list[list[Diagonal]] = [[] for _ in range(PARTS)]
    for plane, mask in zip(planes, masks, strict=True):
        detail = diagonal_detail(plane, mask)
        rows, columns = detail.shape[1] // 2, detail.shape[2] // 2
        for part, (y, x) in enumerate((y, x) for y in _halves(rows) for x in _halves(columns)):
            quarters[part].append(detail[:, y, x])
    return tuple(map(tuple, quarters))


def _halves(length: int) -> tuple[slice, slice]:
    return slice(length), slice(length, None)


def _moments(
    blocks: Sequence[Block], psf: Psf, space: Subspace, frame: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> tuple[Moments, ...]:
    """Return the moments of the quarters of all blocks."""
    size = space.count + 1 + frame[1].shape[1]
    out = [Moments(np.zeros((size, size)), 0) for _ in range(PARTS)]
    for block in blocks:
        out = [a + b for a, b in zip(out, block_moments(block, psf, space, frame), strict=True)]
    return tuple(out)
