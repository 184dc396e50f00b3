"""URLs of object stores and of the web: one form of each, what GDAL calls them, and how messages show them."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from dualsr_geo.errors import InputError
from dualsr_geo.redaction import public_part, redact

# Schemes of the stores that an output can be written to, and the prefix of each in GDAL.
WRITABLE = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}
READABLE = (*WRITABLE, "http", "https")

# GDAL reads a stream from its begin to its end only, a file in any order.
_STREAMING = re.compile(r"^/vsi(curl|s3|gs|az)_streaming(?=[/?])")
# An item of a STAC collection, and its assets, are named behind the document: items.json#id#nir.
_ITEM = re.compile(r"(?i)(?:\.(?:geo)?json|/items/[^/?#]+)(?:\?[^#]*)?#")


def canonical(location: str | os.PathLike[str]) -> str:
    """Return a path or URL in the form that is opened.

    The scheme is in lower case, ``file://`` is a path, GDAL's streams and ``/vsicurl?url=`` are URLs, and an address
    on the web has no fragment, which never reaches the server.

    Raises
    ------
    InputError
        If it is a URL that cannot be parsed, or a file of another host.
    """
    text = _STREAMING.sub(r"/vsi\1", os.fspath(location))
    text = _of_vsicurl(text)
    scheme, mark, rest = text.partition("://")
    if not mark or scheme.lower() not in (*READABLE, "file"):
        return text
    text = f"{scheme.lower()}://{rest}"
    parts = _parse(text)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise InputError(f"{shown(text)} is a file of the host {parts.netloc}. Give a path, or https://.")
        return unquote(parts.path)
    if parts.scheme not in ("http", "https") or _ITEM.search(text):
        return text
    return text.partition("#")[0]


def _of_vsicurl(text: str) -> str:
    """Return the URL of ``/vsicurl/URL``, and of ``/vsicurl?url=URL`` without other settings; else the text."""
    if text.startswith("/vsicurl/"):
        url = text.removeprefix("/vsicurl/")
        return url if is_url(url) else text
    settings = parse_qs(text.partition("?")[2]) if text.startswith("/vsicurl?") else {}
    return settings["url"][0] if set(settings) == {"url"} else text


def _parse(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises an error for a port that is no number
    except ValueError as error:
        raise InputError(f"{shown(url)} is no URL: {error}. Correct it.") from None
    return parts


def is_url(location: str) -> bool:
    """Return whether a location is in an object store or on the web, rather than a path."""
    return "://" in location and location.partition("://")[0].lower() in READABLE


def is_writable(location: str) -> bool:
    """Return whether a location is in an object store that outputs can be written to."""
    return is_url(location) and location.partition("://")[0].lower() in WRITABLE


def is_web(location: str) -> bool:
    """Return whether a location, or its name in GDAL, is on the web rather than in an object store."""
    url = url_of(location)
    return url is not None and not is_writable(url)


def gdal_path(location: str) -> str:
    """Return what GDAL opens: ``/vsis3/bucket/key``, ``/vsicurl/https://...``, or a path as it is."""
    scheme, _, rest = location.partition("://")
    if is_writable(location):
        return WRITABLE[scheme.lower()] + rest
    return f"/vsicurl/{location}" if is_url(location) else location


def url_of(location: str) -> str | None:
    """Return the URL of a URL or of GDAL's name for one (``/vsis3/...``); None for any other path."""
    location = location.removeprefix("/vsicurl/")
    for scheme, prefix in WRITABLE.items():
        if location.startswith(prefix):
            return f"{scheme}://{location.removeprefix(prefix)}"
    return location if is_url(location) else None


def normalized(location: str | os.PathLike[str]) -> str:
    """Return a path or URL in one form: no slash at the end, a path as `pathlib` writes it."""
    text = os.fspath(location)
    return text.rstrip("/") if is_url(text) else str(Path(text))


def absolute(location: str) -> str:
    """Return a path from the root of the file system; a URL as it is."""
    return location if is_url(location) else os.path.abspath(location)


def relative_to(location: str | os.PathLike[str], folder: str | os.PathLike[str]) -> str:
    """Return a path as it is reached from a folder; a URL as it is."""
    text = os.fspath(location)
    return text if is_url(text) else os.path.relpath(text, folder)


def shown(location: str | os.PathLike[str]) -> str:
    """Return a path or URL as messages and records show it: a URL as users write it, without what may be secret.

    Unlike `for_display` it knows where the URL ends, so that no character can end the query early.
    """
    text = _gdal_names_as_urls(os.fspath(location))
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        scheme, mark, rest = text.partition("://")
        return scheme + mark + public_part(rest)
    return redact(text)


def for_display(text: str) -> str:
    """Return a text with paths and URLs, with URLs as users write them and without what may be secret."""
    return redact(_gdal_names_as_urls(text))


def _gdal_names_as_urls(text: str) -> str:
    for scheme, prefix in WRITABLE.items():
        text = text.replace(prefix, f"{scheme}://")
    return re.sub(r"(?i)/vsicurl/(?=https?://)", "", text)


def split(url: str) -> tuple[str, str, str]:
    """Return the scheme, the bucket (host, container), and the key without slashes at its ends."""
    parts = _parse(url)
    return parts.scheme.lower(), parts.netloc, parts.path.strip("/")


def resolve_dots(url: str) -> str:
    """Return a URL without ``..`` and ``.`` in its path."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host}{posixpath.normpath(f'/{path}')}"
