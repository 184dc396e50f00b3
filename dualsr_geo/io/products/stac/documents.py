"""STAC items, item collections and catalogs, read from files, stores and the web."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualsr_geo.errors import InputError, excerpt
from dualsr_geo.io.products.stac.checks import FieldError, is_local, require_stac
from dualsr_geo.io.readers.references.local import trusted
from dualsr_geo.io.storage.names import expanded
from dualsr_geo.io.storage.remote_file import read_text
from dualsr_geo.io.storage.special_files import require_no_special_file, special_file_error
from dualsr_geo.io.storage.urls import canonical, shown
from dualsr_geo.io.storage.web import MAX_DOCUMENT_BYTES
from dualsr_geo.redaction import remember

if TYPE_CHECKING:
    import pystac

# Catalogs in catalogs; a server can make up more of them without end.
MAX_DEPTH = 30
# Items that a message names.
MAX_NAMED = 5
# A STAC document, its query, and what follows: the id of an item, and the assets that are chosen.
_REFERENCE = re.compile(r"(?i)^(.*?\.(?:geo)?json|https?://[^?#]*/items/[^/?#]+)(\?[^#]*)?(?:#(.*))?$", re.DOTALL)
_LANDSAT_DOCUMENT = re.compile(r"(?i)_MTL\.json")


@dataclass(frozen=True)
class ListedItem:
    """An item, and how it is opened as a scene.

    Attributes
    ----------
    item : pystac.Item
    location : str
        Its document; ``collection.json#id`` of an item in a collection.
    """

    item: pystac.Item
    location: str


@dataclass(frozen=True)
class UnreadableDocument:
    """A document of a catalog that cannot be read, and the error, one line."""

    href: str
    error: str


def split_reference(where: str) -> tuple[str, str] | None:
    """Return a STAC document, and what follows the ``#``; None for a location that is none by its name."""
    match = _REFERENCE.match(where)
    if match is None or _LANDSAT_DOCUMENT.search(match[1]):
        return None
    return match[1] + (match[2] or ""), match[3] or ""


def is_stac(where: str) -> bool:
    """Say whether a location is a STAC item or item collection, or one in it, by its name and the field that each document has."""
    parts = split_reference(where)
    if parts is None:
        return False
    if not is_local(parts[0]):
        return True
    path = expanded(parts[0])
    if special_file_error(path) or not path.is_file():
        return False
    with path.open("rb") as file:
        return b'"stac_version"' in file.read(MAX_DOCUMENT_BYTES)


def read_item(where: str) -> tuple[ListedItem, tuple[str, ...]]:
    """Return an item, and the patterns of the assets that are chosen; none for all.

    Parameters
    ----------
    where : str
        ``item.json``, ``item.json#nir,swir*``, ``items.json#id`` or ``items.json#id#nir,swir*``.

    Raises
    ------
    InputError
        If the document cannot be read, or holds no such item or several.
    """
    document, rest = split_reference(where) or (where, "")
    document = document if not is_local(document) else os.path.abspath(expanded(document))
    listed = [entry for entry in read_items(document, only_items=True) if isinstance(entry, ListedItem)]
    ids = [entry.item.id for entry in listed]
    first, _, second = rest.partition("#")
    if first in ids:
        return listed[ids.index(first)], _patterns(second)
    if len(listed) == 1:
        return listed[0], _patterns(rest)
    names = ", ".join(ids[:MAX_NAMED]) + (f" and {len(ids) - MAX_NAMED} more" if len(ids) > MAX_NAMED else "")
    raise InputError(
        f"{shown(document)} holds {len(ids)} items{f', none of them {excerpt(first)}' if first else ''}: {names or 'none'}. "
        f"Give one as {shown(document)}#ID."
    )


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(p.strip() for p in text.split(",") if p.strip())


def read_items(href: str, *, only_items: bool = False) -> Iterator[ListedItem | UnreadableDocument]:
    """Yield the items of a STAC document; for a document of a catalog that cannot be read the error.

    Parameters
    ----------
    href : str
    only_items : bool
        Whether a catalog is an error.

    Raises
    ------
    InputError
        If the document cannot be read.
    """
    import pystac  # noqa: PLC0415  # a tenth of a second that only STAC needs

    reader = _reader(href)
    with _stac_errors(href):
        content = reader.read_json(href)
        if content.get("type") == "FeatureCollection":
            items = _items_of_collection(href, content)
        else:
            items, document = [], pystac.read_file(href, stac_io=reader)
    if items or content.get("type") == "FeatureCollection":
        yield from (ListedItem(item, f"{href}#{item.id}") for item in items)
    elif isinstance(document, pystac.Item):
        yield ListedItem(document, href)
    elif only_items:
        raise InputError(
            f"{shown(href)} is a catalog of STAC. Give one of its items, or the catalog to dualsr-geo batch."
        )
    elif isinstance(document, pystac.Catalog):
        yield from _items_of_catalog(document, {href}, 0)


