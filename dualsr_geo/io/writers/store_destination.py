"""Destination of an output in an object store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import obstore

from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.object_store import delete, has_objects, is_object, names_below, open_store
from dualsr_geo.io.storage.side_files import ZARR_DOCUMENTS, require_output_name
from dualsr_geo.io.storage.store_errors import store_errors_as
from dualsr_geo.io.storage.urls import is_writable, shown, split, url_of
from dualsr_geo.io.storage.work_directory.directory import CONCURRENT_REQUESTS, RECORD, VALUES, WORK, WorkDirectory
from dualsr_geo.io.storage.work_directory.local_directory import LocalWorkDirectory
from dualsr_geo.io.storage.work_directory.store_directory import StoreWorkDirectory
from dualsr_geo.io.storage.work_directory.store_lock import OWNER, Check, locked_in_store
from dualsr_geo.io.storage.zarr_groups import has_group, is_our_group
from dualsr_geo.io.writers.local_destination import SIDECARS, sidecars
from dualsr_geo.raster.scene import Scene

# A store takes at most 10,000 parts of a file, none below 5 MiB.
PART_BYTES, MAX_PARTS = 8 << 20, 10_000


@dataclass(frozen=True)
class StoreDestination:
    """A destination in an object store; of a TIFF, which GDAL cannot write otherwise, the work directory is on disk."""

    path: str
    format: str
    work_dir: str | None = None

    @property
    def work(self) -> str:
        """Path or URL of the work directory."""
        return f"{self.path}{WORK}" if self.format == "Zarr" else str(self.folder)

    @property
    def folder(self) -> Path:
        """The work directory of a TIFF, on disk."""
        # Outputs of one name in several buckets have a folder each.
        digest = hashlib.sha256(self.path.encode()).hexdigest()[:8]
        return Path(os.path.abspath(self.work_dir or ".")) / f"{Path(self.path).name}.{digest}{WORK}"

    @property
    def work_directory(self) -> WorkDirectory:
        """The work directory, which may not exist yet."""
        return StoreWorkDirectory(self.work) if self.format == "Zarr" else LocalWorkDirectory(self.folder)

    @property
    def keeps_values_on_disk(self) -> bool:
        """Whether the output is a TIFF, whose work directory is on disk."""
        return self.format != "Zarr"

    def require_apart(self, inputs: Sequence[Scene]) -> None:
        """Check that the output replaces none of its inputs."""
        self._require_object_url()
        require_output_name(self.path, "another --output")
        for url in (url_of(f) for scene in inputs for f in scene.source.files_read()):
            if url is not None and f"{shown(url).rstrip('/')}/".startswith(f"{shown(self.path)}/"):
                raise OutputError(f"The output {self.path} is the input {shown(url)} itself. Give another --output.")

    def require_free(self, *, overwrite: bool) -> None:
        """Check, by reading only, that the output can be written."""
        self._require_object_url()
        inside, file = has_objects(self.path, OutputError), is_object(self.path, OutputError)
        group = inside and has_group(self.path, OutputError)
        if (file or group) and not overwrite:
            raise OutputError(f"{self.path} exists. Give --overwrite to replace it, or another --output.")
        if self.format == "Zarr":
            if group and not is_our_group(self.path):
                raise OutputError(
                    f"{self.path} exists and is no product of dualsr-geo, so it is not replaced. Remove it, or give "
                    "another --output."
                )
            self._require_free_for_group(file=file, others=inside and not group)
            return
        if inside:
            raise OutputError(f"{self.path} is a folder and {self.format} is a file. Give another --output.")
        folder = LocalWorkDirectory(self.folder)
        folder.require_parent("another --work-dir")
        folder.require_ours("another --work-dir")

    def _require_free_for_group(self, *, file: bool, others: bool) -> None:
        ours = self.work_directory.has(RECORD)
        # A run that was killed while it put a group there left objects that are no group yet.
        if file or (others and not ours):
            raise OutputError(f"{self.path} exists and is not Zarr, so it is not replaced. Give another --output.")
        if not ours and any(name != OWNER for name in names_below(self.work, OutputError)):
            raise OutputError(
                f"{self.work} is needed as the work directory, but is not ours. Move it, or give another --output."
            )

    @contextmanager
    def locked(self) -> Iterator[Check]:
        """Keep other runs away from the output, whatever their work directories."""
        self._require_object_url()
        with locked_in_store(f"{self.path}{WORK}", self.path) as require_held:
            if self.format == "Zarr":
                yield require_held
                return
            folder, way_out = LocalWorkDirectory(self.folder), "another --work-dir"
            folder.require_parent(way_out)
            folder.require_ours(way_out)
            with folder.locked(self.path):
                yield require_held

    def require_writable(self) -> None:
        """Check, by writing an object, that a file can be put there; a group is written there from the beginning."""
        if self.format == "Zarr":
            return
        root, _, name = self.path.rpartition("/")
        with store_errors_as(OutputError, self.path):
            obstore.put(open_store(root), f"{name}{WORK}", b"dualsr-geo checks that it may write here.\n")
            delete(root, [f"{name}{WORK}"])

    def put_file(self, file: Path) -> None:
        """Put a finished file in its place; it appears when its last part has arrived."""
        root, _, name = self.path.rpartition("/")
        stem = name.rpartition(".")[0]
        with store_errors_as(OutputError, self.path):
            for sidecar, suffix in sidecars(file):
                _upload(root, stem + suffix, sidecar)
            _upload(root, name, file)
            delete(root, [name + s for s in SIDECARS if is_object(self.path + s, OutputError)])

    def put_group(self) -> None:
        """Put the finished Zarr group in its place: copied within the bucket, the documents last."""
        scheme, bucket, target = split(self.path)
        source = f"{split(self.work)[2]}/{VALUES}"
        store = open_store(f"{scheme}://{bucket}")
        with store_errors_as(OutputError, self.path):
            self._remove_group()
            names = names_below(f"{self.work}/{VALUES}", OutputError)
            documents = sorted((n for n in names if n.endswith("zarr.json")), key=lambda n: (-n.count("/"), n))

            def copy(name: str) -> None:
                obstore.copy(store, f"{source}/{name}", f"{target}/{name}")

            with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
                list(pool.map(copy, [n for n in names if not n.endswith("zarr.json")]))
            for name in documents:
                copy(name)

    def _remove_group(self) -> None:
        """Remove an old group, the documents by which it is recognised first."""
        names = names_below(self.path, OutputError)
        delete(self.path, [n for n in names if n in ZARR_DOCUMENTS])
        delete(self.path, [n for n in names if n not in ZARR_DOCUMENTS])

    def has_leftovers(self) -> bool:
        """Return whether there is an object in the work directory in the store, or a folder on disk."""
        return (self.keeps_values_on_disk and self.folder.is_dir()) or has_objects(f"{self.path}{WORK}", OutputError)

    def roll_back(self) -> None:
        """Do nothing: a group is copied, and the old one is removed before."""

    def _require_object_url(self) -> None:
        """Check that a store can be written to, and that the URL names an object in a bucket."""
        scheme, bucket, key = split(self.path)
        if not is_writable(self.path):
            raise OutputError(
                f"{shown(self.path)}: {scheme}:// can be read, not written. Give --output s3://, gs://, az:// or a file."
            )
        if shown(self.path) != self.path:
            raise OutputError(
                f"--output {shown(self.path)} has a user, a password or a query, which an object's name has not. "
                f"Give {scheme}://bucket/name.tif, and credentials in the environment (docs/stores.md)."
            )
        if not (bucket and key):
            raise OutputError(
                f"{shown(self.path)} names no object in a bucket. Give --output {scheme}://bucket/name.tif."
            )


def _upload(root: str, name: str, file: Path) -> None:
    part_bytes = max(PART_BYTES, -(-file.stat().st_size // MAX_PARTS))
    obstore.put(open_store(root), name, file, chunk_size=part_bytes)
