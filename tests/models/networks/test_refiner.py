"""SFPN's fine stage on crops: what a fit does, when it stops, and how far it may go."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.models.networks import refiner
from dualsr_geo.models.networks.refiner import (
    EVALUATION_STEPS,
    HELD_OUT_EVERY,
    MAX_CORRECTION_ERRORS,
    PATIENCE_EVALUATIONS,
    Crop,
    Refiner,
    apply,
    fit,
    losses,
)

RATIO = 3
RESPONSE = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.4, 0.6]])
ERROR = torch.tensor([0.3, 0.3, 0.3])


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Fits of few steps: the tests do not depend on their number."""
    monkeypatch.setattr(refiner, "MAX_STEPS", 80)


def crop(seed: int, *, wrong: float = 0.2, side: int = 6) -> Crop:
    """A crop whose start lacks a texture that the guide shows."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(3, side * RATIO, side * RATIO, generator=generator)
    texture = torch.randn(3, side * RATIO, side * RATIO, generator=generator)
    missed = wrong * torch.einsum("ga,ayx->gyx", RESPONSE, texture)
    planes = torch.cat([start, torch.einsum("ga,ayx->gyx", RESPONSE, start), missed / 0.1])
    degrade = operator(Psf.from_mtf(RATIO), (side, side)).degrade
    return Crop(planes, missed, wrong * degrade(texture), torch.ones(side, side), degrade)


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_at_first_it_adds_nothing(anchors, guide_bands, height, width):
    correction = apply(Refiner(anchors, guide_bands), torch.rand(anchors + 2 * guide_bands, height, width))
    assert correction.shape == (anchors, height, width)
    assert not correction.any()


def random_network() -> Refiner:
    torch.manual_seed(3)
    network = Refiner(3, 2)
    with torch.no_grad():
        for value in network.parameters():
            value.copy_(torch.randn(value.shape))
    return network


def test_it_never_goes_farther_than_trust():
    with torch.no_grad():
        correction = apply(random_network(), 50 * torch.randn(7, 21, 34))
    assert float(correction.abs().max()) <= MAX_CORRECTION_ERRORS
    assert float(correction.abs().max()) > 0.99 * MAX_CORRECTION_ERRORS


def test_it_sees_so_far_and_no_farther():
    planes = torch.randn(7, 31, 40)
    other = planes.clone()
    other[:, 15, 20] += 1
    with torch.no_grad():
        changed = (apply(random_network(), planes) != apply(random_network(), other)).any(0).nonzero()
    far = (changed - torch.tensor([15, 20])).abs().max()
    assert int(far) == refiner.REACH_PX


def test_a_part_is_the_whole():
    network, planes, reach = random_network(), torch.randn(7, 37, 52), refiner.REACH_PX
    with torch.no_grad():
        whole = apply(network, planes)
        part = apply(network, planes[:, 5:30, 9:41])
    torch.testing.assert_close(
        part[:, reach:-reach, reach:-reach], whole[:, 5 + reach : 30 - reach, 9 + reach : 41 - reach]
    )


def test_a_fit_explains_the_guide_and_is_the_same_each_time():
    crops = [crop(k) for k in range(HELD_OUT_EVERY)]
    torch.manual_seed(9)
    before = torch.random.get_rng_state()
    first, again = (fit(crops, RESPONSE, ERROR) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.spectral[1] < 0.7 * first.spectral[0]
    assert first.steps > 0
    assert first.steps % EVALUATION_STEPS == 0
    assert all(torch.equal(first.state[k], again.state[k]) for k in first.state)
    other = fit(crops, RESPONSE, ERROR, seed=1)
    assert not torch.equal(first.state["layers.0.weight"], other.state["layers.0.weight"])
    with torch.inference_mode():
        assert torch.equal(fit(crops, RESPONSE, ERROR).state["layers.0.weight"], first.state["layers.0.weight"])


def test_a_start_that_explains_the_guide_is_not_changed():
    crops = [crop(k, wrong=0.0) for k in range(HELD_OUT_EVERY)]
    fitted = fit(crops, RESPONSE, ERROR)
    assert fitted.steps == 0
    assert fitted.spectral == (0.0, 0.0)
    assert not apply(refiner.refiner_of(fitted.state), crops[0].planes).any()


def test_a_fit_that_helps_no_longer_stops_early(monkeypatch):
    evaluations = []
    monkeypatch.setattr(refiner, "_spectral_loss", lambda *_: evaluations.append(1) or 1.0)
    assert fit([crop(0)], RESPONSE, ERROR).steps == 0
    assert len(evaluations) == 1 + PATIENCE_EVALUATIONS < refiner.MAX_STEPS // EVALUATION_STEPS


def test_a_single_crop_is_judged_by_itself():
    fitted = fit([crop(0)], RESPONSE, ERROR)
    loss = losses(refiner.refiner_of(fitted.state), crop(0), RESPONSE, ERROR)[0]
    assert float(loss.detach()) == pytest.approx(fitted.spectral[1], rel=1e-5)


def test_what_does_not_count_changes_nothing():
    one = crop(0)
    valid = torch.ones(6, 6)
    valid[2:5, 1:4] = 0
    wide = valid.repeat_interleave(RATIO, 0).repeat_interleave(RATIO, 1)
    masked = Crop(one.planes, one.guide_residual, one.scene_residual, valid, one.degrade)
    spoilt = Crop(
        one.planes,
        torch.where(wide > 0, one.guide_residual, 99.0),
        torch.where(valid > 0, one.scene_residual, -7.0),
        valid,
        one.degrade,
    )
    with torch.no_grad():
        a, b = (losses(random_network(), c, RESPONSE, ERROR) for c in (masked, spoilt))
    torch.testing.assert_close(a, b)


def test_losses_are_equation_16():
    one = crop(4)
    with torch.no_grad():
        correction = ERROR[:, None, None] * random_network()(one.planes[None])[0]
        guide, scene = losses(random_network(), one, RESPONSE, ERROR)
    assert float(guide) == pytest.approx(
        float((one.guide_residual - torch.einsum("ga,ayx->gyx", RESPONSE, correction)).abs().mean()), rel=1e-5
    )
    assert float(scene) == pytest.approx(
        0.1 * float((one.scene_residual - one.degrade(correction)).abs().mean()), rel=1e-5
    )
