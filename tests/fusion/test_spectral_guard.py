"""The guard on spectra keeps each band's share of its pixel's mean within the range of the lr neighbours."""

import numpy as np
import pytest
import torch
from unguided_cases import textured_scene

from dualsr_geo.fusion.spectral_guard import MARGIN, guarded, share_bounds

RATIO = 3


def repeated(plane):
    return plane.repeat_interleave(RATIO, -2).repeat_interleave(RATIO, -1)


def with_guard(bands, cube, margin=MARGIN, floor=1e-3):
    mean = bands.mean(0)
    return guarded(bands, mean, share_bounds(cube, cube.mean(0), floor, margin), RATIO), mean


@pytest.fixture
def cube():
    scene = textured_scene(5, 11, 14)
    return scene - scene.amin() + 5


def test_spectra_stay_within_the_range_of_the_neighbours(cube):
    torch.manual_seed(0)
    bands = repeated(cube) * (1 + 0.2 * torch.randn(5, 11 * RATIO, 14 * RATIO))
    after, mean = with_guard(bands, cube)
    share = (cube / cube.mean(0)).numpy()
    padded = np.pad(share, ((0, 0), (1, 1), (1, 1)), mode="edge")
    near = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    low, high = near.min((3, 4)), near.max((3, 4))
    widened = MARGIN * (high - low)
    least, most = (repeated(torch.from_numpy(v)) * mean for v in (low - widened, high + widened))
    assert bool((after >= least - 1e-3).all())
    assert bool((after <= most + 1e-3).all())
    changed = (after - bands).abs() > 1e-4
    assert 0.05 < float(changed.float().mean()) < 0.95
    outside = (bands < least - 1e-3) | (bands > most + 1e-3)
    assert bool((changed == outside)[(bands - least).abs() > 1e-2].float().mean() > 0.99)


def test_a_sharp_intensity_with_the_neighbours_spectra_is_not_changed(cube):
    torch.manual_seed(0)
    bands = repeated(cube) * (0.3 + 1.5 * torch.rand(11 * RATIO, 14 * RATIO))
    torch.testing.assert_close(with_guard(bands, cube)[0], bands)


def test_a_flat_scene_keeps_its_spectrum_and_its_intensity():
    cube = torch.tensor([1.0, 2.0, 6.0])[:, None, None].expand(3, 6, 7)
    ramp = torch.linspace(0.5, 2, 18)[:, None].expand(18, 21)
    bands = torch.stack([ramp, 2 * ramp, 6 * ramp])
    torch.testing.assert_close(with_guard(bands, cube)[0], bands)


def test_next_to_pixels_without_intensity_nothing_is_changed(cube):
    dark = cube.clone()
    dark[:, 5, 6] = 0
    bands = repeated(dark) + 30
    bands[0] += 100
    after = with_guard(bands, dark)[0]
    near = np.s_[:, 4 * RATIO : 7 * RATIO, 5 * RATIO : 8 * RATIO]
    torch.testing.assert_close(after[near], bands[near])
    assert bool((after != bands).any())


def test_a_pixel_below_zero_is_finite(cube):
    bands = repeated(cube)
    bands[:, 7, 8] = -5
    assert bool(torch.isfinite(with_guard(bands, cube)[0]).all())


def test_units_do_not_matter(cube):
    torch.manual_seed(0)
    bands = repeated(cube) + 20 * torch.randn(5, 11 * RATIO, 14 * RATIO)
    scaled = with_guard(1e4 * bands, 1e4 * cube, floor=10.0)[0]
    torch.testing.assert_close(scaled, 1e4 * with_guard(bands, cube)[0], rtol=1e-4, atol=1.0)
