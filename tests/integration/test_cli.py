"""The command line: each mistake is one line, and the options do what the help states."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import distributed
import numpy as np
import pytest
import rasterio
import rasterio.enums
from affine import Affine
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from rio_cogeo import cog_validate

from dualsr_geo import synthetic
from dualsr_geo.cli import main
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.io.writers.output_records import read_record

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

UTM = "EPSG:32633"
GRID = Affine(8, 0, 389000, 0, -8, 5820000)


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


def raster(
    path: Path, values: NDArray[Any], transform: Affine | None = GRID, crs: str | None = UTM, **more: Any
) -> Path:
    edit: Callable[[Any], None] = more.pop("edit", lambda _: None)
    place = {} if transform is None else {"transform": transform}
    count, height, width = values.shape
    profile = {"driver": "GTiff", "dtype": values.dtype, "crs": crs, **place, **more}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", count=count, height=height, width=width, **profile) as target:
            target.write(values)
            edit(target)
    return path


def ground(count: int = 3, shape: tuple[int, int] = (24, 31), seed: int = 0) -> NDArray[np.uint16]:
    """Return smooth values between 1000 and 9000."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] / 7
    planes = [np.sin(y * a + b) * np.cos(x * c) for a, b, c in rng.uniform(0.5, 2, (count, 3))]
    return (5000 + 3900 * np.stack(planes)).astype(np.uint16)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return synthetic.write(tmp_path_factory.mktemp("pair"), shape=(24, 31), bands=5, guide="pan")


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return raster(tmp_path / "scene.tif", ground())


def guide(folder: Path, gsd: float = 2.0, **more: Any) -> Path:
    """Write a guide over the same ground as `scene`."""
    shape = (round(24 * 8 / gsd), round(31 * 8 / gsd))
    transform = more.pop("transform", GRID @ Affine.scale(gsd / 8))
    return raster(folder / "guide.tif", ground(1, shape), transform, more.pop("crs", UTM), **more)


def line_of(result: Result, *parts: str) -> str:
    """Return the one line of an error, and check that it is one, with exit code 1 and these parts."""
    assert result.exit_code == 1, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    errors = [line for line in lines if not line.startswith("Warning: ")]
    assert len(errors) == 1, result.stderr
    assert errors[0].startswith("Error: ")
    for part in parts:
        assert part in errors[0]
    return errors[0]


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


# ---- mistakes ----------------------------------------------------------------------------


def no_crs(folder: Path, scene: Path) -> Sequence[object]:
    return [scene, "--rgb", guide(folder, crs=None)]


def guide_with_crs_only(folder: Path, _: Path) -> Sequence[object]:
    bare = raster(folder / "bare.tif", ground(), crs=None)
    return [bare, "--rgb", guide(folder)]


def elsewhere(folder: Path, scene: Path) -> Sequence[object]:
    return [scene, "--rgb", guide(folder, transform=Affine(2, 0, 489000, 0, -2, 5820000))]


def other_hemisphere(folder: Path, scene: Path) -> Sequence[object]:
    return [scene, "--rgb", guide(folder, transform=Affine(2e-5, 0, -70.5, 0, -2e-5, -30.25), crs="EPSG:4326")]


def coarse_guide(folder: Path, scene: Path) -> Sequence[object]:
    return [scene, "--rgb", guide(folder, 16)]


def guide_as_coarse(folder: Path, scene: Path) -> Sequence[object]:
    return [scene, "--rgb", guide(folder, 8)]


def barely_sharper(folder: Path, scene: Path) -> Sequence[object]:
    return [scene, "--rgb", guide(folder, 5)]


def too_far(folder: Path, scene: Path) -> Sequence[object]:
    return [scene, "--rgb", guide(folder), "--scale", 8]


def truncated(folder: Path, scene: Path) -> Sequence[object]:
    cut = folder / "cut.tif"
    whole = raster(folder / "whole.tif", ground(3, (90, 91))).read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    return [cut, "--scale", 2]


def truncated_guide(folder: Path, scene: Path) -> Sequence[object]:
    path = guide(folder)
    path.write_bytes(path.read_bytes()[:9000])
    return [scene, "--rgb", path]


def cut_header(folder: Path, scene: Path) -> Sequence[object]:
    scene.write_bytes(scene.read_bytes()[:100])
    return [scene, "--scale", 2]


