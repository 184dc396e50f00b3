"""The journal of a batch: the state of each scene, in a file that stays readable after a kill.

Each line of `batch.jsonl` is the state of one scene, and its last line holds. The journal is a hint only:
whether a product is finished, and of which run, is read from the product itself.
"""

from __future__ import annotations

import errno
import json
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualsr_geo.batching.scene_record import SceneRecord
from dualsr_geo.errors import DualSRWarning, OutputError
from dualsr_geo.io.storage.work_directory.ownership import locked, owner_of
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

        Raises
        ------
        OutputError
            If the journal cannot be read.

        Warns
        -----
        DualSRWarning
            If lines are damaged; their scenes have the state of an earlier line, or none.
        """
        try:
            *lines, cut = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}, {}
        except OSError as error:
            raise OutputError(
                f"The journal {self.path} cannot be read: {error.strerror}. Make it readable, or give another --output."
            ) from error
        settings: dict[str, Any] = {}
        records: dict[str, SceneRecord] = {}
        damaged = 0
        for line in (*lines, cut):
            value = _value(line)
            if isinstance(value, SceneRecord):
                records[value.scene] = value
            elif value is not None:
                settings = value
            elif line is not cut and line.strip():
                damaged += 1
        if damaged:
            text = (
                f"The journal {self.path} has {damaged} damaged line{'s' * (damaged > 1)} of {len(lines)}, which "
                f"{'are' if damaged > 1 else 'is'} ignored: whether a product is finished is read from the product."
            )
            warnings.warn(text, DualSRWarning, stacklevel=2)
        return settings, records

    def rewrite(self, settings: Mapping[str, Any], records: Mapping[str, SceneRecord]) -> None:
        """Replace the journal at once: a line of the settings, and one of each scene."""
        lines = [settings, *(record.to_json() for record in records.values())]
        try:
            write_atomically(self.path, "".join(f"{json.dumps(plain_values(line))}\n" for line in lines))
        except OSError as error:
            raise self._unwritable(error) from error

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
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OutputError:
        way_out = "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Make it writable"
        return OutputError(
            f"The journal {self.path} cannot be written: {error.strerror}. {way_out}, then give --resume."
        )

    def owner(self) -> dict[str, Any] | None:
        """Return pid, host and since of the process that works on the batch; None if there is none, or it died."""
        owner = owner_of(self.folder / OWNER_FILE)
        if owner is None or (owner.is_here and not owner.is_alive):
            return None
        return {"pid": owner.pid, "host": owner.host, "since": owner.since}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other batches out of the folder.

        Raises
        ------
        OutputError
            If another process has the lock; the message names the process, its host and its start.
        """

        def refuse(holder: str) -> OutputError:
            return OutputError(f"{self.folder} is being worked on{holder}. Wait for it, or give another --output.")

        with locked(self.folder / LOCK_FILE, self.folder / OWNER_FILE, refuse):
            yield


def _value(line: bytes) -> SceneRecord | dict[str, Any] | None:
    """Return the record of a scene or the settings of the batch in a line; None for a damaged line."""
    try:
        values = json.loads(line)
        if "scene" in values:
            return SceneRecord.from_journal(values)
    except (ValueError, TypeError, RecursionError):
        return None
    return values if isinstance(values, dict) and isinstance(values.get("options"), dict) else None


def one_line(text: object) -> str:
    """Return a text as one line; characters that do not print, such as newlines in names, are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text).strip())
