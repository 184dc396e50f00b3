"""Object stores: what a URL means to GDAL and to obstore, and what a store says in one line.

Credentials are those that GDAL and the cloud's own tools find. They are read where a store is opened,
and neither they nor what a URL carries of them is ever kept, logged or shown.
"""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, GenericError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store
from zarr.core.buffer import Buffer
from zarr.storage import ObjectStore

from dualsr_geo.errors import DualSRError, InputError
from dualsr_geo.io.storage.urls import WRITABLE, is_writable, shown, split, url_of

# GDAL's own are no retry and no limit of time, with which a busy store ends a run and a dead one hangs it.
# Nothing is kept of a closed file: the product of a run before may have been replaced.
GDAL_DEFAULTS = {
    "GDAL_HTTP_MAX_RETRY": "6",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "CPL_VSIL_CURL_NON_CACHED": ":".join((*WRITABLE.values(), "/vsicurl/")),
}

# What a Zarr group or array has at its top, versions 3 and 2: without one of them nobody takes a folder for one.
ZARR_DOCUMENTS = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")

# What decides which store is opened and how; a changed environment opens it anew.
_SETTINGS = ("AWS_", "AZURE_", "GOOGLE_", "GDAL_HTTP_")

Problem = type[DualSRError]


def gdal_options(path: str) -> dict[str, str]:
    """Return the options that GDAL opens a path with: retries, and the endpoint that AWS's own tools know."""
    url = url_of(path)
    if url is None:
        return {}
    options = {k: v for k, v in GDAL_DEFAULTS.items() if k not in os.environ}
    if "AWS_SHARED_CREDENTIALS_FILE" in os.environ:
        options["CPL_AWS_CREDENTIALS_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"]
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL"))
    if url.startswith("s3://") and endpoint and "AWS_S3_ENDPOINT" not in os.environ:
        parts = urlsplit(endpoint)
        options["AWS_S3_ENDPOINT"] = parts.netloc + parts.path.rstrip("/")
        options["AWS_HTTPS"] = "NO" if parts.scheme == "http" else "YES"
        options["AWS_VIRTUAL_HOSTING"] = os.environ.get("AWS_VIRTUAL_HOSTING", "FALSE")
    return options


def open_store(url: str) -> Any:  # one of obstore's stores, which have no common class
    """Return obstore's store of everything below a URL; one is kept for a process and its environment.

    Raises
    ------
    InputError
        If there are no credentials for it.
    """
    settings = tuple((k, v) for k, v in sorted(os.environ.items()) if k.startswith(_SETTINGS))
    return _open_store(url.rstrip("/"), os.getpid(), settings)


class Objects(ObjectStore[Any]):
    """Zarr's store without conditional requests: obstore repeats none that was lost, and old servers refuse them."""

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write what is not there; a run is the only one that writes metadata."""
        if not await self.exists(key):
            await self.set(key, value)


def zarr_store(url: str, *, read_only: bool = True) -> Objects:
    """Return what Zarr reads and writes below a URL."""
    return Objects(open_store(url), read_only=read_only)


@lru_cache(maxsize=32)
def _open_store(url: str, process: int, settings: tuple[tuple[str, str], ...]) -> Any:  # noqa: ARG001  # the process is part of the key only
    scheme, bucket, prefix = split(url)
    said = dict(settings)
    options = _patience(said)
    if scheme == "s3":
        config: Any = _s3_config(said)
        options["client_options"]["allow_http"] = config.get("endpoint", "").startswith("http://")
        return S3Store(bucket, prefix=prefix or None, config=config, credential_provider=_profile(said, url), **options)
    if scheme == "gs":
        return GCSStore(bucket, prefix=prefix or None, **options)
    if scheme == "az":
        # GDAL's name of it, which obstore has another for.
        account: Any = {"account_name": said["AZURE_STORAGE_ACCOUNT"]} if "AZURE_STORAGE_ACCOUNT" in said else {}
        return AzureStore(bucket, prefix=prefix or None, config=account, **options)
    options["client_options"]["allow_http"] = scheme == "http"
    return HTTPStore.from_url(url, **options)


def _patience(said: Mapping[str, str]) -> dict[str, Any]:
    """Return in obstore's words how often GDAL tries again and how long it waits."""
    known = {**GDAL_DEFAULTS, **said}
    client = {"timeout": f"{known['GDAL_HTTP_TIMEOUT']}s", "connect_timeout": f"{known['GDAL_HTTP_CONNECTTIMEOUT']}s"}
    wait = {"init_backoff": timedelta(seconds=float(known["GDAL_HTTP_RETRY_DELAY"]))}
    retries = {"max_retries": int(known["GDAL_HTTP_MAX_RETRY"]), "backoff": wait}
    return {"retry_config": retries, "client_options": client}


