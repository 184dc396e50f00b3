"""What GDAL does not do for a TIFF's header: keep all metadata domains, and see that no block is missing.

When GDAL (3.10 to 3.12) copies a TIFF it keeps the default metadata domain and the bands'
tags, and drops every other domain of the dataset; with COPY_SRC_MDD=YES it is the other way
round. Adding them to the copy would move its header to the end, which is no COG any more. So
the stage file carries a placeholder, and the copy gets the missing items in its room.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape

import rasterio

ROOM = "DUALSR_ROOM"
GDAL_METADATA = 42112

ITEM = re.compile(rb"\s*<Item ([^>]*)>[^<]*</Item>")


def room_for(tags: Mapping[str, Mapping[str, str]]) -> str:
    """Return a placeholder at least as long as the items of these domains in XML."""
    items = [(domain, name, text) for domain, held in tags.items() for name, text in held.items()]
    quotes = {'"': "&quot;"}
    # GDAL escapes what it has escaped once; 64 characters are more than the markup of an item.
    return "-" * sum(64 + sum(len(escape(escape(s, quotes)).encode()) for s in item) for item in items)


def carry_domains(stage: Path, product: Path) -> None:
    """Put the stage's dataset domains where the product holds the placeholder.

    Raises
    ------
    ValueError
        If the product has no placeholder, or too small a one.
    """
    with stage.open("rb") as source:
        items = [m for m in ITEM.finditer(_read(source, *_place(source))) if _is_domain(m[1])]
    with product.open("r+b") as target:
        start, length = _place(target)
        text = _read(target, start, length)
        room = next((m for m in ITEM.finditer(text) if f'name="{ROOM}"'.encode() in m[1]), None)
        if room is None:
            raise ValueError(f"{product} has no room for metadata")
        new = text[: room.start()] + b"".join(m[0] for m in items) + text[room.end() :]
        if len(new) > length:
            raise ValueError(f"{product} has too little room for metadata")
        target.seek(start)
        target.write(new.rstrip(b"\0\n").ljust(length - 1) + b"\0")


def missing_block(path: Path) -> str | None:
    """Return the name of the first block that lies not or not wholly in the file, if any.

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
    # A level of its own open call: rasterio tells block shapes only so.
    asked = {} if level is None else {"overview_level": level}
    with rasterio.open(path, **asked) as view:
        rows, columns = view.block_shapes[0]
        across, down = -(-view.width // columns), -(-view.height // rows)
    return ((i, f"{x}_{y}") for i in indexes for y in range(down) for x in range(across))


def _is_domain(attributes: bytes) -> bool:
    return b' domain="' in attributes and b' sample="' not in attributes


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)


def _place(file: BinaryIO) -> tuple[int, int]:
    """Return where the metadata text of the first directory starts, and its length."""
    head = _read(file, 0, 16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack(order + "H", head[2:4])[0] == 43
    # Classic TIFF counts in 2 and 4 bytes, BigTIFF in 8: the TIFF 6.0 and BigTIFF specifications.
    count, entry, first = ("Q", "HHQQ", head[8:16]) if big else ("H", "HHII", head[4:8])
    (directory,) = struct.unpack(order + ("Q" if big else "I"), first)
    (entries,) = struct.unpack(order + count, _read(file, directory, struct.calcsize("=" + count)))
    table = file.read(entries * struct.calcsize("=" + entry))
    for tag, _, length, start in struct.iter_unpack(order + entry, table):
        if tag == GDAL_METADATA:
            return start, length
    raise ValueError("the file holds no GDAL metadata")
