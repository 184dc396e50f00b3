"""Tiles on a cluster: the same bytes, also when a worker is killed in the middle."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from dualsr_geo import Options, synthetic
from dualsr_geo.engine.executor import process_tile
from dualsr_geo.engine.upscale import upscale
from dualsr_geo.errors import TileError
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.raster.windows import Window

OPTIONS = Options(scale=2, tile=16, jobs=1)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return synthetic.write(tmp_path_factory.mktemp("infer"), shape=(90, 75), bands=5, seed=1, ratio=2)


def cube(path) -> np.ndarray:
    opened = open_scene(path)
    return opened.source.read(Window(0, opened.shape[0], 0, opened.shape[1]))


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(scene, tmp_path):
    from distributed import Client, LocalCluster

    here = upscale(scene[0], tmp_path / "here.zarr", rgb=scene[1], options=OPTIONS)
    killed = []

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:

        def kill(done: int, total: int) -> None:
            if done == total // 3 and not killed:
                pids = client.run(os.getpid)
                killed.append(min(pids.values()))
                os.kill(killed[0], signal.SIGKILL)

        summary = upscale(
            scene[0], tmp_path / "there.zarr", rgb=scene[1], options=OPTIONS, client=client, progress=kill
        )
    assert killed
    np.testing.assert_array_equal(cube(tmp_path / "there.zarr"), cube(tmp_path / "here.zarr"))
    assert summary["consistency"] == here["consistency"]
    assert not list(tmp_path.glob("*.part"))


def test_the_error_names_the_failed_tile(scene, tmp_path, monkeypatch):
    from dualsr_geo.engine import executor

    def broken(*_):
        raise RuntimeError("a chip melted")

    monkeypatch.setattr(executor, "sharpen_tile", broken)
    with pytest.raises(
        TileError, match=r"Tile 0 \(rows 0\.\.16, columns 0\.\.16 of the scene\).*a chip melted.*--resume"
    ):
        upscale(scene[0], tmp_path / "out.zarr", rgb=scene[1], options=OPTIONS)
    assert not Path(tmp_path / "out.zarr").exists()


def test_no_more_tiles_run_at_once_than_jobs(scene, tmp_path, monkeypatch):
    from dualsr_geo.engine import executor

    running, most, lock = [0], [0], threading.Lock()

    def counted(plan, index):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        try:
            return process_tile(plan, index)
        finally:
            with lock:
                running[0] -= 1

    monkeypatch.setattr(executor, "process_tile", counted)
    upscale(scene[0], tmp_path / "out.zarr", rgb=scene[1], options=Options(scale=2, tile=16, jobs=3))
    assert most[0] == 3
