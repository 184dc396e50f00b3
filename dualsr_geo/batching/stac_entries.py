"""Scenes of a batch from STAC items."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from dualsr_geo.batching.scene_entry import SceneEntry, entry_of, is_remote
from dualsr_geo.errors import OptionError
from dualsr_geo.io.products.stac.assets import band_assets, can_be_scene, chosen
from dualsr_geo.io.products.stac.checks import FieldError, is_local
from dualsr_geo.io.products.stac.documents import ListedItem, UnreadableDocument, opened_href
from dualsr_geo.io.readers.references.local import trusted
from dualsr_geo.io.storage.urls import shown


def entry_of_item(listed: ListedItem, asset: str | None, guides: Sequence[str]) -> SceneEntry:
    """Return the entry of a STAC item.

    It is opened by its only asset that can be the scene, by the asset whose key is `asset`, or by its assets of one band
    each: those that `asset`, patterns with commas between them, names, or all.
    """
    item = listed.item
    source = item.get_self_href() or ""
    hrefs = {key: opened_href(a) for key, a in item.assets.items()}
    acquired = item.datetime.isoformat().replace("+00:00", "Z") if item.datetime else ""
    # From the network a local file is no guide, either.
    followed = {k: h for k, h in hrefs.items() if is_local(source) or not is_local(h) or trusted()}
    entry = SceneEntry("", _file_name(item.id), assets=followed, acquired=acquired)
    candidates = [k for k, a in item.assets.items() if k not in guides and can_be_scene(a)]
    keys = candidates if asset is None else [asset]
    if len(keys) == 1 and keys[0] in hrefs:
        path = hrefs[keys[0]]
        path = path if is_remote(path) else os.path.abspath(path)
        if keys[0] not in followed:
            error = f"{shown(source)} names the local file {path}. Fetch the item, or give --trust-references if you trust it."
            return replace(entry, path=path, error=error)
        return replace(entry, path=path, error=entry_of(path).error)
    try:
        bands = band_assets(item)
        if len(bands) > 1:
            chosen(bands, asset.split(",") if asset else (), item.id)
            # A guide of the item is opened as the item states, too: with its scale, and next to the item if it is there.
            assets = followed | {b.key: f"{listed.location}#{b.key}" for b in bands if b.key in followed}
            return replace(entry, path=f"{listed.location}#{asset}" if asset else listed.location, assets=assets)
        problem = f"no asset `{asset}`" if asset is not None else f"{len(candidates)} assets that may be the scene"
        names = ", ".join(sorted(hrefs)) or "none"
        error = f"The STAC item {item.id} has {problem}; its assets are {names}. Give --asset KEY."
    except FieldError as invalid:
        error = f"The STAC item {item.id} is not valid: {invalid}. Correct it, or fetch it again."
    except OptionError as unknown:
        error = f"{unknown} Give --asset KEY."
    return replace(entry, path=item.id, error=error)


def entry_of_document(document: UnreadableDocument) -> SceneEntry:
    """Return the entry of a document of a catalog that cannot be read."""
    return replace(entry_of(document.href), error=document.error)


def _file_name(name: str) -> str:
    """Return a name without folders and leading dots."""
    return name.replace("/", "_").replace("\\", "_").lstrip(".") or "item"
