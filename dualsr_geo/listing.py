"""What there is to sharpen: files, folders, globs, lists and STAC as entries, one a scene."""

from __future__ import annotations

import glob
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.products.kinds import is_delivery
from dualsr_geo.read import ZARR_DOCUMENTS
from dualsr_geo.stores import shown

if TYPE_CHECKING:
    import pystac

# In a folder what has one of these is a scene; the second ones only with an ENVI header beside them.
RASTERS = (
    ".tif", ".tiff", ".img", ".bsq", ".bil", ".bip", ".jp2", ".j2k", ".vrt", ".nc", ".h5", ".hdf5", ".he5", ".hdf",
    ".mat", ".ntf", ".nitf", ".pix", ".zarr",
)  # fmt: skip
HEADED = ("", ".dat", ".raw", ".bin", ".cub")
WORK = ".part"
# What GDAL reads by a driver or from the web; a drive has one letter.
NO_PATH = re.compile(r"[A-Za-z]\w+:")
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


@dataclass(frozen=True)
class Entry:
    """A scene of an archive, not opened yet.

    Attributes
    ----------
    path : str
        What `open_scene` opens: an absolute path or a URL.
    stem : str
        What its product is called by.
    folder : str
        Where its product goes below the output folder: its own place below the source.
    found : bool
        Whether it was found in a folder or by a glob; else it was named.
    assets : mapping of str to str
        Of a STAC item: where its assets are, by key.
    taken : str
        When it was taken, where STAC says so.
    wrong : str
        Why it cannot be a scene; empty where nothing is known against it.
    """

    path: str
    stem: str
    folder: str = ""
    found: bool = False
    assets: Mapping[str, str] = field(default_factory=dict)
    taken: str = ""
    wrong: str = ""

    @property
    def key(self) -> str:
        """What it is called in the ledger: its path, of a URL without what may be secret."""
        return shown(self.path) if is_remote(self.path) else self.path


def is_remote(path: str) -> bool:
    """Say whether a path is a URL, or one of GDAL's virtual files or subdatasets."""
    return path.startswith("/vsi") or (NO_PATH.match(path) is not None and not os.path.lexists(path))


def entries(
    sources: Sequence[str], *, asset: str | None = None, guides: Sequence[str] = (), avoid: str = ""
) -> list[Entry]:
    """List the scenes of an archive, each once, in a fixed order; nothing is opened but lists and STAC.

    Parameters
    ----------
    sources : sequence of str
        Files, folders, globs, ``.txt`` lists of them (one a line), STAC items, item collections or
        catalogs (``.json``); products as delivered are scenes.
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
    listed: dict[str, Entry] = {}
    for source in sources:
        for entry in _of(source, asset, guides, avoid):
            listed.setdefault(entry.key, entry)
    return list(listed.values())


def _of(source: str, asset: str | None, guides: Sequence[str], avoid: str) -> Iterable[Entry]:
    """List the scenes of one source."""
    suffix = Path(source.partition("?")[0]).suffix.lower()
    path = source if is_remote(source) else os.path.abspath(os.path.expanduser(source))
    if suffix in (".json", ".geojson") and (is_remote(source) or _is_document(path)):
        items = (i if isinstance(i, Entry) else _scene_of(i, asset, guides) for i in _items(path))
        return _require_some(source, items)
    if is_remote(source):
        return [named(source)]
    if suffix == ".txt" and _is_document(path):
        return [_kept(e, line) for line in _lines(path) for e in _of(line, asset, guides, avoid)]
    if os.path.isdir(path) and not _is_scene_folder(path):
        return _require_some(source, _below(path, path, avoid, set()))
    if glob.has_magic(source) and not os.path.lexists(path):
        return _require_some(source, _matching(path, avoid))
    return [named(path)]


def named(path: str) -> Entry:
    """Return the entry of a scene that was named."""
    bare = path.partition("?")[0].rstrip("/") if is_remote(path) else path
    name = bare.rpartition("/")[2]
    return Entry(path, _stem(name), wrong="" if is_remote(path) else _refusal(path))


def _stem(name: str) -> str:
    return name.removesuffix(".SAFE") if name.endswith(".SAFE") else Path(name).stem


def _refusal(path: str) -> str:
    """Say why a path is never opened: a pipe would wait for its other end for ever."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else f"{path} is no file but a pipe, a socket or a device."


