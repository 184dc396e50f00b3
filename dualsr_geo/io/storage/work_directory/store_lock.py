"""The lock of an output in an object store: an object that names the process, and that only one can create."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError, NotSupportedError, PreconditionError

from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.object_store import delete, open_store
from dualsr_geo.io.storage.store_errors import store_errors_as
from dualsr_geo.io.storage.store_settings import setting
from dualsr_geo.io.storage.work_directory.ownership import Owner

# The object, in the work directory.
OWNER = "owner.json"
# How often a run writes its owner object again, and the age at which another machine takes the run for killed, seconds.
# Ten missed writes: a store that fails for minutes, and clocks that differ by them, leave the lock where it is.
HEARTBEAT_S, STALE_S = 30.0, 300.0
# What stores answer that know no conditional requests.
_UNSUPPORTED = ("NotImplemented", "Not Implemented", "501")

# Raises an OutputError if the run has lost its lock.
Check = Callable[[], None]


@contextmanager
def locked_in_store(folder: str, output: str) -> Iterator[Check]:
    """Hold the lock of an output by an object in its work directory.

    The object is put on the condition that there is none (``If-None-Match``), which S3, Google and Azure decide
    atomically. That of a killed run is replaced on the condition that it is still the same: at once if its process
    was on this machine, else when it is older than `STALE_S`.

    Parameters
    ----------
    folder, output : str
        URLs of the work directory and of the output.

    Yields
    ------
    callable
        Raises OutputError if another run has taken the lock over, as it may after this process was suspended.

    Raises
    ------
    OutputError
        If another run has the lock, or the store refuses.
    """
    lock = _StoreLock(folder, output)
    with store_errors_as(OutputError, output):
        lock.acquire()
    beat = threading.Thread(target=lock.beat, name="store lock", daemon=True)
    beat.start()
    try:
        yield lock.require_held
    finally:
        lock.ended.set()
        beat.join(HEARTBEAT_S)
        with suppress(BaseError, OSError):
            if lock.is_held():
                delete(folder, [OWNER])


class _StoreLock:
    def __init__(self, folder: str, output: str) -> None:
        self.folder, self.output = folder, output
        self.token = uuid.uuid4().hex
        self.body = json.dumps({**Owner.this_process().to_json(), "token": self.token}).encode()
        self.version: dict[str, Any] = {}
        self.ended = threading.Event()

    def acquire(self) -> None:
        """Create the object, or replace that of a killed run.

        Raises
        ------
        OutputError
            If another run has the lock.
        """
        if self._put("create"):
            return
        other = self._read()
        if other is None:
            # The other run ended in between.
            if self._put("create"):
                return
            other = self._read()
        owner, age_s, version = other or (None, 0.0, {})
        killed = not owner.is_alive if owner is not None and owner.is_here else age_s > STALE_S
        if not (killed and self._put(version)):
            raise self._refusal(owner, age_s)

    def beat(self) -> None:
        """Write the object again and again until the run ends; another run's is left as it is."""
        while not self.ended.wait(HEARTBEAT_S):
            # A store that fails now may answer at the next beat.
            with suppress(BaseError, OSError):
                self._put(self.version)

    def is_held(self) -> bool:
        """Return whether the object is that of this run."""
        return self._token() == self.token

    def require_held(self) -> None:
        """Raise OutputError if the object is not that of this run."""
        with store_errors_as(OutputError, self.output):
            if self.is_held():
                return
        raise OutputError(
            f"{self.output}: another run has taken over its work directory, because this one did not report for "
            f"{STALE_S:.0f} s. Wait for the other run."
        )

    def _put(self, mode: Any) -> bool:  # "create", or the version that is to be replaced
        """Put the object on a condition; return whether it was fulfilled. obstore does not repeat such requests."""
        remaining = int(setting("GDAL_HTTP_MAX_RETRY"))
        while True:
            try:
                answer = obstore.put(open_store(self.folder), OWNER, self.body, mode=mode)
            except (AlreadyExistsError, PreconditionError):
                # The request before may have arrived, and only its answer was lost.
                return self._adopt()
            except NotSupportedError:
                return self._put_plainly(mode)
            except GenericError as error:
                if any(text in str(error) for text in _UNSUPPORTED):
                    return self._put_plainly(mode)
                if not remaining:
                    raise
                remaining -= 1
                time.sleep(float(setting("GDAL_HTTP_RETRY_DELAY")))
            else:
                self.version = _version(answer)
                return True

    def _put_plainly(self, mode: Any) -> bool:  # as `_put`
        """Put the object in a store without conditions: look, put, and see whose object remains."""
        if mode == "create" and self._read() is not None:
            return self._adopt()
        self.version = _version(obstore.put(open_store(self.folder), OWNER, self.body))
        time.sleep(float(setting("GDAL_HTTP_RETRY_DELAY")))
        return self._adopt()

    def _adopt(self) -> bool:
        if self._token() != self.token:
            return False
        other = self._read()
        self.version = {} if other is None else other[2]
        return other is not None

    def _token(self) -> str | None:
        try:
            values = json.loads(bytes(obstore.get(open_store(self.folder), OWNER).bytes()))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        return str(values.get("token")) if isinstance(values, dict) else None

    def _read(self) -> tuple[Owner | None, float, dict[str, Any]] | None:
        """Return owner, age in seconds and version of the object; None if there is none."""
        try:
            answer = obstore.get(open_store(self.folder), OWNER)
        except FileNotFoundError:
            return None
        age_s = (datetime.now(UTC) - answer.meta["last_modified"]).total_seconds()
        return Owner.read(bytes(answer.bytes())), age_s, _version(answer.meta)

    def _refusal(self, owner: Owner | None, age_s: float) -> OutputError:
        holder = "another run" if owner is None else str(owner)
        return OutputError(
            f"{self.output} is being written by {holder}, which reported {max(0.0, age_s):.0f} s ago. Wait for it, or give "
            f"another --output; a run that was killed on another machine is recognised after {STALE_S:.0f} s."
        )


def _version(answer: Any) -> dict[str, Any]:  # obstore's ObjectMeta or PutResult
    """Return what identifies an object's content in a condition."""
    return {name: answer[name] for name in ("e_tag", "version") if answer.get(name) is not None}
