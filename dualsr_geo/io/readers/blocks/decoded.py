"""Cache of decoded JPEG 2000 blocks, shared by the threads of a process.

A block of 1024 x 1024 pixels takes 0.2 s to decode, and some 20 tiles of a run read a part of one. GDAL's own cache
belongs to one open dataset, of which each thread has its own, so that every thread would decode every block.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import product
from typing import Any

from numpy.typing import NDArray

from dualsr_geo.raster.windows import Window

# Drivers of rasterio that decode JPEG 2000.
JPEG_2000_DRIVERS = ("JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID", "JPEG2000")
# Of a process for which no run has set a limit, such as a worker.
DEFAULT_BYTES = 256 << 20
# No run needs more: three rows of blocks of all bands of a Sentinel-2 tile are 400 MiB.
MAX_BYTES = 1 << 30
# Rows of blocks that a row of tiles may touch.
ROWS = 3

Blocks = NDArray[Any]


class DecodedBlocks:
    """Blocks by their key, the least recently used of which are dropped; each is decoded once, whoever needs it."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._blocks: OrderedDict[Hashable, Future[Blocks]] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def limited(self, limit_bytes: int) -> Iterator[None]:
        """Return a context in which another number of bytes is kept; nothing is kept after it."""
        with self._lock:
            before, self._limit_bytes = self._limit_bytes, limit_bytes
        try:
            yield
        finally:
            with self._lock:
                self._limit_bytes = 0
                self._drop()
                self._limit_bytes = before

    def get(self, key: Hashable, decode: Callable[[], Blocks]) -> Blocks:
        """Return a block, from the cache or decoded by this thread or the one that is at it."""
        with self._lock:
            waiting = self._blocks.get(key)
            block = Future[Blocks]() if waiting is None else waiting
            self._blocks[key] = block
            self._blocks.move_to_end(key)
        if waiting is not None:
            return waiting.result()
        try:
            block.set_result(decode())
        except BaseException as error:
            with self._lock:
                self._blocks.pop(key, None)
            block.set_exception(error)
            raise
        with self._lock:
            self._drop()
        return block.result()

    def _drop(self) -> None:
        done = {key: block.result().nbytes for key, block in self._blocks.items() if block.done()}
        total = sum(done.values())
        for key, size in done.items():
            if total <= self._limit_bytes:
                return
            del self._blocks[key]
            total -= size


BLOCKS = DecodedBlocks(DEFAULT_BYTES)


def blocks_of(window: Window, size: tuple[int, int], block: tuple[int, int]) -> Iterator[Window]:
    """Yield the blocks, cut at the edges of the image, that a window touches.

    Parameters
    ----------
    window : Window
        Inside the image.
    size, block : (int, int)
        Rows and columns of the image and of a block.
    """
    rows, columns = (
        range(start // step, -(-stop // step))
        for start, stop, step in ((window.y0, window.y1, block[0]), (window.x0, window.x1, block[1]))
    )
    for row, column in product(rows, columns):
        y, x = row * block[0], column * block[1]
        yield Window(y, min(y + block[0], size[0]), x, min(x + block[1], size[1]))


def limit_bytes_for(row_bytes: int, memory_bytes: int) -> int:
    """Return the size of the cache for a run.

    Parameters
    ----------
    row_bytes : int
        One row of blocks of everything that the run reads.
    memory_bytes : int
        What the run may use.
    """
    return min(ROWS * row_bytes, MAX_BYTES, memory_bytes // 4)
