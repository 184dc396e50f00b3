"""Read scenes from STAC items, item collections and catalogs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualsr_geo.batching.scene_entry import SceneEntry, entry_of, is_remote
from dualsr_geo.batching.stac_check import FieldError, is_local, require_stac
from dualsr_geo.errors import InputError
from dualsr_geo.io.readers.references.local import trusted
from dualsr_geo.io.storage.remote_file import read_text
from dualsr_geo.io.storage.special_files import require_no_special_file
from dualsr_geo.io.storage.urls import canonical, shown
from dualsr_geo.redaction import remember

if TYPE_CHECKING:
    import pystac

# Catalogs in catalogs; a server can make up more of them without end.
MAX_DEPTH = 30
# Roles and media types of assets that are no scene.
OTHER_ROLES = {"uncertainty", "thumbnail", "overview", "metadata", "visual", "graphic"}
OTHER_MEDIA_TYPES = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "application/json",
    "application/geo+json",
    "text/",
    "application/xml",
)


def read_items(href: str) -> Iterator[pystac.Item | SceneEntry]:
    """Yield the items of a STAC document; for a document of a catalog that cannot be read an entry with the error.

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
        yield from items
    elif isinstance(document, pystac.Catalog):
        yield from _items_of_catalog(document, {href}, 0)
    elif isinstance(document, pystac.Item):
        yield document


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


def _items_of_catalog(catalog: pystac.Catalog, visited: set[str], depth: int) -> Iterator[pystac.Item | SceneEntry]:
    """Yield the items of a catalog and of the catalogs in it; each is read separately, since one may be missing.

    A catalog that a catalog another one has named before is not read again.
    """
    import pystac  # noqa: PLC0415  # as above

    for link in catalog.get_links():
        if link.rel not in ("item", "child"):
            continue
        href = _opened_href(link)
        if href in visited:
            continue
        visited.add(href)
        try:
            _require_depth(depth)
            with _stac_errors(href):
                target = link.resolve_stac_object(root=catalog.get_root()).target
        except InputError as error:
            yield replace(entry_of(_printable(href)), error=f"The STAC document {shown(href)} cannot be read: {error}")
            continue
        if isinstance(target, pystac.Catalog):
            yield from _items_of_catalog(target, visited, depth + 1)
        elif isinstance(target, pystac.Item):
            yield target


def _require_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InputError(f"it is in more than {MAX_DEPTH} catalogs, one in another")


def _printable(href: str) -> str:
    return href.replace("\0", "\\0")


def entry_of_item(item: pystac.Item, asset: str | None, guides: Sequence[str]) -> SceneEntry:
    """Return the entry of a STAC item: its asset `asset`, or the only asset that can be the scene."""
    source = item.get_self_href() or ""
    hrefs = {key: _opened_href(a) for key, a in item.assets.items()}
    acquired = item.datetime.isoformat().replace("+00:00", "Z") if item.datetime else ""
    # From the network a local file is no guide, either.
    followed = {k: h for k, h in hrefs.items() if is_local(source) or not is_local(h) or trusted()}
    entry = SceneEntry("", _file_name(item.id), assets=followed, acquired=acquired)
    candidates = [k for k, a in item.assets.items() if k not in guides and _can_be_scene(a)]
    keys = candidates if asset is None else [asset]
    if len(keys) == 1 and keys[0] in hrefs:
        path = hrefs[keys[0]]
        path = path if is_remote(path) else os.path.abspath(path)
        if keys[0] not in followed:
            error = f"{shown(source)} names the local file {path}. Fetch the item, or give --trust-references if you trust it."
            return replace(entry, path=path, error=error)
        return replace(entry, path=path, error=entry_of(path).error)
    problem = f"no asset `{asset}`" if asset is not None else f"{len(candidates)} assets that may be the scene"
    names = ", ".join(sorted(hrefs)) or "none"
    error = f"The STAC item {item.id} has {problem}; its assets are {names}. Give --asset KEY."
    return replace(entry, path=item.id, error=error)


def _opened_href(target: pystac.Asset | pystac.Link) -> str:
    """Return the path or URL of an asset or a link as it is opened.

    An address that cannot be parsed is returned as it is: opening it reports that.
    """
    try:
        return canonical(target.get_absolute_href() or str(target.href))
    except ValueError:
        return str(target.href)


def _can_be_scene(asset: pystac.Asset) -> bool:
    return not OTHER_ROLES & set(asset.roles or ()) and not (asset.media_type or "").startswith(OTHER_MEDIA_TYPES)


def _file_name(name: str) -> str:
    """Return a name without folders and leading dots."""
    return name.replace("/", "_").replace("\\", "_").lstrip(".") or "item"
