"""A guide on the target grid, window by window: nested in it, warped to it, stacked or displaced.

Every guide is read through its `Source`, so nodata, masks, scale and band choice are settled
before anything is resampled, and one way of resampling serves files, stores and arrays alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import dask.array as da
import numpy as np
from affine import Affine
from dask.delayed import delayed
from dask.tokenize import tokenize
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from dualsr_geo.raster import grid
from dualsr_geo.raster.resampling import resample
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.source import Source
from dualsr_geo.raster.windows import Window
from dualsr_geo.serialization import to_json

# Guide pixels around a window's outline: 3 for the cubic kernel at its widest, the rest for
# outlines that bend between the points where they are sampled.
MARGIN_PX = 8
# Guide values resampled at once, 64 MiB of float32, however much finer the guide is.
MAX_VALUES = 2**24
# What `array` covers beyond the target, and the side of its chunks, in target pixels.
ARRAY_MARGIN_PX = 64
ARRAY_CHUNK_PX = 512


class Displacement(Protocol):
    """How far a guide's content is displaced, place by place; `registration.displacement_field` estimates one."""

    @property
    def margin_px(self) -> int:
        """How many hr pixels around a window `moved` reads."""
        ...

    def moved(self, guide: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
        """Return the guide of a window, read with the margin, with its content moved to where it belongs."""
        ...


class Guide(Protocol):
    """A guide on the target grid; picklable, opened where it is read."""

    @property
    def count(self) -> int:
        """Number of bands."""
        ...

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return a window of the target grid, shape (band, y, x), NaN where no guide is.

        The window may leave the target grid on any side.
        """
        ...

    def near(self, window: Window) -> Guide:
        """Return this guide holding no more of an array than the window needs."""
        ...

    def fingerprint(self) -> dict[str, object]:
        """Return what tells this guide from a changed one, fit for JSON."""
        ...


@dataclass(frozen=True)
class NestedGuide:
    """A guide on the target's lattice.

    Attributes
    ----------
    source : Source
    offset : tuple of int
        Row and column of the source where the target's first pixel lies.
    shape : tuple of int
        Rows and columns of the target.
    """

    source: Source
    offset: tuple[int, int]
    shape: tuple[int, int]

    @property
    def count(self) -> int:
        """Number of bands."""
        return self.source.shape[0]

    @property
    def array(self) -> da.Array:
        """The whole guide as a dask array; see `align.on_grid`."""
        return _lazy(self, self.shape)

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return a window of the target grid; see `Guide.read`."""
        wanted = window.moved(*self.offset)
        part = wanted.clipped(self.source.shape[1:])
        out = np.full((self.count, *window.shape), np.nan, np.float32)
        if all(part.shape):
            out[:, *part.within(wanted).slices] = self.source.read(part)
        return out

    def near(self, window: Window) -> NestedGuide:
        """Return this guide holding no more of an array than the window needs."""
        part = window.moved(*self.offset).clipped(self.source.shape[1:])
        row, column = self.offset
        return replace(self, source=self.source.crop(part), offset=(row - part.y0, column - part.x0))

    def fingerprint(self) -> dict[str, object]:
        """Return the source's fingerprint and where it is read."""
        return {**self.source.fingerprint(), "offset": list(self.offset)}


@dataclass(frozen=True)
class WarpedGuide:
    """A guide on any other grid.

    Attributes
    ----------
    source : Source
    box, target : GeoBox
        The source's grid and the target grid.
    finer : float
        How many guide pixels lie along a side of a target pixel.
    """

    source: Source
    box: GeoBox
    target: GeoBox
    finer: float

    @property
    def count(self) -> int:
        """Number of bands."""
        return self.source.shape[0]

    @property
    def array(self) -> da.Array:
        """The whole guide as a dask array; see `align.on_grid`."""
        height, width = self.target.shape
        return _lazy(self, (height, width))

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return a window of the target grid; see `Guide.read`."""
        out = np.full((self.count, *window.shape), np.nan, np.float32)
        for piece in self._pieces(window):
            part = self._footprint(piece)
            if all(part.shape):
                values = self.source.read(part)
                boxes = _crop(self.box, part), _crop(self.target, piece)
                out[:, *piece.within(window).slices] = resample(values, *boxes, self.finer)
        return out

    def near(self, window: Window) -> WarpedGuide:
        """Return this guide holding no more of an array than the window needs."""
        part = self._footprint(window)
        return replace(self, source=self.source.crop(part), box=_crop(self.box, part))

    def fingerprint(self) -> dict[str, object]:
        """Return the source's fingerprint and both grids."""
        grids = {"box": _describe(self.box), "target": _describe(self.target)}
        return {**self.source.fingerprint(), **grids}

    def _pieces(self, window: Window) -> Iterator[Window]:
        """Halve a window until what it needs fits in `MAX_VALUES`."""
        rows, columns = self._footprint(window).shape
        height, width = window.shape
        if self.count * max(rows * columns, height * width) <= MAX_VALUES or height == width == 1:
            yield window
        else:
            for half in _halves(window):
                yield from self._pieces(half)

    def _footprint(self, window: Window) -> Window:
        """Return the guide pixels that a window of the target needs; empty where there are none."""
        rows = np.linspace(window.y0, window.y1, 21)
        columns = np.linspace(window.x0, window.x1, 21)
        x, y = _apply(self.target.affine, *(a.ravel() for a in np.meshgrid(columns, rows)))
        ours, theirs = self.target.crs, self.box.crs
        if ours is not None and theirs is not None and ours != theirs:
            x, y = ours.transformer_to_crs(theirs)(x, y)
        x, y = _apply(~self.box.affine, x, y)
        known = np.isfinite(x) & np.isfinite(y)
        if not known.any():
            return Window(0, 0, 0, 0)
        low_y, high_y = math.floor(y[known].min()), math.ceil(y[known].max())
        low_x, high_x = math.floor(x[known].min()), math.ceil(x[known].max())
        return Window(low_y, high_y, low_x, high_x).grown(MARGIN_PX).clipped(self.source.shape[1:])


@dataclass(frozen=True)
class StackedGuide:
    """Several guides as one, bands in their order.

    Attributes
    ----------
    parts : tuple of Nested or WarpedGuide
    """

    parts: tuple[NestedGuide | WarpedGuide, ...]

    @property
    def count(self) -> int:
        """Number of bands."""
        return sum(part.count for part in self.parts)

    @property
    def array(self) -> da.Array:
        """All guides as one dask array; see `align.on_grid`."""
        array: da.Array = da.concatenate([part.array for part in self.parts])
        return array

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return a window of the target grid; see `Guide.read`."""
        return np.concatenate([part.read(window) for part in self.parts])

    def near(self, window: Window) -> StackedGuide:
        """Return these guides holding no more of an array than the window needs."""
        return StackedGuide(tuple(part.near(window) for part in self.parts))

    def fingerprint(self) -> dict[str, object]:
        """Return the fingerprint of every part."""
        return {"guides": [part.fingerprint() for part in self.parts]}


@dataclass(frozen=True)
class DisplacedGuide:
    """A guide on the target grid whose content a field moves to where it belongs.

    Attributes
    ----------
    guide : Guide
    field : Displacement
    """

    guide: Guide
    field: Displacement

    @property
    def count(self) -> int:
        """Number of bands."""
        return self.guide.count

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return a window of the target grid; see `Guide.read`."""
        return self.field.moved(self.guide.read(window.grown(self.field.margin_px)), window)

    def near(self, window: Window) -> DisplacedGuide:
        """Return this guide holding no more of an array than the window needs."""
        return replace(self, guide=self.guide.near(window.grown(self.field.margin_px)))

    def fingerprint(self) -> dict[str, object]:
        """Return the guide's fingerprint and the field."""
        return {**self.guide.fingerprint(), "field": to_json(self.field)}


def displaced_guide(guide: Guide, field: Displacement | None) -> Guide:
    """Return a guide with its content moved by a field; as it is where there is none."""
    return guide if field is None else DisplacedGuide(guide, field)


def _apply(
    affine: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def _crop(box: GeoBox, window: Window) -> GeoBox:
    """Return a window of a grid, which may leave it."""
    return GeoBox(window.shape, box.affine @ Affine.translation(window.x0, window.y0), box.crs)


def _describe(box: GeoBox) -> list[object]:
    return [str(box.crs), list(box.affine[:6]), list(box.shape)]


def _halves(window: Window) -> tuple[Window, Window]:
    height, width = window.shape
    if height >= width:
        middle = window.y0 + height // 2
        return replace(window, y1=middle), replace(window, y0=middle)
    middle = window.x0 + width // 2
    return replace(window, x1=middle), replace(window, x0=middle)


def _lazy(guide: NestedGuide | WarpedGuide, shape: tuple[int, int]) -> da.Array:
    """Return a guide as a dask array over the target grid grown by `ARRAY_MARGIN_PX`."""
    covered = Window(0, shape[0], 0, shape[1]).grown(ARRAY_MARGIN_PX)
    side, token = ARRAY_CHUNK_PX, tokenize(guide.fingerprint())

    def block(y: int, x: int) -> da.Array:
        window = Window(y, min(y + side, covered.y1), x, min(x + side, covered.x1))
        # Named by the fingerprint, because dask's own name would hash, and so read, every piece.
        values = delayed(_read)(guide.near(window), window, dask_key_name=f"guide-{token}-{y}-{x}")
        chunk: da.Array = da.from_delayed(values, (guide.count, *window.shape), np.float32)
        return chunk

    columns = range(covered.x0, covered.x1, side)
    rows = [[block(y, x) for x in columns] for y in range(covered.y0, covered.y1, side)]
    array: da.Array = da.block(rows)
    return array


def _read(guide: Guide, window: Window) -> NDArray[np.float32]:
    return guide.read(window)


def on_grid(guides: Sequence[Scene], target: GeoBox) -> NestedGuide | WarpedGuide | StackedGuide:
    """Put guides on the target grid, lazily.

    A guide on the target's own lattice is read as it is, to the bit. Any other is resampled:
    averaged where its pixels are finer than the target's by more than `AVERAGE_ABOVE`, else
    by cubic convolution. A window costs what it covers, whatever the guide's size.

    Beside `Guide`'s own, what is returned has ``near(window)``, the same guide holding no more of
    an array than that window needs, and ``array``, the whole guide as dask array (band, y, x),
    which covers the target grid and `ARRAY_MARGIN_PX` more on every side.

    Parameters
    ----------
    guides : sequence of Scene
        One or more; stacked along band.
    target : GeoBox
        The grid of the product, from `grid.refine`.

    Returns
    -------
    NestedGuide, Warped or Stacked
        A `Guide`.

    Raises
    ------
    GridError
        If a guide lies elsewhere, or only one of guide and scene is georeferenced.
    """
    parts = tuple(_place(guide, target) for guide in guides)
    return parts[0] if len(parts) == 1 else StackedGuide(parts)


def _place(guide: Scene, target: GeoBox) -> NestedGuide | WarpedGuide:
    box = _box_of(guide, target)
    grid.require_same_world(target, box)
    offset = grid.offset_px(target, box)
    if offset is None:
        return WarpedGuide(guide.source, box, target, grid.gsd(target) / grid.gsd(box, like=target))
    height, width = target.shape
    return NestedGuide(guide.source, offset, (height, width))


def _box_of(guide: Scene, target: GeoBox) -> GeoBox:
    """Return the guide's grid; beside a bare scene a bare guide covers the scene's extent."""
    ratio = round(1 / target.affine.a) if target.affine.a > 0 else 0
    if ratio < 1 or not grid.is_bare(guide.geobox):
        return guide.geobox
    scene = grid.coarsen(target, ratio)
    if not grid.is_bare(scene):
        return guide.geobox
    _, rows, columns = guide.source.shape
    return grid.same_extent(scene, (rows, columns))
