"""Windows of dask arrays without slicing: the chunks that a window touches, and its values from those chunks.

Slicing a dask array makes new tasks, which takes milliseconds; a scene of 10^5 tiles has a tenth of one for each.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import islice
from typing import Any, cast

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dualsr_geo.io.guides import Guide, NestedGuide, StackedGuide, WarpedGuide
from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.packing import Decoding
from dualsr_geo.raster.source import BaseSource, Source
from dualsr_geo.raster.windows import Window

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Chunks:
    """The chunks of a dask array (band, y, x).

    Attributes
    ----------
    name : str
        Name of the dask array, with which its keys begin.
    edges : tuple of tuple of int
        Starts of the chunks along each axis, and the length of the axis.
    dtype : dtype
    """

    name: str
    edges: tuple[tuple[int, ...], ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, array: da.Array) -> Chunks:
        """Return the chunks of an array."""
        edges = tuple((0, *(int(e) for e in np.cumsum(sizes))) for sizes in array.chunks)
        return cls(array.name, edges, array.dtype)

    @property
    def side(self) -> int:
        """The shorter side of the largest chunk, pixels."""
        return min(max((int(n) for n in np.diff(edges)), default=1) for edges in self.edges[1:])

    def touched_by(self, window: Window) -> list[Key]:
        """Return the keys of the chunks that a window touches, all their bands, in row-major order."""
        bands = range(len(self.edges[0]) - 1)
        spans = zip(self.edges[1:], window.slices, strict=True)
        rows, columns = (range(bisect_right(e, s.start) - 1, bisect_left(e, s.stop)) for e, s in spans)
        if not all(window.shape):
            return []
        return [(self.name, b, i, j) for b in bands for i in rows for j in columns]


@dataclass(frozen=True)
class ChunkedSource(BaseSource):
    """A window of a chunked array without its values, which `filled` adds; cropped like the array itself.

    Attributes
    ----------
    chunks : Chunks
    window : Window
        In the coordinates of the whole array.
    decoding : Decoding
    """

    chunks: Chunks
    window: Window
    decoding: Decoding

    @classmethod
    def of(cls, source: ArraySource) -> tuple[ChunkedSource, da.Array]:
        """Return the source of an array without its values, and the dask array that has them.

        An array in memory becomes a dask array of one chunk, so that a graph has no copies of its pieces.
        """
        array = source.array if source.array.chunks is not None else source.array.chunk()
        lazy: da.Array = array.data
        return cls(Chunks.of(lazy), Window(0, lazy.shape[1], 0, lazy.shape[2]), source.decoding), lazy

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return (self.chunks.edges[0][-1], *self.window.shape)

    @property
    def masked(self) -> bool:
        """Whether the array can hold NaN."""
        return self.chunks.dtype.kind == "f"

    def crop(self, window: Window) -> ChunkedSource:
        """Return the source of a window of this window."""
        return replace(self, window=window.moved(self.window.y0, self.window.x0))

    def normalized(self, normalization: Normalization) -> ChunkedSource:
        """Return the source whose values are shifted and scaled."""
        return replace(self, decoding=self.decoding.normalized(normalization))

    def keys(self) -> list[Key]:
        """Return the chunks that `filled` needs."""
        return self.chunks.touched_by(self.window)

    def filled(self, blocks: Sequence[NDArray[Any]]) -> ArraySource:
        """Return the source with its values, given the chunks that `keys` names."""
        return ArraySource(xr.DataArray(self._values(blocks), dims=("band", "y", "x")), self.decoding)

    def files_read(self) -> tuple[str, ...]:
        """Return nothing: only the maker of an array knows which files it reads."""
        return ()

    def fingerprint(self) -> dict[str, object]:
        """Return the name of the array, which dask makes of its content, and the window."""
        return {"array": self.chunks.name, "window": list(astuple(self.window))}

    def select(self, indices: Sequence[int]) -> ChunkedSource:
        """Raise TypeError: bands are selected from the array, before its values are left out."""
        raise TypeError(f"{self.chunks.name} has no values; fill it to select bands {list(indices)}")

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        raise TypeError(f"{self.chunks.name} has no values; fill it to read bands {list(bands)} of {window}")

    def _values(self, blocks: Sequence[NDArray[Any]]) -> NDArray[Any]:
        keys = self.keys()
        if len(keys) == 1:
            # A view: pieces of one chunk share it.
            view: NDArray[Any] = blocks[0][:, *self.window.within(self._extent(keys[0])).slices]
            return view
        values = np.empty(self.shape, self.chunks.dtype)
        for key, block in zip(keys, blocks, strict=True):
            first, extent = self.chunks.edges[0][int(key[1])], self._extent(key)
            overlap = _intersection(extent, self.window)
            part = block[:, *overlap.within(extent).slices]
            values[first : first + len(part), *overlap.within(self.window).slices] = part
        return values

    def _extent(self, key: Key) -> Window:
        (_, rows, columns), (_, _, i, j) = self.chunks.edges, map(int, (0, *key[1:]))
        return Window(rows[i], rows[i + 1], columns[j], columns[j + 1])


def _intersection(a: Window, b: Window) -> Window:
    return Window(max(a.y0, b.y0), min(a.y1, b.y1), max(a.x0, b.x0), min(a.x1, b.x1))


def with_sources(guide: Guide, change: Callable[[Source], Source]) -> Guide:
    """Return a guide whose sources are changed one by one."""
    if isinstance(guide, StackedGuide):
        return StackedGuide(
            tuple(cast("NestedGuide | WarpedGuide", with_sources(part, change)) for part in guide.parts)
        )
    if isinstance(guide, NestedGuide | WarpedGuide):
        return replace(guide, source=change(guide.source))
    raise TypeError(type(guide).__name__)


@dataclass(frozen=True)
class InputPiece:
    """A piece of scene and guide, whose arrays have no values until `filled` adds them.

    Attributes
    ----------
    scene : Source
        Of the piece.
    window : Window
        The piece, in the coordinates of the whole scene, lr pixels.
    guide : Guide or None
        On the target grid of the whole scene.
    guide_window : Window or None
        The window of `guide` that the piece holds, hr pixels; None for the whole guide.
    """

    scene: Source
    window: Window
    guide: Guide | None
    guide_window: Window | None = None

    def near(self, window: Window, ratio: int, margin: int) -> InputPiece:
        """Return the piece of a window, with the guide of the window and `margin` hr pixels around it."""
        around = window.scaled(ratio).grown(margin)
        guide = None if self.guide is None else self.guide.near(around)
        return InputPiece(self.scene.crop(window.within(self.window)), window, guide, around)

    def keys(self) -> list[Key]:
        """Return the chunks that `filled` needs."""
        keys: list[Key] = []

        def collect(source: Source) -> Source:
            if isinstance(source, ChunkedSource):
                keys.extend(source.keys())
            return source

        self._changed(collect)
        return keys

    def filled(self, blocks: Sequence[NDArray[Any]]) -> InputPiece:
        """Return the piece with its values, given the chunks that `keys` names."""
        remaining = iter(blocks)

        def fill(source: Source) -> Source:
            if not isinstance(source, ChunkedSource):
                return source
            return source.filled(list(islice(remaining, len(source.keys()))))

        return self._changed(fill)

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return the scene in a window of the piece, (band, y, x), physical units, NaN where there is no value."""
        return self.scene.read(window.within(self.window))

    def _changed(self, change: Callable[[Source], Source]) -> InputPiece:
        guide = None if self.guide is None else with_sources(self.guide, change)
        return replace(self, scene=change(self.scene), guide=guide)


