"""Runs from disk to disk: tiled equals whole, the same bytes on threads and workers, killed and resumed, full disk."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
import zarr

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.errors import ResumeError, TileError

# What is about the engine runs without networks, which take twenty times as long.
START = {"model": "regression"}
CLI = [sys.executable, "-c", "from dualsr_geo.cli import main; main(prog_name='dualsr-geo')"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Scene and guide of an awkward size, 61 x 97 lr pixels."""
    return synthetic.write(tmp_path_factory.mktemp("inputs"), shape=(61, 97), bands=12, guide="rgb", seed=5)


def bytes_of(output):
    """Return a hash of a file, or of every file of a folder."""
    files = [output] if output.is_file() else sorted(f for f in output.rglob("*") if f.is_file())
    return {str(f.relative_to(output)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def run_cli(*words, **kwargs):
    return subprocess.run([*CLI, *map(str, words)], capture_output=True, text=True, check=False, **kwargs)


# ---- tiled equals whole ------------------------------------------------------------------


@pytest.mark.parametrize(("guide", "holes", "model"), [
    ("pan", False, "regression"), ("rgb", True, "regression"), ("pan", True, "auto"), ("rgb", False, "auto"),
])  # fmt: skip
def test_tiled_equals_whole(guide, holes, model):
    scenes = synthetic.make((61, 97), bands=9, guide=guide, seed=2)
    scene, sharp = synthetic.as_dataarray(scenes), synthetic.as_dataarray(scenes, "guide")
    if holes:
        scene = scene.copy()
        scene[:, 20:25, 30:38] = np.nan
        scene[2:4, 40:44, 60:90] = np.nan
        sharp = sharp.copy()
        sharp[:, :, 300:] = np.nan
    whole = scene.dualsr.upscale(rgb=sharp, scale=4, tile=97, model=model).values
    span = np.nanmax(scene.values) - np.nanmin(scene.values)
    for tile in (16, 23, 64) if model == "regression" else (23,):
        tiled = scene.dualsr.upscale(rgb=sharp, scale=4, tile=tile, model=model).values
        np.testing.assert_array_equal(np.isnan(tiled), np.isnan(whole))
        assert np.nanmax(np.abs(tiled - whole)) <= 1e-5 * span


# ---- the same bytes ----------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "model"), [("tif", "auto"), ("zarr", "regression")])
def test_one_job_and_two_write_the_same_bytes(inputs, tmp_path, suffix, model):
    products = []
    for jobs in (1, 2):
        place = tmp_path / f"jobs{jobs}.{suffix}"
        dualsr_geo.upscale(inputs[0], place, rgb=inputs[1], jobs=jobs, tile=32, model=model)
        products.append(bytes_of(place))
    assert list(products[0].values()) == list(products[1].values())


@pytest.mark.slow
def test_a_cluster_of_two_processes_writes_the_same_bytes(inputs, tmp_path):
    from distributed import Client, LocalCluster

    threads, workers = tmp_path / "threads.tif", tmp_path / "workers.tif"
    dualsr_geo.upscale(inputs[0], threads, rgb=inputs[1], tile=32)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        dualsr_geo.upscale(inputs[0], workers, rgb=inputs[1], tile=32, client=client)
    assert threads.read_bytes() == workers.read_bytes()


def test_the_lazy_accessor_gives_the_same_bytes(inputs, tmp_path):
    place = tmp_path / "output.tif"
    dualsr_geo.upscale(inputs[0], place, rgb=inputs[1], tile=32)
    scene, guide = (rioxarray.open_rasterio(f, chunks={"x": 50, "y": 40}) for f in inputs)
    lazy = scene.dualsr.upscale(rgb=guide, tile=32)
    assert lazy.chunks is not None
    with rasterio.open(place) as dataset:
        np.testing.assert_array_equal(lazy.values, dataset.read())


# ---- interruption ------------------------------------------------------------------------


def start_and_kill(scene, guide, output, tiles, model):
    """Start a run, and kill it when a number of tiles is finished."""
    options = ["--model", model, "--tile", "16", "--resume", "-q", "-j", "1"]
    run = subprocess.Popen([*CLI, "upscale", scene, "--rgb", guide, "-o", output, *options])
    done = Path(f"{output}.part") / "done"
    until = time.monotonic() + 120
    while run.poll() is None and time.monotonic() < until:
        if done.exists() and len(list(done.glob("[0-9]*.json"))) >= tiles:
            break
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.wait()


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "model"), [("tif", "regression"), ("zarr", "auto")])
def test_a_run_killed_three_times_resumes_to_the_same_bytes(inputs, tmp_path, suffix, model):
    quiet, killed = tmp_path / f"quiet/p.{suffix}", tmp_path / f"killed/p.{suffix}"
    quiet.parent.mkdir()
    killed.parent.mkdir()
    dualsr_geo.upscale(inputs[0], quiet, rgb=inputs[1], tile=16, model=model)
    for tiles in sorted(np.random.default_rng(7).integers(1, 22, 3)):
        start_and_kill(*map(str, inputs), str(killed), int(tiles), model)
        assert not killed.exists()
    words = ["upscale", inputs[0], "--rgb", inputs[1], "-o", killed, "--tile", 16, "--resume", "--model", model]
    run = run_cli(*words, "-q")
    assert run.returncode == 0, run.stderr
    assert bytes_of(killed) == bytes_of(quiet)
    assert not Path(f"{killed}.part").exists()
    again = run_cli(*words)
    assert again.returncode == 0
    assert "already finished" in again.stdout


