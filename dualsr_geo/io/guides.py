"""Guides on the target grid, read by window: nested in its lattice, warped to it, stacked or displaced.

Every guide is read through its `Source`, so nodata, masks, scale and band choice are resolved before
anything is resampled, and files, stores and arrays are resampled in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from dualsr_geo.raster.resampling import resample
from dualsr_geo.raster.source import BaseSource, Source
from dualsr_geo.raster.windows import Window
from dualsr_geo.serialization import to_json

# Guide pixels around the outline of a window: 3 for the cubic kernel at its widest, the rest for
# outlines that are curved between the points where they are sampled.
MARGIN_PX = 8
# Points along each side of a window where its outline is projected.
OUTLINE_POINTS = 21
# Pixels of a guide that are larger than this, in pixels of the target grid, blur it.
LARGEST_SHARP = 1.5
# Guide values resampled at once, 64 MiB of float32, however much finer the guide is.
MAX_VALUES = 2**24


class Displacement(Protocol):
    """Displacement of a guide's content at every place; `registration.displacement_field` estimates one."""

    @property
    def margin_px(self) -> int:
        """How many hr pixels around a window `moved` reads."""
        ...

    def moved(self, guide: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
        """Return the guide of a window with its displacement undone; it is read with the margin."""
        ...


class Guide(Protocol):
    """A guide on the target grid; picklable, opened where it is read."""

    @property
    def count(self) -> int:
        """Number of bands."""
        ...

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return a window of the target grid, shape (band, y, x), NaN where the guide has no value.

        The window may extend beyond the target grid on any side.
        """
        ...

    def near(self, window: Window) -> Guide:
        """Return this guide with no more of an array than the window needs."""
        ...

    def fingerprint(self) -> dict[str, object]:
        """Return values that identify the guide and its placement, fit for JSON."""
        ...


@dataclass(frozen=True)
class NestedGuide:
    """A guide on the target's lattice, read to the bit.

    Attributes
    ----------
    source : Source
    offset : tuple of int
        Row and column of the source at the target's first pixel.
    """

    source: Source
    offset: tuple[int, int]

    @property
    def count(self) -> int:
        """Number of bands."""
        return self.source.shape[0]

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return a window of the target grid; see `Guide.read`."""
        wanted = window.moved(*self.offset)
        part = wanted.clipped(self.source.shape[1:])
        out = np.full((self.count, *window.shape), np.nan, np.float32)
        if all(part.shape):
            out[:, *part.within(wanted).slices] = self.source.read(part)
        return out

    def near(self, window: Window) -> NestedGuide:
        """Return this guide with no more of an array than the window needs."""
        part = window.moved(*self.offset).clipped(self.source.shape[1:])
        row, column = self.offset
        return NestedGuide(self.source.crop(part), (row - part.y0, column - part.x0))

    def fingerprint(self) -> dict[str, object]:
        """Return the fingerprint of the source, and the offset."""
        return {**self.source.fingerprint(), "offset": list(self.offset)}


@dataclass(frozen=True)
class WarpedGuide:
    """A guide on any other grid, resampled to the target grid.

    Attributes
    ----------
    source : Source
    box, target : GeoBox
        The grid of the source and the target grid.
    oversampling : float
        Guide pixels along a side of a target pixel.
    """

    source: Source
    box: GeoBox
    target: GeoBox
    oversampling: float

    @property
    def count(self) -> int:
        """Number of bands."""
        return self.source.shape[0]

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return a window of the target grid; see `Guide.read`."""
        out = np.full((self.count, *window.shape), np.nan, np.float32)
        for piece in self._pieces(window):
            part = self._footprint(piece)
            if all(part.shape):
                values = self.source.read(part)
                boxes = _crop(self.box, part), _crop(self.target, piece)
                out[:, *piece.within(window).slices] = resample(values, *boxes, self.oversampling)
        return out

    def near(self, window: Window) -> WarpedGuide:
        """Return this guide with no more of an array than the window needs."""
        part = self._footprint(window)
        return replace(self, source=self.source.crop(part), box=_crop(self.box, part))

    def fingerprint(self) -> dict[str, object]:
        """Return the fingerprint of the source, and both grids."""
        grids = {"box": _describe(self.box), "target": _describe(self.target)}
        return {**self.source.fingerprint(), **grids}

    def _pieces(self, window: Window) -> Iterator[Window]:
        """Halve a window until the guide values that it needs fit in `MAX_VALUES`."""
        rows, columns = self._footprint(window).shape
        height, width = window.shape
        if self.count * max(rows * columns, height * width) <= MAX_VALUES or height == width == 1:
            yield window
        else:
            for half in _halves(window):
                yield from self._pieces(half)

    def _footprint(self, window: Window) -> Window:
        """Return the guide pixels that a window of the target needs; empty where there are none."""
        rows = np.linspace(window.y0, window.y1, OUTLINE_POINTS)
        columns = np.linspace(window.x0, window.x1, OUTLINE_POINTS)
        x, y = _apply(self.target.affine, *(a.ravel() for a in np.meshgrid(columns, rows)))
        target_crs, guide_crs = self.target.crs, self.box.crs
        if target_crs is not None and guide_crs is not None and target_crs != guide_crs:
            x, y = target_crs.transformer_to_crs(guide_crs)(x, y)
        x, y = _apply(~self.box.affine, x, y)
        finite = np.isfinite(x) & np.isfinite(y)
        if not finite.any():
            return Window(0, 0, 0, 0)
        low_y, high_y = math.floor(y[finite].min()), math.ceil(y[finite].max())
        low_x, high_x = math.floor(x[finite].min()), math.ceil(x[finite].max())
        return Window(low_y, high_y, low_x, high_x).grown(MARGIN_PX).clipped(self.source.shape[1:])


@dataclass(frozen=True)
class StackedGuide:
    """Several guides as one, bands in their order.

    Attributes
    ----------
    parts : tuple of NestedGuide or WarpedGuide
    """

    parts: tuple[NestedGuide | WarpedGuide, ...]

    @property
    def count(self) -> int:
        """Number of bands."""
        return sum(part.count for part in self.parts)

    @property
    def estimated(self) -> tuple[int, ...]:
        """Numbers of the guides that are estimates."""
        return tuple(
            i for i, part in enumerate(self.parts) if isinstance(part.source, BaseSource) and part.source.estimated
        )

    @property
    def sharp(self) -> tuple[int, ...]:
        """Numbers of the guides whose pixels are no larger than those of the target grid."""
        sizes = [1 / part.oversampling if isinstance(part, WarpedGuide) else 1.0 for part in self.parts]
        return tuple(i for i, size in enumerate(sizes) if size <= max(min(sizes), LARGEST_SHARP))

    def read(self, window: Window) -> NDArray[np.float32]:
        """Return a window of the target grid; see `Guide.read`."""
        return np.concatenate([part.read(window) for part in self.parts])

    def near(self, window: Window) -> StackedGuide:
        """Return these guides with no more of an array than the window needs."""
        return StackedGuide(tuple(part.near(window) for part in self.parts))

    def fingerprint(self) -> dict[str, object]:
        """Return the fingerprint of every part."""
        return {"guides": [part.fingerprint() for part in self.parts]}


@dataclass(frozen=True)
class DisplacedGuide:
    """A guide on the target grid with the displacement of its content undone.

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
        """Return this guide with no more of an array than the window needs."""
        return replace(self, guide=self.guide.near(window.grown(self.field.margin_px)))

    def fingerprint(self) -> dict[str, object]:
        """Return the fingerprint of the guide, and the field."""
        return {**self.guide.fingerprint(), "field": to_json(self.field)}


def displaced_guide(guide: Guide, field: Displacement | None) -> Guide:
    """Return a guide with its displacement undone; unchanged where the field is None."""
    return guide if field is None else DisplacedGuide(guide, field)


def _apply(
    affine: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # A position that a projection does not have is infinite.
    with np.errstate(invalid="ignore"):
        return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def _crop(box: GeoBox, window: Window) -> GeoBox:
    """Return the grid of a window, which may extend beyond the box."""
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
