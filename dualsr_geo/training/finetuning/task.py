"""Training task of fine-tuning: the guided network on Wald pairs of a scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from dualsr_geo.models.guided_correction import NetworkInput
from dualsr_geo.models.networks.guided import ORIENTATIONS, GuidedNetwork
from dualsr_geo.training.finetuning.training_pairs import TrainingPair
from dualsr_geo.training.tasks.guided_samples import GuidedSample, sample_loss

# Samples of a step, and the share of those of the scene's own ratio; the others are of ratio 2.
SAMPLES_PER_STEP, OWN_RATIO_SHARE = 2, 0.75
# Most hr pixels of a sample in a step, anchors times pixels; bounds time and memory of a step.
MAX_SAMPLE_PX = 65536
# Planes of the two neighbours of an anchor, which are swapped if the order of the bands is reversed.
NEIGHBOUR_PLANES = (12, 13)


@dataclass(frozen=True)
class FinetuningSample:
    """Some anchors of a Wald pair.

    Attributes
    ----------
    sample : GuidedSample
    mask : Tensor of bool, shape (Y, X)
        Pixels that the loss counts.
    orientation : (int, bool)
        Of the network's input: quarter turns, and whether columns are reversed.
    """

    sample: GuidedSample
    mask: Tensor
    orientation: tuple[int, bool]


@dataclass(frozen=True)
class FinetuningTask:
    """Training of the guided network on Wald pairs of scenes.

    Attributes
    ----------
    pairs : sequence of TrainingPair
    begin : mapping of str to Tensor
        Weights before the first step.
    seed : int
    """

    pairs: Sequence[TrainingPair]
    begin: Mapping[str, Tensor]
    seed: int = 0

    def network(self) -> GuidedNetwork:
        """Return the network with the weights before the first step."""
        return GuidedNetwork.of(self.begin)

    def batch(self, step: int) -> list[FinetuningSample]:
        """Return some anchors of some pairs."""
        rng = np.random.default_rng((self.seed, step))
        return [self._draw(rng) for _ in range(SAMPLES_PER_STEP)]

    def loss(self, network: nn.Module, batch: Sequence[FinetuningSample]) -> Tensor:
        """Return the error of the corrected start, outside held-out blocks, in units of the start's own error."""
        return torch.stack([_loss(network, sample) for sample in batch]).mean()

    def _draw(self, rng: np.random.Generator) -> FinetuningSample:
        own = rng.random() < OWN_RATIO_SHARE
        candidates = [p for p in self.pairs if p.own_ratio == own] or self.pairs
        pair = candidates[int(rng.integers(len(candidates)))]
        sample = _some_anchors(rng, pair.sample)
        if rng.random() < 0.5:
            sample = replace(sample, network_input=_reversed(sample.network_input))
        return FinetuningSample(sample, pair.mask, ORIENTATIONS[int(rng.integers(len(ORIENTATIONS)))])

    def validate(self, network: nn.Module) -> dict[str, dict[str, float]]:  # noqa: ARG002  # the protocol's
        """Return no scores: the held-out blocks are scored by `holdout`."""
        return {}


def _some_anchors(rng: np.random.Generator, sample: GuidedSample) -> GuidedSample:
    """Draw some anchors of a sample, so that steps are of similar size."""
    count = int(np.clip(MAX_SAMPLE_PX // sample.lacking[0].numel(), 1, len(sample.anchors)))
    rows = np.sort(rng.choice(len(sample.anchors), count, replace=False))
    return sample.rows(torch.from_numpy(rows))


def _loss(network: nn.Module, sample: FinetuningSample) -> Tensor:
    def oriented(planes: Tensor, constants: Tensor, ratio: int, *, relations: Tensor) -> tuple[Tensor, Tensor]:
        return run_oriented(network, planes, constants, ratio, sample.orientation, relations)

    return sample_loss(oriented, sample.sample, sample.mask)


def _reversed(given: NetworkInput) -> NetworkInput:
    return replace(given, planes=reversed_bands(given.planes))


def reversed_bands(planes: Tensor) -> Tensor:
    """Return the planes (anchor, plane, Y, X) of a scene whose bands are in reverse order."""
    order = list(range(planes.shape[1]))
    for to, source in zip(NEIGHBOUR_PLANES, NEIGHBOUR_PLANES[::-1], strict=True):
        order[to] = source
    return planes[:, order]


def run_oriented(
    network: nn.Module,
    planes: Tensor,
    constants: Tensor,
    ratio: int,
    orientation: tuple[int, bool],
    relations: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the output of a network for rotated and mirrored planes, turned back.

    The gains among the constants are not swapped: the blur of a pair is the same along y and x.
    """
    turns, mirrored = orientation
    rotated = torch.rot90(planes, turns, (2, 3))
    logits, residual = network(rotated.flip(3) if mirrored else rotated, constants, ratio, relations=relations)
    output = torch.cat([logits, residual[:, None]], 1)
    output = torch.rot90(output.flip(3) if mirrored else output, -turns, (2, 3))
    return output[:, :-1], output[:, -1]
