"""What a run tells: one line of JSON for each event, in order, and no password."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from dualsr_geo import synthetic, upscale
from dualsr_geo.cli import main
from dualsr_geo.engine import run_log
from dualsr_geo.errors import InputError, OutputError

OPTIONS = {"scale": 2, "model": "interpolation", "tile": 16, "jobs": 2}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    return synthetic.write(tmp_path_factory.mktemp("events"), shape=(31, 45), bands=3, seed=1)[0]


def test_a_run_tells_its_story(scene, tmp_path):
    log = tmp_path / "log.jsonl"
    with run_log.json_log(str(log)):
        upscale(scene, tmp_path / "p.zarr", **OPTIONS)
        upscale(scene, tmp_path / "p.zarr", resume=True, **OPTIONS)
    told = lines(log)
    assert [t["event"] for t in told[:2]] == ["scene started", "scene surveyed"]
    tiles = [t for t in told if t["event"] == "tile done"]
    assert sorted(t["tile"] for t in tiles) == list(range(6))
    assert [t["done"] for t in tiles] == list(range(1, 7))
    assert all(t["seconds"] > 0 and ":" in t["worker"] and t["tiles"] == 6 for t in tiles)
    assert [t["event"] for t in told[8:]] == ["scene finished", "scene started", "scene was finished"]
    assert {t["scene"] for t in told} == {str(scene)}
    times = [datetime.fromisoformat(t["time"]) for t in told]
    assert times == sorted(times)
    assert times[0].utcoffset().total_seconds() == 0


def test_a_failure_tells_its_reason(tmp_path):
    log = tmp_path / "log.jsonl"
    with run_log.json_log(str(log)), pytest.raises(InputError):
        upscale(tmp_path / "nothing.tif", scale=2)
    told = lines(log)
    assert [t["event"] for t in told] == ["scene started", "scene failed"]
    assert told[1]["level"] == "error"
    assert told[1]["error"] == "InputError"
    assert "nothing.tif" in told[1]["reason"]


def test_no_password_is_told(tmp_path, caplog):
    caplog.set_level(logging.INFO, "dualsr_geo")
    log = tmp_path / "log.jsonl"
    secret = "https://me:hunter2@host/scene.tif?X-Amz-Signature=abc123"

    def run() -> None:
        with run_log.scene_log(secret, None) as tell:
            tell("scene surveyed", notes=[f"{secret} is dark"], also={"from": secret})
            raise ZeroDivisionError(f"{secret} divides")

    with run_log.json_log(str(log)), pytest.raises(ZeroDivisionError):
        run()
    said = log.read_text()
    assert len(said.splitlines()) == 3
    assert "host/scene.tif" in said
    # Nor any other who listens to the logger.
    heard = "".join(str(vars(record)) for record in caplog.records)
    assert "host/scene.tif" in heard
    assert not [word for word in ("hunter2", "abc123", "Signature") if word in said + heard]


def test_nobody_listening_is_told_nothing(scene, tmp_path, capfd):
    upscale(scene, tmp_path / "p.zarr", **OPTIONS)
    with pytest.raises(InputError):
        upscale(tmp_path / "nothing.tif", scale=2)
    assert capfd.readouterr() == ("", "")


def test_lines_are_added_and_listening_ends(tmp_path):
    log = tmp_path / "log.jsonl"
    before = logging.getLogger("dualsr_geo").handlers[:], logging.getLogger("dualsr_geo").level
    for i in range(2):
        with run_log.json_log(str(log)), run_log.scene_log(f"{i}.tif", "o.tif"):
            pass
    assert [t["scene"] for t in lines(log)] == ["0.tif", "1.tif"]
    assert (logging.getLogger("dualsr_geo").handlers, logging.getLogger("dualsr_geo").level) == before


def test_a_log_that_cannot_be_written_is_one_line(tmp_path):
    with (
        pytest.raises(OutputError, match="--log-json .*no/such.*Give another file"),
        run_log.json_log(str(tmp_path / "no/such")),
    ):
        pass


def test_the_command_line_writes_it(scene, tmp_path):
    log, words = tmp_path / "log.jsonl", ["upscale", str(scene), "--scale", "2", "--model", "interpolation", "-q"]
    made = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "p.zarr"), "--log-json", str(log)])
    assert made.exit_code == 0, made.output
    assert [t["event"] for t in lines(log)][-1] == "scene finished"
    shown = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "q.zarr"), "--log-json", "-"])
    assert shown.stdout == ""
    assert next(json.loads(line)["event"] for line in shown.stderr.splitlines()) == "scene started"


def test_the_dashboard_is_said_once(monkeypatch, capsys):
    import distributed

    from dualsr_geo.cli.upscale import connected_client

    class Client:
        dashboard_link = "http://127.0.0.1:8787/status"

        def __init__(self, *_, **__) -> None: ...
        def __enter__(self): ...
        def __exit__(self, *_) -> None: ...

    monkeypatch.setattr(distributed, "Client", Client)
    for silent, said in ((False, "The dashboard of the cluster is http://127.0.0.1:8787/status\n"), (True, "")):
        with connected_client("tcp://127.0.0.1:8786", silent=silent):
            print("working", file=sys.stdout)
        assert capsys.readouterr().err == said
