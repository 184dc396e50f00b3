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
import torch
import xarray as xr
from dask.delayed import delayed
from dask.highlevelgraph import HighLevelGraph
from dask.tokenize import tokenize
from numpy.typing import NDArray

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.chunked_sources import ChunkedSource, InputPiece, Key, PieceReader, with_sources
from dualsr_geo.engine.degrade_raster import degrade_window, encode_degraded, read_normalized, require_degradable
from dualsr_geo.engine.fine_stage.fit import fit_fine_stage
from dualsr_geo.engine.inputs import read_tile
from dualsr_geo.engine.plan import RunPlan, product_packing
from dualsr_geo.engine.scene_survey import survey_scene
from dualsr_geo.engine.tile_errors import tile_errors
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.fine_stage import FineStage
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.errors import DualSRWarning, OptionError
from dualsr_geo.fusion.guide_noise.filter import REACH_PX
from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.io.to_xarray import labelled
from dualsr_geo.io.writers.output_spec import deviation_attrs
from dualsr_geo.models.definition import is_refined
from dualsr_geo.raster import fill, grid
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.source import Source
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration import local_displacement
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.survey.sampling import SurveyOptions, sample_windows
from dualsr_geo.survey.survey import Survey
from dualsr_geo.threads import one_thread
from dualsr_geo.version import __version__

# Tiles of one graph: dask orders this many tasks within seconds.
MAX_TILES = 10**5
# Pieces of scene and guide that groups of tiles share; see `_tiles_per_piece`.
MAX_PIECES = 6400


def upscale(plan: RunPlan) -> da.Array:
    """Return the product as a lazy array, (band, Y, X), stored values.

    With uncertainty the standard deviations follow, as many bands again. Blocks are tiles. Keys follow
    from the inputs, so the same call has the same graph.

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
    count = plan.scene.count * (1 + plan.options.uncertainty)
    tile, ratio = plan.sizes.tile, plan.ratio
    sides = (tuple(min(tile, n - i) * ratio for i in range(0, n, tile)) for n in plan.scene.shape)
    return da.Array(graph, name, ((count,), *sides), meta=np.empty((0, 0, 0), plan.packing.dtype))


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
    # Enough for any displacement field and for the filter of the guide.
    margin = sample_margin(plan.ratio) + REACH_PX + (local_displacement.margin(plan.ratio) if local else 0)

    def near(windows: Sequence[Window]) -> tuple[list[InputPiece], list[list[Key]]]:
        pieces = [whole.near(window, plan.ratio, margin) for window in windows]
        return pieces, [piece.keys() for piece in pieces]

    survey, fine_stage = (f"dualsr_{what}-{token}" for what in ("survey", "fine"))
    sampled = sample_windows(shape)
    surveyed = [*sampled, *(local_displacement.windows(shape) if local else [])]
    tasks: dict[Any, tuple[Any, ...]] = {survey: (_survey, *near(surveyed), shape, plan.survey_options)}
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
        tasks |= {(name, 0, r, c): (_sharpen, key, r * columns + c) for r, c in members}
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
) -> Survey:
    """Survey the scene from the pieces that the survey reads."""
    survey = survey_scene(_reader(pieces, blocks), shape, options)
    for note in survey.notes:
        if note.endswith(fill.ADVICE):
            warnings.warn(note, DualSRWarning, stacklevel=2)
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


def _sharpen(piece: PreparedPiece, index: int) -> NDArray[np.generic]:
    """Sharpen one tile in memory."""
    context, tile = piece.context, piece.context.tiling[index]
    shape = (context.count * (1 + (context.survey.uncertainty is not None)), *tile.core.scaled(context.ratio).shape)
    with tile_errors(context.tiling, index):
        cube, guide = read_tile(piece.reader, context, tile)
        out = np.empty(shape, context.packing.dtype)
        for bands, stored in sharpen_tile(context, tile, cube, guide, TileStatistics(context.count)):
            out[bands] = stored
    return out


def as_dataarray(plan: RunPlan, like: xr.DataArray) -> xr.DataArray:
    """Return the lazy product with the scene's coordinates, attributes and encoding.

    If the scene is masked (floats of an integer file, NaN where there is no value), so is the product;
    otherwise its values are those stored.

    Parameters
    ----------
    plan : RunPlan
    like : DataArray, dims (band, y, x)
        The scene.
    """
    return labelled(upscale(plan), plan.packing, plan.scene, like, plan.target)


def as_dataset(plan: RunPlan, like: xr.DataArray) -> xr.Dataset:
    """Return the lazy product with the standard deviations of its errors, ``uncertainty``, in the same form.

    Parameters
    ----------
    plan : RunPlan
        With uncertainty.
    like : DataArray, dims (band, y, x)
        The scene.
    """
    stored, count = upscale(plan), plan.scene.count
    product, sigma = (
        labelled(part, packing, plan.scene, like, plan.target)
        for part, packing in ((stored[:count], plan.packing), (stored[count:], plan.packing.deviations))
    )
    name = str(like.name or plan.scene.name)
    product.attrs["ancillary_variables"] = "uncertainty"
    sigma.attrs |= deviation_attrs(sigma.attrs, name)
    return xr.Dataset({name: product, "uncertainty": sigma})


def degrade(array: xr.DataArray, scale: int, mtf_gain: float) -> xr.DataArray:
    """Blur a scene by a Gaussian MTF and decimate it, as one lazy block.

    Parameters
    ----------
    array : DataArray, dims y, x and at most one more
    scale : int
        Ratio of pixel sizes; rows and columns beyond a multiple of the ratio are left out.
    mtf_gain : float
        MTF gain at the coarse Nyquist frequency.
    """
    scene = open_scene(array)
    psf = require_degradable(scene, scale, mtf_gain)
    target = grid.coarsen(scene.geobox, scale)
    source = scene.source
    if not isinstance(source, ArraySource):
        raise TypeError(f"{scene.name} is no xarray object")
    like = source.array
    lazy = replace(source, array=like if like.chunks is not None else like.chunk())
    packing = product_packing(scene)
    block = delayed(_degrade, pure=True)(lazy, psf, scene.packing.dtype, packing)
    stored = da.from_delayed(block, (scene.count, *target.shape), packing.dtype)
    return labelled(stored, packing, scene, like, target)


@reports_defects
def _degrade(source: ArraySource, psf: Psf, stored: str, packing: Packing) -> NDArray[np.generic]:
    count, height, width = source.shape
    shape = height // psf.ratio, width // psf.ratio
    window = Window(0, shape[0] * psf.ratio, 0, shape[1] * psf.ratio)
    cube, normalization = read_normalized(source, window, range(count), stored, packing)
    with one_thread(), torch.inference_mode():
        degraded = degrade_window(cube, operator(psf, shape))
        return encode_degraded(degraded, packing, slice(0, count), normalization)
