"""The process that works on an output: its record, and the lock of the system that goes with it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from dualsr_geo.errors import OutputError
from dualsr_geo.serialization import write_atomically

# How often a lock is tried whose file is removed by the run that ends at the same time.
ATTEMPTS = 20
# Two clocks of one process may differ by the time that the system takes to start it, seconds.
START_TOLERANCE_S = 2.0


@dataclass(frozen=True)
class Owner:
    """A process that works on an output.

    Attributes
    ----------
    pid : int
    host : str
    since : str
        When it began, local time with its offset.
    started : float
        When the process started, seconds since 1970; a process number is used again after a restart.
    """

    pid: int
    host: str
    since: str
    started: float

    @classmethod
    def this_process(cls) -> Owner:
        """Return the record of this process."""
        since = time.strftime("%Y-%m-%d %H:%M:%S %z")
        return cls(os.getpid(), socket.gethostname(), since, psutil.Process().create_time())

    @classmethod
    def read(cls, content: bytes) -> Owner | None:
        """Return the record of a document; None for a damaged one."""
        try:
            values = json.loads(content)
            owner = cls(int(values["pid"]), str(values["host"]), str(values["since"]), float(values["started"]))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
        return owner if 0 < owner.pid < 1 << 31 else None

    @property
    def is_here(self) -> bool:
        """Whether it is of this machine."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether the process of this machine still runs."""
        try:
            started = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True
        return bool(abs(started - self.started) <= START_TOLERANCE_S)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return asdict(self)

    def __str__(self) -> str:
        host, since = (text.encode("unicode_escape").decode()[:100] for text in (self.host, self.since))
        return f"process {self.pid} on {host} since {since}"


def owner_of(path: Path) -> Owner | None:
    """Return the owner in a file; None if it is missing or damaged."""
    try:
        return Owner.read(path.read_bytes())
    except OSError:
        return None


@contextmanager
def locked(
    lock: Path,
    owner: Path,
    refuse: Callable[[str], OutputError],
    *,
    prepare: Callable[[], None] = lambda: None,
    leave: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Hold a lock that only one process can hold, and record the process; both end with the process.

    The lock is that of the system (flock), which a killed process cannot keep. On NFS Linux makes it a lock of the
    server, which holds between machines unless the mount has ``nolock`` or ``local_lock``; Lustre needs the mount
    option ``flock``. Where there is no flock at all, filelock uses a file with the number of its process.

    Parameters
    ----------
    lock, owner : Path
        The files of the lock and of the record.
    refuse : callable
        Returns the error for the holder, e.g. `` by process 12 on host since ...``, or an empty text.
    prepare, leave : callable
        Creates their folder, which a run that ends may have just removed; removes it where nothing is left in it.

    Raises
    ------
    OutputError
        As `refuse` returns it if another process or thread has the lock; or if the lock cannot be written.
    """
    try:
        lock_of_system = _acquire(lock, prepare)
    except OSError as error:
        raise OutputError(
            f"{lock.parent} cannot be locked: {error.strerror or error}. Give another --output."
        ) from error
    if lock_of_system is None:
        holder = owner_of(owner)
        raise refuse("" if holder is None else f" by {holder}")
    try:
        with suppress(OSError):
            # It is for messages only.
            write_atomically(owner, json.dumps(Owner.this_process().to_json()))
        yield
    finally:
        with suppress(OSError):
            owner.unlink(missing_ok=True)
            leave()
        lock_of_system.release()


def _acquire(path: Path, prepare: Callable[[], None]) -> FileLock | None:
    for _ in range(ATTEMPTS):
        prepare()
        lock = FileLock(path)
        try:
            path.touch()
            before = path.stat().st_ino
            lock.acquire(timeout=0)
            if path.stat().st_ino == before:
                return lock
        except (Timeout, RuntimeError):
            # filelock's RuntimeError: this thread has the lock already.
            return None
        except FileNotFoundError:
            pass
        # The run that lock_of_system the lock ended and removed its file.
        lock.release()
        time.sleep(0.01)
    return None
