"""Destination of an output on disk.

An output that is a symbolic link is replaced, with ``--overwrite``, as any other file; what the link leads to is
neither written nor removed. A work directory that is a link is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.side_files import ZARR_DOCUMENTS, is_same_file, kind_of, path_on_disk, require_output_name
from dualsr_geo.io.storage.work_directory.directory import RECORD, VALUES, WORK
from dualsr_geo.io.storage.work_directory.local_directory import BACKUP, HAS_BACKUP, LocalWorkDirectory
from dualsr_geo.io.storage.work_directory.store_lock import Check
from dualsr_geo.io.storage.zarr_groups import is_our_group
from dualsr_geo.raster.scene import Scene
from dualsr_geo.serialization import sync_directory, sync_file

# What other programs write next to a raster; it describes the pixels of the replaced one.
SIDECARS = (".aux.xml", ".ovr", ".msk")
# What GDAL writes next to our TIFFs where a scene has such metadata, instead of the suffix of the TIFF.
STEM_SIDECARS = (".IMD", ".RPB", "_RPC.TXT", ".tif.aux.xml", ".tiff.aux.xml")


@dataclass(frozen=True)
class LocalDestination:
    """A destination on disk, with the work directory next to it."""

    path: str
    format: str

    @property
    def work(self) -> str:
        """Path of the work directory."""
        return str(self.folder)

    @property
    def folder(self) -> Path:
        """The work directory."""
        return self._place.with_name(self._place.name + WORK)

    @property
    def work_directory(self) -> LocalWorkDirectory:
        """The work directory, which may not exist yet."""
        return LocalWorkDirectory(self.folder)

    @property
    def keeps_values_on_disk(self) -> bool:
        """True."""
        return True

    def require_apart(self, inputs: Sequence[Scene]) -> None:
        """Check that the output replaces none of its inputs, nor a file that one of them reads."""
        place = self._place
        require_output_name(place, "another --output", WORK)
        try:
            is_folder = place.is_dir()
        except PermissionError as error:
            raise OutputError(f"{place.parent} cannot be read: {error.strerror}. Give another --output.") from error
        described_by = [*(place.with_name(place.name + s) for s in SIDECARS),
                  *(place.with_name(place.stem + s) for s in STEM_SIDECARS)]  # fmt: skip
        for path in (path_on_disk(f) for scene in inputs for f in scene.source.files_read()):
            if not path.exists():
                continue
            # An output may be a folder, which is replaced with all files in it.
            parents = path.resolve().parents if is_folder else ()
            if any(is_same_file(place, p) for p in (path, *parents)):
                raise OutputError(f"The output {place} is the input {path} itself. Give another --output.")
            if any(p.exists() and p.samefile(path) for p in described_by):
                raise OutputError(
                    f"The output {place} replaces the files that describe it, of which one is the input {path}. "
                    "Give another --output."
                )

    def require_free(self, *, overwrite: bool) -> None:
        """Check, by reading only, that the output can be written."""
        place, way_out = self._place, "another --output"
        self.work_directory.require_parent(way_out)
        kind = kind_of(place)
        if kind not in (None, "file", "folder", "symbolic link"):
            raise OutputError(f"{place} is a {kind}, which is not replaced. Give {way_out}.")
        if kind is not None and not overwrite:
            raise OutputError(f"{place} exists. Give --overwrite to replace it, or {way_out}.")
        if self.format != "Zarr" and place.is_dir():
            raise OutputError(f"{place} is a folder and {self.format} is a file. Give {way_out}.")
        if self.format == "Zarr" and kind is not None:
            self._require_our_group(way_out)
        self.work_directory.require_ours(way_out)

    def _require_our_group(self, way_out: str) -> None:
        """Check that a Zarr group that is to be replaced is one of this program."""
        if not any((self._place / n).is_file() for n in ZARR_DOCUMENTS):
            raise OutputError(f"{self._place} exists and is not Zarr, so it is not replaced. Give {way_out}.")
        if not is_our_group(self.path):
            raise OutputError(
                f"{self._place} exists and is no product of dualsr-geo, so it is not replaced. Remove it, or give {way_out}."
            )

    @contextmanager
    def locked(self) -> Iterator[Check]:
        """Keep other runs away from the output."""
        work, way_out = self.work_directory, "another --output"
        work.require_parent(way_out)
        work.require_ours(way_out)
        with work.locked(self.path):
            yield lambda: None

    def require_writable(self) -> None:
        """Do nothing: `require_free` checks the permissions of the folder."""

    def put_file(self, file: Path) -> None:
        """Put a finished file in its place, over an old one, with what GDAL wrote next to it."""
        place = self._place
        for suffix in SIDECARS:
            place.with_name(place.name + suffix).unlink(missing_ok=True)
        # A file gets its name when the disk has it, so that a power cut leaves the old one or the new one.
        for part in (file, *(sidecar for sidecar, _ in sidecars(file))):
            sync_file(part)
        for sidecar, suffix in sidecars(file):
            os.replace(sidecar, place.with_name(place.stem + suffix))
        os.replace(file, place)
        sync_directory(place.parent)

    def put_group(self) -> None:
        """Put the finished Zarr group in its place; an old one is moved aside first, as folders cannot be replaced."""
        _sync_tree(self.folder / VALUES)
        if kind_of(self._place) is not None:
            work = self.work_directory
            work.put(RECORD, {**work.read(RECORD), HAS_BACKUP: True})
            os.replace(self._place, self._old)
        os.replace(self.folder / VALUES, self._place)
        sync_directory(self._place.parent)

    def has_leftovers(self) -> bool:
        """Return whether there is a work directory."""
        return self.folder.is_dir()

    def roll_back(self) -> None:
        """Restore the old group if a process was killed between the two renames; a group of another origin is left."""
        if kind_of(self._place) is None and self.work_directory.has_backup():
            os.replace(self._old, self._place)

    @property
    def _place(self) -> Path:
        return Path(self.path)

    @property
    def _old(self) -> Path:
        return self.folder / BACKUP


def _sync_tree(folder: Path) -> None:
    """Wait until the disk has a folder with all that is in it."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_file(Path(root, name))
        sync_directory(Path(root))


def sidecars(file: Path) -> list[tuple[Path, str]]:
    """Return what GDAL wrote next to a TIFF, as it cannot hold it (DigitalGlobe's IMD), with the suffixes."""
    paths = (path for path in sorted(file.parent.glob(f"{file.stem}.*")) if path != file)
    return [(path, path.name.removeprefix(file.stem)) for path in paths]
