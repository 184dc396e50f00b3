"""Cubes as a web page carries them: 16 bits a value, deflated, base64, within a budget of bytes."""

from __future__ import annotations

import base64
import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# 65535 says NaN, so the steps between a band's least and largest value are one fewer.
NOTHING = 65535
STEPS = 65534


@dataclass(frozen=True)
class PixelSpectra:
    """One cube, quantised: ``value = code * scale[band] + offset[band]``.

    Attributes
    ----------
    shape : tuple of int
        (band, y, x) of what is recorded.
    scale, offset : list of float
        One a band, in physical units.
    text : str
        Base64 of the deflated codes, uint16, little-endian, (band, y, x); 65535 is NaN.
    """

    shape: tuple[int, int, int]
    scale: list[float]
    offset: list[float]
    text: str


@dataclass(frozen=True)
class Take:
    """The cubes of one crop, of which every `stride`-th hr pixel is recorded.

    Attributes
    ----------
    stride : int
    rows, columns : arrays of int
        The hr pixels recorded.
    cubes : mapping of str to PixelSpectra
        The lr cube is recorded whole up to a stride of the ratio, beyond at the same places.
    """

    stride: int
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    cubes: Mapping[str, PixelSpectra]


@dataclass(frozen=True)
class Subject:
    """What is to be recorded of a crop.

    Attributes
    ----------
    ratio : int
    lr, hr : mapping of str to array, shape (band, y, x) and (band, ratio * y, ratio * x)
    """

    ratio: int
    lr: Mapping[str, NDArray[np.float32]]
    hr: Mapping[str, NDArray[np.float32]]


def pixel_spectra(subjects: Sequence[Subject], budget_bytes: int) -> list[Take]:
    """Record crops with the smallest stride with which all together keep the budget.

    Parameters
    ----------
    subjects : sequence of Subject
    budget_bytes : int
        Of base64 text. One pixel of each cube is recorded, whatever it says.
    """
    sides = [n for s in subjects for cube in s.hr.values() for n in cube.shape[1:]]
    for stride in itertools.count(1):
        left = budget_bytes if stride < max(sides, default=1) else None
        takes = []
        for subject in subjects:
            take = _take(subject, stride, left)
            if take is None:
                break
            takes.append(take)
            left = None if left is None else left - sum(len(c.text) for c in take.cubes.values())
        else:
            return takes
    raise AssertionError("the last stride has no budget")


def _take(subject: Subject, stride: int, budget: int | None) -> Take | None:
    """Record one crop, or return None once it is over the budget."""
    height, width = next(iter(subject.hr.values())).shape[1:]
    rows, columns = _places(height, stride), _places(width, stride)
    cubes: dict[str, PixelSpectra] = {}
    for name, cube in _thinned(subject, rows, columns, stride):
        recorded = quantise(cube, budget)
        if recorded is None:
            return None
        cubes[name] = recorded
        budget = None if budget is None else budget - len(recorded.text)
    return Take(stride, rows, columns, cubes)


def _places(length: int, stride: int) -> NDArray[np.intp]:
    return np.arange(min(stride // 2, length - 1), length, stride)


def _thinned(
    subject: Subject, rows: NDArray[np.intp], columns: NDArray[np.intp], stride: int
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, cube in subject.lr.items():
        whole = stride <= subject.ratio
        yield name, cube if whole else cube[:, rows[:, None] // subject.ratio, columns // subject.ratio]
    for name, cube in subject.hr.items():
        yield name, cube[:, rows[:, None], columns]


def quantise(cube: NDArray[np.float32], budget: int | None = None) -> PixelSpectra | None:
    """Record a cube; each value within half of 1/65534 of its band's range.

    Parameters
    ----------
    cube : array, shape (band, y, x)
        NaN, and infinities, become nothing.
    budget : int, optional
        Bytes of text beyond which the attempt is given up.

    Returns
    -------
    PixelSpectra or None
        None if it would be longer than the budget.
    """
    packer, packed = zlib.compressobj(6), bytearray()
    scale, offset = [], []
    for band in cube:
        codes, step, low = _codes(band)
        packed += packer.compress(codes.tobytes())
        scale.append(step)
        offset.append(low)
        if budget is not None and len(packed) * 4 // 3 > budget:
            return None
    packed += packer.flush()
    text = base64.b64encode(packed).decode()
    if budget is not None and len(text) > budget:
        return None
    bands, height, width = cube.shape
    return PixelSpectra((bands, height, width), scale, offset, text)


def _codes(band: NDArray[np.float32]) -> tuple[NDArray[np.uint16], float, float]:
    there = np.isfinite(band)
    valid = band[there].astype(np.float64)
    if not valid.size:
        return np.full(band.shape, NOTHING, "<u2"), 0.0, 0.0
    low = float(valid.min())
    step = float(valid.max() - low) / STEPS
    codes = np.full(band.shape, NOTHING, "<u2")
    codes[there] = np.rint((valid - low) / step) if step > 0 else 0
    return codes, step, low
