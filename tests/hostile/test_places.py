"""Scenes of a few pixels or values, and guides that do not fit in place, CRS or content."""

import numpy as np
import pytest
import rasterio
from delivered import counts
from hostile_case import Case, check
from rasterio.transform import from_bounds, from_origin

SIDE = 24
LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1]]'
ENGINEERING = 'ENGCRS["site",EDATUM["site"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'


def write(path, cube, transform, crs="EPSG:32633", nodata=None):
    count, height, width = cube.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": cube.dtype}
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform, nodata=nodata) as file:
        file.write(cube)


def scene(cube, *arguments, nodata=None, verb="upscale", scale="2"):
    def make(folder):
        write(folder / "s.tif", cube, from_origin(4e5, 5.8e6, 8, 8), nodata=nodata)
        tail = {"info": [], "evaluate": ["--scale", scale]}.get(verb, ["--scale", scale, "-o", "o.tif"])
        return [verb, "s.tif", *tail, *arguments]

    return make


def holed(dtype="float32"):
    cube = counts(1, (3, SIDE, SIDE), dtype="float32")
    cube[:] = np.nan
    return cube.astype(dtype)


def one_value(value=7.0):
    cube = holed()
    cube[:, 3, 4] = value
    return cube


def infinite_but(value):
    cube = np.full((3, SIDE, SIDE), np.inf, "float32")
    cube[:, 5:9, 5:9] = value
    return cube


def guide(
    cube,
    *arguments,
    place=None,
    crs="EPSG:32633",
    verb="upscale",
    scene_place=None,
    scene_crs="EPSG:32633",
    nodata=None,
):
    def make(folder):
        write(folder / "s.tif", counts(1, (3, SIDE, SIDE)), scene_place or from_origin(4e5, 5.8e6, 8, 8), scene_crs)
        write(folder / "g.tif", cube, place or from_origin(4e5, 5.8e6, 4, 4), crs, nodata)
        tail = ["-o", "o.tif"] if verb == "upscale" else []
        return [verb, "s.tif", "--rgb", "g.tif", *tail, *arguments]

    return make


def sized(height, width):
    def verify(folder, _outcome):
        with rasterio.open(folder / "o.tif") as file:
            assert file.shape == (height, width)

    return verify


def valid(pixels):
    """Check how many pixels of the product are valid."""

    def verify(folder, _outcome):
        with rasterio.open(folder / "o.tif") as file:
            assert np.isfinite(file.read(1)).sum() == pixels

    return verify


