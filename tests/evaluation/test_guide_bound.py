"""What a guide can give at most: against truths that are known, and next to what models reach."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import CliRunner

from dualsr_geo import synthetic
from dualsr_geo.cli import main
from dualsr_geo.evaluation import guide_bound, limits
from dualsr_geo.evaluation.evaluate import evaluate
from dualsr_geo.evaluation.guide_bound import MAX_FREEDOM_SHARE, GuideBound, noise_ceiling_db
from dualsr_geo.io.scenes import open_scene

MODELS = ["auto", "interpolation", "bicubic"]


@pytest.fixture(scope="module", params=["pan", "rgb"])
def comparison(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    synthetic.write(folder, shape=(96, 80), bands=8, seed=4, guide=request.param)
    return folder, evaluate(folder / "scene.tif", rgb=folder / f"{request.param}.tif", scale=4, models=MODELS)


def test_no_model_is_above_the_bound(comparison):
    _, result = comparison
    bound, scores = result["limits"]["guide"], result["models"]
    assert bound["guide_psnr_db"] > max(s["psnr_db"] for s in scores.values())
    assert bound["interpolation_psnr_db"] < scores["interpolation"]["psnr_db"]
    assert bound["interpolation_psnr_db"] == pytest.approx(scores["bicubic"]["psnr_db"], abs=0.5)
    # An estimate from coefficients that are fitted does worse than the best one.
    assert bound["cross_validated_psnr_db"] < bound["guide_psnr_db"]
    assert 0 < bound["freedom_share"] <= MAX_FREEDOM_SHARE
    assert bound["seconds"] > 0


def test_shares_are_parts_of_the_way_in_decibels(comparison):
    _, result = comparison
    bound = result["limits"]["guide"]
    low, high = bound["interpolation_psnr_db"], bound["guide_psnr_db"]
    for scores in result["models"].values():
        assert scores["share_of_guide"] == pytest.approx((scores["psnr_db"] - low) / (high - low), abs=1e-3)
    assert result["models"]["auto"]["share_of_guide"] > 0.5
    assert abs(result["models"]["bicubic"]["share_of_guide"]) < 0.2
    json.dumps(result, allow_nan=False)


def test_the_sentence_names_the_best_model_and_its_share(comparison):
    folder, result = comparison
    best = max(result["models"], key=lambda name: result["models"][name]["psnr_db"])
    sentence = result["limits"]["sentences"][0]
    share = result["models"][best]["share_of_guide"]
    assert sentence.startswith(f"{best} reaches {100 * share:.0f} % of what this guide can give: ")
    guide = next(p for p in folder.iterdir() if p.stem in ("pan", "rgb"))
    words = ["evaluate", str(folder / "scene.tif"), "--rgb", str(guide), "--models", "bicubic", "--scale", "4", "-q"]
    assert "bicubic reaches" in CliRunner().invoke(main, words).output


@pytest.mark.parametrize(
    ("psnr_db", "words"),
    [
        (36.0, "auto reaches 80 % of what this guide can give: 36.0 dB"),
        (39.0, "auto exceeds what local linear"),
        (27.0, "-10 %"),
    ],
)
def test_a_product_above_the_bound_exceeds_it_in_words(psnr_db, words):
    bound = GuideBound(28.0, 38.0, 37.0, 0.2, 1.0)
    sentence = limits._describe_bound(bound, "auto", psnr_db)
    assert words in sentence
    assert "interpolation has 28.0 dB" in sentence
    assert "has 38.0 dB" in sentence


def test_without_a_guide_there_is_no_bound(tmp_path):
    synthetic.write(tmp_path, shape=(64, 48), bands=5, seed=1)
    result = evaluate(tmp_path / "scene.tif", scale=2, models=["bicubic"])
    assert result["limits"]["guide"] is None
    assert "share_of_guide" not in result["models"]["bicubic"]


@pytest.mark.parametrize("missing", [False, True])
def test_bounds_do_not_depend_on_the_threads_and_leave_missing_pixels_out(tmp_path, missing):
    synthetic.write(tmp_path, shape=(64, 64), bands=4, seed=3, guide="pan")
    scene = xr.load_dataset(tmp_path / "scene.tif", engine="rasterio", mask_and_scale=False).band_data.astype("float32")
    if missing:
        scene[:, 20:40, 10:30] = np.nan
    bounds = []
    for jobs in (1, 3):
        result = evaluate(scene, rgb=tmp_path / "pan.tif", scale=4, models=["auto"], jobs=jobs)
        bounds.append({k: v for k, v in result["limits"]["guide"].items() if k != "seconds"})
        assert bounds[-1]["guide_psnr_db"] > result["models"]["auto"]["psnr_db"]
    assert bounds[0] == bounds[1]


# ---- a block -----------------------------------------------------------------------------


def sums_of(regressors, missing):
    names = ("values", "pixels", "freedom", "plain", "residual", "crossed")
    return dict(zip(names, guide_bound._block_sums(regressors, missing), strict=True))


def test_what_the_regressors_explain_leaves_nothing():
    random = torch.Generator().manual_seed(0)
    regressors = torch.randn(14, 576, generator=random).double()
    missing = torch.randn(40, 14, generator=random).double() @ regressors + 5
    sums = sums_of(regressors, missing)
    assert (sums["values"], sums["pixels"], sums["freedom"]) == (40 * 576, 576, 15)
    assert sums["residual"] < 1e-18 * sums["plain"]
    assert sums["crossed"] < 1e-18 * sums["plain"]


@pytest.mark.parametrize("count", [9, 67, 400])
def test_noise_stays_what_it_is_however_many_regressors_are_fitted(count):
    """The residual over its degrees of freedom is unbiased; uncorrected it would lack up to a quarter."""
    random = torch.Generator().manual_seed(count)
    regressors = torch.randn(count, 576, generator=random).double()
    sums = sums_of(regressors, torch.randn(200, 576, generator=random).double())
    freedom = min(count + 1, int(576 * MAX_FREEDOM_SHARE))
    assert sums["freedom"] == freedom
    assert sums["residual"] / sums["values"] == pytest.approx(1, abs=0.02)
    # An estimate from fitted coefficients has their errors too.
    assert sums["crossed"] / sums["values"] == pytest.approx(576 / (576 - freedom), abs=0.03)


def test_constant_and_repeated_regressors_count_once():
    plane = torch.linspace(0, 1, 100).double()
    regressors = torch.stack([plane, plane, 3 * plane + 2, torch.ones(100).double(), torch.zeros(100).double()])
    assert sums_of(regressors, plane[None] ** 2)["freedom"] == 2


@pytest.mark.parametrize("pixels", [1, 2, 5])
def test_blocks_of_few_pixels(pixels):
    sums = sums_of(torch.rand(9, pixels).double(), torch.rand(3, pixels).double())
    assert all(np.isfinite(value) for value in sums.values())
    assert 1 <= sums["freedom"] <= max(pixels // 4, 1)


@pytest.mark.parametrize("length", [1, 7, 24, 35, 36, 61, 192])
def test_parts_partition_a_length(length):
    parts = guide_bound._parts(length)
    assert [i for part in parts for i in range(length)[part]] == list(range(length))
    assert all(len(range(length)[part]) <= 1.5 * guide_bound.BLOCK_PX for part in parts)


# ---- shares and noise --------------------------------------------------------------------


def test_a_guide_that_gives_nothing_has_no_share():
    bound = GuideBound(30.0, 30.05, 29.9, 0.1, 1.0)
    assert bound.share(30.02) is None
    assert GuideBound(30.0, 40.0, 39.0, 0.1, 1.0).share(38.0) == pytest.approx(0.8)
    assert GuideBound(30.0, 40.0, 39.0, 0.1, 1.0).share(np.inf) is None


@pytest.mark.parametrize("sigma", [0.01, 0.03])
def test_the_noise_of_a_scene_is_its_ceiling(sigma):
    random = np.random.default_rng(0)
    y, x = np.mgrid[:160, :160] / 160
    planes = np.stack([0.5 + 0.3 * np.sin(6 * (i + 1) * x) * np.cos(5 * y) for i in range(3)])
    cube = np.random.default_rng(1).random((16, 3)) @ planes.reshape(3, -1)
    noisy = (cube.reshape(16, 160, 160) + random.normal(0, sigma, (16, 160, 160))).astype(np.float32)
    noisy[:, :9, :9] = np.nan
    scene = xr.DataArray(noisy, dims=("band", "y", "x"))
    assert noise_ceiling_db(open_scene(scene).source, 1.0) == pytest.approx(-20 * np.log10(sigma), abs=0.3)
    smooth = xr.DataArray(np.full((4, 64, 64), 0.5, np.float32), dims=("band", "y", "x"))
    assert noise_ceiling_db(open_scene(smooth).source, 1.0) is None
