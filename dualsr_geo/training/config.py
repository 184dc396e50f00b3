"""Length, learning rate and optimiser of a training: fixed before the first step and saved with the run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from dualsr_geo.errors import OptionError, ResumeError

FILE = "config.json"
Schedule = Literal["cosine", "halving"]
Optimiser = Literal["adam", "adamw"]
# The cosine ends at this share of the learning rate, so that the last steps still learn.
FINAL_RATE_SHARE = 0.01
# Fields that may differ when a run is resumed, since no weight depends on them.
NOT_COMPARED = ("validate_s", "checkpoint_s")
# Share of a budget of time that is reserved for validation and checkpoints.
RESERVED_TIME_SHARE = 0.12
# Fewest steps that a budget of time must hold.
MIN_STEPS = 2
# Largest number of steps of an option: years on any machine.
MAX_STEPS = 10**9


@dataclass(frozen=True)
class TrainingConfig:
    """All options that the trained weights depend on.

    Attributes
    ----------
    network : str
        Key of `registry.TRAINABLE_NETWORKS`.
    steps : int
    rate : float
        Learning rate at its highest.
    schedule : str
        ``"cosine"``, down to a hundredth at the last step, or ``"halving"`` every `halve_every` steps.
    warmup : int
        Steps over which the rate rises to its highest.
    halve_every : int
    optimiser : str
        ``"adam"`` or ``"adamw"``.
    weight_decay : float
    largest_gradient : float
        Norm to which gradients are clipped; 0 for no clipping.
    average : float
        Decay of the moving average of the weights, which a run returns; 0 for none.
    bf16 : bool
        Compute the loss under autocast to bfloat16; weights stay float32.
    seed : int
    processes : int
        Number of torchrun's processes; each has its own samples, so a step learns from so many batches.
    validate_s, checkpoint_s : float
        Shortest time between two validations and two checkpoints, seconds.
    samples : mapping
        Identity of the samples, JSON: references, split, degradation.

    Raises
    ------
    OptionError
        If a value is out of range.
    """

    network: str
    steps: int
    rate: float = 1e-4
    schedule: Schedule = "cosine"
    warmup: int = 0
    halve_every: int = 0
    optimiser: Optimiser = "adam"
    weight_decay: float = 0.0
    largest_gradient: float = 0.0
    average: float = 0.0
    bf16: bool = False
    seed: int = 0
    processes: int = 1
    validate_s: float = 180.0
    checkpoint_s: float = 120.0
    samples: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the ranges of the options."""
        if self.steps < 1:
            raise OptionError(f"--steps {self.steps} learns nothing. Give at least 1.")
        if self.steps > MAX_STEPS:
            raise OptionError(f"--steps {self.steps} never ends. Give at most {MAX_STEPS}.")
        if not 0 < self.rate < math.inf:
            raise OptionError(f"A learning rate of {self.rate:g} is not above 0. Give --rate above 0, e.g. 1e-4.")
        self._require_ranges()
        if not 0 <= self.average < 1:
            raise OptionError(f"An --average of {self.average:g} is not within 0..1. Give e.g. 0.999, or 0 for none.")
        if self.schedule == "halving" and self.halve_every < 1:
            raise OptionError(
                f"--schedule halving every {self.halve_every} steps is not possible. Give --halve-every above 0."
            )

    def _require_ranges(self) -> None:
        for name, value in (("--weight-decay", self.weight_decay), ("--largest-gradient", self.largest_gradient)):
            if not 0 <= value < math.inf:
                raise OptionError(f"{name} {value:g} is not a number of 0 or more. Give one, or leave it out.")
        for name, count in (("--warmup", self.warmup), ("--halve-every", self.halve_every)):
            if not 0 <= count <= MAX_STEPS:
                raise OptionError(f"{name} {count} is not within 0..{MAX_STEPS} steps. Give a number of steps.")
        for name, seconds in (("--validate-every", self.validate_s), ("--checkpoint-every", self.checkpoint_s)):
            if not seconds >= 0:
                raise OptionError(f"{name} {seconds:g} is not a time. Give seconds, 0 or more.")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        if self.schedule == "halving":
            return float(self.rate * 0.5 ** (step // self.halve_every))
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * 0.5 * (1 + math.cos(math.pi * progress)))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping; `from_json` is its inverse."""
        return {**asdict(self), "samples": dict(self.samples)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainingConfig:
        """Read what `to_json` wrote.

        Raises
        ------
        ResumeError
            If it is of another version.
        """
        names = {f.name for f in fields(cls)}
        if not isinstance(value, Mapping) or set(value) != names:
            other = sorted(names.symmetric_difference(value)) if isinstance(value, Mapping) else [type(value).__name__]
            raise ResumeError(
                f"The saved options are of another version; {', '.join(other)} differ. Start again with --overwrite."
            )
        return cls(**value)


def steps_within(minutes: float, step_s: float) -> int:
    """Return how many steps of `step_s` seconds a budget holds, less the time for validation.

    Raises
    ------
    OptionError
        If it holds fewer than two.
    """
    require_minutes(minutes)
    steps = min(int(60 * minutes * (1 - RESERVED_TIME_SHARE) / step_s), MAX_STEPS)
    if steps < MIN_STEPS:
        raise OptionError(
            f"--minutes {minutes:g} holds {steps} steps, a step takes {step_s:.2g} s. Give more, or a smaller --batch."
        )
    return steps


def require_minutes(minutes: float) -> None:
    """Check a budget of time.

    Raises
    ------
    OptionError
        If it is not above 0, or has no end.
    """
    if not 0 < minutes < math.inf:
        raise OptionError(f"--minutes {minutes:g} is not a time. Give minutes above 0, e.g. 60.")


def save_config(config: TrainingConfig, folder: Path) -> None:
    """Write the options to the folder of their run."""
    (folder / FILE).write_text(json.dumps(config.to_json(), indent=2) + "\n")


def load_config(folder: Path) -> TrainingConfig:
    """Read the options of a run from its folder.

    Raises
    ------
    ResumeError
        If they are missing, damaged or of another version.
    """
    try:
        value = json.loads((folder / FILE).read_text())
    except OSError as error:
        raise ResumeError(f"{folder} holds no training to resume ({FILE} is missing). Leave out --resume.") from error
    except ValueError as error:
        raise ResumeError(f"{folder / FILE} is damaged ({error}). Start again with --overwrite.") from error
    return TrainingConfig.from_json(value)


def require_same(saved: TrainingConfig, requested: TrainingConfig) -> None:
    """Check that both options lead to the same weights.

    Raises
    ------
    ResumeError
        If they do not; the message names the difference.
    """
    # Through JSON, which turns tuples into lists.
    before, now = (json.loads(json.dumps(c.to_json())) for c in (saved, requested))
    for name in sorted(before):
        if name not in NOT_COMPARED and before[name] != now[name]:
            option, old, new = _difference(name, before[name], now[name])
            raise ResumeError(
                f"The interrupted training had {option} {old}, this one has {new}. "
                "Give the same options and references, or start again with --overwrite."
            )


def _difference(name: str, before: Any, now: Any) -> tuple[str, Any, Any]:
    if not isinstance(before, dict) or not isinstance(now, dict):
        return name, before, now
    key = next(k for k in sorted({*before, *now}) if before.get(k) != now.get(k))
    return key, before.get(key, "none"), now.get(key, "none")
