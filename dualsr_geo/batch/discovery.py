"""What in a folder or under a glob is a scene, on disk and in an object store."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from fsspec.utils import glob_translate

from dualsr_geo.batch.scene_entry import SceneEntry, named
from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.products.registry import is_delivery
from dualsr_geo.io.storage.object_store import names_below
from dualsr_geo.io.storage.urls import is_writable
from dualsr_geo.io.storage.zarr_groups import ZARR_DOCUMENTS

# In a folder what has one of these is a scene; the second ones only with an ENVI header beside them.
RASTERS = (
    ".tif", ".tiff", ".img", ".bsq", ".bil", ".bip", ".jp2", ".j2k", ".vrt", ".nc", ".h5", ".hdf5", ".he5", ".hdf",
    ".mat", ".ntf", ".nitf", ".pix", ".zarr",
)  # fmt: skip
HEADED = ("", ".dat", ".raw", ".bin", ".cub")
WORK = ".part"
# Folders that are a scene each; the second is one that only lies on disk, which opening it says.
GROUPS = (".zarr", ".SAFE")


def is_scene_folder(path: str) -> bool:
    """Say whether a folder is a scene itself: Zarr, or a product as delivered."""
    if not os.path.isdir(path):
        return False
    try:
        return any(os.path.exists(os.path.join(path, name)) for name in ZARR_DOCUMENTS) or is_delivery(path)
    except OSError:
        # A folder that may not be read: listing it says so.
        return False


def _is_raster(path: str, exists: Callable[[str], bool] = os.path.exists) -> bool:
    suffix = Path(path).suffix.lower()
    headed = suffix in HEADED and any(exists(h) for h in (path + ".hdr", os.path.splitext(path)[0] + ".hdr"))
    return suffix in RASTERS or headed


def below(folder: str, avoid: str) -> Iterator[SceneEntry]:
    """Yield the scenes of a folder and its subfolders, but of `avoid`, in a fixed order."""
    return _below(folder, folder, avoid, set())


def _below(root: str, folder: str, avoid: str, seen: set[str]) -> Iterator[SceneEntry]:
    """Yield the scenes of a folder and its subfolders; a folder that links lead to again is read once."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    if avoid and real == os.path.realpath(avoid):
        if folder != root:
            return
        raise _itself(avoid)
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
        if _is_raster(path) or is_scene_folder(path):
            yield _found(root, path)
        elif os.path.isdir(path):
            yield from _below(root, path, avoid, seen)


def _found(root: str, path: str) -> SceneEntry:
    folder = os.path.relpath(os.path.dirname(path), root)
    kept = "" if folder == "." or folder.startswith("..") else folder
    return replace(named(path), folder=kept, found=True)


def matching(pattern: str, avoid: str) -> Iterator[SceneEntry]:
    """Yield the scenes that a glob names, and those in the folders that it names."""
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root, seen = os.path.join(*parts[:fixed]), set[str]()
    for path in sorted(glob.glob(pattern, recursive=True)):
        if path.endswith(WORK) or os.path.realpath(path) == os.path.realpath(avoid):
            continue
        literal = os.path.splitext(pattern)[1]
        if _is_raster(path) or (literal and path.endswith(literal)) or is_scene_folder(path):
            yield _found(root, path)
        elif os.path.isdir(path):
            yield from _below(root, path, avoid, seen)


def _itself(avoid: str) -> OptionError:
    return OptionError(f"--output {avoid} is the archive itself, where products would be read as scenes. Give another.")


# ---- object stores -----------------------------------------------------------------------


def in_store(url: str, avoid: str) -> list[SceneEntry] | None:
    """Return the scenes below a URL, or those that a glob of one names; None where it is to be opened itself.

    Raises
    ------
    InputError
        If the store cannot be listed.
    OptionError
        If the URL is the one to avoid.
    """
    url, output = url.rstrip("/"), avoid.rstrip("/")
    several = glob.has_magic(url)
    if not is_writable(url) or (url.endswith((*RASTERS, *GROUPS)) and not several):
        return None
    root, keys = _objects(url)
    if root == output:
        raise _itself(avoid)
    if not keys and not several:
        return None
    scenes = _named_by(url, root, keys) if several else sorted(_scenes_among(root, keys))
    return [_found(root, s) for s in scenes if not s.startswith(f"{output}/")]


def matches(pattern: str) -> list[str]:
    """Return the rasters and Zarr groups of an object store that a glob names, in a fixed order.

    Raises
    ------
    InputError
        If the store cannot be listed.
    """
    return _named_by(pattern, *_objects(pattern))


def _named_by(pattern: str, root: str, keys: Sequence[str]) -> list[str]:
    scenes = _scenes_among(root, keys, os.path.splitext(pattern)[1])
    return sorted(s for s in scenes if re.match(glob_translate(pattern), s))


def _objects(url: str) -> tuple[str, list[str]]:
    """Return what of a URL is above its wildcards, and the objects below that."""
    parts = url.split("/")
    root = "/".join(itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    return root, [f"{root}/{name}" for name in names_below(root, InputError)]


def _scenes_among(root: str, keys: Sequence[str], literal: str = "") -> set[str]:
    """Return the scenes that objects are or belong to; also what ends as a glob does is one."""
    there = set(keys)
    rasters = {k for k in keys if _is_raster(k, there.__contains__) or (literal and k.endswith(literal))}
    found = set()
    for key in keys:
        parts = key.removeprefix(f"{root}/").split("/")
        if any(p.startswith(".") or p.endswith(WORK) for p in parts):
            continue
        group = next((i for i, p in enumerate(parts, 1) if p.endswith(GROUPS)), None)
        if group is not None or key in rasters:
            found.add("/".join([root, *parts[:group]]))
    return found
