"""How large a tile may be: bounds kept, monotone, and an error that says what would do."""

from __future__ import annotations

import os
import re

import numpy as np
import psutil
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dualsr_geo import memory
from dualsr_geo.errors import OptionError
from dualsr_geo.plan import Options

MIB = 2**20
SCENE = (629, 583)


def sizes(shape: tuple[int, int] = SCENE, bands: int = 128, ratio: int = 4, **asked: int) -> memory.Sizes:
    return memory.sizes(shape, memory.Need(bands, 1, ratio, 14), Options(**asked))


@given(st.integers(600, 60000), st.integers(1, 400), st.integers(2, 8), st.integers(1, 16))
def test_the_estimate_stays_below_the_limit_or_the_error_says_what_would_do(
    mib: int, bands: int, ratio: int, jobs: int
) -> None:
    try:
        found = sizes(bands=bands, ratio=ratio, max_memory=mib * MIB, jobs=jobs)
    except OptionError as error:
        asked, least = (int(n) for n in re.findall(r"(\d+) ?MiB", str(error))[:2])
        assert asked == mib < least + 1
        assert sizes(bands=bands, ratio=ratio, max_memory=(least + 1) * MIB).tile == 16
        return
    assert found.bytes <= mib * MIB
    assert 1 <= found.jobs <= jobs
    assert found.tile in memory.TILES


@given(st.integers(1000, 8000), st.integers(100, 8000), st.integers(1, 8))
def test_more_memory_never_gives_less(mib: int, more: int, jobs: int) -> None:
    small = sizes(max_memory=mib * MIB, jobs=jobs)
    large = sizes(max_memory=(mib + more) * MIB, jobs=jobs)
    assert large.jobs >= small.jobs
    assert large.jobs > small.jobs or large.tile >= small.tile


@given(st.integers(8, 200))
def test_a_tile_that_is_asked_for_is_taken_or_refused(tile: int) -> None:
    found = sizes(tile=tile, jobs=1, max_memory=64 * 2**30)
    assert found.tile == tile
    assume(found.bytes > 520 * MIB)
    with pytest.raises(OptionError, match=rf"520 MiB .* {tile} lr pixels .* smaller --tile"):
        sizes(tile=tile, jobs=1, max_memory=520 * MIB)


def test_the_estimate_does_not_grow_with_the_scene() -> None:
    assert sizes((2000, 3000), tile=64, jobs=2) == sizes((20000, 30000), tile=64, jobs=2)


def test_left_out_the_machine_decides() -> None:
    found = sizes()
    assert found.bytes <= psutil.virtual_memory().total * memory.DEFAULT_SHARE
    assert found.jobs <= memory.cores() <= (os.cpu_count() or 1)


def test_more_tiles_at_once_need_more() -> None:
    one, two = (sizes(tile=64, jobs=n, max_memory=64 * 2**30).bytes for n in (1, 2))
    assert two - memory.BASE_BYTES == 2 * (one - memory.BASE_BYTES)


def test_the_peak_sees_what_was_held() -> None:
    before = memory.peak()
    held = np.ones(before // 8 + 30 * MIB // 8)
    assert memory.peak() >= held.nbytes
    assert memory.peak() >= psutil.Process().memory_info().rss * 0.9


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(OptionError, match="--device tpu"):
        memory.device("tpu")
    assert memory.device("cpu") == "cpu"
