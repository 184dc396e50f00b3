"""The work folder of a run, on disk or in an object store: its record, its marks, its values."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import obstore
from zarr.storage import ObjectStore

from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.object_store import delete, is_object, named, names_below, open_store, zarr_store
from dualsr_geo.io.storage.urls import is_url
from dualsr_geo.serialization import PARTIAL, write_atomically

RECORD = "run.json"
MARKS = "done"
VALUES = "store.zarr"

# Requests at once: each waits tens of milliseconds for the store.
AT_ONCE = 32


class WorkDirectory(Protocol):
    """What a run keeps until its product is in its place."""

    def make(self) -> None:
        """Create it, empty."""
        ...

    def remove(self) -> None:
        """Remove it: no mark may outlive its tile, nor anything what makes it ours."""
        ...

    def sweep(self) -> None:
        """Remove what killed writers left half-written."""
        ...

    def has(self, name: str) -> bool:
        """Say whether a file is there."""
        ...

    def read(self, name: str) -> dict[str, Any]:
        """Return a JSON document."""
        ...

    def put(self, name: str, value: object) -> None:
        """Write JSON so that a reader sees the old document or the new one, nothing between."""
        ...

    def marks(self) -> dict[int, dict[str, Any]]:
        """Return the tiles marked as done and what was said of each, in order."""
        ...

    def forget_marks(self) -> None:
        """Mark no tile as done."""
        ...

    def values(self, *, read_only: bool = False) -> Path | ObjectStore[Any]:
        """Return what Zarr keeps the values in."""
        ...

    def file(self, name: str) -> Any:  # a context manager of Path
        """Lend a file on disk; what is written to it is kept when it is given back."""
        ...


def work_directory_at(where: str) -> WorkDirectory:
    """Return the work folder at a path or a URL."""
    return StoreWorkDirectory(where) if is_url(where) else LocalWorkDirectory(Path(where))


@dataclass(frozen=True)
class LocalWorkDirectory:
    """A work folder on disk."""

    path: Path

    def make(self) -> None:
        """Create it, empty."""
        self.path.mkdir()

    def remove(self) -> None:
        """Remove it: no mark may outlive its tile, nor anything what makes it ours."""
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

    def sweep(self) -> None:
        """Remove what killed writers left half-written."""
        for left in self.path.rglob(f"*{PARTIAL}"):
            left.unlink()
        for pattern in ("stage.*", "product*"):
            for left in self.path.glob(pattern):
                left.unlink()
        (self.path / MARKS).mkdir(exist_ok=True)

    def has(self, name: str) -> bool:
        """Say whether a file is there."""
        return (self.path / name).exists()

    def read(self, name: str) -> dict[str, Any]:
        """Return a JSON document."""
        found: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        return found

    def put(self, name: str, value: object) -> None:
        """Write JSON so that a reader sees the old document or the new one, nothing between."""
        write_atomically(self.path / name, json.dumps(value, sort_keys=True))

    def marks(self) -> dict[int, dict[str, Any]]:
        """Return the tiles marked as done and what was said of each, in order."""
        numbers = sorted(int(p.stem) for p in (self.path / MARKS).glob("*.json"))
        return {n: self.read(f"{MARKS}/{n}.json") for n in numbers}

    def forget_marks(self) -> None:
        """Mark no tile as done."""
        shutil.rmtree(self.path / MARKS, ignore_errors=True)
        (self.path / MARKS).mkdir()

    def values(self, *, read_only: bool = False) -> Path:  # noqa: ARG002  # as its sister
        """Return what Zarr keeps the values in."""
        return self.path / VALUES

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Lend a file on disk; what is written to it is kept when it is given back."""
        yield self.path / name


@dataclass(frozen=True)
class StoreWorkDirectory:
    """A work folder in an object store, where every object appears whole or not at all."""

    url: str

    def make(self) -> None:
        """Do nothing: a store has no folders."""

    def remove(self) -> None:
        """Remove it: no mark may outlive its tile, nor anything what makes it ours."""
        names = names_below(self.url, OutputError)
        with self._named():
            for first in (True, False):
                delete(self.url, [n for n in names if n != RECORD and n.startswith(f"{MARKS}/") is first])
            delete(self.url, [n for n in names if n == RECORD])

    def sweep(self) -> None:
        """Do nothing: an object that was not finished is not there."""

    def has(self, name: str) -> bool:
        """Say whether an object is there."""
        return is_object(f"{self.url}/{name}", OutputError)

    def read(self, name: str) -> dict[str, Any]:
        """Return a JSON document."""
        with self._named():
            found: dict[str, Any] = json.loads(bytes(obstore.get(self._store, name).bytes()))
        return found

    def put(self, name: str, value: object) -> None:
        """Write JSON; a store shows the old object or the new one, nothing between."""
        with self._named():
            obstore.put(self._store, name, json.dumps(value, sort_keys=True).encode())

    def marks(self) -> dict[int, dict[str, Any]]:
        """Return the tiles marked as done and what was said of each, in order."""
        numbers = sorted(int(Path(n).stem) for n in names_below(self.url, OutputError, MARKS))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(numbers, pool.map(lambda n: self.read(f"{MARKS}/{n}.json"), numbers), strict=True))

    def forget_marks(self) -> None:
        """Mark no tile as done."""
        names = names_below(self.url, OutputError, MARKS)
        with self._named():
            delete(self.url, names)

    def values(self, *, read_only: bool = False) -> ObjectStore[Any]:
        """Return what Zarr keeps the values in."""
        return zarr_store(f"{self.url}/{VALUES}", read_only=read_only)

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Lend a file on disk; what is written to it is kept when it is given back."""
        with TemporaryDirectory(prefix="dualsr-") as folder:
            path, there = Path(folder) / name, self.has(name)
            if there:
                with self._named():
                    path.write_bytes(obstore.get(self._store, name).bytes())
            yield path
            if path.exists() and not there:
                with self._named():
                    obstore.put(self._store, name, path)

    @property
    def _store(self) -> Any:
        return open_store(self.url)

    @contextmanager
    def _named(self) -> Iterator[None]:
        with named(self.url, OutputError):
            yield
