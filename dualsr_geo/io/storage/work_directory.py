"""Work directories of runs, on disk or in an object store: record of the run, marks of its tiles, their values."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import obstore
from zarr.storage import ObjectStore

from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.object_store import delete, is_object, names_below, open_store, read_object, zarr_store
from dualsr_geo.io.storage.store_errors import store_errors_as
from dualsr_geo.serialization import PARTIAL, write_atomically

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
        """Return a JSON document."""
        ...

    def put(self, name: str, value: object) -> None:
        """Write a JSON document, of which a reader sees the old or the new one, nothing between."""
        ...

    def marks(self) -> dict[int, dict[str, Any]]:
        """Return the documents of the finished tiles, in order of their indices."""
        ...

    def remove_marks(self) -> None:
        """Mark no tile as finished."""
        ...

    def values(self) -> Path | ObjectStore[Any]:
        """Return the location of the values, as Zarr opens it."""
        ...

    def file(self, name: str) -> AbstractContextManager[Path]:
        """Return a context with the path of a file on disk; a file that is written there is kept."""
        ...


@dataclass(frozen=True)
class LocalWorkDirectory:
    """A work directory on disk."""

    path: Path

    def require_parent(self, way_out: str) -> None:
        """Check that it can be created; `way_out` is what to give instead.

        Raises
        ------
        OutputError
            If its parent folder is missing or not writable.
        """
        parent = self.path.parent
        if not parent.is_dir():
            raise OutputError(
                f"The folder {parent} of {self.path.name.removesuffix(WORK)} does not exist. "
                f"Create it, or give {way_out}."
            )
        if not os.access(parent, os.W_OK | os.X_OK):
            raise OutputError(f"The folder {parent} is not writable. Give {way_out}.")

    def require_ours(self, way_out: str) -> None:
        """Check that nothing else has its name; `way_out` is what to give instead.

        Raises
        ------
        OutputError
            If it exists, has no record, and holds more than the rest of a record that was not finished.
        """
        if not self.path.exists() or (self.path / RECORD).is_file():
            return
        if not self.path.is_dir() or any(not p.name.removeprefix(".").startswith(RECORD) for p in self.path.iterdir()):
            raise OutputError(
                f"{self.path} is needed as the work directory, but is not ours. Move it, or give {way_out}."
            )

    def create(self) -> None:
        """Create it, empty."""
        self.path.mkdir()

    def remove(self) -> None:
        """Remove it: the marks before the values, and the record, by which it is recognised, last."""
        if not self.path.exists():
            return
        shutil.rmtree(self.path / MARKS, ignore_errors=True)
        for item in self.path.iterdir():
            if item.is_dir():
                shutil.rmtree(item)
            elif item.name != RECORD:
                item.unlink()
        (self.path / RECORD).unlink(missing_ok=True)
        self.path.rmdir()

    def remove_partial_files(self) -> None:
        """Remove the files that a killed process did not finish."""
        files = [*self.path.rglob(f"*{PARTIAL}"), *self.path.glob("stage.*"), *self.path.glob("product*")]
        for file in files:
            file.unlink()
        (self.path / MARKS).mkdir(exist_ok=True)

    def has(self, name: str) -> bool:
        """Return whether a file exists."""
        return (self.path / name).exists()

    def read(self, name: str) -> dict[str, Any]:
        """Return a JSON document."""
        document: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        return document

    def put(self, name: str, value: object) -> None:
        """Write a JSON document, of which a reader sees the old or the new one, nothing between."""
        write_atomically(self.path / name, json.dumps(value, sort_keys=True))

    def marks(self) -> dict[int, dict[str, Any]]:
        """Return the documents of the finished tiles, in order of their indices."""
        indices = sorted(int(p.stem) for p in (self.path / MARKS).glob("*.json"))
        return {i: self.read(f"{MARKS}/{i}.json") for i in indices}

    def remove_marks(self) -> None:
        """Mark no tile as finished."""
        shutil.rmtree(self.path / MARKS, ignore_errors=True)
        (self.path / MARKS).mkdir()

    def values(self) -> Path:
        """Return the path of the Zarr group with the values."""
        return self.path / VALUES

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Return a context with the path of a file; a file that is written there is kept."""
        yield self.path / name


@dataclass(frozen=True)
class StoreWorkDirectory:
    """A work directory in an object store, where an object appears whole or not at all."""

    url: str

    def create(self) -> None:
        """Do nothing: a store has no folders."""

    def remove(self) -> None:
        """Remove it: the marks before the values, and the record, by which it is recognised, last."""
        names = names_below(self.url, OutputError)
        with store_errors_as(OutputError, self.url):
            delete(self.url, [n for n in names if n.startswith(f"{MARKS}/")])
            delete(self.url, [n for n in names if n != RECORD and not n.startswith(f"{MARKS}/")])
            delete(self.url, [n for n in names if n == RECORD])

    def remove_partial_files(self) -> None:
        """Do nothing: an object that was not finished does not exist."""

    def has(self, name: str) -> bool:
        """Return whether an object exists."""
        return is_object(f"{self.url}/{name}", OutputError)

    def read(self, name: str) -> dict[str, Any]:
        """Return a JSON document."""
        document: dict[str, Any] = json.loads(read_object(f"{self.url}/{name}", OutputError))
        return document

    def put(self, name: str, value: object) -> None:
        """Write a JSON document, of which a reader sees the old or the new one, nothing between."""
        self._put(name, json.dumps(value, sort_keys=True).encode())

    def marks(self) -> dict[int, dict[str, Any]]:
        """Return the documents of the finished tiles, in order of their indices."""
        indices = sorted(int(Path(n).stem) for n in names_below(self.url, OutputError, MARKS))
        with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
            return dict(zip(indices, pool.map(lambda i: self.read(f"{MARKS}/{i}.json"), indices), strict=True))

    def remove_marks(self) -> None:
        """Mark no tile as finished."""
        names = names_below(self.url, OutputError, MARKS)
        with store_errors_as(OutputError, self.url):
            delete(self.url, names)

    def values(self) -> ObjectStore[Any]:
        """Return the store of the Zarr group with the values."""
        return zarr_store(f"{self.url}/{VALUES}", read_only=False)

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Return a context with the path of a file on disk; a file that is written there is put in the store."""
        with TemporaryDirectory(prefix="dualsr-") as folder:
            path, exists = Path(folder) / name, self.has(name)
            if exists:
                path.write_bytes(read_object(f"{self.url}/{name}", OutputError))
            yield path
            if path.exists() and not exists:
                self._put(name, path)

    def _put(self, name: str, content: bytes | Path) -> None:
        with store_errors_as(OutputError, self.url):
            obstore.put(open_store(self.url), name, content)
