"""Sizes of blocks and chunks: what a file unpacks at once, checked before the first one is read."""

from __future__ import annotations

import math
import warnings

import psutil

from dualsr_geo.errors import DualSRWarning, InputError

# Largest share of the memory that a single block or chunk may take: two tiles may need one each.
MAX_MEMORY_SHARE = 0.25
# Compressed blocks above this size are unpacked again for every tile that needs one, since GDAL's cache does not hold
# them (BLOCK_CACHE_BYTES): a warning. Above the larger size a scene takes hours, and is refused.
REPORTED_BLOCK_BYTES = 64 << 20
MAX_BLOCK_BYTES = 512 << 20
GB = 1e9


def require_chunk(shape: tuple[int, ...], itemsize: int, where: str, noun: str = "chunk") -> None:
    """Check that the memory can hold a block or chunk.

    Parameters
    ----------
    shape : tuple of int
    itemsize : int
        Bytes of a value.
    where : str
        The file or the array, in messages.
    noun : str
        What the format calls it.

    Raises
    ------
    InputError
        If it takes more than `MAX_MEMORY_SHARE` of the memory.
    """
    size, memory = _bytes(shape, itemsize), psutil.virtual_memory().total
    if size > MAX_MEMORY_SHARE * memory:
        raise InputError(
            f"{where} is stored in a {noun} of {_text(shape)} values, {size / GB:.3g} GB, too much for the memory of "
            f"{memory / GB:.3g} GB. Rewrite it in smaller ones of about 512 x 512."
        )


def require_block(shape: tuple[int, int], itemsize: int, where: str, *, compressed: bool) -> None:
    """Check that the blocks of a raster can be read, and warn where that is slow.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a block.
    itemsize : int
        Bytes of the values of a pixel that are in one block.
    where : str
    compressed : bool

    Raises
    ------
    InputError
        If a block is too large for the memory, or compressed and so large that every tile takes seconds to unpack it.
    """
    require_chunk(shape, itemsize, where, "block")
    size = _bytes(shape, itemsize)
    if not compressed or size <= REPORTED_BLOCK_BYTES:
        return
    text = (
        f"{where} is compressed in blocks of {_text(shape)} pixels ({size / 2**20:.0f} MiB), each of which is unpacked "
        "again for every tile. Rewrite it once: gdal_translate -co TILED=YES -co COMPRESS=DEFLATE."
    )
    if size > MAX_BLOCK_BYTES:
        raise InputError(text)
    warnings.warn(text, DualSRWarning, stacklevel=2)


def _bytes(shape: tuple[int, ...], itemsize: int) -> int:
    return math.prod((itemsize, *map(int, shape)))


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
