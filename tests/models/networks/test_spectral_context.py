"""The exchange of features between anchors: nothing at first, in any order, for any number of anchors."""

from __future__ import annotations

import pytest
import torch
from guided_cases import random_guided_network, random_inputs, random_relations
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.models.networks.spectral_context import RELATIONS, SpectralContext, relation_features


def features_of(anchors: int, width: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(anchors, width, 5, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_context(width: int = 6) -> SpectralContext:
    context = SpectralContext(width).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in context.parameters():
            value.copy_(torch.randn(value.shape, generator=generator, dtype=torch.float64))
    return context


@given(st.integers(1, 9))
@settings(max_examples=6, deadline=None)
@torch.inference_mode()
def test_an_untrained_layer_adds_nothing(anchors):
    features = features_of(anchors)
    assert torch.equal(SpectralContext(6).double()(features.clone(), random_relations(anchors).double()), features)


@given(st.permutations(range(5)))
@settings(max_examples=6, deadline=None)
@torch.inference_mode()
def test_the_order_of_the_anchors_does_not_matter(order):
    features, relations, context = features_of(5), random_relations(5).double(), random_context()
    mixed = context(features.clone(), relations)
    torch.testing.assert_close(context(features[order], relations[order][:, order]), mixed[order])


@torch.inference_mode()
def test_without_relations_each_anchor_is_mixed_with_itself():
    features, context = features_of(3), random_context()
    apart = torch.cat([context(features[i : i + 1].clone(), random_relations(1).double()) for i in range(3)])
    torch.testing.assert_close(context(features.clone(), None), apart)


@torch.inference_mode()
def test_the_mixture_is_a_mean_with_the_weights_of_the_equation():
    features, relations, context = features_of(4), random_relations(4).double(), random_context()
    weights = torch.softmax(relations @ context.score.weight.T + context.score.bias, 1)
    exchanged = (torch.einsum("ec,acyx->aeyx", context.down.weight[..., 0, 0], features)
                 + context.down.bias[:, None, None]).relu()  # fmt: skip
    mixed = torch.cat([torch.einsum("ij,jeyx->ieyx", weights[..., k], exchanged) for k in range(2)], 1)
    added = torch.einsum("ce,aeyx->acyx", context.up.weight[..., 0, 0], mixed) + context.up.bias[:, None, None]
    torch.testing.assert_close(context(features.clone(), relations), features + added)


def test_relations_are_correlations_and_their_absolute_values():
    correlations = torch.tensor([[[1.0, -0.5], [-0.5, 1.0]], [[1.0, 0.2], [0.2, 1.0]]])
    relations = relation_features(correlations)
    assert relations.shape == (2, 2, RELATIONS)
    torch.testing.assert_close(relations[0, 1], torch.tensor([-0.5, 0.5, 0.2, 0.2]))


@torch.inference_mode()
def test_another_anchor_changes_the_answer_of_a_joint_network_only():
    planes, constants = random_inputs(3, 16, 18)
    other = planes.clone()
    other[2] += 1
    relations = random_relations(3)
    for contexts in (0, 2):
        network = random_guided_network(depth=2, contexts=contexts)
        before, after = (network(p, constants, 4, relations=relations)[1][:2] for p in (planes, other))
        assert network.is_joint == (contexts > 0)
        assert torch.equal(before, after) == (contexts == 0)


@pytest.mark.parametrize("contexts", [0, 1, 3])
def test_the_sizes_of_a_network_are_read_from_its_weights(contexts):
    network = GuidedNetwork(8, 3, contexts)
    again = GuidedNetwork.of(network.state_dict())
    assert (again.width, again.depth, len(again.contexts)) == (8, 3, contexts)


@torch.inference_mode()
def test_fused_layers_equal_those_with_autograd():
    network, (planes, constants) = random_guided_network(depth=2, contexts=2), random_inputs(3, 30, 22)
    with torch.enable_grad():
        plain = network(planes.clone(), constants.clone(), 4, relations=random_relations(3))
    fused = network(planes, constants, 4, relations=random_relations(3))
    for a, b in zip(plain, fused, strict=True):
        torch.testing.assert_close(b, a.detach(), rtol=0, atol=1e-5 * float(a.detach().abs().max()))
