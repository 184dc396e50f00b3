"""Scores against a reference, and the Wald protocol from disk and from memory."""

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
    folder = tmp_path_factory.mktemp("scenes")
    synthetic.write(folder, shape=(83, 61), bands=6, seed=2, guide="pan")
    synthetic.write(folder / "rgb", shape=(83, 61), bands=6, seed=2, guide="rgb")
    return folder


@pytest.fixture(scope="module")
def comparison(folder):
    return evaluate(folder / "scene.tif", rgb=folder / "pan.tif", scale=4)


def write(path, cube, *, gsd=2.0, corner=(500000.0, 6000000.0), crs="EPSG:32633", **more):
    transform = from_origin(*corner, gsd, gsd)
    profile = {"count": len(cube), "height": cube.shape[1], "width": cube.shape[2], "dtype": cube.dtype}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **profile, **more) as f:
        f.write(cube)
    return path


def write_bare(path, cube):
    profile = {"count": len(cube), "height": cube.shape[1], "width": cube.shape[2], "dtype": "float32"}
    with rasterio.open(path, "w", driver="GTiff", **profile) as f:
        f.write(cube)


@pytest.fixture
def pair(tmp_path):
    random = np.random.default_rng(0)
    reference = (random.random((3, 47, 36)) * 2000 + 100).astype(np.float32)
    product = reference + random.normal(0, 20, reference.shape).astype(np.float32)
    return write(tmp_path / "product.tif", product), write(tmp_path / "reference.tif", reference), product, reference


# ---- against a reference -----------------------------------------------------------------


def test_scores_are_those_of_numpy(pair):
    product, reference, x, t = pair
    scores = score_product(product, reference, scale=4)
    square = ((x.astype(float) - t) ** 2).mean()
    assert scores["rmse"] == pytest.approx(np.sqrt(square), rel=1e-6)
    assert scores["psnr_db"] == pytest.approx(20 * np.log10(t.max()) - 10 * np.log10(square), rel=1e-6)
    each = ((x.astype(float) - t) ** 2).mean((1, 2)) / t.astype(float).mean((1, 2)) ** 2
    assert scores["ergas"] == pytest.approx(25 * np.sqrt(each.mean()), rel=1e-6)
    assert set(scores) >= KEYS
    assert score_product(product, reference)["ergas"] is None


def test_a_product_that_equals_the_reference(pair):
    scores = score_product(pair[1], pair[1], scale=2)
    assert (scores["rmse"], scores["psnr_db"], scores["sam_deg"]) == (0, None, pytest.approx(0, abs=1e-5))
    assert scores["ssim"] == pytest.approx(1)
    assert scores["q2n"] == pytest.approx(1)
    json.dumps(scores, allow_nan=False)


def test_arrays_and_files_score_the_same(pair):
    product, reference = (rioxarray.open_rasterio(p) for p in pair[:2])
    from_files, from_arrays = score_product(*pair[:2], scale=4), product.dualsr.evaluate(reference, scale=4)
    assert {k: v for k, v in from_files.items() if k != "seconds"} == {
        k: v for k, v in from_arrays.items() if k != "seconds"
    }
    variables = xr.Dataset({f"b{i}": product.isel(band=i, drop=True) for i in range(3)})
    assert variables.dualsr.evaluate(reference)["rmse"] == pytest.approx(from_files["rmse"])


def test_some_of_the_bands(pair):
    product, reference, x, t = pair
    scores = score_product(product, reference, bidx="2..3")
    assert scores["rmse"] == pytest.approx(np.sqrt(((x[1:].astype(float) - t[1:]) ** 2).mean()), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t[:, :40], InputError, "47.*40|40.*47"),
        (lambda t: t[:2], InputError, "3 bands.*2|2 bands.*3|2.*3"),
        (lambda t: t * np.nan, InputError, "valid"),
        (lambda t: t * 1e-4, InputError, "unit"),
    ],
)
def test_references_that_do_not_match_are_refused(pair, tmp_path, change, error, message):
    other = write(tmp_path / "other.tif", np.ascontiguousarray(change(pair[3])))
    with pytest.raises(error, match=message) as caught:
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


def test_a_scale_of_0_is_refused(pair):
    with pytest.raises(OptionError, match="--scale 0"):
        score_product(*pair[:2], scale=0)


