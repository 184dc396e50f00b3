"""Folders of products in object stores and on the web, listed one folder at a time."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import quote, unquote

import obstore

from dualsr_geo.errors import InputError
from dualsr_geo.io.storage.object_store import open_store
from dualsr_geo.io.storage.remote_file import read_range
from dualsr_geo.io.storage.store_errors import store_errors_as
from dualsr_geo.io.storage.urls import is_writable, shown
from dualsr_geo.io.storage.web import read_first

# Bytes of a metadata file, and names of one folder.
MAX_TEXT_BYTES, MAX_ENTRIES = 64 << 20, 20_000
# Bytes of a list of files that a web server writes.
MAX_LIST_BYTES = 4 << 20


@dataclass(frozen=True)
class StoreTree:
    """The objects below a URL of an object store.

    Attributes
    ----------
    url : str
        The folder, without a slash at its end.
    listed : dict
        Folders that were listed; what is in each, and whether that is a folder.
    """

    url: str
    listed: dict[str, Mapping[str, bool]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def root(self) -> str:
        """The URL as messages show it."""
        return shown(self.url)

    @property
    def name(self) -> str:
        """Last name of the URL."""
        return posixpath.basename(self.url)

    def entries(self, folder: str) -> Mapping[str, bool]:
        """Return the names in a folder, and whether each is a folder.

        Raises
        ------
        InputError
            If the store refuses, or there are too many.
        """
        if folder not in self.listed:
            self.listed[folder] = self._listed(folder)
        return self.listed[folder]

    def is_file(self, inner: str) -> bool:
        """Say whether a path from the root is an object."""
        folder, name = posixpath.split(inner)
        return self.entries(folder).get(name) is False

    def is_folder(self, inner: str) -> bool:
        """Say whether any object is below a path from the root."""
        return bool(self.entries(inner))

    def opened(self, inner: str) -> str:
        """Return the URL of a path from the root."""
        return f"{self.url}/{inner}".rstrip("/")

    def read(self, inner: str) -> bytes:
        """Return the content of a small object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        InputError
            If the store refuses, or it is large.
        """
        if not self.is_file(inner):
            raise FileNotFoundError(f"there is no {self.root}/{inner}")
        with store_errors_as(InputError, self.opened(inner)):
            result = obstore.get(open_store(self.url), inner)
            if result.meta["size"] <= MAX_TEXT_BYTES:
                return bytes(result.bytes())
        raise _too_large(self.opened(inner))

    def _listed(self, folder: str) -> Mapping[str, bool]:
        with store_errors_as(InputError, self.url):
            result = obstore.list_with_delimiter(open_store(self.url), f"{folder}/" if folder else None)
        folders = [str(p) for p in result["common_prefixes"]]
        files = [str(o["path"]) for o in result["objects"] if o["path"] != folder]
        if len(folders) + len(files) > MAX_ENTRIES:
            raise InputError(f"{self.root}/{folder} holds more than {MAX_ENTRIES} objects, so it is no product.")
        names = {posixpath.basename(p.rstrip("/")): True for p in folders}
        return names | {posixpath.basename(p): False for p in files}


@dataclass(frozen=True)
class WebTree:
    """The files below a URL of a web server, by the lists of files that it writes, or by requests where it writes none.

    Attributes
    ----------
    url : str
        The folder, without a slash at its end and without its query.
    query : str
        The query of every file, such as a signature, with its question mark.
    listed : dict
        Folders that were listed; None for one without a list.
    answered : dict
        Whether the server has a file.
    """

    url: str
    query: str = ""
    listed: dict[str, Mapping[str, bool] | None] = field(default_factory=dict, compare=False, repr=False)
    answered: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)

    @property
    def root(self) -> str:
        """The URL as messages show it."""
        return shown(self.url)

    @property
    def name(self) -> str:
        """Last name of the URL."""
        return posixpath.basename(self.url)

    def entries(self, folder: str) -> Mapping[str, bool]:
        """Return the names in a folder, and whether each is a folder; none where the server writes no list."""
        return self._listed(folder) or {}

    def is_file(self, inner: str) -> bool:
        """Say whether the server has a file."""
        folder, name = posixpath.split(inner)
        listed = self._listed(folder)
        if listed is not None:
            return listed.get(name) is False
        if inner not in self.answered:
            self.answered[inner] = read_first(self.opened(inner), 1) is not None
        return self.answered[inner]

    def is_folder(self, inner: str) -> bool:
        """Say whether a path from the root is a folder; the root is always one."""
        if not inner:
            return True
        folder, name = posixpath.split(inner)
        listed = self._listed(folder)
        return "." not in name if listed is None else listed.get(name) is True

    def opened(self, inner: str) -> str:
        """Return the URL of a path from the root."""
        return f"{self.url}/{quote(inner)}".rstrip("/") + self.query

    def read(self, inner: str) -> bytes:
        """Return the content of a small file.

        Raises
        ------
        InputError
            If the server refuses, or it is large.
        """
        content = read_range(self.opened(inner), 0, MAX_TEXT_BYTES + 1)
        if len(content) > MAX_TEXT_BYTES:
            raise _too_large(self.opened(inner))
        return content

    def _listed(self, folder: str) -> Mapping[str, bool] | None:
        if folder not in self.listed:
            answer = read_first(
                f"{self.url}/{quote(folder)}".rstrip("/") + "/" + self.query, MAX_LIST_BYTES, is_part=False
            )
            is_page = answer is not None and answer.headers.get("content-type", "").startswith("text/html")
            self.listed[folder] = _names_in(answer.content) if answer is not None and is_page else None
        return self.listed[folder]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _names_in(page: bytes) -> Mapping[str, bool] | None:
    """Return the names that the page of a folder links, and whether each is a folder; None if it is another page."""
    parser = _Links()
    parser.feed(page.decode("utf-8", "replace"))
    links = [unquote(link.removeprefix("./")) for link in parser.links[:MAX_ENTRIES]]
    names = {link.rstrip("/"): link.endswith("/") for link in links if re.fullmatch(r"[^/?#\\:]+/?", link)}
    names.pop("..", None)
    return names or None


def store_tree(url: str) -> StoreTree | WebTree:
    """Return the files below a URL."""
    if is_writable(url):
        return StoreTree(url.rstrip("/"))
    path, mark, query = url.partition("?")
    return WebTree(path.rstrip("/"), mark + query)


def _too_large(url: str) -> InputError:
    return InputError(f"{shown(url)} has more than {MAX_TEXT_BYTES >> 20} MiB, too much for metadata. Fetch it again.")
