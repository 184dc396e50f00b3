"""The flow as a lazy dask array: the survey is one task, a tile is one task, nothing is written."""

from __future__ import annotations

import math
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
from dualsr_geo.engine import fine_stage_fit
from dualsr_geo.engine.chunked_sources import ChunkedSource, InputPiece, Key, PieceReader, with_sources
from dualsr_geo.engine.degrade_raster import degrade_window, encode_degraded, require_degradable
from dualsr_geo.engine.inputs import read_tile
from dualsr_geo.engine.plan import RunPlan, product_packing
from dualsr_geo.engine.scene_survey import survey_scene
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.fine_stage import FineStage
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.errors import OptionError
from dualsr_geo.io.readers.array_sources import ArraySource
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.to_xarray import labelled
from dualsr_geo.io.writers.output_spec import deviation_attrs
from dualsr_geo.models.definition import is_refined
from dualsr_geo.raster import grid
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.source import Source
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration import local_displacement
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.survey.sampling import SurveyOptions, sample_windows
from dualsr_geo.survey.survey import Survey
from dualsr_geo.threads import one_thread
from dualsr_geo.version import __version__

MOST_TASKS = 10**5
# Pieces of scene and guide that tiles share, see `_tiles_a_ground`.
MOST_GROUNDS = 6400


def upscale(job: RunPlan) -> da.Array:
    """Return the product as a lazy array, (band, Y, X), stored values.

    With uncertainty its standard deviations follow, as many bands more. Blocks are tiles. Keys follow from the
    inputs, so the same call has the same graph.

    Parameters
    ----------
    job : RunPlan

    Raises
    ------
    OptionError
        If the graph would have more than 10^5 tiles.
    """
    rows, columns = job.tiling.grid
    if rows * columns > MOST_TASKS:
        raise OptionError(
            f"A tile of {job.sizes.tile} lr pixels makes {rows * columns} tasks, more than {MOST_TASKS}. "
            "Give a larger tile, or write to disk with dualsr_geo.upscale."
        )
    ground, arrays = _whole(job)
    token = tokenize(__version__, job.work, job.wishes, *(s.fingerprint() for s in (job.scene.source, job.guide) if s))
    name = f"dualsr_tile-{token}"
    graph = HighLevelGraph.from_collections(name, _tasks(job, ground, name, token), dependencies=arrays)  # type: ignore[arg-type]  # dask types no arrays
    count = job.scene.count * (1 + job.options.uncertainty)
    sides = (
        tuple(min(job.sizes.tile, n - i) * job.ratio for i in range(0, n, job.sizes.tile)) for n in job.scene.shape
    )
    return da.Array(graph, name, ((count,), *sides), meta=np.empty((0, 0, 0), job.packing.dtype))


def _whole(job: RunPlan) -> tuple[InputPiece, list[da.Array]]:
    """Return scene and guide without what their arrays hold, and the dask arrays that hold it."""
    arrays: list[da.Array] = []

    def change(source: Source) -> Source:
        if not isinstance(source, ArraySource):
            return source
        chunked, array = ChunkedSource.of(source)
        arrays.append(array)
        return chunked

    scene = change(job.scene.source)
    guide = None if job.guide is None else with_sources(job.guide, change)
    return InputPiece(scene, Window(0, job.scene.shape[0], 0, job.scene.shape[1]), guide), arrays


def _tasks(job: RunPlan, whole: InputPiece, name: str, token: str) -> dict[Any, tuple[Any, ...]]:
    """Return the survey, the fitted fine stage, the grounds and the tiles as dask's tasks."""
    local = job.options.coregister == "local" and job.guide is not None
    # Whatever a field says, the guide that it needs comes along.
    margin = sample_margin(job.ratio) + (local_displacement.margin(job.ratio) if local else 0)

    def near(windows: Sequence[Window]) -> tuple[list[InputPiece], list[list[Key]]]:
        pieces = [whole.near(w, job.ratio, margin) for w in windows]
        return pieces, [p.keys() for p in pieces]

    shape = job.scene.shape
    known, fitted = (f"dualsr_{what}-{token}" for what in ("survey", "fine"))
    sampled = sample_windows(shape)
    surveyed = [*sampled, *(local_displacement.windows(shape) if local else [])]
    tasks: dict[Any, tuple[Any, ...]] = {known: (_survey, *near(surveyed), shape, job.wishes)}
    refined = is_refined(job.model, job.fine)
    if refined:
        tasks[fitted] = (_fitted, job.work, known, *near(sampled), job.wishes)
    step, tiling, make = _tiles_a_ground(job, whole), job.tiling, job.work
    rows, columns = tiling.grid
    for i, j in product(range(0, rows, step), range(0, columns, step)):
        members = list(product(range(i, min(i + step, rows)), range(j, min(j + step, columns))))
        first, last = (tiling[r * columns + c].padded for r, c in (members[0], members[-1]))
        piece = whole.near(Window(first.y0, last.y1, first.x0, last.x1), job.ratio, margin)
        key = (f"dualsr_ground-{token}", i, j)
        tasks[key] = (_ground, make, known, fitted if refined else None, piece, piece.keys())
        tasks |= {(name, 0, r, c): (_tile, key, r * columns + c) for r, c in members}
    return tasks


