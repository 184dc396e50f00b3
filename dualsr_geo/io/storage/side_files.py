"""Files that are to be written: whether a path can be the name of one, and whether it destroys nothing."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.names import MAX_NAME_BYTES, require_name
from dualsr_geo.io.storage.urls import is_url

# Endings of products and of their work directories, which no other file may have that a command writes.
PRODUCT_SUFFIXES = (".tif", ".tiff", ".nc", ".zarr", ".part")
# The kind of an existing file is recognised by so many bytes.
HEAD_BYTES = 4096
# Prefixes of files in archives, and the quoted file of a subdataset: `/vsizip/a.zip/b.tif`, `NETCDF:"a.nc":data`.
_VIRTUAL = re.compile(r"^(/vsi(?:zip|tar|gzip|7z|rar)/|/vsisubfile/[^,]*,|(?:zip|tar|gzip)(?:\+\w+)?://)+")
_QUOTED = re.compile(r'"([^"]+)"')
# Documents of a Zarr group or array of version 3 and 2; without one of them a folder is no Zarr.
ZARR_DOCUMENTS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")

_KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "folder"),
    (stat.S_ISLNK, "symbolic link"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
)


def kind_of(path: Path, *, follow: bool = False) -> str | None:
    """Return ``"file"``, ``"folder"``, ``"symbolic link"``, ``"device"``, ``"pipe"`` or ``"socket"``; None for nothing.

    Parameters
    ----------
    path : Path
    follow : bool
        Follow symbolic links; one that leads nowhere is then nothing.

    Raises
    ------
    OutputError
        If the folder may not be read.
    """
    try:
        mode = (path.stat() if follow else path.lstat()).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}. Give another path.") from error
    return next((name for test, name in _KINDS if test(mode)), "special file")


def require_output_name(path: str | os.PathLike[str], way_out: str, suffix: str = "") -> None:
    """Check that a path can be the name of an output; `way_out` is what to give instead.

    Parameters
    ----------
    path : path
    way_out : str
        E.g. ``"another --output"``.
    suffix : str
        What is added to the name for the work directory.

    Raises
    ------
    OutputError
        If no file can have the name, or the work directory cannot.
    """
    name = Path(require_name(path, "output", OutputError)).name + suffix
    if len(name.encode()) > MAX_NAME_BYTES:
        raise OutputError(
            f"The name {name[:40]}... has {len(name.encode())} bytes with the ending {suffix} of the work directory, and "
            f"file systems take {MAX_NAME_BYTES}. Give {way_out}."
        )


def path_on_disk(name: str) -> Path:
    """Return the file or folder of an input as GDAL names it: itself, or the archive or container that it is in."""
    text = _VIRTUAL.sub("", name).partition("!")[0]
    for candidate in (text, *_QUOTED.findall(text)[:1], *text.split(":")[1:]):
        path = Path(candidate)
        if candidate and path.exists():
            return path
        archive = next((p for p in path.parents if p.is_file()), None)
        if archive is not None:
            return archive
    return Path(name)


def is_same_file(one: Path, other: Path) -> bool:
    """Return whether two paths are one file, by whatever links; also of files that do not exist yet."""
    try:
        if one.samefile(other):
            return True
    except OSError:
        pass
    return os.path.realpath(one) == os.path.realpath(other)


# ---- side files --------------------------------------------------------------------------


def require_side_file(
    path: str | os.PathLike[str],
    option: str,
    *,
    inputs: Iterable[str | os.PathLike[str]] = (),
    outputs: Iterable[str | os.PathLike[str]] = (),
    overwrite: bool = False,
    is_ours: Callable[[bytes], bool] | None = None,
) -> Path:
    """Check, before the work, that a file next to a product can be written, and destroys nothing; return its path.

    A page, a plot, a log or an item is such a file. It replaces a regular file of its own kind, or with ``--overwrite``
    any regular file that is no input.

    Parameters
    ----------
    path : path
    option : str
        That names it, e.g. ``"--report"``.
    inputs, outputs : iterable of path
        What the command reads, folders of products included, and what else it writes. URLs are left out of account.
    overwrite : bool
        Whether an existing file may be replaced.
    is_ours : callable, optional
        Whether the first bytes of an existing file are those of a file of this kind, which may be replaced always.

    Raises
    ------
    OutputError
        If the name is none for a file, or that of a product; if the path is an input, inside an input that is a Zarr
        group or exists inside another folder that is an input, or is another output, by whatever link; if it is a
        folder, device, pipe or socket; or if its folder is missing or not writable, or the file exists and may not be
        replaced.
    """
    file, way_out = Path(require_name(path, f"file of {option}", OutputError)), f"another {option}"
    if file.suffix.lower() in PRODUCT_SUFFIXES:
        raise OutputError(f"{option} {file} has the name of a product, which it is not. Give {way_out}.")
    if not file.parent.is_dir():
        raise OutputError(f"The directory {file.parent} of {file} does not exist. Create it, or give {way_out}.")
    kind = kind_of(file, follow=True)
    if kind == "folder":
        raise OutputError(f"{file} is a directory, but {option} is a file. Give {way_out}.")
    if kind not in (None, "file"):
        raise OutputError(f"{option} {file} is a {kind}, not a file. Give {way_out}.")
    require_no_input(file, option, inputs)
    for other in outputs:
        _require_no_output(file, os.fspath(other), option)
    if kind == "file" and not overwrite and not (is_ours is not None and is_ours(_head(file, way_out))):
        raise OutputError(f"{file} exists. Give --overwrite to replace it, or {way_out}.")
    if not os.access(file.parent, os.W_OK | os.X_OK) or (kind == "file" and not os.access(file, os.W_OK)):
        what = f"The directory {file.parent}" if kind is None else str(file)
        raise OutputError(f"{what} is not writable. Give {way_out}.")
    return file


def require_no_input(
    file: Path, option: str, inputs: Iterable[str | os.PathLike[str]], *, folders: bool = True
) -> None:
    """Check that a file, which `option` names, is no input, and none of a folder that is one; URLs are no files.

    Parameters
    ----------
    file : Path
    option : str
    inputs : iterable of path
    folders : bool
        Whether all files in a folder are inputs.

    Raises
    ------
    OutputError
        If it is.
    """
    for name in inputs:
        _require_other_than(file, os.fspath(name), option, folders=folders)


def _require_other_than(file: Path, name: str, option: str, *, folders: bool) -> None:
    other, exists = Path(name), False
    with suppress(OSError, ValueError):
        other = path_on_disk(name)
        exists = not is_url(name) and other.exists()
    if not exists:
        return
    if is_same_file(file, other):
        raise OutputError(f"{option} {file} is the input {name} itself. Give another {option}.")
    inside = folders and other.is_dir() and Path(os.path.realpath(other)) in Path(os.path.realpath(file)).parents
    if inside and (file.exists() or any((other / document).exists() for document in ZARR_DOCUMENTS)):
        raise OutputError(f"{option} {file} is a file of the input {name}. Give another {option}.")


def _require_no_output(file: Path, name: str, option: str) -> None:
    if is_url(name):
        return
    other, parents = Path(name), Path(os.path.realpath(file)).parents
    if is_same_file(file, other):
        raise OutputError(f"{option} {file} is the output {name} itself. Give another {option}.")
    if any(Path(os.path.realpath(p)) in parents for p in (other, other.with_name(f"{other.name}.part"))):
        raise OutputError(f"{option} {file} is inside the output {name}. Give another {option}.")


def _head(file: Path, way_out: str) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(HEAD_BYTES)
    except OSError as error:
        raise OutputError(f"{file} cannot be read: {error.strerror}. Give {way_out}.") from error
