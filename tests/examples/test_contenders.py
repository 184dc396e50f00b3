"""Methods of others: the equations that they solve, and what they make of an easy pair."""

from __future__ import annotations

import contenders
import degradations
import fuse
import glp
import hysure
import numpy as np
import periodic
import pytest
import supreme
from disturbances import Pair
from hypothesis import given, settings
from hypothesis import strategies as st
from periodic import Inputs

from dualsr_geo.degradation.psf import Psf

RESPONSE = np.array([[0.6, 0.3, 0.1, 0, 0, 0], [0, 0, 0.2, 0.4, 0.3, 0.1]])


def reference(height: int, width: int, bands: int = 6, seed: int = 0) -> np.ndarray:
    """Return fields with straight edges, of spectra that two numbers describe, (band, y, x)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    fields = np.stack([(x + y) // 9 % 3 / 2, (x - 2 * y) // 11 % 4 / 3])
    mixing = rng.uniform(0.1, 1, (bands, 2))
    cube = np.einsum("bk,kyx->byx", mixing, fields)
    return (cube / cube.max()).astype(np.float32)


def pair(ratio: int, height: int = 13, width: int = 16, noise: float = 0.0) -> tuple[Inputs, np.ndarray]:
    cube = reference(height * ratio, width * ratio)
    guide = np.tensordot(RESPONSE, cube, 1)
    guide = guide + noise * np.random.default_rng(1).standard_normal(guide.shape)
    scene = degradations.degraded(cube, ratio, 0.3)
    return Inputs(scene, guide.astype(np.float32), Psf.from_mtf(ratio), RESPONSE), cube


def rms(product: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((product - truth) ** 2)))


@given(st.integers(2, 5), st.integers(3, 6), st.integers(3, 7), st.floats(-0.4, 0.4))
@settings(max_examples=15, deadline=None)
def test_the_transfer_function_is_the_operator_of_the_library_away_from_the_edges(ratio, rows, columns, shift):
    psf = Psf.gaussian(ratio, (0.4 * ratio, 0.5 * ratio), (shift, -shift))
    edge = psf.reach_lr
    cube = np.random.default_rng(rows).random((1, (rows + 2 * edge) * ratio, (columns + 2 * edge) * ratio), np.float32)
    spectrum = np.fft.fft2(cube[0]) * periodic.kernel(psf, cube.shape[1:])
    blurred = np.fft.ifft2(spectrum).real[::ratio, ::ratio]
    theirs = periodic.degraded(cube, psf)[0]
    inner = slice(edge, -edge) if edge else slice(None)
    np.testing.assert_allclose(blurred[inner, inner], theirs[inner, inner], atol=2e-5)
    # The aliases of a frequency sum to the spectrum of every ratio-th pixel.
    summed = periodic.by_alias(spectrum, ratio).sum((0, 2)) / ratio**2
    np.testing.assert_allclose(summed, np.fft.fft2(blurred), atol=1e-3)


@given(st.integers(2, 4), st.integers(3, 6), st.integers(4, 7), st.integers(0, 9))
@settings(max_examples=12, deadline=None)
def test_the_sylvester_equation_is_solved(ratio, rows, columns, seed):
    rng = np.random.default_rng(seed)
    shape = (2, rows * ratio, columns * ratio)
    known, observed = rng.random(shape, np.float32), rng.random((2, rows, columns), np.float32)
    values, psf = np.array([0.02, 1.7]), Psf.from_mtf(ratio)
    solved = fuse.sylvester(values, known, observed, psf)
    transfer = periodic.kernel(psf, shape[1:])

    def degrade(planes: np.ndarray) -> np.ndarray:
        return np.fft.ifft2(np.fft.fft2(planes) * transfer).real[:, ::ratio, ::ratio]

    def adjoint(planes: np.ndarray) -> np.ndarray:
        wide = np.zeros(shape)
        wide[:, ::ratio, ::ratio] = planes
        return np.fft.ifft2(np.fft.fft2(wide) * transfer.conj()).real

    left = values[:, None, None] * solved + adjoint(degrade(solved))
    np.testing.assert_allclose(left, known + adjoint(observed), atol=2e-4)


@pytest.mark.parametrize("ratio", [2, 4])
@pytest.mark.parametrize("name", ["fuse", "hysure", "glp-ridge"])
def test_a_contender_recovers_most_of_a_scene_that_its_guide_determines(name, ratio):
    given_pair, truth = pair(ratio)
    contender = contenders.CONTENDERS[name]
    plain = rms(periodic.spline(given_pair.scene, ratio), truth)
    errors = [rms(contender.product(given_pair, setting), truth) for setting in contender.settings]
    assert contender.product(given_pair, contender.settings[0]).shape == truth.shape
    assert min(errors) < (0.5 if name == "glp-ridge" else 0.35) * plain


def test_hysure_descends_to_the_minimum_of_its_objective():
    given_pair, _ = pair(2, 11, 9, noise=0.02)
    products = [hysure.hysure(given_pair, 1e-3, steps) for steps in (5, 60, 300)]
    assert rms(products[1], products[2]) < 0.1 * rms(products[0], products[2])


@pytest.mark.parametrize("method", [fuse.fuse, hysure.hysure])
def test_a_noisy_guide_wants_a_stronger_setting(method):
    settings_of = {fuse.fuse: fuse.GUIDE_NOISES, hysure.hysure: hysure.VARIATIONS}[method]
    given_pair, truth = pair(4, noise=0.03)
    weak, *_, strong = (rms(method(given_pair, setting), truth) for setting in settings_of)
    assert strong < weak


def test_a_ridge_pulls_the_gains_of_glp_to_zero():
    given_pair, _ = pair(4)
    plain = periodic.spline(given_pair.scene, 4)
    detail = [rms(glp.glp(given_pair, ridge), plain) for ridge in (0.0, 1.0, 1e6)]
    assert detail[0] > detail[1] > detail[2]
    assert detail[2] < 1e-3 * detail[0]


def test_the_best_setting_counts_and_the_spline_needs_no_guide():
    given_pair, truth = pair(4, noise=0.01)
    one = Pair(given_pair.scene, given_pair.guide, truth, 4, 0.3, 0, response=RESPONSE)
    product, seconds = contenders.best("fuse", one)
    errors = [rms(fuse.fuse(given_pair, noise).clip(0), truth) for noise in fuse.GUIDE_NOISES]
    assert rms(product.clip(0), truth) == pytest.approx(min(errors), rel=1e-4)
    assert seconds > 0
    alone = Pair(given_pair.scene, None, truth, 4, 0.3, 0)
    np.testing.assert_array_equal(contenders.best("spline", alone)[0], periodic.spline(given_pair.scene, 4))


def test_a_response_that_is_not_known_is_fitted():
    given_pair, truth = pair(4)
    fitted = contenders.fitted_response(given_pair.scene, given_pair.guide, given_pair.psf)
    np.testing.assert_allclose(np.tensordot(fitted, truth, 1), given_pair.guide, atol=5e-3)


@pytest.mark.parametrize("ratio", [2, 3])
def test_supreme_recovers_a_scene_in_the_span_of_its_guide(ratio):
    given_pair, truth = pair(ratio)
    plain = rms(periodic.spline(given_pair.scene, ratio), truth)
    errors = [rms(supreme.supreme(given_pair, s), truth) for s in supreme.SMOOTHNESSES]
    assert min(errors) < 0.6 * plain


def test_more_smoothness_leaves_less_detail_to_supreme():
    given_pair, _ = pair(4, noise=0.02)
    slopes = [float(np.abs(np.diff(supreme.supreme(given_pair, s), axis=2)).mean()) for s in (1e-4, 1e-2, 1.0)]
    assert slopes[0] > slopes[1] > slopes[2]
