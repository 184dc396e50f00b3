"""Batches: the failure of a scene stops no other, and an interrupted run resumes to the same bytes."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.batching import run as batch_run
from dualsr_geo.batching.guide_matching import guide_rule
from dualsr_geo.batching.journal import JOURNAL_FILE, Journal
from dualsr_geo.batching.scene_record import SceneRecord
from dualsr_geo.batching.tasks import SETUP_SECONDS, Batch, plan_scenes
from dualsr_geo.cli import main
from dualsr_geo.engine import preparation, sharpened_guides, tile_size
from dualsr_geo.engine.options import Options
from dualsr_geo.errors import DualSRError, InputError, OutputError, ResumeError
from dualsr_geo.io.writers.output_records import read_record

CLI = [sys.executable, "-c", "from dualsr_geo.cli import main; main(prog_name='dualsr-geo')"]
START = Options(model="regression", jobs=1)
PAN = "{stem}_pan.tif"


def fill(folder: Path, names: list[str], shape: tuple[int, int] = (21, 30)) -> Path:
    """Write a scene and its guide of each name."""
    for seed, name in enumerate(names):
        place = folder / f"{name}.tif"
        place.parent.mkdir(parents=True, exist_ok=True)
        scene, guide = synthetic.write(folder / ".new", shape=shape, bands=3, guide="pan", seed=seed)
        os.replace(scene, place)
        os.replace(guide, place.with_name(f"{place.stem}_pan.tif"))
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    return fill(tmp_path_factory.mktemp("scenes"), ["a", "b c", "deep/ü"])


def bytes_of(folder: Path) -> dict[str, str]:
    products = (p for p in folder.rglob("*") if p.suffix in (".tif", ".zarr"))
    return {str(p.relative_to(folder)): digest(p) for p in products}


def digest(path: Path) -> str:
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


def batch_of(folder: Path, **more: Any) -> Batch:
    options = more.pop("options", START)
    return Batch(folder, guide_rule([PAN]), options, **more)


def statuses(records: list[SceneRecord]) -> dict[str, str]:
    return {Path(r.scene).name: r.status for r in records}


def cli(*words: object) -> Result:
    return CliRunner().invoke(main, ["batch", *map(str, words)])


# ---- a run -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(scenes, tmp_path_factory) -> Path:
    """Return the folder of a run, which tests only read."""
    folder = tmp_path_factory.mktemp("finished")
    batch_run.run([str(scenes)], batch_of(folder))
    return folder


def test_products_are_those_of_upscale(scenes, finished, tmp_path):
    assert sorted(bytes_of(finished)) == ["a_x4.tif", "b c_x4.tif", "deep/ü_x4.tif"]
    dualsr_geo.upscale(scenes / "a.tif", tmp_path / "p.tif", rgb=scenes / "a_pan.tif", options=START)
    assert digest(tmp_path / "p.tif") == digest(finished / "a_x4.tif")


def test_journal_and_summaries_agree(finished, scenes):
    settings, records = Journal(finished).read()
    summary = json.loads((finished / "summary.json").read_text())
    with (finished / "summary.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    journal = {line["scene"]: line for line in map(json.loads, (finished / JOURNAL_FILE).open()) if "scene" in line}
    assert summary["scenes"] == list(journal.values())
    assert [SceneRecord.from_journal(line) for line in journal.values()] == list(records.values())
    assert summary["counts"] == {"planned": 0, "running": 0, "done": 3, "failed": 0, "skipped": 3}
    assert [r["scene"] for r in table] == list(journal)
    for row in table:
        record = journal[row["scene"]]
        assert row["status"] == record["status"]
        if record["status"] == "done":
            lineage = read_record(str(finished / row["product"]), "COG", "lineage")
            assert float(row["rmse"]) == lineage["consistency"]["rmse"]
            assert float(row["seconds"]) > 0
            assert int(row["peak_memory_bytes"]) > 2**20
        else:
            assert row["reason"] == f"The guide of {row['scene'].replace('_pan', '')}."
    assert settings["options"]["model"] == "regression"


@pytest.mark.parametrize("at_once", [2, 3])
def test_several_scenes_at_once_write_the_same_bytes(scenes, finished, tmp_path, at_once):
    batch_run.run([str(scenes)], batch_of(tmp_path, scenes_at_once=at_once))
    assert bytes_of(tmp_path) == bytes_of(finished)


@pytest.mark.slow
def test_a_cluster_writes_the_same_bytes(scenes, finished, tmp_path):
    import distributed

    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        batch_run.run([str(scenes)], batch_of(tmp_path, scenes_at_once=2), client=client)
    assert bytes_of(tmp_path) == bytes_of(finished)


DONE_KEYS = {
    "scene", "status", "product", "rmse", "sam_deg", "scale", "shape", "bands", "model", "notes", "seconds",
    "peak_memory_bytes",
}  # fmt: skip


def test_the_lines_of_the_journal_have_the_keys_that_others_read(finished):
    lines = [json.loads(line) for line in (finished / JOURNAL_FILE).read_text().splitlines()]
    assert set(lines[0]) == {"software", "options", "request"}
    keys = {
        status: {frozenset(line) for line in lines[1:] if line["status"] == status} for status in ("done", "running")
    }
    assert keys == {"done": {frozenset(DONE_KEYS)}, "running": {frozenset({"scene", "status"})}}
    assert {frozenset(line) for line in lines[1:] if line["status"] == "skipped"} == {
        frozenset({"scene", "status", "reason"})
    }


def test_zarr_is_written_where_the_format_is_zarr(scenes, tmp_path):
    options = Options(model="bicubic", scale=2, format="Zarr", jobs=1)
    (record,) = batch_run.run([str(scenes / "a.tif")], Batch(tmp_path, options=options))
    assert (record.status, record.product) == ("done", "a_x2.zarr")


@pytest.fixture
def planned(monkeypatch) -> list[str]:
    """Return the names of what is opened and planned from now on."""
    names: list[str] = []

    def counted(whole: Any) -> Any:
        def count(first: Any, *args: Any, **kwargs: Any) -> Any:
            names.append(f"{whole.__name__} {getattr(first, 'name', None) or Path(first).stem}")
            return whole(first, *args, **kwargs)

        return count

    for module, name in ((preparation, "open_delivered"), (sharpened_guides, "open_guides"), (preparation, "plan_run")):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    return names


ONCE = ["open_delivered a", "open_guides a_pan", "plan_run a"]


@pytest.mark.parametrize("scale", [None, 2])
def test_a_run_opens_and_plans_a_scene_once(scenes, tmp_path, planned, scale):
    options = Options(model="regression", jobs=1, scale=scale)
    (record,) = batch_run.run([str(scenes / "a.tif")], batch_of(tmp_path, options=options))
    assert record.product == f"a_x{scale or 4}.tif"
    assert planned == ONCE
    planned.clear()
    again = Options(model="regression", jobs=1, scale=scale, resume=True)
    batch_run.run([str(scenes / "a.tif")], batch_of(tmp_path, options=again))
    assert planned == ONCE


@pytest.mark.parametrize("scale", [None, 2])
def test_a_dry_run_opens_and_plans_a_scene_once(scenes, tmp_path, planned, scale):
    options = Options(model="regression", jobs=1, scale=scale)
    (record,) = plan_scenes([str(scenes / "a.tif")], batch_of(tmp_path, options=options))
    assert record["scale"] == (scale or 4)
    assert planned == ONCE


def test_an_unforeseen_failure_is_recorded_with_its_traceback(scenes, tmp_path, monkeypatch):
    whole = batch_run.run_plan

    def breaks(plan: Any, *args: Any, **kwargs: Any) -> Any:
        if plan.scene.name == "b c":
            raise ZeroDivisionError("in\nthe middle")
        return whole(plan, *args, **kwargs)

    monkeypatch.setattr(batch_run, "run_plan", breaks)
    ended: list[SceneRecord] = []
    records = batch_run.run([str(scenes)], batch_of(tmp_path), on_record=ended.append)
    assert [r.status for r in ended] == ["done", "failed", "done"]
    broken = next(r for r in records if r.status == "failed")
    assert broken.reason == "ZeroDivisionError: in\\nthe middle"
    assert "breaks" in "".join(broken.traceback)


# ---- resume ------------------------------------------------------------------------------


def test_resume_makes_the_missing_products_and_keeps_the_others(scenes, finished, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    (out / "b c_x4.tif").unlink()
    stamp, before = (out / "a_x4.tif").stat().st_mtime_ns, Journal(out).read()[1]
    options = Options(model="regression", jobs=1, resume=True)
    records = batch_run.run([str(scenes)], batch_of(out, options=options))
    assert bytes_of(out) == bytes_of(finished)
    assert (out / "a_x4.tif").stat().st_mtime_ns == stamp
    # The cost of a finished product is that of the run that wrote it.
    assert records[0] == before[records[0].scene]


def test_the_product_decides_whether_a_scene_is_done(scenes, tmp_path):
    out = tmp_path / "out"
    batch_run.run([str(scenes / "a.tif")], batch_of(out))
    other = Options(model="bicubic", scale=4, jobs=1, overwrite=True)
    dualsr_geo.upscale(scenes / "a.tif", out / "a_x4.tif", options=other)
    again = Options(model="regression", jobs=1, resume=True)
    (record,) = batch_run.run([str(scenes / "a.tif")], batch_of(out, options=again))
    assert record.status == "failed"
    assert "a_x4.tif exists. Give --overwrite" in record.reason
    both = Options(model="regression", jobs=1, resume=True, overwrite=True)
    (record,) = batch_run.run([str(scenes / "a.tif")], batch_of(out, options=both))
    assert record.status == "done"
    assert read_record(str(out / "a_x4.tif"), "COG", "lineage")["model"] == "regression"


def test_products_with_the_tile_of_another_machine_stay_done(scenes, finished, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    monkeypatch.setattr(tile_size, "TILE_SIDES", (16,))
    options = Options(model="regression", jobs=1, resume=True)
    records = batch_run.run([str(scenes)], batch_of(out, options=options))
    assert statuses(records)["a.tif"] == "done"
    assert bytes_of(out) == bytes_of(finished)


def test_a_second_run_needs_resume_or_overwrite(scenes, finished, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    with pytest.raises(OutputError, match=r"a batch of 6 scenes, 3 of them done\. Give --resume"):
        batch_run.run([str(scenes)], batch_of(out))
    other = Options(model="bicubic", scale=2, jobs=1, resume=True)
    with pytest.raises(ResumeError, match=r"scale was None, is 2; model was regression, is bicubic"):
        batch_run.run([str(scenes)], batch_of(out, options=other))
    assert bytes_of(out) == bytes_of(finished)
    replacing = Options(model="bicubic", scale=2, jobs=1, overwrite=True)
    records = batch_run.run([str(scenes / "a.tif")], Batch(out, options=replacing))
    assert statuses(records) == {"a.tif": "done"}
    assert len(Journal(out).read()[1]) == 1


def test_scenes_that_a_second_run_does_not_list_stay_in_the_journal(scenes, tmp_path):
    batch_run.run([str(scenes / "a.tif")], batch_of(tmp_path))
    options = Options(model="regression", jobs=1, resume=True)
    records = batch_run.run([str(scenes / "b c.tif")], batch_of(tmp_path, options=options))
    assert statuses(records) == {"b c.tif": "done"}
    assert statuses(list(Journal(tmp_path).read()[1].values())) == {"a.tif": "done", "b c.tif": "done"}


def test_scenes_at_which_a_process_died_come_last(scenes, tmp_path):
    batch = batch_of(tmp_path, options=Options(model="regression", jobs=1, resume=True))
    poison = SceneRecord(str(scenes / "a.tif"), "running")
    Journal(tmp_path).rewrite(batch.settings, {poison.scene: poison})

    def stop(_: SceneRecord) -> None:
        raise KeyboardInterrupt

    # Also if the next run is interrupted before it reaches the scene.
    with pytest.raises(KeyboardInterrupt):
        batch_run.run([str(scenes)], batch, on_record=stop)
    order: list[str] = []
    batch_run.run([str(scenes)], batch, on_record=lambda r: order.append(Path(r.scene).name))
    assert order == ["ü.tif", "b c.tif", "a.tif"]


# ---- tasks and plans ---------------------------------------------------------------------


def test_a_second_scene_with_the_same_product_fails(scenes, tmp_path):
    other = fill(tmp_path / "other", ["a"])
    batch = batch_of(tmp_path / "out")
    first, second = batch_run.run([str(scenes / "a.tif"), str(other / "a.tif")], batch)
    assert first.status == "done"
    assert (second.status, f"would replace that of {scenes / 'a.tif'}" in second.reason) == ("failed", True)


def test_match_selects_scenes(scenes, tmp_path):
    by = guide_rule(["{id}_pan.tif"], match=r"(?P<id>[a-z ]+)(?<!_pan)\.tif$")
    records = batch_run.run([str(scenes)], Batch(tmp_path, by, START))
    assert statuses(records) == {"a.tif": "done", "b c.tif": "done"}
    with pytest.raises(InputError, match="None of 6 scenes matches"):
        batch_run.run([str(scenes)], Batch(tmp_path / "none", guide_rule([], match="nothing"), START))


def test_a_plan_writes_nothing_and_estimates_the_cost(scenes, finished, tmp_path):
    out = tmp_path / "out"
    plans = plan_scenes([str(scenes)], batch_of(out))
    assert not out.exists()
    able = [r for r in plans if r["status"] == "planned"]
    assert [Path(r["output"]).relative_to(out).as_posix() for r in able] == ["a_x4.tif", "b c_x4.tif", "deep/ü_x4.tif"]
    for record in able:
        assert record["raw_bytes"] == 3 * 84 * 120 * 2
        assert record["estimated_seconds"] > 0
        assert record["estimated_memory_bytes"] > 2**20
    resumed = Options(model="regression", jobs=1, resume=True)
    again = plan_scenes([str(scenes)], batch_of(finished, options=resumed))
    assert sorted(r["status"] for r in again) == ["done"] * 3 + ["skipped"] * 3
    exists = plan_scenes([str(scenes / "a.tif")], batch_of(finished))
    assert "exists. Give --overwrite" in exists[0]["reason"]


def test_time_is_estimated_by_size_and_model(scenes, tmp_path):
    small, wide = scenes / "a.tif", fill(tmp_path, ["w"], (63, 90)) / "w.tif"

    def cost(scene: Path, model: str) -> float:
        batch = Batch(tmp_path / "out", guide_rule([PAN]), Options(model=model, tile=16, jobs=1))
        return plan_scenes([str(scene)], batch)[0]["estimated_seconds"]

    assert cost(wide, "auto") - SETUP_SECONDS == pytest.approx(9 * (cost(small, "auto") - SETUP_SECONDS), abs=0.5)
    assert cost(wide, "auto") > cost(wide, "regression") > cost(wide, "bicubic")


def test_scenes_at_once_share_the_machine(tmp_path):
    batch = Batch(tmp_path, options=Options(jobs=8, max_memory=6 * 2**30), scenes_at_once=3)
    assert (batch.scene_options.jobs, batch.scene_options.max_memory) == (2, 2 * 2**30)


# ---- the command -------------------------------------------------------------------------


def test_the_command_ends_with_the_failures_and_exits_with_1(scenes, tmp_path):
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"II*\0 nothing")
    shutil.copy(scenes / "a_pan.tif", tmp_path / "bad_pan.tif")
    result = cli(scenes, bad, "--rgb", PAN, "-o", tmp_path / "out", "--model", "regression", "-j1")
    assert result.exit_code == 1, result.output
    counts = "3 done, 1 failed; 3 files of the sources are guides."
    assert re.fullmatch(
        rf"{counts} Finished in \d+ s, \d+\.\d s a scene\. The summary is .*", result.output.splitlines()[-1]
    )
    (failure,) = result.stderr.splitlines()
    assert failure.startswith(f"failed  {bad}: cannot be opened")
    out = tmp_path / "out"
    for words in (("-o", out, "--status"), ("--status", out)):
        status = cli(*words)
        assert status.exit_code == 0
        *lines, last = status.output.splitlines()
        assert [line.split()[0] for line in lines] == ["done", "done", "done", "failed"]
        assert last == f"{counts} Not running. Continue with: dualsr-geo batch -o {out} --resume"
    assert cli("--status", out, "-v").output.count("\nskipped ") == 3
    os.replace(shutil.copy(scenes / "a.tif", tmp_path / "copy"), bad)
    resumed = cli(
        scenes, bad, "--rgb", PAN, "-o", tmp_path / "out", "--model", "regression", "-j1", "--resume", "--json"
    )
    assert resumed.exit_code == 0, resumed.output
    assert json.loads(resumed.stdout)["counts"]["done"] == 4


def test_the_command_plans(scenes, tmp_path):
    words = (scenes, "--rgb", PAN, "-o", tmp_path / "out", "--model", "regression", "--dry-run")
    plans = json.loads(cli(*words, "--json").stdout)
    assert {"scene", "status", "output", "estimated_seconds", "estimated_memory_bytes", "raw_bytes"} <= set(plans[0])
    text = cli(*words).stdout
    assert "3 of 3 scenes: about" in text
    assert "skipped" not in text
    assert not (tmp_path / "out").exists()


def test_the_command_reports_a_missing_source_and_a_missing_batch(tmp_path):
    assert cli("-o", tmp_path).exit_code == 2
    nothing = cli("-o", tmp_path, "--status")
    assert (nothing.exit_code, "holds no batch" in nothing.output) == (1, True)


# ---- broken scenes -----------------------------------------------------------------------


def test_broken_scenes_fail_and_the_others_are_done(tmp_path):
    folder = fill(tmp_path / "in", ["good", "with  space", "new\nline", "ünï-日本", "-dash", "[x]*?", "cut"])
    whole = (folder / "cut.tif").read_bytes()
    (folder / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (folder / "zero.tif").touch()
    (folder / "text.tif").write_text("no raster")
    (folder / "folder.tif").mkdir()
    os.mkfifo(folder / "pipe.tif")
    (folder / "self.tif").symlink_to("self.tif")
    (folder / "gone.tif").symlink_to("nowhere")
    (folder / "round").symlink_to(folder)
    bad = ["zero", "text", "folder", "pipe", "self", "gone"]
    for name in bad:
        shutil.copy(folder / "good_pan.tif", folder / f"{name}_pan.tif")
    words = [folder, "--rgb", PAN, "-o", tmp_path / "out", "--model", "regression", "-j1", "--json"]
    ended = subprocess.run([*CLI, "batch", *map(str, words)], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 1, ended.stderr
    records = {Path(r["scene"]).name: r for r in json.loads(ended.stdout)["scenes"]}
    good = ["good", "with  space", "new\nline", "ünï-日本", "-dash", "[x]*?"]
    assert {n for n, r in records.items() if r["status"] == "done"} == {f"{n}.tif" for n in good}
    assert {n for n, r in records.items() if r["status"] == "failed"} == {f"{n}.tif" for n in (*bad, "cut")}
    for record in records.values():
        if record["status"] == "failed":
            assert record["reason"].isprintable()
            assert "traceback" not in record, record
    assert sorted(bytes_of(tmp_path / "out")) == sorted(f"{n}_x4.tif" for n in good)
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {f"{n}_x4.tif" for n in good} | {"batch.jsonl", "batch.lock", "summary.csv", "summary.json"}


def unprivileged() -> list[str]:
    """Return the prefix that makes a command of root respect permissions."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root reads everything, and setpriv (util-linux), which would stop it, is not installed")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]


