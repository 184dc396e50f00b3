"""Blur and decimation against scipy, interpolation against torch, band matrices against dense ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import correlate1d

from dualsr_geo.degradation.operators import Banded, blur_matrix, cubic_kernel, cubic_matrix, operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import OptionError
from dualsr_geo.raster.windows import Window

ratios = st.integers(2, 8)
sigmas = st.tuples(st.floats(0.4, 4.0), st.floats(0.4, 4.0))
shifts = st.tuples(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0))
psfs = st.builds(Psf.gaussian, ratios, sigmas, shifts)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape, np.float32))


def scipy_axis(values: np.ndarray, taps: tuple[float, ...], start: int, ratio: int, axis: int) -> np.ndarray:
    """Correlate with edges repeated, then take every `ratio`-th pixel from the first tap's place on."""
    half = max(abs(start), abs(start + len(taps) - 1))
    centred = np.zeros(2 * half + 1)
    centred[start + half : start + half + len(taps)] = taps
    blurred = correlate1d(values, centred, axis=axis, mode="nearest")
    return np.take(blurred, np.arange(0, values.shape[axis], ratio), axis=axis)


@given(psfs, st.integers(3, 11), st.integers(3, 9))
def test_degrade_is_scipys_correlation_and_decimation(psf, height, width):
    hr = noise(2, height * psf.ratio, width * psf.ratio)
    ours = operator(psf, (height, width)).degrade(hr).numpy()
    wanted = scipy_axis(hr.double().numpy(), psf.taps_y, psf.start_y, psf.ratio, 1)
    wanted = scipy_axis(wanted, psf.taps_x, psf.start_x, psf.ratio, 2)
    np.testing.assert_allclose(ours, wanted, atol=2e-6)


@given(psfs, st.integers(1, 30))
def test_rows_sum_to_one_so_constants_stay(psf, length):
    blur = blur_matrix(psf.taps_y, psf.start_y, psf.ratio, length, 0, length)
    up = cubic_matrix(psf.shift_px[0], psf.ratio, length, 0, length)
    np.testing.assert_allclose(blur.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(up.sum(1), 1, atol=1e-12)


@given(psfs)
def test_adjoint(psf):
    """<D x, y> = <x, D' y> with D' taken from the response to every unit impulse."""
    op = operator(psf, (5, 4))
    unit = torch.eye(20 * psf.ratio**2).view(-1, 5 * psf.ratio, 4 * psf.ratio)
    impulses = op.degrade(unit).flatten(1).double()
    x, y = noise(5 * psf.ratio, 4 * psf.ratio, seed=1), noise(20, seed=2).double()
    assert float(op.degrade(x).flatten().double() @ y) == pytest.approx(
        float(x.flatten().double() @ (impulses @ y)), rel=1e-5
    )


@pytest.mark.parametrize("ratio", [2, 3, 4, 7])
def test_upsample_is_torchs_bicubic_where_the_phase_is_the_grids_own(ratio):
    lr = noise(1, 2, 9, 13)
    wanted = torch.nn.functional.interpolate(lr, scale_factor=ratio, mode="bicubic", align_corners=False)
    ours = operator(Psf.from_mtf(ratio), (9, 13)).upsample(lr)
    # A Gaussian of an odd ratio has one more tap on one side, which moves it by 4e-5 px.
    torch.testing.assert_close(ours, wanted, atol=2e-5 if ratio % 2 else 2e-6, rtol=0)


def test_cubic_interpolates_and_is_odd_free():
    at = np.linspace(-3, 3, 601)
    np.testing.assert_allclose(cubic_kernel(at), cubic_kernel(-at), atol=1e-12)
    assert cubic_kernel(np.array([0.0, 1.0, -1.0, 2.0, 2.5])).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 17), st.integers(0, 6), st.integers(0, 10**6))
