"""A file in a store or on the web as a file object, of which only the requested parts are read."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import obstore

from dualsr_geo.errors import InputError
from dualsr_geo.io.storage.object_store import open_store, read_object
from dualsr_geo.io.storage.store_errors import store_errors_as
from dualsr_geo.io.storage.urls import is_url, is_writable, shown
from dualsr_geo.io.storage.web import read_document, read_first, read_part

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Bytes of one request.
BUFFER_BYTES = 1 << 18


class _RemoteFile(io.RawIOBase):
    def __init__(self, url: str) -> None:
        self._url, self._at, self._size = url, 0, _size(url)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        count = min(len(view), self._size - self._at)
        if count <= 0:
            return 0
        content = read_range(self._url, self._at, count)
        view[: len(content)] = content
        self._at += len(content)
        return len(content)


def open_remote(url: str) -> io.BufferedReader:
    """Return a file object of an object or of a file on the web.

    Raises
    ------
    InputError
        If the store or the server refuses.
    """
    return io.BufferedReader(_RemoteFile(url), BUFFER_BYTES)


def local_or_remote(path: str) -> str | io.BufferedReader:
    """Return a path as it is, and the file object of a URL."""
    return open_remote(path) if is_url(path) else path


def read_range(url: str, start: int, count: int) -> bytes:
    """Return a part of an object or of a file on the web; less at its end.

    Raises
    ------
    InputError
        If the store or the server refuses.
    """
    if not is_writable(url):
        return read_part(url, start, count)
    root, _, name = url.rpartition("/")
    with store_errors_as(InputError, url):
        return bytes(obstore.get_range(open_store(root), name, start=start, length=count))


def read_text(url: str) -> bytes:
    """Return the content of a small object or document.

    Raises
    ------
    InputError
        If the store or the server refuses.
    """
    return read_object(url, InputError) if is_writable(url) else read_document(url)


def _size(url: str) -> int:
    if is_writable(url):
        root, _, name = url.rpartition("/")
        with store_errors_as(InputError, url):
            return int(obstore.head(open_store(root), name)["size"])
    answer = read_first(url, 1, explain=True)
    headers = {} if answer is None else answer.headers
    size = headers.get("content-range", "").rpartition("/")[2] or headers.get("content-length", "")
    if not size.isdecimal():
        raise InputError(f"{shown(url)}: the server does not state its size. Fetch the file.")
    return int(size)
