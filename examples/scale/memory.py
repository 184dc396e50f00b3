"""Memory of one process over thousands of tiles.

The tiles of one scene are computed again and again, so that the same process computes tile after
tile, like a worker of a cluster in a long run. Resident memory is recorded every few tiles.

    python examples/scale/memory.py --tiles 2000
    python examples/scale/memory.py --tiles 2000 --worker        # in a worker of a cluster
    python examples/scale/memory.py --tiles 2000 --scenes 40     # caches of many scenes
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from distributed import Client, LocalCluster

from dualsr_geo import Options, synthetic
from dualsr_geo.engine import executor
from dualsr_geo.engine.executor import TilePlan
from dualsr_geo.engine.preparation import prepare
from dualsr_geo.engine.scene_survey import survey_scene
from dualsr_geo.io.writers.tile_store import TileStore

SIDE, TILE = 160, 16
# The first tiles fill caches, and the allocator reaches its size.
SETTLED = 0.25


def plans(folder: Path, count: int, options: Options) -> Iterator[TilePlan]:
    """Yield plans of synthetic scenes, surveyed, each with its own store."""
    for i in range(count):
        scene, guide = synthetic.write(folder / f"{i}", shape=(SIDE, SIDE), bands=16, seed=i)
        plan, layout = prepare(scene, folder / f"{i}.zarr", rgb=guide, options=options)
        store = TileStore.begin(layout, plan.identity, resume=False, overwrite=True)
        survey = survey_scene(plan.inputs, plan.scene.shape, plan.survey_options)
        yield TilePlan(plan.inputs, plan.context_for(survey), store)


def here(prepared: list[TilePlan], tiles: int) -> Iterator[int]:
    """Compute tiles in this process; yield its resident memory after each."""
    process = psutil.Process()
    for i in range(tiles):
        plan = prepared[i * len(prepared) // tiles]
        executor.process_tile(plan, i % len(plan.context.tiling))
        yield process.memory_info().rss


def on_worker(prepared: list[TilePlan], tiles: int) -> Iterator[int]:
    """Compute tiles in a worker of a cluster; yield its resident memory after each."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        (pid,) = client.run(os.getpid).values()
        process, each = psutil.Process(pid), -(-tiles // len(prepared))
        for plan in prepared:
            order = [i % len(plan.context.tiling) for i in range(each)]
            for start in range(0, each, len(plan.context.tiling)):
                for _ in executor.run_on(client, plan, order[start : start + len(plan.context.tiling)]):
                    yield process.memory_info().rss


def main() -> None:
    """Run, fit a line to resident memory, print figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=2000)
    parser.add_argument("--scenes", type=int, default=1)
    parser.add_argument("--model", default="regression")
    parser.add_argument("--worker", action="store_true", help="in a worker of a cluster")
    arguments = parser.parse_args()
    at, resident = [], []
    with tempfile.TemporaryDirectory() as place:
        prepared = list(plans(Path(place), arguments.scenes, Options(model=arguments.model, tile=TILE, jobs=1)))
        gc.collect()
        busy = time.process_time()
        for i, bytes_ in enumerate((on_worker if arguments.worker else here)(prepared, arguments.tiles)):
            if i % 10 == 9:
                at.append(i + 1)
                resident.append(bytes_)
        busy = time.process_time() - busy
    settled = np.array(at) > SETTLED * arguments.tiles
    slope = np.polyfit(np.array(at)[settled], np.array(resident)[settled], 1)[0]
    result = {
        "tiles": arguments.tiles, "scenes": arguments.scenes, "model": arguments.model, "worker": arguments.worker,
        "slope_kb_a_tile": round(slope / 1e3, 2),
        "resident_mib": [round(resident[int(s * (len(resident) - 1))] / 2**20) for s in (0, 0.25, 0.5, 0.75, 1)],
        "processor_s_a_tile": None if arguments.worker else round(busy / arguments.tiles, 3),
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
