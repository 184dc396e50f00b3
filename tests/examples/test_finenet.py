"""FineNet: against the recorded results, against a slow implementation, and what a fit does."""

from __future__ import annotations

import published_networks as slow
import pytest
import torch
from finenet import (
    AS_CODE,
    AS_TABLE,
    Blur,
    Design,
    FineNet,
    Refinement,
    checkpoint_sizes,
    fit,
    from_published,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.errors import InputError, OptionError

recorded = pytest.mark.skipif(not slow.PARITY.is_dir(), reason=f"{slow.PARITY} is absent")
SMALL = Design(8, 3, 21, shared=True)


def imported_network(state, ratio) -> FineNet:
    sizes = checkpoint_sizes(state)
    design = Design(sizes.width, 3, 21, shared=True)
    network = FineNet(sizes.bands, sizes.guide_bands, ratio, design, published=True)
    network.load_state_dict(from_published(state))
    return network


@recorded
@pytest.mark.data
def test_recorded_answers():
    state, arrays = slow.parity("sfpn_finenet_x4")
    network = FineNet(31, 3, 4, AS_CODE, published=True)
    network.load_state_dict(from_published(state))
    with torch.inference_mode():
        fine, degraded = network(arrays["coarse"], arrays["rgb"])
    assert (fine - arrays["fine"]).abs().max() < 1e-5
    assert (degraded - arrays["degraded"]).abs().max() < 1e-5


@pytest.mark.parametrize(("bands", "guide_bands", "width", "ratio"), [(7, 1, 64, 3), (4, 4, 8, 8), (5, 3, 192, 2)])
def test_the_slow_statement(bands, guide_bands, width, ratio):
    state = slow.state_finenet(bands, guide_bands, width)
    coarse, guide = torch.rand(2, bands, 4 * ratio, 3 * ratio), torch.rand(2, guide_bands, 4 * ratio, 3 * ratio)
    with torch.inference_mode():
        answer = imported_network(state, ratio)(coarse, guide)
    for ours, wanted in zip(answer, slow.finenet(state, coarse, guide, ratio), strict=True):
        assert (ours - wanted).abs().max() < 1e-5


@given(
    ratio=st.integers(2, 32),
    kernel=st.integers(9, 33),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    shared=st.booleans(),
    published=st.booleans(),
)
@settings(max_examples=40)
def test_the_degraded_image_lies_on_the_scenes_grid(ratio, kernel, rows, columns, shared, published):
    blur = Blur(3, ratio, kernel, shared=shared, published=published)
    with torch.inference_mode():
        assert blur(torch.rand(2, 3, rows * ratio, columns * ratio)).shape == (2, 3, rows, columns)
        flat = blur(torch.ones(1, 3, rows * ratio, columns * ratio)) - blur.bias.reshape(1, -1, 1, 1)
    torch.testing.assert_close(flat, torch.ones_like(flat))


@pytest.mark.parametrize(("ratio", "kernel"), [(2, 21), (3, 21), (4, 21), (8, 21), (8, 32), (32, 32)])
def test_the_first_blur_is_centred_unless_published(ratio, kernel):
    size = 12 * ratio
    ramp = torch.arange(size, dtype=torch.float32).expand(1, 1, size, size)
    centres = (torch.arange(12) + 0.5) * ratio - 0.5
    inner = slice(4, 8)
    with torch.inference_mode():
        degraded = Blur(1, ratio, kernel, shared=True, published=False)(ramp)[0, 0, 6]
        assert (degraded - centres)[inner].abs().max() < 0.05
        published = Blur(1, ratio, kernel, shared=True, published=True)
        off = (published(ramp) - published.bias)[0, 0, 6] - centres
    assert off[inner].abs().min() > 0.5


def test_the_designs_have_the_weights_of_code_and_table():
    def count(network):
        return sum(w.numel() for w in network.parameters())

    code = FineNet(31, 3, 8, AS_CODE)
    gains = 192 + 192 + 31  # weight normalisation, folded here
    assert count(code) + gains == 444_926 + 442
    table = FineNet(31, 3, 8, AS_TABLE)
    assert [tuple(layer.weight.shape[:2]) for layer in table.layers] == [(128, 34), (128, 128), (128, 128), (31, 128)]
    assert table.blur.weight.shape == (31, 1, 32, 32)


@pytest.fixture(scope="module")
def scene():
    """A smooth scene, its guide and what the sensor saw, and a coarse result that is too bright."""
    y, x = torch.meshgrid(torch.linspace(0, 3, 24), torch.linspace(0, 4, 32), indexing="ij")
    truth = torch.stack([0.4 + 0.2 * torch.sin(x + k) * torch.cos(y) for k in range(5)])
    srf = torch.tensor([[0.5, 0.5, 0, 0, 0], [0, 0.2, 0.6, 0.2, 0], [0, 0, 0, 0.5, 0.5]])
    guide = torch.einsum("gb,byx->gyx", srf, truth)
    with torch.inference_mode():
        observed = Blur(5, 4, 21, shared=True, published=False)(truth[None])[0]
    return {"coarse": truth + 0.1, "guide": guide, "observed": observed.clone(), "srf": srf}, truth


def test_a_fit_is_the_same_each_time_and_leaves_the_random_state_alone(scene):
    given, _ = scene
    how = Refinement(iterations=3)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = fit(**given, ratio=4, design=SMALL, how=how)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(fit(**given, ratio=4, design=SMALL, how=how), first)
    assert not torch.equal(fit(**given, ratio=4, design=SMALL, how=how, seed=1), first)
    assert not torch.equal(fit(**given, ratio=4, design=SMALL, how=how, published=True), first)
    with torch.inference_mode():
        assert torch.equal(fit(**given, ratio=4, design=SMALL, how=how), first)


@pytest.mark.parametrize("design", [SMALL, Design(8, 4, 32, shared=False)])
def test_a_fit_explains_guide_and_scene(scene, design):
    given, truth = scene
    how = Refinement(iterations=150, rate=2e-3)
    fine = fit(**given, ratio=4, design=design, how=how)
    assert (fine - truth).abs().mean() < 0.5 * (given["coarse"] - truth).abs().mean()


def test_one_iteration_is_the_first_estimate(scene):
    given, _ = scene
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = FineNet(5, 3, 4, SMALL)
    with torch.inference_mode():
        wanted, _ = network(given["coarse"][None], given["guide"][None])
    result = fit(**given, ratio=4, design=SMALL, how=Refinement(iterations=1), seed=3)
    torch.testing.assert_close(result, wanted[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"srf": torch.ones(3, 4)}, r"shape \(3, 4\), but 3 guide bands see 5 bands"),
        ({"guide": torch.ones(3, 24, 30)}, "`guide` has 24 x 30 pixels, but 4 times the scene's 6 x 8 are 24 x 32"),
        ({"coarse": torch.ones(4, 24, 32)}, "`coarse` has 4 bands, the observed scene 5"),
    ],
)
def test_shapes_that_contradict_each_other(scene, change, message):
    with pytest.raises(InputError, match=message):
        fit(**(scene[0] | change), ratio=4, design=SMALL)


def test_no_iteration(scene):
    with pytest.raises(OptionError, match="0 iterations"):
        fit(**scene[0], ratio=4, how=Refinement(iterations=0))


def test_what_a_checkpoint_tells():
    sizes = checkpoint_sizes(slow.state_finenet(7, 2, 16))
    assert (sizes.ratio, sizes.width, sizes.bands, sizes.guide_bands) == (None, 16, 7, 2)
    with pytest.raises(InputError, match="lacks `hsi.Conv.weight`, so it is not of FineNet of SFPN"):
        checkpoint_sizes(slow.state_coarsenet(4))