def _s3_config(said: Mapping[str, str]) -> dict[str, Any]:
    """Return in obstore's words what GDAL and AWS's own tools have other names for."""
    config: dict[str, Any] = {}
    endpoint = said.get("AWS_ENDPOINT_URL_S3", said.get("AWS_ENDPOINT_URL"))
    if "AWS_S3_ENDPOINT" in said:
        insecure = said.get("AWS_HTTPS", "YES").upper() in ("NO", "FALSE", "OFF", "0")
        endpoint = f"{'http' if insecure else 'https'}://{said['AWS_S3_ENDPOINT']}"
    if endpoint:
        config["endpoint"] = endpoint
    if said.get("AWS_NO_SIGN_REQUEST", "NO").upper() in ("YES", "TRUE", "ON", "1"):
        config["skip_signature"] = True
    return config


def _profile(said: Mapping[str, str], url: str) -> Any:
    """Return boto3's credentials where the environment has none: profiles, SSO, roles."""
    if "AWS_ACCESS_KEY_ID" in said or _s3_config(said).get("skip_signature"):
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415  # boto3 is an extra
    except ImportError:
        if "AWS_PROFILE" not in said:
            return None
        raise InputError(
            f"AWS_PROFILE={said['AWS_PROFILE']} is read by boto3, which is not installed. "
            "Install it (pip install 'dualsr-geo[s3]'), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from None
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415  # comes with boto3

    try:
        return Boto3CredentialProvider()
    except (ValueError, BotoCoreError) as error:
        raise InputError(explain(url, f"NoCredentials: {error}")) from None


def stamp(path: str) -> dict[str, object]:
    """Return what tells an object from a changed one: its URL, and size and ETag where the store says them."""
    url = url_of(path)
    if url is None:
        return {"path": path}
    named_so: dict[str, object] = {"path": shown(url)}
    if not is_writable(url):
        return named_so | _web_stamp(url)
    root, _, name = url.rpartition("/")
    with named(url, InputError):
        try:
            found = obstore.head(open_store(root), name)
        except (PermissionDeniedError, UnauthenticatedError):
            # GDAL may open what nobody may ask the size of.
            return named_so
    return named_so | {"size": found["size"], "etag": found["e_tag"]}


def _web_stamp(url: str) -> dict[str, object]:
    """Ask a web server for one byte: URLs that are signed for GET refuse HEAD."""
    request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})  # noqa: S310  # http or https
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            said = answer.headers
    except (OSError, ValueError, HTTPException):
        # GDAL knows more ways to log in than this; its name is all that can be known.
        return {}
    size = str(said.get("Content-Range", "")).rpartition("/")[2] or said.get("Content-Length")
    known = {"size": size, "etag": said.get("ETag"), "modified": said.get("Last-Modified")}
    return {k: v for k, v in known.items() if v is not None}


def holds(url: str, problem: Problem) -> bool:
    """Say whether anything lies below a URL; raise `problem` if its bucket is not there or not ours."""
    with named(url, problem):
        return any(page for page in obstore.list(open_store(url), chunk_size=1))


def names_below(url: str, problem: Problem, prefix: str | None = None) -> list[str]:
    """Return the names of all objects below a URL, or of those in one folder there; raise `problem` if the store refuses."""
    with named(url, problem):
        return [str(o["path"]) for page in obstore.list(open_store(url), prefix) for o in page]


def is_object(url: str, problem: Problem) -> bool:
    """Say whether there is an object; raise `problem` if the store refuses."""
    root, _, name = url.rpartition("/")
    with named(url, problem):
        try:
            obstore.head(open_store(root), name)
        except FileNotFoundError:
            return False
    return True


def is_group(url: str, problem: Problem) -> bool:
    """Say whether there is a Zarr group or array; raise `problem` if the store refuses."""
    return any(is_object(f"{url}/{document}", problem) for document in ZARR_DOCUMENTS)


def is_there(url: str, problem: Problem) -> bool:
    """Say whether there is a raster, or a Zarr group by its suffix; raise `problem` if the store refuses."""
    return is_group(url, problem) if url.endswith(".zarr") else is_object(url, problem)


def modified(url: str) -> datetime:
    """Return when an object was written, or the newest of those below it.

    Raises
    ------
    InputError
        If the store refuses, or nothing is there.
    """
    root, _, name = url.rpartition("/")
    with named(url, InputError):
        try:
            when: datetime = obstore.head(open_store(root), name)["last_modified"]
        except FileNotFoundError:
            when = max(o["last_modified"] for page in obstore.list(open_store(url)) for o in page)
    return when


