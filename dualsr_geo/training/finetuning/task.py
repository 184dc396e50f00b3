"""The lesson of a scene's own Wald pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from dualsr_geo.models.networks.guided import ORIENTATIONS, GuidedNetwork
from dualsr_geo.training.finetuning.training_pairs import Pair
from dualsr_geo.training.guided_task import Prepared, draw_anchors, sample_loss

# Samples of a step, and how often one is of the scene's own ratio; the others are of ratio 2.
SAMPLES, OWN_SHARE = 2, 0.75
# Planes of the bands beside an anchor, which change places where the bands' order is reversed.
NEIGHBOURS = (12, 13)


@dataclass(frozen=True)
class Drawn:
    """Some anchors of a pair.

    Attributes
    ----------
    prepared : Prepared
    learned : Tensor of bool, shape (Y, X)
        Where the loss counts.
    way : (int, bool)
        How the network sees it laid: quarter turns, and whether columns are reversed.
    """

    prepared: Prepared
    learned: Tensor
    way: tuple[int, bool]


@dataclass(frozen=True)
class FinetuningTask:
    """What the network is to learn of scenes' own Wald pairs.

    Attributes
    ----------
    pairs : sequence of Pair
    begin : mapping of str to Tensor
        Weights to begin with.
    seed : int
    """

    pairs: Sequence[Pair]
    begin: Mapping[str, Tensor]
    seed: int = 0

    def network(self) -> GuidedNetwork:
        """Return the network with the weights that it begins with."""
        return GuidedNetwork.of(self.begin)

    def batch(self, step: int) -> list[Drawn]:
        """Return some anchors of some pairs."""
        rng = np.random.default_rng((self.seed, step))
        return [self._drawn(rng) for _ in range(SAMPLES)]

    def loss(self, network: nn.Module, batch: Sequence[Drawn]) -> Tensor:
        """Return how wrong the corrected start is where it is learned, in units of the start's own error."""
        return torch.stack([_wrongness(network, one) for one in batch]).mean()

    def _drawn(self, rng: np.random.Generator) -> Drawn:
        own = rng.random() < OWN_SHARE
        some = [p for p in self.pairs if p.own == own] or self.pairs
        pair = some[int(rng.integers(len(some)))]
        one = draw_anchors(rng, pair.prepared)
        if rng.random() < 0.5:
            one = replace(one, seen=replace(one.seen, planes=reordered(one.seen.planes)))
        return Drawn(one, pair.learned, ORIENTATIONS[int(rng.integers(len(ORIENTATIONS)))])

    def validate(self, network: nn.Module) -> dict[str, dict[str, float]]:  # noqa: ARG002  # the protocol's
        """Return nothing: held-out blocks are for choosing and judging."""
        return {}


def _wrongness(network: nn.Module, one: Drawn) -> Tensor:
    def answer(planes: Tensor, constants: Tensor, ratio: int) -> tuple[Tensor, Tensor]:
        return laid(network, planes, constants, ratio, one.way)

    return sample_loss(answer, one.prepared, one.learned)


def reordered(planes: Tensor) -> Tensor:
    """Return what the network is shown where the bands' order is reversed."""
    order = list(range(planes.shape[1]))
    for to, source in zip(NEIGHBOURS, NEIGHBOURS[::-1], strict=True):
        order[to] = source
    return planes[:, order]


def laid(
    network: nn.Module, planes: Tensor, constants: Tensor, ratio: int, way: tuple[int, bool]
) -> tuple[Tensor, Tensor]:
    """Ask the network with its planes turned and mirrored; a pair's blur has the same gain along y and x."""
    turns, mirrored = way
    turned = torch.rot90(planes, turns, (2, 3))
    logits, residual = network(turned.flip(3) if mirrored else turned, constants, ratio)
    made = torch.cat([logits, residual[:, None]], 1)
    made = torch.rot90(made.flip(3) if mirrored else made, -turns, (2, 3))
    return made[:, :-1], made[:, -1]
