"""The source of a raster that GDAL opens, and stamps that identify the content of files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.env import hasenv
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from dualsr_geo.errors import InputError
from dualsr_geo.io.readers.blocks.decoded import BLOCKS, blocks_of
from dualsr_geo.io.readers.dataset_cache import borrow, reason
from dualsr_geo.io.readers.references.drivers import SELF_CONTAINED
from dualsr_geo.io.storage.folders.opening import archive_of
from dualsr_geo.io.storage.object_store import explain_gdal, stamp
from dualsr_geo.io.storage.store_settings import gdal_options, is_gzip
from dualsr_geo.io.storage.urls import shown, url_of
from dualsr_geo.raster.source import StoredSource
from dualsr_geo.raster.windows import Window
from dualsr_geo.redaction import redact

# Files that list the tiles of an image: of Maxar, and of DIMAP.
LISTS_OF_TILES = (".TIL", ".XML")


def file_stamp(path: str) -> dict[str, object]:
    """Return path, size and time of a file, or the ETag of an object, which identify its content."""
    return stamp(path) if url_of(path) is not None else local_stamp(path)


def local_stamp(path: str) -> dict[str, object]:
    """Return path, size and time of a local file, or of the archive that it is in; of anything else only the name."""
    try:
        stat = os.stat(path)
    except OSError:
        archive = archive_of(path)
        if archive is None:
            return {"path": redact(path)}
        stat = archive.stat()
    return {"path": path, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


@dataclass(frozen=True)
class RasterSource(StoredSource):
    """Bands of a raster that GDAL opens.

    Attributes
    ----------
    uri : str
        What rasterio opens.
    dtype : str
        Type that holds every band as stored.
    mask : {"none", "shared", "own"}
        Whether a mask holds in addition to the nodata values: none, one for all bands (alpha, .msk,
        internal), or one a band.
    files : tuple of str
        Every file that GDAL reads for it, sidecars included.
    config : tuple of (str, str)
        GDAL options to open it with.
    drivers : tuple of str
        Drivers that may open it, here and on workers; empty for any.
    jp2_block : tuple of int or None
        Rows and columns of the blocks of JPEG 2000, which are kept decoded; None for any other format.
    """

    uri: str
    dtype: str
    mask: Literal["none", "shared", "own"] = "none"
    files: tuple[str, ...] = ()
    config: tuple[tuple[str, str], ...] = ()
    drivers: tuple[str, ...] = SELF_CONTAINED
    jp2_block: tuple[int, int] | None = None

    @property
    def masked(self) -> bool:
        """Whether a mask holds in addition to the nodata values."""
        return self.mask != "none"

    def thumbnail(self, band: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return one band subsampled to `shape` (y, x), NaN where invalid, from overviews where there are some."""
        values: NDArray[np.float32] = self._resample([band], Window(0, self.size[0], 0, self.size[1]), shape)[0]
        return values

    def files_read(self) -> tuple[str, ...]:
        """Return every file behind it."""
        return self.files or (self.uri,)

    def fingerprint(self) -> dict[str, object]:
        """Return URI, bands, and size and time of every file behind it."""
        return {
            "uri": shown(self.uri),
            "bands": self._indexes(range(len(self.indices))),
            "files": [file_stamp(f) for f in self.files_read()],
        }

    def color_table(self) -> list[tuple[int, int, int, int]]:
        """Return the colors (red, green, blue, alpha) of the values 0, 1, ... of a band with a color table."""
        colors = self._dataset().colormap(self.indices[0] + 1)
        return [colors.get(value, (0, 0, 0, 0)) for value in range(max(colors, default=0) + 1)]

    def _indexes(self, bands: Sequence[int]) -> list[int]:
        """Return bands as rasterio counts them, from 1."""
        return [self.indices[i] + 1 for i in bands]

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        return self._resample(bands, window, window.shape)

    def _resample(self, bands: Sequence[int], window: Window, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return a window at the resolution that gives it a shape of (y, x)."""
        indexes = self._indexes(bands)
        part = rasterio.windows.Window.from_slices(*window.slices)
        try:
            dataset = self._dataset()
            with self._environment():
                if self.jp2_block is None or shape != window.shape:
                    stored = dataset.read(indexes, window=part, out_shape=shape, out_dtype=self.dtype)
                else:
                    stored = self._read_blocks(dataset, indexes, window, self.jp2_block)
                values = self.decoding.physical(stored, bands)
                if self.mask == "shared":
                    values[:, dataset.read_masks(indexes[0], window=part, out_shape=shape) == 0] = np.nan
                elif self.mask == "own":
                    values[dataset.read_masks(indexes, window=part, out_shape=shape) == 0] = np.nan
        except RasterioError as error:
            url = url_of(self.uri)
            if url is not None:
                raise InputError(explain_gdal(url, reason(error))) from None
            raise InputError(
                f"{shown(self.uri)}: rows {window.y0} to {window.y1}, columns {window.x0} to {window.x1} "
                f"cannot be read: {reason(error)}. The file is damaged or incomplete; fetch it again."
            ) from error
        return values

    def _read_blocks(
        self, dataset: DatasetReader, indexes: Sequence[int], window: Window, shape: tuple[int, int]
    ) -> NDArray[Any]:
        """Return a window as stored, from blocks that are decoded once for all threads."""
        out = np.empty((len(indexes), *window.shape), self.dtype)
        identity = (self.uri, repr(self._stamp()), self.config, tuple(indexes), self.dtype)
        for inner in blocks_of(window, self.size, shape):

            def decode(inner: Window = inner) -> NDArray[Any]:
                block = rasterio.windows.Window.from_slices(*inner.slices)
                values: NDArray[Any] = dataset.read(indexes, window=block, out_dtype=self.dtype)
                return values

            values = BLOCKS.get((*identity, inner.y0, inner.x0), decode)
            part = window.within(inner).clipped(inner.shape)
            out[:, *part.moved(inner.y0 - window.y0, inner.x0 - window.x0).slices] = values[:, *part.slices]
        return out

    def _environment(self) -> AbstractContextManager[object]:
        """Return the options under which values are read: the sources of a remote VRT, and the tiles of a remote list, are opened when they are read.

        Outside of an environment of rasterio GDAL prints its warnings itself, once a thread, instead of logging them.
        """
        if is_gzip(self.uri):
            compressed: AbstractContextManager[object] = rasterio.Env(**gdal_options(self.uri))
            return compressed
        opens_others = "VRT" in self.drivers or self.uri.upper().endswith(LISTS_OF_TILES)
        if not opens_others or url_of(self.uri) is None:
            return nullcontext() if hasenv() else rasterio.Env()
        environment: AbstractContextManager[object] = rasterio.Env(**gdal_options(self.uri), **dict(self.config))
        return environment

    def _dataset(self) -> DatasetReader:
        return borrow(self.uri, self._stamp(), self.config, self.drivers)

    def _stamp(self) -> tuple[object, ...]:
        # Neither the datasets of the parent of a forked process nor those of a replaced file are used.
        return os.getpid(), local_stamp(self.files[0] if self.files else self.uri)
