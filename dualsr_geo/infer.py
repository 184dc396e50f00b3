"""One tile from disk to disk, and the ways to run all of them.

Arithmetic within a tile runs on one thread, because the number of threads changes the last
bits of a matrix product; parallel work is many tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dualsr_geo.align import Guide
from dualsr_geo.errors import DualSRError, TileError
from dualsr_geo.figures import Figures
from dualsr_geo.sources import Source
from dualsr_geo.window import sharpen_tile
from dualsr_geo.work import Work, guide_window
from dualsr_geo.write import Store

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class Plan:
    """A run: sources, work and store; picklable.

    Attributes
    ----------
    scene : Source
    guide : Guide or None
    work : Work
    store : Store
    """

    scene: Source
    guide: Guide | None
    work: Work
    store: Store


def process_tile(plan: Plan, index: int) -> dict[str, Any]:
    """Read, sharpen, write and mark one tile; return its figures.

    Raises
    ------
    TileError
        If anything fails that the user cannot have caused; it names the tile.
    """
    tile = plan.work.tiling[index]
    try:
        cube = plan.scene.read(tile.padded)
        guide = plan.guide.read(guide_window(plan.work, tile)) if plan.guide and plan.work.guided else None
        figures = Figures(plan.work.count)
        target = tile.core.scaled(plan.work.ratio)
        for rows, stored in sharpen_tile(plan.work, tile, cube, guide, figures, plan.store.band_ranges()):
            plan.store.write(target, rows, stored)
        result = figures.to_json()
        plan.store.mark(index, result)
    except DualSRError:
        raise
    except Exception as error:  # whatever it is, the run must say which tile
        core = tile.core
        raise TileError(
            f"Tile {index} (rows {core.y0}..{core.y1}, columns {core.x0}..{core.x1} of the scene) failed: "
            f"{type(error).__name__}: {error}. Run again with --resume to redo only what is missing."
        ) from error
    return result


def run_here(plan: Plan, indices: list[int], jobs: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run tiles on threads of this process, `jobs` at a time; yield figures as tiles finish."""
    waiting = iter(indices)
    with ThreadPoolExecutor(jobs, thread_name_prefix="tile") as pool:
        running: dict[Future[dict[str, Any]], int] = {}
        try:
            while True:
                while len(running) < jobs and (index := next(waiting, None)) is not None:
                    running[pool.submit(process_tile, plan, index)] = index
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(done), done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def run_on(client: Client, plan: Plan, indices: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run tiles on a dask cluster in a sliding window of two a worker thread."""
    from distributed import as_completed  # noqa: PLC0415  # only where a cluster is asked for

    run = plan.store.record()["fingerprint"]
    slots = 2 * max(1, sum(client.nthreads().values()))
    waiting = iter(indices)

    def submit(index: int) -> Any:  # distributed is not typed
        return client.submit(process_tile, plan, index, key=f"dualsr-{run}-{index}", retries=2, pure=False)

    first = [(i, submit(i)) for _, i in zip(range(slots), waiting, strict=False)]
    index_of = {future.key: i for i, future in first}
    finished = as_completed([f for _, f in first])
    for future in finished:
        yield index_of.pop(future.key), future.result()
        following = next(waiting, None)
        if following is not None:
            new = submit(following)
            index_of[new.key] = following
            finished.add(new)
