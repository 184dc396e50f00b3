"""How long and how fast a network learns: fixed before the first step, and kept with the run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from dualsr_geo.errors import OptionError, ResumeError

FILE = "course.json"
Schedule = Literal["cosine", "halving"]
Optimiser = Literal["adam", "adamw"]
# The cosine ends at this share of the rate, so that the last steps still learn.
LAST_SHARE = 0.01
# What may differ between the beginning of a run and its going on, since no weight depends on it.
FREE = ("validate_s", "checkpoint_s")
# A budget keeps this share for validation and checkpoints.
ASIDE = 0.12
LEAST_STEPS = 2


@dataclass(frozen=True)
class TrainingConfig:
    """All that decides which weights come out, besides the code.

    Attributes
    ----------
    network : str
        Name of the lesson.
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
        Norm to which gradients are cut; 0 for no cut.
    average : float
        Decay of the moving average of the weights, which is what a run returns; 0 for none.
    bf16 : bool
        Let torch compute the loss in bfloat16 where it deems that safe; weights stay float32.
    seed : int
    processes : int
        Of torchrun; each takes its own samples, so a step learns from so many batches.
    validate_s, checkpoint_s : float
        Least time between two of them, seconds.
    lesson : mapping
        What else identifies the samples: references, split, degradation. JSON.

    Raises
    ------
    OptionError
        If a value cannot be carried out.
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
    lesson: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what the options say."""
        if self.steps < 1:
            raise OptionError(f"--steps {self.steps} learns nothing. Give at least 1.")
        if not 0 < self.rate < math.inf:
            raise OptionError(f"A learning rate of {self.rate:g} is none. Give --rate above 0, e.g. 1e-4.")
        if not 0 <= self.average < 1:
            raise OptionError(f"An --average of {self.average:g} is not within 0..1. Give e.g. 0.999, or 0 for none.")
        if self.schedule == "halving" and self.halve_every < 1:
            raise OptionError(f"--schedule halving every {self.halve_every} steps is none. Give --halve-every above 0.")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, the first one being 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        if self.schedule == "halving":
            return float(self.rate * 0.5 ** (step // self.halve_every))
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (LAST_SHARE + (1 - LAST_SHARE) * 0.5 * (1 + math.cos(math.pi * done)))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping; `from_json` is its inverse."""
        return {**asdict(self), "lesson": dict(self.lesson)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainingConfig:
        """Read what `to_json` wrote.

        Raises
        ------
        ResumeError
            If it is of another version.
        """
        known = {f.name for f in fields(cls)}
        if not isinstance(value, Mapping) or set(value) != known:
            other = sorted(known.symmetric_difference(value)) if isinstance(value, Mapping) else [type(value).__name__]
            raise ResumeError(
                f"The saved course is of another version; {', '.join(other)} differ. Begin anew with --overwrite."
            )
        return cls(**value)


def steps_within(minutes: float, step_s: float) -> int:
    """Return how many steps of `step_s` seconds a budget holds, some time being kept for validation.

    Raises
    ------
    OptionError
        If it does not hold two of them.
    """
    steps = int(60 * minutes * (1 - ASIDE) / step_s) if minutes > 0 else 0
    if steps < LEAST_STEPS:
        raise OptionError(
            f"--minutes {minutes:g} holds {steps} steps, a step takes {step_s:.2g} s. Give more, or a smaller --batch."
        )
    return steps


def save_config(course: TrainingConfig, folder: Path) -> None:
    """Write the course to its run's folder."""
    (folder / FILE).write_text(json.dumps(course.to_json(), indent=2) + "\n")


def load_config(folder: Path) -> TrainingConfig:
    """Return the course of a run's folder.

    Raises
    ------
    ResumeError
        If there is none, or it is damaged or of another version.
    """
    try:
        said = json.loads((folder / FILE).read_text())
    except OSError as error:
        raise ResumeError(f"{folder} holds no run to go on with ({FILE} is missing). Leave out --resume.") from error
    except ValueError as error:
        raise ResumeError(f"{folder / FILE} is damaged ({error}). Begin anew with --overwrite.") from error
    return TrainingConfig.from_json(said)


def require_same(saved: TrainingConfig, asked: TrainingConfig) -> None:
    """Raise ResumeError, naming what differs, unless both lead to the same weights."""
    # Through JSON, which knows no tuples.
    before, now = (json.loads(json.dumps(c.to_json())) for c in (saved, asked))
    for name in sorted(before):
        if name not in FREE and before[name] != now[name]:
            what, old, new = _difference(name, before[name], now[name])
            raise ResumeError(
                f"The interrupted training had {what} {old}, this one has {new}. "
                "Give the same options and references, or begin anew with --overwrite."
            )


def _difference(name: str, before: Any, now: Any) -> tuple[str, Any, Any]:
    if not isinstance(before, dict) or not isinstance(now, dict):
        return name, before, now
    key = next(k for k in sorted({*before, *now}) if before.get(k) != now.get(k))
    return key, before.get(key, "none"), now.get(key, "none")
