"""Blocks of a TIFF in the order of a COG, moved as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from outputs import a_spec, tiles_of, values_of, write_output
from rasterio.enums import Resampling
from rio_cogeo import cog_validate

from dualsr_geo.io.writers import creation_options, geotiff, tiff_order
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.io.writers.tiff_order import write_in_order
from dualsr_geo.io.writers.tile_store import TileStore

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SHAPE = (3, 700, 1100)


def written(path: Path, **options: object) -> np.ndarray:
    """Write a file whose overviews follow its image; return its values."""
    values = np.random.default_rng(0).integers(0, 5000, SHAPE, "uint16")
    form = {"count": SHAPE[0], "height": SHAPE[1], "width": SHAPE[2], "dtype": "uint16", "tiled": True}
    with rasterio.open(
        path, "w", driver="GTiff", interleave="band", blockxsize=256, blockysize=256, **form, **options
    ) as f:
        f.write(values)
    with rasterio.Env(GDAL_TIFF_OVR_BLOCKSIZE="256"), rasterio.open(path, "r+") as f:
        f.build_overviews([2, 4], Resampling.average)
    return values


def blocks(path: Path) -> Iterator[list[bytes]]:
    """Return the bytes of the blocks of each directory."""
    with tifffile.TiffFile(path) as file, path.open("rb") as content:
        for page in file.pages:
            yield [_bytes(content, *place) for place in zip(page.dataoffsets, page.databytecounts, strict=True)]


def _bytes(file, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)


@pytest.mark.parametrize("big", ["YES", "NO"])
@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
def test_blocks_are_moved_as_they_are(tmp_path: Path, big: str, order: str) -> None:
    before, after = tmp_path / "before.tif", tmp_path / "after.tif"
    values = written(before, compress="deflate", bigtiff=big, endianness=order)
    write_in_order(before, after)
    assert list(blocks(after)) == list(blocks(before))
    with rasterio.open(after) as file, tifffile.TiffFile(after) as structure:
        assert np.array_equal(file.read(), values)
        assert file.overviews(1) == [2, 4]
        assert structure.is_bigtiff == (big == "YES")
        assert structure.byteorder == {"LITTLE": "<", "BIG": ">"}[order]
        starts = [min(page.dataoffsets) for page in structure.pages]
    assert starts == sorted(starts, reverse=True)
    assert cog_validate(after, strict=True) == (True, [], [])


def test_blocks_that_a_sparse_file_leaves_out_stay_out(tmp_path: Path) -> None:
    before, after = tmp_path / "before.tif", tmp_path / "after.tif"
    form = {"count": 2, "height": 300, "width": 300, "dtype": "uint8", "tiled": True, "sparse_ok": True}
    with rasterio.open(before, "w", driver="GTiff", interleave="band", **form) as file:
        file.write(np.ones((300, 300), "uint8"), 2)
    write_in_order(before, after)
    assert list(blocks(after)) == list(blocks(before))
    with rasterio.open(after) as file:
        assert file.read().sum((1, 2)).tolist() == [0, 90000]


def test_a_file_that_is_no_tiff_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match="is no TIFF"):
        write_in_order(tmp_path / "a.tif", tmp_path / "b.tif")


def test_a_classic_tiff_that_grows_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "a.tif")
    size = (tmp_path / "a.tif").stat().st_size
    small = tiff_order.Kind(*[*vars(tiff_order.CLASSIC).values()][:-1], size - 10_000)
    monkeypatch.setattr(tiff_order, "CLASSIC", small)
    with pytest.raises(ValueError, match="too large for its kind"):
        write_in_order(tmp_path / "a.tif", tmp_path / "b.tif")


def write_with_deviations(spec: OutputSpec) -> None:
    """Write an output with the standard deviations of its values."""
    store, values, count = TileStore.begin(spec, {}, resume=False, overwrite=False), values_of(spec), spec.shape[0]
    for tile in tiles_of(spec):
        part = values[(slice(None), *tile.core.slices)]
        chunks = store.write(tile.core, slice(0, count), part)
        store.mark(tile.index, {}, chunks | store.write(tile.core, slice(count, 2 * count), part // 2))
    store.finish({"software": "dualsr-geo"}, None)


@pytest.mark.parametrize("form", ["COG", "GTiff"])
@pytest.mark.parametrize("uncertainty", [False, True])
@pytest.mark.parametrize(
    "options", [(), (("COMPRESS", "DEFLATE"), ("BLOCKSIZE", "256"), ("OVERVIEW_RESAMPLING", "NEAREST"))]
)
def test_an_output_is_the_one_that_gdal_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, uncertainty: bool, options: tuple[tuple[str, str], ...]
) -> None:
    changes = {"shape": (1100, 700), "tile": 256, "uncertainty": uncertainty, "options": options, "attrs": {}}
    moved, copied = (a_spec(tmp_path / f"{n}.tif", form, **changes) for n in ("moved", "copied"))
    write = write_with_deviations if uncertainty else write_output
    write(moved)
    for module in (geotiff, creation_options):
        monkeypatch.setattr(module, "has_plain_options", lambda _: False)
    write(copied)
    assert [len(b) for b in blocks(Path(moved.path))] == [len(b) for b in blocks(Path(copied.path))]
    assert list(blocks(Path(moved.path))) == list(blocks(Path(copied.path)))
    with rasterio.open(moved.path) as a, rasterio.open(copied.path) as b:
        assert a.profile == b.profile
        for name in ("descriptions", "scales", "offsets", "units", "colorinterp", "block_shapes"):
            assert getattr(a, name) == getattr(b, name)
        for domain in ("", "ENVI", "DUALSR"):
            assert a.tags(ns=domain) == b.tags(ns=domain)
        for band in a.indexes:
            assert a.tags(band) == b.tags(band)
            assert a.overviews(band) == b.overviews(band)
