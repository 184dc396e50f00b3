"""Messages of one line."""

from __future__ import annotations

import re

# A line break of any kind, with the blanks around it.
BREAK = re.compile(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*")


def one_line(text: object, limit: int | None = None) -> str:
    """Return a text as one line.

    Line breaks become blanks, and characters that do not print, such as escape codes in file names, are escaped.

    Parameters
    ----------
    text : object
    limit : int, optional
        Number of characters after which the rest is left out.
    """
    line = BREAK.sub(" ", str(text).strip())
    if limit is not None and len(line) > limit:
        line = f"{line[:limit]}..."
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
