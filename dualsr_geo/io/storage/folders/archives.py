"""Products in .tar, .tar.gz, .tgz and .zip, read in place.

An archive is hostile until it is shown otherwise: nothing is unpacked to disk, names that lead elsewhere, links and
two members of one name are refused (GDAL and Python would read different ones), archives in it are not opened, and the
sizes of what is listed and read are limited.
"""

from __future__ import annotations

import gzip
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, NoReturn, cast

from dualsr_geo.errors import InputError

ZIPPED, COMPRESSED = (".zip",), (".tar.gz", ".tgz")
SUFFIXES = (*ZIPPED, ".tar", *COMPRESSED)
# Members of an archive; a Sentinel-2 product has about 100.
MAX_MEMBERS = 20_000
# Bytes of a metadata file: the largest of a product have a few MB.
MAX_TEXT_BYTES = 64 << 20
# Bytes of a compressed tar that are decompressed to list it: so many, or so many times its size, if that is more.
MAX_DECOMPRESSED_BYTES, MAX_RATIO = 4 << 30, 100


def is_archive(name: str) -> bool:
    """Say whether a file is an archive, by its suffix."""
    return name.lower().endswith(SUFFIXES)


def is_compressed(name: str) -> bool:
    """Say whether an archive is compressed as a whole, so that a member is reached by decompressing all before it."""
    return name.lower().endswith(COMPRESSED)


