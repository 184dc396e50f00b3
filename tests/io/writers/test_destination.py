"""Destinations on disk: refused, replaced, rolled back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from outputs import (
    FORMATS,
    IDENTITY,
    a_spec,
    digest,
    values_of,
    write_output,
    write_tiles,
)

from dualsr_geo.errors import OptionError, OutputError
from dualsr_geo.io.writers.destination import destination_at
from dualsr_geo.io.writers.local_destination import LocalDestination
from dualsr_geo.io.writers.output_records import is_same_output
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.io.writers.store_destination import StoreDestination
from dualsr_geo.io.writers.tile_store import TileStore


@pytest.mark.parametrize("form", FORMATS)
def test_an_output_is_replaced_only_with_overwrite(tmp_path: Path, form: str) -> None:
    spec = a_spec(tmp_path / FORMATS[form], form)
    write_output(spec)
    before = digest(Path(spec.path))
    with pytest.raises(OutputError, match=rf"{FORMATS[form]} exists\. Give --overwrite"):
        TileStore.begin(spec, IDENTITY, resume=True, overwrite=False)
    other = TileStore.begin(spec, {"other": 1}, resume=False, overwrite=True)
    write_tiles(other, values_of(spec, seed=1))
    assert digest(Path(spec.path)) == before
    other.finish({}, None)
    assert digest(Path(spec.path)) != before
    write_output(spec, overwrite=True)
    assert digest(Path(spec.path)) == before
    assert os.listdir(tmp_path) == [FORMATS[form]]


def test_places_that_cannot_hold_an_output_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(spec: OutputSpec) -> None:
        TileStore.begin(spec, {}, resume=False, overwrite=True)

    with pytest.raises(OutputError, match="nowhere.*does not exist"):
        begin(a_spec(tmp_path / "nowhere" / "a.tif"))
    (tmp_path / "photos.zarr").mkdir()
    (tmp_path / "photos.zarr" / "cat.jpg").write_text("cat")
    with pytest.raises(OutputError, match=r"photos\.zarr exists and is not Zarr"):
        begin(a_spec(tmp_path / "photos.zarr", "Zarr"))
    with pytest.raises(OutputError, match=r"photos\.zarr is a folder and COG is a file"):
        begin(a_spec(tmp_path / "photos.zarr", "COG"))
    (tmp_path / "b.tif.part").mkdir()
    (tmp_path / "b.tif.part" / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match=r"b\.tif\.part .*not ours"):
        begin(a_spec(tmp_path / "b.tif"))
    with pytest.raises(OptionError, match="--co COMPRESS=LZW: Zarr takes only OVERVIEWS"):
        begin(a_spec(tmp_path / "c.zarr", "Zarr", options=(("COMPRESS", "LZW"),)))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="is not writable"):
        begin(a_spec(tmp_path / "a.tif"))
    assert (tmp_path / "photos.zarr" / "cat.jpg").exists()
    assert (tmp_path / "b.tif.part" / "thesis.tex").exists()


def test_a_replacement_that_was_killed_between_its_renames_is_rolled_back(tmp_path: Path) -> None:
    spec = a_spec(tmp_path / "out.zarr", "Zarr")
    write_output(spec)
    store = TileStore.begin(spec, IDENTITY, resume=False, overwrite=True)
    backup = store.spec.destination.folder / "old.zarr"
    os.replace(spec.path, backup)
    # A folder of this name is only a backup if the run recorded that it made one.
    with pytest.raises(OutputError, match="not ours"):
        TileStore.begin(spec, IDENTITY, resume=False, overwrite=False)
    assert not Path(spec.path).exists()
    store.remember("has_backup", True)
    with pytest.raises(OutputError, match="exists"):
        TileStore.begin(spec, IDENTITY, resume=False, overwrite=False)
    assert is_same_output(spec, IDENTITY)


def test_sidecars_of_a_replaced_output_are_removed(tmp_path: Path) -> None:
    spec = a_spec(tmp_path / "a.tif")
    write_output(spec)
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset/>")
    write_output(spec, overwrite=True)
    assert os.listdir(tmp_path) == ["a.tif"]


def test_the_place_decides_the_class_and_the_work_directory() -> None:
    local = destination_at("out/a.tif/", "COG")
    assert (local, local.work) == (LocalDestination("out/a.tif", "COG"), "out/a.tif.part")
    group = destination_at("s3://bucket/a.zarr/", "Zarr")
    assert (group, group.work) == (StoreDestination("s3://bucket/a.zarr", "Zarr"), "s3://bucket/a.zarr.part")
    tiff = destination_at("s3://bucket/a.tif", "COG", "/scratch")
    assert tiff.work.startswith("/scratch/a.tif.")
    assert tiff.work != destination_at("s3://other/a.tif", "COG", "/scratch").work
    assert [d.keeps_values_on_disk for d in (local, group, tiff)] == [True, False, True]
