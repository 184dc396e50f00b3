"""Tile sizes: within the memory limit, monotone, and an error that names the sufficient memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from dualsr_geo import resources
from dualsr_geo.engine import tile_size
from dualsr_geo.engine.options import Options
from dualsr_geo.errors import OptionError
from dualsr_geo.synthetic import write

MIB = 2**20
SCENE = (629, 583)


def sizes(shape: tuple[int, int] = SCENE, bands: int = 128, ratio: int = 4, **options: int) -> tile_size.TileSizes:
    return tile_size.choose_sizes(shape, tile_size.MemoryRequirement(bands, 1, ratio, 14), Options(**options))


@given(st.integers(600, 60000), st.integers(1, 400), st.integers(2, 8), st.integers(1, 16))
def test_the_estimate_stays_below_the_limit_or_the_error_names_the_sufficient_memory(
    mib: int, bands: int, ratio: int, jobs: int
) -> None:
    try:
        chosen = sizes(bands=bands, ratio=ratio, max_memory=mib * MIB, jobs=jobs)
    except OptionError as error:
        options, least = (int(n) for n in re.findall(r"(\d+) ?MiB", str(error))[:2])
        assert options == mib < least + 1
        assert sizes(bands=bands, ratio=ratio, max_memory=(least + 1) * MIB).tile == 16
        return
    assert chosen.bytes <= mib * MIB
    assert 1 <= chosen.jobs <= jobs
    assert chosen.tile in tile_size.TILE_SIDES


@given(st.integers(1000, 8000), st.integers(100, 8000), st.integers(1, 8))
def test_more_memory_never_gives_less(mib: int, more: int, jobs: int) -> None:
    small = sizes(max_memory=mib * MIB, jobs=jobs)
    large = sizes(max_memory=(mib + more) * MIB, jobs=jobs)
    assert large.jobs >= small.jobs
    assert large.jobs > small.jobs or large.tile >= small.tile


@given(st.integers(8, 200))
def test_a_requested_tile_is_used_or_refused(tile: int) -> None:
    chosen = sizes(tile=tile, jobs=1, max_memory=64 * 2**30)
    assert chosen.tile == tile
    assume(chosen.bytes > 520 * MIB)
    with pytest.raises(OptionError, match=rf"520 MiB .* {tile} lr pixels .* smaller --tile"):
        sizes(tile=tile, jobs=1, max_memory=520 * MIB)


def test_the_estimate_does_not_grow_with_the_scene() -> None:
    assert sizes((2000, 3000), tile=64, jobs=2) == sizes((20000, 30000), tile=64, jobs=2)


def test_by_default_the_machine_decides() -> None:
    chosen = sizes()
    assert chosen.bytes <= psutil.virtual_memory().total * tile_size.DEFAULT_MEMORY_SHARE
    assert chosen.jobs <= resources.cores() <= (os.cpu_count() or 1)


def test_more_tiles_at_once_need_more() -> None:
    one, two = (sizes(tile=64, jobs=n, max_memory=64 * 2**30).bytes for n in (1, 2))
    assert two - tile_size.BASE_BYTES == 2 * (one - tile_size.BASE_BYTES)


def test_the_peak_includes_a_large_array() -> None:
    before = resources.peak()
    block = np.ones(before // 8 + 30 * MIB // 8)
    assert resources.peak() >= block.nbytes
    assert resources.peak() >= psutil.Process().memory_info().rss * 0.9


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(OptionError, match="--device tpu"):
        resources.device("tpu")
    assert resources.device("cpu") == "cpu"


@given(
    height=st.integers(9, 3000),
    width=st.integers(9, 3000),
    block=st.sampled_from([1, 3]),
    halo=st.sampled_from([24, 36]),
    jobs=st.integers(1, 8),
)
def test_a_networks_tiles_are_whole_blocks_and_cut_the_scene_evenly(height, width, block, halo, jobs):
    need = tile_size.MemoryRequirement(31, 0, 4, halo, block, 128, streams_bands=True)
    chosen = tile_size.choose_sizes((height, width), need, Options(jobs=jobs, max_memory=2**36))
    assert chosen.tile % block == 0
    longest = max(height, width)
    pieces = -(-longest // chosen.tile)
    assert chosen.tile < longest / pieces + block
    assert chosen.bytes <= 2**36


def test_a_network_gets_all_cores_and_little_halo():
    need = tile_size.MemoryRequirement(31, 3, 4, 24, 3, 1280, streams_bands=True)
    # Whole, 150 x 150 lr pixels keep one core of two busy; in four pieces both, for 1.7 times the pixels.
    assert tile_size.choose_sizes((150, 150), need, Options(jobs=1, max_memory=2**34)).tile == 150
    assert tile_size.choose_sizes((150, 150), need, Options(jobs=2, max_memory=2**34)).tile == 75
    small = tile_size.choose_sizes((150, 150), need, Options(jobs=2, max_memory=2**31))
    assert (small.tile, small.jobs) != (75, 2)
    assert small.bytes <= 2**31


@pytest.mark.parametrize(("tile", "advice"), [(50, "Give 48 or 51"), (16, "Give 15 or 18")])
def test_a_tile_that_cuts_blocks_is_refused(tile, advice):
    need = tile_size.MemoryRequirement(31, 3, 4, 24, 3, 1280, streams_bands=True)
    with pytest.raises(OptionError, match=f"--tile {tile} is no whole number of the network's blocks of 3.*{advice}"):
        tile_size.choose_sizes((150, 150), need, Options(tile=tile))


@pytest.mark.skipif(
    sys.platform != "linux" or torch.version.cuda is not None, reason="the libraries themselves take another size here"
)
def test_a_whole_run_stays_below_the_limit(tmp_path):
    # Without the limit this run takes 790 MB, with it 620 MB; libraries and survey alone take 500 to 600 MB.
    limit = 700 * 10**6
    scene, pan = write(tmp_path, bands=48, shape=(320, 320), guide="pan")
    arguments = [scene, "--rgb", pan, "-o", tmp_path / "product.zarr", "--model", "regression", "--jobs", "2"]
    command = [
        sys.executable,
        "-m",
        "dualsr_geo",
        "upscale",
        *arguments,
        "--max-memory",
        f"{limit // 10**6}MB",
        "--json",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout)["peak_memory_bytes"] <= limit
