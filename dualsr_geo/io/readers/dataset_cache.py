"""Open GDAL datasets: a few a thread, because they must not be shared between threads."""

from __future__ import annotations

import os
import threading
import warnings
from collections import OrderedDict

import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from dualsr_geo.io.storage.object_store import gdal_options

# Handles that a thread keeps open: scene, guides, and a few to spare. Sentinel-2 is a file a band:
# six of the scene, four of the guide.
OPEN_HANDLES = 16

# GDAL's own default is 5 % of the machine, which a whole scene fills before it ends; a tile rereads
# little more than its halo.
CACHE_BYTES = 64 << 20

# Changing the warning filters is not thread-safe, so datasets are opened one at a time.
_opening = threading.Lock()


def open_quietly(uri: str, config: tuple[tuple[str, str], ...] = ()) -> DatasetReader:
    """Open a dataset under GDAL options, without rasterio's warning about a missing georeference."""
    cache = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": CACHE_BYTES}
    with _opening, warnings.catch_warnings(), rasterio.Env(**gdal_options(uri), **dict(config), **cache):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(uri, sharing=False)


def reason(error: BaseException, uri: str = "") -> str:
    """Return what GDAL said first, in one line; rasterio's own text often only points to it."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()).rstrip(".")
    for said in (f"'{uri}' ", f"{uri}: "):
        text = text.removeprefix(said) if uri else text
    return text


class _Handles(threading.local):
    """Open datasets of this thread, the latest used last."""

    def __init__(self) -> None:
        self.open: OrderedDict[str, tuple[object, DatasetReader]] = OrderedDict()

    def get(self, uri: str, stamp: object, config: tuple[tuple[str, str], ...]) -> DatasetReader:
        found = self.open.pop(uri, None)
        if found is not None and found[0] != stamp:
            found[1].close()
            found = None
        dataset = found[1] if found is not None else open_quietly(uri, config)
        self.open[uri] = (stamp, dataset)
        while len(self.open) > OPEN_HANDLES:
            self.open.popitem(last=False)[1][1].close()
        return dataset


_handles = _Handles()


def borrow(uri: str, stamp: object, config: tuple[tuple[str, str], ...] = ()) -> DatasetReader:
    """Return this thread's open dataset; the thread keeps and closes it.

    Parameters
    ----------
    uri : str
        What rasterio opens.
    stamp : object
        A dataset opened under another stamp is closed and opened anew.
    config : tuple of (str, str)
        GDAL options that hold while it is opened.
    """
    return _handles.get(uri, (stamp, config), config)