PAN = counts(2, (1, 2 * SIDE, 2 * SIDE))
UTM = "EPSG:32633"
DEGREES = "EPSG:4326"
TINY = (
    *(
        Case(f"a scene of {h} x {w} pixels and {b} band{'s' * (b > 1)}, {model}",
             scene(counts(1, (b, h, w)), "--model", model),
             error=None if h * w >= 16 else rf"has {h * w} valid pixels? among {h * w} .*at least 16",
             verify=sized(2 * h, 2 * w) if h * w >= 16 else None)
        for h, w in ((1, 1), (3, 3), (1, 2), (4, 4), (2, 9))
        for b in (1, 3)
        for model in ("auto", "regression")
    ),
    *(Case(f"a scene of {n} x {n} pixels, bicubic", scene(counts(1, (3, n, n)), "--model", "bicubic"), error="at least 16") for n in (1, 2)),
    Case("no valid pixel", scene(holed()), error="no valid pixel"),
    Case("all nodata", scene(np.zeros((3, SIDE, SIDE), "uint16"), nodata=0), error="no valid pixel"),
    Case("infinite everywhere", scene(np.full((3, SIDE, SIDE), np.inf, "float32")), error="no valid pixel"),
    Case("one valid pixel", scene(one_value()), error="1 valid pixel .*at least 16"),
    Case("16 valid pixels of 3e38", scene(infinite_but(3e38)), verify=valid(64)),
    *(
        Case(f"a constant scene of {value}, {verb} {arguments[:1]}", scene(np.full((3, SIDE, SIDE), value, "uint16"), *arguments, verb=verb),
             error="largest value of the reference is 0" if verb == "evaluate" and not value else None)
        for value in (0, 9)
        for verb, arguments in (("upscale", ["--uncertainty"]), ("upscale", ["--model", "bicubic"]), ("info", ["--blur"]),
                                ("degrade", []), ("evaluate", ["--models", "bicubic"]))
    ),
)  # fmt: skip
GUIDES = (
    *(
        Case(f"a guide of {name}, {verb}", guide(cube, verb=verb, nodata=nodata), error=error)
        for name, cube, nodata, error in (
            ("a constant", np.full_like(PAN, 7), None, None), ("zeros", np.zeros_like(PAN), None, None), ("nodata", np.zeros_like(PAN), 0, None),
            ("NaN", np.full(PAN.shape, np.nan, "float32"), None, None), ("infinities", np.full(PAN.shape, np.inf, "float32"), None, None),
            ("3.4e38", np.full(PAN.shape, 3.4e38, "float32"), None, "guide has values.*3.4e"), ("1e300", PAN.astype("float64") * 1e296, None, r"e\+299.*--nodata|--nodata.*e\+299"),
            ("fine steps", PAN.astype("uint32") + np.uint32(4_200_000_000), None, None), ("1e-300", PAN * 1e-304, None, None),
        )
        for verb in ("upscale", "guide-check")
    ),
    Case("a guide of one pixel", guide(PAN[:, :1, :1])),
    Case("a guide of one pixel elsewhere", guide(PAN[:, :1, :1], place=from_origin(5e5, 5.8e6, 4, 4)), error="do not overlap"),
    *(Case(f"a local CRS of the {what}, {name}", guide(PAN, **{key: text}), error=r"CRS.*(rio edit-info|gdalwarp)")
      for what, key in (("guide", "crs"), ("scene", "scene_crs")) for name, text in (("WKT 1", LOCAL), ("WKT 2", ENGINEERING))),
    Case("two local CRS that are the same", guide(PAN, crs=LOCAL, scene_crs=LOCAL)),
    Case("a polar scene, guide in degrees",
         guide(PAN, crs=DEGREES, place=from_bounds(-180, 89.9, 180, 90, 48, 48), scene_crs="EPSG:3413",
               scene_place=from_origin(-96, 96, 8, 8)), error=r"guide|overlap"),
    Case("a scene in degrees at the pole, polar guide",
         guide(PAN, crs="EPSG:3413", place=from_origin(-96, 96, 4, 4), scene_crs=DEGREES,
               scene_place=from_bounds(-180, 89.99, 180, 90, SIDE, SIDE)), warning="guide"),
    Case("a guide outside the range of its CRS", guide(PAN, place=from_origin(1e12, 5.8e6, 4, 4)), error="do not overlap"),
    Case("a guide in degrees outside the Earth", guide(PAN, crs=DEGREES, place=from_bounds(500, 100, 501, 101, 48, 48)), error="overlap|CRS"),
    *(
        Case(f"a guide across the antimeridian, {name}",
             guide(PAN, crs=crs, place=from_origin(x, 100_100, 25, 25), scene_crs=DEGREES,
                   scene_place=from_bounds(west, 0.895, west + 0.02, 0.905, SIDE, SIDE)), verify=sized(*size))
        for name, crs, x, west, size in (
            ("UTM 60", "EPSG:32660", 833_300, 179.989, (48, 48)), ("UTM 1", "EPSG:32601", 165_400, 179.9905, (48, 48)),
            ("scene beyond 180", "EPSG:32601", 166_000, -180.009, (48, 48)),
        )
    ),
)  # fmt: skip
# A product takes a second: the quick list has the refusals, and a product of each kind.
QUICK = {
    "a scene of 4 x 4 pixels and 1 band, auto", "16 valid pixels of 3e38", "a guide of a constant, guide-check",
    "a guide of zeros, upscale", "two local CRS that are the same", "a guide across the antimeridian, UTM 1",
}  # fmt: skip
ALL = (*TINY, *GUIDES)
CASES = tuple(c for c in ALL if c.error is not None or c.name in QUICK)
LONG_CASES = tuple(c for c in ALL if c not in CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


@pytest.mark.hostile
@pytest.mark.parametrize("case", LONG_CASES, ids=str)
def test_long(case, tmp_path):
    check(case, tmp_path)
