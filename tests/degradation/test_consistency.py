"""The closed form against the normal equations, and its support."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.degradation import consistency
from dualsr_geo.degradation.operators import blur_matrix, operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.raster.windows import Window

PSF = Psf.gaussian(3, (1.3, 1.6), (0.3, -0.4))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape, np.float32))


def closed(
    psf: Psf, shape: tuple[int, int], lams: list[float], window: Window | None = None
) -> consistency.Consistency:
    return consistency.consistency(psf, shape, lams, operator(psf, shape, window), window)


@pytest.fixture
def long_reach(monkeypatch):
    """Keep every entry of M."""
    monkeypatch.setattr(consistency, "REACH_LR", 1000)
    consistency._axis_pairs.cache_clear()
    yield
    consistency._axis_pairs.cache_clear()


def axis(psf_taps: tuple[float, ...], start: int, ratio: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return D and S of an axis, dense."""
    at = np.arange(length * ratio)
    return blur_matrix(psf_taps, start, ratio, length, 0, length), np.exp(-np.abs(at[:, None] - at) / (2 * ratio))


@given(st.integers(2, 6), st.integers(5, 40), st.integers(5, 40), st.integers(0, 99))
@settings(max_examples=15)
def test_even_a_white_residual_is_nearly_gone_after_the_correction(ratio, height, width, seed):
    psf = Psf.from_mtf(ratio)
    form = closed(psf, (height, width), [0.0])
    estimate, observed = noise(1, height * ratio, width * ratio, seed=seed), noise(1, height, width, seed=seed + 1)
    before, after = (form.residual(x, observed).norm() for x in (estimate, form(estimate, observed)))
    assert float(after) < 0.05 * float(before)


def test_smooth_residuals_shrink_by_a_thousand():
    y, x = np.mgrid[:31, :26].astype(np.float32)
    observed = torch.from_numpy(np.sin(y / 6) + np.cos(x / 5))[None]
    form = closed(Psf.from_mtf(4), (31, 26), [0.0])
    made = form(torch.zeros(1, 124, 104), observed)
    assert float(form.residual(made, observed).norm()) < 2e-3 * float(observed.norm())


def test_uncut_it_solves_the_separable_normal_equations(long_reach):
    """M = S D' (D S D' + mu I)^-1 minimises |r - D u|^2 / mu + u' S^-1 u along each axis."""
    shape = (7, 5)
    dy, sy = axis(PSF.taps_y, PSF.start_y, 3, shape[0])
    dx, sx = axis(PSF.taps_x, PSF.start_x, 3, shape[1])
    residual = noise(1, *shape)
    solve = [np.linalg.solve(d.T @ d + consistency.RIDGE * np.linalg.inv(s), d.T) for d, s in ((dy, sy), (dx, sx))]
    wanted = solve[0] @ residual[0].double().numpy() @ solve[1].T
    np.testing.assert_allclose(closed(PSF, shape, [0.0]).spread(residual)[0].numpy(), wanted, atol=2e-5)


@pytest.mark.parametrize("lam", [0.05, 0.5, 8.0])
def test_uncut_the_noisy_form_is_the_dense_two_dimensional_solve(long_reach, monkeypatch, lam):
    """With all singular pairs: S D' (D S D' + (lam + ridge) I)^-1 on the scene as one long vector."""
    monkeypatch.setattr(consistency, "NOISY_TERMS", 99)
    shape = (6, 4)
    dy, sy = axis(PSF.taps_y, PSF.start_y, 3, shape[0])
    dx, sx = axis(PSF.taps_x, PSF.start_x, 3, shape[1])
    d, s = np.kron(dy, dx), np.kron(sy, sx)
    residual = noise(1, *shape)
    inverse = np.linalg.solve(d @ s @ d.T + (lam + consistency.RIDGE) * np.eye(24), residual.double().numpy().ravel())
    wanted = (s @ d.T @ inverse).reshape(18, 12)
    np.testing.assert_allclose(closed(PSF, shape, [lam]).spread(residual)[0].numpy(), wanted, atol=2e-5)