def without_suffix(name: str) -> str:
    """Return the name of an archive without its suffix."""
    suffix = next((s for s in SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes
    ----------
    name : str
        Its name there.
    part : str or None
        Where its bytes are, as ``offset_size``, if GDAL does not read its name in a tar (the extended headers of POSIX).
    """

    name: str
    part: str | None = None


@dataclass(frozen=True)
class ArchiveTree:
    """The files of an archive.

    Attributes
    ----------
    path : str
        The archive, an absolute path.
    members : mapping of str to Member
        The files, by their paths from the root.
    folders : mapping of str to mapping of str to bool
        What each folder contains, and whether that is a folder.
    """

    path: str
    members: Mapping[str, Member] = field(compare=False, repr=False)
    folders: Mapping[str, Mapping[str, bool]] = field(compare=False, repr=False)

    @property
    def root(self) -> str:
        """The archive."""
        return self.path

    @property
    def name(self) -> str:
        """Name of the archive without its suffix."""
        return without_suffix(Path(self.path).name)

    def entries(self, folder: str) -> Mapping[str, bool]:
        """Return the names in a folder, and whether each is a folder."""
        return self.folders.get(folder, {})

    def is_file(self, inner: str) -> bool:
        """Say whether a path from the root is a file."""
        return inner in self.members

    def is_folder(self, inner: str) -> bool:
        """Say whether a path from the root is a folder."""
        return inner in self.folders

    def opened(self, inner: str) -> str:
        """Return GDAL's name of a member."""
        member = self.members.get(inner)
        if member is not None and member.part is not None:
            return f"/vsisubfile/{member.part},{'/vsigzip/' * is_compressed(self.path)}{self.path}"
        prefix = "/vsizip/" if self.path.lower().endswith(ZIPPED) else "/vsitar/"
        return f"{prefix}{self.path}/{inner}".rstrip("/")

    def read(self, inner: str) -> bytes:
        """Return the content of a small member.

        Raises
        ------
        FileNotFoundError
            If there is none.
        InputError
            If it is damaged, encrypted or large.
        """
        if inner not in self.members:
            raise FileNotFoundError(f"{self.path} has no {inner}")
        with _archive_errors(self.path):
            if self.path.lower().endswith(ZIPPED):
                with zipfile.ZipFile(self.path) as archive, archive.open(self.members[inner].name) as file:
                    content = file.read(MAX_TEXT_BYTES + 1)
            else:
                with _tar(self.path) as tar:
                    extracted = tar.extractfile(self.members[inner].name)
                    content = b"" if extracted is None else extracted.read(MAX_TEXT_BYTES + 1)
        if len(content) > MAX_TEXT_BYTES:
            raise InputError(
                f"{self.path}/{inner} has more than {MAX_TEXT_BYTES >> 20} MiB, too much for metadata. "
                "Fetch the archive again."
            )
        return content


def archive_tree(path: str | os.PathLike[str]) -> ArchiveTree:
    """Return the files of an archive; its list is kept as long as the file is the same.

    Raises
    ------
    InputError
        If it is damaged, or is not safe to read: see the module.
    """
    status = os.stat(path)
    return _listed(os.path.abspath(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _listed(path: str, modified_ns: int, size: int) -> ArchiveTree:  # noqa: ARG001  # time and size identify the content
    with _archive_errors(path):
        members = dict(_zip_members(path) if path.lower().endswith(ZIPPED) else _tar_members(path))
    folders: dict[str, dict[str, bool]] = {"": {}}
    for inner in members:
        _add(folders, inner, is_folder=False)
    for inner in members:
        if inner in folders:
            _refuse(path, f"holds {inner} as a file and as a folder")
    return ArchiveTree(path, members, folders)


def _add(folders: dict[str, dict[str, bool]], inner: str, *, is_folder: bool) -> None:
    folder, name = posixpath.split(inner)
    if folder not in folders:
        folders[folder] = {}
        _add(folders, folder, is_folder=True)
    folders[folder][name] = is_folder


def _zip_members(path: str) -> Iterator[tuple[str, Member]]:
    with zipfile.ZipFile(path) as archive:
        inners: set[str] = set()
        for number, info in enumerate(archive.infolist()):
            _require_few(path, number)
            inner = _inner(path, info.filename.replace("\\", "/"))
            if stat.S_ISLNK(info.external_attr >> 16):
                _refuse(path, f"holds the link {_printable(inner)}")
            if info.is_dir() or info.filename.endswith("\\"):
                continue
            _require_single(path, inner, inners)
            yield inner, Member(info.filename)


def _tar_members(path: str) -> Iterator[tuple[str, Member]]:
    with _tar(path) as tar:
        inners: set[str] = set()
        for number, info in enumerate(tar):
            _require_few(path, number)
            inner = _inner(path, info.name)
            if info.isdir():
                continue
            if not info.isreg() or info.issparse():
                kind = "link" if info.islnk() or info.issym() else "special or sparse file"
                _refuse(path, f"holds the {kind} {_printable(inner)}")
            _require_single(path, inner, inners)
            yield inner, Member(info.name, f"{info.offset_data}_{info.size}" if "path" in info.pax_headers else None)


def _inner(path: str, name: str) -> str:
    """Return the path of a member from the root of an archive, without ``./``."""
    inner = posixpath.normpath(name)
    if posixpath.isabs(inner) or inner.split("/")[0] == ".." or ".." in name.split("/"):
        _refuse(path, f"holds {_printable(name)}, which is a place outside")
    return inner


def _require_few(path: str, number: int) -> None:
    if number >= MAX_MEMBERS:
        _refuse(path, f"holds more than {MAX_MEMBERS} files")


def _require_single(path: str, inner: str, inners: set[str]) -> None:
    if inner in inners:
        _refuse(path, f"holds {_printable(inner)} twice")
    inners.add(inner)


def _refuse(path: str, what: str) -> NoReturn:
    raise InputError(f"{path} {what}, so it is not read. If you trust it, unpack it and give the folder.")


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode() if name.isprintable() else ascii(name)


@contextmanager
def _archive_errors(path: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except RuntimeError as error:
        # Of zipfile, for a member with a password.
        raise InputError(f"{path} cannot be read: {error}. Unpack it, and give the folder.") from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"{path} cannot be read as an archive: {error or type(error).__name__}. It is damaged or incomplete; fetch it again."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read as an archive: {error.strerror or error}. Fetch it again.") from error


@contextmanager
def _tar(path: str) -> Iterator[tarfile.TarFile]:
    """Open a tar; what is read at once, and what is decompressed, is limited."""
    with Path(path).open("rb") as file:
        if not is_compressed(path):
            with tarfile.open(fileobj=_limited(file, path, None), mode="r:") as tar:
                yield tar
            return
        limit = max(MAX_DECOMPRESSED_BYTES, MAX_RATIO * os.stat(path).st_size)
        with (
            gzip.GzipFile(fileobj=file) as content,
            tarfile.open(fileobj=_limited(content, path, limit), mode="r:") as tar,
        ):
            yield tar


def _limited(file: IO[bytes] | gzip.GzipFile, path: str, limit: int | None) -> IO[bytes]:
    """Return what tarfile reads of a file; it uses no other methods."""
    return cast("IO[bytes]", _Limited(file, path, limit))


class _Limited:
    """What tarfile reads of a file: no more than a header, or a part of a small file, at once."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, path: str, limit: int | None) -> None:
        self._file, self._path, self._limit = file, path, limit

    def read(self, count: int) -> bytes:
        self._require(count, self._file.tell() + count)
        return self._file.read(count)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._require(0, offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def _require(self, count: int, end: int) -> None:
        if count > MAX_TEXT_BYTES + 1 or (self._limit is not None and end > self._limit):
            _refuse(self._path, f"has more than {(self._limit or MAX_TEXT_BYTES) >> 20} MiB where far less is expected")
