"""Zarr groups and arrays by path or URL: whether one is there, and what Zarr opens for it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import obstore
from zarr.storage import ObjectStore

from dualsr_geo.errors import InputError
from dualsr_geo.io.storage.names import expanded, fits_file_system
from dualsr_geo.io.storage.object_store import is_object, open_store, read_object, stamp, zarr_store
from dualsr_geo.io.storage.side_files import ZARR_DOCUMENTS
from dualsr_geo.io.storage.store_errors import ErrorType, store_errors_as
from dualsr_geo.io.storage.urls import is_url, is_writable, split

# Attribute of the groups of this program that holds their provenance.
RECORDS = "dualsr"


def is_zarr(location: str) -> bool:
    """Return whether a location is a Zarr group or array: on disk by its documents, in a store by its name."""
    if is_url(location):
        return any(part.endswith(".zarr") for part in split(location)[2].split("/"))
    if not fits_file_system(location):
        return False
    path = expanded(location)
    return any((path / name).exists() for name in ZARR_DOCUMENTS)


def has_group(url: str, error_type: ErrorType) -> bool:
    """Return whether a Zarr group or array is at a URL; raise `error_type` if the store refuses."""
    return any(is_object(f"{url}/{name}", error_type) for name in ZARR_DOCUMENTS)


def is_our_group(location: str) -> bool:
    """Return whether a group is a product of this program, by the record that it carries."""
    try:
        name = f"{location}/zarr.json"
        document = json.loads(read_object(name, InputError) if is_url(name) else Path(name).read_bytes())
        return bool(document["attributes"][RECORDS])
    except (OSError, InputError, ValueError, KeyError, TypeError, RecursionError):
        return False


def zarr_location(location: str) -> str | ObjectStore[Any]:
    """Return what Zarr opens: the store of a URL, or a path as it is."""
    return zarr_store(location) if is_url(location) else location


def split_array(location: str) -> tuple[str, str | None]:
    """Return the group, and the name of the array in it if the location is one."""
    if is_url(location):
        group, suffix, array = location.partition(".zarr/")
        return (group + suffix.rstrip("/"), array.strip("/")) if array.strip("/") else (location.rstrip("/"), None)
    path = expanded(location)
    if (path / ".zarray").exists() or _is_array(path / "zarr.json"):
        return os.path.abspath(path.parent), path.name
    return (os.path.abspath(path) if path.exists() else location), None


def _is_array(document: Path) -> bool:
    try:
        return document.is_file() and json.loads(document.read_bytes()).get("node_type") == "array"
    except ValueError:
        # Damaged: opening it as a group raises an error that says how.
        return False


def array_stamp(group: str, array: str) -> dict[str, object]:
    """Return what changes with an array: count, size and newest time of its files or objects.

    A web server lists none; there it is the stamp of the group's document.

    Raises
    ------
    InputError
        If the store refuses.
    """
    if not is_url(group):
        files = [p.stat() for p in (Path(group) / array).rglob("*") if p.is_file()]
        newest_ns = max((f.st_mtime_ns for f in files), default=0)
        return {"files": len(files), "size": sum(f.st_size for f in files), "mtime_ns": newest_ns}
    if not is_writable(group):
        return stamp(f"{group}/zarr.json")
    with store_errors_as(InputError, group):
        objects = [o for page in obstore.list(open_store(group), array) for o in page]
    newest = max((o["last_modified"] for o in objects), default=None)
    size = sum(o["size"] for o in objects)
    return {"files": len(objects), "size": size, "modified": None if newest is None else newest.isoformat()}
