"""Numbers: values that 32-bit floats do not hold, point spread functions that are none, saturation."""

import json

import numpy as np
import pytest
import rasterio
import xarray as xr
from delivered import counts, raster
from hostile_case import Case, check

import dualsr_geo
from dualsr_geo.engine.degrade_raster import degrade

SIDE = 24


def psf(text=None, **changes):
    """A command with a PSF file of the text, or of a good PSF with some entries changed."""

    def make(folder):
        raster(folder / "s.tif", counts(1, (3, SIDE, SIDE)), 8.0)
        good = {"ratio": 2, "taps_y": [0.25, 0.5, 0.25], "taps_x": [0.25, 0.5, 0.25], "start_y": 0, "start_x": 0}
        (folder / "p.json").write_text(json.dumps(good | changes) if text is None else text)
        return ["upscale", "s.tif", "--psf", "p.json", "--scale", "2", "-o", "o.tif"]

    return make


def device(path):
    def make(folder):
        return [*psf()(folder)[:3], path, "--scale", "2", "-o", "o.tif"]

    return make


NO_PSF = r"--psf (p\.json )?is no PSF"
PSFS = (
    Case("a good PSF", psf()),
    *(
        Case(f"a PSF with {name} = {str(value)[:40]}", psf(**{name: value}), error=NO_PSF)
        for name, value in (
            ("ratio", 4.9), ("ratio", "2"), ("ratio", True), ("ratio", None), ("ratio", float("inf")), ("ratio", [2]),
            ("taps_y", []), ("taps_y", 3), ("taps_y", {"a": 1}), ("taps_y", ["1"]), ("taps_y", [0.5, float("nan"), 0.5]),
            ("taps_y", [float("inf"), 1]), ("taps_y", [1e30, -1e30, 1, 0]), ("taps_x", [100, -99, 100, -100]),
            ("taps_x", [0, 0, 0]), ("taps_x", [0.5, -0.5]), ("taps_x", [1e-300] * 3), ("taps_y", [1e308, 1e308]),
            ("taps_y", [1 / 5000] * 5000), ("start_y", 1.5), ("start_y", "0"), ("start_x", 10**9), ("start_x", -(10**12)),
        )
    ),
    *(Case(f"a PSF of ratio {value}", psf(ratio=value), error=r"2") for value in (0, 1, -3, 10**9)),
    *(
        Case(f"a PSF file of {name}", psf(text), error=rf"--psf p\.json is no PSF.*{pattern}")
        for name, text, pattern in (
            ("nothing", "", "Expecting"), ("1e999", '{"ratio": 1e999}', "ratio"), ("a list", "[1, 2]", "JSON"),
            ("a number", "7", "JSON"), ("null", "null", "JSON"), ("an empty object", "{}", "ratio"),
            ("deep brackets", "[" * 100_000, "deep"), ("two megabytes", " " * (2 << 20), "2097152 bytes"),
        )
    ),
    Case("a PSF that never ends", device("/dev/zero"), error=r"--psf /dev/zero is no PSF.*regular", apart=True),
)  # fmt: skip


# ---- values ------------------------------------------------------------------------------


def pixels(dtype, low, high, bands=3, side=SIDE):
    """A smooth cube of values from `low` to `high`; of integers each step is one of the type."""
    step = np.random.default_rng(3).integers(0, 2, (bands, side, side))
    field = counts(5, (bands, side, side), 0, 1000, "float64") + 20 * step
    share = (field - field.min()) / np.ptp(field)
    if np.dtype(dtype).kind in "iu":
        return np.array([min(high, low + round(v * (high - low))) for v in share.ravel().tolist()], dtype).reshape(
            share.shape
        )
    return (low + share * (high - low)).astype(dtype)


def values(cube, *options, output="o.tif", guide=False, **tags):
    def make(folder):
        raster(folder / "s.tif", cube, 8.0, **tags)
        if guide:
            raster(folder / "g.tif", counts(2, (1, 2 * SIDE, 2 * SIDE)), 4.0)
        return ["upscale", "s.tif", "--scale", "2", "-o", output, *options]

    return make