@dataclass(frozen=True)
class PieceReader:
    """Reads windows from filled pieces, each from the smallest piece that covers it.

    Attributes
    ----------
    pieces : tuple of InputPiece
    """

    pieces: tuple[InputPiece, ...]

    def read_scene(self, window: Window) -> NDArray[np.float32]:
        """Return a window of the scene; see `InputReader.read_scene`."""
        return self._piece(lambda piece: _covers(piece.window, window)).read(window)

    def read_guide(self, window: Window) -> NDArray[np.float32] | None:
        """Return a window of the guide; see `InputReader.read_guide`."""
        piece = self._piece(lambda piece: piece.guide_window is None or _covers(piece.guide_window, window))
        return None if piece.guide is None else piece.guide.read(window)

    def normalized(self, normalization: Normalization) -> PieceReader:
        """Return the reader of a shifted and scaled scene; see `InputReader.normalized`."""
        pieces = (replace(piece, scene=piece.scene.normalized(normalization)) for piece in self.pieces)
        return PieceReader(tuple(pieces))

    def _piece(self, covers: Callable[[InputPiece], bool]) -> InputPiece:
        return min((piece for piece in self.pieces if covers(piece)), key=lambda piece: math.prod(piece.window.shape))


def _covers(outer: Window, window: Window) -> bool:
    return _intersection(outer, window) == window
