"""The training loop, for any network and task.

On one device and with one number of threads the weights depend on the config and the task only: a
training that was stopped, or killed, and resumed from its checkpoint ends with the same bits.
"""

from __future__ import annotations

import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import torch
from torch import nn

from dualsr_geo.errors import DualSRWarning, OutputError
from dualsr_geo.training import checkpoint, log
from dualsr_geo.training.checkpoint import Checkpoint
from dualsr_geo.training.config import TrainingConfig, load_config, require_same, save_config
from dualsr_geo.training.log import Row
from dualsr_geo.training.optimisation import Learner
from dualsr_geo.training.task import TrainingTask

# Rows of the log, besides those with scores.
LOG_ROWS = 400
# Largest share of the time that validation takes.
MAX_VALIDATION_TIME_SHARE = 0.1
# Steps timed for a budget; the first one is left out of the mean.
TIMED_STEPS = 6


@dataclass(frozen=True)
class TrainingResult:
    """A trained network, and how it was trained.

    Attributes
    ----------
    network : Module
        With averaged weights if the config asks for an average.
    config : TrainingConfig
    step : int
        Steps done.
    seconds : float
        Time spent on them, all runs together.
    scores : mapping of str to mapping of str to float
        Of the last validation, by scene and score.
    """

    network: nn.Module
    config: TrainingConfig
    step: int
    seconds: float
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.config.steps


@dataclass(frozen=True)
class Callbacks:
    """Functions that a training calls.

    Attributes
    ----------
    checkpoint : callable, optional
        Called with the intermediate result after every checkpoint.
    progress : callable, optional
        Called with each row of the log as a line to print.
    """

    checkpoint: Callable[[TrainingResult], None] | None = None
    progress: Callable[[str], None] | None = None


def train(
    task: TrainingTask,
    config: TrainingConfig,
    folder: Path,
    *,
    resume: bool = False,
    budget_s: float | None = None,
    device: str = "cpu",
    callbacks: Callbacks | None = None,
) -> TrainingResult:
    """Train the network of a task.

    The folder holds ``config.json``, ``checkpoint.safetensors`` and ``log.csv``. A checkpoint that
    cannot be written leaves the previous one as it is; the training continues and tries again at
    the next, and fails if the last one cannot be written either.

    Under torchrun every process learns from samples of its own, and the first one writes.

    Parameters
    ----------
    task : TrainingTask
    config : TrainingConfig
    folder : path
        Created if missing.
    resume : bool
        Continue from the folder's checkpoint.
    budget_s : float, optional
        Stop after so many seconds; a later call may resume. Without it all steps are done.
    device : str
        A device of torch.
    callbacks : Callbacks, optional

    Returns
    -------
    TrainingResult
        Not finished if the budget is used up or SIGINT or SIGTERM came; the checkpoint is then written.

    Raises
    ------
    ResumeError
        If the checkpoint is damaged, or of another version or config.
    OptionError
        If the loss is not finite for many steps in a row.
    OutputError
        If the last checkpoint cannot be written.
    """
    run = _Run(Learner(task, config, device), folder, callbacks or Callbacks())
    if resume:
        run.restore()
    else:
        run.begin()
    with _stop_signals() as stop:
        deadline = math.inf if budget_s is None else time.monotonic() + budget_s
        while run.learner.step < config.steps:
            # All processes stop if one must.
            if run.learner.mean(float(stop.is_set() or time.monotonic() >= deadline)) > 0:
                break
            run.advance()
        return run.finish()


def step_seconds(task: TrainingTask, config: TrainingConfig, device: str = "cpu") -> float:
    """Measure the seconds of a step, on a network that is then discarded."""
    learner, times = Learner(task, config, device), []
    for _ in range(TIMED_STEPS):
        begin = time.perf_counter()
        learner.learn()
        times.append(time.perf_counter() - begin)
    return learner.mean(sum(times[1:]) / (TIMED_STEPS - 1))


