"""Many scenes on a cluster whose workers are killed at random, with the products of an undisturbed run.

Scenes are generated, sharpened in this process, and again on a `LocalCluster` of two
processes, from a few threads, while a worker is killed every few seconds. A watcher checks the folder all the
time: a file with a product's name must be that product, to the last bit.

    python examples/scale/killed.py --scenes 200 --kills 20
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import dask
from distributed import Client, LocalCluster

from dualsr_geo import Options, synthetic, upscale

Pair = tuple[Path, Path]


def digest(product: Path) -> str:
    """Return a hash of a product, a file or a folder."""
    files = [product] if product.is_file() else sorted(f for f in product.rglob("*") if f.is_file())
    whole = hashlib.sha256()
    for file in files:
        whole.update(str(file.relative_to(product)).encode() + file.read_bytes())
    return whole.hexdigest()


def scenes_in(folder: Path, count: int) -> list[Pair]:
    """Make scenes of awkward sizes with an RGB guide."""
    shapes = [(33 + i % 7, 37 + i % 11) for i in range(count)]
    return [synthetic.write(folder / f"{i}", shape=s, bands=6, seed=i, ratio=2) for i, s in enumerate(shapes)]


class Watcher(threading.Thread):
    """Compares every visible product with the expected one, until `over`."""

    def __init__(self, folder: Path, wanted: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.folder, self.wanted, self.over = folder, wanted, threading.Event()
        self.looks, self.wrong = 0, list[str]()

    def run(self) -> None:
        """Compare as often as the disk allows."""
        while not self.over.wait(0.05):
            for product in self.folder.glob(f"*{suffix_of(self.wanted)}"):
                self.looks += 1
                if digest(product) != self.wanted[product.name]:
                    self.wrong.append(product.name)


def suffix_of(wanted: dict[str, str]) -> str:
    """Return the suffix of the products."""
    return Path(next(iter(wanted))).suffix


def kill(client: Client, kills: int, tiles: Sequence[int], total: int) -> list[int]:
    """Kill a worker whenever another share of all tiles is done."""
    dead: list[int] = []
    for i in range(kills):
        while len(tiles) < (i + 0.5) * total / kills:
            time.sleep(0.05)
        pids = [p for p in client.run(os.getpid, on_error="ignore").values() if isinstance(p, int)]
        if pids:
            dead.append(random.choice(pids))  # noqa: S311  # any will do
            os.kill(dead[-1], signal.SIGKILL)
    return dead


def disturbed(
    scenes: Sequence[Pair], folder: Path, options: Options, arguments: argparse.Namespace, total: int
) -> list[int]:
    """Sharpen all scenes on a cluster while workers die; return the processes that were killed."""
    tiles: list[int] = []
    with (
        # It gives up a worker that takes 15 s to come back, which on a busy machine is not enough.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "300s"}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
        ThreadPoolExecutor(arguments.threads + 1) as pool,
    ):
        killing = pool.submit(kill, client, arguments.kills, tiles, total)
        run = partial(upscale, options=options, client=client, progress=lambda done, _: done and tiles.append(done))
        futures = [pool.submit(run, s, folder / f"{i}{arguments.suffix}", rgb=g) for i, (s, g) in enumerate(scenes)]
        for future in futures:
            future.result()
        return killing.result()


def main() -> None:
    """Run both, compare, print figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--threads", type=int, default=4, help="scenes at once")
    parser.add_argument("--model", default="regression")
    parser.add_argument("--suffix", default=".tif", help=".tif or .zarr")
    arguments = parser.parse_args()
    options = Options(scale=2, model=arguments.model, tile=16, jobs=1)
    with tempfile.TemporaryDirectory() as place:
        quiet, killed = Path(place, "quiet"), Path(place, "killed")
        for folder in (quiet, killed):
            folder.mkdir()
        scenes, total = scenes_in(Path(place, "in"), arguments.scenes), 0
        began = time.monotonic()
        for i, (scene, guide) in enumerate(scenes):
            upscale(scene, quiet / f"{i}{arguments.suffix}", rgb=guide, options=options)
            total += -(-(33 + i % 7) // 16) * -(-(37 + i % 11) // 16)
        here = time.monotonic() - began
        watcher = Watcher(killed, {p.name: digest(p) for p in quiet.iterdir()})
        watcher.start()
        began = time.monotonic()
        dead = disturbed(scenes, killed, options, arguments, total)
        there = time.monotonic() - began
        watcher.over.set()
        watcher.join()
        same = sum(digest(killed / name) == wanted for name, wanted in watcher.wanted.items())
        result = {
            "scenes": arguments.scenes, "tiles": total, "kills": len(dead), "identical": same, "looks": watcher.looks,
            "half_written": len(watcher.wrong), "left_behind": len(list(killed.iterdir())) - same,
            "undisturbed_s": round(here, 1), "disturbed_s": round(there, 1),
        }  # fmt: skip
    print(json.dumps(result))
    if same != arguments.scenes or watcher.wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