def test_unreadable_and_locked_scenes_fail_and_the_others_are_done(tmp_path):
    h5py = pytest.importorskip("h5py")
    folder = fill(tmp_path / "in", ["good", "secret", "shy", "deep/inner", "shut"])
    hidden = [folder / "secret.tif", folder / "shy_pan.tif", folder / "deep", tmp_path / "out/shut"]
    (folder / "shut").mkdir()
    os.replace(folder / "shut.tif", folder / "shut/s.tif")
    os.replace(folder / "shut_pan.tif", folder / "shut/s_pan.tif")
    (tmp_path / "out/shut").mkdir(parents=True)
    words = [folder, "--rgb", PAN, "-o", tmp_path / "out", "--model", "regression", "-j1", "--json"]
    run = [*unprivileged(), *CLI, "batch", *map(str, words)]
    shutil.copy(folder / "good_pan.tif", folder / "locked_pan.tif")
    with h5py.File(folder / "locked.h5", "w") as file:
        # A file that is being written has a lock of the system.
        file["x"] = [1.0]
        file.flush()
        for path in hidden:
            path.chmod(0)
        try:
            ended = subprocess.run(run, capture_output=True, text=True, check=False, timeout=120)
        finally:
            for path in hidden:
                path.chmod(0o700)
    assert ended.returncode == 1, ended.stderr
    records = {str(Path(r["scene"]).relative_to(folder)): r for r in json.loads(ended.stdout)["scenes"]}
    assert {n: r["status"] for n, r in records.items() if r["status"] != "skipped"} == {
        "good.tif": "done", "secret.tif": "failed", "shy.tif": "failed", "deep": "failed", "shut/s.tif": "failed",
        "locked.h5": "failed",
    }  # fmt: skip
    why = {"secret.tif": "Permission denied", "shy.tif": "shy_pan.tif", "shut/s.tif": "cannot be read"}
    for name, reason in {**why, "deep": "cannot be read"}.items():
        assert reason in records[name]["reason"], records[name]
    for record in records.values():
        assert "traceback" not in record, record


