"""Specification of an output: chunks and formats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.errors import OptionError
from dualsr_geo.io.writers.output_spec import chunk_side, format_of


@given(tile=st.integers(1, 4100))
def test_a_chunk_divides_the_tile_and_is_neither_tiny_nor_huge(tile: int) -> None:
    side = chunk_side(tile)
    assert tile % side == 0
    small = [d for d in range(64, 513) if tile % d == 0]
    assert (
        side in small
        if small
        else side == min(d for d in range(1, tile + 1) if tile % d == 0 and (d > 512 or d == tile))
    )


@pytest.mark.parametrize(("tile", "side"), [(512, 256), (1024, 256), (384, 192), (520, 260), (300, 300), (2018, 1009)])
def test_chunks_of_usual_tiles(tile: int, side: int) -> None:
    assert chunk_side(tile) == side


def test_the_format_follows_the_suffix_unless_one_is_requested() -> None:
    assert [format_of(p, None) for p in ("a.tif", "b.TIFF", "c.zarr")] == ["COG", "COG", "Zarr"]
    assert format_of("a.tif", "gtiff") == "GTiff"
    with pytest.raises(OptionError, match=r"`\.png`.*--format COG, GTiff, netCDF or Zarr"):
        format_of("a.png", None)
    with pytest.raises(OptionError, match="--format ENVI cannot"):
        format_of("a.tif", "ENVI")
