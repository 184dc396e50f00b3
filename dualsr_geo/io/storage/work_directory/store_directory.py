"""Work directory of a run in an object store, where an object appears whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import obstore
from zarr.storage import ObjectStore

from dualsr_geo.errors import OutputError, ResumeError
from dualsr_geo.io.storage.object_store import delete, is_object, names_below, open_store, read_object, zarr_store
from dualsr_geo.io.storage.store_errors import store_errors_as
from dualsr_geo.io.storage.work_directory.checksums import CheckedValues, checksum, decode, encode
from dualsr_geo.io.storage.work_directory.directory import CONCURRENT_REQUESTS, MARKS, RECORD, VALUES, read_mark
from dualsr_geo.io.storage.work_directory.store_lock import OWNER


@dataclass(frozen=True)
class StoreWorkDirectory:
    """A work directory in an object store."""

    url: str

    def create(self) -> None:
        """Do nothing: a store has no folders."""

    def remove(self) -> None:
        """Remove it: the marks before the values, and the record, by which it is recognised, last."""
        names = [n for n in names_below(self.url, OutputError) if n != OWNER]
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
        try:
            return decode(name, read_object(f"{self.url}/{name}", OutputError))
        except OutputError:
            raise
        except ValueError as error:
            raise ResumeError(f"{self.url}/{name} is damaged: {error}. Leave --resume out to start again.") from None

    def put(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON document, of which a reader sees the old or the new one, nothing between."""
        self._put(name, encode(name, value))

    def marks(self) -> dict[int, dict[str, Any] | None]:
        """Return the documents of the finished tiles, in order of their indices; None for a damaged one."""
        stems = [Path(n).stem for n in names_below(self.url, OutputError, MARKS)]
        indices = sorted(int(stem) for stem in stems if stem.isascii() and stem.isdecimal())
        with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
            return dict(zip(indices, pool.map(partial(read_mark, self), indices), strict=True))

    def remove_marks(self, indices: Iterable[int] | None = None) -> None:
        """Mark no tile as finished, or those not."""
        if indices is None:
            names = names_below(self.url, OutputError, MARKS)
        else:
            names = [f"{MARKS}/{index}.json" for index in indices]
        with store_errors_as(OutputError, self.url):
            delete(self.url, names)

    def values(self) -> ObjectStore[Any]:
        """Return the store of the Zarr group with the values."""
        return zarr_store(f"{self.url}/{VALUES}", read_only=False)

    def checked_values(self) -> CheckedValues:
        """Return a Zarr store of the values that keeps the checksums of what is written to it."""
        return CheckedValues(self.values())

    def sync(self, keys: Iterable[str]) -> None:
        """Do nothing: a store answers when it has an object."""

    def checksums(self, keys: Iterable[str]) -> dict[str, int | None]:
        """Return the checksums of objects of the values; None for one that is missing."""
        names = list(keys)
        with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
            contents = pool.map(self.metadata, names)
            return {n: None if c is None else checksum(c) for n, c in zip(names, contents, strict=True)}

    def metadata(self, name: str) -> bytes | None:
        """Return a document of the values; None if it is missing."""
        with store_errors_as(OutputError, self.url):
            try:
                return bytes(obstore.get(open_store(f"{self.url}/{VALUES}"), name).bytes())
            except FileNotFoundError:
                return None

    def put_metadata(self, name: str, content: bytes) -> None:
        """Write a document of the values."""
        self._put(f"{VALUES}/{name}", content)

    def make_room(self, keys: Iterable[str]) -> None:
        """Do nothing: in a store there are only objects."""

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Return a context with the path of a file on disk; a file that is written there is put in the store."""
        with TemporaryDirectory(prefix="dualsr-") as folder:
            path, before = Path(folder) / name, None
            if self.has(name):
                before = read_object(f"{self.url}/{name}", OutputError)
                path.write_bytes(before)
            yield path
            if path.exists() and path.read_bytes() != before:
                self._put(name, path)

    def _put(self, name: str, content: bytes | Path) -> None:
        with store_errors_as(OutputError, self.url):
            obstore.put(open_store(self.url), name, content)
