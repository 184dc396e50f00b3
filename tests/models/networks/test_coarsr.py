"""CoarSR: against the recorded results, against a slow implementation, and its promises."""

from __future__ import annotations

import copy

import published_networks as slow
import pytest
import torch

from dualsr_geo.errors import InputError, ScaleError
from dualsr_geo.models.networks import coarsr
from dualsr_geo.models.networks.coarsr import HALO_LR_PX, CoarSR, checkpoint_sizes, from_published, neighbours

recorded = pytest.mark.skipif(not slow.PARITY.is_dir(), reason=f"{slow.PARITY} is absent")


def imported_network(state, **options) -> CoarSR:
    sizes = checkpoint_sizes(state)
    network = CoarSR(sizes.ratio, sizes.width, **options)
    network.load_state_dict(from_published(state))
    return network.eval()


def cube(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@recorded
@pytest.mark.data
@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("ratio", [2, 4])
def test_recorded_answers(ratio, published):
    state, arrays = slow.parity(f"dualsr_coarsr_x{ratio}")
    assert checkpoint_sizes(state).batch_norm
    network = imported_network(state, published=published)
    with torch.inference_mode():
        answer = network(arrays["lr"])
    assert (answer - arrays["sr_published" if published else "sr"]).abs().max() < 1e-5
    assert (network._smooth(arrays["lr"]) - arrays["bicubic"]).abs().max() < 1e-5


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(("ratio", "width", "published"), [(2, 64, False), (3, 8, True), (4, 16, False), (8, 6, True)])
def test_the_slow_statement(ratio, width, published, batch_norm):
    state = slow.state_coarsr(ratio, width, batch_norm=batch_norm, seed=ratio)
    sizes = checkpoint_sizes(state)
    assert (sizes.ratio, sizes.width, sizes.batch_norm) == (ratio, width, batch_norm)
    lr = cube(2, 6, 7, 5)
    with torch.inference_mode():
        answer = imported_network(state, published=published)(lr)
    wanted = slow.coarsr(state, lr, ratio, published=published)
    assert wanted.std() > 0.01
    assert (answer - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("count", [5, 6, 7, 31])
def test_neighbours_are_those_of_the_list(count):
    for i, (itself, *others) in enumerate(neighbours(count)):
        left, right = slow.pairs(i, count)
        assert itself == i
        assert others == [left[1], right[0], left[0], right[1]]
        assert len({itself, *others}) == 5
        assert all(0 <= k < count for k in others)
    assert {tuple(k[1:]) for k in neighbours(count, published=True)} == {(1, 2, 3, 4)}


def test_the_two_readings_agree_on_band_0_only():
    state = slow.state_coarsr(2, 8, batch_norm=False)
    lr = cube(1, 7, 6, 9)
    with torch.inference_mode():
        difference = (imported_network(state)(lr) - imported_network(state, published=True)(lr)).abs().amax((0, 2, 3))
    assert difference[0] == 0
    assert (difference[1:] > 1e-4).all()


def test_streaming_is_forward_and_a_batch_is_its_tiles():
    network = imported_network(slow.state_coarsr(3, 6, batch_norm=False))
    lr = cube(3, 6, 7, 9)
    with torch.inference_mode():
        batch = network(lr)
        for tile, one in enumerate(lr):
            bands = list(network.stream(one))
            assert [b.shape for b in bands] == [(21, 27)] * 6
            torch.testing.assert_close(torch.stack(bands), batch[tile])


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_how_many_bands_go_together_does_not_matter(monkeypatch, at_once):
    network = imported_network(slow.state_coarsr(2, 6, batch_norm=False))
    lr = cube(2, 7, 8, 9)
    with torch.inference_mode():
        together = network(lr)
        monkeypatch.setitem(coarsr.MAX_PX_TOGETHER, "cpu", at_once * 2 * 8 * 9)
        counts = []
        network.heads[0].register_forward_hook(lambda _, values, __: counts.append(len(values[0])))
        torch.testing.assert_close(network(lr), together)
    assert max(counts) == at_once * 2


@pytest.mark.parametrize("ratio", [2, 3, 8])
def test_a_tile_with_the_halo_is_the_whole(ratio):
    network = imported_network(slow.state_coarsr(ratio, 4, batch_norm=False))
    lr = cube(1, 5, 61, 53)
    with torch.inference_mode():
        whole = network(lr)
        tile = network(lr[..., 30 - HALO_LR_PX : 33 + HALO_LR_PX, 25 - HALO_LR_PX : 27 + HALO_LR_PX])
    core = tile[..., ratio * HALO_LR_PX : -ratio * HALO_LR_PX, ratio * HALO_LR_PX : -ratio * HALO_LR_PX]
    wanted = whole[..., ratio * 30 : ratio * 33, ratio * 25 : ratio * 27]
    assert core.shape == wanted.shape
    assert (core - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("ratio", [2, 3, 4, 8])
def test_it_sees_as_far_as_the_halo_and_no_farther(ratio):
    torch.manual_seed(0)
    network = CoarSR(ratio, 4).double()
    lr = cube(1, 5, 1, 2 * HALO_LR_PX + 21).double().requires_grad_()
    band = network(lr)[0, 2, 0]
    (pull,) = torch.autograd.grad(band[(HALO_LR_PX + 10) * ratio], lr)
    influences = torch.nonzero(pull.abs().sum((0, 1, 2))).flatten()
    reach = int((influences - HALO_LR_PX - 10).abs().max())
    assert HALO_LR_PX - 2 < reach <= HALO_LR_PX


@pytest.mark.parametrize(
    ("ratio", "width", "published"), [(2, 64, False), (4, 64, True), (4, 16, False), (2, 16, True)]
)
def test_bfloat16_within_a_thousandth_of_the_range(ratio, width, published):
    torch.manual_seed(ratio)
    network = CoarSR(ratio, width, published=published)
    lr = cube(1, 6, 15, 12)
    with torch.inference_mode():
        answer = network(lr)
        lowered = copy.deepcopy(network).lowered()(lr)
    assert lowered.dtype == torch.float32
    assert 0 < (lowered - answer).abs().max() < 1e-3 * (answer.max() - answer.min())


def test_gradients_reach_every_weight():
    network = CoarSR(2, 4)
    network(cube(1, 5, 6, 6)).square().sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


def test_what_does_not_fit():
    with pytest.raises(ScaleError, match="2, 3, 4, 8 times, not 5"):
        CoarSR(5, 4)
    with pytest.raises(InputError, match="5 bands at a time, the scene has 4"):
        CoarSR(2, 4)(cube(1, 4, 6, 6))
    with pytest.raises(InputError, match="not of CoarSR of DualSR"):
        from_published(slow.state_coarsenet(4))
    state = slow.state_coarsr(4, 4, batch_norm=False)
    state["module.tail.0.2.bias"] = torch.zeros(20)
    with pytest.raises(InputError, match=r"\[16, 20\] channels at width 4"):
        checkpoint_sizes(state)
