"""One tile from disk to disk, and the ways to run all of them.

Arithmetic within a tile runs on one thread, because the number of threads changes the last
bits of a matrix product; parallel work is many tiles.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dualsr_geo.engine import dask_cluster
from dualsr_geo.engine.inputs import InputReader, read_tile
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.errors import DualSRError, TileError
from dualsr_geo.io.writers.tile_store import TileStore

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class TilePlan:
    """What every tile of a run reads, uses and writes to; picklable.

    Attributes
    ----------
    inputs : InputReader
    work : TileContext
    store : TileStore
    """

    inputs: InputReader
    work: TileContext
    store: TileStore


@dataclass(frozen=True)
class FinishedTile:
    """A finished tile.

    Attributes
    ----------
    index : int
    figures : dict
        Of `process_tile`.
    seconds : float
        What it took.
    worker : str
        Host and process that made it.
    """

    index: int
    figures: dict[str, Any]
    seconds: float
    worker: str


def process_tile(plan: TilePlan, index: int) -> dict[str, Any]:
    """Read, sharpen, write and mark one tile; return its figures.

    Raises
    ------
    TileError
        If anything fails that the user cannot have caused; it names the tile.
    """
    tile = plan.work.tiling[index]
    try:
        cube, guide = read_tile(plan.inputs, plan.work, tile)
        figures = TileStatistics(plan.work.count)
        target = tile.core.scaled(plan.work.ratio)
        for rows, stored in sharpen_tile(plan.work, tile, cube, guide, figures, plan.store.band_ranges()):
            plan.store.write(target, rows, stored)
        result = figures.to_json()
        plan.store.mark(index, result)
    except DualSRError:
        raise
    except Exception as error:  # whatever it is, the run must say which tile
        raise TileError(
            f"{_named(plan, index)} failed: {type(error).__name__}: {error}. Run again with --resume to redo only what is missing."
        ) from error
    return result


def _named(plan: TilePlan, index: int) -> str:
    core = plan.work.tiling[index].core
    return f"Tile {index} (rows {core.y0}..{core.y1}, columns {core.x0}..{core.x1} of the scene)"


def timed(plan: TilePlan, index: int) -> FinishedTile:
    """Process one tile, and say how long it took and where."""
    began = time.monotonic()
    figures = process_tile(plan, index)
    return FinishedTile(index, figures, time.monotonic() - began, f"{socket.gethostname()}:{os.getpid()}")


def run_here(plan: TilePlan, indices: list[int], jobs: int) -> Iterator[FinishedTile]:
    """Run tiles on threads of this process, `jobs` at a time; yield them as they finish."""
    waiting = iter(indices)
    with ThreadPoolExecutor(jobs, thread_name_prefix="tile") as pool:
        running: set[Future[FinishedTile]] = set()
        try:
            while True:
                while len(running) < jobs and (index := next(waiting, None)) is not None:
                    running.add(pool.submit(timed, plan, index))
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for done in finished:
                    yield done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def run_on(client: Client, plan: TilePlan, indices: list[int]) -> Iterator[FinishedTile]:
    """Run tiles on a dask cluster; yield them as they finish.

    Raises
    ------
    ClusterError
        If a tile ends too many workers, which it names, or the cluster goes away.
    """
    return dask_cluster.run_spread(client, timed, plan, indices, lambda index: _named(plan, index), plan.work.device)
