"""The candidates against brute-force least squares, and the sums that make their mixture cheap."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_windows import RATIO, SHAPE, noise, regression_inputs
from wald_cases import product, surveyed

from dualsr_geo import synthetic
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import candidates
from dualsr_geo.fusion.blocks import high_pass
from dualsr_geo.fusion.regression_inputs import RegressionInputs, prepare_inputs
from dualsr_geo.fusion.scene_regression import SceneRegression, fit_scene_regression
from dualsr_geo.models.registry import load_model
from dualsr_geo.serialization import from_json, to_json
from dualsr_geo.surveying.sampling import SurveyOptions
from dualsr_geo.surveying.survey import Survey

COUNT = len(candidates.CANDIDATES)


def only(index: int, count: int) -> torch.Tensor:
    one = torch.zeros(count, len(candidates.CANDIDATES))
    one[:, index] = 1
    return one


@pytest.mark.parametrize("guides", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("at", [(5, 6), (0, 0), (10, 3)])
def test_local_is_weighted_least_squares_in_its_window(guides, weighted, at):
    weight = (noise(*SHAPE, seed=9) > 0.3).float() if weighted else None
    inputs = regression_inputs(guides, weight=weight)
    width, ridge = 1.5, 3e-2
    fitted = candidates.Local(width, ridge).fit(inputs)

    half = math.ceil(2.5 * width)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    dy, dx = y - at[0], x - at[1]
    w = np.exp(-0.5 * (dy**2 + dx**2) / width**2) * (abs(dy) <= half) * (abs(dx) <= half)
    w = (w if weight is None else w * weight.numpy()).ravel()
    w = w / w.sum()
    guide = inputs.guide_lr.flatten(1).double().numpy()
    rest = inputs.residual(inputs.scene_wide()).flatten(1).double().numpy()
    g0, r0 = guide - (guide * w).sum(1, keepdims=True), rest - (rest * w).sum(1, keepdims=True)
    slope = np.linalg.solve((g0 * w) @ g0.T + ridge * np.eye(guides), (g0 * w) @ r0.T)
    intercept = (rest * w).sum(1) - slope.T @ (guide * w).sum(1)
    np.testing.assert_allclose(fitted.slopes[:, :, at[0], at[1]].numpy(), slope, atol=1e-4)
    np.testing.assert_allclose(fitted.intercept[:, at[0], at[1]].numpy(), intercept, atol=1e-4)


def test_pixels_without_weight_do_not_count():
    weight = torch.ones(SHAPE)
    weight[4:7, 5:9] = 0
    inputs = regression_inputs(weight=weight)
    spoilt = torch.where(weight > 0, inputs.components, 1e3)
    other = replace(inputs, components=spoilt)
    a, b = (candidates.Local(1.5, 3e-2).fit(p) for p in (inputs, other))
    torch.testing.assert_close(a.slopes, b.slopes, atol=1e-4, rtol=0)


def test_the_line_is_the_scene_wide_regression():
    inputs = regression_inputs()
    estimate = candidates.fit_mixture(inputs, only(3, 4)).evaluate(0, 4)
    y = inputs.features.rows()[-4:-1]  # the guide, standardised and not clipped
    wanted = torch.einsum("kg,gyx->kyx", torch.from_numpy(inputs.fit.slope), y)
    wanted += torch.from_numpy(inputs.fit.intercept)[:, None, None]
    torch.testing.assert_close(estimate, wanted, atol=1e-5, rtol=0)


def test_unguided_is_the_mean():
    assert not bool(candidates.fit_mixture(regression_inputs(), only(COUNT - 1, 4)).evaluate(0, 4).any())


def test_local_follows_a_relation_that_changes_from_place_to_place():
    op = operator(Psf.from_mtf(RATIO), SHAPE)
    guide = noise(1, 33, 42)
    truth = guide * torch.linspace(0, 1, 42) + torch.linspace(2, 0, 33)[:, None]
    z = op.degrade(truth)
    fit = fit_scene_regression(z.flatten(1).numpy(), op.degrade(guide).flatten(1).numpy(), np.ones(154, np.float32))
    inputs = prepare_inputs(z, guide, fit, op)
    line, local = (candidates.fit_mixture(inputs, only(i, 1)).evaluate(0, 1) for i in (3, 1))
    assert float((local - truth).std()) < 0.5 * float((line - truth).std())


@given(st.integers(0, 99), st.integers(1, 3))
@settings(max_examples=10)
def test_fused_is_the_weighted_mean_of_the_candidates(seed, guides):
    inputs = regression_inputs(guides, count=3, seed=seed)
    usable = candidates.usable(guides, few=guides > 1)
    weights = torch.zeros(3, COUNT)
    drawn = np.random.default_rng(seed).dirichlet(np.ones(len(usable)), 3).astype(np.float32)
    weights[:, usable] = torch.from_numpy(drawn)
    fused = candidates.fit_mixture(inputs, weights).evaluate(0, 3)
    apart = sum(weights[:, i, None, None] * candidates.fit_mixture(inputs, only(i, 3)).evaluate(0, 3) for i in usable)
    torch.testing.assert_close(fused, apart, atol=2e-5, rtol=1e-5)


def test_mixing_is_linear_in_the_weights():
    inputs = regression_inputs()
    a, b = (torch.from_numpy(np.random.default_rng(s).dirichlet(np.ones(COUNT), 4).astype(np.float32)) for s in (1, 2))
    half = candidates.fit_mixture(inputs, 0.25 * a + 0.75 * b).evaluate(0, 4)
    wanted = 0.25 * candidates.fit_mixture(inputs, a).evaluate(0, 4) + 0.75 * candidates.fit_mixture(
        inputs, b
    ).evaluate(0, 4)
    torch.testing.assert_close(half, wanted, atol=2e-5, rtol=0)


def test_some_components_are_those_of_all():
    start = candidates.fit_mixture(regression_inputs(count=5), torch.full((5, COUNT), 1 / COUNT))
    torch.testing.assert_close(start.evaluate(1, 4), start.evaluate(0, 5)[1:4], atol=1e-6, rtol=0)


# ---- guides of several bands ---------------------------------------------------------------


def index_of(candidate: candidates.Candidate) -> int:
    return candidates.CANDIDATES.index(candidate)


def inputs_of(truth: torch.Tensor, guide: torch.Tensor, seen: torch.Tensor | None = None) -> RegressionInputs:
    """Return the inputs of a scene of one component; the fit sees another guide where one is given."""
    op = operator(Psf.from_mtf(RATIO), SHAPE)
    z, lr = op.degrade(truth), op.degrade(guide if seen is None else seen)
    fine = tuple(high_pass(v, RATIO).flatten(1).numpy() for v in (z, lr))
    pixels = np.ones(SHAPE[0] * SHAPE[1], np.float32)
    fit = fit_scene_regression(z.flatten(1).numpy(), lr.flatten(1).numpy(), pixels, fine)
    return prepare_inputs(z, guide, fit, op)


def test_a_scene_that_follows_the_first_direction_is_restored_by_the_principal_line():
    brightness, tint = noise(1, 33, 42), noise(1, 33, 42, seed=1) - 0.5
    guide = torch.cat([brightness + 0.1 * tint, brightness - 0.1 * tint])
    inputs = inputs_of(3 * brightness + 1, guide)
    estimate = candidates.fit_mixture(inputs, only(index_of(candidates.PrincipalLine()), 1)).evaluate(0, 1)
    assert float((estimate - 3 * brightness - 1).abs().max()) < 0.02 * float(brightness.std())


def test_the_principal_local_follows_a_relation_that_changes_from_place_to_place():
    brightness = noise(1, 33, 42)
    tint = 0.05 * (noise(1, 33, 42, seed=1) - 0.5)
    truth = brightness * torch.linspace(0, 2, 42)
    inputs = inputs_of(truth, torch.cat([brightness + tint, brightness - tint]))
    line, local = (
        candidates.fit_mixture(inputs, only(index_of(c), 1)).evaluate(0, 1)
        for c in (candidates.PrincipalLine(), candidates.PrincipalLocal(1.0, 1e-3))
    )
    assert float((local - truth).std()) < 0.5 * float((line - truth).std())
    fitted = candidates.PrincipalLocal(1.0, 1e-3).fit(inputs)
    # Slopes of all bands are in proportion to the direction.
    other = torch.tensor([inputs.fit.direction[1], -inputs.fit.direction[0]])
    assert float(torch.einsum("g,gkyx->kyx", other, fitted.slopes).abs().max()) < 1e-5


def test_noise_of_a_weak_direction_does_not_reach_the_principal_line():
    """The scene has some of the guide's tint, whose noise on the hr grid the fit on the lr grid cannot see."""
    brightness, tint = noise(1, 33, 42), 0.02 * (noise(1, 33, 42, seed=1) - 0.5)
    guide = torch.cat([brightness + tint, brightness - tint])
    truth = 3 * brightness + 20 * tint
    noisy = guide + 0.02 * torch.from_numpy(np.random.default_rng(3).standard_normal(guide.shape)).float()
    inputs = inputs_of(truth, noisy, seen=guide)
    error = {
        type(c).__name__: float(
            (candidates.fit_mixture(inputs, only(index_of(c), 1)).evaluate(0, 1) - truth).square().mean()
        )
        for c in (candidates.Line(), candidates.PrincipalLine())
    }
    assert error["PrincipalLine"] < 0.5 * error["Line"]


