"""The product as a lazy dask array: the survey is one task, a tile is one task, nothing is written."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph
from dask.tokenize import tokenize
from numpy.typing import NDArray

from dualsr_geo.engine.fine_stage.fit import fit_fine_stage
from dualsr_geo.engine.inputs import read_tile
from dualsr_geo.engine.lazy.chunked_sources import ChunkedSource, InputPiece, Key, PieceReader, with_sources
from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.engine.records.product_attributes import record_of
from dualsr_geo.engine.records.run_summary import TileRecord
from dualsr_geo.engine.scene_survey import survey_scene
from dualsr_geo.engine.tile_errors import tile_errors
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.fine_stage import FineStage
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.errors import DualSRWarning, OptionError
from dualsr_geo.fusion.guide_completion import completion_margin
from dualsr_geo.fusion.guide_noise.filter import REACH_PX
from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.models.definition import is_refined
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.source import Source
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration import local_displacement
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.surveying.sampling import SurveyOptions, sample_windows
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.threads import one_thread
from dualsr_geo.version import __version__

# Tiles of one graph: dask orders this many tasks within seconds.
MAX_TILES = 10**5
# Pieces of scene and guide that groups of tiles share; see `_tiles_per_piece`.
MAX_PIECES = 6400
NO_NODATA = (
    "Values of the scene are missing (NaN), and no stored value marks them, so that a file of integers would lose them. "
    "Give nodata, e.g. nodata=65535."
)


def upscale(plan: RunPlan) -> da.Array:
    """Return the product as a lazy array, (band, Y, X), stored values.

    With uncertainty the standard deviations follow, as many bands again. Blocks are tiles. Keys follow
    from the inputs, so the same call has the same graph. Where missing values of the scene
    are NaN and no stored value marks them, the product has floats, and they are NaN there too.

    Parameters
    ----------
    plan : RunPlan

    Raises
    ------
    OptionError
        If the graph would have more than `MAX_TILES` tiles.
    """
    rows, columns = plan.tiling.grid
    if rows * columns > MAX_TILES:
        raise OptionError(
            f"A tile of {plan.sizes.tile} lr pixels makes {rows * columns} tasks, more than {MAX_TILES}. "
            "Give a larger tile, or write to disk with dualsr_geo.upscale."
        )
    whole, arrays = _without_values(plan)
    sources = [source.fingerprint() for source in (plan.scene.source, plan.guide) if source]
    token = tokenize(__version__, plan.context_for, plan.survey_options, *sources)
    name = f"dualsr_tile-{token}"
    graph = HighLevelGraph.from_collections(name, _tasks(plan, whole, name, token), dependencies=arrays)  # type: ignore[arg-type]  # dask types no arrays
    count = plan.scene.count * (1 + bool(plan.options.uncertainty))
    tile, ratio = plan.sizes.tile, plan.ratio
    sides = (tuple(min(tile, n - i) * ratio for i in range(0, n, tile)) for n in plan.scene.shape)
    dtype = nan_type_of(plan.scene, plan.packing) or plan.packing.dtype
    return da.Array(graph, name, ((count,), *sides), meta=np.empty((0, 0, 0), dtype))


def nan_type_of(scene: Scene, packing: Packing) -> str | None:
    """Return the type of stored values with NaN where there is none; None where a stored value marks them, or none is missing."""
    if packing.is_float or packing.nodata is not None or not scene.source.masked:
        return None
    return "float32" if np.dtype(packing.dtype).itemsize <= 2 else "float64"


def _without_values(plan: RunPlan) -> tuple[InputPiece, list[da.Array]]:
    """Return scene and guide without the values of their arrays, and the dask arrays that hold the values."""
    arrays: list[da.Array] = []

    def replace_array(source: Source) -> Source:
        if not isinstance(source, ArraySource):
            return source
        chunked, array = ChunkedSource.of(source)
        arrays.append(array)
        return chunked

    scene = replace_array(plan.scene.source)
    guide = None if plan.guide is None else with_sources(plan.guide, replace_array)
    return InputPiece(scene, Window(0, plan.scene.shape[0], 0, plan.scene.shape[1]), guide), arrays


def _tasks(plan: RunPlan, whole: InputPiece, name: str, token: str) -> dict[Any, tuple[Any, ...]]:
    """Return the tasks: the survey, the fitted fine stage, the pieces of the inputs, and the tiles."""
    shape, tiling, context_for = plan.scene.shape, plan.tiling, plan.context_for
    local = plan.options.coregister == "local" and plan.guide is not None
    # Enough for any displacement field, for the filter of the guide, and for the completion of several.
    margin = sample_margin(plan.ratio) + REACH_PX + (local_displacement.margin(plan.ratio) if local else 0)
    margin += completion_margin(plan.ratio) if len(plan.survey_options.guide_parts) > 1 else 0

    def near(windows: Sequence[Window]) -> tuple[list[InputPiece], list[list[Key]]]:
        pieces = [whole.near(window, plan.ratio, margin) for window in windows]
        return pieces, [piece.keys() for piece in pieces]

    survey, fine_stage = (f"dualsr_{what}-{token}" for what in ("survey", "fine"))
    nan_type = nan_type_of(plan.scene, plan.packing)
    sampled = sample_windows(shape)
    surveyed = [*sampled, *(local_displacement.windows(shape) if local else [])]
    tasks: dict[Any, tuple[Any, ...]] = {survey: (_survey, *near(surveyed), shape, plan.survey_options, name)}
    refined = is_refined(plan.model, plan.fine)
    if refined:
        tasks[fine_stage] = (_fit_fine_stage, context_for, survey, *near(sampled), plan.survey_options)
    step, (rows, columns) = _tiles_per_piece(plan, whole), tiling.grid
    for i, j in product(range(0, rows, step), range(0, columns, step)):
        members = list(product(range(i, min(i + step, rows)), range(j, min(j + step, columns))))
        first, last = (tiling[r * columns + c].padded for r, c in (members[0], members[-1]))
        piece = whole.near(Window(first.y0, last.y1, first.x0, last.x1), plan.ratio, margin)
        key = (f"dualsr_piece-{token}", i, j)
        tasks[key] = (_prepare_piece, context_for, survey, fine_stage if refined else None, piece, piece.keys())
        tasks |= {(name, 0, r, c): (_sharpen, key, r * columns + c, name, nan_type) for r, c in members}
    return tasks


def _tiles_per_piece(plan: RunPlan, whole: InputPiece) -> int:
    """Return how many tiles along each axis share a piece of the inputs: about a chunk of the scene.

    If each tile took from the chunks itself, all tiles would hang together, and dask would order 10^5
    such tasks in minutes; with few pieces it takes seconds.
    """
    chunk = whole.scene.chunks.side if isinstance(whole.scene, ChunkedSource) else 0
    per_chunk = min(round(chunk / plan.sizes.tile), *plan.tiling.grid)
    return max(1, per_chunk, math.ceil(math.sqrt(len(plan.tiling) / MAX_PIECES)))


@dataclass(frozen=True)
class PreparedPiece:
    """A filled piece of the inputs, and the context of its tiles."""

    context: TileContext
    reader: PieceReader


@reports_defects
def _prepare_piece(
    context_for: Callable[[Survey], TileContext],
    survey: Survey,
    fine_stage: FineStage | None,
    piece: InputPiece,
    blocks: Sequence[NDArray[Any]],
) -> PreparedPiece:
    """Fill a piece of the inputs."""
    return PreparedPiece(replace(context_for(survey), fine_stage=fine_stage), _reader([piece], [blocks]))


def _reader(pieces: Sequence[InputPiece], blocks: Sequence[Sequence[NDArray[Any]]]) -> PieceReader:
    return PieceReader(tuple(piece.filled(values) for piece, values in zip(pieces, blocks, strict=True)))


@reports_defects
def _survey(
    pieces: Sequence[InputPiece],
    blocks: Sequence[Sequence[NDArray[Any]]],
    shape: tuple[int, int],
    options: SurveyOptions,
    name: str,
) -> Survey:
    """Survey the scene from the pieces that the survey reads, and warn as a run to a file does."""
    survey = survey_scene(_reader(pieces, blocks), shape, options)
    for note in survey.notes:
        warnings.warn(note, DualSRWarning, stacklevel=2)
    if (record := record_of(name)) is not None:
        record.add_survey(survey)
    return survey


@reports_defects
def _fit_fine_stage(
    context_for: Callable[[Survey], TileContext],
    survey: Survey,
    pieces: Sequence[InputPiece],
    blocks: Sequence[Sequence[NDArray[Any]]],
    options: SurveyOptions,
) -> FineStage | None:
    """Fit the fine stage to the sampled pieces."""
    context = context_for(survey)
    with one_thread():
        return fit_fine_stage(context, options, partial(read_tile, _reader(pieces, blocks), context))


def _sharpen(piece: PreparedPiece, index: int, name: str, nan_type: str | None) -> NDArray[np.generic]:
    """Sharpen one tile in memory; with `nan_type` its values have that type, and are NaN where the scene has none."""
    context, tile = piece.context, piece.context.tiling[index]
    shape = (context.count * (1 + (context.survey.uncertainty is not None)), *tile.core.scaled(context.ratio).shape)
    with tile_errors(context.tiling, index):
        statistics = TileStatistics(context.count)
        cube, guide = read_tile(piece.reader, context, tile, statistics)
        out = np.empty(shape, context.packing.dtype)
        for bands, stored in sharpen_tile(context, tile, cube, guide, statistics):
            out[bands] = stored
    if (record := record_of(name)) is not None:
        record.add_tile(index, TileRecord.from_json(statistics.to_json()))
    if nan_type is None:
        return out
    missing = np.isnan(cube[(slice(None), *tile.core.within(tile.padded).slices)])
    return with_nan(out, missing, nan_type, context.ratio)


def with_nan(stored: NDArray[np.generic], missing: NDArray[np.bool_], dtype: str, ratio: int) -> NDArray[np.generic]:
    """Return stored values as floats, NaN where the scene has none.

    Parameters
    ----------
    stored : array, shape (band, ratio * y, ratio * x)
        Bands of the scene, and perhaps their standard deviations.
    missing : array, shape (band, y, x)
    dtype : str
    ratio : int
    """
    values = stored.astype(dtype)
    if missing.any():
        warnings.warn(NO_NODATA, DualSRWarning, stacklevel=2)
        hole = missing.repeat(ratio, 1).repeat(ratio, 2)
        values[np.concatenate([hole] * (len(stored) // len(missing)))] = np.nan
    return values
