"""Dask arrays as tiles need them: which chunks lie under a window, and the window put together from them.

Slicing a dask array makes new tasks, which takes milliseconds; a scene of 10^5 tiles has a tenth of one for each.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dualsr_geo.io.guides import Guide, NestedGuide, StackedGuide, WarpedGuide
from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.raster.source import Source
from dualsr_geo.raster.windows import Window

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Chunks:
    """Where the chunks of a dask array (band, y, x) lie.

    Attributes
    ----------
    name : str
        Of the dask array; its keys begin with it.
    edges : tuple of tuple of int
        Where chunks begin along each axis, and the axis' length.
    dtype : dtype
    """

    name: str
    edges: tuple[tuple[int, ...], ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, array: da.Array) -> Chunks:
        """Return those of an array."""
        edges = tuple((0, *(int(e) for e in np.cumsum(sizes))) for sizes in array.chunks)
        return cls(array.name, edges, array.dtype)

    @property
    def side(self) -> int:
        """Rows or columns of the largest chunk, whichever are fewer."""
        return min(max((int(n) for n in np.diff(edges)), default=1) for edges in self.edges[1:])

    def under(self, window: Window) -> list[Key]:
        """Return the keys of the chunks that a window touches, all their bands, in row-major order."""
        bands = range(len(self.edges[0]) - 1)
        spans = zip(self.edges[1:], window.slices, strict=True)
        rows, columns = (range(bisect_right(e, s.start) - 1, bisect_left(e, s.stop)) for e, s in spans)
        if not all(window.shape):
            return []
        return [(self.name, b, i, j) for b in bands for i in rows for j in columns]


@dataclass(frozen=True)
class ChunkView:
    """A window of a chunked array: where it lies, not what it holds; cut further like the array itself."""

    chunks: Chunks
    window: Window

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return (self.chunks.edges[0][-1], *self.window.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""
        return self.chunks.dtype

    def __getitem__(self, at: tuple[slice, slice, slice]) -> ChunkView:
        _, rows, columns = at
        inside = Window(rows.start, rows.stop, columns.start, columns.stop)
        return replace(self, window=inside.moved(self.window.y0, self.window.x0))

    def filled(self, blocks: Sequence[NDArray[Any]]) -> xr.DataArray:
        """Return the window's values, given the chunks that `Chunks.under` names."""
        keys = self.chunks.under(self.window)
        if len(keys) == 1:
            # A view: pieces of one chunk share it.
            values = blocks[0][:, *self.window.within(self._place(keys[0])).slices]
            return xr.DataArray(values, dims=("band", "y", "x"))
        out = np.empty(self.shape, self.dtype)
        for key, block in zip(keys, blocks, strict=True):
            first, place = self.chunks.edges[0][int(key[1])], self._place(key)
            seen = _common(place, self.window)
            inside = block[:, *seen.within(place).slices]
            out[first : first + len(inside), *seen.within(self.window).slices] = inside
        return xr.DataArray(out, dims=("band", "y", "x"))

    def _place(self, key: Key) -> Window:
        (_, rows, columns), (_, _, i, j) = self.chunks.edges, map(int, (0, *key[1:]))
        return Window(rows[i], rows[i + 1], columns[j], columns[j + 1])


def _common(a: Window, b: Window) -> Window:
    return Window(max(a.y0, b.y0), min(a.y1, b.y1), max(a.x0, b.x0), min(a.x1, b.x1))


def unfilled(source: Source) -> tuple[Source, da.Array | None]:
    """Return a source of an array as one of its parts, and the dask array; any other as it is.

    An array in memory becomes a dask array of one chunk, so that pieces of it are no copies in a graph.
    """
    if not isinstance(source, ArraySource):
        return source, None
    array = source.array if source.array.chunks is not None else source.array.chunk()
    lazy: da.Array = array.data
    whole = ChunkView(Chunks.of(lazy), Window(0, lazy.shape[1], 0, lazy.shape[2]))
    return replace(source, array=cast("xr.DataArray", whole)), lazy


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
    """A piece of scene and guide, whose arrays are parts until they are filled.

    Attributes
    ----------
    scene : Source
    place : Window
        The piece, in the coordinates of the whole scene.
    guide : Guide or None
        On the target grid of the whole scene.
    cut : bool
        Whether `scene` holds no more than the piece.
    """

    scene: Source
    place: Window
    guide: Guide | None
    cut: bool = False

    def near(self, window: Window, ratio: int, margin: int) -> InputPiece:
        """Return the piece that a window needs, with that many hr pixels of the guide around it."""
        guide = None if self.guide is None else self.guide.near(window.scaled(ratio).grown(margin))
        if not isinstance(self.scene, ArraySource):
            return InputPiece(self.scene, window, guide)
        array = self.scene.array[:, *window.within(self.place).slices]
        return InputPiece(replace(self.scene, array=array), window, guide, cut=True)

    def keys(self) -> list[Key]:
        """Return the chunks that `filled` needs."""
        found: list[Key] = []

        def look(source: Source) -> Source:
            if isinstance(source, ArraySource) and isinstance(source.array, ChunkView):
                found.extend(source.array.chunks.under(source.array.window))
            return source

        self._changed(look)
        return found

    def filled(self, blocks: Sequence[NDArray[Any]]) -> InputPiece:
        """Return the piece with its values, given the chunks that `keys` names."""
        left = iter(blocks)
        return self._changed(lambda source: _filled(source, left))

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return the scene in a window of the piece, (band, y, x), physical units, NaN where nothing is."""
        return self.scene.read(window.within(self.place) if self.cut else window)

    def _changed(self, change: Callable[[Source], Source]) -> InputPiece:
        guide = None if self.guide is None else with_sources(self.guide, change)
        return replace(self, scene=change(self.scene), guide=guide)


def _filled(source: Source, left: Iterator[NDArray[Any]]) -> Source:
    if not isinstance(source, ArraySource) or not isinstance(source.array, ChunkView):
        return source
    part = source.array
    return replace(source, array=part.filled([next(left) for _ in part.chunks.under(part.window)]))
