"""Work directory of a run on disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualsr_geo.errors import OutputError, ResumeError
from dualsr_geo.io.storage.side_files import kind_of, require_output_name
from dualsr_geo.io.storage.work_directory.checksums import CheckedValues, SyncedStore, checksum, decode, encode
from dualsr_geo.io.storage.work_directory.directory import MARKS, RECORD, VALUES, WORK, read_mark
from dualsr_geo.io.storage.work_directory.ownership import locked
from dualsr_geo.serialization import PARTIAL, sync_directory, write_atomically

# A group that is replaced, until the new one is in its place; and the key of the record that says so.
BACKUP, HAS_BACKUP = "old.zarr", "has_backup"
LOCK, OWNER = "lock", "owner.json"
# Files of GDAL, which may have sidecars.
STAGE, PRODUCT = "stage.", "product."
# The fitted fine stage.
FITTED_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class LocalWorkDirectory:
    """A work directory on disk."""

    path: Path

    def require_parent(self, way_out: str) -> None:
        """Check that it can be created; `way_out` is what to give instead.

        Raises
        ------
        OutputError
            If its name is none for a file, or its parent folder is missing or not writable.
        """
        output, parent = self.path.with_name(self.path.name.removesuffix(WORK)), self.path.parent
        require_output_name(output, way_out, WORK)
        if not parent.is_dir():
            raise OutputError(f"The folder {parent} of {output.name} does not exist. Create it, or give {way_out}.")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise OutputError(f"The folder {parent} is not writable. Give {way_out}.")

    def require_ours(self, way_out: str) -> None:
        """Check that nothing else has its name; `way_out` is what to give instead.

        Raises
        ------
        OutputError
            If it is a link or no folder, or holds what no run leaves there.
        """
        kind = kind_of(self.path)
        if kind is None:
            return
        if kind != "folder" or not self._is_ours():
            what = "" if kind == "folder" else f" (a {kind})"
            raise OutputError(
                f"{self.path} is needed as the work directory, but is not ours{what}. Move it, or give {way_out}."
            )

    def _is_ours(self) -> bool:
        """Return whether a folder holds only what a run leaves there."""
        names = [p.name for p in self.path.iterdir() if not p.name.endswith(PARTIAL)]
        begun = kind_of(self.path / RECORD) is not None
        if BACKUP in names and not self.has_backup():
            return False
        names_of_runs = {RECORD, MARKS, VALUES, BACKUP, LOCK, OWNER} if begun else {LOCK, OWNER}
        return all(n in names_of_runs or (begun and _is_temporary(n)) for n in names)

    def has_backup(self) -> bool:
        """Return whether a run has put the group here that its output replaces."""
        try:
            return (self.path / BACKUP).is_dir() and bool(self.read(RECORD).get(HAS_BACKUP))
        except ResumeError:
            return False

    @contextmanager
    def locked(self, output: str) -> Iterator[None]:
        """Keep other runs out; a folder in which the run leaves nothing is removed.

        Raises
        ------
        OutputError
            If another run is in it; the message names the process, its host and its start.
        """

        def refuse(holder: str) -> OutputError:
            return OutputError(f"{output} is being written{holder}. Wait for it, or give another --output.")

        with locked(self.path / LOCK, self.path / OWNER, refuse, prepare=self._prepare_lock, leave=self._remove_empty):
            yield

    def _prepare_lock(self) -> None:
        self.create()
        for name in (LOCK, OWNER):
            if kind_of(self.path / name) not in (None, "file"):
                # A run makes files of these names.
                remove(self.path / name)

    def _remove_empty(self) -> None:
        if [p.name for p in self.path.iterdir()] == [LOCK]:
            (self.path / LOCK).unlink()
            self.path.rmdir()

    def create(self) -> None:
        """Create it, empty."""
        self.path.mkdir(exist_ok=True)

    def remove(self) -> None:
        """Remove it: the marks before the values, and the record, by which it is recognised, last; no link is followed."""
        if not self.path.exists():
            return
        remove(self.path / MARKS)
        last = {RECORD, LOCK, OWNER}
        for item in self.path.iterdir():
            if item.name not in last:
                remove(item)
        remove(self.path / RECORD)
        if not (self.path / LOCK).exists():
            self.path.rmdir()

    def remove_partial_files(self) -> None:
        """Remove the files that a killed process did not finish."""
        for file in [*self.path.rglob(f"*{PARTIAL}"), *self.path.glob(f"{STAGE}*"), *self.path.glob(f"{PRODUCT}*")]:
            remove(file)
        if kind_of(self.path / MARKS) not in (None, "folder"):
            remove(self.path / MARKS)
        (self.path / MARKS).mkdir(exist_ok=True)

    def has(self, name: str) -> bool:
        """Return whether a file exists."""
        return (self.path / name).exists()

    def read(self, name: str) -> dict[str, Any]:
        """Return a JSON document."""
        try:
            return decode(name, (self.path / name).read_bytes())
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
        except ValueError as error:
            reason = f"is damaged: {error}"
        raise ResumeError(f"{self.path / name} {reason}. Leave --resume out to start again.")

    def put(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON document, of which a reader sees the old or the new one, nothing between."""
        write_atomically(self.path / name, encode(name, value), sync=name == RECORD)

    def marks(self) -> dict[int, dict[str, Any] | None]:
        """Return the documents of the finished tiles, in order of their indices; None for a damaged one."""
        indices = sorted(int(p.stem) for p in (self.path / MARKS).glob("*.json") if _is_index(p.stem))
        return {i: read_mark(self, i) for i in indices}

    def remove_marks(self, indices: Iterable[int] | None = None) -> None:
        """Mark no tile as finished, or those not."""
        if indices is None:
            remove(self.path / MARKS)
            (self.path / MARKS).mkdir(exist_ok=True)
        for index in indices or ():
            remove(self.path / MARKS / f"{index}.json")

    def values(self) -> Path:
        """Return the path of the Zarr group with the values."""
        return self.path / VALUES

    def checked_values(self) -> CheckedValues:
        """Return a Zarr store of the values that keeps the checksums of what is written to it."""
        return CheckedValues(SyncedStore(self.values()))

    def sync(self, keys: Iterable[str]) -> None:
        """Wait until the names of some objects of the values, which `checked_values` wrote, are on disk."""
        # Not of the folders above: what a power cut takes away with them is recognised by its checksum.
        with suppress(FileNotFoundError):
            for folder in {self.values() / Path(key).parent for key in keys}:
                sync_directory(folder)

    def checksums(self, keys: Iterable[str]) -> dict[str, int | None]:
        """Return the checksums of objects of the values; None for one that is missing."""
        return {key: None if (content := self.metadata(key)) is None else checksum(content) for key in keys}

    def metadata(self, name: str) -> bytes | None:
        """Return a document of the values; None if it is missing."""
        try:
            return (self.values() / name).read_bytes()
        except OSError:
            return None

    def put_metadata(self, name: str, content: bytes) -> None:
        """Write a document of the values."""
        path = self.values() / name
        if kind_of(path) not in (None, "file"):
            remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content, sync=True)

    def make_room(self, keys: Iterable[str]) -> None:
        """Remove what is no object in the place of objects of the values."""
        for key in keys:
            for part in reversed(Path(key).parents[:-1]):
                if kind_of(self.values() / part) not in (None, "folder"):
                    remove(self.values() / part)
            if kind_of(self.values() / key) not in (None, "file"):
                remove(self.values() / key)

    def file(self, name: str) -> AbstractContextManager[Path]:
        """Return a context with the path of a file; a file that is written there is kept."""
        return _path(self.path / name)


@contextmanager
def _path(path: Path) -> Iterator[Path]:
    if kind_of(path) not in (None, "file"):
        remove(path)
    yield path


def remove(path: Path) -> None:
    """Remove a file, a link or a folder; a link is removed, not what it leads to."""
    kind = kind_of(path)
    if kind == "folder":
        shutil.rmtree(path)
    elif kind is not None:
        path.unlink(missing_ok=True)


def _is_temporary(name: str) -> bool:
    return name.startswith((STAGE, PRODUCT)) or name.endswith(FITTED_SUFFIX)


def _is_index(stem: str) -> bool:
    return stem.isascii() and stem.isdecimal() and len(stem) < 10 and str(int(stem)) == stem