class _Run:
    """One run of a training, with its log; decides when to validate and to write a checkpoint."""

    def __init__(self, learner: Learner, folder: Path, callbacks: Callbacks) -> None:
        self.learner, self.folder, self.callbacks = learner, folder, callbacks
        self.config = learner.config
        self.rows: list[Row] = []
        self.losses: list[float] = []
        self.earlier_s = self.validation_s = 0.0
        self.started_at = self.validated_at = self.saved_at = time.monotonic()

    def begin(self) -> None:
        """Prepare the folder for a new training."""
        if not self.learner.first:
            return
        with _output_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / checkpoint.FILE).unlink(missing_ok=True)
            save_config(self.config, self.folder)

    def restore(self) -> None:
        """Restore the folder's checkpoint, if it has one."""
        require_same(load_config(self.folder), self.config)
        saved = checkpoint.load(self.folder)
        if saved is None:
            return
        require_same(saved.config, self.config)
        self.learner.restore(saved.step, saved.tensors)
        self.earlier_s, self.rows = saved.seconds, list(saved.rows)

    def advance(self) -> None:
        """Do a step, and the logging, validation and checkpoint that are due after it."""
        loss = self.learner.learn()
        if math.isfinite(loss):
            self.losses.append(loss)
        if not self.learner.first:
            return
        interval_s = max(self.config.validate_s, self.validation_s / MAX_VALIDATION_TIME_SHARE)
        validate = time.monotonic() - self.validated_at >= interval_s
        if validate or self.learner.step % max(1, self.config.steps // LOG_ROWS) == 0:
            self._add_row(validate=validate)
        if time.monotonic() - self.saved_at >= self.config.checkpoint_s:
            self._save_or_warn()

    def finish(self) -> TrainingResult:
        """Validate once more if all steps are done, write the checkpoint, and return the result."""
        if self.learner.first:
            scored = bool(self.rows) and self.rows[-1].step == self.learner.step and bool(self.rows[-1].scores)
            if self.learner.step >= self.config.steps and not scored:
                self._add_row(validate=True)
            self._save()
        return self._result()

    def _add_row(self, *, validate: bool) -> None:
        """Add a row to the log, or scores to its last row."""
        last = self.rows.pop() if self.rows and self.rows[-1].step == self.learner.step else None
        loss = last.loss if last else sum(self.losses) / len(self.losses) if self.losses else math.nan
        self.losses.clear()
        scores = self._validate() if validate else {}
        step = self.learner.step
        self.rows.append(Row(step, self._seconds(), loss, self.config.rate_at(step - 1), scores))
        if self.callbacks.progress is not None:
            self.callbacks.progress(log.progress_line(self.rows[-1], self.config.steps))

    def _validate(self) -> Mapping[str, Mapping[str, float]]:
        begin = time.monotonic()
        with torch.inference_mode():
            scores = self.learner.task.validate(self.learner.result.eval())
        self.validated_at = time.monotonic()
        self.validation_s = self.validated_at - begin
        return scores

    def _seconds(self) -> float:
        return self.earlier_s + time.monotonic() - self.started_at

    def _result(self) -> TrainingResult:
        scores = next((row.scores for row in reversed(self.rows) if row.scores), {})
        return TrainingResult(self.learner.result, self.config, self.learner.step, self._seconds(), scores)

    def _save_or_warn(self) -> None:
        try:
            self._save()
        except OutputError as error:
            warnings.warn(f"{error} The training continues.", DualSRWarning, stacklevel=2)
            self.saved_at = time.monotonic()

    def _save(self) -> None:
        learner = self.learner
        state = Checkpoint(self.config, learner.step, self._seconds(), learner.tensors(), tuple(self.rows))
        checkpoint.save(state, self.folder)
        with _output_errors(self.folder):
            log.write_log(self.rows, self.folder)
            if self.callbacks.checkpoint is not None:
                self.callbacks.checkpoint(self._result())
        self.saved_at = time.monotonic()


@contextmanager
def _output_errors(folder: Path) -> Iterator[None]:
    """Turn an error of the disk into an OutputError of one line."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{folder} or the weights next to it could not be written ({error.strerror or error}). "
            "Free some space, or give another --output."
        ) from error


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event; a second signal has its usual effect."""
    stop_event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop_event
        return
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, _: FrameType | None) -> None:
        stop_event.set()
        signal.signal(number, handlers[signal.Signals(number)])

    for number in handlers:
        signal.signal(number, stop)
    try:
        yield stop_event
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
