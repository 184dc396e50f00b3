"""Work directory of a run, on disk or in an object store: record of the run, marks of its tiles, their values.

Every document has a checksum, and a mark has those of the chunks of its tile. A mark is written after the disk has
the chunks (fsync), or after the store has confirmed them, so that a mark that survives a power cut is true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from zarr.storage import ObjectStore

from dualsr_geo.errors import ResumeError
from dualsr_geo.io.storage.work_directory.checksums import CheckedValues

RECORD = "run.json"
MARKS = "done"
VALUES = "store.zarr"
# End of the name of a work directory.
WORK = ".part"

# Each request waits tens of milliseconds for the store.
CONCURRENT_REQUESTS = 32


class WorkDirectory(Protocol):
    """What a run keeps until its output is in its place.

    ``run.json`` is the record of the run, ``store.zarr`` holds the values and ``done/<index>.json`` marks a
    finished tile.
    """

    def create(self) -> None:
        """Create it, empty."""
        ...

    def remove(self) -> None:
        """Remove it: the marks before the values, and the record, by which it is recognised, last."""
        ...

    def remove_partial_files(self) -> None:
        """Remove the files that a killed process did not finish."""
        ...

    def has(self, name: str) -> bool:
        """Return whether a file exists."""
        ...

    def read(self, name: str) -> dict[str, Any]:
        """Return a JSON document.

        Raises
        ------
        ResumeError
            If it is missing or damaged.
        """
        ...

    def put(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON document, of which a reader sees the old or the new one, nothing between."""
        ...

    def marks(self) -> dict[int, dict[str, Any] | None]:
        """Return the documents of the finished tiles, in order of their indices; None for a damaged one."""
        ...

    def remove_marks(self, indices: Iterable[int] | None = None) -> None:
        """Mark no tile as finished, or those not."""
        ...

    def values(self) -> Path | ObjectStore[Any]:
        """Return the location of the values, as Zarr opens it."""
        ...

    def checked_values(self) -> CheckedValues:
        """Return a Zarr store of the values that keeps the checksums of what is written to it."""
        ...

    def sync(self, keys: Iterable[str]) -> None:
        """Wait until the names of some objects of the values, which `checked_values` wrote, are on disk."""
        ...

    def checksums(self, keys: Iterable[str]) -> dict[str, int | None]:
        """Return the checksums of objects of the values; None for one that is missing."""
        ...

    def metadata(self, name: str) -> bytes | None:
        """Return a document of the values; None if it is missing."""
        ...

    def put_metadata(self, name: str, content: bytes) -> None:
        """Write a document of the values."""
        ...

    def make_room(self, keys: Iterable[str]) -> None:
        """Remove what is no object in the place of objects of the values."""
        ...

    def file(self, name: str) -> AbstractContextManager[Path]:
        """Return a context with the path of a file on disk; a file that is written there is kept."""
        ...


def read_mark(directory: WorkDirectory, index: int) -> dict[str, Any] | None:
    """Return the mark of a tile; None if it is damaged."""
    try:
        return directory.read(f"{MARKS}/{index}.json")
    except ResumeError:
        return None
