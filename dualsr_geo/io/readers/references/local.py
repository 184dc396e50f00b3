"""References: which other files a scene may name, and which drivers may open it.

A VRT, an HDF5 file or a sidecar can name any file of the machine, or an address that only the machine reaches, and so
carry what it holds into a product. A scene's references are followed where they lead to its own folder or below, and
from the network to its own host or bucket. `trusting` lifts this.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import h5py
from rasterio.io import DatasetReader

from dualsr_geo.errors import InputError
from dualsr_geo.io.readers.references import drivers
from dualsr_geo.io.readers.references.linked_files import (
    Reference,
    head_of,
    references_of_hdf5,
    references_of_vrt,
    vrt_text,
)
from dualsr_geo.io.storage.folders.opening import archive_of
from dualsr_geo.io.storage.special_files import require_no_special_file
from dualsr_geo.io.storage.urls import shown, url_of

FLAG = "--trust-references"
VRT_MARK = b"<VRTDataset"
# Files that GDAL opens with a raster of their name; those that hold pixels may be of any format.
PIXEL_SIDECARS = (".ovr", ".OVR", ".msk", ".MSK", ".msk.ovr")
SIDECARS = (*PIXEL_SIDECARS, ".aux.xml", ".aux", ".AUX")
# Archives, of which GDAL opens a file.
_ARCHIVE = re.compile(r"^(/vsi(?:zip|tar|gzip|7z|rar)/|/vsisubfile/[^,]*,|(?:zip|tar|gzip)(?:\+\w+)?://)")
_VIRTUAL = re.compile(r"^/vsi(?!mem/|curl[/?]|s3/|gs/|az/|zip/|tar/|gzip/|7z/|rar/|subfile/|adls/|oss/|swift/)")
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*://")
_PREFIX = re.compile(r"([A-Za-z]\w+):")

_trusted: ContextVar[bool] = ContextVar("trusted", default=False)


@contextmanager
def trusting(trust_references: bool) -> Iterator[None]:  # noqa: FBT001  # the option itself
    """Follow the references of the scenes that are opened, wherever they lead, if the option is set."""
    token = _trusted.set(trust_references or _trusted.get())
    try:
        yield
    finally:
        _trusted.reset(token)


def trusted() -> bool:
    """Return whether references are followed wherever they lead."""
    return _trusted.get()


def allowed_drivers(uri: str) -> tuple[str, ...]:
    """Check the references of a local scene, and return the drivers that may open it; empty for any.

    Of a scene in a store, on the web or in an archive only drivers whose files name no others.

    Parameters
    ----------
    uri : str
        What rasterio opens.

    Raises
    ------
    InputError
        If it refers to a file outside its folder, or is a pipe, a connection or a command.
    """
    if _trusted.get():
        require_no_special_file(inner_file(uri))
        return ()
    if uri.startswith("<"):
        return _check_text(uri)
    _require_no_connection(uri, uri)
    path = inner_file(uri)
    if url_of(path) is not None or _ARCHIVE.match(uri) or uri.startswith("/vsi") or not os.path.lexists(path):
        return drivers.SELF_CONTAINED
    allowed = _Home.of(path).check(path)
    return drivers.VRT_FORMATS if uri.startswith("vrt://") else allowed


def require_own_files(dataset: DatasetReader, uri: str) -> None:
    """Check that the files that GDAL reads for an open dataset are in the folder of the scene, or below.

    Raises
    ------
    InputError
        If one does not.
    """
    path = inner_file(uri)
    if _trusted.get():
        return
    if os.path.exists(path):
        require_own_files_of(dataset, path, uri)
    elif _ARCHIVE.match(uri) and (archive := archive_of(path)) is not None:
        _require_own_members(dataset, os.path.dirname(path), archive)


def _require_own_members(dataset: DatasetReader, folder: str, archive: Path) -> None:
    """Check that the files that GDAL reads for a file in an archive are in the archive."""
    overview = dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE", "")
    names = [*dataset.files, *([overview.removeprefix(":::BASE:::")] if overview else [])]
    for name in names:
        if not _is_below(os.path.normpath(os.path.join(folder, inner_file(name))), str(archive)):
            _refuse(str(archive), name, "which is not in the archive", "Unpack it into a folder")


def named_files(uri: str) -> list[str]:
    """Return the files that a VRT names, those that they name included, real paths; none for any other scene."""
    path = inner_file(uri)
    if _trusted.get() or not os.path.isfile(path) or VRT_MARK not in head_of(path):
        return []
    home = _Home.of(path)
    home.check(path)
    return sorted(home.checked - {os.path.realpath(path)})


def require_own_files_of(dataset: DatasetReader, source: str, uri: str) -> None:
    """Check the files that GDAL reads for a source of a scene; raises as `require_own_files`."""
    home = _Home.of(inner_file(uri))
    for file in dataset.files:
        if os.path.exists(file):
            home.require_inside(file, source)
    overview = dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE")
    if overview is not None:
        home.require_overview(overview, source)


def require_own_hdf5(path: str | os.PathLike[str]) -> None:
    """Check the references of a product that h5py opens; nothing else than HDF5 is looked at.

    Raises
    ------
    InputError
        If it refers to a file outside its folder, or is a pipe.
    """
    require_no_special_file(path)
    if not _trusted.get() and os.path.isfile(path) and h5py.is_hdf5(path):
        _Home.of(os.fspath(path)).check(os.fspath(path))


def require_inside(path: str | os.PathLike[str], document: str | os.PathLike[str]) -> None:
    """Check that a file that the metadata of a product name is in the folder of these, or below.

    Raises
    ------
    InputError
        If it does not.
    """
    if not _trusted.get():
        _Home.of(os.fspath(document)).require_inside(os.fspath(path), os.fspath(document))


def inner_file(uri: str) -> str:
    """Return the file or URL in a subdataset, in an archive or behind ``vrt://``; else the same."""
    text = uri.removeprefix("vrt://").partition("?")[0] if uri.startswith("vrt://") else uri
    while match := _ARCHIVE.match(text):
        scheme = re.match(r"\w+\+(\w+)://", match[0])
        text = (f"{scheme[1]}://" if scheme else "") + text[match.end() :].lstrip("{")
    if _SCHEME.match(text) or text.startswith("/vsi") or os.path.lexists(text) or not _PREFIX.match(text):
        return text if url_of(text) is None else url_of(text) or text
    if quoted := re.search(r'"([^"]+)"', text):
        return inner_file(quoted[1])
    pieces = text.split(":")
    spans = (":".join(pieces[i:j]) for i in range(1, len(pieces)) for j in range(len(pieces), i, -1))
    return next((span for span in spans if os.path.exists(span)), text)


