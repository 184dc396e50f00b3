"""Checkpoints in the authors' layout: what is refused, by name, and how layers are folded."""

from __future__ import annotations

import finenet
import published_networks as slow
import pytest
import torch
from torch import nn

from dualsr_geo.errors import InputError
from dualsr_geo.models.networks import coarsenet, coarsr
from dualsr_geo.models.networks.published_checkpoint import Reader

CASES = {
    "coarsr": (coarsr, slow.state_coarsr(4, 4, batch_norm=True)),
    "coarsenet": (coarsenet, slow.state_coarsenet(4)),
    "finenet": (finenet, slow.state_finenet(4, 3, 8)),
}


@pytest.mark.parametrize("name", CASES)
def test_weights_are_converted_with_and_without_prefix(name):
    module, state = CASES[name]
    bare = {k.removeprefix("module."): v for k, v in state.items()}
    for key, value in module.from_published(bare).items():
        assert torch.equal(module.from_published(state)[key], value)
        assert value.dtype == torch.float32


@pytest.mark.parametrize("name", CASES)
def test_every_entry_is_needed(name):
    module, state = CASES[name]
    for key in list(state)[:: max(1, len(state) // 40)]:
        rest = {k: v for k, v in state.items() if k != key}
        with pytest.raises(InputError):
            module.from_published(rest)


@pytest.mark.parametrize("name", CASES)
def test_an_entry_without_place_is_named(name):
    module, state = CASES[name]
    with pytest.raises(InputError, match=r"1 entries of the checkpoint have no place.*extra\.bias"):
        module.from_published({**state, "module.extra.bias": torch.zeros(3)})


def test_a_weight_of_another_shape_is_named():
    state = dict(CASES["coarsenet"][1])
    state["module.spe_head.weight"] = torch.zeros(4, 2, 3, 3)
    with pytest.raises(InputError, match=r"previous_head\.weight is \(4, 2, 3, 3\), not \(4, 1, 3, 3\)"):
        coarsenet.from_published(state)


def test_values_that_are_not_finite_are_named():
    state = dict(CASES["finenet"][1])
    state["module.Conv2.bias"] = torch.full((8,), torch.nan)
    with pytest.raises(InputError, match=r"Conv2\.bias.*not finite"):
        finenet.from_published(state)


def test_batch_normalisation_is_folded_as_torch_evaluates_it():
    torch.manual_seed(0)
    layer, norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)
    norm(torch.rand(2, 5, 6, 7) * 4 + 1)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    state = {f"a.{k}": v for k, v in layer.state_dict().items()} | {f"b.{k}": v for k, v in norm.state_dict().items()}
    reader = Reader(state)
    weight, bias = reader.normalised("a", "b")
    reader.finish()
    x = torch.rand(1, 3, 8, 9)
    result = nn.functional.conv2d(x, weight.float(), bias.float())
    torch.testing.assert_close(result, norm.eval()(layer(x)))
