"""The coarse stage of a window, with a guide, without one, and between the two."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_windows import noise, window

from dualsr_geo.degradation import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import candidates, coarse_stage
from dualsr_geo.fusion.prepared_guide import PreparedGuide
from dualsr_geo.fusion.scene_regression import fit_scene_regression


@given(st.integers(0, 20))
@settings(max_examples=5)
def test_sharpen_blends_between_with_and_without_the_guide(seed):
    _, _, z = window(seed)
    psf = Psf.from_mtf(3)
    op = operator(psf, (13, 16))
    guide = noise(2, 39, 48, seed=seed)
    fit = fit_scene_regression(z.flatten(1).numpy(), op.degrade(guide).flatten(1).numpy(), np.ones(208, np.float32))
    used = list(candidates.usable(2, few=fit.lowest is not None))
    mixture = torch.zeros(len(z), len(candidates.CANDIDATES))
    mixture[:, used] = 1 / len(used)
    closed = consistency.consistency(psf, (13, 16), [0.0] * len(z), op)
    blend = noise(39, 48, seed=seed + 1)

    def made(blend: torch.Tensor | None, *, consistent: bool = True) -> torch.Tensor:
        guided = coarse_stage.GuidedStart(PreparedGuide(guide, None, blend), fit, mixture)
        return coarse_stage.sharpen(z, None, guided, closed, closed, consistent=consistent)

    unguided = coarse_stage.sharpen(z, None, None, closed, closed)
    torch.testing.assert_close(made(torch.zeros(39, 48)), unguided)
    torch.testing.assert_close(made(torch.ones(39, 48)), made(None))
    torch.testing.assert_close(made(blend), blend * made(None) + (1 - blend) * unguided, atol=1e-5, rtol=0)
    torch.testing.assert_close(unguided, closed.spread(z), atol=1e-6, rtol=0)
    left, before = (closed.residual(x, z).norm() for x in (made(None), made(None, consistent=False)))
    assert float(left) < 0.05 * float(before)


def test_without_guide_and_consistency_it_is_bicubic():
    _, _, z = window()
    op = operator(Psf.from_mtf(3), (13, 16))
    closed = consistency.consistency(Psf.from_mtf(3), (13, 16), [0.0] * len(z), op)
    made = coarse_stage.sharpen(z, None, None, closed, closed, consistent=False)
    torch.testing.assert_close(made, op.upsample(z), atol=1e-6, rtol=0)