def _require_some(source: str, found: Iterable[Entry]) -> list[Entry]:
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


def _kept(entry: Entry, line: str) -> Entry:
    """Keep the folders of a relative path in a list: lists name scenes by the thousand, many of them alike."""
    folder = os.path.dirname(os.path.normpath(line))
    bare = entry.found or entry.assets or is_remote(line) or os.path.isabs(line) or folder.startswith("..")
    return entry if bare else replace(entry, folder=folder)


# ---- folders and globs -------------------------------------------------------------------


def _is_scene_folder(path: str) -> bool:
    """Say whether a folder is a scene itself: Zarr, or a product as delivered."""
    if not os.path.isdir(path):
        return False
    try:
        return any(os.path.exists(os.path.join(path, name)) for name in ZARR_DOCUMENTS) or is_delivery(path)
    except OSError:
        # A folder that may not be read: listing it says so.
        return False


def _is_raster(path: str) -> bool:
    suffix = Path(path).suffix.lower()
    headed = suffix in HEADED and any(os.path.exists(h) for h in (path + ".hdr", os.path.splitext(path)[0] + ".hdr"))
    return suffix in RASTERS or headed


def _below(root: str, folder: str, avoid: str, seen: set[str]) -> Iterator[Entry]:
    """Yield the scenes of a folder and its subfolders; a folder that links lead to again is read once."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    if avoid and real == os.path.realpath(avoid):
        if folder != root:
            return
        raise OptionError(
            f"--output {avoid} is the archive itself, where products would be read as scenes. Give another."
        )
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        yield replace(_found(root, folder), wrong=f"The folder {folder} cannot be read: {error.strerror}.")
        return
    for name in names:
        path = os.path.join(folder, name)
        if name.startswith(".") or name.endswith(WORK):
            continue
        # A folder called x.tif is listed, so that its status says what is wrong with it.
        if _is_raster(path) or _is_scene_folder(path):
            yield _found(root, path)
        elif os.path.isdir(path):
            yield from _below(root, path, avoid, seen)


def _found(root: str, path: str) -> Entry:
    folder = os.path.relpath(os.path.dirname(path), root)
    kept = "" if folder == "." or folder.startswith("..") else folder
    return replace(named(path), folder=kept, found=True)


def _matching(pattern: str, avoid: str) -> Iterator[Entry]:
    """Yield the scenes that a glob names, and those in the folders that it names."""
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root, seen = os.path.join(*parts[:fixed]), set[str]()
    for path in sorted(glob.glob(pattern, recursive=True)):
        if path.endswith(WORK) or os.path.realpath(path) == os.path.realpath(avoid):
            continue
        literal = os.path.splitext(pattern)[1]
        if _is_raster(path) or (literal and path.endswith(literal)) or _is_scene_folder(path):
            yield _found(root, path)
        elif os.path.isdir(path):
            yield from _below(root, path, avoid, seen)


# ---- STAC --------------------------------------------------------------------------------


def _items(where: str) -> Iterator[pystac.Item | Entry]:
    """Yield the items of a STAC document; what cannot be read in a catalog as an entry that says so."""
    import pystac  # noqa: PLC0415  # a tenth of a second that only STAC needs

    try:
        text: Any = json.loads(pystac.StacIO.default().read_text(where))
        if text["type"] == "FeatureCollection":
            yield from _of_collection(where, text)
            return
        document = pystac.read_file(where)
    except _unreadable() as error:
        said = f"{type(error).__name__}: {error}"
        raise InputError(f"{where} is no STAC item, item collection or catalog: {said}") from error
    if isinstance(document, pystac.Catalog):
        yield from _of_catalog(document)
    elif isinstance(document, pystac.Item):
        yield document


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


def _of_catalog(catalog: pystac.Catalog) -> Iterator[pystac.Item | Entry]:
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


def _scene_of(item: pystac.Item, asset: str | None, guides: Sequence[str]) -> Entry:
    """Return the entry of a STAC item: the asset asked for, else the only one that can be the scene."""
    hrefs = {key: a.get_absolute_href() or a.href for key, a in item.assets.items()}
    taken = item.datetime.isoformat().replace("+00:00", "Z") if item.datetime else ""
    entry = Entry("", _safe(item.id), assets=hrefs, taken=taken)
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
