"""List the scenes of files, folders, globs, text files and STAC documents."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from dualsr_geo.batching.discovery import entries_below, entries_in_store, entries_matching, is_scene_folder
from dualsr_geo.batching.scene_entry import SceneEntry, entry_of, is_remote
from dualsr_geo.batching.stac_entries import entry_of_document, entry_of_item
from dualsr_geo.errors import InputError
from dualsr_geo.io.products.registry import is_delivery
from dualsr_geo.io.products.stac.documents import ListedItem, is_stac, read_items
from dualsr_geo.io.storage.special_files import require_no_special_file
from dualsr_geo.io.storage.urls import shown


def list_entries(
    sources: Sequence[str], *, asset: str | None = None, guides: Sequence[str] = (), exclude: str = ""
) -> list[SceneEntry]:
    """List the scenes of a batch, each once, in a fixed order; only lists and STAC documents are opened.

    Parameters
    ----------
    sources : sequence of str
        Files, folders, globs, ``.txt`` lists of these (one a line), STAC items, item collections or catalogs
        (``.json``), and products as delivered. Folders and globs may be in an object store.
    asset : str, optional
        The key of the asset of a STAC item that is the scene, or patterns of assets of one band each.
    guides : sequence of str
        Keys of assets that are guides.
    exclude : str
        A folder that is not searched: the output.

    Raises
    ------
    InputError
        If a glob or a folder has no scene, or a list or a STAC document cannot be read.
    OptionError
        If a source is the folder `exclude`.
    """
    entries: dict[str, SceneEntry] = {}
    for source in sources:
        for entry in _entries_of(source, asset, guides, exclude):
            entries.setdefault(entry.key, entry)
    return list(entries.values())


def _entries_of(source: str, asset: str | None, guides: Sequence[str], exclude: str) -> Iterable[SceneEntry]:
    """List the scenes of one source."""
    suffix = Path(shown(source) if is_remote(source) else source).suffix.lower()
    path = source if is_remote(source) else os.path.abspath(os.path.expanduser(source))
    if suffix in (".json", ".geojson") and (is_remote(source) or _is_document(path)):
        listed = read_items(path)
        items = (entry_of_item(i, asset, guides) if isinstance(i, ListedItem) else entry_of_document(i) for i in listed)
        return _require_any(source, items)
    if is_remote(source):
        entries = entries_in_store(source, exclude)
        return [entry_of(source)] if entries is None else _require_any(source, entries)
    if suffix == ".txt" and _is_document(path):
        return [_with_folder(e, line) for line in _lines(path) for e in _entries_of(line, asset, guides, exclude)]
    if os.path.isdir(path) and not is_scene_folder(path):
        return _require_any(source, entries_below(path, exclude))
    if glob.has_magic(source) and not os.path.lexists(path):
        return _require_any(source, entries_matching(path, exclude))
    return [entry_of(path)]


def _require_any(source: str, entries: Iterable[SceneEntry]) -> list[SceneEntry]:
    scenes = list(entries)
    if not scenes:
        raise InputError(
            f"{source} holds no scene: no raster (by its suffix), Zarr group, product as delivered or STAC item. "
            "Give another source."
        )
    return scenes


def _is_document(path: str) -> bool:
    """Return whether a file is a list or a STAC document; metadata of Landsat is a text file, but is a scene.

    Raises
    ------
    InputError
        If it is a pipe, a socket or a device.
    """
    require_no_special_file(path)
    return os.path.isfile(path) and (is_stac(path) or not is_delivery(path))


def _lines(path: str) -> list[str]:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"The list {path} cannot be read: {error.strerror}.") from error
    lines = [line.rstrip("\r") for line in text.split("\n") if line.strip()]
    if lists := [line for line in lines if line.lower().endswith(".txt") and not is_delivery(line)]:
        raise InputError(f"The list {path} names another list, {lists[0]}. Give both as sources.")
    return lines


def _with_folder(entry: SceneEntry, line: str) -> SceneEntry:
    """Return the entry of a line with the folder of its relative path: scenes in a list may share their names."""
    folder = os.path.dirname(os.path.normpath(line))
    if entry.listed or entry.assets or is_remote(line) or os.path.isabs(line) or folder.startswith(".."):
        return entry
    return replace(entry, folder=folder)
