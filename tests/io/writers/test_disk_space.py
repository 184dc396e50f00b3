"""Full disks: one error, and the finished tiles are kept."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outputs import (
    FORMATS,
    IDENTITY,
    a_spec,
    write_tiles,
)

from dualsr_geo.errors import OutputError
from dualsr_geo.io.writers.output_records import is_same_output
from dualsr_geo.io.writers.tile_store import TileStore

pytestmark = [
    # rioxarray 0.19 and odc-geo 0.5 multiply affines by `*`, which affine 3 deprecates.
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


def test_a_full_disk_while_tiles_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TileStore.begin(a_spec(tmp_path / "a.tif"), IDENTITY, resume=False, overwrite=False)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match=rf"disk is full at {re.escape(str(tmp_path))}.*a\.tif\.part.*--resume"):
        store.mark(0, {}, {})
    monkeypatch.undo()
    assert store.done() == {}
    assert not list(store.spec.destination.folder.rglob("*.partial"))


def test_a_command_that_cannot_resume_does_not_advise_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = a_spec(tmp_path / "a.tif", resumable=False)
    store = TileStore.begin(spec, IDENTITY, resume=False, overwrite=False)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match=r"disk is full at .*Make room, then run again\.$"):
        store.mark(0, {}, {})


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("spare", [4096, 200_000, 1_500_000, 2_600_000])
def test_a_full_disk_while_finishing_keeps_the_tiles(small_disk: Path, form: str, spare: int) -> None:
    spec = a_spec(small_disk / FORMATS[form], form, shape=(610, 530), count=4)
    store = TileStore.begin(spec, IDENTITY, resume=False, overwrite=False)
    values = np.random.default_rng(0).integers(1, 60000, spec.shape, "uint16")
    write_tiles(store, values)
    free = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(max(0, free.f_bavail * free.f_bsize - spare)))
    if form == "Zarr" and spare > 4096:
        store.finish({}, None)
        assert is_same_output(spec, IDENTITY)
        return
    with pytest.raises(OutputError, match=r"disk is full at .*The finished tiles are kept.*--resume") as caught:
        store.finish({}, None)
    assert "\n" not in str(caught.value)
    assert not Path(spec.path).exists()
    (small_disk / "filler").unlink()
    again = TileStore.begin(spec, IDENTITY, resume=True, overwrite=False)
    assert len(again.done()) == spec.tiles
    if form != "Zarr":
        # Three times the output is more than this disk has.
        return
    again.finish({}, None)
    assert is_same_output(spec, IDENTITY)


def test_a_full_disk_while_a_tile_is_written(small_disk: Path) -> None:
    spec = a_spec(small_disk / "a.tif", shape=(2000, 1990), count=4, tile=256)
    store = TileStore.begin(spec, IDENTITY, resume=False, overwrite=False)
    with pytest.raises(OutputError, match="disk is full"):
        write_tiles(store, np.random.default_rng(0).integers(1, 60000, spec.shape, "uint16"))
    assert 0 < len(store.done()) < spec.tiles
