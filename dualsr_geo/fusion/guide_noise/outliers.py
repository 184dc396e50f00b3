"""Places where scene and guide differ by more than noise: another object, another date, a bad registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import WHOLE_WEIGHT, Block, guided_pixels
from dualsr_geo.fusion.subspace import Subspace

# A pixel is an outlier where the residual of a guide band exceeds so many robust standard deviations. Of normal noise,
# one pixel in 2000 does.
OUTLIER_STDS = 3.5
# Regression and outliers are found in turns.
STEPS = 3
# The median of the absolute values of normal noise of standard deviation 1.
NORMAL_MEDIAN = 0.6745
# Leading components of the scene that predict the guide, and pixels for each of them at least.
COMPONENT_COUNT, PIXELS_PER_COMPONENT = 12, 10


def without_outliers(blocks: Sequence[Block], psf: Psf, space: Subspace) -> list[Block]:
    """Return the blocks with a weight of 0 at outliers of the regression of the degraded guide on the scene.

    Parameters
    ----------
    blocks : sequence of Block
    psf : Psf
        Blur of the scene.
    space : Subspace
    """
    spectra, guide, weight = guided_pixels(blocks, psf)
    used = weight > WHOLE_WEIGHT
    count = min(COMPONENT_COUNT, space.count, int(used.sum()) // PIXELS_PER_COMPONENT)
    design = np.vstack([space.components(spectra)[:count], np.ones((1, len(weight)))]).astype(np.float64)
    inliers = used
    for _ in range(STEPS if count else 0):
        residual = _residual(design, guide.astype(np.float64), inliers)
        std = np.median(np.abs(residual[:, inliers]), axis=1) / NORMAL_MEDIAN
        inliers = used & (np.abs(residual) <= OUTLIER_STDS * std[:, None]).all(0)
        if 2 * inliers.sum() < used.sum():
            return list(blocks)
    flags = np.where(inliers | ~used, 1.0, 0.0).astype(np.float32)
    parts = np.split(flags, np.cumsum([b.weight.numel() for b in blocks])[:-1])
    return [
        replace(b, weight=b.weight * torch.from_numpy(p).view_as(b.weight)) for b, p in zip(blocks, parts, strict=True)
    ]


def _residual(
    design: NDArray[np.float64], guide: NDArray[np.float64], inliers: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return what the regression on the inliers does not explain, (guide band, pixel)."""
    slope = np.linalg.lstsq(design[:, inliers].T, guide[:, inliers].T, rcond=1e-9)[0]
    return np.asarray(guide - slope.T @ design)
