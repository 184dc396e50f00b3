"""A training task of milliseconds, for the tests of the training loop; also run as a program."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dualsr_geo.training.config import TrainingConfig
from dualsr_geo.training.trainer import train


@dataclass(frozen=True)
class Toy:
    """Undo a blur of three pixels."""

    seed: int = 0
    broken: frozenset[int] = frozenset()  # steps whose samples are NaN
    pause_s: float = 0.0
    stop_at: int = -1  # step at which the process sends itself a signal
    signal: int = 0
    steps_drawn: list[int] = field(default_factory=list)

    def network(self):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            layers = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1)
            return nn.Sequential(*layers).to(memory_format=torch.channels_last)

    def batch(self, step):
        self.steps_drawn.append(step)
        time.sleep(self.pause_s)
        if step == self.stop_at:
            os.kill(os.getpid(), self.signal)
        sharp = np.random.default_rng((self.seed, step)).standard_normal((2, 1, 9, 7), np.float32)
        if step in self.broken:
            sharp[:] = np.nan
        blurred = (sharp + np.roll(sharp, 1, 2) + np.roll(sharp, -1, 3)) / 3
        return torch.from_numpy(blurred), torch.from_numpy(sharp)

    def loss(self, network, batch):
        return (network(batch[0]) - batch[1]).abs().mean()

    def validate(self, network):
        blurred, sharp = Toy(self.seed).batch(10**6)
        return {"toy": {"psnr": float(-10 * torch.log10((network(blurred) - sharp).square().mean()))}}


def toy_config(steps=30, **changes):
    return TrainingConfig(**{"network": "toy", "steps": steps, "rate": 1e-2, "average": 0.9, "warmup": 3, **changes})


def main() -> None:
    """Train in the folder given; under torchrun, with the other processes."""
    torch.set_num_threads(1)
    folder, pause_s, steps = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    parallel = "LOCAL_RANK" in os.environ
    if parallel:
        torch.distributed.init_process_group("gloo")
    result = train(Toy(pause_s=pause_s), toy_config(steps, checkpoint_s=0.0), folder)
    if parallel:
        rank = torch.distributed.get_rank()
        np.save(
            folder / f"rank{rank}.npy", torch.cat([w.flatten() for w in result.network.state_dict().values()]).numpy()
        )
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
