"""Files and Zarr groups by path or URL: whether one exists, its time and its content."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from dualsr_geo.io.storage import object_store
from dualsr_geo.io.storage.store_errors import ErrorType
from dualsr_geo.io.storage.urls import is_url
from dualsr_geo.io.storage.zarr_groups import has_group


def exists(location: str, error_type: ErrorType) -> bool:
    """Return whether a raster, or a Zarr group by its suffix, exists; raise `error_type` if a store refuses."""
    if not is_url(location):
        return Path(location).exists()
    find = has_group if location.endswith(".zarr") else object_store.is_object
    return find(location, error_type)


def modified(location: str) -> datetime:
    """Return when a file or folder was written, with a time zone; in a store the newest object.

    Raises
    ------
    InputError
        If a store refuses, or there is no object.
    OSError
        If the path does not exist.
    """
    if is_url(location):
        return object_store.modified(location)
    return datetime.fromtimestamp(Path(location).stat().st_mtime, UTC)


def read_bytes(location: str, error_type: ErrorType) -> bytes:
    """Return the content of a file or an object; raise `error_type` if a store refuses."""
    return object_store.read_object(location, error_type) if is_url(location) else Path(location).read_bytes()
