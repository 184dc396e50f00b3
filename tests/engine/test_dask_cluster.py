"""A cluster of other processes: the same bytes, lost workers, limits, errors of one line."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

# Workers import this module for what they run, so what loads torch is imported where it is used.
from dualsr_geo.engine import dask_cluster
from dualsr_geo.engine.tile_size import WorkerCapacity
from dualsr_geo.errors import ClusterError, OptionError

OPTIONS = {"scale": 2, "model": "regression", "tile": 16, "jobs": 1}
MIB = 2**20


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit="1GiB", dashboard_address=":0") as local,
        Client(local) as connected,
    ):
        yield connected


class Scheduler:
    """Stands for a client: what the scheduler says of its workers, no more."""

    def __init__(self, *workers: dict) -> None:
        usual = {"nthreads": 1, "memory_limit": 4096 * MIB, "resources": {}}
        self.workers = {str(i): {**usual, **w} for i, w in enumerate(workers)}

    def wait_for_workers(self, count: int, timeout: float) -> None:  # noqa: ARG002
        assert len(self.workers) >= count

    def scheduler_info(self, n_workers: int) -> dict:
        assert n_workers == -1
        return {"workers": self.workers}


def digest(product: Path) -> list[str]:
    files = [product] if product.is_file() else sorted(f for f in product.rglob("*") if f.is_file())
    return [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]


def square(shared: int, index: int) -> int:
    return shared + index**2


def die(_: int, index: int) -> int:
    if index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return index


def fail(_: int, index: int) -> int:
    if index == 3:
        raise ZeroDivisionError(index)
    return index


def test_all_indices_come_back_once(client):
    results = list(dask_cluster.run_spread(client, square, 7, range(23), str, "cpu"))
    assert sorted(results) == [7 + i**2 for i in range(23)]
    assert list(dask_cluster.run_spread(client, square, 7, [], str, "cpu")) == []


def test_few_tasks_are_there_at_a_time(client):
    drawn = []

    def indices():
        for i in range(40):
            drawn.append(i)
            yield i

    done = 0
    for done, _ in enumerate(dask_cluster.run_spread(client, square, 0, indices(), str, "cpu"), 1):
        assert len(drawn) - done <= dask_cluster.TASKS_PER_THREAD * 2 + 1
    assert done == 40


def test_an_error_comes_back_as_it_is_and_nothing_runs_after_it(client):
    with pytest.raises(ZeroDivisionError):
        list(dask_cluster.run_spread(client, fail, 0, range(30), str, "cpu"))
    assert not any(client.processing().values())


def test_what_ends_all_workers_is_named(client):
    with pytest.raises(ClusterError, match=r"tile one ended 4 workers.*tcp://.*memory.*--tile"):
        list(dask_cluster.run_spread(client, die, 0, range(2), ["tile zero", "tile one"].__getitem__, "cpu"))
    client.wait_for_workers(2)


def slow(_: object, index: int) -> int:
    time.sleep(60)
    return index


def test_a_cluster_without_workers_is_given_up(monkeypatch):
    from distributed import Client, LocalCluster

    monkeypatch.setattr(dask_cluster, "NO_WORKER_S", 2)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as local,
        Client(local) as lonely,
        ThreadPoolExecutor(2) as pool,
    ):
        running = [
            pool.submit(lambda: list(dask_cluster.run_spread(lonely, slow, 0, range(3), str, "cpu"))),
            pool.submit(dask_cluster.run_once, lonely, "survey", slow, 0, 0),
        ]
        while not lonely.processing() or not any(lonely.processing().values()):
            time.sleep(0.05)
        local.scale(0)
        for run in running:
            with pytest.raises(ClusterError, match=r"tcp://.* has had no worker for 2 s\. Start some.*--resume"):
                run.result(timeout=60)


@pytest.mark.parametrize(("workers", "device", "room"), [
    ([{}, {"memory_limit": 1000 * MIB}], "auto", WorkerCapacity(1, 700 * MIB, "cpu")),
    ([{"nthreads": 3}, {}], "cpu", WorkerCapacity(3, int(4096 * MIB * 0.7), "cpu")),
    ([{"memory_limit": 0}], "auto", WorkerCapacity(1, None, "cpu")),
    ([{"memory_limit": 900 * MIB}, {"nthreads": 8, "resources": {"GPU": 2}}], "auto", WorkerCapacity(2, int(4096 * MIB * 0.7), "cuda")),
    ([{"resources": {"GPU": 1}}], "cpu", WorkerCapacity(1, int(4096 * MIB * 0.7), "cpu")),
])  # fmt: skip
def test_the_smallest_worker_that_is_used_decides(workers, device, room):
    assert dask_cluster.worker_capacity(Scheduler(*workers), device) == room


def test_cuda_needs_workers_with_the_resource():
    with pytest.raises(OptionError, match=r"resource GPU, and none of 2 workers has it.*--resources GPU=1"):
        dask_cluster.worker_capacity(Scheduler({}, {}), "cuda")


def test_a_tile_fits_into_the_smallest_worker(tmp_path):
    from dualsr_geo import Options, synthetic
    from dualsr_geo.engine.preparation import prepare

    scene, guide = synthetic.write(tmp_path, shape=(60, 61), bands=200, seed=3)
    options = Options(max_memory=64 * 2**30, model="regression", jobs=7)
    local, _ = prepare(scene, rgb=guide, options=options)
    remote, _ = prepare(scene, rgb=guide, options=options, client=Scheduler({"memory_limit": 760 * MIB}, {}))
    assert (local.sizes.jobs, remote.sizes.jobs) == (7, 1)
    assert remote.sizes.bytes <= 760 * MIB * dask_cluster.WORKER_MEMORY_SHARE
    assert remote.sizes.tile < local.sizes.tile
    small = Scheduler({"memory_limit": 760 * MIB, "nthreads": 16})
    with pytest.raises(OptionError, match=r"may use 532 MiB, too little for 16 tiles of 16 lr.*fewer --nthreads"):
        prepare(scene, rgb=guide, options=options, client=small)


def test_paths_hold_for_workers_elsewhere(client, tmp_path, monkeypatch):
    from dualsr_geo import synthetic, upscale

    synthetic.write(tmp_path, shape=(30, 41), bands=4, seed=1, ratio=2)
    homes = client.run(os.getcwd)
    client.run(os.chdir, "/")
    try:
        monkeypatch.chdir(tmp_path)
        summary = upscale("scene.tif", "p.zarr", rgb="rgb.tif", **OPTIONS, client=client)
    finally:
        client.run(os.chdir, next(iter(homes.values())))
    assert summary["output"] == str(tmp_path / "p.zarr")
    upscale("scene.tif", "here.zarr", rgb="rgb.tif", **OPTIONS)
    assert digest(tmp_path / "p.zarr/scene") == digest(tmp_path / "here.zarr/scene")


def test_scenes_outlive_their_workers(client, tmp_path):
    """The small form of examples/scale/killed.py: 12 scenes, 3 kills, each product complete whenever it exists."""
    from dualsr_geo import synthetic, upscale

    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    scenes = [synthetic.write(tmp_path / f"in{i}", shape=(33, 37 + i), bands=4, seed=i)[0] for i in range(12)]
    for folder in (quiet, killed):
        folder.mkdir()
    options = {**OPTIONS, "model": "interpolation"}
    for i, scene in enumerate(scenes):
        upscale(scene, quiet / f"{i}.tif", **options)
    wrong, dead, tiles, over = [], [], itertools.count(1), threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            wrong.extend(p.name for p in killed.glob("*.tif") if digest(p) != digest(quiet / p.name))

    def progress(done: int, _: int) -> None:
        # At one third of the 108 tiles, at two, and near the end.
        if done and next(tiles) in (36, 72, 100):
            pids = client.run(os.getpid, on_error="ignore")
            dead.append(random.choice([p for p in pids.values() if isinstance(p, int)]))
            os.kill(dead[-1], signal.SIGKILL)

    with ThreadPoolExecutor(5) as pool:
        watching = pool.submit(watch)
        try:
            run = partial(upscale, client=client, progress=progress, **options)
            runs = [pool.submit(run, s, killed / f"{i}.tif") for i, s in enumerate(scenes)]
            assert [m.result()["output"] for m in runs] == [str(killed / f"{i}.tif") for i in range(12)]
        finally:
            over.set()
        watching.result()
    assert len(dead) == 3
    assert not wrong
    assert not list(killed.glob("*.part"))
    assert [digest(killed / f"{i}.tif") for i in range(12)] == [digest(quiet / f"{i}.tif") for i in range(12)]


def test_a_worker_finds_its_own_copy_of_the_shipped_weights():
    from dualsr_geo.errors import InputError
    from dualsr_geo.models.loading import unguided_network
    from dualsr_geo.models.registry import load_model

    shipped = load_model("auto").correction.unguided
    moved = replace(shipped, path="/opt/elsewhere/dualsr_geo/models/data/unguided.safetensors")
    expected, loaded = (unguided_network(w, "cpu").state_dict() for w in (shipped, moved))
    assert all(bool((expected[k] == loaded[k]).all()) for k in expected)
    with pytest.raises(InputError, match="unguided.safetensors has changed.*planned with 000000000000"):
        unguided_network(replace(moved, sha256="0" * 64), "cpu")


# ---- cards -------------------------------------------------------------------------------


def test_each_process_sees_its_own_card():
    def visible_card(dask_worker=None) -> tuple:
        return os.environ["CUDA_VISIBLE_DEVICES"], dask_worker.state.nthreads, dask_worker.state.total_resources

    with dask_cluster.on_cards(["3", "GPU-7f"]) as client:
        cards = sorted(client.run(visible_card).values())
        assert cards == [("3", 1, {"GPU": 1}), ("GPU-7f", 1, {"GPU": 1})]
        assert dask_cluster.worker_capacity(client, "auto").device == "cuda"
        assert list(dask_cluster.run_spread(client, square, 1, range(4), str, "cuda"))


@pytest.mark.parametrize(
    ("available", "visible", "count", "names"),
    [(4, None, 2, ["0", "1"]), (2, "5,GPU-1", 2, ["5", "GPU-1"]), (2, "5,6,7", 1, ["5"]), (4, "", 1, ["0"])],
)
def test_the_cards_are_those_that_cuda_may_see(monkeypatch, available, visible, count, names):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: available)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert dask_cluster.cards(count) == names
    with pytest.raises(
        OptionError, match=rf"--gpus {available + 1} needs {available + 1} cards, but torch finds {available} here"
    ):
        dask_cluster.cards(available + 1)


@pytest.mark.gpu
def test_on_its_cards_a_product_is_that_of_one_process(tmp_path):
    import torch

    from dualsr_geo import synthetic, upscale

    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU here")
    scene, guide = synthetic.write(tmp_path / "in", shape=(33, 41), bands=6, ratio=2)
    upscale(scene, tmp_path / "a.zarr", rgb=guide, **OPTIONS, device="cuda")
    with dask_cluster.on_cards(dask_cluster.cards(torch.cuda.device_count())) as client:
        upscale(scene, tmp_path / "b.zarr", rgb=guide, **OPTIONS, client=client)
    assert digest(tmp_path / "a.zarr") == digest(tmp_path / "b.zarr")
