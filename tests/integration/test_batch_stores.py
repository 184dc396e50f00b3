"""Batches in object stores: scenes are found, and products are written and resumed, as on disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pystac
import pytest
from click.testing import CliRunner
from store_server import KEY, SECRET

from dualsr_geo import synthetic
from dualsr_geo.batching.guide_matching import guide_rule
from dualsr_geo.batching.inputs import list_entries
from dualsr_geo.batching.run import run
from dualsr_geo.batching.tasks import Batch, plan_scenes
from dualsr_geo.cli import main
from dualsr_geo.engine.options import Options
from dualsr_geo.errors import InputError, OptionError

SCENES = ("a.tif", "deep/b c.tif", "deep/ü.tif")
PAN = "{stem}_pan.tif"
OUT = "s3://scenes/out"
START = Options(model="regression", tile=16, jobs=1)
CLI = [sys.executable, "-c", "from dualsr_geo.cli import main; main(prog_name='dualsr-geo')"]


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory):
    """Return a folder of scenes and guides on disk."""
    folder = tmp_path_factory.mktemp("archive")
    for seed, name in enumerate(SCENES):
        scene, guide = synthetic.write(folder / ".new", shape=(33, 25), bands=3, guide="pan", seed=seed)
        place = folder / name
        place.parent.mkdir(exist_ok=True)
        os.replace(scene, place)
        os.replace(guide, place.with_name(f"{place.stem}_pan.tif"))
    return folder


@pytest.fixture
def stored(bucket, on_disk):
    """Return the bucket with the scenes and guides in it."""
    bucket.put_folder("archive", on_disk)
    return bucket


@pytest.fixture(scope="module")
def cache():
    return {}


@pytest.fixture
def expected(stored, cache, tmp_path_factory):
    """Return the products of the same scenes on disk; their provenance names the store."""
    if not cache:
        out = tmp_path_factory.mktemp("expected")
        run(["s3://scenes/archive"], Batch(out, guide_rule([PAN]), START))
        cache.update({str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.tif")})
    return cache


def put_empty(bucket, *keys):
    for key in keys:
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=b"")


def batch_of(folder, **more):
    return Batch(folder, guide_rule([PAN]), more.pop("options", START), store=more.pop("store", OUT), **more)


def products(bucket):
    return {k.removeprefix("out/"): bucket.get(k) for k in bucket.keys("out/")}


# ---- scenes ------------------------------------------------------------------------------


KEYS = (
    "lot/a.tif", "lot/x.JP2", "lot/2024/b.tif", "lot/2024/z.zarr/zarr.json", "lot/2024/z.zarr/c/0/0", "lot/e.dat",
    "lot/e.dat.hdr", "lot/f.dat", "lot/readme.md", "lot/.hidden/a.tif", "lot/c_x4.tif.part/1.tif",
    "lot/S2A.SAFE/GRANULE/B02.jp2", "lotother/a.tif",
)  # fmt: skip


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("lot", ["2024/b.tif", "2024/z.zarr", "S2A.SAFE", "a.tif", "e.dat", "x.JP2"]),
        ("lot/", ["2024/b.tif", "2024/z.zarr", "S2A.SAFE", "a.tif", "e.dat", "x.JP2"]),
        ("lot/*.tif", ["a.tif"]),
        ("lot/**/*.tif", ["2024/b.tif", "a.tif"]),
        ("lot/20[12]4/?.*", ["2024/b.tif", "2024/z.zarr"]),
        ("lot/*.md", ["readme.md"]),
    ],
)
def test_a_folder_of_a_bucket_has_the_same_scenes_as_on_disk(bucket, source, names):
    put_empty(bucket, *KEYS)
    entries = list_entries([f"s3://scenes/{source}"])
    assert [e.path.removeprefix("s3://scenes/lot/") for e in entries] == names
    assert all(e.listed and e.folder == os.path.dirname(n) for e, n in zip(entries, names, strict=True))


def test_a_single_object_is_a_scene_even_if_it_is_missing(bucket):
    put_empty(bucket, *KEYS)
    for source in ("lot/a.tif", "lot/2024/z.zarr", "nothing/here", "lot/S2A.SAFE"):
        (entry,) = list_entries([f"s3://scenes/{source}"])
        assert (entry.path, entry.listed) == (f"s3://scenes/{source}", False)


def test_the_output_is_excluded(bucket):
    put_empty(bucket, "lot/a.tif", "lot/out/a_x4.tif", "lot/out2/b.tif")
    entries = list_entries(["s3://scenes/lot"], exclude="s3://scenes/lot/out")
    assert [e.path.removeprefix("s3://scenes/lot/") for e in entries] == ["a.tif", "out2/b.tif"]
    with pytest.raises(OptionError, match="s3://scenes/lot/out/ is also the folder of the scenes"):
        list_entries(["s3://scenes/lot/out"], exclude="s3://scenes/lot/out/")


@pytest.mark.parametrize("source", ["s3://scenes/none/*.tif", "s3://nobucket/lot/*.tif"])
def test_a_glob_without_a_match_is_an_error(bucket, source):
    with pytest.raises(InputError, match=r"none/\*\.tif holds no scene|there is no bucket `nobucket`"):
        list_entries([source])


# ---- a run -------------------------------------------------------------------------------


def test_products_in_a_bucket_are_those_on_disk(stored, expected, tmp_path):
    records = run(["s3://scenes/archive"], batch_of(tmp_path, stac=True, report=True))
    assert {r.status for r in records} == {"done", "skipped"}
    assert products(stored) == expected
    done = [r for r in records if r.status == "done"]
    assert [r.product for r in done] == [f"{OUT}/{n.removesuffix('.tif')}_x4.tif" for n in SCENES]
    # Pages and items are in the folder of the journal, and the work directories are removed.
    for record, name in zip(done, SCENES, strict=True):
        assert (tmp_path / record.report).read_text().startswith("<!DOCTYPE html>")
        item = pystac.Item.from_file(str(tmp_path / record.item))
        assert item.assets["data"].href == f"{OUT}/{name.removesuffix('.tif')}_x4.tif"
        assert "The acquisition time is unknown" in item.properties["description"]
    assert len(pystac.ItemCollection.from_file(str(tmp_path / "items.json"))) == 3
    assert not list(tmp_path.rglob("*.part"))


def test_resume_writes_a_removed_product_and_keeps_the_others(stored, expected, tmp_path):
    run(["s3://scenes/archive"], batch_of(tmp_path, report=True))
    when = {o: stored.client.head_object(Bucket=stored.name, Key=o)["LastModified"] for o in stored.keys("out/")}
    stored.client.delete_object(Bucket=stored.name, Key="out/a_x4.tif")
    time.sleep(1.1)  # S3 has times in seconds
    records = run(["s3://scenes/archive"], batch_of(tmp_path, report=True, options=replace(START, resume=True)))
    assert {r.status for r in records} == {"done", "skipped"}
    assert products(stored) == expected
    now = {o: stored.client.head_object(Bucket=stored.name, Key=o)["LastModified"] for o in stored.keys("out/")}
    assert [o for o in when if now[o] != when[o]] == ["out/a_x4.tif"]


def test_the_plan_names_the_products_and_writes_nothing(stored, tmp_path):
    before = stored.keys()
    plans = plan_scenes(["s3://scenes/archive"], batch_of(tmp_path / "work"))
    outputs = [r["output"] for r in plans if r["status"] == "planned"]
    assert outputs == [f"{OUT}/{n.removesuffix('.tif')}_x4.tif" for n in SCENES]
    assert stored.keys() == before
    assert not (tmp_path / "work").exists()


def test_a_missing_guide_fails_its_scene(stored, tmp_path):
    stored.client.delete_object(Bucket=stored.name, Key="archive/deep/ü_pan.tif")
    batch = batch_of(tmp_path, options=replace(START, scale=4))
    records = {r.scene: r for r in run(["s3://scenes/archive"], batch)}
    record = records["s3://scenes/archive/deep/ü.tif"]
    assert record.status == "failed"
    assert record.reason.startswith("The guide s3://scenes/archive/deep/ü_pan.tif does not exist")
    assert sorted(products(stored)) == ["a_x4.tif", "deep/b c_x4.tif"]
    unguided = replace(batch, folder=tmp_path / "2", rule=guide_rule([PAN], allow_unguided=True), store=f"{OUT}/2")
    assert "failed" not in {r.status for r in run(["s3://scenes/archive"], unguided)}


def test_a_zarr_guide_exists_if_it_is_a_group(stored, tmp_path):
    batch = replace(batch_of(tmp_path), rule=guide_rule(["{stem}_pan.zarr"]))
    put_empty(stored, "archive/a_pan.zarr/c/0/0/0")  # what a killed copy leaves
    (record,) = plan_scenes(["s3://scenes/archive/a.tif"], batch)
    assert record["reason"].startswith("The guide s3://scenes/archive/a_pan.zarr does not exist")
    put_empty(stored, "archive/a_pan.zarr/zarr.json")
    (record,) = plan_scenes(["s3://scenes/archive/a.tif"], batch)
    assert "does not exist" not in record["reason"]


@pytest.mark.parametrize(
    ("pattern", "match"),
    [("../archive/{stem}_p?n.tif", None), ("s3://scenes/archive/{x}_pan.tif", "archive/(?P<x>.+)[.]tif")],
)
def test_guides_are_found_by_wildcards_and_urls(stored, expected, tmp_path, pattern, match):
    records = run(["s3://scenes/archive/a.tif"], replace(batch_of(tmp_path), rule=guide_rule([pattern], match=match)))
    assert [r.status for r in records] == ["done"]
    assert products(stored) == {"a_x4.tif": expected["a_x4.tif"]}


def test_a_stac_catalog_in_a_bucket_is_read(stored, expected, tmp_path):
    items = [
        pystac.Item(f"i{n}", None, None, pystac.utils.str_to_datetime("2024-05-01T10:00:00Z"), {}) for n in range(2)
    ]
    catalog = pystac.Catalog("c", "an archive")
    for item, name in zip(items, SCENES, strict=False):
        item.add_asset("ms", pystac.Asset(f"../../archive/{name}", roles=["data"]))
        item.add_asset("pan", pystac.Asset(f"../../archive/{name.removesuffix('.tif')}_pan.tif", roles=["data"]))
        catalog.add_item(item)
    catalog.normalize_and_save(str(tmp_path / "stac"), pystac.CatalogType.SELF_CONTAINED)
    stored.put_folder("stac", tmp_path / "stac")
    batch = replace(batch_of(tmp_path / "work"), rule=guide_rule(["pan"]), asset="ms")
    records = run(["s3://scenes/stac/catalog.json"], batch)
    assert [r.status for r in records] == ["done", "done"], records
    assert products(stored) == {f"i{n}_x4.tif": expected[f"{s[:-4]}_x4.tif"] for n, s in enumerate(SCENES[:2])}


def test_a_failing_store_changes_no_product(stored, expected, tmp_path):
    stored.fail(every=9, kinds=["500", "503", "reset"])
    records = run(["s3://scenes/archive"], batch_of(tmp_path))
    stored.fail()
    assert {r.status for r in records} == {"done", "skipped"}, records
    assert products(stored) == expected


def test_killed_and_resumed_the_products_are_the_same(stored, expected, tmp_path):
    command = [*CLI, "batch", "s3://scenes/archive", "--rgb", PAN, "-o", OUT, "--work-dir", str(tmp_path), "--resume"]
    command += ["--model", "regression", "--tile", "16", "--jobs", "1", "--quiet"]
    kills, intact = 0, []
    while kills < 3:
        log = tmp_path / f"{kills}.jsonl"
        process = subprocess.Popen([*command, "--log-json", str(log)], stderr=subprocess.PIPE)
        while process.poll() is None and not (log.exists() and "tile done" in log.read_text()):
            time.sleep(0.02)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        # The lock of a killed run stays next to its product until it is resumed.
        whole = {name: content for name, content in products(stored).items() if ".part/" not in name}
        intact.append({name: content == expected[name] for name, content in whole.items()})
    last = subprocess.run(command, capture_output=True, text=True, check=False)
    assert last.returncode == 0, last.stderr
    assert all(all(products.values()) for products in intact)
    assert products(stored) == expected
    assert SECRET not in "".join(p.read_text() for p in tmp_path.glob("*.json*"))


# ---- errors ------------------------------------------------------------------------------


def cli(*words):
    return CliRunner().invoke(main, ["batch", *map(str, words)])


def test_a_store_needs_a_folder_for_the_journal(bucket, tmp_path):
    refused = cli("s3://scenes/in", "-o", OUT)
    assert refused.exit_code == 2
    assert f"--output {OUT} is in an object store. Give --work-dir too" in refused.output
    refused = cli("s3://scenes/in", "-o", tmp_path, "--work-dir", tmp_path)
    assert refused.exit_code == 2
    assert "--work-dir is for an --output in an object store" in refused.output
    refused = cli("s3://scenes/in", "-o", __file__)
    assert refused.exit_code == 2
    assert "is a file. Give a folder" in refused.output


@pytest.mark.parametrize(
    ("output", "message"),
    [("https://example.com/out", "https:// can be read, not written"), ("s3://nobucket/out", "no bucket `nobucket`")],
)
def test_an_output_that_cannot_be_written_is_the_reason_of_each_scene(stored, tmp_path, output, message):
    ended = cli("s3://scenes/archive/a.tif", "--scale", 2, "-o", output, "--work-dir", tmp_path, "--model", "bicubic")
    assert ended.exit_code == 1
    assert message in ended.output
    assert KEY not in ended.output
    assert SECRET not in ended.output


def test_status_is_that_of_the_journal(stored, tmp_path):
    run(["s3://scenes/archive/a.tif"], batch_of(tmp_path))
    status = cli("-o", OUT, "--work-dir", tmp_path, "--status", "--json")
    assert json.loads(status.output)["counts"]["done"] == 1
