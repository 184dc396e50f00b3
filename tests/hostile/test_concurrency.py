"""Two runs onto one output: one product, byte-identical to that of a lone run, and one clear refusal."""

import hashlib
import json
import os
import re
import socket
import threading

import interrupted_run as runs
import numpy as np
import pytest
from delivered import raster

import dualsr_geo
from dualsr_geo.engine.degrade_raster import degrade
from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.work_directory import store_lock
from dualsr_geo.io.storage.work_directory.local_directory import LocalWorkDirectory
from dualsr_geo.io.storage.work_directory.ownership import Owner

OPTIONS = {"scale": 2, "tile": 8, "jobs": 1}
OUTPUTS = ("o.tif", "o.zarr", "s3://scenes/out/o.zarr", "s3://scenes/out/o.tif")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    cube = np.random.default_rng(1).integers(500, 5000, (3, 24, 26)).astype("uint16")
    return raster(tmp_path_factory.mktemp("scene") / "scene.tif", cube, 8.0)


@pytest.fixture(scope="module")
def alone(scene, tmp_path_factory):
    """Return the bytes of an output of a lone run by suffix and model."""
    outputs = {}

    def output(name, model):
        key = name.rpartition(".")[2], model
        if key not in outputs:
            place = tmp_path_factory.mktemp("alone") / f"o.{key[0]}"
            dualsr_geo.upscale(scene, place, model=model, **OPTIONS)
            outputs[key] = bytes_of(str(place), None)
        return outputs[key]

    return output


def bytes_of(place, bucket):
    """Return the digests of an output by the names of its files."""
    if "://" in place:
        key = place.removeprefix("s3://scenes/")
        contents = bucket.group(key) if place.endswith(".zarr") else {"": bucket.get(key)}
    elif place.endswith(".zarr"):
        from pathlib import Path

        contents = {str(p.relative_to(place)): p.read_bytes() for p in Path(place).rglob("*") if p.is_file()}
    else:
        with open(place, "rb") as file:
            contents = {"": file.read()}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def place_of(output, tmp_path):
    return output if "://" in output else str(tmp_path / output)


@pytest.mark.parametrize("output", ["o.tif", "s3://scenes/out/o.zarr"])
def test_a_second_run_is_refused_and_the_first_is_undisturbed(scene, alone, bucket, tmp_path, output):
    place = place_of(output, tmp_path)
    expected = alone(output, "regression")
    with runs.held(str(scene), place) as (first, go_on):
        holder = rf"is being written by process {first.pid} on {re.escape(socket.gethostname())} since 2\d{{3}}-"
        for options in ({}, {"resume": True}, {"overwrite": True}, {"resume": True, "overwrite": True}):
            with pytest.raises(OutputError, match=holder) as refused:
                dualsr_geo.upscale(scene, place, model="interpolation", **OPTIONS, **options)
            assert "\n" not in str(refused.value)
        assert not go_on()
    assert bytes_of(place, bucket) == expected
    assert not os.path.lexists(f"{place}.part")
    assert not bucket.keys("out/o.zarr.part")


def test_a_thread_of_the_same_process_is_refused(scene, alone, tmp_path):
    place, entered, leave = tmp_path / "o.tif", threading.Event(), threading.Event()

    def progress(_done, _total):
        entered.set()
        assert leave.wait(60)

    first = threading.Thread(
        target=lambda: dualsr_geo.upscale(scene, place, model="regression", progress=progress, **OPTIONS)
    )
    first.start()
    assert entered.wait(60)
    with pytest.raises(OutputError, match=f"is being written by process {os.getpid()} on"):
        dualsr_geo.upscale(scene, place, model="interpolation", overwrite=True, **OPTIONS)
    leave.set()
    first.join()
    assert bytes_of(str(place), None) == alone("o.tif", "regression")


def test_a_degraded_scene_is_locked_too(scene, tmp_path):
    place = tmp_path / "o.tif"
    with (
        LocalWorkDirectory(tmp_path / "o.tif.part").locked(str(place)),
        pytest.raises(OutputError, match="o.tif is being written by process"),
    ):
        degrade(scene, place, scale=2, overwrite=True)
    degrade(scene, place, scale=2)
    assert [p.name for p in tmp_path.iterdir()] == ["o.tif"]


def test_a_second_training_is_refused(tmp_path):
    from dualsr_geo.training import train

    folder, output = tmp_path / "w.training", tmp_path / "w.safetensors"
    with (
        train._locked(folder, output),
        pytest.raises(OutputError, match=f"w.safetensors is being trained by process {os.getpid()} on"),
    ):
        train._locked(folder, output).__enter__()
    assert not folder.exists()