@pytest.mark.parametrize("lam", [0.02, 1.0, 50.0])
def test_six_pairs_are_nearly_all(monkeypatch, lam):
    residual = noise(1, 20, 17)
    few = closed(PSF, (20, 17), [lam]).spread(residual)
    monkeypatch.setattr(consistency, "NOISY_TERMS", 99)
    consistency._axis_pairs.cache_clear()
    every = closed(PSF, (20, 17), [lam]).spread(residual)
    consistency._axis_pairs.cache_clear()
    assert float((few - every).norm()) < 0.02 * float(every.norm())


@pytest.mark.parametrize("lam", [0.0, 0.5])
@pytest.mark.parametrize("shape", [(3, 2), (5, 40), (1, 7)])
def test_axes_shorter_than_the_number_of_pairs_work(shape, lam):
    made = closed(PSF, shape, [lam]).spread(noise(1, *shape))
    assert made.shape == (1, shape[0] * 3, shape[1] * 3)
    assert bool(torch.isfinite(made).all())


@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_a_slice_is_the_whole(lam):
    shape, ratio = (61, 97), 3
    residual = noise(2, *shape)
    whole = closed(PSF, shape, [lam, lam]).spread(residual)
    for core in (Window(20, 30, 40, 55), Window(0, 7, 90, 97), Window(54, 61, 0, 5)):
        near = core.grown(consistency.REACH_LR + 1).clipped(shape)
        part = closed(PSF, shape, [lam, lam], near).spread(residual[(slice(None), *near.slices)])
        inner, outer = core.within(near).scaled(ratio).slices, core.scaled(ratio).slices
        torch.testing.assert_close(part[:, *inner], whole[:, *outer], atol=1e-6, rtol=0)


# The singular pairs of a noisy form belong to the short axis: 4e-5 of the residual's range.
@pytest.mark.parametrize(("lam", "within"), [(0.0, 2e-5), (0.5, 1e-4)])
def test_a_long_axis_reuses_a_short_ones_interior(monkeypatch, lam, within):
    shape = (consistency.LONG_AXIS + 34, 11)
    residual = noise(1, *shape) - 0.5
    reused = closed(PSF, shape, [lam]).spread(residual)
    monkeypatch.setattr(consistency, "LONG_AXIS", 10**6)
    direct = closed(PSF, shape, [lam]).spread(residual)
    torch.testing.assert_close(reused, direct, atol=within, rtol=0)


@pytest.mark.parametrize("shape", [(13, 9), (120, 30)])
@pytest.mark.parametrize("ratio", [2, 5])
def test_a_constant_residual_is_spread_as_a_constant(shape, ratio):
    """To a thousandth, the ridge; and not less by what is cut off, or an offset would leak."""
    made = closed(Psf.from_mtf(ratio), shape, [0.0]).spread(torch.ones(1, *shape))
    inner = made[:, 4 * ratio : -4 * ratio, 4 * ratio : -4 * ratio]
    assert float((inner - 1).abs().max()) < 0.01


def test_the_right_result_moves_nothing():
    truth = noise(1, 60, 48)
    form = closed(PSF, (20, 16), [0.0])
    torch.testing.assert_close(form(truth, form.operator.degrade(truth)), truth, atol=1e-5, rtol=0)


def test_components_keep_their_own_ridge():
    residual = noise(3, 12, 10)
    lams = [0.5, 0.0, 4.0]
    mixed = closed(PSF, (12, 10), lams).spread(residual)
    for i, lam in enumerate(lams):
        torch.testing.assert_close(mixed[i : i + 1], closed(PSF, (12, 10), [lam]).spread(residual[i : i + 1]))
    late = closed(PSF, (12, 10), lams).spread(residual[1:], first=1)
    torch.testing.assert_close(late, mixed[1:])


def test_the_noisier_the_less_is_corrected():
    residual = noise(1, 20, 17) - 0.5
    size = [float(closed(PSF, (20, 17), [lam]).spread(residual).norm()) for lam in (0.0, 0.1, 1.0, 10.0, 100.0)]
    assert size == sorted(size, reverse=True)
    assert size[-1] < 0.05 * size[0]
