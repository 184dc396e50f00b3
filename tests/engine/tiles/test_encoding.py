"""Rounding, saturation, overshoot and nodata."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.engine.tiles.encoding import empty_value, encode, floor
from dualsr_geo.raster.packing import Packing

ALL = slice(0, 1)
LOWEST = -1e30


def packing(dtype: str, scale: float = 1.0, offset: float = 0.0, nodata: float | None = None) -> Packing:
    return Packing(dtype, (scale,), (offset,), nodata)


def planes(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 1, -1)


def stored(values: torch.Tensor, pack: Packing, low: float = LOWEST) -> list:
    return encode(values, pack, slice(0, len(values)), low, None).stored.ravel().tolist()


def test_halves_round_to_even():
    assert stored(planes(0.5, 1.5, 2.5, -0.5, -1.5, 3.4999), packing("int16")) == [0, 2, 2, 0, -2, 3]


@given(st.integers(0, 65535), st.sampled_from([1e-4, 0.01, 1.0, 2.5]), st.sampled_from([0.0, -0.1, 7.0]))
def test_stored_numbers_survive_decoding_and_encoding(number, scale, offset):
    value = np.float32(number * scale + offset)
    assert stored(planes(value), packing("uint16", scale, offset)) == [number]


def test_bands_have_their_own_packing():
    pack = Packing("int16", (1.0, 0.5, 0.1), (0.0, 1.0, 0.0))
    encoded = encode(torch.full((2, 1, 1), 3.0), pack, slice(1, 3), LOWEST, None)
    assert encoded.stored.ravel().tolist() == [4, 30]


def test_what_saturates_is_clipped_and_counted():
    encoded = encode(planes(-3.0, 255.4, 255.6, 300.0, 12.0), packing("uint8"), ALL, LOWEST, None)
    assert encoded.stored.ravel().tolist() == [0, 255, 255, 255, 12]
    assert encoded.saturated == 3
    assert encoded.physical.ravel().tolist() == [0, 255, 255, 255, 12]


def test_physical_is_what_a_reader_decodes():
    encoded = encode(planes(0.123456, 0.2), packing("uint16", 1e-4, 0.05), ALL, LOWEST, None)
    decoded = encoded.stored.astype(float) * 1e-4 + 0.05
    np.testing.assert_allclose(encoded.physical.numpy(), decoded, atol=1e-7)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_overshoot_below_the_scenes_minimum_is_cut_and_counted(dtype):
    encoded = encode(planes(1.0, 2.0, 3.0, 4.0), packing(dtype), ALL, 2.5, None)
    assert encoded.stored.ravel().tolist() == pytest.approx([2.5, 2.5, 3, 4] if dtype == "float32" else [2, 2, 3, 4])
    assert encoded.cut == 2


def test_a_limit_may_change_from_pixel_to_pixel():
    encoded = encode(planes(1.0, 2.0, 3.0), packing("float32"), ALL, planes(1.5, 1.5, 3.5), None)
    assert encoded.stored.ravel().tolist() == [1.5, 2.0, 3.5]
    assert encoded.cut == 2


def test_holes_get_nodata_and_are_not_counted():
    hole = torch.tensor([[[True, False, True, False]]])
    encoded = encode(planes(-9.0, -9.0, 999.0, 999.0), packing("uint8", nodata=7.0), ALL, 0.0, hole)
    assert encoded.stored.ravel().tolist() == [7, 0, 7, 255]
    assert (encoded.cut, encoded.saturated) == (1, 1)


@pytest.mark.parametrize(
    ("dtype", "nodata", "wanted"),
    [("uint8", 0, 1), ("uint8", 255, 254), ("int16", -32768, -32767), ("int16", 5, 4), ("int32", -(2**31), 1 - 2**31)],
)
def test_a_valid_value_never_becomes_nodata(dtype, nodata, wanted):
    assert stored(planes(float(nodata)), packing(dtype, nodata=float(nodata))) == [wanted]


@pytest.mark.parametrize("nodata", [-9999.0, 0.5, float("nan")])
def test_a_nodata_value_that_the_type_cannot_hold_changes_nothing(nodata):
    assert stored(planes(0.0, 3.0), packing("uint8", nodata=nodata)) == [0, 3]


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("int32", -(2**31), 2**31 - 1), ("uint32", 0, 2**32 - 1), ("int8", -128, 127), ("uint16", 0, 65535)],
)
def test_the_ends_of_integer_ranges(dtype, low, high):
    assert stored(planes(-1e12, 1e12, float(2**20 % (high + 1))), packing(dtype)) == [low, high, 2**20 % (high + 1)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_stored_as_they_are(dtype):
    values = planes(0.1, -2.5, 1e9)
    encoded = encode(values.clone(), packing(dtype, nodata=float("nan")), ALL, LOWEST, None)
    assert encoded.stored.dtype == dtype
    np.testing.assert_array_equal(encoded.stored, values.numpy().astype(dtype))
    assert encoded.saturated == 0


@pytest.mark.parametrize("nodata", [None, float("nan"), -9999.0])
def test_holes_of_floats(nodata):
    hole = torch.tensor([[[True, False]]])
    encoded = encode(planes(1.0, 2.0), packing("float64", nodata=nodata), ALL, LOWEST, hole)
    np.testing.assert_array_equal(encoded.stored.ravel(), [np.nan if nodata is None else nodata, 2.0])


@pytest.mark.parametrize(
    ("pack", "wanted"),
    [(packing("uint8"), 0), (packing("int16", nodata=-1.0), -1), (packing("float32", nodata=-9.0), -9.0)],
)
def test_empty_value(pack, wanted):
    assert empty_value(pack) == wanted


def test_encoding_does_not_share_memory_with_its_input():
    values = planes(1.0, 2.0)
    encoded = encode(values, packing("float32"), ALL, LOWEST, None)
    values.zero_()
    assert encoded.stored.ravel().tolist() == [1.0, 2.0]


def test_floor_follows_the_scene_where_it_is_darker_than_the_sample():
    window = torch.full((1, 9, 9), 5.0)
    window[0, 4, 4] = 1.0
    assert floor(window, 1.0, (slice(None), slice(None)), 2) is None
    encoded = floor(window, 3.0, (slice(1, 9), slice(0, 8)), 2)
    assert encoded.shape == (1, 16, 16)
    y, x = np.mgrid[:16, :16]
    near = (abs(y // 2 + 1 - 4) <= 2) & (abs(x // 2 - 4) <= 2)
    np.testing.assert_array_equal(encoded[0].numpy(), np.where(near, 1.0, 3.0))
