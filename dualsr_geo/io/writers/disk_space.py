"""Errors of a full disk."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from dualsr_geo.errors import OutputError
from dualsr_geo.io.writers.output_spec import OutputSpec

# The disk may not be written, or fails.
_REFUSALS = (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)


def disk_full_error(spec: OutputSpec, reason: object) -> OutputError:
    """Return the error of a full disk, which names what is kept and how to continue."""
    folder = spec.destination.folder
    return OutputError(
        f"The disk is full at {folder.parent.resolve()} ({' '.join(str(reason).split())}). {way_on(spec)}"
    )


def way_on(spec: OutputSpec) -> str:
    """Return what to do after an error of the disk."""
    if not spec.resumable:
        return "Make room, then run again."
    return f"The finished tiles are kept in {spec.destination.folder.name}: make room, then run again with --resume."


@contextmanager
def disk_errors(spec: OutputSpec) -> Iterator[None]:
    """Raise the system's errors of a full, failing or read-only disk as ours."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full_error(spec, error.strerror) from error
        if error.errno in _REFUSALS:
            place = error.filename or spec.destination.work
            raise OutputError(
                f"{place} cannot be written: {error.strerror}. Make it writable, or give another --output."
            ) from error
        if error.errno == errno.EFBIG:
            raise OutputError(
                f"The file system of {spec.destination.work} takes no files of this size. Give another --output."
            ) from error
        raise
