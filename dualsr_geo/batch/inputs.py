"""What there is to sharpen: files, folders, globs, lists and STAC as entries, one a scene."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from dualsr_geo.batch.discovery import below, in_store, is_scene_folder, matching
from dualsr_geo.batch.scene_entry import SceneEntry, is_remote, named
from dualsr_geo.batch.stac_input import read_items, scene_of
from dualsr_geo.errors import InputError
from dualsr_geo.io.products.registry import is_delivery


def entries(
    sources: Sequence[str], *, asset: str | None = None, guides: Sequence[str] = (), avoid: str = ""
) -> list[SceneEntry]:
    """List the scenes of an archive, each once, in a fixed order; nothing is opened but lists and STAC.

    Parameters
    ----------
    sources : sequence of str
        Files, folders, globs, ``.txt`` lists of them (one a line), STAC items, item collections or
        catalogs (``.json``); products as delivered are scenes. Folders and globs may lie in an object store.
    asset : str, optional
        Which asset of a STAC item is the scene.
    guides : sequence of str
        Assets that are guides, so no scenes.
    avoid : str
        A folder in which nothing is a scene: the output.

    Raises
    ------
    InputError
        If a glob or a folder has no scene, or a list or a STAC document cannot be read.
    OptionError
        If a folder to search is the one to avoid.
    """
    listed: dict[str, SceneEntry] = {}
    for source in sources:
        for entry in _of(source, asset, guides, avoid):
            listed.setdefault(entry.key, entry)
    return list(listed.values())


def _of(source: str, asset: str | None, guides: Sequence[str], avoid: str) -> Iterable[SceneEntry]:
    """List the scenes of one source."""
    suffix = Path(source.partition("?")[0]).suffix.lower()
    path = source if is_remote(source) else os.path.abspath(os.path.expanduser(source))
    if suffix in (".json", ".geojson") and (is_remote(source) or _is_document(path)):
        items = (i if isinstance(i, SceneEntry) else scene_of(i, asset, guides) for i in read_items(path))
        return _require_some(source, items)
    if is_remote(source):
        several = in_store(source, avoid)
        return [named(source)] if several is None else _require_some(source, several)
    if suffix == ".txt" and _is_document(path):
        return [_kept(e, line) for line in _lines(path) for e in _of(line, asset, guides, avoid)]
    if os.path.isdir(path) and not is_scene_folder(path):
        return _require_some(source, below(path, avoid))
    if glob.has_magic(source) and not os.path.lexists(path):
        return _require_some(source, matching(path, avoid))
    return [named(path)]


def _require_some(source: str, found: Iterable[SceneEntry]) -> list[SceneEntry]:
    some = list(found)
    if not some:
        raise InputError(
            f"{source} holds no scene: no raster by its suffix, no Zarr, no product as delivered, no item."
        )
    return some


def _is_document(path: str) -> bool:
    """Say whether a file is to be read as text: Landsat's metadata are text, too, but stand for a scene."""
    return os.path.isfile(path) and not is_delivery(path)


def _lines(path: str) -> list[str]:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"The list {path} cannot be read: {error.strerror}.") from error
    lines = [line.rstrip("\r") for line in text.split("\n") if line.strip()]
    if loops := [line for line in lines if line.lower().endswith(".txt") and not is_delivery(line)]:
        raise InputError(f"The list {path} names another one, {loops[0]}. Give both as sources.")
    return lines


def _kept(entry: SceneEntry, line: str) -> SceneEntry:
    """Keep the folders of a relative path in a list: lists name scenes by the thousand, many of them alike."""
    folder = os.path.dirname(os.path.normpath(line))
    bare = entry.found or entry.assets or is_remote(line) or os.path.isabs(line) or folder.startswith("..")
    return entry if bare else replace(entry, folder=folder)
