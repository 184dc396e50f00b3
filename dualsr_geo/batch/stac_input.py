"""STAC items as scenes: those of an item, an item collection, or a catalog with all below it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dualsr_geo.batch.scene_entry import SceneEntry, is_remote, named
from dualsr_geo.errors import InputError
from dualsr_geo.io.storage.object_store import read_object
from dualsr_geo.io.storage.urls import is_writable

if TYPE_CHECKING:
    import pystac

# Assets of a STAC item that are no scene.
NO_SCENE = {"thumbnail", "overview", "metadata", "visual", "graphic"}
PICTURES = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "application/json",
    "application/geo+json",
    "text/",
    "application/xml",
)


def read_items(where: str) -> Iterator[pystac.Item | SceneEntry]:
    """Yield the items of a STAC document; what cannot be read in a catalog as an entry that says so."""
    import pystac  # noqa: PLC0415  # a tenth of a second that only STAC needs

    try:
        text: Any = json.loads(_reader().read_text(where))
        if text["type"] == "FeatureCollection":
            yield from _of_collection(where, text)
            return
        document = pystac.read_file(where, stac_io=_reader())
    except _unreadable() as error:
        said = f"{type(error).__name__}: {error}"
        raise InputError(f"{where} is no STAC item, item collection or catalog: {said}") from error
    if isinstance(document, pystac.Catalog):
        yield from _of_catalog(document)
    elif isinstance(document, pystac.Item):
        yield document


def _reader() -> pystac.StacIO:
    """Return what reads STAC documents, those in object stores too."""
    import pystac  # noqa: PLC0415  # as above

    class Reader(pystac.stac_io.DefaultStacIO):
        def read_text_from_href(self, href: str) -> str:
            return read_object(href, InputError).decode() if is_writable(href) else super().read_text_from_href(href)

    return Reader()


def _unreadable() -> tuple[type[Exception], ...]:
    """Return what reading a STAC document that is none may raise."""
    import pystac  # noqa: PLC0415  # as above

    return (OSError, ValueError, KeyError, TypeError, AttributeError, pystac.STACError, pystac.STACTypeError)


def _of_collection(where: str, text: dict[str, Any]) -> list[pystac.Item]:
    """Return the items of an item collection; relative hrefs start at its place."""
    import pystac  # noqa: PLC0415  # as above

    found = pystac.ItemCollection.from_dict(text, preserve_dict=False).items
    for item in found:
        item.set_self_href(item.get_self_href() or where)
    return found


def _of_catalog(catalog: pystac.Catalog) -> Iterator[pystac.Item | SceneEntry]:
    """Yield the items of a catalog and of those in it, each read on its own: one may be missing."""
    import pystac  # noqa: PLC0415  # as above

    for link in catalog.get_links():
        if link.rel not in ("item", "child"):
            continue
        href = link.get_absolute_href() or str(link.href)
        try:
            target = link.resolve_stac_object(root=catalog.get_root()).target
        except _unreadable() as error:
            yield replace(named(href), wrong=f"The STAC document {href} cannot be read: {error}")
            continue
        if isinstance(target, pystac.Catalog):
            yield from _of_catalog(target)
        elif isinstance(target, pystac.Item):
            yield target


def scene_of(item: pystac.Item, asset: str | None, guides: Sequence[str]) -> SceneEntry:
    """Return the entry of a STAC item: the asset asked for, else the only one that can be the scene."""
    hrefs = {key: a.get_absolute_href() or a.href for key, a in item.assets.items()}
    taken = item.datetime.isoformat().replace("+00:00", "Z") if item.datetime else ""
    entry = SceneEntry("", _safe(item.id), assets=hrefs, taken=taken)
    able = [k for k, a in item.assets.items() if k not in guides and _may_be_scene(a)]
    chosen = [asset] if asset is not None else able
    if len(chosen) == 1 and chosen[0] in hrefs:
        path = hrefs[chosen[0]]
        path = path if is_remote(path) else os.path.abspath(path.removeprefix("file://"))
        return replace(entry, path=path, wrong=named(path).wrong)
    kinds = ", ".join(sorted(hrefs)) or "none"
    said = f"has no asset `{asset}`" if asset is not None else f"has {len(able)} assets that may be the scene"
    return replace(entry, path=item.id, wrong=f"The STAC item {item.id} {said}; it has {kinds}. Give --asset KEY.")


def _may_be_scene(asset: pystac.Asset) -> bool:
    return not NO_SCENE & set(asset.roles or ()) and not (asset.media_type or "").startswith(PICTURES)


def _safe(name: str) -> str:
    """Return a name that stays in its folder."""
    return name.replace("/", "_").replace("\\", "_").lstrip(".") or "item"
