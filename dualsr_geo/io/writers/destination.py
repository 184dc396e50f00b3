"""Destination of an output, on disk or in an object store: checked before the work, filled at once after it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.folders.archives import is_archive, without_suffix
from dualsr_geo.io.storage.folders.opening import archive_of
from dualsr_geo.io.storage.urls import is_url, normalized, shown
from dualsr_geo.io.storage.work_directory.directory import WorkDirectory
from dualsr_geo.io.storage.work_directory.store_lock import Check
from dualsr_geo.io.writers.local_destination import LocalDestination
from dualsr_geo.io.writers.store_destination import StoreDestination
from dualsr_geo.raster.scene import Scene


class Destination(Protocol):
    """Location of an output, and of the work directory that holds its tiles until it is finished."""

    @property
    def path(self) -> str:
        """Path or URL of the output."""
        ...

    @property
    def format(self) -> str:
        """``"COG"``, ``"GTiff"``, ``"netCDF"`` or ``"Zarr"``."""
        ...

    @property
    def work(self) -> str:
        """Path or URL of the work directory."""
        ...

    @property
    def folder(self) -> Path:
        """Path of the work directory if it is on disk, as it is unless a Zarr group is written to a store."""
        ...

    @property
    def work_directory(self) -> WorkDirectory:
        """The work directory, which may not exist yet."""
        ...

    @property
    def keeps_values_on_disk(self) -> bool:
        """Whether the work directory is on disk."""
        ...

    def require_apart(self, inputs: Sequence[Scene]) -> None:
        """Check that the output replaces none of its inputs, nor a file that one of them reads.

        Raises
        ------
        OutputError
            If it would, by whatever name or link, or if the place of the output is unreadable or no place to write.
        """
        ...

    def require_free(self, *, overwrite: bool) -> None:
        """Check, by reading only, that the output can be written.

        Raises
        ------
        OutputError
            If its folder or bucket is missing or refuses, an output exists and may not be replaced, or
            something else is in the way of the output or of its work directory.
        """
        ...

    def require_writable(self) -> None:
        """Check, by writing an object, that a file can be put in a store.

        Raises
        ------
        OutputError
            If the store refuses.
        """
        ...

    def locked(self) -> AbstractContextManager[Check]:
        """Keep other runs away from the output and its work directory, for the life of this one.

        Only the process of the run itself holds the lock; its workers write tiles without it.

        Yields
        ------
        callable
            Raises OutputError if the lock was lost, as one in a store can be; to be called before `TileStore.finish`.

        Raises
        ------
        OutputError
            If another run holds it; the message names its process, host and start.
        """
        ...

    def put_file(self, file: Path) -> None:
        """Put a finished file in its place, over an old one, with what GDAL wrote next to it.

        Raises
        ------
        OutputError
            If the store refuses or goes away; an old output is then unchanged.
        """
        ...

    def put_group(self) -> None:
        """Put the finished Zarr group of the work directory in its place, instead of an old one.

        Raises
        ------
        OutputError
            If the store refuses or goes away. Then nothing in the place is recognised as a group, and
            the work directory is unchanged.
        """
        ...

    def has_leftovers(self) -> bool:
        """Return whether a run that was killed left a work directory or a lock."""
        ...

    def roll_back(self) -> None:
        """Restore the old group if a process was killed while it replaced it."""
        ...


def destination_at(path: str | os.PathLike[str], format_: str, work_dir: str | None = None) -> Destination:
    """Return the destination at a path or a URL.

    Parameters
    ----------
    path : path
        Path or URL of the output.
    format_ : str
        ``"COG"``, ``"GTiff"``, ``"netCDF"`` or ``"Zarr"``.
    work_dir : str, optional
        Folder on disk in which a TIFF for an object store is written; the current one by default.
    """
    place = normalized(path)
    return StoreDestination(place, format_, work_dir) if is_url(place) else LocalDestination(place, format_)


def default_output(where: str | os.PathLike[str], scene: Scene, suffix: str) -> Path:
    """Return the default path of an output: next to the scene, which was opened as `where`.

    Raises
    ------
    OutputError
        If the scene is in a store or on the web, where nothing is written by default.
    """
    if is_url(os.fspath(where)):
        raise OutputError(f"{shown(os.fspath(where))} is a URL, next to which no output is written. Give --output.")
    place, files = Path(where), scene.source.files_read()
    if not place.exists() and (document := Path(os.fspath(where).partition("#")[0])).is_file():
        # An array of a file, or an item and the assets of a STAC document.
        place = document
    if place.is_dir() and files and place.resolve() in Path(files[0]).resolve().parents:
        # The folder of a product stands for the files in it; "." has no name.
        place = Path(os.path.abspath(place))
        return place.with_name(f"{place.name.removesuffix('.SAFE')}{suffix}.tif")
    # Of a subdataset, or an array in a group, the file that it is in.
    if files and not place.is_file() and not (place.exists() and place.samefile(files[0])):
        place = archive_of(files[0]) or Path(files[0])
    stem = without_suffix(place.name).removesuffix(".SAFE") if is_archive(place.name) else place.stem
    return place.with_name(f"{stem}{suffix}.tif")
