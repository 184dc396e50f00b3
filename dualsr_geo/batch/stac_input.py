"""Read scenes from STAC items, item collections and catalogs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dualsr_geo.batch.scene_entry import SceneEntry, entry_of, is_remote
from dualsr_geo.errors import InputError
from dualsr_geo.io.storage.object_store import read_object
from dualsr_geo.io.storage.urls import is_writable

if TYPE_CHECKING:
    import pystac

# Roles and media types of assets that are no scene.
OTHER_ROLES = {"thumbnail", "overview", "metadata", "visual", "graphic"}
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

    try:
        content: Any = json.loads(_reader().read_text(href))
        if content["type"] == "FeatureCollection":
            yield from _items_of_collection(href, content)
            return
        document = pystac.read_file(href, stac_io=_reader())
    except _read_errors() as error:
        raise InputError(
            f"{href} is no STAC item, item collection or catalog: {type(error).__name__}: {error}"
        ) from error
    if isinstance(document, pystac.Catalog):
        yield from _items_of_catalog(document)
    elif isinstance(document, pystac.Item):
        yield document


def _reader() -> pystac.StacIO:
    """Return a reader of STAC documents that reads from object stores, too."""
    import pystac  # noqa: PLC0415  # as above

    class Reader(pystac.stac_io.DefaultStacIO):
        def read_text_from_href(self, href: str) -> str:
            return read_object(href, InputError).decode() if is_writable(href) else super().read_text_from_href(href)

    return Reader()


def _read_errors() -> tuple[type[Exception], ...]:
    """Return the errors that an invalid or missing STAC document raises."""
    import pystac  # noqa: PLC0415  # as above

    return (OSError, ValueError, KeyError, TypeError, AttributeError, pystac.STACError, pystac.STACTypeError)


def _items_of_collection(href: str, content: dict[str, Any]) -> list[pystac.Item]:
    """Return the items of an item collection; their relative hrefs start at the collection."""
    import pystac  # noqa: PLC0415  # as above

    items = pystac.ItemCollection.from_dict(content, preserve_dict=False).items
    for item in items:
        item.set_self_href(item.get_self_href() or href)
    return items


def _items_of_catalog(catalog: pystac.Catalog) -> Iterator[pystac.Item | SceneEntry]:
    """Yield the items of a catalog and of the catalogs in it; each is read separately, since one may be missing."""
    import pystac  # noqa: PLC0415  # as above

    for link in catalog.get_links():
        if link.rel not in ("item", "child"):
            continue
        href = link.get_absolute_href() or str(link.href)
        try:
            target = link.resolve_stac_object(root=catalog.get_root()).target
        except _read_errors() as error:
            yield replace(entry_of(href), error=f"The STAC document {href} cannot be read: {error}")
            continue
        if isinstance(target, pystac.Catalog):
            yield from _items_of_catalog(target)
        elif isinstance(target, pystac.Item):
            yield target


def entry_of_item(item: pystac.Item, asset: str | None, guides: Sequence[str]) -> SceneEntry:
    """Return the entry of a STAC item: its asset `asset`, or the only asset that can be the scene."""
    hrefs = {key: a.get_absolute_href() or a.href for key, a in item.assets.items()}
    acquired = item.datetime.isoformat().replace("+00:00", "Z") if item.datetime else ""
    entry = SceneEntry("", _file_name(item.id), assets=hrefs, acquired=acquired)
    candidates = [k for k, a in item.assets.items() if k not in guides and _can_be_scene(a)]
    keys = candidates if asset is None else [asset]
    if len(keys) == 1 and keys[0] in hrefs:
        path = hrefs[keys[0]]
        path = path if is_remote(path) else os.path.abspath(path.removeprefix("file://"))
        return replace(entry, path=path, error=entry_of(path).error)
    problem = f"no asset `{asset}`" if asset is not None else f"{len(candidates)} assets that may be the scene"
    names = ", ".join(sorted(hrefs)) or "none"
    error = f"The STAC item {item.id} has {problem}; its assets are {names}. Give --asset KEY."
    return replace(entry, path=item.id, error=error)


def _can_be_scene(asset: pystac.Asset) -> bool:
    return not OTHER_ROLES & set(asset.roles or ()) and not (asset.media_type or "").startswith(OTHER_MEDIA_TYPES)


def _file_name(name: str) -> str:
    """Return a name without folders and leading dots."""
    return name.replace("/", "_").replace("\\", "_").lstrip(".") or "item"
