"""Removal of secrets from texts: user, password, query and fragment of URLs, and settings of connection strings.

The errors of other libraries quote a URL whole, cut, quoted or encoded, and a URL in a sentence has no certain end.
So the secrets of every location that this process is given are also kept, in memory only, and replaced wherever they
occur.
"""

from __future__ import annotations

import html
import json
import re
import threading
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

_URL = re.compile(r"://(\S+)")
_QUERY_OF_GDAL = re.compile(r"(/vsi\w+)\?(\S*)")
# Punctuation of a sentence after a URL.
_CLOSING = re.compile(r"[)}\]'\"<>:;,.]*$")
# Settings of a database or a service in its connection string.
_SETTING = re.compile(
    r"(?i)\b(user|password|passwd|pwd|api_?key|token|secret|credential|signature|sig)(\s*=\s*)"
    r"('[^']*'|\"[^\"]*\"|[^\s&,;'\"]+)"
)

# In the order of their last use. A batch may have a signature for each of many scenes, and each is sought in each text.
MAX_KNOWN = 2000
_known: dict[str, None] = {}
_lock = threading.Lock()


def remember(*locations: str) -> None:
    """Keep the secrets of paths, URLs and connection strings; those without any are ignored."""
    for location in locations:
        if "://" in location or "=" in location or "%3A" in location.upper():
            secrets = {v for s in _secrets_of(location) for v in _variants(s) if len(v) >= MIN_CHARACTERS}
            with _lock:
                for secret in secrets:
                    _known.pop(secret, None)
                    _known[secret] = None
                while len(_known) > MAX_KNOWN:
                    del _known[next(iter(_known))]


def masked(text: str) -> str:
    """Return a text in which every secret that is known is replaced by `MASK`."""
    if not _known:
        return text
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def redact(text: str) -> str:
    """Return a text without what may be secret: user, password, query and fragment of URLs, and all known secrets."""
    text = _URL.sub(lambda m: f"://{_public_part(m[1])}", masked(text))
    text = _QUERY_OF_GDAL.sub(lambda m: m[1] + _CLOSING.findall(m[2])[0], text)
    return _SETTING.sub(r"\1\2...", text)


def _public_part(word: str) -> str:
    """Return a word, which begins with the host of a URL, without its secrets, and with the punctuation after it."""
    rest = public_part(word)
    return rest if word.endswith(rest) else rest + _CLOSING.findall(word)[0]


def public_part(rest: str) -> str:
    """Return host and path of a URL from what follows its scheme; `MASK` where these cannot be recognised."""
    _, after = split_user(rest)
    return re.split(r"[?#]", after, maxsplit=1)[0]


def split_user(rest: str) -> tuple[str, str]:
    """Return user and password of a URL, and what follows them, from what follows its scheme.

    A password may hold ``/``, ``?`` and ``@``, which should be encoded and are not: it ends at the last ``@``. Where
    a query may hold that one, all is taken as secret.
    """
    name, colon, password = rest.partition(":")
    if not (colon and "@" in password and re.fullmatch(r"[^/?#@\[\s]*", name)) or re.match(PORT, password):
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        user, _, host = authority.rpartition("@")
        return user, host + rest[len(authority) :]
    if re.search(r"[?#].*@", rest):
        return rest, MASK
    user, _, after = rest.rpartition("@")
    return user, after


def _secrets_of(location: str) -> Iterator[str]:
    for inner in {*re.findall(r'"([^"]+)"', location), unquote(location)} - {location}:
        yield from _secrets_of(inner)
    yield from (m.strip("'\"") for m in _CONNECTION.findall(location))
    _, mark, rest = location.partition("://")
    if not mark:
        return
    user, after = split_user(rest)
    yield user.partition(":")[2]
    yield f"{user}@" if ":" in user else ""
    # Where the query may hold the end of the password, every part.
    yield from re.split(r"[@?#]", rest.partition(":")[2]) if after == MASK else ()
    rest = after
    if match := re.search(r"[?#]", rest):
        before, _, fragment = rest[match.end() :].partition("#") if match[0] == "?" else ("", "", rest[match.end() :])
        # Behind a STAC document are an item and its assets (items.json#id#nir).
        yield "" if rest[: match.start()].lower().endswith((".json", ".geojson")) else fragment
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
