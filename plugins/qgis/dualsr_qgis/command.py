"""Find and run the installed `dualsr-geo`, without QGIS.

QGIS has a Python of its own, which cannot contain torch together with its own GDAL. So the command stays in
an environment of its own, and is called as on a terminal.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any, TextIO

PROGRAM = "dualsr-geo"
OLDEST_VERSION = (0, 1, 0)
SETTING = "Settings > Options > Processing > Providers > dualsr-geo"

# QGIS sets these for its own Python, GDAL, PROJ and Qt. Another environment breaks on them.
OF_QGIS = (
    "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_LIB", "PROJ_DATA",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "QT_PLUGIN_PATH", "SSL_CERT_FILE",
)  # fmt: skip
# Where an environment keeps its programs; the last two hold libraries of a conda environment on Windows.
SHELVES = ("bin", "Scripts", "Library/bin", ".")

PATIENCE_S = 5.0
LAST_WORDS = 15

Listener = Callable[[str, str], None]


class CommandError(Exception):
    """`dualsr-geo` is not installed or failed; the message names the remedy."""


class Cancelled(Exception):  # noqa: N818  # not an error: the user requested it
    """The user stopped the run."""


def find(chosen: str) -> Path:
    """Return the path of the command.

    Parameters
    ----------
    chosen : str
        The user's setting: the command itself, an environment (venv, conda) or its Python. Empty to search
        PATH, where pipx and uv put commands, and in the conda environments of this user.

    Raises
    ------
    CommandError
        If it is not installed; the message describes the installation.
    """
    if chosen.strip():
        place = Path(chosen.strip()).expanduser()
        path = within(place)
        if path is None:
            raise CommandError(
                f"{place} has no {PROGRAM}. Give the folder of the environment that it is installed in, "
                f"or leave the field empty to look for it ({SETTING})."
            )
        return path
    for place in _usual():
        path = within(place)
        if path is not None:
            return path
    raise CommandError(
        f"{PROGRAM} is not installed where QGIS could find it.\n"
        f"Install it into an environment of its own, then give its folder in {SETTING}:\n{recipe()}"
    )


def recipe() -> str:
    """Return the lines for a terminal that install the command on this system."""
    home, shelf, python = ("%USERPROFILE%", "Scripts", "py") if os.name == "nt" else ("~", "bin", "python3")
    folder = os.sep.join((home, "dualsr"))
    pip = os.sep.join((folder, shelf, "pip"))
    return f"cd FOLDER\n{python} -m venv {folder}\n{pip} install -c constraints.txt .\nFOLDER is the unpacked download of {PROGRAM}."


def within(place: Path) -> Path | None:
    """Return the command of an environment, given its folder, a folder inside, or a program."""
    if place.is_file() and place.stem == PROGRAM:
        return place
    folder = place.parent if place.is_file() else place
    for shelf in SHELVES:
        for name in (PROGRAM, f"{PROGRAM}.exe"):
            if (folder / shelf / name).is_file():
                return folder / shelf / name
    return None


def _usual() -> Iterator[Path]:
    """Yield the places that are searched."""
    on_path = shutil.which(PROGRAM)
    if on_path:
        yield Path(on_path)
    yield Path.home() / ".local" / "bin"
    # conda lists all its environments there.
    listing = Path.home() / ".conda" / "environments.txt"
    if listing.is_file():
        yield from (Path(line) for line in listing.read_text(encoding="utf-8").splitlines() if line.strip())


def environment(program: Path) -> dict[str, str]:
    """Return the variables that the command runs with: this process's without those of QGIS."""
    kept = {name: value for name, value in os.environ.items() if name not in OF_QGIS}
    home = program.parent.parent
    shelves = [str(home / s) for s in SHELVES if (home / s).is_dir()]
    path = os.pathsep.join([str(program.parent), *shelves, kept.get("PATH", "")])
    return {**kept, "PATH": path, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


@lru_cache
def version(program: Path) -> str:
    """Start the command once and return its version.

    Raises
    ------
    CommandError
        If it does not start or is too old for this plugin.
    """
    lines: list[str] = []
    run(program, ["--version"], lambda _, line: lines.append(line), lambda: False)
    number = re.search(r"\d+(?:\.\d+)+", " ".join(lines))
    if number is None or tuple(map(int, number[0].split("."))) < OLDEST_VERSION:
        wanted = ".".join(map(str, OLDEST_VERSION))
        raise CommandError(
            f"{program} is of version {number[0] if number else 'unknown'}; this plugin needs {wanted}. "
            f"Install a newer one:\n{recipe()}"
        )
    return number[0]


def run(program: Path, arguments: Sequence[str], hear: Listener, cancelled: Callable[[], bool]) -> None:
    """Run the command to its end.

    Parameters
    ----------
    program : Path
    arguments : sequence of str
    hear : callable
        Called in this thread with ("out" or "err", a line) as lines come.
    cancelled : callable
        Called ten times a second; when it returns True the command and its children are ended.

    Raises
    ------
    Cancelled
    CommandError
        If the command does not start or fails, with its own message.
    """
    try:
        process = subprocess.Popen(  # noqa: S603  # the user chose the program
            [str(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=environment(program),
            **_own_group(),
        )
    except OSError as error:
        raise CommandError(f"{program} does not start ({error}). Install it again:\n{recipe()}") from error
    words: list[str] = []
    try:
        for stream, line in _lines(process, cancelled):
            if stream == "err":
                words.append(line)
            hear(stream, line)
        process.wait()
    finally:
        _end(process)
    if process.returncode != 0:
        raise CommandError(reason(process.returncode, words))


def reason(code: int, words: Sequence[str]) -> str:
    """Return the reason of a failure, from the exit code and the lines on stderr."""
    errors = [line for line in words if line.startswith("Error: ")]
    if errors:
        return errors[-1][len("Error: ") :]
    # A shell in between turns signal 9 into 137.
    if code in (-9, 137):
        return f"{PROGRAM} was killed, most likely because memory ran out. Give --max-memory 2GB, or less, as further option."
    # Lines of --log-json are for programs.
    last = "\n".join([w for w in words if not w.startswith("{")][-LAST_WORDS:]) or "It printed no message."
    return f"{PROGRAM} ended with code {code}:\n{last}"


def _lines(process: subprocess.Popen[str], cancelled: Callable[[], bool]) -> Iterator[tuple[str, str]]:
    """Yield the lines of a process until it closes both streams; raise Cancelled."""
    queue: Queue[tuple[str, str | None]] = Queue()
    streams: dict[str, Any] = {"out": process.stdout, "err": process.stderr}
    for name, stream in streams.items():
        Thread(target=_read, args=(name, stream, queue), daemon=True).start()
    while streams:
        if cancelled():
            raise Cancelled
        try:
            name, line = queue.get(timeout=0.1)
        except Empty:
            continue
        if line is None:
            del streams[name]
        else:
            yield name, line


def _read(name: str, stream: TextIO, queue: Queue[tuple[str, str | None]]) -> None:
    with stream:
        for line in stream:
            queue.put((name, line.rstrip("\n")))
    queue.put((name, None))


def _own_group() -> dict[str, Any]:
    """Return options that start a process without a window, and so that it can be ended with its children."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _end(process: subprocess.Popen[str]) -> None:
    """End a process that still runs; its finished tiles remain for --resume."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)  # noqa: S603, S607
        process.wait()
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