def no_raster(folder: Path, _: Path) -> Sequence[object]:
    (folder / "notes.tif").write_text("no raster at all\n")
    return [folder / "notes.tif", "--scale", 2]


def empty_file(folder: Path, _: Path) -> Sequence[object]:
    (folder / "empty.tif").touch()
    return [folder / "empty.tif", "--scale", 2]


def all_nodata(folder: Path, _: Path) -> Sequence[object]:
    return [raster(folder / "void.tif", np.full((3, 24, 31), 7, np.uint16), nodata=7), "--scale", 2]


def all_nan(folder: Path, _: Path) -> Sequence[object]:
    return [raster(folder / "void.tif", np.full((3, 24, 31), np.nan, np.float32)), "--scale", 2]


def complex_values(folder: Path, _: Path) -> Sequence[object]:
    return [raster(folder / "slc.tif", ground().astype(np.complex64)), "--scale", 2]


def complex_guide(folder: Path, scene: Path) -> Sequence[object]:
    path = raster(folder / "slc.tif", ground(1, (96, 124)).astype(np.complex64), GRID @ Affine.scale(0.25))
    return [scene, "--rgb", path]


def wrong_psf(folder: Path, scene: Path) -> Sequence[object]:
    (folder / "psf.json").write_text('{"ratio": 4}')
    return [scene, "--scale", 4, "--psf", folder / "psf.json"]


def psf_text(folder: Path, scene: Path) -> Sequence[object]:
    (folder / "psf.json").write_text("sigma = 2")
    return [scene, "--scale", 4, "--psf", folder / "psf.json"]


def psf_list(folder: Path, scene: Path) -> Sequence[object]:
    (folder / "psf.json").write_text("[1, 2, 1]")
    return [scene, "--scale", 4, "--psf", folder / "psf.json"]


def psf_binary(folder: Path, scene: Path) -> Sequence[object]:
    return [scene, "--scale", 4, "--psf", scene]


def psf_without_weight(folder: Path, scene: Path) -> Sequence[object]:
    taps = {"ratio": 4, "taps_y": [], "taps_x": [1.0], "start_y": 0, "start_x": 0}
    (folder / "psf.json").write_text(json.dumps(taps))
    return [scene, "--scale", 4, "--psf", folder / "psf.json"]


def psf_of_two(folder: Path, scene: Path) -> Sequence[object]:
    taps = {"ratio": 4, "taps_y": [1.0, 1.0], "taps_x": [1.0], "start_y": 0, "start_x": 0}
    (folder / "psf.json").write_text(json.dumps(taps))
    return [scene, "--scale", 4, "--psf", folder / "psf.json"]


def psf_of_other_ratio(folder: Path, scene: Path) -> Sequence[object]:
    (folder / "psf.json").write_text(json.dumps(Psf.from_mtf(3).to_json()))
    return [scene, "--scale", 4, "--psf", folder / "psf.json"]


def after(*options: object) -> Callable[[Path, Path], Sequence[object]]:
    return lambda _, scene: [scene, "--scale", 2, *options]


