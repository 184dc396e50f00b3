"""Windows of scene and guide, as a run reads them: from files and stores, or from the chunks of arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.engine.tiles.context import TileContext, guide_window
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.fusion.guide_completion import GuideCompletion
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
    reader: InputReader,
    window: Window,
    field: DisplacementField | None,
    completion: GuideCompletion | None = None,
    shape: tuple[int, int] = (0, 0),
) -> NDArray[np.float32] | None:
    """Return a window of the guide (hr pixels) with its local displacement undone; as it is without a field.

    Parameters
    ----------
    reader : InputReader
    window : Window
    field : DisplacementField or None
    completion : GuideCompletion, optional
        Of several guides, which predicts what one of them lacks.
    shape : (int, int)
        Rows and columns of the target grid, which a completion needs.
    """
    around = window if field is None else window.grown(field.margin_px)
    guide = read_completed_guide(reader, around, completion, shape)
    return guide if guide is None or field is None else field.moved(guide, window)


def read_completed_guide(
    reader: InputReader, window: Window, completion: GuideCompletion | None, shape: tuple[int, int]
) -> NDArray[np.float32] | None:
    """Return a window of the guide (hr pixels) in which what one of several guides lacks is predicted."""
    if completion is None:
        return reader.read_guide(window)
    around = window.grown(completion.margin_px)
    guide = reader.read_guide(around)
    return None if guide is None else completion.completed(guide, around, shape)


def read_tile(
    reader: InputReader, context: TileContext, tile: Tile, statistics: TileStatistics | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return the scene window and the guide window of a tile; no guide where the tile uses none.

    Parameters
    ----------
    reader : InputReader
    context : TileContext
    tile : Tile
    statistics : TileStatistics, optional
        To which the coverage of each of several guides is added.
    """
    survey = context.survey
    if survey.normalization is not None:
        reader = reader.normalized(survey.normalization)
    scene = reader.read_scene(tile.padded)
    if not context.guided:
        return scene, None
    if survey.completion is not None and statistics is not None:
        reader = _Counted(reader, survey.completion, tile.core, context.ratio, statistics)
    height, width = context.shape
    target = height * context.ratio, width * context.ratio
    guide = read_registered_guide(reader, guide_window(context, tile), survey.displacement, survey.completion, target)
    return scene, guide[list(survey.guide_bands)] if guide is not None and survey.guide_bands else guide


@dataclass(frozen=True)
class _Counted:
    """A reader that counts how much of a core each of several guides covers."""

    reader: InputReader
    completion: GuideCompletion
    core: Window
    ratio: int
    statistics: TileStatistics

    def read_scene(self, window: Window) -> NDArray[np.float32]:
        return self.reader.read_scene(window)

    def normalized(self, normalization: Normalization) -> InputReader:
        return replace(self, reader=self.reader.normalized(normalization))

    def read_guide(self, window: Window) -> NDArray[np.float32] | None:
        guide = self.reader.read_guide(window)
        if guide is not None:
            core = guide[:, *self.core.scaled(self.ratio).within(window).slices]
            height, width = self.core.shape
            self.statistics.guides_covered = self.completion.coverage(core) * height * width
        return guide
