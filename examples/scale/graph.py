"""How long the graph of a huge scene takes, how much it needs, and when its first tiles are there.

The scene is a dask array that makes its chunks, so nothing lies on disk. The product, 40,000 x 40,000
lr pixels at ratio 4 with 200 bands, would have 10 TB; it is stopped after a few tiles.

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
from dualsr_geo.engine import lazy
from dualsr_geo.engine.plan import plan_run
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.resources import peak

CHUNK = 256
_held: list[object] = []


class EnoughError(Exception):
    """As many tiles as were wanted are done."""


def made(block_info: dict) -> np.ndarray:
    """Return a chunk of waves of many lengths that differ from band to band."""
    (b0, b1), (y0, y1), (x0, x1) = block_info[None]["array-location"]
    b, y, x = (a.astype(np.float32) for a in np.ogrid[b0:b1, y0:y1, x0:x1])
    waves = np.sin(y / 5.3) * np.cos(x / 7.1) + np.sin((x + 2 * y) / 3.7) + 5
    values = waves * (1 + b / 200)
    values += np.cos(y / 41) * np.sin(x / 37 + b / 50)
    return values


def scene(side: int, bands: int) -> xr.DataArray:
    """Return a scene that exists only as a promise."""
    chunks = ((bands,), *da.core.normalize_chunks((CHUNK, CHUNK), (side, side)))
    return xr.DataArray(da.map_blocks(made, chunks=chunks, dtype=np.float32), dims=("band", "y", "x"))


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
    kept = client.persist(product)
    thread.join()
    # Held until the process ends: the scheduler would take minutes to forget 10^5 tasks that nobody needs.
    _held.append((client, kept))
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
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--side", type=int, default=40000, help="lr pixels")
    ask.add_argument("--bands", type=int, default=200)
    ask.add_argument("--scale", type=int, default=4)
    ask.add_argument("--tiles", type=int, default=4)
    ask.add_argument("--jobs", type=int, default=2)
    ask.add_argument("--model", default="regression")
    ask.add_argument("--distributed", action="store_true")
    asked = ask.parse_args()
    source = open_scene(scene(asked.side, asked.bands))
    before, began, busy = psutil.Process().memory_info().rss, time.perf_counter(), time.process_time()
    job = plan_run(source, [], Options(scale=asked.scale, model=asked.model, jobs=asked.jobs))
    product = lazy.upscale(job)
    said = {
        "tiles": len(job.tiling),
        "tile": job.sizes.tile,
        "graph_s": round(time.perf_counter() - began, 2),
        "graph_processor_s": round(time.process_time() - busy, 2),
        "graph_mib": round((peak() - before) / 2**20),
    }
    run = on_cluster if asked.distributed else on_threads
    done = run(product, asked.tiles, asked.jobs)
    said |= {"first_tiles_s": [round(t, 1) for t in done], "peak_mib": round(peak() / 2**20)}
    print(json.dumps(said), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