def _tiles_a_ground(job: RunPlan, whole: InputPiece) -> int:
    """Return how many tiles along each axis share what is read: about a chunk of the scene.

    Tiles that each took from chunks themselves would all hang together, and dask's ordering of 10^5
    such tasks takes minutes. Few grounds take it seconds.
    """
    chunk = whole.scene.chunks.side if isinstance(whole.scene, ChunkedSource) else 0
    return max(
        1, min(round(chunk / job.sizes.tile), *job.tiling.grid), math.ceil(math.sqrt(len(job.tiling) / MOST_GROUNDS))
    )


@dataclass(frozen=True)
class Ready:
    """A piece of the inputs, and what its tiles need to know."""

    work: TileContext
    inputs: PieceReader


def _ground(
    make: Callable[[Survey], TileContext],
    known: Survey,
    fitted: FineStage | None,
    piece: InputPiece,
    blocks: Sequence[NDArray[Any]],
) -> Ready:
    """Put a piece of the inputs together."""
    return Ready(replace(make(known), fine_stage=fitted), _filled([piece], [blocks]))


def _filled(pieces: Sequence[InputPiece], blocks: Sequence[Sequence[NDArray[Any]]]) -> PieceReader:
    return PieceReader(tuple(piece.filled(values) for piece, values in zip(pieces, blocks, strict=True)))


def _survey(
    pieces: Sequence[InputPiece],
    blocks: Sequence[Sequence[NDArray[Any]]],
    shape: tuple[int, int],
    wishes: SurveyOptions,
) -> Survey:
    """Survey the scene from the pieces that the survey reads."""
    return survey_scene(_filled(pieces, blocks), shape, wishes)


def _fitted(
    make: Callable[[Survey], TileContext],
    known: Survey,
    pieces: Sequence[InputPiece],
    blocks: Sequence[Sequence[NDArray[Any]]],
    wishes: SurveyOptions,
) -> FineStage | None:
    """Fit the fine stage to the sampled pieces."""
    work = make(known)
    with one_thread():
        return fine_stage_fit.fit_fine_stage(work, wishes, partial(read_tile, _filled(pieces, blocks), work))


def _tile(ready: Ready, index: int) -> NDArray[np.generic]:
    """Sharpen one tile in memory."""
    work = ready.work
    tile = work.tiling[index]
    cube, guide = read_tile(ready.inputs, work, tile)
    shape = (work.count * (1 + (work.survey.uncertainty is not None)), *tile.core.scaled(work.ratio).shape)
    out = np.empty(shape, work.packing.dtype)
    for rows, stored in sharpen_tile(work, tile, cube, guide, TileStatistics(work.count)):
        out[rows] = stored
    return out


def as_dataarray(job: RunPlan, like: xr.DataArray) -> xr.DataArray:
    """Return the lazy product with the scene's coordinates, attributes and encoding.

    Where the scene comes masked (floats of an integer file, NaN where nothing is), so does the
    product; otherwise as stored.

    Parameters
    ----------
    job : RunPlan
    like : DataArray, dims (band, y, x)
        The scene.
    """
    return labelled(upscale(job), job.packing, job.scene, like, job.target)


def as_dataset(job: RunPlan, like: xr.DataArray) -> xr.Dataset:
    """Return the lazy product beside the standard deviations of its errors, ``uncertainty``, in the same form.

    Parameters
    ----------
    job : RunPlan
        With uncertainty.
    like : DataArray, dims (band, y, x)
        The scene.
    """
    stored, count = upscale(job), job.scene.count
    product, sigma = (
        labelled(part, packing, job.scene, like, job.target)
        for part, packing in ((stored[:count], job.packing), (stored[count:], job.packing.deviations))
    )
    name = str(like.name or job.scene.name)
    product.attrs["ancillary_variables"] = "uncertainty"
    sigma.attrs |= deviation_attrs(sigma.attrs, name)
    return xr.Dataset({name: product, "uncertainty": sigma})


def degrade(array: xr.DataArray, scale: int, mtf_gain: float) -> xr.DataArray:
    """Blur a scene by a Gaussian MTF and decimate it, as one lazy block.

    Parameters
    ----------
    array : DataArray, dims y, x and at most one more
    scale : int
        Ratio of pixel sizes; rows and columns beyond a multiple of it are left out.
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
    made = delayed(_degraded, pure=True)(lazy, psf, packing)
    stored = da.from_delayed(made, (scene.count, *target.shape), packing.dtype)
    return labelled(stored, packing, scene, like, target)


def _degraded(source: ArraySource, psf: Psf, packing: Packing) -> NDArray[np.generic]:
    count, height, width = source.shape
    shape = height // psf.ratio, width // psf.ratio
    cube = source.read(Window(0, shape[0] * psf.ratio, 0, shape[1] * psf.ratio))
    with one_thread(), torch.inference_mode():
        return encode_degraded(degrade_window(cube, operator(psf, shape)), packing, slice(0, count))