# ---- checks ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Home:
    """The folders in which the references of a scene may end: that of its path, and that of its file behind links."""

    scene: str
    folders: tuple[str, ...]
    checked: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, path: str) -> _Home:
        own = os.path.realpath(os.path.dirname(os.path.abspath(path)))
        return cls(path, (own, os.path.dirname(os.path.realpath(path))))

    def require_inside(self, path: str, named_by: str) -> None:
        real = os.path.realpath(path)
        # The named file itself may be a link.
        if real != os.path.realpath(self.scene) and not any(_is_below(real, folder) for folder in self.folders):
            _refuse(named_by, path, f"which is not in {self.folders[0]} or below")

    def require_overview(self, name: str, path: str) -> None:
        mark = ":::BASE:::"
        reference = Reference(name.removeprefix(mark), relative=name.startswith(mark))
        self._check_reference(reference, path)

    def check(self, path: str) -> tuple[str, ...]:
        """Check a file and all that it names; return the drivers that may open it."""
        real = os.path.realpath(path)
        if real in self.checked:
            return drivers.SELF_CONTAINED
        self.checked.add(real)
        require_no_special_file(path)
        self._check_sidecars(path)
        if os.path.isdir(path):
            return drivers.SELF_CONTAINED
        head = head_of(path)
        if VRT_MARK in head:
            for reference in references_of_vrt(vrt_text(path), path):
                self._check_reference(reference, path)
            return drivers.VRT_FORMATS
        if b"\0" not in head and any(mark in head for mark in drivers.FOREIGN_MARKS):
            raise InputError(
                f"{path} describes a service or other files, which are not read. Give a raster, or {FLAG} if you trust it."
            )
        if h5py.is_hdf5(path):
            for reference in references_of_hdf5(path, path):
                self._check_reference(reference, path)
            return drivers.HDF5_FORMATS
        return ("netCDF",) if head.startswith(b"CDF") else drivers.SELF_CONTAINED

    def _check_sidecars(self, path: str) -> None:
        for suffix in SIDECARS:
            sidecar = path + suffix
            if not os.path.lexists(sidecar):
                continue
            require_no_special_file(sidecar)
            self.require_inside(sidecar, path)
            if suffix in PIXEL_SIDECARS:
                self.check(sidecar)
            elif suffix == ".aux.xml" and os.path.isfile(sidecar):
                self._check_aux_xml(sidecar)

    def _check_aux_xml(self, sidecar: str) -> None:
        text = Path(sidecar).read_bytes()
        for name in re.findall(rb"OVERVIEW_FILE['\"]?\s*>([^<]*)<", text):
            self.require_overview(name.decode(errors="surrogateescape"), sidecar)

    def _check_reference(self, reference: Reference, named_by: str) -> None:
        name = reference.name
        if name.startswith("<"):
            for nested in references_of_vrt(name.encode(), named_by):
                self._check_reference(nested, named_by)
            return
        _require_no_connection(name, named_by)
        inner = inner_file(name)
        if _SCHEME.match(inner) or url_of(inner) is not None:
            _refuse(named_by, name, "which is on the network", "Fetch it, and refer to the copy")
        if _ARCHIVE.match(name) or name.startswith("/vsi"):
            _refuse(named_by, name, "which is a file in an archive or in memory", "Unpack it")
        path = self._existing(inner, named_by, reference)
        self.require_inside(path, named_by)
        if reference.raw:
            require_no_special_file(path)
        else:
            self.check(path)

    def _existing(self, name: str, named_by: str, reference: Reference) -> str:
        """Return the file that a reference leads to; where there may be two, each has to be inside."""
        if name != reference.name and not os.path.exists(name):
            # A subdataset of a file next to the VRT, e.g. NETCDF:"a.nc":band.
            quoted = re.search(r'"([^"]+)"', reference.name)
            name = quoted[1] if quoted else name
        folders = [os.path.dirname(os.path.realpath(named_by)), os.path.dirname(os.path.abspath(named_by))]
        bases = folders if reference.relative else [*folders, os.getcwd()]
        existing = [p for p in dict.fromkeys(os.path.join(b, name) for b in bases) if os.path.lexists(p)]
        if not existing:
            raise InputError(f"{named_by} refers to {shown(name)}, which does not exist. Fetch it.")
        for path in existing[1:]:
            self.require_inside(path, named_by)
        return existing[0]


