"""The surface of the command line: defects, full outputs, interrupts, warnings as errors."""

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from delivered import raster
from hostile_case import Case, check

from dualsr_geo.cli import main
from dualsr_geo.errors import InputError, TileError

PROGRAM = [sys.executable, "-m", "dualsr_geo"]


def run(*args):
    return CliRunner().invoke(main, [str(a) for a in args], prog_name="dualsr-geo")


@pytest.fixture
def scene(tmp_path):
    cube = np.random.default_rng(1).integers(500, 5000, (3, 16, 16)).astype("uint16")
    return raster(tmp_path / "scene.tif", cube, 8.0)


def fail_with(monkeypatch, error):
    """Let `dualsr-geo info` fail with an error."""

    def describe(*_args, **_keywords):
        raise error

    monkeypatch.setattr("dualsr_geo.io.describe.describe", describe)


def report_of(line):
    """Return the file of the traceback that an error line names."""
    return Path(re.search(r"with (\S+\.txt), which holds the traceback", line)[1])


# ---- defects -----------------------------------------------------------------------------


def test_a_defect_is_one_line_and_a_file_for_its_owner_only(monkeypatch, scene, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    fail_with(monkeypatch, ZeroDivisionError("by zero\nof https://user:secret-word@host/x?sig=1"))
    result = run("info", scene)
    (line,) = result.stderr.splitlines()
    assert result.exit_code == 1
    assert line.startswith(
        f"Error: `dualsr-geo info {scene}` failed unexpectedly: ZeroDivisionError: by zero of https://host/x"
    )
    assert "Please report it to the developers of dualsr-geo" in line
    report = report_of(line)
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    assert report.parent == tmp_path / "temporary"
    assert "Traceback" in report.read_text()
    assert "secret-word" not in line + report.read_text()


@pytest.mark.parametrize("args", [("--debug", "info"), ("info", "--debug")])
def test_debug_prints_the_traceback_before_the_line(monkeypatch, scene, args):
    fail_with(monkeypatch, ZeroDivisionError("by zero"))
    result = run(*args, scene)
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    report_of(result.stderr).unlink()


def test_a_temporary_directory_that_is_full_loses_the_file_only(monkeypatch, scene):
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    fail_with(monkeypatch, KeyError("a"))
    result = run("info", scene)
    assert "with the traceback that --debug prints." in result.stderr


def test_the_defect_of_a_tile_is_to_be_reported_too(monkeypatch, scene):
    error = TileError("Tile 3 failed: ValueError: x.")
    error.add_note("Traceback of the worker")
    fail_with(monkeypatch, error)
    result = run("info", scene)
    assert re.search(r"Error: Tile 3 failed: ValueError: x\. Please report it", result.stderr)
    report = report_of(result.stderr)
    assert "Traceback of the worker" in report.read_text()
    report.unlink()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError("Unable to allocate 5 TiB"), "Error: The memory does not suffice (MemoryError: Unable to allocate 5 TiB)."),
        (OSError(28, "No space left on device"), "Error: The disk is full (OSError: [Errno 28] No space left on device)."),
        (DeprecationWarning("old"), "Error: DeprecationWarning: old. Python turns warnings into errors here"),
        (InputError("a\nb\x1b[31m.tif does not exist."), r"Error: a b\x1b[31m.tif does not exist."),
    ],
)  # fmt: skip
def test_errors_that_are_no_defects(monkeypatch, scene, error, line):
    fail_with(monkeypatch, error)
    result = run("info", scene)
    assert result.exit_code == 1
    (printed,) = result.stderr.splitlines()
    assert printed.startswith(line)


def test_every_command_has_debug():
    def options(command):
        yield [p.name for p in command.params]
        for below in getattr(command, "commands", {}).values():
            yield from options(below)

    assert all("debug" in names for names in options(main))