def _reader(start: str) -> pystac.StacIO:
    """Return a reader of STAC documents on disk, in object stores and on the web.

    From a document that is not local no local one is read.
    """
    import pystac  # noqa: PLC0415  # as above

    class Reader(pystac.stac_io.DefaultStacIO):
        def read_text_from_href(self, href: str) -> str:
            return _text_of(canonical(href), start)

        def json_loads(self, txt: str, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
            content = json.loads(txt)
            require_stac(content)
            return dict(content)

        def stac_object_from_dict(self, d: dict[str, Any], *args: Any, **kwargs: Any) -> pystac.STACObject:
            if d.get("type") != "Feature":
                return super().stac_object_from_dict(d, *args, **kwargs)
            # pystac would ask the server of the collection for properties that items of STAC 0.x share.
            return pystac.Item.from_dict(d, *args, **kwargs)

    return Reader()


def _text_of(href: str, start: str) -> str:
    remember(href)
    if is_local(href):
        if not is_local(start) and not trusted():
            raise InputError(f"{shown(start)} names the local document {href}. Fetch both, or give --trust-references.")
        require_no_special_file(href)
        return Path(href).read_text(encoding="utf-8")
    return read_text(href).decode()


@contextmanager
def _stac_errors(href: str) -> Iterator[None]:
    """Raise the errors of an invalid or missing STAC document as one InputError."""
    try:
        yield
    except FieldError as error:
        raise InputError(
            f"{shown(href)} is no STAC item, item collection or catalog: {error}. Correct it, or fetch it again."
        ) from None
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{shown(href)} is no STAC document: it is nested too deeply.") from None
    except OSError as error:
        raise InputError(f"{shown(href)} cannot be read: {error.strerror or error}.") from error
    except Exception as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        # pystac raises what Python raises on values of other types
        raise InputError(
            f"{shown(href)} is no STAC item, item collection or catalog: {type(error).__name__}: {error}"
        ) from error


def _items_of_collection(href: str, content: dict[str, Any]) -> list[pystac.Item]:
    """Return the items of an item collection; their relative hrefs start at the collection."""
    import pystac  # noqa: PLC0415  # as above

    items = pystac.ItemCollection.from_dict(content, preserve_dict=False).items
    for item in items:
        item.set_self_href(item.get_self_href() or href)
    return list(items)


def _items_of_catalog(
    catalog: pystac.Catalog, visited: set[str], depth: int
) -> Iterator[ListedItem | UnreadableDocument]:
    """Yield the items of a catalog and of the catalogs in it; each is read separately, since one may be missing.

    A catalog that a catalog another one has named before is not read again.
    """
    import pystac  # noqa: PLC0415  # as above

    for link in catalog.get_links():
        if link.rel not in ("item", "child"):
            continue
        href = opened_href(link)
        if href in visited:
            continue
        visited.add(href)
        try:
            _require_depth(depth)
            with _stac_errors(href):
                target = link.resolve_stac_object(root=catalog.get_root()).target
        except InputError as error:
            yield UnreadableDocument(_printable(href), f"The STAC document {shown(href)} cannot be read: {error}")
            continue
        if isinstance(target, pystac.Catalog):
            yield from _items_of_catalog(target, visited, depth + 1)
        elif isinstance(target, pystac.Item):
            yield ListedItem(target, href)


def _require_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InputError(f"it is in more than {MAX_DEPTH} catalogs, one in another")


def _printable(href: str) -> str:
    return href.replace("\0", "\\0")


def opened_href(target: pystac.Asset | pystac.Link) -> str:
    """Return the path or URL of an asset or a link as it is opened.

    An address that cannot be parsed is returned as it is: opening it reports that.
    """
    try:
        return canonical(target.get_absolute_href() or str(target.href))
    except ValueError:
        return str(target.href)
