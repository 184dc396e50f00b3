"""Names of files that are to be written: what a path is, and whether a file system and GDAL take it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from dualsr_geo.errors import OutputError

# Bytes of a name; the limit of ext4, XFS, APFS, NTFS (characters) and of network file systems.
MAX_NAME_BYTES = 255

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


def require_name(path: str | os.PathLike[str], way_out: str, suffix: str = "") -> None:
    """Check that a path can be the name of a file; `way_out` is what to give instead.

    Parameters
    ----------
    path : path
    way_out : str
        E.g. ``"another --output"``.
    suffix : str
        What is added to the name for temporary files.

    Raises
    ------
    OutputError
        If the path is empty, has a NUL or bytes that are not UTF-8, or if a name in it is too long.
    """
    text = os.fspath(path)
    shown = text.encode("utf-8", "backslashreplace").decode()
    if not text.strip():
        raise OutputError(f"The path `{text}` is empty. Give {way_out}.")
    if "\0" in text:
        raise OutputError(f"The path {shown.replace(chr(0), chr(92) + '0')} has a NUL character. Give {way_out}.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise OutputError(f"The path {shown} is not UTF-8, which GDAL and JSON need. Give {way_out}.") from None
    name = max((*Path(text).parts[:-1], Path(text).name + suffix), key=lambda part: len(part.encode()))
    if len(name.encode()) > MAX_NAME_BYTES:
        added = f", with the ending {suffix} of the work directory" if suffix and name.endswith(suffix) else ""
        raise OutputError(
            f"The name {name[:40]}... has {len(name.encode())} bytes{added}; file systems take {MAX_NAME_BYTES}. "
            f"Give {way_out}."
        )


def is_same_file(one: Path, other: Path) -> bool:
    """Return whether two paths are one file, by whatever links; also of files that do not exist yet."""
    try:
        if one.samefile(other):
            return True
    except OSError:
        pass
    return os.path.realpath(one) == os.path.realpath(other)
