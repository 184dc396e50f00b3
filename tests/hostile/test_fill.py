"""Undeclared fill: missing pixels that hold 0, the end of a type or another number that no metadata name."""

import json
import re

import numpy as np
import pytest
import rasterio
import xarray as xr
from delivered import counts, raster
from hostile_case import Case, check

SIDE = 40


def filled(value, dtype="uint16", corner=14, bands=3, side=SIDE):
    """A scene of 500 to 5000 with a triangle of fill in a corner."""
    high = 250 if np.dtype(dtype).itemsize == 1 else 5000
    cube = counts(1, (bands, side, side), high // 10, high, "float64").astype(dtype)
    y, x = np.indices((side, side))
    cube[:, y + x < corner] = value
    return cube


def shaded(value, dtype="uint8"):
    """A scene whose values fall, or rise, smoothly to the end of the type, as in a shadow or a cloud."""
    y, x = np.indices((SIDE, SIDE))
    distance = np.hypot(y - 20, x - 20)
    field = np.clip((distance - 8) * 6, 0, 200)
    return np.stack([(abs(value - field * s)).astype(dtype) for s in (1, 0.9, 0.8)])


def command(cube, *arguments, verb="upscale", guide=False, **options):
    def make(folder):
        raster(folder / "s.tif", cube, 8.0, **options)
        if guide:
            raster(folder / "g.tif", counts(2, (1, 2 * SIDE, 2 * SIDE)), 4.0)
        tail = {"upscale": ["--scale", "2", "-o", "o.tif"], "info": [], "guide-check": ["--rgb", "g.tif"],
                "degrade": ["--scale", "2", "-o", "o.tif"], "evaluate": ["--scale", "2", "--models", "bicubic"]}[verb]  # fmt: skip
        return [verb, "s.tif", *tail, *arguments]

    return make


def lazily(cube, nodata=None, *, chunks=None, masked=False):
    def make(folder):
        raster(folder / "s.tif", cube, 8.0)
        array = xr.open_dataarray(folder / "s.tif", engine="rasterio", chunks=chunks, mask_and_scale=masked)
        keywords = {} if nodata is None else {"nodata": nodata}

        def run():
            product = array.dualsr.upscale(scale=2, **keywords).compute()
            return int((product == 0).sum()), int(product.isnull().sum())

        return run

    return make


def holes(cube, value):
    """Check that the product has nodata exactly where the scene has fill."""

    def verify(folder, _outcome):
        with rasterio.open(folder / "o.tif") as file:
            assert file.nodata == value
            valid = file.read_masks(1) > 0
        assert (valid == (cube[0] != value).repeat(2, 0).repeat(2, 1)).all()

    return verify


def no_holes(folder, _outcome):
    with rasterio.open(folder / "o.tif") as file:
        assert file.read_masks().all()


def in_json(_folder, outcome):
    assert json.loads(outcome.out)["undeclared_fill"]["value"] == 0


def in_notes(_folder, outcome):
    assert re.search(ZERO, outcome.out)


SENTENCE = r"exactly {} in all bands.*--nodata {} or --nodata auto"
ZERO = SENTENCE.format(0, 0)
ALL = (
    *(
        Case(f"fill of {value} in {dtype}", command(filled(value, dtype)), warning=SENTENCE.format(text, text))
        for value, dtype, text in (
            (0, "uint16", "0"), (65535, "uint16", "65535"), (0, "uint8", "0"), (255, "uint8", "255"),
            (-32768, "int16", "-32768"), (-9999, "int16", "-9999"), (0, "float32", "0"), (-9999, "float32", "-9999"),
            (-9999, "float64", "-9999"), (0, "int32", "0"),
        )
    ),
    Case("fill of the largest uint32", command(filled(2**32 - 1, "uint32")), error=r"Band 1 .*4294967295 .*--nodata"),
    Case("fill of the largest uint32, --nodata auto", command(filled(2**32 - 1, "uint32"), "--nodata", "auto"),
         verify=holes(filled(2**32 - 1, "uint32"), 2**32 - 1)),
    Case("fill, --nodata auto", command(filled(0), "--nodata", "auto"), verify=holes(filled(0), 0), quiet=False),
    Case("fill of -9999, --nodata auto", command(filled(-9999, "float32"), "--nodata", "auto"), verify=holes(filled(-9999, "float32"), -9999)),
    Case("fill, --nodata auto of another type", command(filled(0), "--nodata", "auto", "-t", "int32"), verify=holes(filled(0), 0)),
    Case("no fill, --nodata auto", command(filled(0, corner=0), "--nodata", "auto"), verify=no_holes),
    Case("fill that is declared", command(filled(0), nodata=0), verify=holes(filled(0), 0)),
    *(Case(f"fill, {verb}", command(filled(0), verb=verb), warning=ZERO) for verb in ("info", "evaluate")),
    Case("fill, guide-check", command(filled(0), verb="guide-check", guide=True), verify=in_notes),
    Case("fill, info --json", command(filled(0), "--json", verb="info"), warning=ZERO, verify=in_json),
    Case("fill, info --nodata auto", command(filled(0), "--nodata", "auto", verb="info"), quiet=True),
    Case("fill, degrade --nodata auto", command(filled(0), "--nodata", "auto", verb="degrade"), quiet=True),
    Case("fill, lazily", lazily(filled(0)), warning=ZERO),
    Case("fill, lazily in chunks", lazily(filled(0), chunks={"x": SIDE, "y": SIDE}), warning=ZERO),
    Case("fill, lazily and masked", lazily(filled(0), masked=True), warning=ZERO),
    *(Case(f"fill, lazily, nodata auto{', masked' * m}", lazily(filled(0), "auto", masked=m), quiet=True) for m in (False, True)),
    *(
        Case(f"no fill: {name}", command(cube, verb="info"), quiet=True)
        for name, cube in (
            ("a shadow", shaded(0)), ("a cloud", shaded(255)), ("a usual scene", filled(0, corner=0)),
            ("less than a hundredth", filled(0, corner=3)), ("a constant scene", np.full((3, SIDE, SIDE), 7, "uint8")),
            ("noise of zeros", filled(1, corner=0) * (np.random.default_rng(0).random((SIDE, SIDE)) > 0.05)),
            ("one band only", np.concatenate([filled(0)[:1], filled(0, corner=0)[:2]])),
        )
    ),
    Case("--nodata text", command(filled(0), "--nodata", "abc"), error=r"abc.*number, nan or auto", code=2),
)  # fmt: skip


# A product takes a second: the quick list has a product of each kind.
SLOW = {
    *(f"fill of {v} in {d}" for v, d in ((65535, "uint16"), (0, "uint8"), (255, "uint8"), (0, "float32"), (-9999, "float64"), (0, "int32"))),
    "fill, evaluate", "fill, guide-check", "fill, lazily in chunks", "fill, lazily and masked", "fill, lazily, nodata auto",
    "fill of -9999, --nodata auto", "fill, --nodata auto of another type", "no fill, --nodata auto", "fill, degrade --nodata auto",
}  # fmt: skip
CASES = tuple(c for c in ALL if c.name not in SLOW)
LONG_CASES = tuple(c for c in ALL if c.name in SLOW)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


@pytest.mark.hostile
@pytest.mark.parametrize("case", LONG_CASES, ids=str)
def test_long(case, tmp_path):
    check(case, tmp_path)