def test_a_defect_in_one_scene_stops_no_batch(monkeypatch, scene, tmp_path):
    raster(tmp_path / "other.tif", np.full((3, 16, 16), 900, "uint16"), 8.0)
    from dualsr_geo.engine.upscale import run_plan

    def broken(plan, *args, **keywords):
        if "other" in plan.scene.name:
            raise ZeroDivisionError("by\nzero")
        return run_plan(plan, *args, **keywords)

    monkeypatch.setattr("dualsr_geo.batching.run.run_plan", broken)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = run("batch", scene, tmp_path / "other.tif", "--scale", "2", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "1 done, 1 failed" in result.stdout
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("failed")]
    assert "ZeroDivisionError: by" in line


# ---- outputs and signals -----------------------------------------------------------------


def program(*args, **keywords):
    return subprocess.run([*PROGRAM, *map(str, args)], text=True, check=False, timeout=120, **keywords)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_is_one_line():
    with Path("/dev/full").open("w") as full:
        result = program("sensors", "list", stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: The result cannot be printed to standard output: No space left on device.")


def test_a_reader_that_leaves_is_no_error():
    process = subprocess.Popen(
        [*PROGRAM, "sensors", "show", "aviris-ng"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(60)


def heeds_interrupts():
    """A process that a shell starts in the background ignores interrupts, and so do those that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_errors_that_compiled_code_cannot_raise_print_no_traceback(monkeypatch, scene):
    def describe(*_arguments, **_keywords):
        error = UnicodeDecodeError("utf-8", b"\xc5", 0, 1, "invalid continuation byte")
        sys.excepthook(type(error), error, None)
        raise InputError("The file is damaged.")

    hook = sys.excepthook
    monkeypatch.setattr("dualsr_geo.io.describe.describe", describe)
    assert run("info", scene).stderr.splitlines() == ["Error: The file is damaged."]
    assert sys.excepthook is hook


@pytest.mark.slow
def test_an_interrupt_says_what_is_kept(tmp_path):
    cube = np.random.default_rng(1).integers(500, 5000, (4, 400, 400)).astype("uint16")
    raster(tmp_path / "scene.tif", cube, 8.0)
    command = [*PROGRAM, "upscale", "scene.tif", "--scale", "2", "-o", "o.tif", "--tile", "32", "--jobs", "1"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heeds_interrupts,  # noqa: PLW1509  # it takes no lock
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while not any(tmp_path.glob("o.tif.part/done/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 1
    assert re.search(
        r"Stopped\. \d+ of 169 tiles are done and kept in o\.tif\.part\. To continue, run the same command with --resume",
        err,
    )
    assert err.splitlines()[-1] == "Aborted!"
    assert "Traceback" not in err
    assert not (tmp_path / "o.tif").exists()


def without_pixel_size(folder):
    cube = np.ones((3, 16, 16), "uint16")
    profile = {"driver": "GTiff", "count": 3, "height": 16, "width": 16, "dtype": "uint16", "crs": "EPSG:32633"}
    with rasterio.open(folder / "a.tif", "w", **profile, transform=Affine(0, 0, 4e5, 0, -8, 5e6)) as target:
        target.write(cube)
    return ["info", "a.tif"]


CASES = (
    Case("pixels without a size", without_pixel_size, "has the place of 1 pixel and no pixel size, so it has no grid"),
    Case("a name with a line break", lambda _: ["info", "a\nb.tif"], r"^Error: a b\.tif does not exist"),
    Case("a name with escape codes", lambda _: ["info", "\x1b[31mred.tif"], r"^Error: \\x1b\[31mred.tif does not exist"),
    Case("an option that does not exist", lambda _: ["info", "a.tif", "--scael", "2"], "No such option.*--scael", code=2),
    Case("a command that does not exist", lambda _: ["upscael"], "No such command.*upscael", code=2),
    Case("no scene", lambda _: ["upscale"], "Missing argument", code=2),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)
