"""Cost of the engine relative to the arithmetic of a tile, and of more workers.

Processor time of one process, because the machine may be shared: tiles of one scene are computed in a plain loop
(`sharpen.sharpen_tile` on windows read before), with reading, with reading and writing, by `executor.run_here`, and by
`executor.run_on` on a cluster, whose workers report their processor time. `--workers` also times 1, 2 and 4.

    python examples/scale/overhead.py
    python examples/scale/overhead.py --workers 1 2 4
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from distributed import Client, LocalCluster

from dualsr_geo import Options, synthetic
from dualsr_geo.engine import executor
from dualsr_geo.engine.executor import TilePlan
from dualsr_geo.engine.inputs import read_tile
from dualsr_geo.engine.preparation import prepare
from dualsr_geo.engine.scene_survey import survey_scene
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.io.writers.tile_store import TileStore


def planned(folder: Path, arguments: argparse.Namespace) -> TilePlan:
    """Return a surveyed scene, ready to run."""
    scene, guide = synthetic.write(folder, shape=(arguments.side, arguments.side), bands=arguments.bands)
    options = Options(model=arguments.model, tile=arguments.tile, jobs=1)
    plan, layout = prepare(scene, folder / "p.zarr", rgb=guide, options=options)
    store = TileStore.begin(layout, plan.identity, resume=False, overwrite=True)
    survey = survey_scene(plan.inputs, plan.scene.shape, plan.survey_options)
    return TilePlan(plan.inputs, plan.context_for(survey), store)


def looped(plan: TilePlan, *, read: bool) -> Callable[[], None]:
    """Return a loop over all tiles that computes, and reads in the loop or before it."""

    def windows(index: int) -> tuple:
        tile = plan.context.tiling[index]
        return tile, *read_tile(plan.inputs, plan.context, tile)

    indices = range(len(plan.context.tiling))
    before = None if read else [windows(i) for i in indices]

    def loop() -> None:
        for i in indices:
            for _ in sharpen_tile(
                plan.context, *(windows(i) if before is None else before[i]), TileStatistics(plan.context.count)
            ):
                pass

    return loop


def processor_s(function: Callable[[], object]) -> float:
    """Return the processor time of a call."""
    began = time.process_time()
    function()
    return time.process_time() - began


def on_workers(plan: TilePlan, count: int, indices: list[int]) -> tuple[float, float]:
    """Return workers' processor time and wall time of a run on a cluster of so many processes."""
    with (
        LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        # Once before, so that every worker has imported what it needs.
        list(executor.run_on(client, plan, indices[: 4 * count]))
        before, began = client.run(time.process_time), time.monotonic()
        list(executor.run_on(client, plan, indices))
        wall, after = time.monotonic() - began, client.run(time.process_time)
    return sum(after[w] - before[w] for w in before), wall


def main() -> None:
    """Time each variant, as the minimum of several rounds, and print figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512, help="lr pixels")
    parser.add_argument("--bands", type=int, default=64)
    parser.add_argument("--tile", type=int, default=128)
    parser.add_argument("--model", default="regression")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="*", default=[1])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        plan = planned(Path(place), arguments)
        indices = list(range(len(plan.context.tiling)))
        ways = {
            "compute": looped(plan, read=False),
            "compute_read": looped(plan, read=True),
            "compute_read_write": lambda: [executor.process_tile(plan, i) for i in indices],
            "run_here": lambda: list(executor.run_here(plan, indices, 1)),
        }
        took = {name: min(processor_s(way) for _ in range(arguments.rounds)) for name, way in ways.items()}
        walls = {}
        for count in arguments.workers:
            runs = [on_workers(plan, count, indices) for _ in range(arguments.rounds)]
            took[f"run_on_{count}"], walls[count] = (min(r[k] for r in runs) for k in (0, 1))
    result = {
        "tiles": len(indices),
        "processor_ms_a_tile": {k: round(1e3 * v / len(indices), 1) for k, v in took.items()},
    }
    print(json.dumps(result | {"wall_s": {k: round(v, 1) for k, v in walls.items()}}))


if __name__ == "__main__":
    main()
