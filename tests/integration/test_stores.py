"""Object stores: reading from and writing to a moto S3 server, also failing and killed; no secret in messages."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from store_server import KEY, SECRET, free_port

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.preparation import dry_run
from dualsr_geo.errors import InputError, OutputError, ResumeError
from dualsr_geo.io.readers.rasterio_source import file_stamp
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.storage.object_store import zarr_store
from dualsr_geo.io.storage.work_directory.store_directory import StoreWorkDirectory
from dualsr_geo.io.writers.destination import destination_at
from dualsr_geo.io.writers.store_destination import PART_BYTES
from dualsr_geo.raster.windows import Window

RUN = {"model": "regression", "tile": 16, "jobs": 2}
CLI = [sys.executable, "-c", "from dualsr_geo.cli import main; main(prog_name='dualsr-geo')"]


SCENE, GUIDE = "s3://scenes/in/scene.tif", "s3://scenes/in/rgb.tif"


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory):
    """Return the bytes of an output on disk, of a file or of every file of a group, written once for the module."""
    paths = {}

    def output(suffix, scene, **options):
        which = (suffix, str(scene), *sorted(options.items()))
        if which not in paths:
            paths[which] = tmp_path_factory.mktemp("local") / f"p.{suffix}"
            dualsr_geo.upscale(scene, paths[which], **RUN, **options)
        return paths[which].read_bytes() if suffix == "tif" else files_of(paths[which])

    return output


def in_store(bucket, suffix):
    """Return the bytes of an output in the store, in the same form."""
    return bucket.get("out/p.tif") if suffix == "tif" else bucket.group("out/p.zarr")


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Reading


def test_the_stamp_of_a_url_that_only_gdal_reads_is_its_name():
    name = {"path": "https://127.0.0.1/k.tif"}
    assert file_stamp(f"/vsicurl/https://me:{SECRET}@127.0.0.1/k.tif?sig={SECRET}") == name
    zipped = file_stamp(f"/vsizip//vsicurl/https://me:{SECRET}@127.0.0.1/k.zip/k.tif")
    assert zipped == {"path": "/vsizip//vsicurl/https://127.0.0.1/k.zip/k.tif"}


def test_a_scene_in_a_store_is_the_same_scene(bucket, inputs):
    ours, theirs = open_scene(SCENE), open_scene(inputs[0])
    whole = Window(0, 41, 0, 57)
    np.testing.assert_array_equal(ours.source.read(whole), theirs.source.read(whole))
    assert (ours.geobox, ours.bands, ours.packing, ours.name) == (
        theirs.geobox, theirs.bands, theirs.packing, theirs.name,
    )  # fmt: skip


def test_a_window_is_read_without_the_rest(bucket, tmp_path):
    values = np.random.default_rng(0).integers(0, 60000, (3, 1024, 768), dtype="uint16")
    form = {"driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256, "interleave": "band"}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(8, 0, 389000, 0, -8, 5820000)}
    with rasterio.open(
        tmp_path / "l.tif", "w", count=3, height=1024, width=768, dtype="uint16", **form, **place
    ) as file:
        file.write(values)
    bucket.put("in/large.tif", tmp_path / "l.tif")
    source = open_scene("s3://scenes/in/large.tif").source
    bucket.fail()
    window = Window(300, 420, 260, 500)
    np.testing.assert_array_equal(source.read(window, [1])[0], values[1, 300:420, 260:500])
    assert 0 < bucket.count("sent") < values.nbytes / 5


@pytest.mark.parametrize("suffix", ["", "/scene"])
@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_a_zarr_group_in_a_store_is_the_same_scene(bucket, inputs, tmp_path, suffix, scheme):
    dualsr_geo.upscale(inputs[0], tmp_path / "p.zarr", scale=2, **RUN)
    bucket.put_folder("in/p.zarr", tmp_path / "p.zarr")
    root = "s3://scenes" if scheme == "s3" else f"http://127.0.0.1:{bucket.proxy}/scenes"
    ours, theirs = open_scene(f"{root}/in/p.zarr{suffix}"), open_scene(f"{tmp_path}/p.zarr{suffix}")
    window = Window(3, 82, 10, 100)
    np.testing.assert_array_equal(ours.source.read(window), theirs.source.read(window))
    assert (ours.geobox, ours.bands, ours.packing) == (theirs.geobox, theirs.bands, theirs.packing)


def test_a_changed_object_has_another_fingerprint(bucket, inputs):
    before = open_scene(SCENE).source.fingerprint()
    assert before == open_scene(SCENE).source.fingerprint()
    bucket.put("in/scene.tif", inputs[1])
    after = open_scene(SCENE).source.fingerprint()
    assert before["files"][0]["etag"] != after["files"][0]["etag"]


# Writing


def test_a_cog_in_a_store_has_the_bytes_of_the_one_on_disk(bucket, on_disk, tmp_path):
    dualsr_geo.upscale(SCENE, "s3://scenes/out/p.tif", rgb=GUIDE, work_dir=str(tmp_path), **RUN)
    assert bucket.get("out/p.tif") == on_disk("tif", SCENE, rgb=GUIDE)
    assert bucket.keys("out/") == ["out/p.tif"]
    assert list(tmp_path.iterdir()) == []


def test_a_zarr_group_in_a_store_has_the_objects_of_the_one_on_disk(bucket, tmp_path):
    options = {**RUN, "uncertainty": True}
    dualsr_geo.upscale(SCENE, tmp_path / "p.zarr", scale=2, **options)
    dualsr_geo.upscale(SCENE, "s3://scenes/out/p.zarr", scale=2, **options)
    assert bucket.group("out/p.zarr") == files_of(tmp_path / "p.zarr")
    assert not bucket.keys("out/p.zarr.part")
    ours = xr.open_zarr(zarr_store("s3://scenes/out/p.zarr"), chunks=None)
    xr.testing.assert_identical(ours, xr.open_zarr(tmp_path / "p.zarr", chunks=None))


def test_a_file_larger_than_a_part_arrives_whole(bucket, tmp_path):
    file = tmp_path / "product.tif"
    file.write_bytes(np.random.default_rng(1).bytes(2 * PART_BYTES + 12345))
    bucket.fail(every=3, kinds=["500", "503", "reset", "hang"])
    destination_at("s3://scenes/out/large.tif", "GTiff").put_file(file)
    assert bucket.get("out/large.tif") == file.read_bytes()
    assert bucket.count("failed") >= 1


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_an_output_is_replaced_only_with_overwrite_and_wholly(bucket, inputs, on_disk, tmp_path, suffix):
    place, options = f"s3://scenes/out/p.{suffix}", {**RUN, "work_dir": str(tmp_path)}
    dualsr_geo.upscale(inputs[0], place, scale=4, **options)
    before = bucket.group("out")
    with pytest.raises(OutputError, match=rf"{place} exists. Give --overwrite"):
        dualsr_geo.upscale(inputs[0], place, scale=2, **options)
    assert bucket.group("out") == before
    dualsr_geo.upscale(inputs[0], place, scale=2, overwrite=True, **options)
    assert in_store(bucket, suffix) == on_disk(suffix, inputs[0], scale=2)
    assert not [k for k in bucket.keys("out/") if not k.startswith(f"out/p.{suffix}") or ".part" in k]


def test_a_report_shows_a_product_in_a_store(bucket, inputs, tmp_path):
    report = tmp_path / "r.html"
    dualsr_geo.upscale(inputs[0], "s3://scenes/out/p.zarr", scale=2, report=report, **RUN)
    assert report.stat().st_size > 10_000


def test_a_plan_names_the_work_directory_and_its_size_on_disk(bucket, tmp_path):
    tiff = dry_run(SCENE, "s3://scenes/out/p.tif", options=Options(scale=4, work_dir=str(tmp_path)))
    assert Path(tiff["work"]).parent == tmp_path
    # Values, stage and output, the latter two with a third more for overviews.
    assert tiff["largest_disk_bytes"] == pytest.approx(tiff["raw_bytes"] * (1 + 2 * 4 / 3), abs=2)
    group = dry_run(SCENE, "s3://scenes/out/p.zarr", options=Options(scale=4))
    assert (group["work"], group["largest_disk_bytes"]) == ("s3://scenes/out/p.zarr.part", 0)
    assert not bucket.keys("out/")


def test_a_work_directory_in_a_store_keeps_files_marks_and_record(bucket):
    folder = StoreWorkDirectory("s3://scenes/out/p.zarr.part")
    with folder.file("fine.bin") as path:
        assert not path.exists()
        path.write_bytes(b"fitted")
    with folder.file("fine.bin") as path:
        assert path.read_bytes() == b"fitted"
    folder.put("run.json", {"a": 1})
    for n in (11, 2):
        folder.put(f"done/{n}.json", {"n": n})
    assert list(folder.marks().items()) == [(2, {"n": 2}), (11, {"n": 11})]
    assert folder.read("run.json") == {"a": 1}
    folder.remove_marks()
    assert folder.marks() == {}
    assert folder.has("run.json")
    bucket.fail(every=2, kinds=["hang"], only="POST")
    folder.remove()
    assert bucket.count("failed")
    assert bucket.keys("out/") == []


# Errors


@pytest.mark.parametrize(("place", "message"), [
    ("s3://nowhere/out/p.zarr", "no bucket `nowhere`"),
    ("s3://nowhere/out/p.tif", "no bucket `nowhere`"),
    ("https://host/p.tif", "https:// can be read, not written"),
    ("s3://scenes", "names no object"),
    ("s3://scenes/in/scene.tif", "is the input s3://scenes/in/scene.tif itself"),
    ("s3://scenes/in.zarr", "exists and is not Zarr"),
    ("s3://scenes/out/p.tif", "folder .*missing.* does not exist.* --work-dir"),
])  # fmt: skip
def test_an_impossible_destination_is_refused_before_the_work(bucket, inputs, tmp_path, place, message):
    bucket.put("in.zarr/readme.txt", inputs[0])
    form = {"format": "COG"} if place == "s3://scenes" else {}
    with pytest.raises(OutputError, match=message):
        dualsr_geo.upscale(SCENE, place, scale=2, overwrite=True, work_dir=str(tmp_path / "missing"), **form, **RUN)


def test_no_output_is_put_next_to_a_scene_in_a_store_by_default(bucket):
    with pytest.raises(OutputError, match="Give --output"):
        dualsr_geo.upscale(SCENE, scale=2, **RUN)


@pytest.mark.parametrize(("scene", "kinds", "message"), [
    ("s3://scenes/in/nothing.tif", [], "there is no such object"),
    ("s3://scenes/in/nothing.zarr", [], "does not exist. Give the URL of a Zarr group"),
    ("s3://nowhere/in/scene.tif", [], "there is no bucket `nowhere`"),
    ("s3://nowhere/in/scene.zarr", [], "there is no bucket `nowhere`"),
    (SCENE, ["403"], "access is denied"),
    (SCENE, ["503"], "asks to slow down, and still did after 4 retries"),
    (SCENE, ["500"], "failed, and still did after 4 retries"),
    ("s3://scenes/in/p.zarr", ["403"], "access is denied"),
    ("s3://scenes/in/p.zarr", ["503"], "slow down, and still did after 4 retries"),
])  # fmt: skip
def test_a_refusal_of_a_store_is_one_line(bucket, scene, kinds, message):
    bucket.fail(every=1 if kinds else 0, kinds=kinds)
    with pytest.raises(InputError, match=message) as caught:
        open_scene(scene)
    assert "\n" not in str(caught.value)
    assert scene in str(caught.value)


@pytest.mark.parametrize("what", ["scene.tif", "scene.zarr"])
def test_an_unreachable_store_is_one_line(bucket, monkeypatch, what):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(InputError, match="cannot be reached. Check the network and, for S3, AWS_ENDPOINT_URL"):
        open_scene(f"s3://scenes/in/{what}")


@pytest.mark.parametrize("what", ["scene.tif", "scene.zarr"])
def test_missing_credentials_are_one_line(bucket, monkeypatch, tmp_path, what):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(InputError, match="there are no credentials for it.*AWS_PROFILE"):
        open_scene(f"s3://scenes/in/{what}")


def test_credentials_of_a_profile_are_found(bucket, monkeypatch, tmp_path):
    file = tmp_path / "credentials"
    file.write_text(f"[mine]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    dualsr_geo.upscale(SCENE, "s3://scenes/out/p.zarr", scale=2, **RUN)
    assert "out/p.zarr/zarr.json" in bucket.keys("out/")


# Stores that fail during a run


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_a_failing_store_delays_the_output_and_does_not_change_it(bucket, on_disk, tmp_path, suffix):
    options = {**RUN, "work_dir": str(tmp_path)}
    expected = on_disk(suffix, SCENE, rgb=GUIDE)
    bucket.fail(every=9, kinds=["500", "503", "reset", "500", "503", "hang", "500", "503", "reset", "500", "503"])
    dualsr_geo.upscale(SCENE, f"s3://scenes/out/p.{suffix}", rgb=GUIDE, **options)
    assert bucket.count("failed") >= 2
    bucket.fail()
    assert in_store(bucket, suffix) == expected


@pytest.mark.parametrize(("suffix", "only", "after"), [
    ("zarr", "PUT /scenes/out/p.zarr.part/store.zarr/scene/c", 3),
    ("zarr", "PUT /scenes/out/p.zarr/", 3),
    ("tif", "PUT /scenes/out/p.tif ", 0),
    ("zarr", "/scenes/in/", 4),
])  # fmt: skip
def test_a_store_that_goes_away_leaves_no_output_that_looks_finished(
    bucket, inputs, on_disk, tmp_path, suffix, only, after
):
    scene, place = (SCENE if "/in/" in only else str(inputs[0])), f"s3://scenes/out/p.{suffix}"
    options = {**RUN, "scale": 4, "work_dir": str(tmp_path), "jobs": 1}
    expected = on_disk(suffix, scene, scale=4)
    bucket.fail(every=1, after=after, kinds=["503"], only=only)
    with pytest.raises((OutputError, InputError), match="still did after 4 retries.*--resume"):
        dualsr_geo.upscale(scene, place, **options)
    bucket.fail()
    assert not {"out/p.tif", "out/p.zarr/zarr.json"} & set(bucket.keys("out/"))
    dualsr_geo.upscale(scene, place, resume=True, **options)
    assert in_store(bucket, suffix) == expected
    assert not bucket.keys("out/p.zarr.part")


@pytest.mark.parametrize(("suffix", "only", "after"), [
    ("zarr", "PUT /scenes/out/p.zarr.part/done", 3),
    ("zarr", "PUT /scenes/out/p.zarr/", 5),
    ("tif", "PUT /scenes/out/p.tif ", 0),
])  # fmt: skip
def test_a_run_killed_against_the_store_resumes_to_the_same_bytes(bucket, on_disk, tmp_path, suffix, only, after):
    place = f"s3://scenes/out/p.{suffix}"
    words = ["upscale", SCENE, "--scale", "4", "-o", place, "--model", "regression", "--tile", "16", "-j", "1"]
    bucket.fail(every=1, after=after, kinds=["hang"], only=only)
    run = subprocess.Popen([*CLI, *words, "-q", "--work-dir", str(tmp_path)])
    while not bucket.count("failed") and run.poll() is None:
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert not {"out/p.tif", "out/p.zarr/zarr.json"} & set(bucket.keys("out/"))
    marks = bucket.keys("out/p.zarr.part/done") or list(tmp_path.glob("*.part/done/*.json"))
    assert len(marks) == (after if "done" in only else 12)
    bucket.fail()
    options = {**RUN, "scale": 4, "work_dir": str(tmp_path), "resume": True}
    dualsr_geo.upscale(SCENE, place, **options)
    assert in_store(bucket, suffix) == on_disk(suffix, SCENE, scale=4)
    assert bucket.keys("out/p.zarr.part") == list(tmp_path.glob("*.part")) == []
    assert dualsr_geo.upscale(SCENE, place, **options)["already_finished"]


def test_an_object_that_changed_is_named_when_resuming(bucket, inputs, tmp_path):
    bucket.fail(every=1, after=2, kinds=["500"], only="PUT /scenes/out/p.zarr.part/done")
    with pytest.raises(OutputError, match="--resume"):
        dualsr_geo.upscale(SCENE, "s3://scenes/out/p.zarr", scale=4, **RUN)
    bucket.fail()
    other, _ = synthetic.write(tmp_path, shape=(41, 57), bands=5, guide="rgb", seed=6)
    bucket.put("in/scene.tif", other)
    with pytest.raises(ResumeError, match="etag"):
        dualsr_geo.upscale(SCENE, "s3://scenes/out/p.zarr", scale=4, resume=True, **RUN)


# Secrets


def test_no_secret_is_in_messages_products_and_reports(bucket, tmp_path):
    user = "PASSWORDinTheUrl"
    web = f"http://me:{user}@127.0.0.1:{bucket.proxy}/scenes/in/scene.tif?X-Amz-Signature={user}"
    secrets = (user, SECRET, KEY)
    place = tmp_path / "p.zarr"
    plan = dry_run(web, place, options=Options(scale=2))
    group = dualsr_geo.upscale(web, place, scale=2, report=tmp_path / "r.html", **RUN)
    cog = dualsr_geo.upscale(SCENE, "s3://scenes/out/p.tif", scale=2, work_dir=str(tmp_path), **RUN)
    texts = [json.dumps(plan), json.dumps(group), json.dumps(cog), repr(open_scene(web).name)]
    bucket.fail(every=1, kinds=["403"])
    for words in ([web, "-o", tmp_path / "q.tif"], [SCENE, "-o", "s3://scenes/out/q.zarr"]):
        run = subprocess.run(
            [*CLI, "upscale", *map(str, words), "--scale", "2", "--log-json", "-"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 1
        assert "access is denied" in run.stderr
        texts += [run.stdout, run.stderr]
    bucket.fail()
    texts += [v.decode("latin-1") for v in [*files_of(place).values(), *bucket.group("out").values()]]
    texts.append((tmp_path / "r.html").read_text())
    assert not [s for s in secrets for text in texts if s in text]
