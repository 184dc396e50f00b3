"""The spectral axis: selections, packings, units."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.errors import BandError, OptionError
from dualsr_geo.raster.bands import Band, parse_bidx
from dualsr_geo.raster.packing import Packing, holds
from dualsr_geo.raster.wavelengths import nm_per_unit

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@given(st.data(), st.integers(1, 300))
def test_listed_indices_come_back_zero_based_in_order(data: st.DataObject, count: int) -> None:
    wanted = data.draw(st.lists(st.integers(1, count), min_size=1, max_size=9))
    assert parse_bidx(",".join(map(str, wanted)), count) == tuple(i - 1 for i in wanted)


@given(st.data(), st.integers(1, 300))
def test_a_range_is_inclusive_and_may_be_open(data: st.DataObject, count: int) -> None:
    low = data.draw(st.integers(1, count))
    high = data.draw(st.integers(low, count))
    assert parse_bidx(f"{low}..{high}", count) == tuple(range(low - 1, high))
    assert parse_bidx(f"..{high}", count) == tuple(range(high))
    assert parse_bidx(f" {low}.. ", count) == tuple(range(low - 1, count))
    assert parse_bidx("..", count) == tuple(range(count))


@pytest.mark.parametrize("text", ["0", "6", "2..9", "-1", "1,2,77"])
def test_an_index_outside_names_what_there_is(text: str) -> None:
    with pytest.raises(BandError, match=r"names band (0|6|9|-1|77), but the scene has bands 1 to 5"):
        parse_bidx(text, 5)


@pytest.mark.parametrize("text", ["red", "1;2", "1.5", "1-3"])
def test_an_entry_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BandError, match="is no band index. Give --bidx as"):
        parse_bidx(text, 5)


@pytest.mark.parametrize("text", ["", " , ", "4..3"])
def test_nothing_selected_is_an_error(text: str) -> None:
    with pytest.raises(BandError, match="selects none of the 5 bands"):
        parse_bidx(text, 5)


@given(st.sampled_from(INTEGERS), st.integers(-(2**40), 2**40))
def test_holds_agrees_with_numpy(dtype: str, value: int) -> None:
    info = np.iinfo(dtype)
    assert holds(dtype, value) == (info.min <= value <= info.max)
    assert not holds(dtype, value + 0.5)
    assert holds("float32", value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_integer_holds_what_is_not_finite(value: float) -> None:
    assert not any(holds(dtype, value) for dtype in INTEGERS)
    assert holds("float64", value)


PACKED = Packing("int16", (1e-4, 2e-4, 1.0), (0.0, 0.1, -5.0), -32768)


def test_select_keeps_scale_and_offset_together() -> None:
    assert PACKED.select((2, 0)) == Packing("int16", (1.0, 1e-4), (-5.0, 0.0), -32768)


def test_cast_to_float_drops_the_packing_and_makes_nodata_nan() -> None:
    cast = PACKED.cast("float32")
    assert (cast.dtype, cast.scales, cast.offsets) == ("float32", (1.0,) * 3, (0.0,) * 3)
    assert cast.nodata is not None
    assert np.isnan(cast.nodata)


def test_cast_to_another_integer_keeps_a_nodata_that_fits() -> None:
    assert PACKED.cast("int32") == Packing("int32", PACKED.scales, PACKED.offsets, -32768)
    assert PACKED.cast("uint16").nodata is None
    assert PACKED.cast("uint16", nodata=0).nodata == 0
    assert PACKED.cast() is PACKED


def test_cast_refuses_what_cannot_be() -> None:
    with pytest.raises(OptionError, match="--nodata -1 does not fit uint16"):
        PACKED.cast("uint16", nodata=-1)
    with pytest.raises(OptionError, match="--dtype complex64 cannot hold a spectrum"):
        PACKED.cast("complex64")


@pytest.mark.parametrize(
    ("unit", "wavelength", "factor"),
    [
        ("nm", 550, 1),
        ("Nanometers", 50, 1),
        ("um", 550, 1e3),
        ("Micrometers", 0.55, 1e3),
        ("\u00b5m", 0.55, 1e3),
        ("\u03bcm", 0.55, 1e3),
        ("m", 5.5e-7, 1e9),
        (None, 0.55, 1e3),
        (None, 99.9, 1e3),
        (None, 100, 1),
        ("Unknown", 2500, 1),
        ("Wavenumber", 1000, None),
        ("GHz", 10, None),
    ],
)
def test_units_of_wavelength(unit: str | None, wavelength: float, factor: float | None) -> None:
    assert nm_per_unit(unit, wavelength) == factor


def test_a_band_is_a_value() -> None:
    assert Band("a", 500.0) == Band("a", 500.0)
    assert Band().good