def test_the_high_pass_line_has_the_slope_of_the_detail():
    coarse = 2 * torch.cos(torch.linspace(0, math.pi, 33))[None, :, None].expand(1, 33, 42)
    detail = 4 * (noise(2, *SHAPE) - 0.5).repeat_interleave(RATIO, 1).repeat_interleave(RATIO, 2)
    truth = -coarse + 2 * detail[:1] + detail[1:]
    inputs = inputs_of(truth, torch.cat([coarse + detail[:1], coarse + detail[1:]]))
    guide_std = torch.from_numpy(inputs.fit.guide_std)
    slope = torch.from_numpy(inputs.fit.lines["high-pass"].slope)[0] / guide_std
    torch.testing.assert_close(slope, torch.tensor([2.0, 1.0]), atol=0.2, rtol=0)
    assert float((torch.from_numpy(inputs.fit.slope)[0] / guide_std - torch.tensor([2.0, 1.0])).abs().max()) > 0.5


def test_a_guide_of_one_band_has_no_further_lines():
    fit = inputs_of(noise(1, 33, 42), noise(1, 33, 42)).fit
    assert (fit.lines, fit.direction) == ({}, None)


def test_further_lines_survive_json_and_linear_combination():
    fit = regression_inputs().fit
    back = from_json(SceneRegression, json.loads(json.dumps(to_json(fit))))
    rows = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    combined = fit.combined(rows)
    np.testing.assert_array_equal(back.direction, fit.direction)
    assert set(back.lines) == {"high-pass", "principal", "logarithms"}
    np.testing.assert_array_equal(back.lowest, fit.lowest)
    for name, line in fit.lines.items():
        np.testing.assert_array_equal(back.lines[name].slope, line.slope)
        np.testing.assert_array_equal(back.lines[name].intercept, line.intercept)
        np.testing.assert_allclose(combined.lines[name].slope, rows @ line.slope)


