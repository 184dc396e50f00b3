"""Special files: pipes, sockets and devices, which have no end or never answer, and so are no input."""

from __future__ import annotations

import os
import stat

from dualsr_geo.errors import InputError


def special_file_error(path: str | os.PathLike[str]) -> str:
    """Return why a path is no input; empty for a file, a folder, and a path that does not exist."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return ""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    return f"{os.fspath(path)} is a pipe, a socket or a device. Give a file or a folder."


def require_no_special_file(path: str | os.PathLike[str], option: str = "") -> None:
    """Check that a path can be read to its end; `option` begins the message.

    Raises
    ------
    InputError
        If it is a pipe, a socket or a device.
    """
    if error := special_file_error(path):
        raise InputError(f"{option} {error}".lstrip())
