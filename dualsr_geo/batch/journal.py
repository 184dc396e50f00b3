"""The journal of a batch: the state of each scene, in a file that stays readable after a kill.

Each line of `batch.jsonl` is the state of one scene, and its last line holds. The journal is a hint only:
whether a product is finished, and of which run, is read from the product itself.
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

from dualsr_geo.batch.scene_record import SceneRecord
from dualsr_geo.errors import OutputError
from dualsr_geo.serialization import plain_values, write_atomically

JOURNAL_FILE, LOCK_FILE, OWNER_FILE = "batch.jsonl", "batch.lock", "batch.owner.json"

_append_lock = threading.Lock()


@dataclass(frozen=True)
class Journal:
    """The journal of an output folder.

    Attributes
    ----------
    folder : Path
    """

    folder: Path

    @property
    def path(self) -> Path:
        """The file of the journal."""
        return self.folder / JOURNAL_FILE

    def read(self) -> tuple[dict[str, Any], dict[str, SceneRecord]]:
        """Return the settings of the batch and the records of its scenes by key; both are empty without a journal.

        A line that a kill cut short is ignored.
        """
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return {}, {}
        settings: dict[str, Any] = {}
        records: dict[str, SceneRecord] = {}
        for line in lines:
            try:
                values = json.loads(line)
            except ValueError:
                continue
            if "scene" in values:
                records[values["scene"]] = SceneRecord.from_journal(values)
            else:
                settings = values
        return settings, records

    def rewrite(self, settings: Mapping[str, Any], records: Mapping[str, SceneRecord]) -> None:
        """Replace the journal at once: a line of the settings, and one of each scene."""
        lines = [settings, *(record.to_json() for record in records.values())]
        write_atomically(self.path, "".join(f"{json.dumps(plain_values(line))}\n" for line in lines))

    def append(self, record: SceneRecord) -> None:
        """Write the new state of a scene.

        Raises
        ------
        OutputError
            If the journal cannot be written, which ends the batch.
        """
        line = f"{json.dumps(plain_values(record.to_json()))}\n".encode()
        try:
            with _append_lock, self.path.open("ab", buffering=0) as file:
                file.write(line)
        except OSError as error:
            raise OutputError(
                f"The journal {self.path} cannot be written: {error.strerror}. Make it writable, then give --resume."
            ) from error

    def owner(self) -> dict[str, Any] | None:
        """Return pid, host and since of the process that works on the batch; None if there is none, or it died."""
        try:
            owner: dict[str, Any] = json.loads((self.folder / OWNER_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        on_other_host = owner.get("host") != socket.gethostname()
        return owner if on_other_host or psutil.pid_exists(int(owner.get("pid", -1))) else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other batches out of the folder.

        The lock is that of the system (flock), which ends with the process.

        Raises
        ------
        OutputError
            If another process has the lock; the message names the process, its host and its start.
        """
        lock = FileLock(self.folder / LOCK_FILE)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(
                f"{self.folder} is being worked on{self._by_owner()}. Wait for it, or give another --output."
            ) from error
        try:
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S %z")}
            write_atomically(self.folder / OWNER_FILE, json.dumps(owner))
            yield
        finally:
            (self.folder / OWNER_FILE).unlink(missing_ok=True)
            lock.release()

    def _by_owner(self) -> str:
        owner = self.owner()
        return "" if owner is None else f" by process {owner['pid']} on {owner['host']} since {owner['since']}"


def one_line(text: object) -> str:
    """Return a text as one line; characters that do not print, such as newlines in names, are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text).strip())
