"""The journal: the last line of a scene holds, a cut line is ignored, and one process works on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.batching.journal import JOURNAL_FILE, OWNER_FILE, Journal, one_line
from dualsr_geo.batching.scene_record import SceneRecord
from dualsr_geo.errors import OutputError

HOLD = """
import sys, time
from pathlib import Path
from dualsr_geo.batching.journal import Journal
with Journal(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    time.sleep(60)
"""


@settings(max_examples=40)
@given(st.lists(st.tuples(st.text(max_size=8), st.sampled_from(["running", "done", "failed"])), max_size=12), st.data())
def test_a_journal_that_is_cut_short_keeps_its_whole_lines(tmp_path_factory, changes, data):
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    journal.rewrite({"options": {"scale": 4}}, {"a\nb": SceneRecord("a\nb", "planned")})
    for scene, status in changes:
        journal.append(SceneRecord(scene, status))
    whole = (folder / JOURNAL_FILE).read_bytes()
    lines = whole.splitlines(keepends=True)
    whole_lines = data.draw(st.integers(1, len(lines)))
    cut = data.draw(st.integers(0, len(lines[whole_lines]) - 2)) if whole_lines < len(lines) else 0
    part = lines[whole_lines][:cut] if cut else b""
    (folder / JOURNAL_FILE).write_bytes(b"".join(lines[:whole_lines]) + part)
    settings, records = journal.read()
    assert settings == {"options": {"scale": 4}}
    expected = {}
    for line in lines[1:whole_lines]:
        values = json.loads(line)
        expected[values["scene"]] = values
    assert {scene: record.to_json() for scene, record in records.items()} == expected


FULL = SceneRecord(
    "a.tif", "done", seconds=1.5, product="a_x4.tif", rmse=0.01, sam_deg=None, scale=4, shape=(8, 9), bands=1,
    model="auto", notes=("a note",), report="a_x4.html", peak_memory_bytes=2**30, item="a_x4.json",
)  # fmt: skip


@pytest.mark.parametrize(
    ("record", "keys"),
    [
        (SceneRecord("a.tif", "planned"), {"scene", "status"}),
        (SceneRecord("a.tif", "planned", interrupted=True), {"scene", "status", "interrupted"}),
        (SceneRecord("a.tif", "failed", "x", seconds=0.0), {"scene", "status", "reason", "seconds"}),
        (FULL, {f.name for f in fields(SceneRecord)} - {"reason", "interrupted", "traceback"}),
    ],
)
def test_a_record_is_the_same_after_the_journal(tmp_path, record, keys):
    assert set(record.to_json()) == keys
    Journal(tmp_path).append(record)
    assert Journal(tmp_path).read()[1] == {"a.tif": record}


def test_a_line_of_another_version_is_read(tmp_path):
    (tmp_path / JOURNAL_FILE).write_text('{"scene": "a.tif", "status": "done", "mood": 1}\n')
    assert Journal(tmp_path).read()[1] == {"a.tif": SceneRecord("a.tif", "done")}


def test_a_folder_without_a_journal_has_no_records(tmp_path):
    assert Journal(tmp_path).read() == ({}, {})
    assert Journal(tmp_path).owner() is None


def test_a_lock_names_its_process_and_ends_with_it(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "locked\n"
        journal = Journal(tmp_path)
        with pytest.raises(OutputError, match=rf"worked on by process {first.pid} on {os.uname().nodename} since 2"):
            journal.locked().__enter__()
        assert journal.owner()["pid"] == first.pid
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert (tmp_path / OWNER_FILE).exists()
    assert journal.owner() is None
    with journal.locked():
        assert journal.owner()["pid"] == os.getpid()
    assert not (tmp_path / OWNER_FILE).exists()


def test_a_journal_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / JOURNAL_FILE).mkdir()
    with pytest.raises(OutputError, match=r"batch\.jsonl cannot be written.*--resume"):
        Journal(tmp_path).append(SceneRecord("a", "done"))


@given(st.text())
def test_one_line_escapes_what_does_not_print(text):
    line = one_line(text)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
    if text.isprintable():
        assert line == text.strip()


def test_undecodable_names_are_escaped():
    name = os.fsdecode(b"a\xff b\nc")
    assert one_line(name) == "a\\udcff b\\nc"
    assert Path(name).name == name