def collinear(sample: synthetic.Sample) -> np.ndarray:
    """Return the bands of a guide pulled to their mean by nine tenths, and quantised to 8 bit."""
    mean = sample.guide.mean(0, keepdims=True)
    pulled = mean + 0.1 * (sample.guide - mean)
    return (np.round(255 * pulled / pulled.max()) / 255 * pulled.max()).astype(np.float32)


@pytest.mark.parametrize("model", ["regression", "auto"])
def test_a_collinear_guide_of_8_bit_is_not_worse_than_its_pan(model):
    sample = synthetic.make((24, 27), bands=8, seed=5)
    guide = collinear(sample)
    errors = []
    for one in (guide, guide.mean(0, keepdims=True)):
        survey = surveyed(sample.scene, one, SurveyOptions(sample.ratio, model=load_model(model)))
        made, _ = product(sample.scene, one, survey, model=model)
        errors.append(float(np.mean((made - sample.reference) ** 2)))
    assert errors[0] <= errors[1] * 10**0.01


def test_a_tile_of_the_lines_for_several_bands_equals_the_whole():
    sample = synthetic.make((31, 37), bands=6, seed=3)
    survey = surveyed(sample.scene, sample.guide, SurveyOptions(4, model=load_model("regression")))
    fit = survey.model_state.fit
    mixture = np.zeros_like(fit.mixture)
    mixture[:, [index_of(c) for c in candidates.MULTIBAND]] = 1 / len(candidates.MULTIBAND)
    state = replace(survey.model_state, fit=replace(fit, mixture=mixture))
    lines = replace(survey, model_state=state)
    whole, _ = product(sample.scene, sample.guide, lines)
    tiled, _ = product(sample.scene, sample.guide, lines, tile=16)
    np.testing.assert_allclose(tiled, whole, atol=1e-5 * np.ptp(sample.scene))


# ---- one more candidate ------------------------------------------------------------------


@dataclass(frozen=True)
class Interpolated:
    """The components as bicubic interpolation gives them."""

    def fit(self, inputs: RegressionInputs) -> candidates.FittedCandidate:
        return candidates.FittedCandidate(torch.zeros_like(inputs.scene_wide()), intercept=inputs.components)


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> int:
    """Add a candidate, as its author would: one entry before the last; return its index."""
    *guided, unguided = candidates.CANDIDATES
    monkeypatch.setattr(candidates, "CANDIDATES", (*guided, Interpolated(), unguided))
    return len(guided)


def test_a_new_candidate_is_a_class_and_an_entry(one_more):
    inputs = regression_inputs()
    estimate = candidates.fit_mixture(inputs, only(one_more, 4)).evaluate(0, 4)
    torch.testing.assert_close(estimate, inputs.operator.upsample(inputs.components))


def test_survey_product_and_uncertainty_use_a_new_candidate(one_more):
    sample = synthetic.make((31, 37), bands=6, seed=3)
    survey = surveyed(sample.scene, sample.guide, SurveyOptions(4, uncertainty=True, model=load_model("regression")))
    mixture = survey.model_state.fit.mixture
    assert mixture.shape[1] == one_more + 2
    assert mixture[:, one_more].max() > 0
    again = Survey.from_json(json.loads(json.dumps(to_json(survey))), load_model("regression"))
    whole, _ = product(sample.scene, sample.guide, again)
    tiled, _ = product(sample.scene, sample.guide, again, tile=16)
    np.testing.assert_allclose(tiled, whole, atol=1e-5 * np.ptp(sample.scene))
