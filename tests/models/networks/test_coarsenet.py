"""CoarseNet: against the recorded results, against a slow implementation, and its promises."""

from __future__ import annotations

import copy

import published_networks as slow
import pytest
import torch

from dualsr_geo.errors import InputError
from dualsr_geo.models.networks import piecewise
from dualsr_geo.models.networks.alba import centred, lead_at, similar
from dualsr_geo.models.networks.coarsenet import CoarseNet, checkpoint_sizes, from_published

recorded = pytest.mark.skipif(not slow.PARITY.is_dir(), reason=f"{slow.PARITY} is absent")


def imported_network(state, ratio, **options) -> CoarseNet:
    sizes = checkpoint_sizes(state)
    network = CoarseNet(ratio, sizes.width, sizes.guide_bands, **options)
    network.load_state_dict(from_published(state))
    return network.eval()


def case(ratio, bands, height, width, guide_bands=3, tiles=1, seed=0):
    random = torch.Generator().manual_seed(seed)
    lr = torch.rand((tiles, bands, height, width), generator=random)
    return lr, torch.rand((tiles, guide_bands, ratio * height, ratio * width), generator=random)


@recorded
@pytest.mark.data
@pytest.mark.parametrize("published", [False, True])
def test_recorded_answers(published):
    state, arrays = slow.parity("sfpn_coarsenet_x4")
    suffix = "_published" if published else ""
    network = imported_network(state, 4, published=published)
    with torch.inference_mode():
        answer = network(arrays["lr"], arrays["rgb"])
        similar_blocks = similar(arrays["rgb"], network.block, published=published)
    assert (answer - arrays[f"sr{suffix}"]).abs().max() < 1e-5
    assert torch.equal(similar_blocks.index, arrays[f"index{suffix}"])
    assert (similar_blocks.cosine - arrays[f"cosine{suffix}"]).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("ratio", "width", "guide_bands", "shape", "published"),
    [
        (2, 64, 3, (7, 9), False),
        (4, 64, 3, (9, 7), True),
        (3, 16, 1, (8, 11), False),
        (8, 8, 5, (7, 6), True),
        (5, 6, 2, (10, 7), True),
    ],
)
def test_the_slow_statement(ratio, width, guide_bands, shape, published):
    state = slow.state_coarsenet(width, guide_bands, seed=ratio)
    lr, guide = case(ratio, 4, *shape, guide_bands, tiles=2)
    with torch.inference_mode():
        answer = imported_network(state, ratio, published=published)(lr, guide)
    wanted = slow.coarsenet(state, lr, guide, ratio, published=published)
    assert wanted.std() > 0.01
    assert (answer - wanted).abs().max() < 1e-5


def test_the_two_readings_differ_where_they_must():
    state = slow.state_coarsenet(16)
    lr, guide = case(4, 3, 12, 12)
    with torch.inference_mode():
        difference = (
            imported_network(state, 4)(lr, guide) - imported_network(state, 4, published=True)(lr, guide)
        ).abs()
    assert difference.max() > 1e-4


def test_streaming_is_forward_and_a_batch_is_its_tiles():
    network = imported_network(slow.state_coarsenet(8), 2)
    lr, guide = case(2, 5, 7, 9, tiles=3)
    with torch.inference_mode():
        batch = network(lr, guide)
        for tile, (cube, image) in enumerate(zip(lr, guide, strict=True)):
            bands = list(network.stream(cube, image))
            assert [b.shape for b in bands] == [(14, 18)] * 5
            torch.testing.assert_close(torch.stack(bands), batch[tile])


def test_bands_that_were_handed_out_stay(monkeypatch):
    monkeypatch.setattr(piecewise, "PIECE_SIDE_PX", 12)
    network = imported_network(slow.state_coarsenet(4), 2)
    lr, guide = case(2, 6, 15, 20)
    with torch.inference_mode():
        bands, copies = [], []
        for band in network.bands(lr, guide):
            bands.append(band)
            copies.append(band.clone())
    for band, earlier in zip(bands, copies, strict=True):
        assert torch.equal(band, earlier)


