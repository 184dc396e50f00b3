"""Bands are computed from components, their mean and the remainder."""

from __future__ import annotations

import pytest
import torch
from random_windows import window

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.spectra import core_spectra
from dualsr_geo.raster.windows import Window


@pytest.mark.parametrize("noisy", [False, True])
def test_bands_are_mean_components_and_rest(noisy):
    space, cube, z = window(noisy=noisy)
    op, core = operator(Psf.from_mtf(3), (13, 16)), Window(6, 30, 9, 48)
    hr = op.upsample(z)
    bands = core_spectra(space, cube, z, hr, op, core).bands(slice(3, 9))
    mean, expand = torch.from_numpy(space.mean)[:, None, None], torch.from_numpy(space.expand)
    wanted = mean + torch.einsum("bk,kyx->byx", expand, hr)
    if not noisy:
        wanted += op.upsample(cube - mean - torch.einsum("bk,kyx->byx", expand, z))
    torch.testing.assert_close(bands, wanted[3:9, 6:30, 9:48], atol=1e-5, rtol=0)


def test_a_rest_that_is_rounding_is_dropped():
    space, _, z = window()
    carried = torch.einsum("bk,kyx->byx", torch.from_numpy(space.expand), z)
    cube = carried + torch.from_numpy(space.mean)[:, None, None]
    op = operator(Psf.from_mtf(3), (13, 16))
    assert core_spectra(space, cube, z, op.upsample(z), op, Window(0, 39, 0, 48)).rest is None
