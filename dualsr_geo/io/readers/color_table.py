"""Guides that are stored as a color table: one band of indices, and the color of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.io.readers.rasterio_source import RasterSource
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.source import BaseSource, Source
from dualsr_geo.raster.windows import Window

# Name of the color of a band that holds indices, as rasterio has it.
PALETTE = "palette"
COLORS = ("red", "green", "blue")


@dataclass(frozen=True)
class ColorTableSource(BaseSource):
    """The colors of a band of indices.

    Attributes
    ----------
    source : Source
        The band of indices.
    table : tuple of tuple of float
        Color of each index, one row a band; NaN where the table has none, or a transparent one.
    dtype : str
        Type of the values that are read.
    """

    source: Source
    table: tuple[tuple[float, ...], ...]
    dtype: str = "float32"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return (len(self.table), *self.source.shape[1:])

    @property
    def masked(self) -> bool:
        """Whether values can be missing that no nodata value marks."""
        return self.source.masked or bool(np.isnan(self.table).any())

    def thumbnail(self, band: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return one band subsampled to `shape` (y, x), NaN where invalid."""
        plane: NDArray[np.float32] = self._colors([band], self.source.thumbnail(0, shape))[0]
        return plane

    def select(self, indices: Sequence[int]) -> ColorTableSource:
        """Return the source of some of the bands, zero-based."""
        return replace(self, table=tuple(self.table[i] for i in indices))

    def normalized(self, normalization: Normalization) -> ColorTableSource:
        """Return the source whose values are shifted and scaled."""
        rows = zip(self.table, normalization.origins, strict=True)
        table = tuple(tuple((color - origin) / normalization.unit for color in row) for row, origin in rows)
        return replace(self, table=table, dtype=normalization.dtype)

    def files_read(self) -> tuple[str, ...]:
        """Return the files of the indices."""
        return self.source.files_read()

    def fingerprint(self) -> dict[str, object]:
        """Return the fingerprint of the indices, and the table."""
        return {**self.source.fingerprint(), "color_table": [list(row) for row in self.table]}

    def _load(self, bands: Sequence[int], window: Window) -> NDArray[np.float32]:
        return self._colors(bands, self.source.read(window)[0])

    def _colors(self, bands: Sequence[int], indices: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the colors of indices (y, x); NaN where an index is missing or not in the table."""
        table = np.array([self.table[b] for b in bands], self.dtype)
        in_table = (indices >= 0) & (indices < table.shape[1])
        values: NDArray[np.float32] = table[:, np.where(in_table, indices, 0).astype(np.intp)]
        values[:, ~in_table] = np.nan
        return values


def has_color_table(scene: Scene) -> bool:
    """Whether a scene is one band of indices of a color table."""
    return isinstance(scene.source, RasterSource) and scene.count == 1 and scene.bands[0].color == PALETTE


def in_colors(scene: Scene) -> Scene:
    """Return an image of indices as its colors, three bands, or one where all are gray; any other as it is."""
    source = scene.source
    if not (isinstance(source, RasterSource) and has_color_table(scene)):
        return scene
    colors = np.array(source.color_table(), np.float32)
    rgb = np.where(colors[:, 3] > 0, colors[:, :3].T, np.nan)
    names = COLORS if np.nanmax(np.ptp(rgb, axis=0), initial=0) > 0 else ("gray",)
    table = tuple(tuple(row.tolist()) for row in rgb[: len(names)])
    count = len(names)
    return replace(
        scene,
        source=ColorTableSource(source, table),
        bands=tuple(Band(name=name, color=name) for name in names),
        packing=Packing("uint8", (1.0,) * count, (0.0,) * count, None),
    )