@pytest.mark.parametrize("lowered", [False, True])
def test_large_tiles_in_pieces_are_the_whole(monkeypatch, lowered):
    network = imported_network(slow.state_coarsenet(8), 2)
    if lowered:
        network.lowered()
    lr, guide = case(2, 5, 23, 31, tiles=2)
    with torch.inference_mode():
        whole = network(lr, guide)
        run = piecewise.Workspace.run

        def small(self, name, step, reach, *inputs, **options):
            return run(self, name, step, reach, *inputs, **(options | {"side": 20}))

        monkeypatch.setattr(piecewise.Workspace, "run", small)
        # Sums of another order round bfloat16 otherwise.
        assert (network(lr, guide) - whole).abs().max() < (1e-3 if lowered else 1e-5)


@pytest.mark.parametrize(("width", "seed", "published"), [(64, 0, False), (64, 1, True), (16, 0, True), (16, 1, False)])
def test_bfloat16_within_a_thousandth(width, seed, published):
    network = imported_network(slow.state_coarsenet(width, seed=seed), 4, published=published)
    lr, guide = case(4, 5, 15, 12)
    with torch.inference_mode():
        answer = network(lr, guide)
        lowered = copy.deepcopy(network).lowered()(lr, guide)
    assert lowered.dtype == torch.float32
    error = (lowered - answer).abs().amax((0, 2, 3))
    assert error[0] == 0
    assert 0 < error.max() < 1e-3


def test_a_tile_with_halo_nears_the_whole():
    ratio = 2
    network = imported_network(slow.state_coarsenet(8), ratio)
    lr, guide = case(ratio, 3, 70, 61)
    scene = centred((140, 122), network.block)
    error = []
    with torch.inference_mode():
        whole = network(lr, guide)
        for halo in (0, 6, 18):
            y, x, size = 24 - halo, 21 - halo, 16 + 2 * halo
            window = slice(y, y + size), slice(x, x + size)
            fine = slice(2 * y, 2 * (y + size)), slice(2 * x, 2 * (x + size))
            lead = lead_at((2 * y, 2 * x), scene, network.block)
            tile = network(lr[:, :, *window], guide[:, :, *fine], lead)
            core = slice(2 * halo, 2 * (halo + 16))
            error.append(float((tile[..., core, core] - whole[..., 48:80, 42:74]).abs().max()))
    assert error[0] > 1e-2 > error[1] > error[2]
    assert error[2] < 1e-5


def test_bands_are_cut_to_the_range_before_they_lead_on():
    state = slow.state_coarsenet(8)
    state["module.hsi_rgb_end.0.bias"] += 0.9
    lr, guide = case(2, 4, 6, 6)
    with torch.inference_mode():
        cut, free = imported_network(state, 2)(lr, guide), imported_network(state, 2, clip=None)(lr, guide)
        wide = imported_network(state, 2, clip=(-10.0, 10.0))(lr, guide)
    assert cut.max() == 1.0 < free.max()
    torch.testing.assert_close(cut[:, 0], free[:, 0].clamp(0, 1))
    assert (cut[:, 1] - free[:, 1].clamp(0, 1)).abs().max() > 1e-4
    assert torch.equal(wide, free)


def test_gradients_reach_every_weight():
    network = imported_network(slow.state_coarsenet(4), 2, clip=None)
    network(*case(2, 3, 6, 6)).square().sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("bands", "guide_bands", "grid", "message"),
    [
        (2, 3, (12, 12), "3 bands at a time, the scene has 2"),
        (4, 1, (12, 12), "guide has 1 bands, the weights were trained for 3"),
        (4, 3, (12, 14), "guide has 12 x 14 pixels, but 2 times the scene's 6 x 6 are 12 x 12"),
    ],
)
def test_input_that_does_not_fit(bands, guide_bands, grid, message):
    network = CoarseNet(2, 4)
    with pytest.raises(InputError, match=message):
        network(torch.rand(1, bands, 6, 6), torch.rand(1, guide_bands, *grid))


def test_what_a_checkpoint_tells():
    sizes = checkpoint_sizes(slow.state_coarsenet(12, 4))
    assert (sizes.ratio, sizes.width, sizes.guide_bands) == (None, 12, 4)
    with pytest.raises(InputError, match="not of CoarseNet of SFPN"):
        checkpoint_sizes(slow.state_coarsr(2, 4, batch_norm=False))


def test_a_third_unit_is_refused():
    state = slow.state_coarsenet(4)
    state["module.inter_body.2.unit_hsi_1.m.0.bias"] = torch.zeros(4)
    with pytest.raises(InputError, match=r"1 entries of the checkpoint have no place.*inter_body\.2"):
        from_published(state)