def test_banded_is_the_dense_matrix(rows, columns, block, width, seed):
    rng = np.random.default_rng(seed)
    off = np.arange(rows)[:, None] * columns / rows - np.arange(columns)
    dense = np.where(np.abs(off) <= width, rng.standard_normal((rows, columns)), 0.0)
    band = Banded(dense, block)
    x = rng.standard_normal((2, columns, 3)).astype(np.float32)
    np.testing.assert_allclose(band.rows(torch.from_numpy(x)).numpy(), dense @ x, atol=1e-4)
    t = np.ascontiguousarray(x.transpose(0, 2, 1))
    np.testing.assert_allclose(band.columns(torch.from_numpy(t)).numpy(), t @ dense.T, atol=1e-4)
    low, high = sorted(rng.integers(0, rows + 1, 2))
    if low < high:
        np.testing.assert_allclose(
            band.cut(low, high).rows(torch.from_numpy(x)).numpy(), dense[low:high] @ x, atol=1e-4
        )


@given(psfs)
def test_a_window_with_its_reach_around_it_is_exact(psf):
    shape, reach = (17, 23), psf.reach_lr
    hr = noise(17 * psf.ratio, 23 * psf.ratio)
    whole = operator(psf, shape).degrade(hr)
    core = Window(7, 9, 11, 14)
    near = core.grown(reach).clipped(shape)
    part = operator(psf, shape, near).degrade(hr[near.scaled(psf.ratio).slices])
    torch.testing.assert_close(part[core.within(near).slices], whole[core.slices], atol=1e-6, rtol=0)


@given(psfs)
def test_psf_survives_json(psf):
    assert Psf.from_json(psf.to_json()) == psf


# Narrower ones are too coarsely sampled to keep their moments.
@given(ratios, st.floats(0.8, 3.0), st.floats(0.8, 3.0), shifts)
def test_a_gaussian_has_the_requested_moments(ratio, sy, sx, shift):
    psf = Psf.gaussian(ratio, (sy, sx), shift)
    assert sum(psf.taps_y) == pytest.approx(1)
    assert psf.sigma_px == pytest.approx((sy, sx), rel=5e-3)
    assert psf.shift_px == pytest.approx(shift, abs=5e-3)


@pytest.mark.parametrize(("ratio", "gain"), [(2, 0.2), (4, 0.3), (8, 0.15)])
def test_from_mtf_has_that_gain_at_nyquist(ratio, gain):
    psf = Psf.from_mtf(ratio, gain)
    at = np.arange(psf.start_y, psf.start_y + len(psf.taps_y))
    response = abs(np.dot(psf.taps_y, np.exp(-1j * math.pi * at / ratio)))
    assert response == pytest.approx(gain, abs=0.02)


def test_noise_gain_is_what_white_noise_shrinks_by():
    psf = Psf.gaussian(4, (1.9, 1.1), (0.4, -1.0))
    hr = torch.from_numpy(np.random.default_rng(0).standard_normal((400, 400)).astype(np.float32))
    assert float(operator(psf, (100, 100)).degrade(hr)[3:-3, 3:-3].std()) == pytest.approx(psf.gain, rel=0.05)


@pytest.mark.parametrize("gain", [0.0, 1.0, 1.5, -0.3])
def test_a_gain_that_is_none_is_refused(gain):
    with pytest.raises(OptionError, match=f"{gain:g} is not between 0 and 1"):
        Psf.from_mtf(4, gain)


@pytest.mark.parametrize("ratio", [2, 3, 4])
@pytest.mark.parametrize("sigma", [0.0, 0.01, 1e-6])
def test_a_blur_of_no_width_is_the_nearest_pixels(ratio, sigma):
    taps = Psf.gaussian(ratio, (sigma, sigma)).taps_y
    assert taps == pytest.approx((1.0,) if ratio % 2 else (0.5, 0.5))
    assert Psf.gaussian(ratio, (sigma, sigma)).shift_px == pytest.approx((0, 0), abs=1e-12)
