"""Random planes, and a small window of a scene with its spectral components."""

from __future__ import annotations

import numpy as np
import torch

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.few_bands.logarithms import LogarithmPixels, logarithms, lowest_values
from dualsr_geo.fusion.regression_inputs import RegressionInputs, prepare_inputs
from dualsr_geo.fusion.scene_regression import fit_scene_regression
from dualsr_geo.fusion.subspace import Subspace, estimate_subspace

RATIO, SHAPE = 3, (11, 14)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return uniform values, 0..1."""
    return torch.from_numpy(np.random.default_rng(seed).random(shape, np.float32))


def window(seed: int = 0, *, noisy: bool = False) -> tuple[Subspace, torch.Tensor, torch.Tensor]:
    """Return a subspace, a cube and its components, all of a 13 x 16 scene of 20 bands."""
    rng = np.random.default_rng(seed)
    cube = (rng.random((20, 5)) @ rng.random((5, 13 * 16))).astype(np.float32)
    cube += rng.normal(0, 0.02, cube.shape).astype(np.float32)
    space = estimate_subspace(cube, np.ones(208, np.float32), np.full(20, 0.02) if noisy else None)
    z = torch.from_numpy(space.components(cube)).view(-1, 13, 16)
    return space, torch.from_numpy(cube).view(20, 13, 16), z


def regression_inputs(
    guides: int = 3, count: int = 4, weight: torch.Tensor | None = None, seed: int = 0
) -> RegressionInputs:
    """Return the inputs of the candidates in a random window of 11 x 14 pixels, at ratio 3."""
    op = operator(Psf.from_mtf(RATIO), SHAPE)
    guide = noise(guides, SHAPE[0] * RATIO, SHAPE[1] * RATIO, seed=seed) * 3 + 2
    z = noise(count, *SHAPE, seed=seed + 1)
    w = np.ones(SHAPE[0] * SHAPE[1], np.float32)
    low = op.degrade(guide).flatten(1).numpy()
    logs = None
    if len(guide) > 1:
        # As of a scene of few bands, so that all candidates can be fitted.
        lowest = lowest_values(low)
        values = op.degrade(logarithms(guide, lowest)).flatten(1).numpy()
        logs = LogarithmPixels(lowest, values, values)
    fit = fit_scene_regression(z.flatten(1).numpy(), low, w, logarithms=logs)
    return prepare_inputs(z, guide, fit, op, weight)
