"""Spectra of every pixel of the crops as a page carries them: 16 bits a value, deflated, base64, within a size budget."""

from __future__ import annotations

import base64
import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Code of NaN; the codes below it are the steps from a band's smallest to its largest value.
NAN_CODE = 65535
LARGEST_CODE = 65534


@dataclass(frozen=True)
class QuantisedCube:
    """A cube as 16-bit codes: ``value = code * scale[band] + offset[band]``.

    Attributes
    ----------
    shape : tuple of int
        (band, y, x).
    scale, offset : list of float
        One a band, physical units.
    text : str
        Base64 of the deflated codes, uint16, little-endian, (band, y, x); 65535 is NaN.
    """

    shape: tuple[int, int, int]
    scale: list[float]
    offset: list[float]
    text: str


@dataclass(frozen=True)
class CropCubes:
    """The cubes of a crop.

    Attributes
    ----------
    ratio : int
    lr, hr : mapping of str to array, shape (band, y, x) and (band, ratio * y, ratio * x)
    """

    ratio: int
    lr: Mapping[str, NDArray[np.float32]]
    hr: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class CropSpectra:
    """The quantised cubes of a crop, with every `stride`-th hr pixel.

    Attributes
    ----------
    stride : int
    rows, columns : arrays of int
        The hr pixels in the cubes.
    cubes : mapping of str to QuantisedCube
        lr cubes are whole up to a stride of the ratio; beyond they hold the same places as hr cubes.
    """

    stride: int
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    cubes: Mapping[str, QuantisedCube]


def quantise_crops(crops: Sequence[CropCubes], budget_bytes: int) -> list[CropSpectra]:
    """Quantise crops with the smallest stride at which all of them together fit the budget.

    Parameters
    ----------
    crops : sequence of CropCubes
    budget_bytes : int
        Of base64 text. One pixel of each cube is kept even if it exceeds the budget.
    """
    sides = [n for crop in crops for cube in crop.hr.values() for n in cube.shape[1:]]
    for stride in itertools.count(1):
        remaining = budget_bytes if stride < max(sides, default=1) else None
        spectra = []
        for crop in crops:
            quantised = _quantise_crop(crop, stride, remaining)
            if quantised is None:
                break
            spectra.append(quantised)
            remaining = None if remaining is None else remaining - sum(len(c.text) for c in quantised.cubes.values())
        else:
            return spectra
    raise AssertionError("the last stride has no budget")


def _quantise_crop(crop: CropCubes, stride: int, budget: int | None) -> CropSpectra | None:
    """Quantise one crop; return None once it exceeds the budget."""
    height, width = next(iter(crop.hr.values())).shape[1:]
    rows, columns = _every(height, stride), _every(width, stride)
    cubes: dict[str, QuantisedCube] = {}
    for name, cube in _thinned(crop, rows, columns, stride):
        quantised = quantise(cube, budget)
        if quantised is None:
            return None
        cubes[name] = quantised
        budget = None if budget is None else budget - len(quantised.text)
    return CropSpectra(stride, rows, columns, cubes)


def _every(length: int, stride: int) -> NDArray[np.intp]:
    return np.arange(min(stride // 2, length - 1), length, stride)


def _thinned(
    crop: CropCubes, rows: NDArray[np.intp], columns: NDArray[np.intp], stride: int
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, cube in crop.lr.items():
        whole = stride <= crop.ratio
        yield name, cube if whole else cube[:, rows[:, None] // crop.ratio, columns // crop.ratio]
    for name, cube in crop.hr.items():
        yield name, cube[:, rows[:, None], columns]


def quantise(cube: NDArray[np.float32], budget: int | None = None) -> QuantisedCube | None:
    """Quantise a cube; each value is within half of 1/65534 of its band's range.

    Parameters
    ----------
    cube : array, shape (band, y, x)
        NaN and infinities get the code of NaN.
    budget : int, optional
        Bytes of text.

    Returns
    -------
    QuantisedCube or None
        None if the text would exceed the budget.
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
    return QuantisedCube((bands, height, width), scale, offset, text)


def _codes(band: NDArray[np.float32]) -> tuple[NDArray[np.uint16], float, float]:
    """Return the codes of a band, their step and the value of code 0."""
    valid = np.isfinite(band)
    values = band[valid].astype(np.float64)
    if not values.size:
        return np.full(band.shape, NAN_CODE, "<u2"), 0.0, 0.0
    low = float(values.min())
    step = float(values.max() - low) / LARGEST_CODE
    codes = np.full(band.shape, NAN_CODE, "<u2")
    codes[valid] = np.rint((values - low) / step) if step > 0 else 0
    return codes, step, low
