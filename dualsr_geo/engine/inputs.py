"""Windows of scene and guide, as a run reads them: from files and stores, or from the chunks of arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.engine.tiles.context import TileContext, guide_window
from dualsr_geo.io.guides import Guide
from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.source import Source
from dualsr_geo.raster.windows import Tile, Window
from dualsr_geo.registration.displacement_field import DisplacementField


class InputReader(Protocol):
    """Reads a scene and its guide window by window."""

    def read_scene(self, window: Window) -> NDArray[np.float32]:
        """Return a window of the scene (lr pixels), (band, y, x), physical units, NaN where there is no value."""
        ...

    def normalized(self, normalization: Normalization) -> InputReader:
        """Return the reader of the same scene with shifted and scaled values."""
        ...

    def read_guide(self, window: Window) -> NDArray[np.float32] | None:
        """Return a window of the guide (hr pixels, may leave the grid), (guide band, Y, X); None without a guide."""
        ...


@dataclass(frozen=True)
class SourceReader:
    """Reads from the sources of a scene and a guide; picklable.

    Attributes
    ----------
    scene : Source
    guide : Guide or None
        On the target grid.
    """

    scene: Source
    guide: Guide | None

    def read_scene(self, window: Window) -> NDArray[np.float32]:
        """Return a window of the scene; see `InputReader.read_scene`."""
        return self.scene.read(window)

    def normalized(self, normalization: Normalization) -> SourceReader:
        """Return the reader of a shifted and scaled scene; see `InputReader.normalized`."""
        return replace(self, scene=self.scene.normalized(normalization))

    def read_guide(self, window: Window) -> NDArray[np.float32] | None:
        """Return a window of the guide; see `InputReader.read_guide`."""
        return None if self.guide is None else self.guide.read(window)


def read_registered_guide(
    reader: InputReader, window: Window, field: DisplacementField | None
) -> NDArray[np.float32] | None:
    """Return a window of the guide (hr pixels) with its local displacement undone; as it is without a field."""
    if field is None:
        return reader.read_guide(window)
    guide = reader.read_guide(window.grown(field.margin_px))
    return None if guide is None else field.moved(guide, window)


def read_tile(
    reader: InputReader, context: TileContext, tile: Tile
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return the scene window and the guide window of a tile; no guide where the tile uses none."""
    if context.survey.normalization is not None:
        reader = reader.normalized(context.survey.normalization)
    scene = reader.read_scene(tile.padded)
    if not context.guided:
        return scene, None
    return scene, read_registered_guide(reader, guide_window(context, tile), context.survey.displacement)
