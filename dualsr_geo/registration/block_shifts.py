"""Shifts of the guide against the scene, block by block, by cross-correlation.

They check the survey's estimate by other means, and show what one shift for the whole scene does not: relief,
tilt, the seams of a mosaic. The scene is regressed to the degraded guide, and the cross-correlation of the two is
upsampled (Guizar-Sicairos et al., 2008, in scikit-image).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import shift as move
from skimage.registration import phase_cross_correlation

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.raster.windows import Window

# Largest number of blocks along an axis, and the range of their side, lr pixels.
MAX_BLOCKS = 4
SIDE_RANGE_LR = (12, 40)
# Leading spectral components in the regression: few, so that it cannot absorb a shift.
COMPONENT_COUNT = 6
# The cross-correlation is evaluated at this fraction of a lr pixel.
UPSAMPLE_FACTOR = 100
# The taper biases a shift towards zero by a tenth; so often the guide is moved and the shift measured again.
STEPS = 3
# A block is measured where at least this share is valid and the two images have at least this correlation.
MIN_VALID_SHARE = 0.9
MIN_CORRELATION = 0.5


@dataclass(frozen=True)
class BlockPair:
    """A block of the scene and of its guide.

    Attributes
    ----------
    window : Window
        lr pixels.
    cube : array, shape (band, y, x)
        Physical units, NaN where invalid.
    guide : array, shape (guide band, ratio * y, ratio * x)
        NaN where it does not reach.
    """

    window: Window
    cube: NDArray[np.float32]
    guide: NDArray[np.float32]


@dataclass(frozen=True)
class BlockShift:
    """Shift of the guide against the scene in a block, downwards and to the right, hr pixels."""

    window: Window
    dy_px: float
    dx_px: float


def block_windows(shape: tuple[int, int]) -> Iterator[Window]:
    """Yield windows spread over a scene of this shape, at most `MAX_BLOCKS` along an axis, lr pixels."""
    least, largest = SIDE_RANGE_LR
    side = min(largest, max(least, min(shape) // MAX_BLOCKS), *shape)
    counts = (min(MAX_BLOCKS, max(1, n // side)) for n in shape)
    rows, columns = (
        np.unique(np.linspace(0, n - side, count).round().astype(int)).tolist()
        for n, count in zip(shape, counts, strict=True)
    )
    for y in rows:
        for x in columns:
            yield Window(y, y + side, x, x + side)


def estimate_block_shifts(blocks: Sequence[BlockPair], psf: Psf) -> list[BlockShift]:
    """Measure the guide's shift in every block that allows it.

    Parameters
    ----------
    blocks : sequence of BlockPair
    psf : Psf
        Blur of the scene against the guide.

    Returns
    -------
    list of BlockShift
        Without blocks that are empty or flat, or whose guide shows something else.
    """
    whole = [b for b in blocks if _is_whole(b)]
    if not whole:
        return []
    guides = [_filled(b.guide).mean(0) for b in whole]
    degraded = [_degraded(g, psf) for g in guides]
    predicted = _predicted([b.cube for b in whole], degraded)
    return [
        BlockShift(block.window, *_shift(scene, guide, psf))
        for block, scene, guide, low in zip(whole, predicted, guides, degraded, strict=True)
        if _agree(scene, low)
    ]


def _is_whole(block: BlockPair) -> bool:
    shares = np.isfinite(block.cube).any(0).mean(), np.isfinite(block.guide).all(0).mean()
    return bool(min(shares) >= MIN_VALID_SHARE)


def _degraded(guide: NDArray[np.float32], psf: Psf) -> NDArray[np.float64]:
    """Return a plane of the guide on the lr grid, (y, x)."""
    height, width = (n // psf.ratio for n in guide.shape)
    op = operator(psf, (height, width))
    return np.asarray(op.degrade(torch.from_numpy(guide)[None])[0].numpy(), dtype=np.float64)


def _filled(cube: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return planes with their holes filled by the plane's mean, and empty planes by 0."""
    valid = np.isfinite(cube)
    count = valid.sum((1, 2))
    mean = np.where(valid, cube, 0).sum((1, 2)) / np.maximum(count, 1)
    return np.where(valid, cube, mean[:, None, None]).astype(np.float32)


def _predicted(
    cubes: Sequence[NDArray[np.float32]], guides: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    """Return the degraded guide as the scene's leading components predict it, by one regression for all blocks."""
    spectra = np.concatenate([_filled(c).reshape(len(c), -1) for c in cubes], 1).astype(np.float64)
    target = np.concatenate([g.ravel() for g in guides])
    centred = spectra - spectra.mean(1, keepdims=True)
    _, axes = np.linalg.eigh(centred @ centred.T)
    z = np.vstack([axes[:, -COMPONENT_COUNT:].T @ centred, np.ones(centred.shape[1])])
    predicted = np.linalg.lstsq(z.T, target, rcond=None)[0] @ z
    ends = np.cumsum([g.size for g in guides])[:-1]
    return [p.reshape(g.shape) for p, g in zip(np.split(predicted, ends), guides, strict=True)]


def _agree(scene: NDArray[np.float64], guide: NDArray[np.float64]) -> bool:
    """Return whether two planes show the same scene."""
    if min(scene.std(), guide.std()) == 0:
        return False
    return bool(np.corrcoef(scene.ravel(), guide.ravel())[0, 1] >= MIN_CORRELATION)


def _shift(scene: NDArray[np.float64], guide: NDArray[np.float32], psf: Psf) -> tuple[float, float]:
    """Return the shift of a guide plane against the scene, y and x, hr pixels."""
    taper = np.outer(*(np.hanning(n + 2)[1:-1] for n in scene.shape))
    reference = (scene - np.average(scene, weights=taper)) * taper
    shift = np.zeros(2)
    for _ in range(STEPS):
        low = _degraded(move(guide, -shift, order=3, mode="nearest"), psf)
        moved = (low - np.average(low, weights=taper)) * taper
        # The shift that registers the guide to the scene, lr pixels.
        back = phase_cross_correlation(reference, moved, upsample_factor=UPSAMPLE_FACTOR, normalization=None)[0]
        shift -= np.asarray(back) * psf.ratio
    dy, dx = (shift + psf.shift_px).tolist()
    return float(dy), float(dx)