def near(cube, overshoot=0.35):
    """Check that the product has the mean of the scene, and exceeds its range by no more than detail does."""

    def verify(folder, _outcome):
        with rasterio.open(folder / "o.tif") as file:
            product = file.read()
        assert product.dtype == cube.dtype
        for band, scene in zip(product, cube, strict=True):
            # Differences from the smallest value, exact in Python.
            base = scene.min().item()
            found, truth = (np.array([v - base for v in b.ravel().tolist()], float) for b in (band, scene))
            found, truth = found / truth.max(), truth / truth.max()
            span = 1.0
            assert np.isfinite(found).all()
            assert found.min() >= -overshoot * span
            assert found.max() <= (1 + overshoot) * span
            assert abs(found.mean() - truth.mean()) < 0.02 * span
            degraded = found.reshape(SIDE, 2, SIDE, 2).mean((1, 3)).ravel()
            assert np.corrcoef(degraded, truth)[0, 1] > 0.97

    return verify


def constant(value, dtype):
    cube = np.full((3, SIDE, SIDE), value, dtype)

    def verify(folder, _outcome):
        with rasterio.open(folder / "o.tif") as file:
            assert (file.read() == cube[0, 0, 0]).all()

    return Case(f"a constant {dtype} scene of {value}", values(cube), verify=verify)


def same_lazily(cube, **options):
    """The accessor gives the bytes of the command line."""

    def make(folder):
        raster(folder / "s.tif", cube, 8.0)
        dualsr_geo.upscale("s.tif", "o.tif", scale=2, **options)
        with rasterio.open(folder / "o.tif") as file:
            stored = file.read()
        array = xr.open_dataarray(folder / "s.tif", engine="rasterio", mask_and_scale=False)

        def run():
            lazy = array.dualsr.upscale(scale=2, **options).compute().to_numpy()
            assert lazy.dtype == stored.dtype
            assert (lazy == stored).all()

        return run

    return make


