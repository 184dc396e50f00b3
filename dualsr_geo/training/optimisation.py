"""Steps of a training: a network, the moving average of its weights, and its optimiser."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from dualsr_geo.errors import DualSRWarning, OptionError
from dualsr_geo.training.config import TrainingConfig
from dualsr_geo.training.task import TrainingTask

# Steps in a row without a finite loss after which a training fails.
MAX_SKIPPED_STEPS = 20
# The average follows quickly in the first steps, while the weights are still random: its decay after n steps
# is at most (1 + n) / (AVERAGE_DELAY_STEPS + n).
AVERAGE_DELAY_STEPS = 10


class Learner:
    """A network in training, between two steps.

    Under torchrun each process has one and learns from samples of its own; all end with the same
    weights.

    Parameters
    ----------
    task : TrainingTask
    config : TrainingConfig
    device : str
        A device of torch.
    """

    def __init__(self, task: TrainingTask, config: TrainingConfig, device: str) -> None:
        self.task, self.config, self.device = task, config, torch.device(device)
        self.step, self.skipped = 0, 0
        self.network = task.network().to(self.device)
        self.average = copy.deepcopy(self.network).requires_grad_(requires_grad=False) if config.average else None
        self.parallel = distributed.is_available() and distributed.is_initialized()
        loss: nn.Module = _Loss(task, self.network)
        # A task may use only a part of the network in some steps, such as that of one ratio.
        self.loss = DistributedDataParallel(loss, find_unused_parameters=True) if self.parallel else loss
        optimiser = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
        self.optimiser = optimiser(self.network.parameters(), config.rate, weight_decay=config.weight_decay)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return not self.parallel or distributed.get_rank() == 0

    @property
    def result(self) -> nn.Module:
        """The trained network: with averaged weights if the config asks for an average."""
        return self.network if self.average is None else self.average

    def learn(self) -> float:
        """Do one step and return its loss; a step whose loss or gradient is not finite changes nothing.

        Raises
        ------
        OptionError
            If `MAX_SKIPPED_STEPS` in a row are not finite.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.rate_at(self.step)
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        batch = self.task.batch(self._batch_number())
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            loss = self.loss(batch)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.largest_gradient or math.inf)
        value = self.mean(float(loss.detach()))
        self.step += 1
        if math.isfinite(value) and math.isfinite(float(norm)):
            self.skipped = 0
            self.optimiser.step()
            self._update_average()
        else:
            self._skip(value)
        return value

    def mean(self, value: float) -> float:
        """Return the mean over all processes."""
        if not self.parallel:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return float(total) / distributed.get_world_size()

    def _batch_number(self) -> int:
        return self.step * distributed.get_world_size() + distributed.get_rank() if self.parallel else self.step

    def _skip(self, loss: float) -> None:
        self.skipped += 1
        if self.skipped >= MAX_SKIPPED_STEPS:
            raise OptionError(
                f"Loss or gradient was not finite {self.skipped} steps in a row, up to step {self.step} "
                f"(loss {loss:g}). Give a lower --rate than {self.config.rate:g}; the checkpoint before is kept."
            )
        warnings.warn(f"Step {self.step} is skipped: loss {loss:g} or its gradient is not finite.", DualSRWarning, 2)

    def _update_average(self) -> None:
        if self.average is None:
            return
        decay = min(self.config.average, (1 + self.step) / (AVERAGE_DELAY_STEPS + self.step))
        for mean, now in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    # ---- checkpoints -------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Return the state that the next step depends on, by name."""
        named = _with_prefix("network", self.network.state_dict())
        if self.average is not None:
            named |= _with_prefix("average", self.average.state_dict())
        for number, moments in self.optimiser.state_dict()["state"].items():
            named |= _with_prefix(f"optimiser.{number}", moments)
        return named

    def restore(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state after `step` steps."""
        self.step = step
        self.network.load_state_dict(_without_prefix("network", tensors))
        if self.average is not None:
            self.average.load_state_dict(_without_prefix("average", tensors))
        weights = list(self.network.parameters())
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _without_prefix("optimiser", tensors).items():
            number, _, key = name.partition(".")
            weight = weights[int(number)].detach()
            # With the memory format of the weight; else sums have another order, and other bits.
            moment = torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor
            state.setdefault(int(number), {})[key] = moment
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})


class _Loss(nn.Module):
    """The loss of a network as a module, so that torch's DDP covers whatever the task calls of the network."""

    def __init__(self, task: TrainingTask, network: nn.Module) -> None:
        super().__init__()
        self.task, self.network = task, network

    def forward(self, batch: Any) -> Tensor:  # of the task's own type
        return self.task.loss(self.network, batch)


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}
