"""What a network is to learn, as the training loop sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn


class Lesson(Protocol):
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
