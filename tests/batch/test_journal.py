"""The ledger: the last line of a scene holds, a cut line is passed over, one process at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualsr_geo.batch.journal import LEDGER, OWNER, Journal, one_line
from dualsr_geo.errors import OutputError

HOLD = """
import sys, time
from pathlib import Path
from dualsr_geo.batch.journal import Journal
with Journal(Path(sys.argv[1])).held():
    print("held", flush=True)
    time.sleep(60)
"""


@settings(max_examples=40)
@given(st.lists(st.tuples(st.text(max_size=8), st.sampled_from(["running", "done", "failed"])), max_size=12), st.data())
def test_a_ledger_cut_anywhere_says_what_was_written_before(tmp_path_factory, changes, data):
    folder = tmp_path_factory.mktemp("ledger")
    ledger = Journal(folder)
    ledger.begin({"options": {"scale": 4}}, {"a\nb": {"scene": "a\nb", "status": "planned"}})
    for scene, status in changes:
        ledger.put({"scene": scene, "status": status})
    whole = (folder / LEDGER).read_bytes()
    lines = whole.splitlines(keepends=True)
    kept = data.draw(st.integers(1, len(lines)))
    cut = data.draw(st.integers(0, len(lines[kept]) - 2)) if kept < len(lines) else 0
    (folder / LEDGER).write_bytes(b"".join(lines[:kept]) + (lines[kept][:cut] if cut else b""))
    asked, scenes = ledger.read()
    assert asked == {"options": {"scale": 4}}
    expected = {}
    for line in lines[1:kept]:
        value = json.loads(line)
        expected[value["scene"]] = value
    assert scenes == expected


def test_nothing_is_there_before_the_first_run(tmp_path):
    assert Journal(tmp_path).read() == ({}, {})
    assert Journal(tmp_path).owner() is None


def test_a_second_process_is_told_who_is_at_work_and_a_killed_one_is_forgotten(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        ledger = Journal(tmp_path)
        with pytest.raises(OutputError, match=rf"worked on by process {first.pid} on {os.uname().nodename} since 2"):
            ledger.held().__enter__()
        assert ledger.owner()["pid"] == first.pid
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert (tmp_path / OWNER).exists()
    assert ledger.owner() is None
    with ledger.held():
        assert ledger.owner()["pid"] == os.getpid()
    assert not (tmp_path / OWNER).exists()


def test_a_ledger_that_cannot_be_written_stops_the_run(tmp_path):
    (tmp_path / LEDGER).mkdir()
    with pytest.raises(OutputError, match=r"batch\.jsonl cannot be written.*--resume"):
        Journal(tmp_path).put({"scene": "a", "status": "done"})


@given(st.text())
def test_one_line_is_one_and_keeps_what_prints(text):
    line = one_line(text)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
    if text.isprintable():
        assert line == text.strip()


def test_undecodable_names_are_shown():
    name = os.fsdecode(b"a\xff b\nc")
    assert one_line(name) == "a\\udcff b\\nc"
    assert Path(name).name == name
