"""The structure of a TIFF: whether all that its directories name is in the file, and how its blocks are stored.

GDAL opens a TIFF that has lost its end: it ignores the tags that were there (scale, names, wavelengths), and reports a
block that is missing only when it reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.errors import InputError

# Bytes of the values of a tag by its type (TIFF 6.0, BigTIFF); tags of other types are not checked.
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
WIDTH, LENGTH, COMPRESSION, ROWS_PER_STRIP, SUB_DIRECTORIES = 256, 257, 259, 278, 330
# Tags of the starts and of the sizes of blocks: strips, and tiles.
STRIPS, TILES = (273, 279), (324, 325)
# Tags that messages name; others are numbered.
NAMES = {273: "StripOffsets", 279: "StripByteCounts", 324: "TileOffsets", 325: "TileByteCounts",
         33550: "ModelPixelScale", 33922: "ModelTiepoint", 34264: "ModelTransformation", 34735: "GeoKeyDirectory",
         34736: "GeoDoubleParams", 34737: "GeoAsciiParams", 42112: "GDALMetadata", 42113: "GDALNoData"}  # fmt: skip
NOT_COMPRESSED = 1
# Directories that are looked at: more are the pages of a document.
MAX_DIRECTORIES = 100
# Blocks whose places are compared with the size of the file.
MAX_BLOCKS = 10**7


@dataclass(frozen=True)
class Tag:
    """A tag of a directory: type, number of values, and the place of its first byte in the file."""

    number: int
    kind: int
    count: int
    start: int

    @property
    def end(self) -> int:
        """Place of the byte after the last one."""
        return self.start + self.count * TYPE_BYTES.get(self.kind, 0)

    @property
    def name(self) -> str:
        """Name, or the number of a tag without one."""
        return NAMES.get(self.number, f"tag {self.number}")


@dataclass(frozen=True)
class TiffFile:
    """An open TIFF.

    Attributes
    ----------
    file : binary file
    size : int
        Bytes.
    order : {"<", ">"}
    big : bool
        BigTIFF.
    """

    file: BinaryIO
    size: int
    order: str
    big: bool

    def directories(self) -> Iterator[dict[int, Tag]]:
        """Yield the tags of the directories, those of sub-directories as well.

        Raises
        ------
        EOFError
            If a directory is beyond the end of the file.
        """
        self.file.seek(8 if self.big else 4)
        waiting, done = [self._unpack("Q" if self.big else "I")], set[int]()
        while waiting and len(done) < MAX_DIRECTORIES:
            start = waiting.pop(0)
            if start == 0 or start in done:
                continue
            done.add(start)
            tags, following = self._directory(start)
            waiting.append(following)
            if (inner := tags.get(SUB_DIRECTORIES)) is not None and inner.end <= self.size:
                waiting.extend(int(v) for v in self.values(inner)[:MAX_DIRECTORIES])
            yield tags

    def values(self, tag: Tag) -> NDArray[np.integer]:
        """Return the values of a tag of integers."""
        return np.frombuffer(self.content(tag), self.order + INTEGERS[tag.kind])

    def content(self, tag: Tag) -> bytes:
        """Return the bytes of the values of a tag."""
        self.file.seek(tag.start)
        return self.file.read(tag.end - tag.start)

    def value(self, tags: dict[int, Tag], number: int, default: int) -> int:
        """Return the only value of a tag of integers; `default` where there is none."""
        tag = tags.get(number)
        if tag is None or tag.kind not in INTEGERS or tag.count < 1 or tag.end > self.size:
            return default
        return int(self.values(tag)[0])

    def _directory(self, start: int) -> tuple[dict[int, Tag], int]:
        if start >= self.size:
            raise EOFError("a directory")
        self.file.seek(start)
        count = self._unpack("Q" if self.big else "H")
        layout = struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))
        content = self.file.read(layout.size * min(count, 2**16))
        if len(content) < layout.size * count:
            raise EOFError("a directory")
        table = self.file.tell() - len(content)
        tags = {}
        for i, (number, kind, length, inline) in enumerate(layout.iter_unpack(content)):
            place = table + (i + 1) * layout.size - len(inline)
            if length * TYPE_BYTES.get(kind, 0) > len(inline):
                (place,) = struct.unpack(self.order + ("Q" if self.big else "I"), inline)
            tags[number] = Tag(number, kind, length, place)
        return tags, self._unpack("Q" if self.big else "I")

    def _unpack(self, kind: str) -> int:
        content = self.file.read(struct.calcsize("=" + kind))
        if len(content) < struct.calcsize("=" + kind):
            raise EOFError("a directory")
        return int(struct.unpack(self.order + kind, content)[0])


def require_complete(path: Path) -> None:
    """Check that a TIFF holds every tag and every block that its directories name.

    Only the directories and the lists of blocks are read. Blocks that a sparse TIFF leaves out are no damage, nor is
    a file that is no TIFF.

    Raises
    ------
    InputError
        If the end of the file is missing.
    """
    with path.open("rb") as file:
        tiff = open_tiff(file, path)
        if tiff is None:
            return
        try:
            missing = next((m for tags in tiff.directories() if (m := _missing(tiff, tags))), None)
        except EOFError as error:
            missing = str(error)
    if missing is not None:
        raise InputError(
            f"{path} has {path.stat().st_size} bytes, and {missing} is beyond its end: the file is truncated, and "
            "metadata or pixels are lost; fetch it again."
        )


def strip_shape(path: Path) -> tuple[int, int] | None:
    """Return rows and columns of a strip of the first image; None for one in tiles, and for a file that is no TIFF.

    GDAL reports rows of a single large strip as its blocks, and unpacks the strip from the start for each.
    """
    with path.open("rb") as file:
        tiff = open_tiff(file, path)
        try:
            tags = None if tiff is None else next(tiff.directories(), None)
        except EOFError:
            return None
        if tiff is None or tags is None or STRIPS[0] not in tags:
            return None
        height, width = tiff.value(tags, LENGTH, 0), tiff.value(tags, WIDTH, 0)
        return min(height, tiff.value(tags, ROWS_PER_STRIP, height)), width


def open_tiff(file: BinaryIO, path: Path) -> TiffFile | None:
    """Return a TIFF whose file is open at its first byte; None if it is no TIFF."""
    head = file.read(4)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 4:
        return None
    (version,) = struct.unpack(order + "H", head[2:])
    return TiffFile(file, path.stat().st_size, order, version == 43) if version in (42, 43) else None


def _missing(tiff: TiffFile, tags: dict[int, Tag]) -> str | None:
    """Return what of a directory is beyond the end of the file; None if nothing is."""
    lost = next((t for t in tags.values() if t.end > tiff.size), None)
    if lost is not None:
        return lost.name
    for starts, sizes in (STRIPS, TILES):
        if starts in tags and sizes in tags and _lacks_block(tiff, tags, tags[starts], tags[sizes]):
            return "a block"
    return None


def _lacks_block(tiff: TiffFile, tags: dict[int, Tag], starts: Tag, sizes: Tag) -> bool:
    if {starts.kind, sizes.kind} - INTEGERS.keys() or not 0 < starts.count == sizes.count <= MAX_BLOCKS:
        return False
    begin, length = (tiff.values(t).astype(np.uint64) for t in (starts, sizes))
    if tiff.value(tags, COMPRESSION, NOT_COMPRESSED) == NOT_COMPRESSED:
        # Some writers state the size of a whole strip for a last one of fewer rows.
        length[np.argmax(begin)] = 1
    stored = (begin > 0) & (length > 0)
    return bool((begin[stored] + length[stored] > tiff.size).any())
