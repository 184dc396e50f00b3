"""Weights of the candidates, and the Wald pairs and ridges that they are estimated with."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from dualsr_geo import synthetic
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import candidates, subspace
from dualsr_geo.fusion.blocks import Block
from dualsr_geo.fusion.wald.candidate_weights import (
    _candidates,
    _simplex,
    candidate_errors,
    candidate_weights,
    mixture_errors,
    principal_gain_db,
    scene_weights,
)
from dualsr_geo.fusion.wald.pairs import WaldPair, WaldPairs, degrade_sample, pair_ratios
from dualsr_geo.fusion.wald.starts import ridge

COUNT = len(candidates.CANDIDATES)
# Of scenes of several bands.
MULTIBAND_COUNT = len(candidates.usable(3))


def gram(errors: np.ndarray) -> np.ndarray:
    """Return mean products of errors (band, candidate, pixel)."""
    return errors @ errors.transpose(0, 2, 1)


def random_gram(bands: int, seed: int, size: np.ndarray | None = None) -> np.ndarray:
    count = COUNT if size is None else size.shape[-1]
    errors = np.random.default_rng(seed).standard_normal((bands, count, 60))
    return gram(errors if size is None else errors * size[..., None])


@given(st.integers(1, 9), st.integers(0, 999), st.booleans(), st.integers(1, 2))
def test_rows_are_on_the_simplex(bands, seed, by_energy, pairs):
    size = np.exp(np.random.default_rng(seed).normal(0, 2, (bands, COUNT)))
    weights = candidate_weights([random_gram(bands, seed + i, size) for i in range(pairs)], by_energy=by_energy)
    assert weights.shape == (bands, COUNT)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-9)


@pytest.mark.parametrize("best", range(COUNT))
@pytest.mark.parametrize("by_energy", [False, True])
def test_the_best_candidate_wins(best, by_energy):
    size = np.full((4, COUNT), 3.0)
    size[:, best] = 0.5
    weights = candidate_weights([random_gram(4, 1, size)], by_energy=by_energy)
    assert (weights[:, best] > 0.8).all()


def test_bands_have_their_own_weights():
    size = np.full((2, COUNT), 3.0)
    size[0, 1], size[1, 4] = 0.3, 0.3
    weights = candidate_weights([random_gram(2, 0, size)])
    assert weights.argmax(1).tolist() == [1, 4]


def test_by_energy_the_strong_component_dominates_the_profile():
    """The strong component prefers the first candidate by far; the weak ones, slightly, the second."""
    size = np.full((5, COUNT), 3.0)
    size[:, :2] = [1.0, 0.8]
    size[0, :2] = [0.5, 2.0]
    size[0] *= 100
    by_energy, equal = (candidate_weights([random_gram(5, 3, size)], by_energy=e)[1:] for e in (True, False))
    assert (by_energy[:, 0] > by_energy[:, 1]).all()
    assert (equal[:, 1] > by_energy[:, 1] + 0.1).all()


def test_candidates_with_equal_errors_have_equal_weights():
    errors = np.repeat(np.random.default_rng(0).standard_normal((1, 1, 50)), COUNT, 1)
    weights = candidate_weights([gram(errors)])
    np.testing.assert_allclose(weights[0, :-1], weights[0, 0], atol=1e-6)


def test_simplex_weights_are_scipys():
    g = random_gram(3, 5, np.linspace(1, 2, MULTIBAND_COUNT) * np.ones((3, 1)))
    weights = _simplex(g)
    for matrix, ours in zip(g, weights, strict=True):
        best = minimize(
            lambda w, m=matrix: w @ m @ w,
            np.full(MULTIBAND_COUNT, 1 / MULTIBAND_COUNT),
            bounds=[(0, 1)] * MULTIBAND_COUNT,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        )
        assert ours @ matrix @ ours < 1.01 * best.fun


@pytest.mark.parametrize(
    ("shape", "ratio", "expected"),
    [((128, 128), 4, [2, 4]), ((64, 64), 8, [2, 8]), ((25, 25), 8, [2, 4]), ((20, 90), 4, [2, 3]), ((13, 13), 4, [2])],
)
def test_ratios_leave_six_pixels(shape, ratio, expected):
    assert pair_ratios(shape, ratio) == expected


@given(st.floats(1e-3, 1e3), st.floats(1e-6, 1e6))
def test_ridge_is_noise_over_prior_to_half_a_doubling(noise, residual):
    lam = ridge(np.array([residual]), noise)[0]
    prior = max(residual - noise**2, 0.02 * noise**2)
    assert abs(np.log2(lam) - np.log2(noise**2 / prior)) <= 0.5 + 1e-9
    assert float(np.log2(lam)).is_integer()


def test_clean_scenes_have_no_ridge():
    assert ridge(np.array([1.0, 2.0]), 0.0).tolist() == [0.0, 0.0]


def block(noise: float = 0.0) -> tuple[Block, synthetic.Sample]:
    sample = synthetic.make((33, 42), bands=16, seed=4, noise=noise)
    return Block(torch.from_numpy(sample.scene), torch.ones(33, 42), torch.from_numpy(sample.guide)), sample


def test_the_wald_pair_is_the_scene_degraded_once_more():
    one, sample = block()
    space = subspace.estimate_subspace(sample.scene.reshape(16, -1), np.ones(33 * 42, np.float32))
    psf = Psf.from_mtf(4)
    ((degraded, truth),) = degrade_sample([one], psf, 4, space)
    assert degraded.shape == (8, 10)
    assert bool((truth == one.cube[:, :32, :40]).all())
    torch.testing.assert_close(degraded.cube, operator(Psf.from_mtf(4), (8, 10)).degrade(truth))
    torch.testing.assert_close(degraded.guide, operator(psf, (33, 42)).degrade(one.guide)[:, :32, :40])


def test_the_pair_of_a_noisy_scene_has_its_noise_and_a_denoised_truth():
    one, sample = block(0.02)
    flat = sample.scene.reshape(16, -1)
    weight = np.ones(33 * 42, np.float32)
    space = subspace.estimate_subspace(flat, weight, np.full(16, 0.02))
    ((degraded, truth),) = degrade_sample([one], Psf.from_mtf(4), 2, space)
    clean = synthetic.make((33, 42), bands=16, seed=4).scene
    assert float((truth - torch.from_numpy(clean[:, :32])).std()) < 0.8 * 0.02
    added = degraded.cube - operator(Psf.from_mtf(2), degraded.shape).degrade(truth)
    again = degrade_sample([one], Psf.from_mtf(4), 2, space)[0][0]
    assert bool((again.cube == degraded.cube).all())
    assert float(added.std()) == pytest.approx(space.noise, rel=0.3)


def test_errors_are_those_of_the_candidates_on_the_bands():
    one, _ = block()
    flat, weight = one.cube.flatten(1).numpy(), np.ones(33 * 42, np.float32)
    space = subspace.estimate_subspace(flat, weight)
    gram_ = candidate_errors(WaldPair.of([one], Psf.from_mtf(4), 2, space))
    assert gram_.shape == (16, COUNT, COUNT)
    judged = list(candidates.usable(len(one.guide)))
    gram_ = gram_[:, judged][:, :, judged]
    np.testing.assert_allclose(gram_, gram_.transpose(0, 2, 1), rtol=1e-5, atol=1e-8)

    pair = WaldPair.of([one], Psf.from_mtf(4), 2, space)
    (lr,), (truth,), blur, own = pair.blocks, pair.truths, pair.blur, pair.space
    restored, z = _candidates(lr, pair, judged)
    expand, mean = torch.from_numpy(own.expand), torch.from_numpy(own.mean)[:, None, None]
    rest = lr.cube - mean - torch.einsum("bk,kyx->byx", expand, z)
    bands = torch.einsum("bk,ckyx->cbyx", expand, restored) + mean + operator(blur, lr.shape).upsample(rest)
    square = ((bands - truth)[..., 1:-1, 1:-1] ** 2).sum((2, 3)).T
    np.testing.assert_allclose(np.diagonal(gram_, axis1=1, axis2=2), square.numpy(), rtol=1e-3)


def test_guided_candidates_have_the_weight_on_a_scene_that_the_guide_explains():
    one, _ = block()
    space = subspace.estimate_subspace(one.cube.flatten(1).numpy(), np.ones(33 * 42, np.float32))
    weights = candidate_weights([candidate_errors(WaldPair.of([one], Psf.from_mtf(4), r, space)) for r in (2, 4)])
    assert (weights[:, -1] < 0.1).all()


@pytest.mark.parametrize("side", [(10, 9), (12, 40)])
def test_small_noisy_scenes_have_weights(side):
    """Axes with fewer lr pixels than the noisy fine stage has terms."""
    sample = synthetic.make(side, bands=16, noise=0.02)
    one = Block(torch.from_numpy(sample.scene), torch.ones(side), torch.from_numpy(sample.guide))
    flat = sample.scene.reshape(16, -1)
    space = subspace.estimate_subspace(flat, np.ones(flat.shape[1], np.float32), np.full(16, 0.02))
    weights = candidate_weights([candidate_errors(WaldPair.of([one], Psf.from_mtf(4), 2, space))], by_energy=True)
    np.testing.assert_allclose(weights.sum(1), 1)


# ---- candidates for guides of several bands ------------------------------------------------


def pair_of(guide: torch.Tensor) -> WaldPair:
    one, _ = block()
    space = subspace.estimate_subspace(one.cube.flatten(1).numpy(), np.ones(33 * 42, np.float32))
    return WaldPair.of([Block(one.cube, one.weight, guide)], Psf.from_mtf(4), 2, space)


def test_a_candidate_that_is_not_judged_has_no_weight_and_changes_nothing():
    one, _ = block()
    pair = pair_of(one.guide)
    every, some = candidate_errors(pair), candidate_errors(pair, candidates.usable(1))
    judged = list(candidates.usable(1))
    assert not np.isfinite(
        np.diagonal(every[0])[[candidates.CANDIDATES.index(c) for c in candidates.OF_FEW_BANDS]]
    ).any()
    np.testing.assert_array_equal(some[:, judged][:, :, judged], every[:, judged][:, :, judged])
    weights = candidate_weights([some])
    left_out = [i for i in range(COUNT) if i not in judged]
    assert left_out
    assert not weights[:, left_out].any()
    np.testing.assert_allclose(weights.sum(1), 1)
    errors = mixture_errors(some, weights)
    w, g = weights[:, judged], every[:, judged][:, :, judged]
    np.testing.assert_allclose(errors, np.einsum("bi,bij,bj->b", w, g, w))


def test_a_guide_of_one_band_has_only_the_candidates_for_any_guide():
    one, _ = block()
    errors = candidate_errors(pair_of(one.guide[:1]))
    judged = np.flatnonzero(np.isfinite(np.diagonal(errors[0])))
    assert tuple(judged) == candidates.usable(1)
    assert len(candidates.usable(3)) == COUNT - len(candidates.OF_FEW_BANDS) > len(judged)
    assert len(candidates.usable(3, few=True)) == COUNT


def test_a_guide_of_one_band_has_half_soft_weights_and_others_have_none():
    one, _ = block()
    space = subspace.estimate_subspace(one.cube.flatten(1).numpy(), np.ones(33 * 42, np.float32))
    for guide, share in ((one.guide[:1], 0.5), (one.guide, 0.0)):
        pairs = WaldPairs([replace(one, guide=guide)], Psf.from_mtf(4), space)
        weights, errors = scene_weights(pairs)
        np.testing.assert_array_equal(weights, candidate_weights(errors, soft_share=share))
        assert not np.array_equal(weights, candidate_weights(errors, soft_share=0.5 - share))


def test_the_gain_of_the_first_direction_is_that_of_its_error():
    line = candidates.CANDIDATES.index(candidates.PrincipalLine())
    size = np.full(COUNT, 2.0)
    size[line] = 1.0
    errors = random_gram(3, 0, size)
    # Equal and independent errors: the mean of seven has a seventh of their square, but for the unguided one.
    assert principal_gain_db([errors]) < 0
    size[line] = 0.01
    assert principal_gain_db([random_gram(3, 0, size)]) > 10


def test_a_guide_of_one_band_has_no_first_direction_to_gain_by():
    one, _ = block()
    assert principal_gain_db([candidate_errors(pair_of(one.guide[:1]))]) == -math.inf
