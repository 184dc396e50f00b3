"""The types of the fields of STAC documents, which pystac takes as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dualsr_geo.errors import InputError, excerpt
from dualsr_geo.io.storage.urls import url_of


class FieldError(InputError):
    """A field of a STAC document has another type; the message names the field, not the document."""


# Of any document: what it is, its links. `feature` in addition, with its assets.
_KINDS: dict[str, tuple[type, ...]] = {"text": (str,), "list": (list,), "object": (dict,)}


def is_local(href: str) -> bool:
    """Return whether the href of a document or an asset is on this machine, whatever its form."""
    return url_of(href) is None


def require_stac(document: Any) -> None:
    """Check the types of the fields that are read.

    Raises
    ------
    FieldError
        If it is no STAC item, item collection, collection or catalog, or a field has another type.
    """
    _require(document, "object", "the document")
    kind = document.get("type")
    _require(kind, "text", "type")
    if kind == "FeatureCollection":
        _each(document, "features", require_stac)
    elif kind == "Feature":
        _require(document.get("id"), "text", "id")
        _require(document.get("properties"), "object", "properties")
        _require(document.get("assets"), "object", "assets")
        for key, asset in document["assets"].items():
            _require_asset(asset, f"assets.{key}")
    elif kind not in ("Catalog", "Collection"):
        raise FieldError(f"it has the type {excerpt(kind)}, not that of a STAC item, item collection or catalog")
    _each(document, "links", _require_link)


def _each(document: dict[str, Any], name: str, check: Callable[[Any], None]) -> None:
    entries = document.get(name, [])
    _require(entries, "list", name)
    for entry in entries:
        check(entry)


def _require_link(link: Any) -> None:
    _require(link, "object", "a link")
    _require(link.get("rel"), "text", "the rel of a link")
    _require_href(link.get("href"), "the href of a link")


def _require_asset(asset: Any, name: str) -> None:
    _require(asset, "object", name)
    _require_href(asset.get("href"), f"{name}.href")
    for field, kind in (("type", "text"), ("title", "text"), ("roles", "list")):
        if asset.get(field) is not None:
            _require(asset[field], kind, f"{name}.{field}")
    for role in asset.get("roles") or ():
        _require(role, "text", f"a role of {name}")


def _require_href(value: Any, name: str) -> None:
    _require(value, "text", name)
    if not value or not value.isprintable():
        raise FieldError(f"{name} is {excerpt(repr(value))}, which is no path or URL")


def _require(value: Any, kind: str, name: str) -> None:
    if not isinstance(value, _KINDS[kind]):
        state = "is missing" if value is None else f"is {excerpt(repr(value))}"
        raise FieldError(f"{name} {state}, where {'an object' if kind == 'object' else f'a {kind}'} is expected")