def test_indices_against_a_reference_are_those_of_numpy(tmp_path):
    random = np.random.default_rng(0)
    truth = xr.DataArray(
        (random.random((3, 47, 36)) * 2000 + 100).astype(np.float32),
        dims=("band", "y", "x"),
        coords={"wavelength": ("band", [560.0, 665.0, 842.0])},
    )
    product = truth * (1 + 0.1 * random.random(truth.shape).astype(np.float32))
    product[1, :9, :9], truth[2, 20:30, 20:30] = np.nan, -50.0
    indices = score_product(product, truth)["indices"]
    assert set(indices) == {"ndvi", "ndwi"}
    for name, (first, second) in {"ndvi": (2, 1), "ndwi": (0, 2)}.items():
        sums = [image[first] + image[second] for image in (product, truth)]
        values = [(image[first] - image[second]) / total for image, total in zip((product, truth), sums, strict=True)]
        least = 0.01 * float(truth[[first, second]].mean(("y", "x")).sum())
        difference = (values[0] - values[1]).where((sums[0] >= least) & (sums[1] >= least))
        assert indices[name]["pixels"] == int(difference.count())
        assert indices[name]["bias"] == pytest.approx(float(difference.mean()), rel=1e-4)
        assert indices[name]["rmse"] == pytest.approx(float((difference**2).mean() ** 0.5), rel=1e-4)


def test_indices_of_models_are_lines_under_the_table(folder):
    arguments = ["evaluate", str(folder / "scene.tif"), "--rgb", str(folder / "pan.tif"), "--models", "bicubic"]
    lines = CliRunner().invoke(main, [*arguments, "--scale", "4", "--quiet"]).output.splitlines()
    assert [line for line in lines if line.startswith("bicubic: NDVI")]


# ---- the Wald protocol -------------------------------------------------------------------


def test_every_model_is_compared(comparison):
    assert list(comparison["models"]) == [*GUIDED, GDAL]
    for scores in comparison["models"].values():
        assert set(scores) >= KEYS | {"peak_memory_bytes"}
        assert scores["seconds"] > 0
        assert scores["peak_memory_bytes"] > 2**20
    assert "decimated by 4" in comparison["protocol"]
    json.dumps(comparison, allow_nan=False)


def test_our_models_win_and_gdals_brovey_equals_ours(comparison):
    models = comparison["models"]
    for name in (*GUIDED[4:], "interpolation", GDAL):
        assert min(models[ours]["psnr_db"] for ours in ("auto", "regression", "learned")) > models[name]["psnr_db"]
    assert models[GDAL]["psnr_db"] == pytest.approx(models["brovey"]["psnr_db"], abs=0.3)


def test_the_scores_are_those_of_the_single_steps(folder, comparison):
    """The protocol is to degrade, upscale and score, as the accessor does."""
    scene, pan = (rioxarray.open_rasterio(folder / f, mask_and_scale=True) for f in ("scene.tif", "pan.tif"))
    small = scene.dualsr.degrade(scale=4).compute()
    for name, guide in (("bicubic", None), ("gsa", pan.dualsr.degrade(scale=4, mtf_gain=0.15).compute())):
        product = small.dualsr.upscale(scale=4, model=name, rgb=guide).compute()
        reference = scene[:, :80, :60].values
        psnr = 10 * np.log10(reference.max() ** 2 / ((product.values - reference).astype(float) ** 2).mean())
        # The files of the protocol round to 1e-4.
        assert comparison["models"][name]["psnr_db"] == pytest.approx(psnr, abs=0.05)


def test_without_a_guide(folder):
    result = evaluate(folder / "scene.tif", scale=2)
    assert list(result["models"]) == ["auto", "regression", "interpolation", "learned", "bicubic"]
    assert result["models"]["interpolation"]["psnr_db"] > result["models"]["bicubic"]["psnr_db"]


def test_rgb_guides_leave_gdal_out(folder):
    result = evaluate(folder / "rgb/scene.tif", rgb=folder / "rgb/rgb.tif", models=["gsa", "bicubic"], bidx="1..4")
    assert list(result["models"]) == ["gsa", "bicubic"]
    assert result["scale"] == 4


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_scenes_without_georeference_of_odd_size(tmp_path):
    sample = synthetic.make((41, 34), bands=4, seed=1, guide="pan")
    for name, cube in (("scene", sample.scene), ("pan", sample.guide)):
        write_bare(tmp_path / f"{name}.tif", cube)
    models = evaluate(tmp_path / "scene.tif", rgb=tmp_path / "pan.tif", models=["regression", "bicubic"])["models"]
    assert models["regression"]["psnr_db"] > models["bicubic"]["psnr_db"] + 1


