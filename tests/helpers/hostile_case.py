"""Hostile cases: what a user or an attacker hands over, and the one line that answers it.

A module of `tests/hostile` has a table `CASES` of `Case`. `check` runs one in a fresh directory and raises an
AssertionError where the promise is broken: one clear line and exit code 1, or a right product and exit code 0;
never a traceback, never a wrong product, no input changed, nothing left that looks finished.
`python tests/helpers/hostile_table.py` runs all tables and prints the counts of docs/robustness.md.
"""

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from dualsr_geo.cli import main
from dualsr_geo.errors import DualSRError

# A case that takes longer than this hangs.
LIMIT_SECONDS = 60
# The sentence of the catch-all: right for a defect nobody knows, wrong for any case of a table.
UNEXPECTED = "Please report"
# The name of an error of Python, which a batch gives as the reason of a scene that failed unexpectedly.
DEFECT = r"\)?: (Type|Key|Attribute|Index|Recursion|ZeroDivision|Overflow|UnicodeEncode|Assertion|Value|OS)Error: "


class Hang(BaseException):
    """The case took longer than `LIMIT_SECONDS`; no `except Exception` can catch it."""


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Parameters
    ----------
    code
        The exit code; for Python 1 after a `DualSRError`, 0 after none.
    out, err
        What was printed; for Python the result's repr, and the message.
    error
        An exception that nobody caught.
    """

    code: int
    out: str
    err: str
    error: BaseException | None = None

    @property
    def error_lines(self) -> list[str]:
        """The lines of ``Error: ...``, and of a usage error."""
        return [line for line in self.err.splitlines() if line.startswith("Error: ")]

    @property
    def warning_lines(self) -> list[str]:
        """The lines of ``Warning: ...``."""
        return [line for line in self.err.splitlines() if line.startswith("Warning: ")]


@dataclass(frozen=True)
class Case:
    """One hostile input.

    Parameters
    ----------
    name
        A few words, unique in its module.
    make
        Makes the files in an empty directory, which is also the current one, and returns what is run: the arguments of
        `dualsr-geo`, or a function without arguments that calls Python.
    error
        A regular expression that the single error line matches; None where the case has to succeed.
    warning
        A regular expression that one of the warnings matches; None where it does not matter.
    quiet
        No warning at all may be printed.
    code
        The exit code; 1 after an error, where click refuses the command line 2.
    verify
        Looks at the directory afterwards: product, side files, what must not be there.
    apart
        Run it as a process of its own, which can be killed: for hangs inside a C library.
    either
        Both ends are right: a success, or a refusal in one line with exit code 1 or 2; for values that fuzzing makes up.
    """

    name: str
    make: Callable[[Path], Sequence[str] | Callable[[], Any]]
    error: str | None = None
    warning: str | None = None
    quiet: bool = False
    code: int | None = None
    verify: Callable[[Path, Outcome], None] | None = None
    apart: bool = False
    either: bool = False

    def __str__(self) -> str:
        return self.name


def check(case: Case, folder: Path) -> Outcome:
    """Run a case in an empty directory and raise AssertionError where a promise is broken."""
    with contextlib.chdir(folder):
        action = case.make(folder)
        before = _digests(folder)
        outcome = run(action, apart=case.apart)
        _judge(case, outcome)
        _inputs_kept(before, folder)
        if case.verify is not None:
            case.verify(folder, outcome)
    return outcome


def run(action: Sequence[str] | Callable[[], Any], *, apart: bool = False) -> Outcome:
    """Run a command line or a function within `LIMIT_SECONDS`."""
    if callable(action):
        return _run_python(action)
    return _run_process(action) if apart else _run_command(action)


def _run_command(arguments: Sequence[str]) -> Outcome:
    with _limited():
        result = CliRunner().invoke(main, list(arguments), prog_name="dualsr-geo")
    error = None if isinstance(result.exception, SystemExit) else result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr, error)


def _run_process(arguments: Sequence[str]) -> Outcome:
    command = [sys.executable, "-m", "dualsr_geo", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        return Outcome(-1, "", "", Hang(str(error)))
    return Outcome(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def _run_python(function: Callable[[], Any]) -> Outcome:
    with _limited(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            code, out, failure, error = 0, repr(function()), [], None
        except DualSRError as refusal:
            code, out, failure, error = 1, "", [f"Error: {refusal}"], None
        except Exception as defect:  # noqa: BLE001  # `_judge` reports it
            code, out, failure, error = 1, "", [], defect
    lines = [f"Warning: {w.message}" for w in caught if not issubclass(w.category, DeprecationWarning)]
    return Outcome(code, out, "\n".join([*lines, *failure]), error)


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raise `Hang` after `LIMIT_SECONDS`, in the main thread."""

    def stop(_signal: int, _frame: Any) -> None:
        raise Hang(f"no end after {LIMIT_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _judge(case: Case, outcome: Outcome) -> None:
    assert outcome.error is None, f"{case}: {outcome.error!r}"
    assert "Traceback" not in outcome.err, f"{case}: {outcome.err}"
    assert UNEXPECTED not in outcome.err, f"{case} is answered by the catch-all: {outcome.err}"
    if case.either:
        _judge_either(case, outcome)
    elif case.error is None:
        assert outcome.code == 0, f"{case}: exit code {outcome.code}: {outcome.err}"
    else:
        _judge_refusal(case, outcome)
    if case.warning is not None:
        assert re.search(case.warning, "\n".join(outcome.warning_lines)), f"{case}: {outcome.err!r}"
    if case.quiet:
        assert not outcome.warning_lines, f"{case}: {outcome.err}"


def _judge_either(case: Case, outcome: Outcome) -> None:
    if outcome.code == 0:
        return
    assert outcome.code in {1, 2}, f"{case}: exit code {outcome.code}: {outcome.err}"
    # A batch reports each scene that failed, and has no error of its own then.
    failed = [line for line in outcome.err.splitlines() if line.startswith("failed ")]
    assert len(outcome.error_lines) == 1 or failed, f"{case}: not one error line: {outcome.err!r}"
    last = outcome.err.splitlines()[-1]
    assert last in {*outcome.error_lines, *failed}, f"{case}: more after the error: {outcome.err!r}"
    assert last not in failed or not re.search(DEFECT, last), f"{case}: a defect is the reason of a scene: {last}"


def _judge_refusal(case: Case, outcome: Outcome) -> None:
    expected = 1 if case.code is None else case.code
    assert outcome.code == expected, f"{case}: exit code {outcome.code}, not {expected}: {outcome.err or outcome.out}"
    assert len(outcome.error_lines) == 1, f"{case}: not one error line: {outcome.err!r}"
    assert outcome.err.splitlines()[-1] == outcome.error_lines[0], f"{case}: more after the error: {outcome.err!r}"
    assert re.search(case.error or "", outcome.error_lines[0]), f"{case}: {outcome.error_lines[0]}"


def _digests(folder: Path) -> dict[Path, str]:
    """Digests of the regular files of a directory, by path."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK) and path.stat().st_size < 1 << 26
    }


def _inputs_kept(before: dict[Path, str], folder: Path) -> None:
    """Every file that was there is there unchanged; a case that may replace one makes it in a directory ``out``."""
    after = _digests(folder)
    for path, digest in before.items():
        if "out" not in path.relative_to(folder).parts[:-1]:
            assert after.get(path) == digest, f"{path.relative_to(folder)} was changed or deleted"
