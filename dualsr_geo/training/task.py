"""What a network learns: a protocol that the training loop uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from dualsr_geo.models.networks.guided import GuidedNetwork


class TrainingTask(Protocol):
    """Makes a network and its samples, and measures its error.

    All randomness comes from the task's own seed and the step, so a run that was interrupted
    continues as if it had not been.
    """

    def network(self) -> nn.Module:
        """Return the network before its first step; the same weights for the same seed."""

    def batch(self, step: int) -> Any:  # what `loss` takes; the loop only passes it on
        """Return the samples of one step."""

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the error of the network, a differentiable scalar."""

    def validate(self, network: nn.Module) -> Mapping[str, Mapping[str, float]]:
        """Return scores of each validation scene, such as ``{"sponges": {"psnr": 50.1, "sam": 1.2}}``."""


@dataclass(frozen=True)
class PretrainedTask:
    """A task whose network starts from given weights.

    Attributes
    ----------
    task : TrainingTask
    weights : mapping of str to Tensor
    """

    task: TrainingTask
    weights: Mapping[str, Tensor]

    def network(self) -> nn.Module:
        """Return the network with these weights."""
        network = self.task.network()
        if isinstance(network, GuidedNetwork):
            return network.begun_with(self.weights)
        network.load_state_dict(dict(self.weights))
        return network

    def batch(self, step: int) -> Any:  # of the task's own type
        """Return the samples of one step."""
        return self.task.batch(step)

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the error of the network."""
        return self.task.loss(network, batch)

    def validate(self, network: nn.Module) -> Mapping[str, Mapping[str, float]]:
        """Return scores of each validation scene."""
        return self.task.validate(network)
