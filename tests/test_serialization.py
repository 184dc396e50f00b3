"""JSON reads back what was written, to the last bit; files are written whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.serialization import from_json, plain_values, to_json, write_atomically


@dataclass(frozen=True)
class Inner:
    values: NDArray[np.float32]
    size: float
    name: str = "nan"


@dataclass(frozen=True)
class Outer:
    array: NDArray[Any]
    inner: Inner | None
    several: tuple[Inner, ...]
    pair: tuple[int, float]
    by_number: dict[int, Inner]
    by_name: Mapping[str, float | None]
    limit: float | None
    psf: Psf | None = None
    kind: Literal["a", "b"] = "a"
    anything: Any = None
    numbers: list[int] = field(default_factory=list)


def read_back(value: Any) -> Any:
    return from_json(type(value), json.loads(json.dumps(to_json(value), allow_nan=False)))


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes() or np.array_equal(a, b, equal_nan=True)
    elif hasattr(a, "__dataclass_fields__"):
        for name in a.__dataclass_fields__:
            assert_same(getattr(a, name), getattr(b, name))
    elif isinstance(a, tuple | list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key, value in a.items():
            assert_same(value, b[key])
    else:
        assert a == b or (math.isnan(a) and math.isnan(b))


def shapes():
    return array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


floats = st.floats(allow_nan=True, allow_infinity=True)
singles = arrays(np.float32, shapes(), elements=st.floats(width=32))
anything = st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.uint8, np.bool_]).flatmap(
    lambda dtype: arrays(dtype, shapes())
)
inner = st.builds(Inner, singles, floats, st.text(max_size=3) | st.just("inf"))


@given(
    st.builds(
        Outer,
        array=anything,
        inner=st.none() | inner,
        several=st.lists(inner, max_size=2).map(tuple),
        pair=st.tuples(st.integers(), floats),
        by_number=st.dictionaries(st.integers(), inner, max_size=2),
        by_name=st.dictionaries(st.text(max_size=2), st.none() | floats, max_size=2),
        limit=st.none() | floats,
        psf=st.none() | st.just(Psf.from_mtf(3)),
        kind=st.sampled_from(["a", "b"]),
        anything=st.none() | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
        numbers=st.lists(st.integers(), max_size=2),
    )
)
def test_a_value_is_read_back_to_the_last_bit(value):
    assert_same(read_back(value), value)


def test_a_single_has_its_shortest_text():
    assert json.dumps(to_json(np.float32([0.1, 1 / 3]))) == "[0.1, 0.33333334]"


def test_what_json_has_no_number_for_is_named():
    assert to_json((math.inf, -math.inf, math.nan)) == ["inf", "-inf", "nan"]
    assert to_json(np.float32([math.inf, 1])) == ["inf", 1.0]


def test_numbers_of_numpy_are_plain():
    assert to_json({"a": np.float64(0.5), "b": np.int64(3), "c": np.bool_(True)}) == {"a": 0.5, "b": 3, "c": True}


def test_a_type_keeps_the_json_of_its_own():
    psf = Psf.from_mtf(2)
    assert to_json((psf,)) == [psf.to_json()]


def test_a_field_that_is_lacking_takes_its_default():
    assert from_json(Inner, {"values": [], "size": 1}).name == "nan"


@pytest.mark.parametrize("value", [None, 3, {"values": []}, {"values": ["x"], "size": 1}, {"values": [], "other": 1}])
def test_anything_else_is_refused_by_name(value):
    with pytest.raises(ValueError, match="no Inner as JSON"):
        from_json(Inner, value)


@pytest.mark.parametrize("value", [object(), np.array(["a"]), {1, 2}])
def test_what_cannot_be_read_back_is_not_written(value):
    with pytest.raises(TypeError, match="JSON holds no"):
        to_json(value)


def test_a_union_of_several_types_is_refused():
    @dataclass(frozen=True)
    class Ambiguous:
        value: float | str

    Ambiguous.__annotations__["value"] = float | str
    with pytest.raises(ValueError, match="apart"):
        from_json(Ambiguous, {"value": 1})


def test_records_are_written_one_way():
    record = {1: np.arange(2), "a": np.float32(0.5), "b": (math.nan, None, True), "c": Psf}
    assert plain_values(record) == {"1": [0, 1], "a": 0.5, "b": ["nan", None, True], "c": str(Psf)}


@pytest.mark.parametrize("content", ["grün\r\n\n", b"\0\xff"])
def test_a_file_is_replaced_by_the_content(tmp_path: Path, content: str | bytes) -> None:
    place = tmp_path / "a.json"
    place.write_text("old")
    write_atomically(place, content, sync=True)
    assert place.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    place = tmp_path / "a.json"
    place.write_text("old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)):
        write_atomically(place, "new", sync=True)
    assert place.read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "a.json", "new")
