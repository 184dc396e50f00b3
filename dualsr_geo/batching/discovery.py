"""Find scenes in folders and by globs, on disk and in object stores."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from fsspec.utils import glob_translate

from dualsr_geo.batching.scene_entry import SceneEntry, entry_of
from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.products.registry import is_delivery
from dualsr_geo.io.storage.folders.archives import is_archive
from dualsr_geo.io.storage.object_store import names_below
from dualsr_geo.io.storage.side_files import ZARR_DOCUMENTS
from dualsr_geo.io.storage.urls import is_writable

# Suffixes of rasters.
RASTER_SUFFIXES = (
    ".tif", ".tiff", ".img", ".bsq", ".bil", ".bip", ".jp2", ".j2k", ".vrt", ".nc", ".h5", ".hdf5", ".he5", ".hdf",
    ".mat", ".ntf", ".nitf", ".pix", ".zarr",
)  # fmt: skip
# Suffixes of rasters that need an ENVI header next to them.
ENVI_SUFFIXES = ("", ".dat", ".raw", ".bin", ".cub")
# The suffix of work directories.
WORK_SUFFIX = ".part"
# Suffixes of folders that are one scene. SAFE in a store is listed, and opening it reports that it must be on disk.
SCENE_FOLDER_SUFFIXES = (".zarr", ".SAFE")


def is_scene_folder(path: str) -> bool:
    """Return whether a folder is one scene: a Zarr group or a product as delivered."""
    if not os.path.isdir(path):
        return False
    try:
        return any(os.path.exists(os.path.join(path, name)) for name in ZARR_DOCUMENTS) or is_delivery(path)
    except OSError:
        # The folder cannot be read, which is reported when it is listed.
        return False


def _is_scene_archive(path: str) -> bool:
    """Return whether a file is an archive of a product; one that cannot be read is, so that it is reported as failed."""
    if not is_archive(path) or not os.path.isfile(path):
        return False
    try:
        return is_delivery(path)
    except (InputError, OSError):
        return True


def _is_raster(path: str, exists: Callable[[str], bool] = os.path.exists) -> bool:
    suffix = Path(path).suffix.lower()
    if suffix in RASTER_SUFFIXES:
        return True
    headers = (path + ".hdr", os.path.splitext(path)[0] + ".hdr")
    return suffix in ENVI_SUFFIXES and any(exists(header) for header in headers)


def entries_below(folder: str, exclude: str) -> Iterator[SceneEntry]:
    """Yield the scenes of a folder and its subfolders except `exclude`, sorted by name."""
    return _walk(folder, folder, exclude, set())


def _walk(root: str, folder: str, exclude: str, visited: set[str]) -> Iterator[SceneEntry]:
    """Yield the scenes of a folder and its subfolders; follow links, but read each folder once."""
    real = os.path.realpath(folder)
    if real in visited:
        return
    visited.add(real)
    if exclude and real == os.path.realpath(exclude):
        if folder != root:
            return
        raise _source_is_output(exclude)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        yield replace(_listed(root, folder), error=f"The folder {folder} cannot be read: {error.strerror}.")
        return
    for name in names:
        path = os.path.join(folder, name)
        if name.startswith(".") or name.endswith(WORK_SUFFIX):
            continue
        # A folder named x.tif is listed, so that its status reports the error.
        if _is_raster(path) or is_scene_folder(path) or _is_scene_archive(path):
            yield _listed(root, path)
        elif os.path.isdir(path):
            yield from _walk(root, path, exclude, visited)


def _listed(root: str, path: str) -> SceneEntry:
    folder = os.path.relpath(os.path.dirname(path), root)
    below = "" if folder == "." or folder.startswith("..") else folder
    return replace(entry_of(path), folder=below, listed=True)


def entries_matching(pattern: str, exclude: str) -> Iterator[SceneEntry]:
    """Yield the scenes that match a glob, and the scenes of the folders that match it."""
    parts = Path(pattern).parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root, visited = os.path.join(*parts[:first]), set[str]()
    suffix = os.path.splitext(pattern)[1]
    for path in sorted(glob.glob(pattern, recursive=True)):
        if path.endswith(WORK_SUFFIX) or os.path.realpath(path) == os.path.realpath(exclude):
            continue
        if _is_raster(path) or (suffix and path.endswith(suffix)) or is_scene_folder(path) or _is_scene_archive(path):
            yield _listed(root, path)
        elif os.path.isdir(path):
            yield from _walk(root, path, exclude, visited)


def _source_is_output(output: str) -> OptionError:
    return OptionError(
        f"--output {output} is also the folder of the scenes, so products would be read as scenes. "
        "Give another --output."
    )


# ---- object stores -----------------------------------------------------------------------


def entries_in_store(url: str, exclude: str) -> list[SceneEntry] | None:
    """Return the scenes below a URL, or those that match it as a glob; None if the URL is one scene.

    Raises
    ------
    InputError
        If the store cannot be listed.
    OptionError
        If the URL is `exclude`.
    """
    url, output = url.rstrip("/"), exclude.rstrip("/")
    is_glob = glob.has_magic(url)
    if not is_writable(url) or (url.endswith((*RASTER_SUFFIXES, *SCENE_FOLDER_SUFFIXES)) and not is_glob):
        return None
    root, keys = _objects(url)
    if root == output:
        raise _source_is_output(exclude)
    if not keys and not is_glob:
        return None
    scenes = _scenes_matching(url, root, keys) if is_glob else sorted(_scenes_among(root, keys))
    return [_listed(root, s) for s in scenes if not s.startswith(f"{output}/")]


def rasters_matching(pattern: str) -> list[str]:
    """Return the rasters and Zarr groups of an object store that match a glob, sorted by name.

    Raises
    ------
    InputError
        If the store cannot be listed.
    """
    return _scenes_matching(pattern, *_objects(pattern))


def _scenes_matching(pattern: str, root: str, keys: Sequence[str]) -> list[str]:
    scenes = _scenes_among(root, keys, os.path.splitext(pattern)[1])
    return sorted(s for s in scenes if re.match(glob_translate(pattern), s))


def _objects(url: str) -> tuple[str, list[str]]:
    """Return the part of a URL above its wildcards, and the objects below that part."""
    parts = url.split("/")
    root = "/".join(itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    return root, [f"{root}/{name}" for name in names_below(root, InputError)]


def _scenes_among(root: str, keys: Sequence[str], suffix: str = "") -> set[str]:
    """Return the scenes that objects are or belong to; an object that ends in `suffix` is a scene, too."""
    names = set(keys)
    rasters = {k for k in keys if _is_raster(k, names.__contains__) or (suffix and k.endswith(suffix))}
    scenes = set()
    for key in keys:
        parts = key.removeprefix(f"{root}/").split("/")
        if any(p.startswith(".") or p.endswith(WORK_SUFFIX) for p in parts):
            continue
        depth = next((i for i, p in enumerate(parts, 1) if p.endswith(SCENE_FOLDER_SUFFIXES)), None)
        if depth is not None or key in rasters:
            scenes.add("/".join([root, *parts[:depth]]))
    return scenes
