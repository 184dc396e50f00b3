"""`--resume` takes sources, guides and options of the run that it continues; a changed one is an error."""

import json
import shutil

import pytest
import rasterio
from click.testing import CliRunner

from dualsr_geo import synthetic
from dualsr_geo.cli import main
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine import executor
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.records.recorded_options import options_from_record, options_to_record, recordable
from dualsr_geo.errors import ResumeError, TileError
from dualsr_geo.io.storage.work_directory.directory import RECORD
from dualsr_geo.io.storage.work_directory.local_directory import LocalWorkDirectory

OPTIONS = ["--model", "regression", "-b", "2..3", "-t", "float32", "--co", "COMPRESS=LZW", "--tile", "16", "-j", "1"]


def run(*words):
    return CliRunner().invoke(main, [str(w) for w in words], prog_name="dualsr-geo")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return synthetic.write(tmp_path_factory.mktemp("pair"), shape=(32, 32), bands=3, guide="pan")


def interrupted(monkeypatch, folder, pair, *output):
    """Leave a run that ended at its third tile; return scene and guide."""
    scene, guide = (shutil.copy(p, folder) for p in pair)
    process_tile = executor.process_tile

    def fail(plan, index):
        if index == 2:
            raise TileError("Stopped here.")
        return process_tile(plan, index)

    with monkeypatch.context() as patch:
        patch.setattr(executor, "process_tile", fail)
        assert run("upscale", scene, "--pan", guide, *output, *OPTIONS).exit_code == 1
    return scene, guide


def test_a_run_is_resumed_by_its_scene_only(monkeypatch, tmp_path, pair):
    scene, guide = interrupted(monkeypatch, tmp_path, pair)
    resumed = run("upscale", scene, "--resume")
    assert resumed.exit_code == 0, resumed.output
    reference = run("upscale", scene, "--pan", guide, "-o", tmp_path / "whole.tif", *OPTIONS)
    assert reference.exit_code == 0
    assert (tmp_path / "scene_x4.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    with rasterio.open(tmp_path / "scene_x4.tif") as product:
        assert (product.count, product.dtypes[0], product.compression.name) == (2, "float32", "lzw")


def test_a_changed_option_of_a_run_is_an_error_with_both(monkeypatch, tmp_path, pair):
    scene, _ = interrupted(monkeypatch, tmp_path, pair, "-o", tmp_path / "o.tif")
    result = run("upscale", scene, "-o", tmp_path / "o.tif", "--resume", "--model", "bicubic")
    assert result.exit_code == 1
    assert 'model was "regression", is "bicubic"' in result.stderr
    assert run("upscale", scene, "-o", tmp_path / "o.tif", "--resume").exit_code == 0


@pytest.mark.parametrize("request_", [{"options": 5}, {"options": {"scale": "x"}}, {"options": {}, "rgb": "pan.tif"}, {"options": {"psf": 3}}, {"options": {"creation": [1]}}])  # fmt: skip
def test_a_damaged_record_is_one_line(monkeypatch, tmp_path, pair, request_):
    scene, _ = interrupted(monkeypatch, tmp_path, pair)
    work = LocalWorkDirectory(tmp_path / "scene_x4.tif.part")
    work.put(RECORD, {**work.read(RECORD), "request": request_})
    result = run("upscale", scene, "--resume")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "are damaged" in line
    assert "Leave --resume out to start again." in line
    (work.path / RECORD).write_text("{}")
    (line,) = run("upscale", scene, "--resume").stderr.splitlines()
    assert f"{work.path / RECORD} is damaged" in line


def test_a_batch_is_resumed_by_its_folder_only(tmp_path, pair):
    for name in ("a", "b"):
        for path, end in zip(pair, (".tif", "_pan.tif"), strict=True):
            (tmp_path / "in").mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "in" / f"{name}{end}")
    whole = tmp_path / "in" / "b.tif"
    good = whole.read_bytes()
    whole.write_bytes(b"no raster")
    out = tmp_path / "out"
    first = run("batch", tmp_path / "in", "--rgb", "{stem}_pan.tif", "-o", out, "--model", "regression", "-b", "1")
    assert first.exit_code == 1
    whole.write_bytes(good)
    changed = run("batch", "-o", out, "--resume", "--model", "bicubic")
    assert changed.exit_code == 1
    assert "was made with other options: model was regression, is bicubic. Leave them out" in changed.stderr
    second = run("batch", "-o", out, "--resume")
    assert second.exit_code == 0, second.output
    lines = second.stdout.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["kept", "done"]
    assert lines[-1].startswith("2 done; 2 files of the sources are guides. Finished in ")
    with rasterio.open(out / "b_x4.tif") as product:
        assert product.count == 1


def test_options_are_recorded_and_read():
    options = Options(
        scale=2,
        model="regression",
        nodata=float("nan"),
        psf=Psf.from_mtf(2, 0.3),
        creation=(("A", "b"),),
        overwrite=True,
    )
    values = options_from_record(json.loads(json.dumps(options_to_record(options))), "here")
    assert "overwrite" not in values
    assert values["psf"] == options.psf
    assert values["nodata"] != values["nodata"]
    assert values["creation"] == (("A", "b"),)
    assert options_from_record({"unknown": 3, "scale": None}, "here") == {}


@pytest.mark.parametrize("values", [{"scale": []}, {"nodata": {}}, {"creation": 5}, {"psf": {"ratio": 2}}, {"model": 3}, {"bidx": [1]}, 5, [1]])  # fmt: skip
def test_damaged_options_are_refused(values):
    with pytest.raises(ResumeError, match="The options of the run in here are damaged"):
        options_from_record(values, "here")


def test_what_may_hold_a_secret_is_not_recorded():
    assert recordable(["a.tif", "/b.tif"]) == ["a.tif", "/b.tif"]
    assert recordable(["a.tif", "https://user:secret@host/b.tif"]) is None
    assert recordable(["/vsicurl?url=https%3A%2F%2Fhost&token=secret"]) is None