def test_a_lock_of_a_killed_run_holds_nothing(scene, alone, bucket):
    place = "s3://scenes/out/o.zarr"
    with runs.held(str(scene), place) as (first, _):
        first.kill()
        first.join()
        assert "out/o.zarr.part/owner.json" in bucket.keys("out/")
        dualsr_geo.upscale(scene, place, model="regression", resume=True, **OPTIONS)
    assert bytes_of(place, bucket) == alone("o.zarr", "regression")
    assert not bucket.keys("out/o.zarr.part")


def other_owner(bucket, **changes):
    """Put the owner object of a run on another machine."""
    values = {**Owner.this_process().to_json(), "host": "elsewhere", "token": "theirs", **changes}
    bucket.client.put_object(Bucket=bucket.name, Key="out/o.zarr.part/owner.json", Body=json.dumps(values))


def test_a_run_on_another_machine_is_taken_for_killed_when_it_no_longer_reports(scene, bucket, monkeypatch):
    place = "s3://scenes/out/o.zarr"
    other_owner(bucket, pid=4711)
    with pytest.raises(OutputError, match=r"is being written by process 4711 on elsewhere .*after 300 s"):
        dualsr_geo.upscale(scene, place, model="interpolation", **OPTIONS)
    monkeypatch.setattr(store_lock, "STALE_S", -60.0)
    dualsr_geo.upscale(scene, place, model="interpolation", **OPTIONS)
    assert not bucket.keys("out/o.zarr.part")


def test_a_damaged_owner_object_is_a_refusal_until_it_is_old(scene, bucket, monkeypatch):
    bucket.client.put_object(Bucket=bucket.name, Key="out/o.zarr.part/owner.json", Body=b"\xff[")
    with pytest.raises(OutputError, match=r"is being written by another run, which reported .* s ago"):
        dualsr_geo.upscale(scene, "s3://scenes/out/o.zarr", model="interpolation", **OPTIONS)
    monkeypatch.setattr(store_lock, "STALE_S", -60.0)
    dualsr_geo.upscale(scene, "s3://scenes/out/o.zarr", model="interpolation", **OPTIONS)


def test_a_run_that_lost_its_lock_publishes_nothing(scene, bucket, monkeypatch):
    monkeypatch.setattr(store_lock, "HEARTBEAT_S", 0.05)

    def progress(done, total):
        if done == total:
            other_owner(bucket)

    with pytest.raises(OutputError, match="another run has taken over its work directory"):
        dualsr_geo.upscale(scene, "s3://scenes/out/o.zarr", model="interpolation", progress=progress, **OPTIONS)
    assert not [k for k in bucket.keys("out/") if not k.startswith("out/o.zarr.part/")]
    assert json.loads(bucket.get("out/o.zarr.part/owner.json"))["token"] == "theirs"


def test_a_store_without_conditions_is_locked_by_looking(bucket, monkeypatch):
    def unsupported(store, name, content, mode=None):
        if mode is not None:
            raise store_lock.NotSupportedError("no conditions here")
        return real(store, name, content)

    real = store_lock.obstore.put
    monkeypatch.setattr(store_lock.obstore, "put", unsupported)
    folder, output = "s3://scenes/out/o.zarr.part", "s3://scenes/out/o.zarr"
    with store_lock.locked_in_store(folder, output) as require_held:
        require_held()
        with pytest.raises(OutputError, match="is being written by process"):
            store_lock.locked_in_store(folder, output).__enter__()
        require_held()
    assert not bucket.keys("out/")


def race(scene, alone, bucket, tmp_path, output, models):
    """Start two runs at one moment; check that the product is that of one, and that the other was refused."""
    place = place_of(output, tmp_path)
    options = [{"model": model, "work_dir": str(tmp_path)} for model in models]
    errors = runs.run_at_once([((str(scene), place), o) for o in options], dict(os.environ))
    refused = [e for e in errors if e]
    assert len(refused) == 1, errors
    assert re.match(r"OutputError: .* is being written( by (process \d+|another run)|\.).*Wait for it", refused[0]), (
        errors
    )
    assert bytes_of(place, bucket) == alone(output, models[errors.index("")])
    assert not os.path.lexists(f"{place}.part")
    assert not [key for key in bucket.keys("out/") if ".part" in key]


@pytest.mark.hostile
@pytest.mark.parametrize("round_", range(10))
@pytest.mark.parametrize("output", OUTPUTS)
def test_of_two_runs_at_one_moment_one_makes_the_product(scene, alone, bucket, tmp_path, output, round_):
    race(scene, alone, bucket, tmp_path, output, ("regression", "interpolation")[:: 1 if round_ % 2 else -1])
