"""The product of a scene, computed window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from dualsr_geo.engine.inputs import InputReader, read_tile
from dualsr_geo.engine.tile_errors import errors_of, place_of
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.errors import BandError
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.windows import Tile, Tiling, Window

# Bands that are computed together, as in a product on disk: other groups change the last bits.
BANDS_AT_ONCE = 16


@dataclass(frozen=True)
class WindowSharpener:
    """Computes windows of a product; picklable, and safe to use from several threads.

    Attributes
    ----------
    scene : Scene
    target : GeoBox
        The grid of the product.
    reader : InputReader
        Reads the scene and its guide.
    context : TileContext
        What all windows share.
    by_tiles : bool
        Whether windows are cut from the tiles of a run.
    """

    scene: Scene
    target: GeoBox
    reader: InputReader
    context: TileContext
    by_tiles: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands (standard deviations included), rows and columns of the product."""
        height, width = (int(n) for n in self.target.shape)
        return self.count, height, width

    @property
    def count(self) -> int:
        """Bands of the product; with uncertainty the standard deviations follow, as many again."""
        return self.context.count * (1 + (self.context.survey.uncertainty is not None))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values."""
        return np.dtype(self.context.packing.dtype)

    def read(self, window: Window, bands: Sequence[int] | None = None) -> NDArray[np.generic]:
        """Return stored values of the product, (band, Y, X).

        Parameters
        ----------
        window : Window
            Of the product, inside its grid.
        bands : sequence of int, optional
            Zero-based; all bands by default.

        Raises
        ------
        BandError
            If there is no such band.
        """
        chosen = list(range(self.count)) if bands is None else list(bands)
        if not chosen or not all(0 <= band < self.count for band in chosen):
            raise BandError(
                f"Bands {[b + 1 for b in chosen]} are not all among the {self.count} of the product. Give others."
            )
        out = np.empty((len(chosen), *window.shape), self.dtype)
        for tile in self._tiles(window):
            values = self._sharpened(tile, chosen)
            extent = tile.core.scaled(self.context.ratio)
            part = _common(extent, window)
            out[:, *part.within(window).slices] = values[:, *part.within(extent).slices]
        return out

    def _tiles(self, window: Window) -> Iterator[Tile]:
        """Yield the tiles that a window needs: its pieces, or tiles of a run."""
        context = self.context
        lr = _covering(window, context.ratio)
        if self.by_tiles:
            yield from _touched(context.tiling, lr)
            return
        block, side = context.model.block, context.tile
        y0, x0 = (start // block * block for start in (lr.y0, lr.x0))
        y1, x1 = (-(-end // block) * block for end in (lr.y1, lr.x1))
        for y, x in product(range(y0, y1, side), range(x0, x1, side)):
            core = Window(y, min(y + side, y1), x, min(x + side, x1)).clipped(context.shape)
            yield Tile(0, core, core.grown(context.model.halo).clipped(context.shape))

    def _sharpened(self, tile: Tile, bands: Sequence[int]) -> NDArray[np.generic]:
        context = self.context
        with errors_of(lambda: f"The window ({place_of(tile.core)})"):
            cube, guide = read_tile(self.reader, context, tile)
            ranges = _ranges(bands, context.count)
            out: dict[int, NDArray[np.generic]] = {}
            for rows, stored in sharpen_tile(context, tile, cube, guide, TileStatistics(context.count), ranges):
                out |= {band: stored[band - rows.start] for band in range(rows.start, rows.stop) if band in bands}
        return np.stack([out[band] for band in bands])


def _covering(window: Window, ratio: int) -> Window:
    """Return the lr pixels that a window of the product touches."""
    return Window(window.y0 // ratio, -(-window.y1 // ratio), window.x0 // ratio, -(-window.x1 // ratio))


def _common(a: Window, b: Window) -> Window:
    return Window(max(a.y0, b.y0), min(a.y1, b.y1), max(a.x0, b.x0), min(a.x1, b.x1))


def _touched(tiling: Tiling, lr: Window) -> Iterator[Tile]:
    rows, columns = (
        range(lr.y0 // tiling.size, -(-lr.y1 // tiling.size)),
        range(lr.x0 // tiling.size, -(-lr.x1 // tiling.size)),
    )
    return (tiling[row * tiling.grid[1] + column] for row, column in product(rows, columns))


def _ranges(bands: Sequence[int], count: int) -> list[slice]:
    """Return the groups of bands of a product that hold some of the given ones."""
    wanted = {band % count for band in bands}
    starts = range(0, count, BANDS_AT_ONCE)
    groups = [slice(start, min(start + BANDS_AT_ONCE, count)) for start in starts]
    return [group for group in groups if any(band in wanted for band in range(group.start, group.stop))]
