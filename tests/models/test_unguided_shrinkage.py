"""Shrinkage of the unguided correction, by evidence of the scene's degraded versions."""

from __future__ import annotations

import math
from functools import cache
from importlib import resources

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unguided_cases import random_unguided_network, textured_scene

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import subspace
from dualsr_geo.models import unguided_correction, unguided_shrinkage
from dualsr_geo.models.networks.unguided import UnguidedNetwork
from dualsr_geo.models.unguided_shrinkage import (
    EXCESS_POWER,
    PRIOR,
    UnguidedEvidence,
    evidence_of_scales,
    unguided_shrinkage_factor,
)
from dualsr_geo.models.weights import read_tensors


def agreeing(best: float, excess: float = 1.0) -> UnguidedEvidence:
    size = np.linspace(1, 2, 100)
    return UnguidedEvidence(best * size, size, excess=excess)


def space_of(cube: torch.Tensor, noise: np.ndarray | None = None) -> subspace.Subspace:
    flat = cube.flatten(1).numpy()
    return subspace.estimate_subspace(flat, np.ones(flat.shape[1], np.float32), noise)


@torch.inference_mode()
def evidence_of(network, cube: torch.Tensor, psf: Psf, noise: float = 0.0) -> UnguidedEvidence:
    levels = np.full(len(cube), noise)
    return evidence_of_scales(
        network, [(cube, torch.ones(cube.shape[1:]))], psf, space_of(cube, levels if noise else None), levels
    )


@cache
def shipped() -> UnguidedNetwork:
    path = resources.files("dualsr_geo.models") / "data/unguided.safetensors"
    return UnguidedNetwork.of(read_tensors(str(path))).eval()


