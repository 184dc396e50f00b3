"""Messages of one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# A name that is longer than most paths is shortened: enough of both ends to recognise it.
LONG_NAME = re.compile(r"(\S{200})\S{200,}(\S{40})")
# A line break of any kind, with the blanks around it.
BREAK = re.compile(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*")


def one_line(text: object, limit: int | None = None) -> str:
    """Return a text as one line.

    Line breaks become blanks, names of more than 440 characters are shortened, and characters that do not print, such as escape codes in file names, are escaped.

    Parameters
    ----------
    text : object
    limit : int, optional
        Number of characters after which the rest is left out.
    """
    line = LONG_NAME.sub(r"\1...\2", BREAK.sub(" ", str(text).strip()))
    if limit is not None and len(line) > limit:
        line = f"{line[:limit]}..."
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def unknown_name(names: Iterable[str], name: str, kind: str) -> str:
    """Return that there is no such name, with the nearest one, or with all of them."""
    existing = sorted(names)
    nearest = difflib.get_close_matches(name, existing, 1)
    return f"There is no {kind} `{name}`. " + (
        f"Did you mean `{nearest[0]}`?" if nearest else f"Give one of {', '.join(existing)}."
    )
