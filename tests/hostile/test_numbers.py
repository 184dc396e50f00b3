"""Numbers: values that 32-bit floats do not hold, point spread functions that are none, saturation."""

import json

import pytest
from delivered import counts, raster
from hostile_case import Case, check

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

CASES = PSFS


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)