def fields(height: int, width: int, ratio: int, seed: int = 0) -> torch.Tensor:
    """Return fields with straight edges between them, of four bands, (band, ratio * y, ratio * x)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: height * ratio, : width * ratio] / ratio
    seeds = rng.random((height * width // 60, 2)) * (height, width)
    nearest = ((y[..., None] - seeds[:, 0]) ** 2 + (x[..., None] - seeds[:, 1]) ** 2).argmin(-1)
    return torch.from_numpy(rng.random((4, len(seeds)))[:, nearest].astype(np.float32))


def degraded(truth: torch.Tensor, psf: Psf) -> torch.Tensor:
    y, x = (n // psf.ratio for n in truth.shape[1:])
    return operator(psf, (y, x)).degrade(truth)


@given(st.floats(-1e3, 1e3), st.floats(0, 1e6))
def test_a_shrinkage_factor_is_between_0_and_1(best, excess):
    assert 0 <= unguided_shrinkage_factor(agreeing(best, excess)) <= 1


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 30), st.floats(0, 30))
def test_more_gain_raises_the_factor_and_more_excess_lowers_it(a, b, c, d):
    assert unguided_shrinkage_factor(agreeing(min(a, b), c)) <= unguided_shrinkage_factor(agreeing(max(a, b), c))
    assert unguided_shrinkage_factor(agreeing(a, min(c, d))) >= unguided_shrinkage_factor(agreeing(a, max(c, d)))


def test_clear_evidence_decides():
    assert unguided_shrinkage_factor(agreeing(1.2)) == 1
    assert unguided_shrinkage_factor(agreeing(-0.3)) < 0.05
    assert unguided_shrinkage_factor(agreeing(1.2, excess=16.0)) == pytest.approx(16**-EXCESS_POWER)


@pytest.mark.parametrize("shape", [(7, 30), (30, 7), (1, 1)])
def test_a_scene_too_small_to_be_degraded_has_no_evidence(shape):
    evidence = evidence_of(random_unguided_network(), textured_scene(3, *shape), Psf.from_mtf(4))
    assert math.isinf(evidence.error)
    assert evidence.excess == 1
    assert unguided_shrinkage_factor(evidence) == min(PRIOR.mean, 1)


@given(st.integers(1, 9), st.integers(8, 37), st.integers(8, 37), st.sampled_from([2, 3, 4, 8, 11]))
@settings(max_examples=10, deadline=None)
def test_the_evidence_for_an_untrained_network_has_size_0(bands, height, width, ratio):
    evidence = evidence_of(UnguidedNetwork(8, 1), textured_scene(bands, height, width), Psf.from_mtf(ratio))
    assert not evidence.size.any()
    assert 0 <= unguided_shrinkage_factor(evidence) <= 1


@pytest.mark.parametrize(("bands", "noise"), [(1, 0.0), (5, 0.0), (20, 0.0), (12, 4.0)])
def test_a_correction_of_opposite_sign_has_the_opposite_gain(bands, noise):
    cube, network = textured_scene(bands, 33, 29), random_unguided_network()
    evidence = evidence_of(network, cube, Psf.from_mtf(4), noise)
    turned = evidence_of(lambda planes, ratio: -network(planes, ratio), cube, Psf.from_mtf(4), noise)
    assert evidence.size.sum() > 0
    np.testing.assert_allclose(turned.size, evidence.size, rtol=1e-6)
    np.testing.assert_allclose(turned.gain, -evidence.gain, rtol=1e-5)
    assert turned.excess == pytest.approx(evidence.excess)


@given(st.floats(1e-3, 1e3), st.floats(-100, 100))
@settings(max_examples=8, deadline=None)
def test_the_units_of_a_scene_do_not_matter(unit, offset):
    cube, network = textured_scene(4, 31, 26), random_unguided_network()
    evidence, other = (evidence_of(network, c, Psf.from_mtf(3)) for c in (cube, unit * (cube + offset)))
    assert other.best == pytest.approx(evidence.best, rel=2e-2, abs=2e-3)
    assert other.excess == pytest.approx(evidence.excess, rel=2e-2)


def test_half_a_correction_has_twice_the_best_factor():
    cube, network = textured_scene(4, 31, 26), random_unguided_network()
    evidence = evidence_of(network, cube, Psf.from_mtf(4))
    half = evidence_of(lambda planes, ratio: network(planes, ratio) / 2, cube, Psf.from_mtf(4))
    assert half.best == pytest.approx(2 * evidence.best, rel=1e-3)
    assert half.excess == pytest.approx(evidence.excess, rel=1e-3)


@pytest.mark.parametrize("ratio", [2, 4])
def test_a_scene_as_sharp_as_its_psf_keeps_more_than_a_sharper_or_resampled_one(ratio):
    psf, truth = Psf.from_mtf(ratio), fields(60, 52, ratio)
    as_specified = evidence_of(shipped(), degraded(truth, psf), psf)
    aliased = evidence_of(shipped(), truth[:, ratio // 2 :: ratio, ratio // 2 :: ratio].contiguous(), psf)
    half = degraded(truth, Psf.from_mtf(2 * ratio))
    doubled = evidence_of(shipped(), half.repeat_interleave(2, 1).repeat_interleave(2, 2), psf)
    assert unguided_shrinkage_factor(as_specified) > 0.8
    assert as_specified.best > 0.8
    assert aliased.excess > 2 * as_specified.excess
    assert unguided_shrinkage_factor(aliased) < 0.75 * unguided_shrinkage_factor(as_specified)
    assert doubled.best < 0.3
    assert unguided_shrinkage_factor(doubled) < 0.3 * unguided_shrinkage_factor(as_specified)


def test_holes_do_not_count():
    cube, psf = textured_scene(3, 40, 33), Psf.from_mtf(4)
    weight = torch.ones(40, 33)
    weight[:, 20:] = 0
    scene_space, levels, network = space_of(cube), np.zeros(3), random_unguided_network()
    with torch.inference_mode():
        evidence = evidence_of_scales(network, [(cube, weight)], psf, scene_space, levels)
        changed = cube.clone()
        # Beyond the reach of the network and the closed form from the valid part.
        changed[:, :, 32:] += 1e-3
        again = evidence_of_scales(network, [(changed, weight)], psf, scene_space, levels)
    assert evidence.size.sum() > 0
    assert again.best == pytest.approx(evidence.best, rel=5e-2)


def test_blocks_count_together():
    first, second = textured_scene(3, 24, 31), textured_scene(3, 18, 22, seed=1)
    both = torch.cat([first.flatten(1), second.flatten(1)], 1)
    scene_space, levels = space_of(both[:, None]), np.zeros(3)
    blocks = [(c, torch.ones(c.shape[1:])) for c in (first, second)]
    with torch.inference_mode():
        evidence = evidence_of_scales(random_unguided_network(), blocks, Psf.from_mtf(2), scene_space, levels)
        again = evidence_of_scales(random_unguided_network(), blocks, Psf.from_mtf(2), scene_space, levels)
    assert len(evidence.gain) == 3 * 4 + 3 * 3
    np.testing.assert_array_equal(evidence.gain, again.gain)
    assert evidence.excess == again.excess


def test_the_psf_of_ratio_2_has_the_gains_of_the_scene():
    psf = Psf.gaussian(5, (2.0, 3.0), (0.4, -0.3))
    evidence, gains = (unguided_correction.nyquist_gains(p) for p in (unguided_shrinkage._psf_of_ratio_2(psf), psf))
    assert evidence == pytest.approx(gains, abs=0.02)
