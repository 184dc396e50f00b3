"""Settings of object stores from the environment, in GDAL's and in obstore's terms: endpoints, retries, timeouts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from dualsr_geo.errors import InputError
from dualsr_geo.io.storage.urls import WRITABLE, url_of

# GDAL itself neither retries nor limits the time, so that a busy store ends a run and a dead one hangs it.
# Nothing is cached of a closed file, since an output of an earlier run may have been replaced.
GDAL_DEFAULTS = {
    "GDAL_HTTP_MAX_RETRY": "6",
    "GDAL_HTTP_RETRY_DELAY": "0.5",  # s
    "GDAL_HTTP_TIMEOUT": "120",  # s
    "GDAL_HTTP_CONNECTTIMEOUT": "10",  # s
    # A transfer that stands still for so long has failed.
    "GDAL_HTTP_LOW_SPEED_TIME": "10",  # s
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",  # bytes a second
    "CPL_VSIL_CURL_NON_CACHED": ":".join((*WRITABLE.values(), "/vsicurl/")),
}

# GDAL writes a file next to a compressed one, with its size.
GZIP_OPTIONS = {"CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO"}

# Smallest and largest value of the settings that are numbers.
LIMITS = {
    "GDAL_HTTP_MAX_RETRY": (0, 100),
    "GDAL_HTTP_RETRY_DELAY": (0, 3600),
    "GDAL_HTTP_TIMEOUT": (0.001, 86400),
    "GDAL_HTTP_CONNECTTIMEOUT": (0.001, 86400),
    "GDAL_HTTP_LOW_SPEED_TIME": (1, 86400),
}

# Variables that decide which store is opened and how; a change of one opens it again.
PREFIXES = ("AWS_", "AZURE_", "GOOGLE_", "GDAL_HTTP_")

YES, NO = ("YES", "TRUE", "ON", "1"), ("NO", "FALSE", "OFF", "0")


def setting(name: str) -> str:
    """Return the value of one of `GDAL_DEFAULTS`: the environment's, else the default.

    Raises
    ------
    InputError
        If it should be a number and is none, or is out of its range.
    """
    text = os.environ.get(name, GDAL_DEFAULTS[name])
    if name in LIMITS:
        _require_number(name, text)
    return text


def _require_number(name: str, text: str) -> None:
    (low, high), is_count = LIMITS[name], name == "GDAL_HTTP_MAX_RETRY"
    try:
        is_valid = low <= (int(text) if is_count else float(text)) <= high
    except ValueError:
        is_valid = False
    if not is_valid:
        kind = "whole number" if is_count else "number of seconds"
        raise InputError(
            f"{name}={text[:40]} in the environment is no {kind} from {low:g} to {high:g}. Set one, or unset it "
            f"(default {GDAL_DEFAULTS[name]})."
        )


def environment() -> tuple[tuple[str, str], ...]:
    """Return the variables of the environment that decide how a store is opened."""
    return tuple((k, v) for k, v in sorted(os.environ.items()) if k.startswith(PREFIXES))


def gdal_options(path: str) -> dict[str, str]:
    """Return the options with which GDAL opens a path: retries, and the endpoint in the variables of AWS's tools."""
    url = url_of(path)
    if url is None:
        return GZIP_OPTIONS if is_gzip(path) else {}
    for name in LIMITS:
        setting(name)
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


def is_gzip(path: str) -> bool:
    """Return whether GDAL decompresses a file to read a path."""
    return path.startswith("/vsi") and any(sign in path.lower() for sign in ("/vsigzip/", ".tar.gz/", ".tgz/"))


def retry_options(settings: Mapping[str, str]) -> dict[str, Any]:
    """Return obstore's options for GDAL's settings of retries and timeouts."""
    values = {**GDAL_DEFAULTS, **settings}
    for name in LIMITS:
        _require_number(name, values[name])
    client = {"timeout": f"{values['GDAL_HTTP_TIMEOUT']}s", "connect_timeout": f"{values['GDAL_HTTP_CONNECTTIMEOUT']}s"}
    backoff = {"init_backoff": timedelta(seconds=float(values["GDAL_HTTP_RETRY_DELAY"]))}
    retries = {"max_retries": int(values["GDAL_HTTP_MAX_RETRY"]), "backoff": backoff}
    return {"retry_config": retries, "client_options": client}


def s3_config(settings: Mapping[str, str]) -> dict[str, Any]:
    """Return obstore's configuration for the settings that GDAL and AWS's tools name differently."""
    config: dict[str, Any] = {}
    endpoint = settings.get("AWS_ENDPOINT_URL_S3", settings.get("AWS_ENDPOINT_URL"))
    if "AWS_S3_ENDPOINT" in settings:
        insecure = settings.get("AWS_HTTPS", "YES").upper() in NO
        endpoint = f"{'http' if insecure else 'https'}://{settings['AWS_S3_ENDPOINT']}"
    if endpoint:
        config["endpoint"] = endpoint
    if settings.get("AWS_NO_SIGN_REQUEST", "NO").upper() in YES:
        config["skip_signature"] = True
    return config
