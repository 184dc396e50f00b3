"""Paths within the folder of a product, wherever it is, with the part of pathlib's interface that readers use."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol, Self

from dualsr_geo.errors import InputError


class ProductPath(Protocol):
    """A file or folder of a product: a `pathlib.Path`, or a `VirtualPath`, which is one in an archive or a store.

    ``str(path)`` is its name in messages, and ``os.fspath(path)`` is what rasterio opens.
    """

    def __fspath__(self) -> str:
        """Return what rasterio opens."""
        ...

    def __truediv__(self, name: str, /) -> Self:
        """Return the path of a name below this folder."""
        ...

    def __lt__(self, other: Any, /) -> bool:
        """Compare by name."""
        ...

    @property
    def name(self) -> str:
        """Last part of the path."""
        ...

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        ...

    @property
    def suffix(self) -> str:
        """The last suffix of the name, with its dot."""
        ...

    @property
    def parts(self) -> tuple[str, ...]:
        """Names on the way from the root."""
        ...

    @property
    def parent(self) -> Self:
        """The folder of the path."""
        ...

    def with_name(self, name: str) -> Self:
        """Return the path of another name in the same folder."""
        ...

    def with_suffix(self, suffix: str) -> Self:
        """Return the path with another suffix."""
        ...

    def is_file(self) -> bool:
        """Say whether it is a file."""
        ...

    def is_dir(self) -> bool:
        """Say whether it is a folder."""
        ...

    def exists(self) -> bool:
        """Say whether it is a file or a folder."""
        ...

    def iterdir(self) -> Iterator[Self]:
        """Yield the files and folders in it."""
        ...

    def glob(self, pattern: str) -> Iterator[Self]:
        """Yield what matches a pattern such as ``GRANULE/*/IMG_DATA/*.jp2``."""
        ...

    def read_bytes(self) -> bytes:
        """Return the content of a small file."""
        ...

    def read_text(self, encoding: str | None = None) -> str:
        """Return the content of a small file as text."""
        ...


class Tree(Protocol):
    """The files below a root that is no folder on disk."""

    @property
    def root(self) -> str:
        """The root in messages."""
        ...

    @property
    def name(self) -> str:
        """Name of the product's folder that the root is."""
        ...

    def entries(self, folder: str) -> Mapping[str, bool]:
        """Return the names in a folder (``""`` is the root), and whether each is a folder; none where there is none."""
        ...

    def is_file(self, inner: str) -> bool:
        """Say whether a path from the root is a file."""
        ...

    def is_folder(self, inner: str) -> bool:
        """Say whether a path from the root is a folder."""
        ...

    def read(self, inner: str) -> bytes:
        """Return the content of a small file; raises OSError if there is none, InputError if it cannot be read."""
        ...

    def opened(self, inner: str) -> str:
        """Return what rasterio opens for a path from the root."""
        ...


@dataclass(frozen=True)
class VirtualPath:
    """A file or folder in an archive, in an object store or on the web.

    Attributes
    ----------
    tree : Tree
    inner : str
        The path from the root of the tree, with ``/`` and without ``.`` and ``..``; empty for the root.
    """

    tree: Tree
    inner: str = ""

    def __str__(self) -> str:
        """Return the name for messages."""
        return f"{self.tree.root}/{self.inner}" if self.inner else self.tree.root

    def __fspath__(self) -> str:
        """Return what rasterio opens."""
        return self.tree.opened(self.inner)

    def __lt__(self, other: VirtualPath, /) -> bool:
        """Compare by name."""
        return str(self) < str(other)

    def __truediv__(self, name: str, /) -> VirtualPath:
        """Return the path of a name below this folder.

        Raises
        ------
        InputError
            If the name leads out of the folder.
        """
        inner = posixpath.normpath(name) if name else "."
        if posixpath.isabs(inner) or inner.split("/")[0] == ".." or "\\" in inner or "\0" in inner:
            raise InputError(f"{self} names the file {name!r}, which is not in its folder. Fetch the product again.")
        return self if inner == "." else VirtualPath(self.tree, posixpath.join(self.inner, inner))

    @property
    def name(self) -> str:
        """Last part of the path; an archive has the name of the folder that it was made of."""
        return posixpath.basename(self.inner) or self.tree.name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return posixpath.splitext(self.name)[0]

    @property
    def suffix(self) -> str:
        """The last suffix of the name, with its dot."""
        return posixpath.splitext(self.name)[1]

    @property
    def parts(self) -> tuple[str, ...]:
        """The root, and the names from there."""
        return (self.tree.root, *(self.inner.split("/") if self.inner else ()))

    @property
    def parent(self) -> VirtualPath:
        """The folder of the path; the root is its own."""
        return VirtualPath(self.tree, posixpath.dirname(self.inner))

    def with_name(self, name: str) -> VirtualPath:
        """Return the path of another name in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> VirtualPath:
        """Return the path with another suffix."""
        return self.with_name(self.stem + suffix)

    def is_file(self) -> bool:
        """Say whether it is a file."""
        return bool(self.inner) and self.tree.is_file(self.inner)

    def is_dir(self) -> bool:
        """Say whether it is a folder."""
        return self.tree.is_folder(self.inner)

    def exists(self) -> bool:
        """Say whether it is a file or a folder."""
        return self.is_file() or self.is_dir()

    def iterdir(self) -> Iterator[VirtualPath]:
        """Yield the files and folders in it, by name."""
        return (self / name for name in sorted(self.tree.entries(self.inner)))

    def glob(self, pattern: str) -> Iterator[VirtualPath]:
        """Yield what matches a pattern; each of its parts matches one name."""
        part, _, rest = pattern.partition("/")
        if any(sign in part for sign in "*?["):
            matches = [p for p in self.iterdir() if fnmatchcase(p.name, part)]
        else:
            matches = [self / part]
        for path in matches:
            if rest and path.is_dir():
                yield from path.glob(rest)
            elif not rest and path.exists():
                yield path

    def read_bytes(self) -> bytes:
        """Return the content of a small file."""
        return self.tree.read(self.inner)

    def read_text(self, encoding: str | None = None) -> str:
        """Return the content of a small file as text."""
        return self.read_bytes().decode(encoding or "utf-8")