def text_of(url: str) -> str:
    """Return an object's text.

    Raises
    ------
    InputError
        If the store refuses, or it is not there.
    """
    root, _, name = url.rpartition("/")
    with named(url, InputError):
        return bytes(obstore.get(open_store(root), name).bytes()).decode()


def delete(url: str, names: Sequence[str]) -> None:
    """Delete objects below a URL.

    obstore repeats no request for many that was lost; to delete twice does no harm.
    """
    known = {**GDAL_DEFAULTS, **os.environ}
    for left in reversed(range(int(known["GDAL_HTTP_MAX_RETRY"]) + 1) if names else ()):
        try:
            obstore.delete(open_store(url), names)
        except GenericError:
            if not left:
                raise
        else:
            return


@contextmanager
def named(url: str, problem: Problem) -> Iterator[None]:
    """Turn what a store raises into one line of ours."""
    try:
        yield
    except (BaseError, FileNotFoundError, PermissionError) as error:
        # Not `from error`: its text holds requests with all that signs them.
        raise problem(explain(url, str(error))) from None


# What stores say in their codes, and where GDAL passes on nothing but messages in those; what it means, and the
# way out. The first that fits is taken.
_AGAIN = "Run again with --resume"
_MEANINGS = (
    (r"NoSuchBucket|(bucket|container) does not exist|ContainerNotFound",
     "there is no bucket `{bucket}`", "Create it, or give another."),
    (r"NoCredentials|InvalidCredentials|169\.254\.169\.254|metadata\.google|not filled|No valid .*credential|Missing.*account",
     "there are no credentials for it",
     "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or what else the store takes (docs/stores.md); AWS_NO_SIGN_REQUEST=YES for public data."),
    (r"Expired|has expired", "the credentials have expired", f"Renew them. {_AGAIN}."),
    (r"InvalidAccessKeyId|Key Id you provided|SignatureDoesNotMatch|signature we calculated|InvalidToken|failed to authenticate|code\D{1,20}401",
     "the store does not accept the credentials", "Check them."),
    (r"Access ?Denied|Forbidden|code\D{1,20}403|AuthorizationPermissionMismatch|does not have \S+ access",
     "access is denied", "Ask for the right to list, read, write and delete there, or use other credentials."),
    (r"redirect|AuthorizationHeaderMalformed|code\D{1,20}301", "its bucket lies in another region", "Set AWS_REGION."),
    (r"Slow ?Down|reduce your request rate|Too ?Many ?Requests|code\D{1,20}(429|503)",
     "the store asks to slow down, and still did after {retries} retries", f"{_AGAIN}; GDAL_HTTP_MAX_RETRY sets how often is tried."),
    (r"Internal ?Error|code\D{1,20}50\d", "the store failed, and still did after {retries} retries",
     f"{_AGAIN}; GDAL_HTTP_MAX_RETRY sets how often is tried."),
    (r"timed? ?out", "the store does not answer in {timeout} s", f"{_AGAIN}; GDAL_HTTP_TIMEOUT sets how long is waited."),
    (r"connect|error sending request|resolve host|dns|CURL error", "the store cannot be reached",
     "Check the network and, for S3, AWS_ENDPOINT_URL, then run again with --resume."),
    (r"not found|does not exist|No such file|code\D{1,20}404|NoSuchKey", "there is no such object", "Give the URL of one that is there."),
)  # fmt: skip


def explain(url: str, said: str) -> str:
    """Return one line for what a store said; nothing of a request is in it."""
    found = _meaning(url, said)
    if found is None:
        return f"{shown(url)}: {shown(said.partition(chr(10))[0])[:300].rstrip('.')}. {_AGAIN}."
    known = {k: os.environ.get(k, v) for k, v in GDAL_DEFAULTS.items()}
    meaning = found[0].format(
        bucket=split(shown(url))[1], retries=known["GDAL_HTTP_MAX_RETRY"], timeout=known["GDAL_HTTP_TIMEOUT"]
    )
    return f"{shown(url)}: {meaning}. {found[1]}"


def explain_gdal(url: str, said: str) -> str:
    """Return one line for what GDAL said of a URL; where it says but what it could not decode, the store is asked."""
    if _meaning(url, said) is None and is_writable(url):
        try:
            stamp(url)
        except InputError as error:
            return str(error)
    return explain(url, said)


def _meaning(url: str, said: str) -> tuple[str, str] | None:
    """Return what fits of `_MEANINGS`; names of objects and obstore's own settings mean nothing."""
    line, _, inner = said.partition("\n\nDebug source")
    line = re.sub(r"\S+://\S+|retry_timeout", "", line).replace(split(url)[2] or url, "")
    text = " ".join([line, *re.findall(r"kind: (\w+)", inner)])
    return next(
        ((meaning, way) for pattern, meaning, way in _MEANINGS if re.search(pattern, text, re.IGNORECASE)), None
    )
