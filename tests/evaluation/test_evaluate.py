"""The judge: scores against a reference, and the Wald protocol from disk and from memory."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from click.testing import CliRunner
from rasterio.transform import from_origin

from dualsr_geo import DualSRError, synthetic
from dualsr_geo.cli import main
from dualsr_geo.errors import GridError, InputError, OptionError, OutputError, ScaleError
from dualsr_geo.evaluation.evaluate import evaluate, score_product
from dualsr_geo.evaluation.wald_protocol import GDAL, choose_models

KEYS = {"psnr_db", "psnr_band_mean_db", "ssim", "sam_deg", "ergas", "rmse", "cc", "q2n", "seconds"}
GUIDED = ["auto", "regression", "interpolation", "learned", "bicubic", "brovey", "gsa", "mtf-glp-hpm"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("scenes")
    synthetic.write(place, shape=(83, 61), bands=6, seed=2, guide="pan")
    synthetic.write(place / "rgb", shape=(83, 61), bands=6, seed=2, guide="rgb")
    return place


@pytest.fixture(scope="module")
def judged(folder):
    return evaluate(folder / "scene.tif", rgb=folder / "pan.tif", scale=4)


def write(path, cube, *, gsd=2.0, corner=(500000.0, 6000000.0), crs="EPSG:32633", **more):
    at = from_origin(*corner, gsd, gsd)
    profile = {"count": len(cube), "height": cube.shape[1], "width": cube.shape[2], "dtype": cube.dtype}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=at, **profile, **more) as f:
        f.write(cube)
    return path


def write_bare(path, cube):
    profile = {"count": len(cube), "height": cube.shape[1], "width": cube.shape[2], "dtype": "float32"}
    with rasterio.open(path, "w", driver="GTiff", **profile) as f:
        f.write(cube)


@pytest.fixture
def pair(tmp_path):
    random = np.random.default_rng(0)
    truth = (random.random((3, 47, 36)) * 2000 + 100).astype(np.float32)
    made = truth + random.normal(0, 20, truth.shape).astype(np.float32)
    return write(tmp_path / "made.tif", made), write(tmp_path / "truth.tif", truth), made, truth


# ---- against a reference -----------------------------------------------------------------


def test_scores_are_those_of_numpy(pair):
    made, truth, x, t = pair
    found = score_product(made, truth, scale=4)
    square = ((x.astype(float) - t) ** 2).mean()
    assert found["rmse"] == pytest.approx(np.sqrt(square), rel=1e-6)
    assert found["psnr_db"] == pytest.approx(20 * np.log10(t.max()) - 10 * np.log10(square), rel=1e-6)
    each = ((x.astype(float) - t) ** 2).mean((1, 2)) / t.astype(float).mean((1, 2)) ** 2
    assert found["ergas"] == pytest.approx(25 * np.sqrt(each.mean()), rel=1e-6)
    assert set(found) >= KEYS
    assert score_product(made, truth)["ergas"] is None


def test_a_product_that_is_the_reference(pair):
    found = score_product(pair[1], pair[1], scale=2)
    assert (found["rmse"], found["psnr_db"], found["sam_deg"]) == (0, None, pytest.approx(0, abs=1e-5))
    assert found["ssim"] == pytest.approx(1)
    assert found["q2n"] == pytest.approx(1)
    json.dumps(found, allow_nan=False)


def test_arrays_and_files_score_the_same(pair):
    made, truth = (rioxarray.open_rasterio(p) for p in pair[:2])
    of_files, of_arrays = score_product(*pair[:2], scale=4), made.dualsr.evaluate(truth, scale=4)
    assert {k: v for k, v in of_files.items() if k != "seconds"} == {
        k: v for k, v in of_arrays.items() if k != "seconds"
    }
    variables = xr.Dataset({f"b{i}": made.isel(band=i, drop=True) for i in range(3)})
    assert variables.dualsr.evaluate(truth)["rmse"] == pytest.approx(of_files["rmse"])


def test_only_some_bands(pair):
    made, truth, x, t = pair
    found = score_product(made, truth, bidx="2..3")
    assert found["rmse"] == pytest.approx(np.sqrt(((x[1:].astype(float) - t[1:]) ** 2).mean()), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda t: t[:, :40], InputError, "47.*40|40.*47"),
        (lambda t: t[:2], InputError, "3 bands.*2|2 bands.*3|2.*3"),
        (lambda t: t * np.nan, InputError, "valid"),
        (lambda t: t * 1e-4, InputError, "unit"),
    ],
)
def test_references_that_do_not_match(pair, tmp_path, change, error, said):
    other = write(tmp_path / "other.tif", np.ascontiguousarray(change(pair[3])))
    with pytest.raises(error, match=said) as caught:
        score_product(pair[0], other)
    assert "\n" not in str(caught.value)


def test_a_reference_elsewhere(pair, tmp_path):
    other = write(tmp_path / "other.tif", pair[3], corner=(500006.0, 6000000.0))
    with pytest.raises(GridError, match=r"differ by 0 rows and -3 columns in position.*500000.*500006"):
        score_product(pair[0], other)
    finer = write(tmp_path / "finer.tif", pair[3], gsd=1.5)
    with pytest.raises(GridError, match=r"pixel size or CRS.*pixels of 2.*pixels of 1\.5"):
        score_product(pair[0], finer)
    placeless = write(tmp_path / "placeless.tif", pair[3], crs=None)
    assert score_product(pair[0], placeless)["rmse"] > 0


def test_a_scale_that_is_none(pair):
    with pytest.raises(OptionError, match="--scale 0"):
        score_product(*pair[:2], scale=0)


# ---- the Wald protocol -------------------------------------------------------------------


def test_every_model_is_judged(judged):
    assert list(judged["models"]) == [*GUIDED, GDAL]
    for found in judged["models"].values():
        assert set(found) >= KEYS | {"peak_memory_bytes"}
        assert found["seconds"] > 0
        assert found["peak_memory_bytes"] > 2**20
    assert "decimated by 4" in judged["protocol"]
    json.dumps(judged, allow_nan=False)


def test_ours_wins_and_gdals_brovey_is_ours(judged):
    models = judged["models"]
    for name in (*GUIDED[4:], "interpolation", GDAL):
        assert min(models[ours]["psnr_db"] for ours in ("auto", "regression", "learned")) > models[name]["psnr_db"]
    assert models[GDAL]["psnr_db"] == pytest.approx(models["brovey"]["psnr_db"], abs=0.3)


def test_the_scores_are_those_of_the_steps_done_by_hand(folder, judged):
    """Degrade, upscale and score through the accessor: the protocol is nothing else."""
    scene, pan = (rioxarray.open_rasterio(folder / f, mask_and_scale=True) for f in ("scene.tif", "pan.tif"))
    small = scene.dualsr.degrade(scale=4).compute()
    for name, guide in (("bicubic", None), ("gsa", pan.dualsr.degrade(scale=4, mtf_gain=0.15).compute())):
        made = small.dualsr.upscale(scale=4, model=name, rgb=guide).compute()
        truth = scene[:, :80, :60].values
        psnr = 10 * np.log10(truth.max() ** 2 / ((made.values - truth).astype(float) ** 2).mean())
        # In between, the files hold steps of 1e-4.
        assert judged["models"][name]["psnr_db"] == pytest.approx(psnr, abs=0.05)


def test_without_a_guide(folder):
    found = evaluate(folder / "scene.tif", scale=2)
    assert list(found["models"]) == ["auto", "regression", "interpolation", "learned", "bicubic"]
    assert found["models"]["interpolation"]["psnr_db"] > found["models"]["bicubic"]["psnr_db"]


def test_rgb_guides_leave_gdal_out(folder):
    found = evaluate(folder / "rgb/scene.tif", rgb=folder / "rgb/rgb.tif", models=["gsa", "bicubic"], bidx="1..4")
    assert list(found["models"]) == ["gsa", "bicubic"]
    assert found["scale"] == 4


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_scenes_without_georeference_of_odd_size(tmp_path):
    sample = synthetic.make((41, 34), bands=4, seed=1, guide="pan")
    for name, cube in (("scene", sample.scene), ("pan", sample.guide)):
        write_bare(tmp_path / f"{name}.tif", cube)
    found = evaluate(tmp_path / "scene.tif", rgb=tmp_path / "pan.tif", models=["regression", "bicubic"])["models"]
    assert found["regression"]["psnr_db"] > found["bicubic"]["psnr_db"] + 1


def test_in_memory_it_is_the_same(folder, judged):
    scene, pan = (rioxarray.open_rasterio(folder / f, chunks={"x": 40}) for f in ("scene.tif", "pan.tif"))
    found = scene.dualsr.evaluate(rgb=pan, models=["regression"])
    for key in KEYS - {"seconds"}:
        assert found["models"]["regression"][key] == pytest.approx(judged["models"]["regression"][key], rel=1e-6)


def test_holes_are_left_out(folder, tmp_path):
    with rasterio.open(folder / "scene.tif") as f:
        profile, cube = f.profile, f.read()
    cube[:, 20:44, 12:30] = profile["nodata"]
    with rasterio.open(tmp_path / "holed.tif", "w", **profile) as f:
        f.write(cube)
        f.scales, f.offsets = (1e-4,) * 6, (0.0,) * 6
    found = evaluate(tmp_path / "holed.tif", rgb=folder / "pan.tif", models=["regression", GDAL])["models"]
    assert found["regression"]["pixels"] < 80 * 60 - 400
    assert found["regression"]["psnr_db"] > found[GDAL]["psnr_db"]


def test_what_gdal_cannot_do_is_said_and_the_others_go_on(folder, tmp_path):
    pan = rioxarray.open_rasterio(folder / "pan.tif").rio.reproject("EPSG:32632", resolution=2.0)
    pan.rio.to_raster(tmp_path / "pan.tif")
    found = evaluate(folder / "scene.tif", rgb=tmp_path / "pan.tif", models=["gsa", GDAL], scale=4)["models"]
    assert found["gsa"]["psnr_db"] > 20
    assert "error" in found[GDAL] or found[GDAL]["psnr_db"] > 10


@pytest.mark.parametrize(
    ("wishes", "error", "said"),
    [
        ({"models": ["gsa"], "scale": 4}, OptionError, "`gsa`.*--rgb"),
        ({"models": ["magic"], "scale": 4}, OptionError, "`magic`"),
        ({"models": [GDAL], "scale": 4}, OptionError, "1 band, but 0 are given"),
        ({"models": ["bicubic"], "scale": 64}, ScaleError, "2 to 32"),
        ({"scale": 1}, ScaleError, "1"),
        ({"scale": 4, "mtf_gain": 1.5}, OptionError, "1.5"),
        ({"scale": 4, "report": "no/such/folder/r.html"}, OutputError, "no/such/folder"),
    ],
)
def test_what_cannot_be_judged(folder, wishes, error, said):
    with pytest.raises(error, match=said) as caught:
        evaluate(folder / "scene.tif", **wishes)
    assert "\n" not in str(caught.value)


def test_the_report_tells_of_every_model(folder, tmp_path):
    place = tmp_path / "page.html"
    wishes = {"rgb": folder / "pan.tif", "models": ["regression", "bicubic"], "report": place}
    found = evaluate(folder / "scene.tif", **wishes)
    page = place.read_text()
    assert found["report"] == str(place)
    for name, figures in found["models"].items():
        assert name in page
        assert f"{figures['psnr_db']:.2f}" in page
    assert "Wald protocol" in page
    with pytest.raises(OutputError, match="page.html exists"):
        evaluate(folder / "scene.tif", **wishes)


def test_asked_twice_is_run_once():
    assert choose_models(["bicubic", "bicubic"], 4, [], 4) == ["bicubic"]


def test_a_reference_needs_no_guide(pair):
    made = rioxarray.open_rasterio(pair[0])
    with pytest.raises(DualSRError, match="rgb"):
        made.dualsr.evaluate(made, rgb=made)


# ---- the command -------------------------------------------------------------------------


def run(*words):
    return CliRunner().invoke(main, ["evaluate", *map(str, words)], catch_exceptions=False)


def test_the_command_scores(pair):
    said = run(*pair[:1], "--reference", pair[1], "--scale", 4, "--json")
    assert said.exit_code == 0
    assert json.loads(said.stdout)["rmse"] == pytest.approx(score_product(*pair[:2], scale=4)["rmse"])
    text = run(*pair[:1], "--reference", pair[1], "--scale", 4).stdout
    assert "PSNR" in text
    assert f"{score_product(*pair[:2], scale=4)['psnr_db']:.2f}" in text
    assert "MiB" not in text
    assert run(pair[1], "--reference", pair[1]).stdout.splitlines()[1].split()[:3] == ["product", "inf", "inf"]


def test_the_command_compares(folder, judged):
    words = folder / "scene.tif", "--pan", folder / "pan.tif", "--models", "regression, bicubic"
    said = run(*words, "--json")
    found = json.loads(said.stdout)
    assert list(found["models"]) == ["regression", "bicubic"]
    for name, figures in found["models"].items():
        assert figures["psnr_db"] == pytest.approx(judged["models"][name]["psnr_db"], rel=1e-6)
    lines = run(*words).stdout.splitlines()
    assert lines[1].startswith("regression")
    assert f"{figures['psnr_db']:.2f}" in lines[2]
    assert "Wald protocol" in lines[-1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "--scale, or --reference"),
        (("--scale", 4, "--reference", "REF", "--rgb", "x.tif"), 2, "--rgb is for the Wald protocol"),
        (("--reference", "missing.tif"), 1, "missing.tif"),
        (("--scale", 4, "--models", "magic"), 1, "magic"),
    ],
)
def test_the_commands_errors_are_one_line(folder, words, code, said):
    done = run(folder / "scene.tif", *words)
    assert done.exit_code == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
