"""Errors of a full disk."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from dualsr_geo.errors import OutputError
from dualsr_geo.io.writers.destination import Destination


def disk_full_error(destination: Destination, reason: object) -> OutputError:
    """Return the error of a full disk, which names what is kept and how to continue."""
    folder = destination.folder
    return OutputError(
        f"The disk is full at {folder.parent.resolve()} ({' '.join(str(reason).split())}). "
        f"The finished tiles are kept in {folder.name}: make room, then run again with --resume."
    )


@contextmanager
def disk_full_errors(destination: Destination) -> Iterator[None]:
    """Raise the system's error of a full disk as ours."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full_error(destination, error.strerror) from error
        raise
