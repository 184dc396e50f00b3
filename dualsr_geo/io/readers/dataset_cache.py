"""Cache of open GDAL datasets, a few per thread, since threads must not share them."""

from __future__ import annotations

import os
import threading
import warnings
from collections import OrderedDict

import rasterio
from rasterio.env import ensure_env_with_credentials
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from dualsr_geo.io.readers.references.drivers import SELF_CONTAINED
from dualsr_geo.io.storage.store_settings import gdal_options

# Datasets that a thread keeps open. Sentinel-2 has one file per band: six of the scene, four of the guide.
MAX_OPEN_DATASETS = 16

# GDAL's block cache. Its default, 5 % of the memory of the machine, is filled by one scene, while a tile
# reads little more than its halo again.
BLOCK_CACHE_BYTES = 64 << 20

# Changing the warning filters is not thread-safe, so datasets are opened one at a time.
_opening = threading.Lock()


def open_quietly(
    uri: str, config: tuple[tuple[str, str], ...] = (), drivers: tuple[str, ...] = SELF_CONTAINED
) -> DatasetReader:
    """Open a dataset under GDAL options, without rasterio's warning about a missing georeference.

    Parameters
    ----------
    uri : str
        What rasterio opens.
    config : tuple of (str, str)
        GDAL options.
    drivers : tuple of str
        Those that may open it; empty for any.
    """
    cache = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": BLOCK_CACHE_BYTES}
    with _opening, warnings.catch_warnings(), rasterio.Env(**gdal_options(uri), **dict(config), **cache):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        # As `rasterio.open`, which takes one driver only.
        dataset: DatasetReader = ensure_env_with_credentials(_open)(uri, drivers)
        return dataset


def _open(uri: str, drivers: tuple[str, ...]) -> DatasetReader:
    return DatasetReader(uri, driver=list(drivers) or None, sharing=False)


def reason(error: BaseException, uri: str = "") -> str:
    """Return the message of the first error of GDAL in one line; that of rasterio often only refers to it."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()).rstrip(".")
    for prefix in (f"'{uri}' ", f"{uri}: "):
        text = text.removeprefix(prefix) if uri else text
    return text


class _Datasets(threading.local):
    """Open datasets of this thread, in the order of their last use."""

    def __init__(self) -> None:
        self.open: OrderedDict[str, tuple[object, DatasetReader]] = OrderedDict()

    def get(
        self, uri: str, stamp: object, config: tuple[tuple[str, str], ...], drivers: tuple[str, ...]
    ) -> DatasetReader:
        cached = self.open.pop(uri, None)
        if cached is not None and cached[0] != stamp:
            cached[1].close()
            cached = None
        dataset = cached[1] if cached is not None else open_quietly(uri, config, drivers)
        self.open[uri] = (stamp, dataset)
        while len(self.open) > MAX_OPEN_DATASETS:
            self.open.popitem(last=False)[1][1].close()
        return dataset


_datasets = _Datasets()


def borrow(
    uri: str, stamp: object, config: tuple[tuple[str, str], ...] = (), drivers: tuple[str, ...] = SELF_CONTAINED
) -> DatasetReader:
    """Return the open dataset of this thread, which keeps and closes it.

    Parameters
    ----------
    uri : str
        What rasterio opens.
    stamp : object
        Identifies the content; a dataset with another stamp is closed and opened again.
    config : tuple of (str, str)
        GDAL options that apply while it is opened.
    drivers : tuple of str
        Those that may open it; empty for any.
    """
    return _datasets.get(uri, (stamp, config, drivers), config, drivers)
