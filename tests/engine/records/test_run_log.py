"""The log of a run: one line of JSON for each event, in order, without passwords."""

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
from dualsr_geo.engine.records import run_log
from dualsr_geo.errors import InputError, OutputError

OPTIONS = {"scale": 2, "model": "interpolation", "tile": 16, "jobs": 2}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    return synthetic.write(tmp_path_factory.mktemp("events"), shape=(31, 45), bands=3, seed=1)[0]


def test_a_run_logs_its_events_in_order(scene, tmp_path):
    log = tmp_path / "log.jsonl"
    with run_log.json_log(str(log)):
        upscale(scene, tmp_path / "p.zarr", **OPTIONS)
        upscale(scene, tmp_path / "p.zarr", resume=True, **OPTIONS)
    records = lines(log)
    assert [t["event"] for t in records[:2]] == ["scene started", "scene surveyed"]
    tiles = [t for t in records if t["event"] == "tile done"]
    assert sorted(t["tile"] for t in tiles) == list(range(6))
    assert [t["done"] for t in tiles] == list(range(1, 7))
    assert all(t["seconds"] > 0 and ":" in t["worker"] and t["tiles"] == 6 for t in tiles)
    assert [t["event"] for t in records[8:]] == ["scene finished", "scene started", "scene was finished"]
    assert {t["scene"] for t in records} == {str(scene)}
    times = [datetime.fromisoformat(t["time"]) for t in records]
    assert times == sorted(times)
    assert times[0].utcoffset().total_seconds() == 0


def test_a_failure_is_logged_with_its_reason(tmp_path):
    log = tmp_path / "log.jsonl"
    with run_log.json_log(str(log)), pytest.raises(InputError):
        upscale(tmp_path / "nothing.tif", scale=2)
    records = lines(log)
    assert [t["event"] for t in records] == ["scene started", "scene failed"]
    assert records[1]["level"] == "error"
    assert records[1]["error"] == "InputError"
    assert "nothing.tif" in records[1]["reason"]


def test_no_password_is_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO, "dualsr_geo")
    log = tmp_path / "log.jsonl"
    secret = "https://me:hunter2@host/scene.tif?X-Amz-Signature=abc123"

    def run() -> None:
        with run_log.scene_log(secret, None) as log_event:
            log_event("scene surveyed", notes=[f"{secret} is dark"], also={"from": secret})
            raise ZeroDivisionError(f"{secret} divides")

    with run_log.json_log(str(log)), pytest.raises(ZeroDivisionError):
        run()
    text = log.read_text()
    assert len(text.splitlines()) == 3
    assert "host/scene.tif" in text
    # Other handlers of the logger get no password either.
    heard = "".join(str(vars(record)) for record in caplog.records)
    assert "host/scene.tif" in heard
    assert not [word for word in ("hunter2", "abc123", "Signature") if word in text + heard]


def test_without_a_handler_nothing_is_printed(scene, tmp_path, capfd):
    upscale(scene, tmp_path / "p.zarr", **OPTIONS)
    with pytest.raises(InputError):
        upscale(tmp_path / "nothing.tif", scale=2)
    assert capfd.readouterr() == ("", "")


def test_lines_are_appended_and_the_handler_is_removed(tmp_path):
    log = tmp_path / "log.jsonl"
    before = logging.getLogger("dualsr_geo").handlers[:], logging.getLogger("dualsr_geo").level
    for i in range(2):
        with run_log.json_log(str(log)), run_log.scene_log(f"{i}.tif", "o.tif"):
            pass
    assert [t["scene"] for t in lines(log)] == ["0.tif", "1.tif"]
    assert (logging.getLogger("dualsr_geo").handlers, logging.getLogger("dualsr_geo").level) == before


def test_a_log_that_cannot_be_written_is_one_line(tmp_path):
    with (
        pytest.raises(OutputError, match="directory .*/no of .*no/such does not exist.*give another --log-json"),
        run_log.json_log(str(tmp_path / "no/such")),
    ):
        pass


def test_the_command_line_writes_it(scene, tmp_path):
    log, words = tmp_path / "log.jsonl", ["upscale", str(scene), "--scale", "2", "--model", "interpolation", "-q"]
    result = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "p.zarr"), "--log-json", str(log)])
    assert result.exit_code == 0, result.output
    assert [t["event"] for t in lines(log)][-1] == "scene finished"
    shown = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "q.zarr"), "--log-json", "-"])
    assert shown.stdout == ""
    assert next(json.loads(line)["event"] for line in shown.stderr.splitlines()) == "scene started"


def test_the_dashboard_is_printed_once(monkeypatch, capsys):
    import distributed

    from dualsr_geo.cli.upscale import connected_client

    class Client:
        dashboard_link = "http://127.0.0.1:8787/status"

        def __init__(self, *_, **__) -> None: ...
        def __enter__(self): ...
        def __exit__(self, *_) -> None: ...

    monkeypatch.setattr(distributed, "Client", Client)
    for silent, text in ((False, "The dashboard of the cluster is http://127.0.0.1:8787/status\n"), (True, "")):
        with connected_client("tcp://127.0.0.1:8786", silent=silent):
            print("working", file=sys.stdout)
        assert capsys.readouterr().err == text
