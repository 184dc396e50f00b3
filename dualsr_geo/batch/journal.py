"""What has become of each scene of an archive, in a file that a kill leaves readable.

A line of `batch.jsonl` is a change of one scene, its last line holds. It says what this program
believes: whether a product is finished, and of which run, the product itself says.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from dualsr_geo.errors import OutputError
from dualsr_geo.serialization import plain_values, write_atomically

STATUSES = ("planned", "running", "done", "failed", "skipped")
LEDGER, LOCK, OWNER = "batch.jsonl", "batch.lock", "batch.owner.json"

_appending = threading.Lock()


@dataclass(frozen=True)
class Journal:
    """The ledger of an output folder.

    Attributes
    ----------
    folder : Path
    """

    folder: Path

    def read(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Return what the batch was asked for, and what is known of each scene by its key.

        A line that a kill cut off is passed over.
        """
        try:
            lines = (self.folder / LEDGER).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return {}, {}
        asked: dict[str, Any] = {}
        scenes: dict[str, dict[str, Any]] = {}
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if "scene" in value:
                scenes[value["scene"]] = value
            else:
                asked = value
        return asked, scenes

    def begin(self, asked: Mapping[str, Any], scenes: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the ledger anew, at once: a line for what was asked, one a scene."""
        lines = [asked, *scenes.values()]
        write_atomically(self.folder / LEDGER, "".join(f"{json.dumps(plain_values(line))}\n" for line in lines))

    def put(self, scene: Mapping[str, Any]) -> None:
        """Say what has become of a scene.

        Raises
        ------
        OutputError
            If it cannot be written: then nothing else could be.
        """
        line = f"{json.dumps(plain_values(scene))}\n".encode()
        try:
            with _appending, (self.folder / LEDGER).open("ab", buffering=0) as file:
                file.write(line)
        except OSError as error:
            raise OutputError(
                f"The ledger {self.folder / LEDGER} cannot be written: {error.strerror}. Mend that, then give --resume."
            ) from error

    def owner(self) -> dict[str, Any] | None:
        """Return pid, host and since of the process that is at work here; None where none is known to live."""
        try:
            found: dict[str, Any] = json.loads((self.folder / OWNER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        elsewhere = found.get("host") != socket.gethostname()
        return found if elsewhere or psutil.pid_exists(int(found.get("pid", -1))) else None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other batches out of the folder.

        The lock is the system's (flock), which ends with its process however that ends.

        Raises
        ------
        OutputError
            If another process holds it; the message says which, where and since when.
        """
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(
                f"{self.folder} is being worked on{self._by()}. Wait for it, or give another --output."
            ) from error
        try:
            me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S %z")}
            write_atomically(self.folder / OWNER, json.dumps(me))
            yield
        finally:
            (self.folder / OWNER).unlink(missing_ok=True)
            lock.release()

    def _by(self) -> str:
        who = self.owner()
        return "" if who is None else f" by process {who['pid']} on {who['host']} since {who['since']}"


def one_line(text: object) -> str:
    """Return a text as one line: what does not print, newlines in names included, as its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text).strip())
