"""Where the guide lies beside the scene, block by block: an independent look at the survey's shift.

Both images are brought to the scene's sharpness on the hr grid, and their cross-correlation is
upsampled (Guizar-Sicairos et al., 2008, as scikit-image has it). It shows what one shift for the
whole scene cannot: relief, tilt, a mosaic's seams.
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

# Blocks along an axis, and their side, lr pixels.
BLOCKS = 4
SIDES = (12, 40)
# Leading spectral components that stand for the scene: few, so that the fit cannot absorb a shift.
COMPONENTS = 6
UPSAMPLED = 100
# The taper draws a shift towards zero, by a tenth; the guide is moved and measured again.
STEPS = 3
# A block speaks if it is mostly there and the two images agree in it.
LEAST_VALID = 0.9
LEAST_CORRELATION = 0.5


@dataclass(frozen=True)
class BlockPair:
    """A piece of the scene and of its guide.

    Attributes
    ----------
    window : Window
        lr pixels.
    cube : array, shape (band, y, x)
        Physical values, NaN where nothing is.
    guide : array, shape (guide band, ratio * y, ratio * x)
    """

    window: Window
    cube: NDArray[np.float32]
    guide: NDArray[np.float32]


@dataclass(frozen=True)
class BlockShift:
    """How far the guide's content lies below and right of the scene's in a block, hr pixels."""

    window: Window
    dy_px: float
    dx_px: float


def block_windows(shape: tuple[int, int]) -> Iterator[Window]:
    """Yield windows spread over a scene, at most `BLOCKS` along an axis, lr pixels."""
    low, high = SIDES
    side = min(high, max(low, min(shape) // BLOCKS), *shape)
    corners = [np.unique(np.linspace(0, n - side, min(BLOCKS, max(1, n // side))).round().astype(int)) for n in shape]
    for y in corners[0].tolist():
        for x in corners[1].tolist():
            yield Window(y, y + side, x, x + side)


def estimate_block_shifts(blocks: Sequence[BlockPair], psf: Psf) -> list[BlockShift]:
    """Measure the guide's displacement in every block that allows it.

    Parameters
    ----------
    blocks : sequence of BlockPair
    psf : Psf
        Blur of the scene against the guide.

    Returns
    -------
    list of Displacement
        Fewer than blocks where some are empty, flat, or the guide is of something else.
    """
    whole = [b for b in blocks if _is_whole(b)]
    if not whole:
        return []
    guides = [_filled(b.guide).mean(0) for b in whole]
    lr = [_degraded(g, psf) for g in guides]
    planes = _as_guide([b.cube for b in whole], lr)
    found = []
    for block, plane, guide, low in zip(whole, planes, guides, lr, strict=True):
        if _agree(plane, low):
            found.append(BlockShift(block.window, *_shift(plane, guide, psf)))
    return found


def _is_whole(block: BlockPair) -> bool:
    seen = np.isfinite(block.cube).any(0).mean(), np.isfinite(block.guide).all(0).mean()
    return bool(min(seen) >= LEAST_VALID)


def _degraded(guide: NDArray[np.float32], psf: Psf) -> NDArray[np.float64]:
    """Return a plane of the guide on the lr grid, (y, x)."""
    height, width = (n // psf.ratio for n in guide.shape)
    op = operator(psf, (height, width))
    return np.asarray(op.degrade(torch.from_numpy(guide)[None])[0].numpy(), dtype=np.float64)


def _filled(cube: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return planes with their holes at the plane's mean, and empty planes at 0."""
    there = np.isfinite(cube)
    count = there.sum((1, 2))
    mean = np.where(there, cube, 0).sum((1, 2)) / np.maximum(count, 1)
    return np.where(there, cube, mean[:, None, None]).astype(np.float32)


def _as_guide(cubes: Sequence[NDArray[np.float32]], guides: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return the scene as the guide would see it: one regression on its leading components, all blocks at once."""
    spectra = np.concatenate([_filled(c).reshape(len(c), -1) for c in cubes], 1).astype(np.float64)
    wanted = np.concatenate([g.ravel() for g in guides])
    centred = spectra - spectra.mean(1, keepdims=True)
    _, axes = np.linalg.eigh(centred @ centred.T)
    z = np.vstack([axes[:, -COMPONENTS:].T @ centred, np.ones(centred.shape[1])])
    seen = np.linalg.lstsq(z.T, wanted, rcond=None)[0] @ z
    ends = np.cumsum([g.size for g in guides])[:-1]
    return [p.reshape(g.shape) for p, g in zip(np.split(seen, ends), guides, strict=True)]


def _agree(scene: NDArray[np.float64], guide: NDArray[np.float64]) -> bool:
    """Say whether two planes show the same thing."""
    if min(scene.std(), guide.std()) == 0:
        return False
    return bool(np.corrcoef(scene.ravel(), guide.ravel())[0, 1] >= LEAST_CORRELATION)


def _shift(scene: NDArray[np.float64], guide: NDArray[np.float32], psf: Psf) -> tuple[float, float]:
    """Return the displacement of a guide plane, hr pixels."""
    taper = np.outer(*(np.hanning(n + 2)[1:-1] for n in scene.shape))
    calm = (scene - np.average(scene, weights=taper)) * taper
    shift = np.zeros(2)
    for _ in range(STEPS):
        low = _degraded(move(guide, -shift, order=3, mode="nearest"), psf)
        seen = (low - np.average(low, weights=taper)) * taper
        # What would bring the guide back, in lr pixels.
        back = phase_cross_correlation(calm, seen, upsample_factor=UPSAMPLED, normalization=None)[0]
        shift -= np.asarray(back) * psf.ratio
    dy, dx = (shift + psf.shift_px).tolist()
    return float(dy), float(dx)
