"""What a network is to learn, as the training loop sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn


class TrainingTask(Protocol):
    """Makes a network, its samples, and says how wrong it is.

    All randomness comes from the lesson's own seed and the step, so that a run that was interrupted
    goes on as if it had not been.
    """

    def network(self) -> nn.Module:
        """Return the network before its first step; the same weights for the same seed."""

    def batch(self, step: int) -> Any:  # what `loss` takes; the loop only hands it on
        """Return the samples of one step."""

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return how wrong the network is, a scalar that can be differentiated."""

    def validate(self, network: nn.Module) -> Mapping[str, Mapping[str, float]]:
        """Return scores of each validation scene, such as ``{"sponges": {"psnr": 50.1, "sam": 1.2}}``."""


@dataclass(frozen=True)
class Begun:
    """A lesson that begins with weights learned before.

    Attributes
    ----------
    lesson : TrainingTask
    weights : mapping of str to Tensor
        Of its network.
    """

    lesson: TrainingTask
    weights: Mapping[str, Tensor]

    def network(self) -> nn.Module:
        """Return the network with these weights."""
        network = self.lesson.network()
        network.load_state_dict(dict(self.weights))
        return network

    def batch(self, step: int) -> Any:  # as the lesson made it
        """Return the samples of one step."""
        return self.lesson.batch(step)

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return how wrong the network is."""
        return self.lesson.loss(network, batch)

    def validate(self, network: nn.Module) -> Mapping[str, Mapping[str, float]]:
        """Return scores of each validation scene."""
        return self.lesson.validate(network)
