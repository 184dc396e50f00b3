"""Object stores: opened by URL, and their objects listed, read and deleted.

Credentials are those that GDAL and the tools of the clouds find. They are read where a store is opened;
neither they nor the secrets of a URL are ever stored, logged or printed.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from http.client import HTTPException
from typing import Any

import obstore
from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store
from zarr.abc.buffer import Buffer
from zarr.storage import ObjectStore

from dualsr_geo.errors import InputError
from dualsr_geo.io.storage.store_errors import ErrorType, explain, meaning_of, store_errors_as
from dualsr_geo.io.storage.store_settings import environment, retry_options, s3_config, setting
from dualsr_geo.io.storage.urls import is_writable, shown, split, url_of

# Seconds to wait for the first byte of a file on the web.
STAMP_TIMEOUT_S = 30


def open_store(url: str) -> Any:  # one of obstore's stores, which have no common class
    """Return obstore's store of everything below a URL, which is cached for the process and its environment.

    Raises
    ------
    InputError
        If there are no credentials for it.
    """
    return _open_store(url.rstrip("/"), os.getpid(), environment())


@lru_cache(maxsize=32)
def _open_store(url: str, process: int, variables: tuple[tuple[str, str], ...]) -> Any:  # noqa: ARG001  # the process is part of the key only
    scheme, bucket, prefix = split(url)
    settings = dict(variables)
    options = retry_options(settings)
    config: Any
    if scheme == "s3":
        config = s3_config(settings)
        options["client_options"]["allow_http"] = config.get("endpoint", "").startswith("http://")
        credentials = _s3_credentials(settings, url)
        return S3Store(bucket, prefix=prefix or None, config=config, credential_provider=credentials, **options)
    if scheme == "gs":
        return GCSStore(bucket, prefix=prefix or None, **options)
    if scheme == "az":
        # GDAL's name of the variable, which obstore does not read.
        account = settings.get("AZURE_STORAGE_ACCOUNT")
        config = {} if account is None else {"account_name": account}
        return AzureStore(bucket, prefix=prefix or None, config=config, **options)
    options["client_options"]["allow_http"] = scheme == "http"
    return HTTPStore.from_url(url, **options)


def _s3_credentials(settings: Mapping[str, str], url: str) -> Any:  # boto3's provider, which is an extra
    """Return boto3's credentials (profiles, SSO, roles) where the environment has none, else None.

    Raises
    ------
    InputError
        If there are none, or boto3 is needed and not installed.
    """
    if "AWS_ACCESS_KEY_ID" in settings or s3_config(settings).get("skip_signature"):
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415  # boto3 is an extra
    except ImportError:
        if "AWS_PROFILE" not in settings:
            return None
        raise InputError(
            f"AWS_PROFILE={settings['AWS_PROFILE']} is read by boto3, which is not installed. "
            "Install it (pip install 'dualsr-geo[s3]'), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from None
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415  # comes with boto3

    try:
        return Boto3CredentialProvider()
    except (ValueError, BotoCoreError) as error:
        raise InputError(explain(url, f"NoCredentials: {error}")) from None


class ZarrObjectStore(ObjectStore[Any]):
    """Zarr's object store without conditional requests: obstore does not retry them, and old servers refuse them."""

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write an object unless it exists; a run is the only writer of its metadata."""
        if not await self.exists(key):
            await self.set(key, value)


def zarr_store(url: str, *, read_only: bool = True) -> ZarrObjectStore:
    """Return the store that Zarr reads and writes below a URL."""
    return ZarrObjectStore(open_store(url), read_only=read_only)


# ---- objects -----------------------------------------------------------------------------


def has_objects(url: str, error_type: ErrorType) -> bool:
    """Return whether any object is below a URL; raise `error_type` if the bucket is missing or refuses."""
    with store_errors_as(error_type, url):
        return any(page for page in obstore.list(open_store(url), chunk_size=1))


def names_below(url: str, error_type: ErrorType, prefix: str | None = None) -> list[str]:
    """Return the names of all objects below a URL, or of those in one folder; raise `error_type` if the store refuses."""
    with store_errors_as(error_type, url):
        return [str(o["path"]) for page in obstore.list(open_store(url), prefix) for o in page]


def is_object(url: str, error_type: ErrorType) -> bool:
    """Return whether an object exists; raise `error_type` if the store refuses."""
    root, _, name = url.rpartition("/")
    with store_errors_as(error_type, url):
        try:
            obstore.head(open_store(root), name)
        except FileNotFoundError:
            return False
    return True


def read_object(url: str, error_type: ErrorType) -> bytes:
    """Return the content of an object; raise `error_type` if it is missing or the store refuses."""
    root, _, name = url.rpartition("/")
    with store_errors_as(error_type, url):
        return bytes(obstore.get(open_store(root), name).bytes())


def modified(url: str) -> datetime:
    """Return when an object was written, or the newest of those below a URL.

    Raises
    ------
    InputError
        If the store refuses, or there is no object.
    """
    root, _, name = url.rpartition("/")
    with store_errors_as(InputError, url):
        try:
            time: datetime = obstore.head(open_store(root), name)["last_modified"]
        except FileNotFoundError:
            times = [o["last_modified"] for page in obstore.list(open_store(url)) for o in page]
            if not times:
                raise
            time = max(times)
    return time


def delete(url: str, names: Sequence[str]) -> None:
    """Delete objects below a URL; a lost request is repeated, which obstore does not do for several objects."""
    for remaining in reversed(range(int(setting("GDAL_HTTP_MAX_RETRY")) + 1) if names else ()):
        try:
            obstore.delete(open_store(url), names)
        except GenericError:
            if not remaining:
                raise
        else:
            return


# ---- stamps ------------------------------------------------------------------------------


def stamp(path: str) -> dict[str, object]:
    """Return what changes with an object: its URL, and size and ETag where the store gives them."""
    url = url_of(path)
    if url is None:
        return {"path": path}
    name_only: dict[str, object] = {"path": shown(url)}
    if not is_writable(url):
        return name_only | _web_stamp(url)
    root, _, name = url.rpartition("/")
    with store_errors_as(InputError, url):
        try:
            head = obstore.head(open_store(root), name)
        except (PermissionDeniedError, UnauthenticatedError):
            # GDAL may read an object whose size may not be read.
            return name_only
    return name_only | {"size": head["size"], "etag": head["e_tag"]}


def _web_stamp(url: str) -> dict[str, object]:
    """Return size, ETag and time from a request for one byte: URLs that are signed for GET refuse HEAD."""
    request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})  # noqa: S310  # http or https
    try:
        with urllib.request.urlopen(request, timeout=STAMP_TIMEOUT_S) as answer:  # noqa: S310
            headers = answer.headers
    except (OSError, ValueError, HTTPException):
        # GDAL has more ways to log in than this.
        return {}
    size = str(headers.get("Content-Range", "")).rpartition("/")[2] or headers.get("Content-Length")
    values = {"size": size, "etag": headers.get("ETag"), "modified": headers.get("Last-Modified")}
    return {k: v for k, v in values.items() if v is not None}


def explain_gdal(url: str, reason: str) -> str:
    """Return one line for GDAL's error text of a URL; where GDAL could not decode the answer, that of the store."""
    if meaning_of(url, reason) is None and is_writable(url):
        try:
            stamp(url)
        except InputError as error:
            return str(error)
    return explain(url, reason)
