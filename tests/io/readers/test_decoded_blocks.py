"""Blocks of JPEG 2000: decoded once for all threads, dropped when they are too many."""

import threading
from concurrent.futures import ThreadPoolExecutor

import delivered
import numpy as np
import pytest
import rasterio

from dualsr_geo.engine.options import Options
from dualsr_geo.engine.tile_size import MemoryRequirement, choose_sizes
from dualsr_geo.io.readers.blocks.decoded import BLOCKS, DecodedBlocks, blocks_of, limit_bytes_for
from dualsr_geo.io.readers.blocks.rows import row_bytes
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.raster.windows import Window

MIB = 2**20


def test_a_block_is_decoded_once_by_all_threads():
    cache, started, decoded = DecodedBlocks(MIB), threading.Event(), []

    def decode():
        decoded.append(1)
        started.wait(5)
        return np.ones(3)

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(cache.get, "a", decode) for _ in range(4)]
        started.set()
        assert all((r.result() == 1).all() for r in results)
    assert len(decoded) == 1


def test_the_least_recently_used_block_is_dropped():
    cache, decoded = DecodedBlocks(2 * 800), []

    def block(key):
        return cache.get(key, lambda: decoded.append(key) or np.zeros(100))

    for key in "abacab":
        block(key)
    assert decoded == ["a", "b", "c", "b"]
    with cache.limited(800):
        block("c")
    # Nothing is kept after a limit.
    block("c")
    assert decoded == ["a", "b", "c", "b", "c", "c"]


def test_a_block_that_fails_is_tried_again():
    cache = DecodedBlocks(MIB)

    def fail():
        raise OSError("damaged")

    with pytest.raises(OSError, match="damaged"):
        cache.get("a", fail)
    assert cache.get("a", lambda: np.ones(1)) == 1


def test_blocks_cover_a_window_once():
    size, block = (70, 50), (32, 16)
    covered = np.zeros(size, int)
    for inner in blocks_of(Window(30, 70, 5, 49), size, block):
        covered[inner.slices] += 1
    assert covered[30:70, 5:49].min() == covered.max() == 1


@pytest.mark.parametrize("bands", [1, 3])
def test_windows_are_those_of_gdal(bands, tmp_path):
    cube = delivered.counts(1, (bands, 150, 210))
    options = {"QUALITY": "100", "REVERSIBLE": "YES", "BLOCKXSIZE": "64", "BLOCKYSIZE": "64"}
    path = delivered.raster(tmp_path / "a.jp2", cube, 20, driver="JP2OpenJPEG", **options)
    scene = open_scene(path)
    rows, columns = scene.source.jp2_block
    assert rows == 64
    rng = np.random.default_rng(0)
    with rasterio.open(path) as file, BLOCKS.limited(2 * rows * columns * 2):
        for _ in range(20):
            (y0, y1), (x0, x1) = (sorted(rng.choice(n + 1, 2, replace=False)) for n in (150, 210))
            chosen = rng.permutation(bands)[: rng.integers(1, bands + 1)].tolist()
            window = rasterio.windows.Window.from_slices((y0, y1), (x0, x1))
            expected = file.read([b + 1 for b in chosen], window=window)
            np.testing.assert_array_equal(scene.source.read(Window(y0, y1, x0, x1), chosen), expected)
    assert row_bytes([scene.source, scene.source]) == bands * 64 * 210 * 2


def test_a_replaced_file_is_decoded_again(tmp_path):
    path = tmp_path / "a.jp2"
    window = Window(0, 40, 0, 40)
    for seed in (1, 2):
        cube = delivered.counts(seed, (1, 40, 40))
        delivered.raster(path, cube, 20, driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
        np.testing.assert_array_equal(open_scene(path).source.read(window), cube)


def test_blocks_are_a_part_of_the_memory():
    requirement = MemoryRequirement(6, 4, 2, 8, block_row=100 * MIB)
    sizes = choose_sizes((5490, 5490), requirement, Options(max_memory="8GB", jobs=2))
    plain = choose_sizes((5490, 5490), MemoryRequirement(6, 4, 2, 8), Options(max_memory="8GB", jobs=2))
    assert (sizes.blocks, sizes.bytes - plain.bytes) == (300 * MIB, 300 * MIB)
    assert (plain.blocks, sizes.tile) == (0, plain.tile)
    # Where both do not fit, the tile comes first.
    tight = Options(max_memory=520 * MIB, jobs=1, tile=64)
    small = choose_sizes((5490, 5490), requirement, tight)
    assert (small.tile, small.blocks, small.bytes <= 520 * MIB) == (64, 0, True)
    assert limit_bytes_for(100 * MIB, 400 * MIB) == 100 * MIB
