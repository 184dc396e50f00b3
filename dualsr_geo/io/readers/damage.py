"""Errors of damaged files: whatever a library raises when it reads one, as one `InputError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dualsr_geo.errors import DualSRError, InputError, excerpt
from dualsr_geo.redaction import redact


@contextmanager
def damage_as_input_error(where: str, advice: str = "Fetch it again, or write it again.") -> Iterator[None]:
    """Turn the error of a library into one `InputError`.

    Libraries raise almost any exception on damaged bytes or on metadata of another type, so all are caught; the
    original one is the cause.

    Parameters
    ----------
    where : str
        The file, the store or the array, as messages name it.
    advice : str
        What the user can do, a sentence.

    Raises
    ------
    InputError
        Instead of any error that is no `DualSRError`.
    """
    try:
        yield
    except (DualSRError, Warning):
        raise
    except MemoryError as error:
        raise InputError(
            f"{where} declares more values than this machine has memory for. The file is damaged, or too large to be "
            f"read at once. {advice}"
        ) from error
    except Exception as error:
        kind, text = type(error).__name__, excerpt(redact(str(error)))
        raise InputError(
            f"{where} is damaged, or its metadata are not those of its format ({kind}: {text}). {advice}"
        ) from error