def _check_text(text: str) -> tuple[str, ...]:
    """Check a VRT that is given as text: its references start at the current folder."""
    if not text.startswith(VRT_MARK.decode()):
        raise InputError(f"The text {text[:40]}... describes a service, which is not read. Give a raster, or {FLAG}.")
    home = _Home.of("inline.vrt")
    for reference in references_of_vrt(text.encode(), "The VRT"):
        home._check_reference(reference, "inline.vrt")  # noqa: SLF001  # of this module
    return drivers.VRT_FORMATS


def _require_no_connection(name: str, named_by: str) -> None:
    prefix = _PREFIX.match(name)
    if prefix and prefix[1].upper() in drivers.FOREIGN_PREFIXES and not os.path.lexists(name):
        what = f"{prefix[1]}: is a database, a service or a command"
        raise InputError(f"{shown(named_by)}: {what}, which is not read. Give a raster, or {FLAG} if you trust it.")
    if name.startswith("/vsistdin"):
        raise InputError("/vsistdin/ is a stream, which has no pixels at random places. Give a file.")
    if _VIRTUAL.match(name):
        what = f"{name.split('/')[1]} is no plain file, archive or store"
        raise InputError(f"{shown(named_by)}: {what}. Give a raster, or {FLAG} if you trust it.")


def _refuse(named_by: str, name: str, why: str, way_out: str = "Move both into one folder") -> NoReturn:
    raise InputError(
        f"{shown(named_by)} refers to {shown(name)}, {why}. {way_out}, or give {FLAG} if you trust the file."
    )


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
