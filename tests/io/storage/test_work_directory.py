"""Work directories on disk; those in a store are tested with a server (tests/integration/test_stores.py)."""

import json

import pytest

from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.work_directory.local_directory import LocalWorkDirectory


def test_records_marks_and_files_are_kept(tmp_path):
    work = LocalWorkDirectory(tmp_path / "a.tif.part")
    work.create()
    work.remove_marks()
    for index in (11, 2):
        work.put(f"done/{index}.json", {"n": index})
    assert list(work.marks().items()) == [(2, {"n": 2}), (11, {"n": 11})]
    with work.file("fine.bin") as path:
        path.write_bytes(b"fitted")
    assert work.has("fine.bin")
    work.remove_marks()
    assert work.marks() == {}
    work.put("run.json", {"a": 1})
    assert work.read("run.json") == {"a": 1}
    work.remove()
    assert not work.path.exists()


@pytest.mark.parametrize("name", ["run.json", ".run.json.0123456789ab.partial"])
def test_a_work_directory_is_recognised_also_before_its_record_was_written(tmp_path, name):
    work = LocalWorkDirectory(tmp_path / "a.tif.part")
    work.require_ours("another --output")
    work.create()
    work.require_ours("another --output")
    (work.path / name).write_text(json.dumps({}))
    work.require_ours("another --output")
    if name != "run.json":
        (work.path / "thesis.tex").write_text("years")
        with pytest.raises(OutputError, match=r"a\.tif\.part is needed .*not ours.*another --output"):
            work.require_ours("another --output")
