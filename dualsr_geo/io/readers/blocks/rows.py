"""The size of a row of JPEG 2000 blocks of everything that a run reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from dualsr_geo.io.readers.band_stack import BandStack
from dualsr_geo.io.readers.rasterio_source import RasterSource
from dualsr_geo.raster.source import CroppedSource, Source


def row_bytes(sources: Iterable[Source]) -> int:
    """Return the bytes of one row of decoded blocks of all JPEG 2000 files of some sources; 0 where there are none.

    Parameters
    ----------
    sources : iterable of Source
        Of the scene and its guides.
    """
    return sum(map(_bytes, {raster for source in sources for raster in _rasters(source)}))


def _rasters(source: Source) -> Iterator[RasterSource]:
    if isinstance(source, BandStack):
        for part in source.parts:
            yield from _rasters(part)
    elif isinstance(source, CroppedSource):
        yield from _rasters(source.source)
    elif isinstance(source, RasterSource):
        yield source


def _bytes(source: RasterSource) -> int:
    if source.jp2_block is None:
        return 0
    return len(source.indices) * source.jp2_block[0] * source.size[1] * np.dtype(source.dtype).itemsize
