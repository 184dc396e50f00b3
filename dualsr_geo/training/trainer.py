"""The one loop that fits any network to any lesson.

On one device with one number of threads the weights depend on the course alone: a training that
was stopped, or killed, and goes on from its checkpoint ends with the same bits.
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
ROWS = 400
# Validation takes at most about this share of the time.
VALIDATION_SHARE = 0.1
# Steps timed for a budget, the first of them being left out.
TIMED = 6


@dataclass(frozen=True)
class Result:
    """What a training came to.

    Attributes
    ----------
    network : Module
        With the averaged weights where the course averages.
    course : TrainingConfig
    step : int
        Steps done.
    seconds : float
        Time spent on them, all runs together.
    scores : mapping of str to mapping of str to float
        Of the last validation, by scene and score.
    """

    network: nn.Module
    course: TrainingConfig
    step: int
    seconds: float
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return self.step >= self.course.steps


@dataclass(frozen=True)
class Listener:
    """Who hears of a training.

    Attributes
    ----------
    keep : callable, optional
        Called with what there is after every checkpoint.
    progress : callable, optional
        Called with each row of the log as a line to print.
    """

    keep: Callable[[Result], None] | None = None
    progress: Callable[[str], None] | None = None


def train(
    lesson: TrainingTask,
    course: TrainingConfig,
    folder: Path,
    *,
    resume: bool = False,
    budget_s: float | None = None,
    device: str = "cpu",
    listener: Listener | None = None,
) -> Result:
    """Fit a lesson's network.

    The folder holds ``course.json``, ``checkpoint.safetensors``, ``log.csv`` and ``curves.svg``. A
    checkpoint that cannot be written leaves the former one as it is; the training goes on and
    tries again at the next, and fails if the last one cannot be written either.

    Under torchrun every process learns from samples of its own, and the first one writes.

    Parameters
    ----------
    lesson : TrainingTask
    course : TrainingConfig
    folder : path
        Made if missing.
    resume : bool
        Go on from the folder's checkpoint.
    budget_s : float, optional
        Stop after so many seconds, to go on another time. Without it all steps are done.
    device : str
        As torch names it.
    listener : Listener, optional

    Returns
    -------
    Result
        Not finished if time was up, or SIGINT or SIGTERM came; the checkpoint is then written.

    Raises
    ------
    ResumeError
        If the checkpoint is damaged, or of another version or course.
    OptionError
        If the loss is not finite for many steps in a row.
    OutputError
        If the last checkpoint cannot be written.
    """
    run = _Run(Learner(lesson, course, device), folder, listener or Listener())
    if resume:
        run.restore()
    else:
        run.begin()
    with _stopping() as stop:
        until = math.inf if budget_s is None else time.monotonic() + budget_s
        while run.learner.step < course.steps:
            # All processes stop where one wants to.
            if run.learner.mean(float(stop.is_set() or time.monotonic() >= until)) > 0:
                break
            run.advance()
        return run.finish()


def step_seconds(lesson: TrainingTask, course: TrainingConfig, device: str = "cpu") -> float:
    """Measure how long a step takes, on a network that is then forgotten."""
    learner, times = Learner(lesson, course, device), []
    for _ in range(TIMED):
        begin = time.perf_counter()
        learner.learn()
        times.append(time.perf_counter() - begin)
    return learner.mean(sum(times[1:]) / (TIMED - 1))


class _Run:
    """A training under way: when to tell, to validate and to keep."""

    def __init__(self, learner: Learner, folder: Path, listener: Listener) -> None:
        self.learner, self.folder, self.listener = learner, folder, listener
        self.course = learner.course
        self.rows: list[Row] = []
        self.losses: list[float] = []
        self.spent = self.validation_s = 0.0
        self.begun = self.validated = self.kept = time.monotonic()

    def begin(self) -> None:
        """Make the folder one of a new training."""
        if not self.learner.first:
            return
        with _refused(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / checkpoint.FILE).unlink(missing_ok=True)
            save_config(self.course, self.folder)

    def restore(self) -> None:
        """Take up the folder's checkpoint; begin where it has none."""
        require_same(load_config(self.folder), self.course)
        found = checkpoint.load(self.folder)
        if found is None:
            return
        require_same(found.course, self.course)
        self.learner.restore(found.step, found.tensors)
        self.spent, self.rows = found.seconds, list(found.rows)

    def advance(self) -> None:
        """Do a step, and what is due after it."""
        loss = self.learner.learn()
        if math.isfinite(loss):
            self.losses.append(loss)
        if not self.learner.first:
            return
        wait = max(self.course.validate_s, self.validation_s / VALIDATION_SHARE)
        validate = time.monotonic() - self.validated >= wait
        if validate or self.learner.step % max(1, self.course.steps // ROWS) == 0:
            self._add_row(validate=validate)
        if time.monotonic() - self.kept >= self.course.checkpoint_s:
            self._keep_or_warn()

    def finish(self) -> Result:
        """Validate once more if all is done, write all, and return what there is."""
        if self.learner.first:
            scored = bool(self.rows) and self.rows[-1].step == self.learner.step and bool(self.rows[-1].scores)
            if self.learner.step >= self.course.steps and not scored:
                self._add_row(validate=True)
            self._keep()
            with _refused(self.folder):
                log.draw(self.rows, self.folder)
        return self._result()

    def _add_row(self, *, validate: bool) -> None:
        """Add a row to the log, or to its last row the scores."""
        last = self.rows.pop() if self.rows and self.rows[-1].step == self.learner.step else None
        loss = last.loss if last else sum(self.losses) / len(self.losses) if self.losses else math.nan
        self.losses.clear()
        scores = self._validate() if validate else {}
        step = self.learner.step
        self.rows.append(Row(step, self._seconds(), loss, self.course.rate_at(step - 1), scores))
        if self.listener.progress is not None:
            self.listener.progress(log.line(self.rows[-1], self.course.steps))

    def _validate(self) -> Mapping[str, Mapping[str, float]]:
        begin = time.monotonic()
        with torch.inference_mode():
            scores = self.learner.lesson.validate(self.learner.made.eval())
        self.validated = time.monotonic()
        self.validation_s = self.validated - begin
        return scores

    def _seconds(self) -> float:
        return self.spent + time.monotonic() - self.begun

    def _result(self) -> Result:
        scores = next((row.scores for row in reversed(self.rows) if row.scores), {})
        return Result(self.learner.made, self.course, self.learner.step, self._seconds(), scores)

    def _keep_or_warn(self) -> None:
        try:
            self._keep()
        except OutputError as error:
            warnings.warn(f"{error} The training goes on.", DualSRWarning, stacklevel=2)
            self.kept = time.monotonic()

    def _keep(self) -> None:
        learner = self.learner
        now = Checkpoint(self.course, learner.step, self._seconds(), learner.tensors(), tuple(self.rows))
        checkpoint.save(now, self.folder)
        with _refused(self.folder):
            log.write_table(self.rows, self.folder)
            if self.listener.keep is not None:
                self.listener.keep(self._result())
        self.kept = time.monotonic()


@contextmanager
def _refused(folder: Path) -> Iterator[None]:
    """Say in one line that the disk refuses."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{folder} or the weights beside it could not be written ({error.strerror or error}). "
            "Free some space, or give another --output."
        ) from error


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into a flag; a second one does what it always did."""
    wanted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield wanted
        return
    former = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, _: FrameType | None) -> None:
        wanted.set()
        signal.signal(number, former[signal.Signals(number)])

    for number in former:
        signal.signal(number, stop)
    try:
        yield wanted
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
