"""Requests to web servers and stores that end in a limited time, before GDAL sends its own.

GDAL and obstore limit each request and repeat it; a server that never answers, or byte by byte, would hold a run for
a quarter of an hour.
"""

from __future__ import annotations

import base64
import contextlib
import os
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import TypeVar
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit

import obstore
from obstore.exceptions import BaseError

from dualsr_geo.errors import InputError
from dualsr_geo.io.storage.object_store import open_store
from dualsr_geo.io.storage.store_settings import setting
from dualsr_geo.io.storage.urls import is_writable, shown, url_of

# Seconds for the first bytes of a file: more than a busy archive takes. A lost request is repeated once.
ANSWER_S, TRIES = 15.0, 2
# Seconds for a document, such as a STAC item, and the bytes that it may have.
DOCUMENT_S, MAX_DOCUMENT_BYTES = 40.0, 64 << 20
# Bytes that show that a server sends what it announces: the header of most rasters.
FIRST_BYTES = 16 << 10
# A name that no server has.
NO_SIDECAR = ".no-such-sidecar"
# Suffixes of the files that GDAL reads with a raster: masks, overviews, statistics, headers and georeference.
SIDECARS = (
    "aux.xml", "msk", "ovr", "hdr", "prj", "tfw", "tifw", "tiffw", "wld", "jgw", "j2w", "pgw", "ige", "rrd", "rde", "blw", "stx", "clr",
)  # fmt: skip
NO_SIDECARS = (("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR"),)

Result = TypeVar("Result")


class NoAnswerError(InputError):
    """A server does not answer in time."""


@dataclass(frozen=True)
class Answer:
    """The answer to a request for the first bytes of a file.

    Attributes
    ----------
    content : bytes
    headers : mapping of str to str
    """

    content: bytes
    headers: dict[str, str]


def require_answer(location: str) -> None:
    """Check that a server or a store answers in time, and sends what it announces.

    What else is wrong is left to those that open the file.

    Raises
    ------
    InputError
        If it does not.
    """
    url = url_of(location)
    if url is None or _by_gdal_only():
        return
    if is_writable(url):
        # obstore repeats requests by itself.
        within(lambda: _head(url), url, TRIES * ANSWER_S)
    else:
        within(lambda: _repeated(url), url, TRIES * _answer_seconds())


def sidecar_options(location: str) -> tuple[tuple[str, str], ...]:
    """Return the options that bound GDAL's search for files next to one on the web; none for any other location.

    A server that ignores what is added to a name has an overview of every overview, without end. A query is at the
    end of a URL, so that no name can be added.
    """
    url = url_of(location)
    if url is None or is_writable(url) or any(name in os.environ for name, _ in NO_SIDECARS):
        return NO_SIDECARS if location.startswith("/vsicurl?") else ()
    if "?" in url or _by_gdal_only():
        return NO_SIDECARS if "?" in url else ()
    answer = within(lambda: read_first(url + NO_SIDECAR, 1), url, _answer_seconds())
    if answer is not None:
        return NO_SIDECARS
    own = urlsplit(url).path.rpartition("/")[2].rpartition(".")[2] if "." in urlsplit(url).path else "{noext}"
    return (("CPL_VSIL_CURL_ALLOWED_EXTENSIONS", ",".join((own, *SIDECARS))),)


def read_document(url: str) -> bytes:
    """Return a small document of the web.

    Raises
    ------
    InputError
        If the server refuses, does not answer in time, or sends more than `MAX_DOCUMENT_BYTES`.
    """
    answer = within(lambda: read_first(url, MAX_DOCUMENT_BYTES + 1, is_part=False, explain=True), url, DOCUMENT_S)
    if answer is None:
        raise InputError(f"{shown(url)} cannot be read. Check the URL.")
    if len(answer.content) > MAX_DOCUMENT_BYTES:
        raise InputError(
            f"{shown(url)} has more than {MAX_DOCUMENT_BYTES >> 20} MiB, too much for a document. Fetch it."
        )
    return answer.content


def read_first(url: str, count: int, *, start: int = 0, is_part: bool = True, explain: bool = False) -> Answer | None:
    """Return the first bytes of a file on the web, or those from `start`; None where the server refuses.

    Parameters
    ----------
    url : str
    count, start : int
        Number of bytes, and the first.
    is_part : bool
        Whether only these are requested.
    explain : bool
        Whether a refusal is an error.

    Raises
    ------
    InputError
        If the server sends less than it announces, or refuses and this is an error.
    """
    request = _request(url)
    if is_part:
        request.add_header("Range", f"bytes={start}-{start + count - 1}")
    try:
        with urllib.request.urlopen(request, timeout=_answer_seconds()) as answer:  # noqa: S310  # http or https
            content = answer.read(count)
            headers = {k.lower(): v for k, v in answer.headers.items()}
    except (OSError, ValueError, HTTPException) as error:
        if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
            raise NoAnswerError(_no_answer(url, _answer_seconds())) from None
        if explain:
            reason = f"HTTP {error.code}" if isinstance(error, HTTPError) else getattr(error, "reason", error)
            raise InputError(f"{shown(url)} cannot be read: {reason}. Check the URL.") from None
        return None
    announced = headers.get("content-length", "")
    if announced.isdecimal() and len(content) < min(count, int(announced)):
        raise InputError(
            f"{shown(url)}: the server announces {announced} bytes and sends {len(content)}. Fetch the file, or try later."
        )
    return Answer(content, headers)


def read_part(url: str, start: int, count: int) -> bytes:
    """Return a part of a file on the web; less at its end.

    Raises
    ------
    InputError
        If the server refuses, does not answer in time, or sends another part.
    """
    answer = read_first(url, count, start=start, explain=True)
    content = b"" if answer is None else answer.content
    if answer is None or "content-range" in answer.headers or not start:
        return content[:count]
    raise InputError(f"{shown(url)}: the server sends no parts of files. Fetch the file.")


def _repeated(url: str) -> Answer | None:
    for _ in range(TRIES - 1):
        with contextlib.suppress(NoAnswerError):
            return read_first(url, FIRST_BYTES)
    return read_first(url, FIRST_BYTES)


def _request(url: str) -> urllib.request.Request:
    """Return a request; user and password of the URL, which Python sends nowhere, are in a header."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host, fragment="")))  # noqa: S310  # http or https
    if at:
        request.add_header("Authorization", f"Basic {base64.b64encode(unquote(user).encode()).decode()}")
    return request


def _head(url: str) -> None:
    root, _, name = url.rpartition("/")
    try:
        obstore.head(open_store(root), name)
    except (BaseError, FileNotFoundError, PermissionError, InputError):
        # What is wrong is reported by those that open it, which have more ways to log in.
        return


def within(function: Callable[[], Result], url: str, seconds: float) -> Result:
    """Return what a function returns; it is left running if it takes too long.

    Raises
    ------
    NoAnswerError
        If it takes more than `seconds`; the message names the URL.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001  # raised below
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True, name="dualsr-request")
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise NoAnswerError(_no_answer(url, seconds))
    return results[0]


def _no_answer(url: str, seconds: float) -> str:
    return f"{shown(url)}: the server does not answer in {seconds:g} s. Check the network, and try later."


def _answer_seconds() -> float:
    return min(ANSWER_S, float(setting("GDAL_HTTP_TIMEOUT")))


def _by_gdal_only() -> bool:
    """Return whether GDAL has a way to servers that Python has not."""
    return any(name in os.environ for name in ("GDAL_HTTP_PROXY", "GDAL_HTTPS_PROXY"))