def test_a_geotiff_resumes_to_the_same_bytes(inputs, tmp_path, monkeypatch):
    quiet, broken = tmp_path / "quiet.tif", tmp_path / "broken.tif"
    options = {"rgb": inputs[1], "tile": 32, "format": "GTiff", "jobs": 1, **START}
    dualsr_geo.upscale(inputs[0], quiet, **options)
    _break_after(monkeypatch, 3)
    with pytest.raises(TileError, match=r"Tile 3 \(rows 0\.\.32, columns 96\.\.97"):
        dualsr_geo.upscale(inputs[0], broken, **options)
    assert not broken.exists()
    monkeypatch.undo()
    dualsr_geo.upscale(inputs[0], broken, resume=True, **options)
    assert broken.read_bytes() == quiet.read_bytes()


def _break_after(monkeypatch, tiles):
    from dualsr_geo.engine import executor

    real = executor.sharpen_tile

    def failing(work, tile, *rest):
        if tile.index >= tiles:
            raise RuntimeError("broken on purpose")
        return real(work, tile, *rest)

    monkeypatch.setattr(executor, "sharpen_tile", failing)


def test_changed_options_are_named_and_refused(inputs, tmp_path, monkeypatch):
    place = tmp_path / "output.tif"
    _break_after(monkeypatch, 1)
    with pytest.raises(TileError, match="broken on purpose"):
        dualsr_geo.upscale(inputs[0], place, rgb=inputs[1], tile=32, jobs=1, **START)
    monkeypatch.undo()
    with pytest.raises(ResumeError, match=r"(?s)coregister.*auto.*off|coregister.*off.*auto"):
        dualsr_geo.upscale(inputs[0], place, rgb=inputs[1], tile=32, resume=True, coregister="off", **START)


def test_another_machines_tile_does_not_matter_when_resuming(inputs, tmp_path, monkeypatch):
    quiet, broken = tmp_path / "quiet.tif", tmp_path / "broken.tif"
    dualsr_geo.upscale(inputs[0], quiet, rgb=inputs[1], tile=32, **START)
    _break_after(monkeypatch, 1)
    with pytest.raises(TileError):
        dualsr_geo.upscale(inputs[0], broken, rgb=inputs[1], tile=32, jobs=1, **START)
    monkeypatch.undo()
    dualsr_geo.upscale(inputs[0], broken, rgb=inputs[1], resume=True, **START)
    assert broken.read_bytes() == quiet.read_bytes()


# ---- disk full ---------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 4 MB; skips where mounting is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield place
    subprocess.run(["umount", "-l", place], check=False)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_run_resumes_with_more_space(inputs, tmp_path, small_disk):
    quiet, place = tmp_path / "p.tif", small_disk / "p.tif"
    dualsr_geo.upscale(inputs[0], quiet, rgb=inputs[1], tile=16, **START)
    words = [
        "upscale",
        inputs[0],
        "--rgb",
        inputs[1],
        "-o",
        place,
        "--tile",
        16,
        "--resume",
        "-q",
        "--model",
        "regression",
    ]
    full = run_cli(*words)
    assert full.returncode == 1
    lines = [line for line in full.stderr.splitlines() if line]
    assert len(lines) == 1, full.stderr
    assert "full" in lines[0]
    assert "--resume" in lines[0]
    assert not place.exists()
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    resumed = run_cli(*words)
    assert resumed.returncode == 0, resumed.stderr
    assert place.read_bytes() == quiet.read_bytes()


# ---- memory ------------------------------------------------------------------------------


@pytest.mark.slow
def test_memory_does_not_grow_with_the_scene(tmp_path):
    peaks = []
    for side in (270, 540):
        scene, guide = synthetic.write(tmp_path / str(side), shape=(side, side), bands=13, guide="pan")
        run = run_cli(
            "upscale", scene, "--rgb", guide, "-o", tmp_path / f"{side}.tif", "--tile", 64, "-j", 1, "--json",
            "--model", "regression",
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        peaks.append(json.loads(run.stdout)["peak_memory_bytes"])
    assert peaks[1] < 1.15 * peaks[0]


def test_zarr_and_cog_have_the_same_values(inputs, tmp_path):
    one, two = tmp_path / "p.tif", tmp_path / "p.zarr"
    for place in (one, two):
        dualsr_geo.upscale(inputs[0], place, rgb=inputs[1], tile=32, **START)
    with rasterio.open(one) as cog:
        np.testing.assert_array_equal(cog.read(), zarr.open_group(two, mode="r")["scene"][:])
    opened = xr.open_zarr(two)
    assert opened["scene"].rio.crs.to_epsg() == 32633
