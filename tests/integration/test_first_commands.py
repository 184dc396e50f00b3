"""What a user of GDAL types first, with its exact output; only times, memory and estimates are left open."""

import contextlib
import re
import shlex

import pytest
import rasterio
from click.testing import CliRunner

from dualsr_geo import synthetic
from dualsr_geo.cli import main

NAMES = (
    "ALPHA, BIGTIFF, BLOCKSIZE, BLOCKXSIZE, BLOCKYSIZE, COMPRESS, DISCARD_LSB, ENDIANNESS, GEOTIFF_KEYS_FLAVOR, "
    "GEOTIFF_VERSION, INTERLEAVE, JPEG_QUALITY, LEVEL, LZMA_PRESET, MAX_Z_ERROR, NBITS, NUM_THREADS, OVERVIEWS, "
    "OVERVIEW_RESAMPLING, PHOTOMETRIC, PREDICTOR, PROFILE, RPB, RPCTXT, SPARSE_OK, STREAMABLE_OUTPUT, TFW, TILED, "
    "WEBP_LEVEL, WEBP_LOSSLESS, ZLEVEL, ZSTD_LEVEL"
)
USAGE = "Usage: dualsr-geo upscale [OPTIONS] SCENE\nTry 'dualsr-geo upscale --help' for help.\n\n"
PIPE = "is a pipe, and a product is written in pieces that are not in order. Give the path of a file."

# Command, exit code, and the output: standard error after standard output, where there is both.
REFUSED = [
    ("upscale nosuch.tif", 1, "Error: nosuch.tif does not exist. Give the path of a raster or of a Zarr group.\n"),
    ("upscale scene.tif", 2, USAGE + "Error: Without a guide --scale is required. Give --rgb GUIDE, or e.g. --scale 2.\n"),
    ("upscale scene.tif pan.tif", 2, USAGE + "Error: pan.tif is an argument too many. Did you mean --rgb pan.tif?\n"),
    ("upscale scene.tif pan.tif out.tif", 2, USAGE + "Error: pan.tif out.tif are arguments too many. Did you mean --rgb pan.tif -o out.tif?\n"),
    ("upscale scene.tif out.tif", 2, USAGE + "Error: out.tif is an argument too many. Did you mean -o out.tif, or for a guide --rgb out.tif, which does not exist?\n"),
    ("upscale scene.tif --scale 2 -of GTiff out.tif", 2, USAGE + "Error: GDAL's -of is -f here.\n"),
    ("upscale scene.tif --scale 2 -ot Float32", 2, USAGE + "Error: GDAL's -ot is -t here.\n"),
    ("upscale scene.tif --scale 2 -co COMPRESS=LZW", 2, USAGE + "Error: GDAL's -co is --co here.\n"),
    ("upscale scene.tif --scale 2 -overwrite", 2, USAGE + "Error: GDAL's -overwrite is --overwrite here.\n"),
    ("upscale scene.tif --scale 2 -o -", 1, f"Error: The output - {PIPE}\n"),
    ("upscale scene.tif --scale 2 -o /vsistdout/", 1, f"Error: The output /vsistdout/ {PIPE}\n"),
    ("upscale - --scale 2", 1, "Error: The scene - is a pipe, and a scene is read in pieces that are not in order. Give a file.\n"),
    ("sensors show WV3", 1, "Error: `WV3` may be worldview-3, worldview-3-pan or worldview-3-swir. Give one of these names.\n"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("first")
    synthetic.write(path, shape=(32, 32), bands=4, guide="pan")
    return path


def run(folder, command):
    with contextlib.chdir(folder):
        return CliRunner().invoke(main, shlex.split(command), prog_name="dualsr-geo")


@pytest.mark.parametrize(("command", "code", "output"), REFUSED, ids=[command for command, *_ in REFUSED])
def test_a_command_that_is_refused(folder, command, code, output):
    before = sorted(p.name for p in folder.iterdir())
    result = run(folder, command)
    assert (result.stdout + result.stderr, result.exit_code) == (output, code)
    assert sorted(p.name for p in folder.iterdir()) == before


def test_types_and_bands_are_spelled_as_in_gdal(folder):
    result = run(folder, "upscale scene.tif --scale 2 -t Float32 -b 3 -b 1..2 -o typed.tif --model bicubic -q")
    assert (result.stdout, result.stderr, result.exit_code) == ("", "", 0)
    with rasterio.open(folder / "typed.tif") as product, rasterio.open(folder / "scene.tif") as scene:
        assert product.dtypes == ("float32",) * 3
        assert product.descriptions == tuple(scene.descriptions[i] for i in (2, 0, 1))


def test_creation_options_that_gdal_ignores_are_warnings(folder):
    options = "--co FOO=BAR --co COMPRES=LZW --co BIGTIFF=MAYBE --co COMPRESS=LZW"
    result = run(folder, f"upscale scene.tif --scale 2 {options} -o options.tif --model bicubic -q")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        f"Warning: --co FOO=BAR is ignored by GDAL: There is no creation option `FOO`. Give one of {NAMES}.",
        "Warning: --co COMPRES=LZW is ignored by GDAL: There is no creation option `COMPRES`. Did you mean `COMPRESS`?",
        "Warning: --co BIGTIFF=MAYBE is ignored by GDAL: 'MAYBE' is an unexpected value for BIGTIFF creation option of type string-select",
    ]
    with rasterio.open(folder / "options.tif") as product:
        assert product.compression.name == "lzw"


def test_a_sensor_has_the_names_that_its_list_shows(folder):
    for alias in ("WV2", "wv02", "WorldView-2", "l8"):
        name = run(folder, f"sensors show {alias}").stdout.partition(":")[0]
        assert name == {"l8": "landsat-8"}.get(alias, "worldview-2")


def test_an_output_that_exists_needs_overwrite(folder):
    (folder / "there.tif").write_bytes(b"")
    result = run(folder, "upscale scene.tif --rgb pan.tif -o there.tif")
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: there\.tif exists.*--overwrite.*\n", result.stderr)


SUMMARY = r"""out\.tif: 4 bands, 128 x 128 pixels, 4x sharper
Guide: covers 100% of the scene, (was in place|lay [^,]*) \(\+-0\.0\d* px\)( and was not moved| and was moved back)?, explains \d+% of the bands' variance
(?:Guide: has noise[^\n]*\n)?Network: (?:used at \d+% strength, chosen by testing|not used, since a test) on this scene[^\n]*
(?:Network: [^\n]*\n)?Self-test: made 4 times coarser and sharpened again, the scene has \d+% of the true detail recovered and \d+% missed; false detail \d+% \(\d+% copied from the guide\)
Consistency: degraded back to the scene's pixels, the product matches the scene to 0\.\d+ \(RMSE\) and 0\.\d+ degrees of spectral angle
Finished in \d+\.\d s; peak memory [\d.]+ [MG]B\.
"""


def test_the_first_product_is_summarised_in_plain_words(folder):
    result = run(folder, "upscale scene.tif --pan pan.tif -o out.tif")
    assert (result.stderr, result.exit_code) == ("", 0)
    assert re.fullmatch(SUMMARY, result.stdout), result.stdout
    again = run(folder, "upscale scene.tif --pan pan.tif -o out.tif --resume")
    assert again.stdout == "out.tif is already finished; nothing was computed.\n"
