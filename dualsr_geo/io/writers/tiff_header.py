"""TIFF headers, where GDAL falls short: all metadata domains are copied, and missing blocks are found.

When GDAL (3.10 to 3.12) copies a TIFF it keeps the default metadata domain and the tags of the bands, and
drops every other domain of the dataset; with COPY_SRC_MDD=YES it is the other way round. Adding them to the
copy would move its header to the end, and a COG has it at the start. So the stage file has a placeholder,
which the missing items replace in the copy.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape

import rasterio

PLACEHOLDER = "DUALSR_ROOM"
# TIFF tag of GDAL's metadata in XML.
GDAL_METADATA = 42112
# More than the markup of an item, characters.
MARKUP_LENGTH = 64

ITEM = re.compile(rb"\s*<Item ([^>]*)>[^<]*</Item>")


def placeholder_for(tags: Mapping[str, Mapping[str, str]]) -> str:
    """Return a placeholder at least as long as the items of these domains in XML."""
    items = [(domain, name, text) for domain, pairs in tags.items() for name, text in pairs.items()]
    quotes = {'"': "&quot;"}
    # GDAL escapes twice.
    return "-" * sum(MARKUP_LENGTH + sum(len(escape(escape(s, quotes)).encode()) for s in item) for item in items)


def copy_domains(stage: Path, output: Path) -> None:
    """Replace the placeholder of the output by the metadata domains of the stage.

    Raises
    ------
    ValueError
        If the output has no placeholder, or too short a one.
    """
    with stage.open("rb") as source:
        items = [m for m in ITEM.finditer(_read(source, *_metadata_span(source))) if _is_domain(m[1])]
    with output.open("r+b") as target:
        start, length = _metadata_span(target)
        text = _read(target, start, length)
        placeholder = next((m for m in ITEM.finditer(text) if f'name="{PLACEHOLDER}"'.encode() in m[1]), None)
        if placeholder is None:
            raise ValueError(f"{output} has no room for metadata")
        new = text[: placeholder.start()] + b"".join(m[0] for m in items) + text[placeholder.end() :]
        if len(new) > length:
            raise ValueError(f"{output} has {length} bytes of room for metadata, which need {len(new)}")
        target.seek(start)
        target.write(new.rstrip(b"\0\n").ljust(length - 1) + b"\0")


def missing_block(path: Path) -> str | None:
    """Return the name of the first block that is not wholly in the file; None if all are.

    A write that fails while the file is closed raises nothing, and the block reads as nodata.
    """
    size = path.stat().st_size
    with rasterio.open(path) as file:
        levels = [None, *range(len(file.overviews(1)))]
        for level in levels:
            for index, name in _blocks(path, file.indexes, level):
                start = file.get_tag_item(f"BLOCK_OFFSET_{name}", "TIFF", bidx=index, ovr=level)
                length = file.get_tag_item(f"BLOCK_SIZE_{name}", "TIFF", bidx=index, ovr=level)
                if start is None or length is None or int(start) + int(length) > size:
                    return f"block {name} of band {index}"
    return None


def _blocks(path: Path, indexes: Sequence[int], level: int | None) -> Iterator[tuple[int, str]]:
    """Return band and GDAL's name (column_row) of the blocks of a file or one of its overviews."""
    # rasterio gives the block shapes of an overview only if it is opened as a dataset.
    options = {} if level is None else {"overview_level": level}
    with rasterio.open(path, **options) as dataset:
        rows, columns = dataset.block_shapes[0]
        count_x, count_y = -(-dataset.width // columns), -(-dataset.height // rows)
    return ((i, f"{x}_{y}") for i in indexes for y in range(count_y) for x in range(count_x))


def _is_domain(attributes: bytes) -> bool:
    return b' domain="' in attributes and b' sample="' not in attributes


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)


def _metadata_span(file: BinaryIO) -> tuple[int, int]:
    """Return start and length in bytes of the metadata text of the first directory."""
    head = _read(file, 0, 16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack(order + "H", head[2:4])[0] == 43
    # Counts take 2 and 4 bytes in TIFF 6.0, and 8 in BigTIFF.
    count, entry, first = ("Q", "HHQQ", head[8:16]) if big else ("H", "HHII", head[4:8])
    (directory,) = struct.unpack(order + ("Q" if big else "I"), first)
    (entries,) = struct.unpack(order + count, _read(file, directory, struct.calcsize("=" + count)))
    table = file.read(entries * struct.calcsize("=" + entry))
    for tag, _, length, start in struct.iter_unpack(order + entry, table):
        if tag == GDAL_METADATA:
            return start, length
    raise ValueError("the file has no GDAL metadata")
