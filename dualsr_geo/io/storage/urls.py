"""URLs of object stores and the web: what GDAL calls them, and how they are shown."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import urlsplit

# What can be written, and what GDAL calls it.
WRITABLE = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}
READABLE = (*WRITABLE, "http", "https")


def is_url(where: str) -> bool:
    """Say whether something lies in an object store or on the web."""
    return "://" in where and where.partition("://")[0].lower() in READABLE


def is_writable(where: str) -> bool:
    """Say whether something lies in an object store that products can be put into."""
    return is_url(where) and where.partition("://")[0].lower() in WRITABLE


def gdal_path(url: str) -> str:
    """Return what GDAL calls a URL: ``/vsis3/bucket/key``, ``/vsicurl/https://...``."""
    scheme, _, rest = url.partition("://")
    return WRITABLE[scheme.lower()] + rest if is_writable(url) else f"/vsicurl/{url}"


def url_of(path: str) -> str | None:
    """Return the URL of what GDAL calls ``/vsis3/...``, or of a URL itself; None for any other path."""
    if path.startswith("/vsicurl/"):
        path = path.removeprefix("/vsicurl/")
    for scheme, prefix in WRITABLE.items():
        if path.startswith(prefix):
            return f"{scheme}://{path.removeprefix(prefix)}"
    return path if is_url(path) else None


def shown(where: str) -> str:
    """Return a path or URL, or a text with them, as a user would write it and without what may be secret."""
    for scheme, prefix in WRITABLE.items():
        where = where.replace(prefix, f"{scheme}://")
    return stripped(re.sub(r"/vsicurl/(?=https?://)", "", where))


def stripped(where: str) -> str:
    """Return a path or URL, or a text with them, without what may be secret: user, password, query."""
    where = re.sub(r"(/vsicurl)\?\S*", r"\1?...", where)
    where = re.sub(r"(?<=://)[^/\s@]*@", "", where)
    return re.sub(r"(://[^\s?'\"<>]*)\?[^\s'\"<>)]*", r"\1", where)


def split(url: str) -> tuple[str, str, str]:
    """Return the scheme, the bucket (host, container), and what follows without slashes at its ends."""
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc, parts.path.strip("/")


def straightened(url: str) -> str:
    """Return a URL without ``..`` and ``.`` in its path."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host}{posixpath.normpath(f'/{path}')}"