def test_in_memory_it_is_the_same(folder, comparison):
    scene, pan = (rioxarray.open_rasterio(folder / f, chunks={"x": 40}) for f in ("scene.tif", "pan.tif"))
    result = scene.dualsr.evaluate(rgb=pan, models=["regression"])
    for key in KEYS - {"seconds"}:
        assert result["models"]["regression"][key] == pytest.approx(comparison["models"]["regression"][key], rel=1e-6)


def test_holes_are_left_out(folder, tmp_path):
    with rasterio.open(folder / "scene.tif") as f:
        profile, cube = f.profile, f.read()
    cube[:, 20:44, 12:30] = profile["nodata"]
    with rasterio.open(tmp_path / "holed.tif", "w", **profile) as f:
        f.write(cube)
        f.scales, f.offsets = (1e-4,) * 6, (0.0,) * 6
    models = evaluate(tmp_path / "holed.tif", rgb=folder / "pan.tif", models=["regression", GDAL])["models"]
    assert models["regression"]["pixels"] < 80 * 60 - 400
    assert models["regression"]["psnr_db"] > models[GDAL]["psnr_db"]


def test_an_error_of_gdal_leaves_the_other_models(folder, tmp_path):
    pan = rioxarray.open_rasterio(folder / "pan.tif").rio.reproject("EPSG:32632", resolution=2.0)
    pan.rio.to_raster(tmp_path / "pan.tif")
    models = evaluate(folder / "scene.tif", rgb=tmp_path / "pan.tif", models=["gsa", GDAL], scale=4)["models"]
    assert models["gsa"]["psnr_db"] > 20
    assert "error" in models[GDAL] or models[GDAL]["psnr_db"] > 10


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
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
def test_what_cannot_be_compared_is_refused(folder, keywords, error, message):
    with pytest.raises(error, match=message) as caught:
        evaluate(folder / "scene.tif", **keywords)
    assert "\n" not in str(caught.value)


def test_the_report_shows_every_model(folder, tmp_path):
    path = tmp_path / "page.html"
    keywords = {"rgb": folder / "pan.tif", "models": ["regression", "bicubic"], "report": path}
    result = evaluate(folder / "scene.tif", **keywords)
    page = path.read_text()
    assert result["report"] == str(path)
    for name, scores in result["models"].items():
        assert name in page
        assert f"{scores['psnr_db']:.2f}" in page
    assert "Wald protocol" in page
    with pytest.raises(OutputError, match="page.html exists"):
        evaluate(folder / "scene.tif", **keywords)


def test_a_repeated_model_runs_once():
    assert choose_models(["bicubic", "bicubic"], 4, [], 4) == ["bicubic"]


def test_a_reference_needs_no_guide(pair):
    product = rioxarray.open_rasterio(pair[0])
    with pytest.raises(DualSRError, match="rgb"):
        product.dualsr.evaluate(product, rgb=product)


# ---- the command -------------------------------------------------------------------------


def run(*words):
    return CliRunner().invoke(main, ["evaluate", *map(str, words)], catch_exceptions=False)


def test_the_command_scores(pair):
    result = run(*pair[:1], "--reference", pair[1], "--scale", 4, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["rmse"] == pytest.approx(score_product(*pair[:2], scale=4)["rmse"])
    text = run(*pair[:1], "--reference", pair[1], "--scale", 4).stdout
    assert "PSNR" in text
    assert f"{score_product(*pair[:2], scale=4)['psnr_db']:.2f}" in text
    assert "MiB" not in text
    assert run(pair[1], "--reference", pair[1]).stdout.splitlines()[1].split()[:3] == ["product", "inf", "inf"]


def test_the_command_compares(folder, comparison):
    words = folder / "scene.tif", "--pan", folder / "pan.tif", "--models", "regression, bicubic"
    run_json = run(*words, "--json")
    result = json.loads(run_json.stdout)
    assert list(result["models"]) == ["regression", "bicubic"]
    for name, scores in result["models"].items():
        assert scores["psnr_db"] == pytest.approx(comparison["models"][name]["psnr_db"], rel=1e-6)
    lines = run(*words).stdout.splitlines()
    assert lines[1].startswith("regression")
    assert f"{scores['psnr_db']:.2f}" in lines[2]
    assert "Wald protocol" in lines[-1]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "--scale is required. Give --rgb GUIDE, or e.g. --scale 2, or --reference"),
        (("--scale", 4, "--reference", "REF", "--rgb", "x.tif"), 2, "--rgb has no effect with --reference"),
        (("--reference", "missing.tif"), 1, "missing.tif"),
        (("--scale", 4, "--models", "magic"), 1, "magic"),
    ],
)
def test_the_commands_errors_are_one_line(folder, words, code, message):
    result = run(folder / "scene.tif", *words)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
