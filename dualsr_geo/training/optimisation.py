"""A network that learns, step by step: weights, their average, and what the optimiser keeps."""

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

# So many losses in a row that are not finite are no accident.
MOST_SKIPPED = 20


class Learner:
    """A network between two steps of its course.

    Under torchrun each process has one, learns from samples of its own, and all end with the same
    weights.

    Parameters
    ----------
    lesson : TrainingTask
    course : TrainingConfig
    device : str
        As torch names it.
    """

    def __init__(self, lesson: TrainingTask, course: TrainingConfig, device: str) -> None:
        self.lesson, self.course, self.device = lesson, course, torch.device(device)
        self.step, self.skipped = 0, 0
        self.network = lesson.network().to(self.device)
        self.average = copy.deepcopy(self.network).requires_grad_(requires_grad=False) if course.average else None
        self.parallel = distributed.is_available() and distributed.is_initialized()
        wrong: nn.Module = _Wrong(lesson, self.network)
        # A lesson may leave a part of the network alone in some steps, such as that of another ratio.
        self.wrong = DistributedDataParallel(wrong, find_unused_parameters=True) if self.parallel else wrong
        kind = torch.optim.AdamW if course.optimiser == "adamw" else torch.optim.Adam
        self.optimiser = kind(self.network.parameters(), course.rate, weight_decay=course.weight_decay)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return not self.parallel or distributed.get_rank() == 0

    @property
    def made(self) -> nn.Module:
        """The network to use: with averaged weights where the course averages."""
        return self.network if self.average is None else self.average

    def learn(self) -> float:
        """Do one step and return its loss; a step whose loss or gradient is not finite changes nothing.

        Raises
        ------
        OptionError
            If that happens many times in a row.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.course.rate_at(self.step)
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        batch = self.lesson.batch(self._sample())
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.course.bf16):
            loss = self.wrong(batch)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.course.largest_gradient or math.inf)
        value = self.mean(float(loss.detach()))
        self.step += 1
        if math.isfinite(value) and math.isfinite(float(norm)):
            self.skipped = 0
            self.optimiser.step()
            self._follow()
        else:
            self._skip(value)
        return value

    def mean(self, value: float) -> float:
        """Return the mean over all processes."""
        if not self.parallel:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.all_reduce(shared)
        return float(shared) / distributed.get_world_size()

    def _sample(self) -> int:
        return self.step * distributed.get_world_size() + distributed.get_rank() if self.parallel else self.step

    def _skip(self, loss: float) -> None:
        self.skipped += 1
        if self.skipped >= MOST_SKIPPED:
            raise OptionError(
                f"Loss or gradient was not finite {self.skipped} steps in a row, up to step {self.step} "
                f"(loss {loss:g}). Give a lower --rate than {self.course.rate:g}; the checkpoint before is kept."
            )
        warnings.warn(f"Step {self.step} is skipped: loss {loss:g} or its gradient is not finite.", DualSRWarning, 2)

    def _follow(self) -> None:
        """Let the average follow the weights; at first faster, as long as they are random."""
        if self.average is None:
            return
        decay = min(self.course.average, (1 + self.step) / (10 + self.step))
        for mean, now in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    # ---- what a checkpoint keeps -------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Return all that the next step depends on, by name."""
        named = _named("network", self.network.state_dict())
        if self.average is not None:
            named |= _named("average", self.average.state_dict())
        for number, kept in self.optimiser.state_dict()["state"].items():
            named |= _named(f"optimiser.{number}", kept)
        return named

    def restore(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Become what it was after `step` steps."""
        self.step = step
        self.network.load_state_dict(_under("network", tensors))
        if self.average is not None:
            self.average.load_state_dict(_under("average", tensors))
        weights = list(self.network.parameters())
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimiser", tensors).items():
            number, _, key = name.partition(".")
            weight = weights[int(number)].detach()
            # Laid out in memory as the weight is; else sums are done in another way, with other bits.
            kept = torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor
            state.setdefault(int(number), {})[key] = kept
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})


class _Wrong(nn.Module):
    """A network as its loss, so that whatever the lesson calls of it is seen by torch's DDP."""

    def __init__(self, lesson: TrainingTask, network: nn.Module) -> None:
        super().__init__()
        self.lesson, self.network = lesson, network

    def forward(self, batch: Any) -> Tensor:  # as the lesson made it
        return self.lesson.loss(self.network, batch)


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}
