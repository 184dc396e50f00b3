"""Progress on a terminal, plain output elsewhere, and what an interrupt leaves."""

import logging
import os
import pty
import re
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from dualsr_geo import synthetic
from dualsr_geo.cli import main, progress
from dualsr_geo.engine.records.run_log import begin_stage, scene_log

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("progress")
    synthetic.write(path, shape=(32, 32), bands=3, guide="pan")
    return path


def in_terminal(folder, *args):
    """Return the states of the lines that a command prints on a terminal whose width is not known."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dualsr_geo", *args], cwd=folder, stdout=terminal, stderr=terminal, stdin=terminal
    )
    os.close(terminal)
    output = b""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            part = os.read(controller, 65536)
        except OSError:
            break
        if not part:
            break
        output += part
    os.close(controller)
    assert process.wait(60) == 0
    lines = re.split(r"[\r\n]+", ESCAPES.sub("", output.decode()))
    return [line.rstrip() for line in lines if line.strip()]


def test_a_terminal_shows_every_stage_from_the_start_and_an_honest_total(folder):
    lines = in_terminal(
        folder, "upscale", "scene.tif", "--rgb", "pan.tif", "-o", "t.tif", "--tile", "16", "--model", "regression"
    )
    assert lines[0] == "Starting ... 0 s"
    stages = [re.split(r" \.\.\.|: \d", line)[0] for line in lines if " ... " in line or "tiles |" in line]
    assert list(dict.fromkeys(stages)) == [
        "Starting",
        "Opening scene and guide",
        "Measuring blur, shift and noise",
        "Sharpening",
        "Writing COG",
    ]
    tiles = [re.match(r"Sharpening: (\d) of 4 tiles \|", line) for line in lines if line.startswith("Sharpening: ")]
    counts = [int(match[1]) for match in tiles]
    assert counts == sorted(counts)
    assert {0, 4} <= set(counts)
    assert lines[-1].startswith("Finished in ")


def test_elsewhere_there_is_no_progress_and_with_verbose_a_plain_line_a_stage(folder):
    command = ["upscale", str(folder / "scene.tif"), "--scale", "2", "--model", "bicubic", "--overwrite"]
    quiet, verbose = (
        CliRunner().invoke(main, [*command, "-o", str(folder / "q.tif"), *flags]) for flags in ((), ("-v",))
    )
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    assert verbose.stderr.splitlines() == [
        "Opening scene and guide",
        "Measuring blur, shift and noise",
        "Sharpening",
        "Writing COG",
    ]
    assert "Blur: sigma" in verbose.stdout
    assert "Blur: sigma" not in quiet.stdout


def test_quiet_and_verbose_contradict_each_other(folder):
    result = CliRunner().invoke(main, ["upscale", str(folder / "scene.tif"), "--scale", "2", "-q", "-v"])
    assert result.exit_code == 2
    assert "--quiet prints nothing, and --verbose prints more. Give one of them." in result.stderr


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "0 s"), (59.9, "59 s"), (60, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_a_duration_is_text(seconds, text):
    assert progress.duration(seconds) == text


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([], "Stopped before the first tile. Run the same command again."),
        ([(0, 4)], "Stopped. 0 of 4 tiles are done and kept in o.tif.part. To continue, run the same command with --resume; to start over, without."),
        ([(0, 1)], "Stopped. 0 of 1 tile is done and kept in o.tif.part. To continue, run the same command with --resume; to start over, without."),
        ([(1, 3), (2, 3)], "Stopped. 2 of 3 tiles are done and kept in o.tif.part. To continue, run the same command with --resume; to start over, without."),
    ],
)  # fmt: skip
def test_an_interrupt_says_what_is_kept(events, text, caplog):
    caplog.set_level(logging.DEBUG, "dualsr_geo")
    handler = progress.RunProgress(progress.Display("Starting", shown=False))
    log = logging.getLogger("dualsr_geo")
    log.addHandler(handler)
    try:
        with scene_log("scene.tif", None) as event:
            begin_stage(event, "survey", work="o.tif.part")
            for i, (done, tiles) in enumerate(events):
                if i == 0:
                    begin_stage(event, "tiles", done=done, tiles=tiles)
                else:
                    event("tile done", done=done, tiles=tiles)
    finally:
        log.removeHandler(handler)
    assert handler.interrupted() == text