MISTAKES: dict[str, tuple[Callable[[Path, Path], Sequence[object]], tuple[str, ...]]] = {
    "guide without CRS": (no_crs, ("The scene has a CRS and the guide has none", "Set the CRS of the guide")),
    "scene without CRS": (guide_with_crs_only, ("The guide has a CRS and the scene has none",)),
    "no overlap": (elsewhere, ("x 489000..489248", "389000..389248", "do not overlap", "--rgb")),
    "other hemisphere": (other_hemisphere, ("389000..389248", "do not overlap")),
    "guide coarser": (coarse_guide, ("guide is 16 m", "scene 8 m", "4 m or finer")),
    "guide no sharper": (guide_as_coarse, ("guide is 8 m", "scene 8 m")),
    "guide barely sharper": (barely_sharper, ("at least twice as sharp", "scene 8 m")),
    "scale above the guide": (too_far, ("--scale 8", "1 m", "2 m", "up to --scale 4")),
    "scale 1": (lambda _, s: [s, "--scale", 1], ("--scale 1", "2 or more")),
    "scale -3": (lambda _, s: [s, "--scale", -3], ("--scale -3", "2 or more")),
    "scale above the model": (lambda _, s: [s, "--scale", 33], ("2 to 32", "not 33")),
    "truncated": (truncated, ("cut.tif", "fetch it again")),
    "truncated guide": (truncated_guide, ("guide.tif", "fetch it again")),
    "cut header": (cut_header, ("scene.tif", "cannot be opened")),
    "no raster": (no_raster, ("notes.tif", "cannot be opened")),
    "empty file": (empty_file, ("empty.tif", "cannot be opened")),
    "all nodata": (all_nodata, ("no valid pixel", "744", "--nodata")),
    "all NaN": (all_nan, ("no valid pixel", "744")),
    "complex": (complex_values, ("slc.tif", "complex64", "amplitude")),
    "complex guide": (complex_guide, ("slc.tif", "complex64")),
    "no bands": (after("--bidx", ","), ("--bidx selects none", "3 bands")),
    "no bands at all": (after("--bidx", ""), ("--bidx selects none", "3 bands")),
    "band 4 of 3": (after("--bidx", "4"), ("band 4", "1 to 3")),
    "band 0": (after("--bidx", "0..2"), ("band 0", "1 to 3")),
    "backward range": (after("--bidx", "3..2"), ("--bidx selects none",)),
    "band by name": (after("--bidx", "red"), ("`red`", "1,3")),
    "missing scene": (lambda f, _: [f / "no.tif", "--scale", 2], ("no.tif does not exist",)),
    "missing guide": (lambda f, s: [s, "--rgb", f / "no.tif"], ("no.tif does not exist",)),
    "folder as scene": (lambda f, _: [f, "--scale", 2], ("holds no product that is known", "It holds scene.tif")),
    "no output folder": (
        lambda f, s: [s, "--scale", 2, "-o", f / "nowhere" / "out.tif"],
        ("nowhere", "does not exist", "--output"),
    ),
    "unknown suffix": (lambda f, s: [s, "--scale", 2, "-o", f / "out.png"], ("`.png`", "--format")),
    "too little memory": (after("--max-memory", "100MiB"), ("--max-memory 100 MiB", "16 lr pixels", "or more")),
    "tile too large": (
        after("--max-memory", "501MiB", "--tile", 500),
        ("--max-memory 501 MiB", "500 lr pixels", "smaller --tile"),
    ),
    "tile too small": (after("--tile", 7), ("--tile 7", "8 or more")),
    "no jobs": (after("--jobs", 0), ("--jobs 0", "1 or more")),
    "wrong PSF": (wrong_psf, ("psf.json", "is no PSF", "taps_y")),
    "PSF of text": (psf_text, ("psf.json", "is no PSF")),
    "PSF list": (psf_list, ("psf.json", "is no PSF")),
    "PSF binary": (psf_binary, ("is no PSF",)),
    "empty PSF": (psf_without_weight, ("is no PSF",)),
    "PSF that brightens": (psf_of_two, ("is no PSF", "2")),
    "PSF of other ratio": (psf_of_other_ratio, ("ratio 3", "--scale is 4")),
    "unknown model": (after("--model", "magic"), ("`magic`", "regression, interpolation, learned")),
    "unknown fine stage": (after("--fine", "sharp"), ("`sharp`", "consistency")),
    "MTF gain above 1": (after("--mtf-gain", 1.5), ("1.5", "between 0 and 1")),
    "nodata that does not fit": (after("--nodata", -1), ("--nodata -1", "uint16")),
    "product nodata that does not fit": (after("--nodata", 300, "-t", "uint8"), ("--nodata 300", "uint8")),
    "unknown compression": (after("--co", "COMPRESS=MAGIC"), ("COMPRESS=MAGIC",)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(mistake: str, tmp_path: Path, scene: Path) -> None:
    make, parts = MISTAKES[mistake]
    args = list(make(tmp_path, scene))
    before = files(tmp_path)
    line_of(run("upscale", *args), *parts)
    assert files(tmp_path) == before


def test_a_cluster_that_does_not_answer_is_one_line(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = distributed.Client
    monkeypatch.setattr("distributed.Client", lambda address, timeout: client(address, timeout=timeout / 20))
    line_of(run("upscale", scene, "--scale", 2, "--scheduler", "tcp://127.0.0.1:9"), "127.0.0.1:9", "dask scheduler")


def test_cuda_where_there_is_none_is_one_line(scene: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    line_of(run("upscale", scene, "--scale", 2, "--device", "cuda"), "--device cuda", "--device cpu")


def test_a_real_process_prints_one_line_and_no_traceback(scene: Path) -> None:
    command = [sys.executable, "-c", "from dualsr_geo.cli import main; main(prog_name='dualsr-geo')"]
    done = subprocess.run(
        [*command, "upscale", str(scene), "--scale", "1"], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: --scale 1 does not sharpen. Give an integer of 2 or more.\n"


def test_a_missing_guide_and_scale_are_a_usage_error(scene: Path) -> None:
    result = run("upscale", scene)
    assert result.exit_code == 2
    assert "Without a guide --scale is required." in result.stderr


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GB", 4 * 10**9),
        ("800MiB", 800 * 2**20),
        ("512", 512 * 2**20),
        (" 1.5 gb ", 15 * 10**8),
        ("2G", 2**31),
        ("64k", 2**16),
    ],
)
def test_sizes_have_units_and_default_to_mib(text: str, size: int) -> None:
    (option,) = (p for p in main.commands["upscale"].params if p.name == "max_memory")
    assert option.callback(None, option, text) == size


@pytest.mark.parametrize("text", ["much", "4XB", "-4GB", "1e999GB", "", "..GB"])
def test_what_is_no_size_is_a_usage_error(text: str) -> None:
    (option,) = (p for p in main.commands["upscale"].params if p.name == "max_memory")
    with pytest.raises(click.BadParameter, match="Give e.g. 4GB or 800MiB"):
        option.callback(None, option, text)


@pytest.mark.parametrize("args", [["--max-memory", "much"], ["--co", "COMPRESS"], ["--scale", "2.5"], ["--what"]])
def test_what_click_cannot_parse_is_a_usage_error(args: list[str], scene: Path) -> None:
    assert run("upscale", scene, "--scale", "2", *args).exit_code == 2


# ---- the output --------------------------------------------------------------------------


def links(target: Path, folder: Path) -> list[Path | str]:
    soft, hard = folder / "soft.tif", folder / "hard.tif"
    soft.symlink_to(target)
    os.link(target, hard)
    return [target, soft, hard, f"{target.parent}/../{target.parent.name}/{target.name}"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_output_replaces_an_input_under_any_name(scene: Path, tmp_path: Path, overwrite: bool) -> None:
    sharp = guide(tmp_path)
    before = scene.read_bytes(), sharp.read_bytes()
    for_scene, for_guide = tmp_path / "a", tmp_path / "b"
    for_scene.mkdir()
    for_guide.mkdir()
    for output in [*links(scene, for_scene), *links(sharp, for_guide)]:
        extra = ["--overwrite"] if overwrite else []
        line_of(run("upscale", scene, "--rgb", sharp, "-o", output, *extra), "is the input", "another --output")
        line_of(run("upscale", scene, "--rgb", sharp, "-o", output, "--dry-run", *extra), "is the input")
    assert (scene.read_bytes(), sharp.read_bytes()) == before


def test_no_output_replaces_an_input_of_zarr(scene: Path, tmp_path: Path) -> None:
    store = tmp_path / "first.zarr"
    assert run("upscale", scene, "--scale", 2, "-o", store, "-q").exit_code == 0
    line_of(run("upscale", store, "--scale", 2, "-o", store, "--overwrite"), "is the input")
    line_of(run("upscale", store / "scene", "--scale", 2, "-o", store, "--overwrite"), "is the input")


def test_degrade_replaces_no_input(scene: Path) -> None:
    line_of(run("degrade", scene, "--scale", 2, "-o", scene, "--overwrite"), "is the input")


def test_an_existing_output_is_kept_without_overwrite(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    out.write_text("mine")
    line_of(run("upscale", scene, "--scale", 2, "-o", out), f"{out} exists", "--overwrite")
    assert out.read_text() == "mine"
    assert run("upscale", scene, "--scale", 2, "-o", out, "--overwrite", "-q").exit_code == 0
    with rasterio.open(out) as product:
        assert product.shape == (48, 62)


def test_an_existing_output_is_an_error_before_any_work(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "scene_x2.tif").write_text("mine")
    line_of(run("upscale", scene, "--scale", 2), "scene_x2.tif exists")
    assert not (tmp_path / "scene_x2.tif.part").exists()


def test_without_output_the_product_is_in_the_folder_of_the_scene(pair: tuple[Path, Path], tmp_path: Path) -> None:
    scene, pan = (tmp_path / p.name for p in pair)
    for copy, original in zip((scene, pan), pair, strict=True):
        copy.write_bytes(original.read_bytes())
    result = run("upscale", scene, "--rgb", pan)
    assert result.exit_code == 0, result.output
    assert {p.name for p in tmp_path.iterdir()} == {"scene.tif", "pan.tif", "scene_x4.tif"}
    valid, errors, notes = cog_validate(tmp_path / "scene_x4.tif")
    assert valid, (errors, notes)


def test_dry_run_prints_the_plan_and_writes_nothing(scene: Path, tmp_path: Path) -> None:
    sharp = guide(tmp_path)
    before = files(tmp_path)
    result = run("upscale", scene, "--rgb", sharp, "--dry-run")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert files(tmp_path) == before
    assert values["output"] == str(tmp_path / "scene_x4.tif")
    assert (values["scale"], values["shape"], values["bands"], values["dtype"]) == (4, [96, 124], 3, "uint16")
    assert (values["format"], values["crs"], values["guide_bands"]) == ("COG", UTM, 1)
    assert values["transform"] == [2, 0, 389000, 0, -2, 5820000]


@pytest.mark.parametrize(
    ("place", "parts"), [("scene.tif", "is the input"), ("nowhere/out.tif", "does not exist"), ("taken.tif", "exists")]
)
def test_dry_run_reports_the_errors_of_the_output(place: str, parts: str, scene: Path, tmp_path: Path) -> None:
    (tmp_path / "taken.tif").touch()
    before = files(tmp_path)
    line_of(run("upscale", scene, "--scale", 2, "-o", tmp_path / place, "--dry-run"), parts)
    assert files(tmp_path) == before


# ---- what is printed ---------------------------------------------------------------------


def test_json_has_the_documented_fields(pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    result = run("upscale", pair[0], "--rgb", pair[1], "-o", out, "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    documented = "output scale shape bands model fine guide consistency clipped seconds peak_memory_bytes"
    assert set(documented.split()) <= set(values)
    assert {"shift_px", "coverage", "relevance"} <= set(values["guide"])
    assert {"rmse", "sam_deg"} <= set(values["consistency"])
    assert (values["output"], values["scale"], values["shape"], values["bands"]) == (str(out), 4, [96, 124], 5)
    assert (values["model"], values["fine"]) == ("auto", "consistency")
    assert 0 <= values["correction"]["guided"]["share"] <= 1
    assert all(
        {"ratio", "best", "error", "excess"} == set(pair) for pair in values["correction"]["guided"]["wald_pairs"]
    )
    assert values["guide"]["coverage"] == 1
    assert len(values["guide"]["relevance"]) == 5
    assert all(0 <= r <= 1 for r in values["guide"]["relevance"])
    assert 0 < values["seconds"] < 300
    assert 2**26 < values["peak_memory_bytes"] < 2**36


def test_json_of_a_finished_run_has_the_same_fields(scene: Path, tmp_path: Path) -> None:
    args = ["upscale", scene, "--scale", 2, "-o", tmp_path / "out.tif", "--json"]
    first = json.loads(run(*args).stdout)
    again = run(*args, "--resume")
    assert again.exit_code == 0
    values = json.loads(again.stdout)
    assert values["already_finished"] is True
    varying = {"seconds", "peak_memory_bytes"}
    assert {k: v for k, v in values.items() if k not in {*varying, "already_finished"}} == {
        k: v for k, v in first.items() if k not in varying
    }
    assert varying <= set(values)


def test_json_without_a_guide_has_no_guide(scene: Path, tmp_path: Path) -> None:
    result = run("upscale", scene, "--scale", 2, "-o", tmp_path / "out.zarr", "--json")
    values = json.loads(result.stdout)
    assert values["guide"] is None
    assert values["shape"] == [48, 62]


def test_quiet_prints_nothing_and_the_default_a_summary(scene: Path, tmp_path: Path) -> None:
    quiet = run("upscale", scene, "--scale", 2, "-o", tmp_path / "a.tif", "-q")
    assert (quiet.exit_code, quiet.output) == (0, "")
    loud = run("upscale", scene, "--scale", 2, "-o", tmp_path / "b.tif")
    assert "3 bands, 48 x 62 pixels, 2x sharper" in loud.stdout
    line = r"^Network: (used at \d+% strength, chosen by testing|not used, since a test) on this scene"
    assert re.search(line, loud.stdout, re.MULTILINE)
    assert loud.stderr == ""


@pytest.mark.parametrize(("spectral", "bands"), [("all", 3), ("auto", None), ("2", 2)])
def test_spectral_sets_the_number_of_bands(scene: Path, tmp_path: Path, spectral: str, bands: int | None) -> None:
    out = tmp_path / "out.tif"
    result = run("upscale", scene, "--scale", 2, "-o", out, "--model", "learned", "--spectral", spectral)
    assert result.exit_code == 0, result.output
    lineage = read_record(str(out), "COG", "lineage")
    assert lineage is not None
    assert lineage["parameters"].get("spectral") == bands


@pytest.mark.parametrize("spectral", ["0", "some", "-3"])
def test_an_invalid_number_of_bands_is_a_usage_error(scene: Path, spectral: str) -> None:
    result = run("upscale", scene, "--scale", 2, "--spectral", spectral)
    assert result.exit_code == 2
    assert f"{spectral} is no number of bands. Give 1 or more, all or auto." in result.output


def paletted(target: Any) -> None:
    target.write_colormap(1, {i: (i, 0, 255 - i, 255) for i in range(256)})


@pytest.mark.parametrize("json_", [True, False])
def test_a_label_map_gives_a_warning_on_stderr(tmp_path: Path, json_: bool) -> None:
    values = (ground(1) // 2000).astype(np.uint8)
    labels = raster(tmp_path / "classes.tif", values, photometric="palette", edit=paletted)
    result = run("upscale", labels, "--scale", 2, *(["--json"] if json_ else []))
    assert result.exit_code == 0, result.output
    warned = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    assert len(warned) == 1
    assert "classes.tif looks like a map of labels (colour table)" in warned[0]
    assert "Warning" not in result.stdout
    if json_:
        assert json.loads(result.stdout)["bands"] == 1


def test_scene_and_guide_need_no_crs(tmp_path: Path) -> None:
    scene = raster(tmp_path / "scene.tif", ground(), None, None)
    sharp = raster(tmp_path / "guide.tif", ground()[:1].repeat(4, 1).repeat(4, 2), None, None)
    result = run("upscale", scene, "--rgb", sharp, "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert (values["scale"], values["guide"]["coverage"]) == (4, 1)
    with rasterio.open(values["output"]) as product:
        assert product.crs is None
        assert product.transform == Affine.scale(0.25)


def test_a_bare_guide_of_another_shape_is_refused(tmp_path: Path) -> None:
    scene = raster(tmp_path / "scene.tif", ground(), None, None)
    sharp = raster(tmp_path / "guide.tif", ground(1, (96, 125)), None, None)
    line_of(run("upscale", scene, "--rgb", sharp), "96 x 125", "24 x 31")


def test_a_pair_with_transforms_and_without_crs_works(tmp_path: Path) -> None:
    scene = raster(tmp_path / "scene.tif", ground(), GRID, None)
    result = run("upscale", scene, "--rgb", guide(tmp_path, crs=None), "--json")
    assert result.exit_code == 0, result.output
    with rasterio.open(json.loads(result.stdout)["output"]) as product:
        assert (product.crs, product.transform) == (None, GRID @ Affine.scale(0.25))


# ---- the other commands ------------------------------------------------------------------


def test_info_describes_a_scene(pair: tuple[Path, Path]) -> None:
    values = json.loads(run("info", pair[0], "--rgb", pair[1], "--json").stdout)
    assert (values["shape"], values["bands"], values["dtype"], values["crs"]) == ([24, 31], 5, "uint16", UTM)
    assert (values["gsd"], values["unit"], values["largest_scale"]) == (8, "m", 4)
    assert [b["wavelength_nm"] for b in values["band_table"]] == [400, 550, 700, 850, 1000]
    assert values["nodata"] == 65535
    text = run("info", pair[0], "--rgb", pair[1]).stdout
    for part in (
        "24 x 31 pixels of 8 m",
        "5, 400 to 1000 nm",
        "uint16, nodata 65535, scale 0.0001",
        "allows --scale 4",
    ):
        assert part in text


def test_info_of_a_mistake_is_one_line(tmp_path: Path, scene: Path) -> None:
    line_of(run("info", tmp_path / "no.tif"), "no.tif does not exist")
    line_of(run("info", scene, "-b", "9"), "band 9", "1 to 3")
    line_of(run("info", scene, "--rgb", guide(tmp_path, crs=None)), "has a CRS and the guide has none")


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["--scale", "1"], ("--scale 1", "24 x 31")),
        (["--scale", "25"], ("--scale 25", "24 x 31", "2..24")),
        (["--scale", "2", "--mtf-gain", "0"], ("0", "between 0 and 1")),
        (["--scale", "2", "--bidx", "4"], ("band 4",)),
        (["--scale", "2", "--output", "/nowhere/out.tif"], ("/nowhere",)),
    ],
)
def test_degrade_of_a_mistake_is_one_line(scene: Path, args: list[str], parts: tuple[str, ...]) -> None:
    line_of(run("degrade", scene, *args), *parts)


def test_degrade_writes_to_the_folder_of_the_scene(scene: Path, tmp_path: Path) -> None:
    values = json.loads(run("degrade", scene, "--scale", 4, "--json").stdout)
    assert values == {"output": str(tmp_path / "scene_d4.tif"), "scale": 4, "shape": [6, 7], "bands": 3}
    with rasterio.open(tmp_path / "scene_d4.tif") as product:
        assert product.transform == GRID @ Affine.scale(4)


def test_models_are_listed_and_shown() -> None:
    listed = json.loads(run("models", "list", "--json").stdout)
    assert [m["name"] for m in listed] == [
        "auto",
        "regression",
        "interpolation",
        "learned",
        "bicubic",
        "brovey",
        "gsa",
        "mtf-glp-hpm",
    ]
    assert json.loads(run("models", "show", "bicubic", "--json").stdout)["guided"] is False
    assert len(json.loads(run("models", "show", "auto", "--json").stdout)["ours"]["guided"]["sha256"]) == 64
    line_of(run("models", "show", "magic"), "`magic`")


def test_sample_writes_a_pair_that_upscales(tmp_path: Path) -> None:
    sample = run("sample", tmp_path / "demo", "--size", 16, 20, "--bands", 4, "--scale", 2)
    scene, sharp = sample.stdout.split()
    result = run("upscale", scene, "--rgb", sharp, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["shape"] == [32, 40]


def test_help_names_the_options_and_loads_no_torch() -> None:
    code = "import sys\nfrom dualsr_geo.cli import main\ntry:\n    main(['upscale', '--help'])\nfinally:\n"
    code += "    print('torch' in sys.modules, 'rasterio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for option in [
        "--output",
        "--rgb",
        "--pan",
        "--guide",
        "--scale",
        "--model",
        "--fine",
        "--tile",
        "--device",
        "--max-memory",
        "--scheduler",
        "--coregister",
        "--resume",
        "--dry-run",
        "--json",
        "--bidx",
        "--co",
        "--overwrite",
        "--nodata",
        "--dtype",
        "--jobs",
        "--quiet",
        "--psf",
        "--mtf-gain",
    ]:
        assert option in done.stdout
    assert done.stdout.splitlines()[-1].startswith("False")


def test_upscale_writes_a_report_of_the_product(tmp_path: Path) -> None:
    sample = run("sample", tmp_path / "demo", "--size", 40, 30, "--bands", 4, "--scale", 2)
    scene, sharp = sample.stdout.split()
    page = tmp_path / "page.html"
    done = run("upscale", scene, "--rgb", sharp, "--report", page, "--json")
    assert done.exit_code == 0, done.output
    values = json.loads(done.stdout)
    assert values["report"] == str(page)
    text = page.read_text(encoding="utf-8")
    assert f"{values['consistency']['rmse']:.3g}" in text
    assert re.search(r"network (used at \d+% strength|not used)", text)
    # A report that exists, or whose folder is missing, is an error before any work.
    line_of(
        run("upscale", scene, "--rgb", sharp, "-o", tmp_path / "b.tif", "--report", page),
        "page.html exists",
        "--report",
    )
    line_of(
        run("upscale", scene, "--rgb", sharp, "-o", tmp_path / "b.tif", "--report", tmp_path / "no/x.html"), "no of"
    )
    assert not (tmp_path / "b.tif").exists()
