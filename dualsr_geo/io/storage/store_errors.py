"""Errors of object stores as one line: what went wrong and the way out, without secrets of a request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError

from dualsr_geo.errors import DualSRError
from dualsr_geo.io.storage.store_settings import setting
from dualsr_geo.io.storage.urls import for_display, shown, split

ErrorType = type[DualSRError]

_RESUME = "Run again with --resume"
# Patterns of the codes of stores, and of their messages where GDAL passes on nothing else; the meaning; the way
# out. The first match counts.
_MEANINGS = (
    (r"NoSuchBucket|(bucket|container) does not exist|ContainerNotFound",
     "there is no bucket `{bucket}`", "Create it, or give another."),
    (r"NoCredentials|InvalidCredentials|169\.254\.169\.254|metadata\.google|not filled|No valid .*credential|Missing.*account",
     "there are no credentials for it",
     "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or what else the store takes (docs/stores.md); AWS_NO_SIGN_REQUEST=YES for public data."),
    (r"Expired|has expired", "the credentials have expired", f"Renew them. {_RESUME}."),
    (r"InvalidAccessKeyId|Key Id you provided|SignatureDoesNotMatch|signature we calculated|InvalidToken|failed to authenticate|code\D{1,20}401",
     "the store does not accept the credentials", "Check them."),
    (r"Access ?Denied|Forbidden|code\D{1,20}403|AuthorizationPermissionMismatch|does not have \S+ access",
     "access is denied", "Ask for the right to list, read, write and delete there, or use other credentials."),
    (r"redirect|AuthorizationHeaderMalformed|code\D{1,20}301", "its bucket is in another region", "Set AWS_REGION."),
    (r"Slow ?Down|reduce your request rate|Too ?Many ?Requests|code\D{1,20}(429|503)",
     "the store asks to slow down, and still did after {retries} retries", f"{_RESUME}; GDAL_HTTP_MAX_RETRY sets the number of retries."),
    (r"Internal ?Error|code\D{1,20}50\d", "the store failed, and still did after {retries} retries",
     f"{_RESUME}; GDAL_HTTP_MAX_RETRY sets the number of retries."),
    (r"timed? ?out", "the store does not answer in {timeout} s", f"{_RESUME}; GDAL_HTTP_TIMEOUT sets the limit."),
    (r"connect|error sending request|resolve host|dns|CURL error", "the store cannot be reached",
     "Check the network and, for S3, AWS_ENDPOINT_URL, then run again with --resume."),
    (r"not found|does not exist|No such file|code\D{1,20}404|NoSuchKey", "there is no such object", "Give the URL of one that is there."),
)  # fmt: skip


@contextmanager
def store_errors_as(error_type: ErrorType, url: str) -> Iterator[None]:
    """Raise the errors of an object store as an `error_type` of one line."""
    try:
        yield
    except (BaseError, FileNotFoundError, PermissionError) as error:
        # Not `from error`: its text holds requests with their signatures.
        raise error_type(explain(url, str(error))) from None


def explain(url: str, reason: str) -> str:
    """Return one line for the error text of a store; nothing of a request is in it."""
    meaning = meaning_of(url, reason)
    if meaning is None:
        return f"{shown(url)}: {for_display(reason.partition(chr(10))[0])[:300].rstrip('.')}. {_RESUME}."
    return f"{shown(url)}: {meaning}"


def meaning_of(url: str, reason: str) -> str | None:
    """Return meaning and way out of the error text of a store, or None if it is not recognised."""
    # Names of objects and obstore's own settings mean nothing.
    line, _, source = reason.partition("\n\nDebug source")
    line = re.sub(r"\S+://\S+|retry_timeout", "", line).replace(split(url)[2] or url, "")
    text = " ".join([line, *re.findall(r"kind: (\w+)", source)])
    for pattern, meaning, way_out in _MEANINGS:
        if re.search(pattern, text, re.IGNORECASE):
            retries, timeout_s = setting("GDAL_HTTP_MAX_RETRY"), setting("GDAL_HTTP_TIMEOUT")
            bucket = split(shown(url))[1]
            return f"{meaning.format(bucket=bucket, retries=retries, timeout=timeout_s)}. {way_out}"
    return None
