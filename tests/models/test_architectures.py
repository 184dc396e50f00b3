"""The registry of architectures, and a network that is added by one file."""

from __future__ import annotations

import numpy as np
import published_networks as slow
import pytest
import torch
from torch import nn
from torch.nn import functional

from dualsr_geo.errors import InputError
from dualsr_geo.models import architectures
from dualsr_geo.models.architectures import architecture_of, recognise, register
from dualsr_geo.models.band_stream import SceneWindow, bands
from dualsr_geo.models.checkpoint_import import convert
from dualsr_geo.models.loading import load_model as load_network
from dualsr_geo.models.networks.architecture import Architecture, BandNetwork
from dualsr_geo.models.networks.published_checkpoint import CheckpointSizes, PublishedCheckpoint
from dualsr_geo.models.registry import load_model
from dualsr_geo.models.weights import Card, save
from dualsr_geo.raster.windows import Window


class Gained(BandNetwork):
    """Pixels repeated, times a learned gain."""

    def __init__(self, ratio):
        super().__init__()
        self.ratio, self.gain = ratio, nn.Parameter(torch.ones(1))

    def stream(self, cube, guide=None, lead=None):
        assert guide is None
        self.lead = lead
        return (functional.interpolate(b[None, None], scale_factor=self.ratio)[0, 0] * self.gain for b in cube)

    def lowered(self, dtype=torch.bfloat16):
        return self.to(dtype)


def built(card, tensors, published):
    network = Gained(card.ratio)
    network.load_state_dict(dict(tensors))
    return network


TOY = Architecture(
    "toy",
    build=built,
    planes=lambda width, ratio: width * ratio,
    halo=1,
    block=5,
    min_bands=2,
    checkpoint=PublishedCheckpoint(
        "Toy of nobody", "amplitude", lambda _: CheckpointSizes(3, 1), lambda state: {"gain": state["module.amplitude"]}
    ),
)


@pytest.fixture
def toy(monkeypatch):
    copy = dict(architectures._registry())
    monkeypatch.setattr(architectures, "_registry", lambda: copy)
    register(TOY)
    return TOY


def test_each_module_of_a_network_registers_it():
    assert set(architectures.architectures()) == {"coarsr", "coarsenet", "guided", "alone"}
    assert [a.id for a in architectures.architectures().values() if a.standalone] == ["coarsenet", "coarsr"]


@pytest.mark.parametrize(
    ("network", "state"),
    [("coarsr", slow.state_coarsr(4, 4, batch_norm=True)), ("coarsenet", slow.state_coarsenet(4))],
)
def test_a_checkpoint_is_recognised_with_and_without_prefix(network, state):
    assert recognise(state).id == recognise({k.removeprefix("module."): v for k, v in state.items()}).id == network


@pytest.mark.parametrize("state", [{}, {"layer.weight": torch.zeros(3)}, slow.state_finenet(4, 3, 8)])
def test_another_checkpoint_is_refused(state):
    with pytest.raises(InputError, match=f"no network known here.*of {len(state)} entries"):
        recognise(state)


def test_another_id_is_refused():
    with pytest.raises(InputError, match="no network `mine`. Give weights of coarsenet or coarsr or"):
        architecture_of("mine")


def test_an_architecture_is_added_by_one_value(toy, tmp_path):
    """Import its checkpoint, plan with its weights, build it, and run it on a window."""
    torch.save({"model": {"module.amplitude": torch.tensor([2.0])}}, tmp_path / "toy.pth")
    tensors, card = convert(tmp_path / "toy.pth")
    assert (card.network, card.ratio, card.block, card.halo) == ("toy", 3, 5, 1)
    save(tmp_path / "toy.safetensors", tensors, card)
    cube = np.random.default_rng(0).random((2, 12, 13), np.float32)
    wanted = 2 * cube.repeat(3, 1).repeat(3, 2)
    np.testing.assert_allclose(load_network(tmp_path / "toy.safetensors")(cube), wanted)
    model = load_model(tmp_path / "toy.safetensors")
    assert (model.block, model.halo, model.planes) == (5, 1, 3)
    with pytest.raises(InputError, match="reads 2 bands at a time, the scene has 1"):
        model.require_inputs(1, None)
    # 12 x 13 lr pixels lack 3 and 2 to whole blocks, of which 4 and 3 of 9 and 6 hr pixels come first.
    window = Window(3, 12, 1, 13)
    made = torch.stack(
        list(bands(model.weights, torch.from_numpy(cube)[:, 3:, 1:], None, SceneWindow(window, (12, 13))))
    )
    np.testing.assert_allclose(made.detach().numpy(), wanted[:, 9:, 3:])
    assert architectures.architectures()["toy"] is TOY


def test_an_id_is_given_once(toy):
    with pytest.raises(ValueError, match="architecture `toy` already"):
        register(toy)


def test_weights_that_do_not_fit_their_card_are_refused_in_one_line(tmp_path):
    save(tmp_path / "w.safetensors", {"a": torch.zeros(1)}, Card("coarsr", 4, 8))
    with pytest.raises(InputError, match="does not hold the weights that its card names") as caught:
        load_network(tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)
