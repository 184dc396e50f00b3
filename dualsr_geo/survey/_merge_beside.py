"""The sampled guide beside the scene: put on it, degraded to its pixels, and what it explains of the bands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from dualsr_geo.degradation.operators import Psf, operator
from dualsr_geo.fusion import coarse_stage
from dualsr_geo.registration.guide_placement import Filled, move_guide
from dualsr_geo.survey import wald_pairs
from dualsr_geo.survey.sampling import sample_margin
from dualsr_geo.survey.wald_pairs import Block

# The response of the guide is fitted to about this many pixels; more do not change it.
SRF_PX = 4000


def blocks(
    filled: Sequence[Filled], guides: Sequence[NDArray[np.float32]], psf: Psf, moved_px: tuple[float, float]
) -> tuple[list[Block], NDArray[np.float32]]:
    """Move, crop and fill the sampled guides; return them beside the scene, and their mean.

    Parameters
    ----------
    filled : sequence of (Tensor, Tensor)
        Cubes (band, y, x) and weights (y, x) of the sample.
    guides : sequence of array, shape (guide band, ratio * y + 2 * margin, ratio * x + 2 * margin)
        As in `Sample`.
    psf : Psf
    moved_px : (float, float)
        How far the guide is moved back, hr pixels.
    """
    margin = sample_margin(psf.ratio)
    moved = [move_guide(g, moved_px, margin) for g in guides]
    mean = np.nanmean(np.concatenate([m.reshape(len(m), -1) for m in moved], 1), 1).astype(np.float32)
    out = []
    for (cube, weight), guide in zip(filled, moved, strict=True):
        op = operator(psf, (cube.shape[1], cube.shape[2]))
        window = coarse_stage.ready_guide(torch.from_numpy(guide), torch.from_numpy(mean), op)
        if window is not None:
            both = weight if window.weight is None else weight * window.weight
            out.append(Block(cube, both, window.values))
    return out, mean


def pixels(blocks: Sequence[Block], blur: Psf) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return spectra (band, pixel), the degraded guide (guide band, pixel), and weights (pixel,)."""
    guide = wald_pairs.stack([operator(blur, b.shape).degrade(b.guide) for b in blocks])
    return wald_pairs.stack([b.cube for b in blocks]), guide, wald_pairs.stack([b.weight for b in blocks])


def relevance(blocks: Sequence[Block], blur: Psf) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how well the guide explains each band (R2), and the guide's response to the bands."""
    spectra, guide, weight = pixels(blocks, blur)
    used = weight > 0
    x, y = spectra[:, used].astype(np.float64), guide[:, used].astype(np.float64)
    xc, yc = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    gram = yc @ yc.T
    gram += 1e-9 * np.trace(gram) / len(gram) * np.eye(len(gram)) + 1e-30 * np.eye(len(gram))
    slope = np.linalg.solve(gram, yc @ xc.T)
    left = ((xc - slope.T @ yc) ** 2).sum(1) / np.maximum((xc**2).sum(1), 1e-30)
    step = max(1, x.shape[1] // SRF_PX)
    design = np.vstack([x[:, ::step], np.ones(x[:, ::step].shape[1])]).T
    srf = np.stack([nnls(design, row[::step])[0][:-1] for row in y])
    return np.clip(1 - left, 0, 1).astype(np.float32), srf.astype(np.float32)
