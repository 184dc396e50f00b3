"""URLs of object stores and of the web: what GDAL calls them, and how messages show them."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from urllib.parse import urlsplit

# Schemes of the stores that an output can be written to, and the prefix of each in GDAL.
WRITABLE = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}
READABLE = (*WRITABLE, "http", "https")


def is_url(location: str) -> bool:
    """Return whether a location is in an object store or on the web, rather than a path."""
    return "://" in location and location.partition("://")[0].lower() in READABLE


def is_writable(location: str) -> bool:
    """Return whether a location is in an object store that outputs can be written to."""
    return is_url(location) and location.partition("://")[0].lower() in WRITABLE


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


def for_display(text: str) -> str:
    """Return a path or URL, or a text with them, with URLs as users write them and without secrets."""
    for scheme, prefix in WRITABLE.items():
        text = text.replace(prefix, f"{scheme}://")
    return redact(re.sub(r"/vsicurl/(?=https?://)", "", text))


def redact(text: str) -> str:
    """Return a path or URL, or a text with them, without what may be secret: user, password, query."""
    text = re.sub(r"(/vsicurl)\?\S*", r"\1?...", text)
    text = re.sub(r"(?<=://)[^/\s@]*@", "", text)
    return re.sub(r"(://[^\s?'\"<>]*)\?[^\s'\"<>)]*", r"\1", text)


def split(url: str) -> tuple[str, str, str]:
    """Return the scheme, the bucket (host, container), and the key without slashes at its ends."""
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc, parts.path.strip("/")


def resolve_dots(url: str) -> str:
    """Return a URL without ``..`` and ``.`` in its path."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host}{posixpath.normpath(f'/{path}')}"