# ---- kills -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    return fill(tmp_path_factory.mktemp("many"), [f"s{i:02}" for i in range(8)], (24, 31))


@pytest.fixture(scope="module")
def undisturbed(many, tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert start(many, folder).wait() == 0
    return bytes_of(folder)


def start(source: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    words = ["batch", str(source), "--rgb", PAN, "-o", str(out), "--model", "regression", "-j1", "--tile", "8", *more]
    return subprocess.Popen([*CLI, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


class Watcher(threading.Thread):
    """Reads an output folder until `ended` is set, and lists files that are incomplete."""

    def __init__(self, folder: Path, expected: dict[str, str]):
        super().__init__(daemon=True)
        self.folder, self.expected = folder, expected
        self.ended = threading.Event()
        self.wrong: list[str] = []
        self.looks = 0

    def run(self) -> None:
        versions: dict[str, tuple[int, int]] = {}
        while not self.ended.is_set():
            self.looks += 1
            for path in self.folder.glob("*.tif"):
                stat = path.stat()
                if versions.get(path.name) != (stat.st_ino, stat.st_mtime_ns):
                    versions[path.name] = (stat.st_ino, stat.st_mtime_ns)
                    if digest(path) != self.expected[path.name]:
                        self.wrong.append(f"{path.name} is half-written")
            for path in self.folder.glob("*.json"):
                try:
                    json.loads(path.read_text())
                except FileNotFoundError:
                    pass
                except ValueError:
                    self.wrong.append(f"{path.name} is half-written")
            time.sleep(0.005)


@pytest.fixture
def watched(tmp_path, undisturbed) -> Iterator[Watcher]:
    watcher = Watcher(tmp_path, undisturbed)
    watcher.start()
    yield watcher
    watcher.ended.set()
    watcher.join()
    assert watcher.looks > 10
    assert watcher.wrong == []


def tiles(folder: Path, old: set[Path]) -> int:
    """Return how many tiles are done of the running scene, not of the work directories in `old`."""
    return len([p for p in folder.glob("*.part/done/*.json") if p.parents[1] not in old])


def running(folder: Path) -> int:
    try:
        return (folder / JOURNAL_FILE).read_text().count('"status": "running"')
    except FileNotFoundError:
        return 0


@pytest.mark.slow
def test_killed_five_times_and_resumed_the_products_are_the_same(many, undisturbed, tmp_path, watched):
    rng, killed_at = random.Random(3), []
    for kill in range(5):
        old = set(tmp_path.glob("*.part"))
        process = start(many, tmp_path, *(["--resume"] if kill else []))
        marks = rng.randint(1, 10)
        while tiles(tmp_path, old) < marks:
            assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed_at.append(tiles(tmp_path, old))
    # The kills came in the middle of scenes of 12 tiles each, before the end of the batch.
    assert sum(0 < n < 12 for n in killed_at) >= 3, killed_at
    assert bytes_of(tmp_path) != undisturbed
    last = start(many, tmp_path, "--resume")
    assert last.wait() == 0, last.stderr.read()
    assert bytes_of(tmp_path) == undisturbed
    assert not list(tmp_path.glob("*.part"))
    assert set(statuses(list(Journal(tmp_path).read()[1].values())).values()) == {"done", "skipped"}


@pytest.mark.slow
def test_a_second_batch_on_a_folder_is_refused(many, undisturbed, tmp_path, watched):
    first = start(many, tmp_path)
    while not running(tmp_path):
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.01)
    # The first process is stopped, so that it does not end before the others start.
    first.send_signal(signal.SIGSTOP)
    seconds = [start(many, tmp_path, *more) for more in ([], ["--resume"], ["--overwrite"])]
    for second in seconds:
        assert second.wait() == 1
        assert f"is being worked on by process {first.pid} on" in second.stderr.read()
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 0
    assert bytes_of(tmp_path) == undisturbed


def test_sources_without_scenes_are_an_error(scenes, tmp_path):
    with pytest.raises(DualSRError, match="holds no scene"):
        batch_run.run([str(tmp_path)], batch_of(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