def degraded(cube):
    """Degrade a scene, on disk and lazily."""

    def make(folder):
        raster(folder / "s.tif", cube, 8.0)
        array = xr.open_dataarray(folder / "s.tif", engine="rasterio", mask_and_scale=False)

        def run():
            degrade("s.tif", "d.tif", scale=2)
            with rasterio.open("d.tif") as file:
                stored = file.read()
            assert (array.dualsr.degrade(scale=2).compute().to_numpy() == stored).all()
            base = cube.min().item()
            found, truth = (
                np.array([v - base for v in c.ravel().tolist()], float).reshape(c.shape) for c in (stored, cube)
            )
            means = truth.reshape(3, SIDE // 2, 2, SIDE // 2, 2).mean((2, 4))
            assert np.abs(found - means).max() < 0.3 * truth.max()
            assert len(np.unique(found)) > 20

        return run

    return make


TOP = 2**64 - 1
WIDE = {
    "uint32 near its top": pixels("uint32", 4294900005, 4294900050),
    "uint32 of a small range": pixels("uint32", 3_000_000_000, 3_000_100_000),
    "int32 near its bottom": pixels("int32", -(2**31), -(2**31) + 3000),
    "uint64 near its top": pixels("uint64", TOP - 4000, TOP),
    "int64 near its bottom": pixels("int64", -(2**63), -(2**63) + 5000),
    "int64 of large values": pixels("int64", 2**53 + 1, 2**53 + 800),
    "float64 of 1e9 and little more": pixels("float64", 1e9 + 0.5, 1e9 + 5),
    "float64 of -1e12 and little more": pixels("float64", -1e12, -1e12 + 3),
    "float64 of 1e300": pixels("float64", 1e300, 5e300),
    "float64 of 1e-297": pixels("float64", 5e-298, 5e-297),
    "float64 of 1e-310": pixels("float64", 1e-310, 9e-310),
    "float32 of 1e-30": pixels("float32", 1e-30, 9e-30),
    "float32 of 1e35": pixels("float32", 1e35, 9e35),
    "float64 of usual values": pixels("float64", 0.01, 0.6),
    "uint16": pixels("uint16", 300, 65000),
    "uint32 of usual values": pixels("uint32", 0, 2**22),
}
MIXED = np.stack([pixels("float64", 1, 9)[0], pixels("float64", 1e300, 5e300)[0]])
ONE_LARGE = np.where(np.arange(SIDE * SIDE).reshape(SIDE, SIDE) == 77, -1.7e308, pixels("float64", 1, 9))
VALUES = (
    *(Case(name, values(cube), verify=near(cube)) for name, cube in WIDE.items()),
    *(
        Case(f"{name}, {' '.join(options)}", values(cube, *options), verify=near(cube))
        for name, cube in list(WIDE.items())[:7:3]
        for options in (("--model", "bicubic"), ("--tile", "8"))
    ),
    Case(
        "uint32 of all its values",
        values(pixels("uint32", 0, 2**32 - 1)),
        error=r"Band 1 .* to 3842431793 .*--dtype float32",
    ),
    Case("uint32 of all its values as float32", values(pixels("uint32", 0, 2**32 - 1), "-t", "float32")),
    Case("uint64 of all its values", values(pixels("uint64", 0, TOP)), error=r"Band 1 .*--dtype float32"),
    Case("float64 of bands of 1 and of 1e300", values(MIXED), error=r"Band 1 .*e\+300.*--nodata"),
    Case("float64 with one of -1.7e308", values(ONE_LARGE), error=r"Band 1 .*1\.7e\+308.*--nodata"),
    Case("float64 with one of -1.7e308 as nodata", values(ONE_LARGE, "--nodata", "-1.7e308")),
    constant(4294900005, "uint32"),
    constant(TOP - 5, "uint64"),
    constant(1e9 + 0.3, "float64"),
    constant(1e300, "float64"),
    constant(0, "uint16"),
    constant(3, "uint8"),
    constant(0.5, "float32"),
    Case(
        "500 to 5000 as uint8",
        values(pixels("uint16", 500, 5000), "-t", "uint8"),
        warning=r"100\.0% .*500 to .*0 to 255.*--dtype",
    ),
    Case("-500 to 500 as uint16", values(pixels("int16", -500, 500), "-t", "uint16"), warning=r"% .*-500 to .*--dtype"),
    Case(
        "0 to 0.6 as uint8",
        values(pixels("float32", 0.0, 0.6), "-t", "uint8"),
        warning=r"little .*0 to 0\.\d+.*--dtype",
    ),
    Case("0 to 5000 as int16", values(pixels("uint16", 0, 5000), "-t", "int16")),
    Case("a constant scene", values(np.full((3, SIDE, SIDE), 7, "uint16")), warning="constant"),
    Case(
        "uint32 of fine steps as float32",
        values(WIDE["uint32 near its top"], "-t", "float32"),
        error=r"Band 1 .*--dtype uint32",
    ),
    Case(
        "ratios of fine steps",
        values(WIDE["uint32 near its top"], "--model", "brovey", "--rgb", "g.tif", guide=True),
        error=r"Band 1 .*`brovey` takes ratios.*--model",
    ),
    *(
        Case(f"{name}, degraded", degraded(WIDE[name]))
        for name in (
            "uint32 near its top",
            "uint64 near its top",
            "float64 of 1e9 and little more",
            "float64 of 1e300",
            "uint16",
        )
    ),
    *(Case(f"{name}, lazily", same_lazily(cube)) for name, cube in list(WIDE.items())[:11:5]),
)

# A product takes a second: the quick list has the refusals, and a product of each kind.
QUICK = {
    "a good PSF", "uint32 near its top, degraded", "uint64 near its top, degraded", "float64 of 1e300, degraded", "uint32 near its top", "uint64 near its top", "float64 of 1e9 and little more", "float64 of 1e300",
    "float32 of 1e-30", "500 to 5000 as uint8", "0 to 0.6 as uint8", "a constant scene", "a constant uint16 scene of 0",
    "uint32 near its top, lazily", "uint64 near its top, --tile 8",
}  # fmt: skip
ALL = (*PSFS, *VALUES)
CASES = tuple(c for c in ALL if c.error is not None or c.name in QUICK)
LONG_CASES = tuple(c for c in ALL if c not in CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


@pytest.mark.hostile
@pytest.mark.parametrize("case", LONG_CASES, ids=str)
def test_long(case, tmp_path):
    check(case, tmp_path)
