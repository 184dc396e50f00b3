"""Destination of an output on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.work_directory import VALUES, WORK, LocalWorkDirectory
from dualsr_geo.io.storage.zarr_groups import ZARR_DOCUMENTS
from dualsr_geo.raster.scene import Scene

# What other programs write next to a raster; it describes the pixels of the replaced one.
SIDECARS = (".aux.xml", ".ovr", ".msk")


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
        try:
            exists = place.exists()
        except PermissionError as error:
            raise OutputError(f"{place.parent} cannot be read: {error.strerror}. Give another --output.") from error
        if not exists:
            return
        for path in (Path(f) for scene in inputs for f in scene.source.files_read()):
            # An output may be a folder, which is replaced with all files in it.
            parents = path.resolve().parents if place.is_dir() else ()
            if path.exists() and any(place.samefile(p) for p in (path, *parents)):
                raise OutputError(f"The output {place} is the input {path} itself. Give another --output.")

    def require_free(self, *, overwrite: bool) -> None:
        """Check, by reading only, that the output can be written."""
        place, way_out = self._place, "another --output"
        self.work_directory.require_parent(way_out)
        if place.exists() and not overwrite:
            raise OutputError(f"{place} exists. Give --overwrite to replace it, or {way_out}.")
        if self.format != "Zarr" and place.is_dir():
            raise OutputError(f"{place} is a folder and {self.format} is a file. Give {way_out}.")
        if self.format == "Zarr" and place.exists() and not any((place / n).is_file() for n in ZARR_DOCUMENTS):
            raise OutputError(f"{place} exists and is not Zarr, so it is not replaced. Give {way_out}.")
        self.work_directory.require_ours(way_out)

    def require_writable(self) -> None:
        """Do nothing: `require_free` checks the permissions of the folder."""

    def put_file(self, file: Path) -> None:
        """Put a finished file in its place, over an old one, with what GDAL wrote next to it."""
        place = self._place
        for suffix in SIDECARS:
            place.with_name(place.name + suffix).unlink(missing_ok=True)
        for sidecar, suffix in sidecars(file):
            os.replace(sidecar, place.with_name(place.stem + suffix))
        os.replace(file, place)

    def put_group(self) -> None:
        """Put the finished Zarr group in its place; an old one is moved aside first, as folders cannot be replaced."""
        if self._place.exists():
            os.replace(self._place, self._old)
        os.replace(self.folder / VALUES, self._place)

    def roll_back(self) -> None:
        """Restore the old group if a process was killed between the two renames."""
        if self._old.exists() and not self._place.exists():
            os.replace(self._old, self._place)

    @property
    def _place(self) -> Path:
        return Path(self.path)

    @property
    def _old(self) -> Path:
        return self.folder / "old.zarr"


def sidecars(file: Path) -> list[tuple[Path, str]]:
    """Return what GDAL wrote next to a TIFF, as it cannot hold it (DigitalGlobe's IMD), with the suffixes."""
    paths = (path for path in sorted(file.parent.glob(f"{file.stem}.*")) if path != file)
    return [(path, path.name.removeprefix(file.stem)) for path in paths]
