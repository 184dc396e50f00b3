"""`dualsr_geo.batch` is the command `dualsr-geo batch`."""

import inspect
import json

import pytest

import dualsr_geo
from dualsr_geo import cli, synthetic
from dualsr_geo.errors import DualSRError, KeywordError

# Parameters of the command that are no keywords of the function, and names that differ.
NO_KEYWORDS = {"scheduler", "gpus", "status", "log_json", "as_json", "quiet", "debug", "verbose"}
RENAMED = {"src": "scenes", "alone": "allow_unguided"}


@pytest.fixture
def archive(tmp_path):
    for name in ("a", "b"):
        scene, guide = synthetic.write(tmp_path / name, shape=(16, 20), ratio=2, bands=3, guide="pan")
        scene.rename(tmp_path / f"{name}.tif")
        guide.rename(tmp_path / f"{name}_pan.tif")
    (tmp_path / "c.tif").write_bytes(b"no raster")
    return tmp_path


def test_scenes_are_sharpened_and_one_that_fails_stops_no_other(archive):
    scenes, printed = [archive / f"{name}.tif" for name in "abc"], []
    plans = dualsr_geo.batch(scenes, archive / "out", pan="{stem}_pan.tif", dry_run=True, model="regression")
    assert [plan["status"] for plan in plans] == ["planned", "planned", "failed"]
    assert not (archive / "out").exists()
    records = dualsr_geo.batch(
        scenes, archive / "out", guide="{stem}_pan.tif", model="regression", progress=printed.append
    )
    assert [record["status"] for record in records] == ["done", "done", "failed"]
    assert len(printed) >= 2
    assert json.loads((archive / "out/summary.json").read_text())["counts"]["done"] == 2
    again = dualsr_geo.batch(scenes, archive / "out", guide="{stem}_pan.tif", model="regression", resume=True)
    assert [record["status"] for record in again] == ["done", "done", "failed"]


def test_the_function_has_the_options_of_the_command():
    command = {RENAMED.get(p.name, p.name) for p in cli.main.commands["batch"].params} - NO_KEYWORDS
    assert command <= set(inspect.signature(dualsr_geo.batch).parameters)


@pytest.mark.parametrize(
    ("scenes", "keywords", "message"),
    [
        (5, {}, r"`scenes` is 5"),
        ("nothing*.tif", {}, "nothing"),
        ("a.tif", {"guide": "{x}.tif"}, "unknown placeholder"),
        ("a.tif", {"rgb": "x", "pan": "y"}, "`rgb` and `pan` name the same"),
        ("a.tif", {"scenes_at_once": 0}, "scenes-at-once 0"),
        ("a.tif", {"scenes_at_once": "2"}, "`scenes_at_once` is '2'"),
        ("a.tif", {"match": "("}, "no regular expression"),
        ("a.tif", {"stac": 1}, "`stac` is 1"),
        ("a.tif", {"model": "magic"}, "magic"),
        ("a.tif", {"tile": 1}, "--tile 1 is below"),
    ],
)
def test_values_that_nobody_can_use_are_errors(scenes, keywords, message, tmp_path):
    with pytest.raises(DualSRError, match=message):
        dualsr_geo.batch(scenes, tmp_path / "out", **keywords)


def test_a_store_needs_a_folder_on_disk_and_a_misspelt_keyword_is_suggested(tmp_path):
    with pytest.raises(DualSRError, match="--work-dir"):
        dualsr_geo.batch("a.tif", "s3://bucket/out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DualSRError, match="is a file. Give a folder"):
        dualsr_geo.batch("a.tif", tmp_path / "file")
    with pytest.raises(KeywordError, match="Did you mean `allow_unguided`"):
        dualsr_geo.batch("a.tif", "out", allow_ungided=True)
