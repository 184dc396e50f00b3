"""What the QGIS plugin does without QGIS: it finds the command, runs it, ends it, and is packed."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
import time
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import package
import pytest
from dualsr_qgis import command
from dualsr_qgis.progress import AFTER, BEFORE, OPTIONS, Progress

import dualsr_geo
from dualsr_geo import synthetic

ROOT = Path(__file__).parents[2]
HERE = ROOT / "plugins" / "qgis"


def program(folder: Path, code: str = "print('dualsr-geo, version 0.1.0')") -> Path:
    """Write a stand-in for the command."""
    place = folder / "bin" / "dualsr-geo"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!{sys.executable}\nimport os, sys, time, subprocess\n{code}\n")
    place.chmod(0o755)
    return place


def ran(place: Path, *arguments: str) -> list[tuple[str, str]]:
    heard: list[tuple[str, str]] = []
    command.run(place, arguments, lambda *line: heard.append(line), lambda: False)
    return heard


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine on which the command is nowhere."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize("chosen", ["env", "env/bin", "env/bin/dualsr-geo", "env/bin/python"])
def test_the_command_is_found_from_whatever_names_its_environment(bare, chosen):
    made = program(bare / "env")
    (bare / "env" / "bin" / "python").touch()
    assert command.find(str(bare / chosen)) == made


def test_windows_keeps_programs_elsewhere(bare):
    made = bare / "env" / "Scripts" / "dualsr-geo.exe"
    made.parent.mkdir(parents=True)
    made.touch()
    assert command.find(f" {bare / 'env'} ") == made


def test_a_setting_that_leads_nowhere_is_refused_and_not_replaced_by_another(bare, monkeypatch):
    monkeypatch.setenv("PATH", str(program(bare / "other").parent))
    with pytest.raises(command.CommandError, match=r"env has no dualsr-geo. Give the folder .* leave the field empty"):
        command.find(str(bare / "env"))


def test_without_a_setting_path_goes_before_pipx_before_conda(bare, monkeypatch):
    home = bare / "home"
    conda = program(bare / "conda" / "sharp")
    (home / ".conda").mkdir(parents=True)
    (home / ".conda" / "environments.txt").write_text(f"{bare / 'gone'}\n{bare / 'conda' / 'sharp'}\n")
    assert command.find("") == conda
    local = program(home / ".local")
    assert command.find("") == local
    monkeypatch.setenv("PATH", str(program(bare / "onpath").parent))
    assert command.find("") == bare / "onpath" / "bin" / "dualsr-geo"


def test_what_is_not_installed_is_said_with_what_to_type(bare):
    with pytest.raises(command.CommandError) as caught:
        command.find("")
    first, where, *typed = str(caught.value).splitlines()
    assert first == "dualsr-geo is not installed where QGIS could find it."
    assert "Settings > Options > Processing > Providers > dualsr-geo" in where
    # The page says the same.
    page = (ROOT / "docs" / "qgis.md").read_text()
    assert "\n".join(typed[:3]) in page
    assert typed[2] == "~/dualsr/bin/pip install -c constraints.txt ."


def test_nothing_of_qgis_reaches_the_command(tmp_path, monkeypatch):
    for name in command.OF_QGIS:
        monkeypatch.setenv(name, "/of/qgis")
    monkeypatch.setenv("KEPT", "kept")
    made = program(tmp_path, "print(sorted(os.environ.items())); print(os.environ['PATH'].split(os.pathsep)[0])")
    (_, variables), (_, first) = ran(made)
    assert "/of/qgis" not in variables
    assert "('KEPT', 'kept')" in variables
    assert first == str(made.parent)


def test_lines_come_as_they_are_written_from_both_streams(tmp_path):
    made = program(tmp_path, "print('one', sys.argv[1:]); print('zwei \u00fc', file=sys.stderr); print('three')")
    heard = ran(made, "a b", "c")
    assert [line for stream, line in heard if stream == "out"] == ["one ['a b', 'c']", "three"]
    assert ("err", "zwei \u00fc") in heard


def test_lines_are_heard_before_the_end(tmp_path):
    made = program(tmp_path, "print('first'); time.sleep(30)")
    heard: list[str] = []
    with pytest.raises(command.Cancelled):
        command.run(made, [], lambda _, line: heard.append(line), lambda: bool(heard))
    assert heard == ["first"]


def test_a_command_that_fails_says_its_own_line(tmp_path):
    code = "print('Usage: x\\n\\nError: --scale 1 is too small. Give 2.', file=sys.stderr); sys.exit(2)"
    with pytest.raises(command.CommandError, match=r"^--scale 1 is too small. Give 2.$"):
        ran(program(tmp_path, code))


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (-9, [], "was killed, most likely because memory ran out. Give --max-memory"),
        (3, ["Traceback", "KeyError: 7"], "ended with code 3:\nTraceback\nKeyError: 7"),
        (3, ["KeyError: 7", '{"event": "scene failed"}'], "ended with code 3:\nKeyError: 7"),
        (3, [], "ended with code 3:\nIt printed no message."),
        (1, ["Error: first", "Error: last"], "last"),
        (1, [str(i) for i in range(100)], "ended with code 1:\n85\n"),
    ],
)
def test_the_reason_of_a_failure(code, words, said):
    assert said in command.reason(code, words)


def test_cancelling_ends_the_command_and_its_children(tmp_path):
    child = "child = subprocess.Popen(['sleep', '60']); print(child.pid); time.sleep(60)"
    heard: list[int] = []
    began = time.monotonic()
    with pytest.raises(command.Cancelled):
        command.run(program(tmp_path, child), [], lambda _, line: heard.append(int(line)), lambda: bool(heard))
    assert time.monotonic() - began < 20
    assert is_gone(heard[0])


def test_a_command_that_will_not_stop_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "PATIENCE_S", 0.2)
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid()); time.sleep(60)"
    heard: list[int] = []
    with pytest.raises(command.Cancelled):
        command.run(program(tmp_path, stubborn), [], lambda _, line: heard.append(int(line)), lambda: bool(heard))
    assert is_gone(heard[0])


def is_gone(pid: int) -> bool:
    """Say whether a process is over within five seconds; one that waits to be reaped is."""
    for _ in range(50):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_a_listener_that_fails_leaves_nothing_running(tmp_path):
    heard: list[int] = []

    def hear(_: str, line: str) -> None:
        heard.append(int(line))
        raise RuntimeError("closed")

    with pytest.raises(RuntimeError, match="closed"):
        command.run(program(tmp_path, "print(os.getpid()); time.sleep(60)"), [], hear, lambda: False)
    assert is_gone(heard[0])


def test_a_program_that_is_none_is_said(tmp_path):
    made = program(tmp_path)
    made.write_text("#!/no/such/python\n")
    with pytest.raises(command.CommandError, match="does not start .*No such file"):
        ran(made)


@pytest.mark.parametrize(("said", "fine"), [("0.1.0", True), ("1.0", True), ("0.0.9", False), ("none", False)])
def test_a_version_that_is_too_old_is_refused(tmp_path, said, fine):
    made = program(tmp_path, f"print('dualsr-geo, version {said}')")
    if fine:
        assert command.version(made) == said
    else:
        with pytest.raises(command.CommandError, match=r"0\.0\.9|unknown.*needs 0\.1\.0"):
            command.version(made)


# ---- progress ----------------------------------------------------------------------------


class Feedback:
    """What QGIS is told."""

    def __init__(self):
        self.percents: list[float] = []
        self.texts: list[str] = []

    def setProgress(self, percent):  # noqa: N802  # QGIS's own name
        self.percents.append(percent)

    def setProgressText(self, text):  # noqa: N802
        self.texts.append(text)


def test_progress_is_what_the_command_writes_and_never_goes_back(tmp_path):
    scene, guide = synthetic.write(tmp_path, shape=(24, 31), bands=3, guide="pan")
    feedback, left = Feedback(), []
    progress = Progress(feedback)
    words = ["upscale", scene, "--rgb", guide, "-o", tmp_path / "p.tif", "--tile", "8", "--model", "bicubic", *OPTIONS]

    def hear(stream: str, line: str) -> None:
        if not progress.hear(line):
            left.append((stream, line))

    command.run(command.find(sys.prefix), list(map(str, words)), hear, lambda: False)
    assert {stream for stream, _ in left} == {"out"}
    assert feedback.texts == ["Surveying the scene", "Sharpening 12 tiles", "Writing the product"]
    assert feedback.percents == sorted(feedback.percents)
    np.testing.assert_allclose(sorted(set(feedback.percents))[1:], np.linspace(BEFORE, AFTER, 13))


@pytest.mark.parametrize("line", ["", "{", "[1]", "3", '{"a": 1}', "Warning: {}", "0 of 3"])
def test_other_lines_are_left_to_others(line):
    feedback = Feedback()
    assert not Progress(feedback).hear(line)
    assert feedback.percents == []


# ---- the package -------------------------------------------------------------------------


def test_one_command_packs_a_plugin_that_qgis_would_take(tmp_path):
    place = tmp_path / "made" / "plugin.zip"
    for _ in range(2):
        made = subprocess.run(
            [sys.executable, HERE / "package.py", "-o", place], capture_output=True, text=True, check=True
        )
        assert str(place) in made.stdout
    with ZipFile(place) as packed:
        names = set(packed.namelist())
        metadata = configparser.ConfigParser(interpolation=None)
        metadata.read_string(packed.read("dualsr_qgis/metadata.txt").decode())
        page = packed.read("dualsr_qgis/help/index.html").decode()
    assert {n.split("/")[0] for n in names} == {"dualsr_qgis"}
    assert {f"dualsr_qgis/{n}" for n in ("__init__.py", "icon.svg", "LICENSE")} <= names
    assert not [n for n in names if "__pycache__" in n or n.endswith(".pyc")]
    assert metadata["general"]["version"] == dualsr_geo.__version__
    assert metadata["general"]["hasProcessingProvider"] == "yes"
    pictures = [p.split('"')[0] for p in page.split('src="')[1:]]
    assert pictures
    assert {f"dualsr_qgis/help/{p}" for p in pictures} <= names


@pytest.mark.parametrize("file", sorted((HERE / "dualsr_qgis").glob("*.py")), ids=lambda p: p.name)
def test_the_plugin_is_written_for_qt5_and_qt6(file):
    """QGIS 4 has Qt 6, whose enums have no members outside their own names, and PyQt by way of qgis.PyQt only."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    modules = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    modules += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    assert not [m for m in modules if m.startswith(("PyQt", "PySide"))]
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
            continue
        if node.value.id.startswith(("Qgs", "Qgis", "Qt")) and node.attr[0].isupper():
            # An enum, whose member follows, or a class that is called.
            assert isinstance(parents[node], ast.Attribute | ast.Call), f"{file.name}:{node.lineno} {node.attr}"


def test_the_plugin_is_offered_to_qgis_4():
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read(HERE / "dualsr_qgis/metadata.txt", encoding="utf-8")
    assert metadata["general"]["qgisMaximumVersion"] == "4.99"
    assert metadata["general"]["supportsQt6"] == "True"


def test_metadata_that_lacks_something_is_refused(tmp_path):
    file = tmp_path / "metadata.txt"
    file.write_text("[general]\nname=x\nversion=1\nemail=\n")
    with pytest.raises(
        ValueError, match="lacks qgisMinimumVersion, description, about, author, email, repository, tracker"
    ):
        package.require_metadata(file)


def test_the_plugin_runs_on_the_oldest_python_of_qgis():
    """QGIS 3.22 brings Python 3.9 on Windows; newer syntax would keep the plugin from loading."""
    for file in (HERE / "dualsr_qgis").glob("*.py"):
        ast.parse(file.read_text(), feature_version=(3, 9))
