"""Identity of a run: continued, refused and recognised."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from outputs import (
    FORMATS,
    IDENTITY,
    a_spec,
    tiles_of,
    values_of,
    write_output,
)

from dualsr_geo.errors import ResumeError
from dualsr_geo.io.storage.work_directory.checksums import decode, encode
from dualsr_geo.io.writers.output_records import is_same_output
from dualsr_geo.io.writers.tile_store import TileStore
from dualsr_geo.version import __version__


def test_a_run_continues_only_with_the_same_identity(tmp_path: Path) -> None:
    spec = a_spec(tmp_path / "a.tif")
    store = TileStore.begin(spec, IDENTITY, resume=True, overwrite=False)
    store.remember("survey", {"gain": [0.1, float("nan")]})
    values, tile = values_of(spec), tiles_of(spec)[0]
    store.mark(0, {"n": 1}, store.write(tile.core, slice(0, 5), values[(slice(None), *tile.core.slices)]))
    again = TileStore.begin(spec, IDENTITY, resume=True, overwrite=False)
    assert again.done() == {0: {"n": 1}}
    assert again.record()["survey"]["gain"][0] == 0.1
    changed = {**IDENTITY, "scale": 2, "model": {"sha256": "cd"}}
    with pytest.raises(ResumeError, match=r'model\.sha256 was "ab", is "cd"; scale was 4, is 2\..*--resume'):
        TileStore.begin(spec, changed, resume=True, overwrite=False)
    with pytest.raises(ResumeError, match=r"store\.tile was 64, is 32"):
        TileStore.begin(a_spec(tmp_path / "a.tif", tile=32), IDENTITY, resume=True, overwrite=False)
    assert TileStore.begin(spec, changed, resume=False, overwrite=False).done() == {}


def test_a_run_of_another_version_is_refused(tmp_path: Path) -> None:
    store = TileStore.begin(a_spec(tmp_path / "a.tif"), IDENTITY, resume=False, overwrite=False)
    record = store.spec.destination.folder / "run.json"
    document = decode("run.json", record.read_bytes())
    document["identity"]["dualsr_geo"] = "0.1.0"
    record.write_bytes(encode("run.json", document))
    refused = (
        rf"a\.tif\.part was begun by dualsr-geo 0\.1\.0, and dualsr-geo {re.escape(__version__)} cannot continue it\. "
        r"Finish it with dualsr-geo 0\.1\.0, or leave --resume out to start again\."
    )
    with pytest.raises(ResumeError, match=refused):
        TileStore.begin(store.spec, IDENTITY, resume=True, overwrite=False)
    assert TileStore.begin(store.spec, IDENTITY, resume=False, overwrite=False).done() == {}


def test_an_output_is_recognised_by_the_identity_of_its_run(tmp_path: Path) -> None:
    for form, name in FORMATS.items():
        spec = a_spec(tmp_path / name, form)
        assert not is_same_output(spec, IDENTITY)
        write_output(spec)
        assert is_same_output(spec, IDENTITY)
        assert not is_same_output(spec, {**IDENTITY, "scale": 2})
    other = a_spec(tmp_path / FORMATS["COG"], options=(("COMPRESS", "LZW"),))
    assert not is_same_output(other, IDENTITY)
