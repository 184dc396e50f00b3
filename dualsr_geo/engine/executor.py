"""Processing of one tile from disk to disk, and of all tiles, here or on a cluster.

The arithmetic of a tile runs on one thread, because the number of threads changes the last bits of a
matrix product; parallel work is many tiles.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dualsr_geo.engine import dask_cluster
from dualsr_geo.engine.inputs import InputReader, read_tile
from dualsr_geo.engine.records.run_summary import TileRecord
from dualsr_geo.engine.tile_errors import name_of_tile, tile_errors
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.io.writers.tile_store import TileStore

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class TilePlan:
    """What every tile of a run reads, uses and writes to; picklable.

    Attributes
    ----------
    inputs : InputReader
    context : TileContext
    store : TileStore
    """

    inputs: InputReader
    context: TileContext
    store: TileStore


@dataclass(frozen=True)
class FinishedTile:
    """A finished tile.

    Attributes
    ----------
    index : int
    record : TileRecord
    seconds : float
        Processing time.
    worker : str
        Host and process.
    """

    index: int
    record: TileRecord
    seconds: float
    worker: str


def process_tile(plan: TilePlan, index: int) -> TileRecord:
    """Read, sharpen, write and mark one tile; return its record.

    Raises
    ------
    TileError
        If anything fails that the user cannot have caused; it names the tile.
    """
    context, tile = plan.context, plan.context.tiling[index]
    statistics = TileStatistics(context.count)
    with tile_errors(context.tiling, index, "Run again with --resume to redo only what is missing."):
        cube, guide = read_tile(plan.inputs, context, tile, statistics)
        target = tile.core.scaled(context.ratio)
        chunks: dict[str, int | None] = {}
        for bands, stored in sharpen_tile(context, tile, cube, guide, statistics, plan.store.band_ranges()):
            chunks |= plan.store.write(target, bands, stored)
        mark = statistics.to_json()
        plan.store.mark(index, mark, chunks)
    return TileRecord.from_json(mark)


def finish_tile(plan: TilePlan, index: int) -> FinishedTile:
    """Process one tile; return its record, the processing time and the worker."""
    start = time.monotonic()
    record = process_tile(plan, index)
    return FinishedTile(index, record, time.monotonic() - start, f"{socket.gethostname()}:{os.getpid()}")


def run_here(plan: TilePlan, indices: list[int], jobs: int) -> Iterator[FinishedTile]:
    """Run tiles on threads of this process, `jobs` at a time; yield them as they finish."""
    waiting = iter(indices)
    with ThreadPoolExecutor(jobs, thread_name_prefix="tile") as pool:
        running: set[Future[FinishedTile]] = set()
        try:
            while True:
                while len(running) < jobs and (index := next(waiting, None)) is not None:
                    running.add(pool.submit(finish_tile, plan, index))
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
        If a tile, which it names, kills too many workers, or the cluster goes away.
    """
    return dask_cluster.run_spread(
        client, finish_tile, plan, indices, lambda index: name_of_tile(plan.context.tiling, index), plan.context.device
    )
