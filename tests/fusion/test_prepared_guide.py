"""The guide of a window is not used where it is missing, and blends in with a ramp."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_windows import noise

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.prepared_guide import PreparedGuide, prepare_guide

NAN = float("nan")


def guide_with_hole(where: tuple[slice, slice]) -> tuple[torch.Tensor, PreparedGuide]:
    guide = noise(2, 60, 80) + 5
    guide[(slice(None), *where)] = NAN
    ready = prepare_guide(guide, torch.tensor([5.5, 5.5]), operator(Psf.from_mtf(4), (15, 20)))
    assert ready is not None
    return guide, ready


@pytest.mark.parametrize("where", [np.s_[20:33, 41:50], np.s_[:, 40:], np.s_[0:1, 0:1], np.s_[7:60, 0:3]])
def test_where_the_guide_is_missing_it_is_not_used(where):
    guide, ready = guide_with_hole(where)
    missing = torch.isnan(guide).any(0)
    assert float(ready.blend[missing].max()) == 0
    lr = missing.view(15, 4, 20, 4).any(3).any(1)
    assert float(ready.weight[lr].max()) < 1
    assert bool(torch.isfinite(ready.values).all())
    assert bool((ready.values == guide)[:, ~missing].all())
    assert 0 <= float(ready.blend.min())
    assert float(ready.blend.max()) <= 1


def test_the_ramp_reaches_one_within_five_lr_pixels_and_does_not_fall():
    _, ready = guide_with_hole(np.s_[:, 40:])
    row = ready.blend[30]
    assert row[:20].tolist() == [1.0] * 20
    assert bool((row[1:] <= row[:-1]).all())
    assert 0 < float(row[28]) < 1


def test_a_guide_that_is_everywhere_or_nowhere():
    op, mean = operator(Psf.from_mtf(2), (5, 6)), torch.zeros(1)
    whole = prepare_guide(noise(1, 10, 12), mean, op)
    assert whole is not None
    assert whole.weight is None
    assert whole.blend is None
    assert prepare_guide(torch.full((1, 10, 12), NAN), mean, op) is None
