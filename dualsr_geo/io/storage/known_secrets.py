"""Secrets of the locations that this process has been given, so that no output shows them.

The errors of other libraries quote a URL whole, cut, quoted or encoded, and a URL in a sentence has no certain end.
So the secrets of every location are kept, in memory only, and replaced wherever they occur.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "..."
# Shorter secrets are cut out of URLs, but not replaced in text, where they also occur as parts of words.
MIN_CHARACTERS = 4
# The value of a query whose name does not say that it is secret.
MIN_VALUE_CHARACTERS = 8
_SECRET_NAME = re.compile(r"(?i)sig|token|key|cred|pass|pwd|secret|auth|code|session")
_CONNECTION = re.compile(r"(?i)\b(?:password|passwd|pwd|api_?key|token|secret)\s*=\s*('[^']*'|\"[^\"]*\"|[^\s&,;]+)")

# What follows the colon of a port: http://host:8080/a@b.tif has no password.
PORT = r"\d{1,5}(?=[/?#\s]|$)"

_known: set[str] = set()


def remember(*locations: str) -> None:
    """Keep the secrets of paths, URLs and connection strings; those without any are ignored."""
    for location in locations:
        if "://" in location or "=" in location:
            for secret in _secrets_of(location):
                _known.update(v for v in _variants(secret) if len(v) >= MIN_CHARACTERS)


def masked(text: str) -> str:
    """Return a text in which every secret that is known is replaced by `MASK`."""
    if not _known:
        return text
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def split_user(rest: str) -> tuple[str, str]:
    """Return user and password of a URL, and what follows them, from what follows its scheme.

    A password may hold ``/``, ``?`` and ``@``, which should be encoded and are not: it ends at the last ``@``.
    """
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    name, colon, password = rest.partition(":")
    is_user = re.fullmatch(r"[^/?#\[]*", name) is not None
    if colon and is_user and "@" in rest and not re.match(PORT, password):
        user, _, after = rest.rpartition("@")
        return user, after
    user, _, after = authority.rpartition("@")
    return user, after + rest[len(authority) :]


def _secrets_of(location: str) -> Iterator[str]:
    yield from (m.strip("'\"") for m in _CONNECTION.findall(location))
    _, mark, rest = location.partition("://")
    if not mark:
        return
    user, rest = split_user(rest)
    yield user.partition(":")[2]
    if match := re.search(r"[?#]", rest):
        before, _, fragment = rest[match.end() :].partition("#") if match[0] == "?" else ("", "", rest[match.end() :])
        yield fragment
        yield from _secrets_of_query(before)


def _secrets_of_query(query: str) -> Iterator[str]:
    """Yield the query as a whole, and its values that are, or may be, secret."""
    if "=" not in query or len(query) >= MIN_VALUE_CHARACTERS:
        yield query
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if _SECRET_NAME.search(name) or len(value) >= MIN_VALUE_CHARACTERS:
            yield value


def _variants(secret: str) -> set[str]:
    """Return a secret in the forms in which libraries quote it."""
    plain = {secret, unquote(secret), unquote_plus(secret)}
    encoded = {f(v) for v in plain for f in (quote, quote_plus, html.escape, lambda v: quote(v, safe=""))}
    escaped = {json.dumps(v)[1:-1] for v in plain} | {repr(v)[1:-1] for v in plain}
    words = {w for v in plain for w in v.split() if len(w) >= MIN_CHARACTERS} if " " in secret else set()
    return plain | encoded | escaped | words
