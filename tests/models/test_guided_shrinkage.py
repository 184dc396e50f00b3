"""Shrinkage of the guided correction, by evidence of the scene's Wald pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from guided_cases import random_guided_network, scene_and_guide
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from wald_cases import surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.blocks import Block
from dualsr_geo.fusion.scene_regression import GuideFit
from dualsr_geo.fusion.wald.candidate_weights import candidate_errors, candidate_weights
from dualsr_geo.fusion.wald.pairs import WaldPair, mixture_of
from dualsr_geo.models import guided_shrinkage, shrinkage
from dualsr_geo.models.guided_shrinkage import PRIOR, guided_shrinkage_factor
from dualsr_geo.models.networks.guided import CANDIDATES, FOLD
from dualsr_geo.models.registry import load_model
from dualsr_geo.models.shrinkage import Evidence
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.training.tasks.guided_samples import survey_arrays

FINITE = st.floats(-1e3, 1e3)


def agreeing(best: float, parts: int = 100) -> Evidence:
    size = np.linspace(1, 2, parts)
    return Evidence(best * size, size)


@given(arrays(float, 7, elements=FINITE), arrays(float, 7, elements=st.floats(1e-3, 1e3)))
def test_a_shrinkage_factor_is_between_0_and_1(gain, size):
    assert 0 <= guided_shrinkage_factor([Evidence(gain, size)]) <= 1


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_more_gain_never_lowers_the_factor(a, b):
    low, high = sorted((a, b))
    assert guided_shrinkage_factor([agreeing(low)]) <= guided_shrinkage_factor([agreeing(high)])


def test_without_evidence_the_factor_is_the_prior_mean():
    assert guided_shrinkage_factor([]) == PRIOR.mean
    assert guided_shrinkage_factor([Evidence(np.array([5.0]), np.array([1.0]))]) == PRIOR.mean


def test_clear_evidence_decides():
    assert guided_shrinkage_factor([agreeing(1.0), agreeing(1.0)]) > 0.85
    assert guided_shrinkage_factor([agreeing(-0.2), agreeing(-0.2)]) < 0.05


def test_parts_that_contradict_each_other_decide_little():
    torn = Evidence(np.array([30.0, -34.0, 33.0, -31.0]), np.ones(4))
    assert guided_shrinkage_factor([torn]) == pytest.approx(PRIOR.mean, abs=0.05)


@given(arrays(float, 9, elements=FINITE), arrays(float, 9, elements=st.floats(1, 10)))
def test_the_error_is_the_jackknife_of_the_best_factor(gain, size):
    estimates = [np.delete(gain, i).sum() / np.delete(size, i).sum() for i in range(9)]
    expected = np.sqrt(8 / 9 * np.sum((estimates - np.mean(estimates)) ** 2))
    assert Evidence(gain, size).error == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(st.integers(1, 19), st.integers(1, 19), st.integers(1, 4), st.integers(1, 3))
def test_parts_add_up_to_the_valid_scene(height, width, ratio, anchors):
    generator = torch.Generator().manual_seed(height)
    correction, lacking = torch.randn(2, anchors, ratio * height, ratio * width, generator=generator)
    weight = (torch.rand(height, width, generator=generator) - 0.2).clamp_min(0)
    valid = (weight > 0).repeat_interleave(ratio, 0).repeat_interleave(ratio, 1)
    gain, size = shrinkage.sums_by_part(correction, lacking, weight, ratio).sum(1)
    assert gain == pytest.approx(float((correction * lacking * valid).sum()), rel=1e-4, abs=1e-3)
    assert size == pytest.approx(float((correction.square() * valid).sum()), rel=1e-4)


@pytest.mark.parametrize(("bands", "guides", "noise"), [(5, 3, 0.0), (20, 1, 0.0), (12, 2, 0.5)])
def test_a_correction_of_opposite_sign_has_the_opposite_gain(bands, guides, noise):
    lr, guide, psf = scene_and_guide(bands, guides, 33, 29, 4, noise=noise)
    survey = survey_arrays(lr, guide, psf)
    block = Block(torch.from_numpy(lr), torch.ones(lr.shape[1:]), torch.from_numpy(guide))
    pair = WaldPair.of([block], psf, 2, survey.space)
    weights = candidate_weights([candidate_errors(pair)], by_energy=not survey.space.keeps_rest)
    fit = GuideFit(survey.model_state.fit.fit, mixture_of(survey.space, weights), weights)
    network = random_guided_network()
    evidence = []
    for sign in (1, -1):
        with torch.no_grad():
            # Nothing but the residual, so that the correction is linear in it.
            for value in (network.last.weight, network.last.bias):
                value[: CANDIDATES * FOLD**2] = 0
                value.mul_(sign)
        with torch.inference_mode():
            evidence.append(guided_shrinkage.evidence_on(network, pair, fit))
    assert evidence[0].size.sum() > 0
    assert len(evidence[0].gain) == 4 * 4
    np.testing.assert_allclose(evidence[1].size, evidence[0].size, rtol=1e-4)
    np.testing.assert_allclose(
        evidence[1].gain, -evidence[0].gain, rtol=1e-3, atol=1e-5 * np.abs(evidence[0].gain).max()
    )


@given(st.floats(0.1, guided_shrinkage.MAX_BEST_FACTOR), st.floats(1.0, 20.0))
def test_a_pair_on_which_the_correction_is_stronger_counts_in_proportion(best, times):
    pair = Evidence(np.full(9, best), np.ones(9), strength=times)
    assert guided_shrinkage.guided_shrinkage_factor([pair], 1.0) == pytest.approx(
        guided_shrinkage.guided_shrinkage_factor([Evidence(np.full(9, best / times), np.ones(9))])
    )
    # The evidence of a weaker correction is not changed.
    assert guided_shrinkage.guided_shrinkage_factor([pair], 2 * times) == guided_shrinkage.guided_shrinkage_factor(
        [pair]
    )


def test_the_strength_does_not_depend_on_units():
    sample = synthetic.make((40, 44), bands=5, seed=3)
    excesses = []
    for unit in (1.0, 3000.0):
        survey_of_unit = surveyed(
            sample.scene * unit, sample.guide, SurveyOptions(4, psf=Psf.from_mtf(4), model=load_model("auto"))
        )
        excesses.append([e.excess for e in survey_of_unit.model_state.correction.guided_evidence])
    assert excesses[0] == pytest.approx(excesses[1], rel=1e-2)
    assert all(0 < excess < 100 for excess in excesses[0])
