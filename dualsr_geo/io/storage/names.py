"""Names of files: what neither a file system nor GDAL takes is refused before either is called."""

from __future__ import annotations

import os
from pathlib import Path

from dualsr_geo.errors import DualSRError, InputError, OutputError
from dualsr_geo.io.storage.urls import is_url

# Bytes of one name, and of a whole path, that Linux, macOS and Windows (with long paths) take.
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 4095
# A connection string or a document rather than a path: `NETCDF:"scene.nc":data`, `<VRTDataset>...`.
NO_PATH = (":", "<")


def require_name(
    location: str | os.PathLike[str], what: str = "file", error_type: type[DualSRError] = InputError
) -> str:
    """Return a path or URL as text, and raise `error_type` if no file can have the name.

    Parameters
    ----------
    location : path
    what : str
        What the name is for, e.g. ``"scene"``.
    error_type : type of DualSRError
    """
    text = os.fspath(location)
    if isinstance(text, bytes):
        raise error_type(f"The name of the {what} is bytes, {text!r}. Give text, e.g. by os.fsdecode.")
    if not text.strip():
        raise error_type(f"The name of the {what} is empty. Give a path or leave it out.")
    if "\0" in text:
        raise error_type(f"The name of the {what}, {text!r}, has a zero byte, which no file name has. Correct it.")
    if not _is_utf8(text):
        raise error_type(
            f"The name of the {what}, {text!r}, is not UTF-8, which GDAL needs. Rename the file or its folder."
        )
    if is_url(text) or fits_file_system(text) or any(sign in text for sign in NO_PATH):
        return text
    raise error_type(
        f"The name of the {what}, {text}, is too long: it has {_longest_name(text)} bytes, and file systems take "
        f"{MAX_NAME_BYTES} for a name and {MAX_PATH_BYTES} for a path. Give a shorter one."
    )


def fits_file_system(location: str) -> bool:
    """Return whether a path is short enough for a file system; GDAL's connection strings and documents may not be."""
    return _longest_name(location) <= MAX_NAME_BYTES and len(os.fsencode(location)) <= MAX_PATH_BYTES


def _longest_name(location: str) -> int:
    """Return the bytes of the longest name of a path."""
    return max((len(os.fsencode(part)) for part in Path(location).parts), default=0)


def require_place(path: str | os.PathLike[str], option: str) -> Path:
    """Return the path of a file that is to be written, and check its name and its folder.

    Parameters
    ----------
    path : path
    option : str
        The option that names it, e.g. ``"--plot"``.

    Raises
    ------
    OutputError
        If the path names no file, or its folder is missing or not writable.
    """
    file = Path(require_name(path, f"file of {option}", OutputError))
    if not file.name or file.name == ".." or file.is_dir():
        raise OutputError(f"{file} is a folder, not a file. Give another {option}.")
    if not file.parent.is_dir():
        raise OutputError(f"The folder {file.parent} of {file} does not exist. Create it, or give another {option}.")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise OutputError(f"The folder {file.parent} is not writable. Give another {option}.")
    return file


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def expanded(location: str | os.PathLike[str]) -> Path:
    """Return a path with ``~`` replaced by the home directory; as it is where there is no such user."""
    return Path(os.path.expanduser(os.fspath(location)))  # noqa: PTH111  # Path.expanduser raises for an unknown user
