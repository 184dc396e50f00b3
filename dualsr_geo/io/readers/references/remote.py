"""References of scenes in stores and on the web: to their own host or bucket only, never to local files."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import urlsplit

from dualsr_geo.errors import InputError
from dualsr_geo.io.readers.references import drivers
from dualsr_geo.io.readers.references.linked_files import HEAD_BYTES, Reference, references_of_hdf5, references_of_vrt
from dualsr_geo.io.readers.references.local import FLAG, VRT_MARK, inner_file
from dualsr_geo.io.storage.remote_file import open_remote, read_range, read_text
from dualsr_geo.io.storage.urls import shown, url_of
from dualsr_geo.io.storage.web import DOCUMENT_S, within

# More sources than this are read one by one for longer than anyone waits.
MAX_SOURCES = 1000


def allowed_remote_drivers(uri: str) -> tuple[str, ...]:
    """Check the references of a remote scene, and return the drivers that may open it; none if it is of no known format.

    Raises
    ------
    InputError
        If it refers to a local file, or to another host or bucket.
    """
    url = url_of(inner_file(uri))
    if url is None:
        return ()
    check = _Check(url)
    return within(lambda: check.run(url), url, DOCUMENT_S)


@dataclass(frozen=True)
class _Check:
    """The check of a scene and of the files that it names."""

    scene: str
    checked: set[str] = field(default_factory=set)

    def run(self, url: str) -> tuple[str, ...]:
        if url in self.checked:
            return ()
        self.checked.add(url)
        if len(self.checked) > MAX_SOURCES:
            raise InputError(f"{shown(self.scene)} names more than {MAX_SOURCES} files. Fetch them, or give {FLAG}.")
        head = read_range(url, 0, HEAD_BYTES)
        if VRT_MARK in head:
            for reference in references_of_vrt(read_text(url), shown(url)):
                self._check_reference(reference, url)
            return drivers.VRT_FORMATS
        if any(mark in head for mark in drivers.FOREIGN_MARKS) and b"\0" not in head:
            raise InputError(f"{shown(url)} describes a service or other files, which are not read. Give a raster.")
        if b"\x89HDF\r\n\x1a\n" in head:
            for reference in references_of_hdf5(open_remote(url), shown(url)):
                _refuse(url, reference.name, "which is another file")
            return drivers.HDF5_FORMATS
        return ("netCDF",) if head.startswith(b"CDF") else ()

    def _check_reference(self, reference: Reference, named_by: str) -> None:
        name = reference.name
        target = url_of(name)
        if target is None and reference.relative and re.match(r"[\w.][^:<]*$", name):
            folder, _, _ = named_by.partition("?")[0].rpartition("/")
            scheme, _, path = folder.partition("://")
            joined = posixpath.normpath(f"{path}/{name}")
            if not joined.startswith(f"{path.partition('/')[0]}/"):
                _refuse(named_by, name, "which is outside its host")
            target = f"{scheme}://{joined}"
        if target is None:
            _refuse(named_by, name, "which is no file of its host")
        if _host(target) != _host(self.scene):
            _refuse(named_by, target, "which is of another host or bucket")
        self.run(target)


def _host(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.rpartition("@")[2].lower()


def _refuse(named_by: str, name: str, why: str) -> NoReturn:
    raise InputError(
        f"{shown(named_by)} refers to {shown(name)}, {why}; a scene from the network is not followed there. Fetch the files, "
        f"or give {FLAG} if you trust the source."
    )
