"""The path of a product: on disk, in an archive or in a store."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dualsr_geo.errors import InputError
from dualsr_geo.io.storage.folders.archives import archive_tree, is_archive
from dualsr_geo.io.storage.folders.paths import VirtualPath
from dualsr_geo.io.storage.folders.stores import store_tree
from dualsr_geo.io.storage.names import expanded
from dualsr_geo.io.storage.urls import is_url, is_writable, shown

# Suffixes of the metadata files by which a product in a store is given.
DOCUMENTS = (".txt", ".xml", ".json", ".imd", ".til")
# Beginnings of the names of products, by which a folder on the web is recognised without a slash at its end.
PRODUCTS = ("S2", "LC0", "LE0", "LT0", "LM0", "LO0", "ENMAP", "CBERS", "DESIS-", "EO1", "HLS.", "ECOV")
# Files of one band, whose product has its metadata next to them.
_BAND = re.compile(r"^L[COTEM]0[1-9]_\w+_B\d+(?:_VCID_\d)?\.TIF$", re.IGNORECASE)
# Folders that archiving programs add.
ADDED_FOLDERS = ("__MACOSX",)
_SUFFIX = re.compile(r"\.[A-Za-z]\w{0,4}$")
_VIRTUAL = re.compile(r"^(?:/vsi(?:zip|tar)/|/vsisubfile/\d+_\d+,(?:/vsigzip/)?)(?!/?vsi)")


def product_path(where: str) -> Path | VirtualPath:
    """Return the path of a product.

    Parameters
    ----------
    where : str
        A file or folder; an archive, or a folder in one (``a.tar/folder``); the URL of a folder, or of a metadata file.
        Any other URL is returned as a path, which no reader recognises.

    Raises
    ------
    InputError
        If an archive is damaged, not safe to read, or not on disk, or a store refuses.
    """
    if is_url(where):
        if is_archive(where.partition("?")[0].partition("#")[0]):
            raise InputError(
                f"{shown(where)} is an archive, which is read in place on disk only. Fetch it, or give the folder of the product."
            )
        return _in_store(where) or Path(os.path.abspath(where))
    path = Path(os.path.abspath(expanded(_VIRTUAL.sub("/", where))))
    archive = archive_of(path)
    return path if archive is None else _in_archive(archive, path)


def archive_of(path: str | os.PathLike[str]) -> Path | None:
    """Return the archive on disk that a path, or GDAL's name of a file in an archive, is in; None if there is none."""
    place = Path(_VIRTUAL.sub("/", os.fspath(path)))
    return next((p for p in (place, *place.parents) if is_archive(p.name) and p.is_file()), None)


def member_of(path: str | os.PathLike[str]) -> VirtualPath | None:
    """Return the file in an archive that is named as ``archive.tar/name``; None for any other path.

    Raises
    ------
    InputError
        If the archive is damaged or not safe to read.
    """
    place = Path(os.path.abspath(path))
    archive = archive_of(place)
    if archive is None or archive == place:
        return None
    member = VirtualPath(archive_tree(archive)) / place.relative_to(archive).as_posix()
    return member if member.is_file() else None


def _in_archive(archive: Path, path: Path) -> VirtualPath:
    root = VirtualPath(archive_tree(archive))
    if path != archive:
        return root / path.relative_to(archive).as_posix()
    while len(entries := [p for p in root.iterdir() if p.name not in ADDED_FOLDERS]) == 1 and entries[0].is_dir():
        root = entries[0]
    return root


def _in_store(url: str) -> VirtualPath | None:
    """Return the path of a URL that may be a folder or a metadata file; None for that of a raster, without a request."""
    place, mark, query = url.partition("?")
    name = place.rstrip("/").rpartition("/")[2]
    is_folder = place.endswith("/") or name.upper().endswith(".SAFE") or not _SUFFIX.search(name)
    if is_folder and (is_writable(url) or place.endswith("/") or name.upper().startswith(PRODUCTS)):
        return VirtualPath(store_tree(url))
    if not is_folder and (name.lower().endswith(DOCUMENTS) or _BAND.match(name)):
        return VirtualPath(store_tree(place.rpartition("/")[0] + mark + query)) / name
    return None
