"""Time and memory of the graph of a huge scene, and the time of its first tiles.

The scene is a dask array that generates its chunks, so nothing is on disk. The product, 40,000 x 40,000
lr pixels at ratio 4 with 200 bands, would have 10 TB; the run stops after a few tiles.

    python examples/scale/graph.py --side 40000 --bands 200
    python examples/scale/graph.py --side 40000 --bands 200 --distributed
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Callable

import dask
import dask.array as da
import numpy as np
import psutil
import xarray as xr
from dask.callbacks import Callback

from dualsr_geo import Options
from dualsr_geo.engine.lazy import graph as lazy
from dualsr_geo.engine.plan import plan_run
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.resources import peak

CHUNK = 256
_references: list[object] = []


class EnoughError(Exception):
    """The requested number of tiles is done."""


def waves_of_chunk(block_info: dict) -> np.ndarray:
    """Return a chunk of waves of many lengths that differ from band to band."""
    (b0, b1), (y0, y1), (x0, x1) = block_info[None]["array-location"]
    b, y, x = (a.astype(np.float32) for a in np.ogrid[b0:b1, y0:y1, x0:x1])
    waves = np.sin(y / 5.3) * np.cos(x / 7.1) + np.sin((x + 2 * y) / 3.7) + 5
    values = waves * (1 + b / 200)
    values += np.cos(y / 41) * np.sin(x / 37 + b / 50)
    return values


def scene(side: int, bands: int) -> xr.DataArray:
    """Return a scene whose chunks are computed on request."""
    chunks = ((bands,), *da.core.normalize_chunks((CHUNK, CHUNK), (side, side)))
    return xr.DataArray(da.map_blocks(waves_of_chunk, chunks=chunks, dtype=np.float32), dims=("band", "y", "x"))


def on_threads(product: da.Array, tiles: int, jobs: int) -> list[float]:
    """Compute on threads; return when each of the first tiles was done, seconds."""
    began, done = time.perf_counter(), []

    def after(key: object, *_: object) -> None:
        if isinstance(key, tuple) and "dualsr_tile" in str(key[0]):
            done.append(time.perf_counter() - began)
            if len(done) >= tiles:
                raise EnoughError

    try:
        with Callback(posttask=after), dask.config.set(scheduler="threads", num_workers=jobs):
            product.compute()
    except EnoughError:
        pass
    return done


def on_cluster(product: da.Array, tiles: int, jobs: int) -> list[float]:
    """Compute on a cluster of processes; return when each of the first tiles was done, seconds."""
    from distributed import Client, LocalCluster  # noqa: PLC0415

    done: list[float] = []
    client = Client(LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None))
    began = time.perf_counter()
    thread = threading.Thread(target=_follow(client, began, done, tiles), daemon=True)
    thread.start()
    persisted = client.persist(product)
    thread.join()
    # Referenced until the process ends: the scheduler would take minutes to forget 10^5 tasks.
    _references.append((client, persisted))
    return done


def _follow(client: object, began: float, done: list[float], tiles: int) -> Callable[[], None]:
    def count(dask_scheduler: object) -> int:
        return sum(p.state_counts["memory"] for n, p in dask_scheduler.task_prefixes.items() if "dualsr_tile" in n)

    def follow() -> None:
        while len(done) < tiles:
            time.sleep(0.5)
            done.extend([time.perf_counter() - began] * (client.run_on_scheduler(count) - len(done)))

    return follow


def main() -> None:
    """Build the graph, compute a few tiles, print figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=40000, help="lr pixels")
    parser.add_argument("--bands", type=int, default=200)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--tiles", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--model", default="regression")
    parser.add_argument("--distributed", action="store_true")
    arguments = parser.parse_args()
    source = open_scene(scene(arguments.side, arguments.bands))
    before, began, busy = psutil.Process().memory_info().rss, time.perf_counter(), time.process_time()
    job = plan_run(source, [], Options(scale=arguments.scale, model=arguments.model, jobs=arguments.jobs))
    product = lazy.upscale(job)
    result = {
        "tiles": len(job.tiling),
        "tile": job.sizes.tile,
        "graph_s": round(time.perf_counter() - began, 2),
        "graph_processor_s": round(time.process_time() - busy, 2),
        "graph_mib": round((peak() - before) / 2**20),
    }
    run = on_cluster if arguments.distributed else on_threads
    done = run(product, arguments.tiles, arguments.jobs)
    result |= {"first_tiles_s": [round(t, 1) for t in done], "peak_mib": round(peak() / 2**20)}
    print(json.dumps(result), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
