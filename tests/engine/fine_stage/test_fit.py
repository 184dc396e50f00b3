"""Fine stages from files to products: the same in tiles, again, lazily and on workers; and when they step back."""

from __future__ import annotations

import json

import numpy as np
import published_networks as slow
import pytest
import rasterio
import rioxarray
import torch
from click.testing import CliRunner
from dask.distributed import Client, LocalCluster

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.cli import main
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine import upscale
from dualsr_geo.engine.fine_stage import fit as fine_stage_fit
from dualsr_geo.engine.tiles import fine_stage
from dualsr_geo.engine.tiles.fine_stage import FineStage
from dualsr_geo.errors import OptionError
from dualsr_geo.models.checkpoint_import import convert
from dualsr_geo.models.networks import refiner
from dualsr_geo.models.registry import load_model
from dualsr_geo.models.weights import save
from dualsr_geo.surveying.sampling import sample_windows

pytestmark = pytest.mark.filterwarnings("ignore:Blur and shift of the guide:dualsr_geo.errors.DualSRWarning")
REFINED = ("finenet", "finenet-per-tile", "backprojection", "backprojection-pixel")


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Fits of few steps, with a constant shrinkage factor."""
    monkeypatch.setattr(refiner, "MAX_STEPS", 10)
    monkeypatch.setattr(fine_stage, "crop_count", lambda _: 4)
    monkeypatch.setattr("dualsr_geo.engine.fine_stage.fit.fine_stage_shrinkage", lambda _: 0.8)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Scene and guide of an awkward size, 23 x 101 lr pixels, 7 bands, ratio 4."""
    return synthetic.write(tmp_path_factory.mktemp("inputs"), shape=(23, 101), bands=7, guide="rgb", seed=5)


def physical(path):
    with rasterio.open(path) as file:
        return file.read().astype(np.float32) * np.asarray(file.scales, np.float32)[:, None, None]


def upscaled(pair, out, *, guided=True, **options):
    options = {"model": "regression", "psf": Psf.from_mtf(4), "dtype": "float32", "scale": 4, **options}
    summary = dualsr_geo.upscale(pair[0], out, rgb=pair[1] if guided else None, **options)
    return physical(out), summary


def embedded_provenance(path):
    with rasterio.open(path) as file:
        return json.loads(file.tags(ns="DUALSR")["LINEAGE"])


def apart(a, b):
    return float(np.abs(a - b).max() / np.ptp(b))


@pytest.mark.parametrize(
    ("model", "fine"),
    [
        ("regression", "finenet"),
        ("gsa", "finenet"),
        ("regression", "backprojection"),
        ("gsa", "backprojection-pixel"),
    ],
)
def test_tiled_is_whole(pair, tmp_path, model, fine):
    whole, summary = upscaled(pair, tmp_path / "whole.tif", model=model, fine=fine, tile=128)
    plain, _ = upscaled(pair, tmp_path / "plain.tif", model=model, tile=128)
    tiled, again = upscaled(pair, tmp_path / "tiled.tif", model=model, fine=fine, tile=23)
    assert apart(tiled, whole) <= 1e-5
    assert apart(whole, plain) > 1e-4
    assert again["refinement"] == summary["refinement"]
    assert summary["refinement"]["share"] == 0.8


def test_tiles_that_fit_their_own_nearly_agree(pair, tmp_path):
    whole, _ = upscaled(pair, tmp_path / "whole.tif", fine="finenet-per-tile", tile=128)
    tiled, _ = upscaled(pair, tmp_path / "tiled.tif", fine="finenet-per-tile", tile=46)
    assert 1e-6 < apart(tiled, whole) < 0.1


@pytest.mark.parametrize("fine", REFINED)
def test_a_product_stays_consistent(pair, tmp_path, fine):
    # As it is the guide lets the fine stage correct more, and the scene's minimum cut less.
    refined, summary = upscaled(pair, tmp_path / "p.tif", fine=fine, denoise="off")
    degraded = operator(Psf.from_mtf(4), (23, 101)).degrade(torch.from_numpy(refined)).numpy()
    assert np.sqrt(np.mean((degraded - physical(pair[0])) ** 2)) < 1e-3 * np.ptp(refined)
    assert summary["fine"] == fine


@pytest.mark.parametrize("fine", ["finenet", "backprojection"])
def test_a_resumed_run_reads_the_existing_fit(pair, tmp_path, fine, monkeypatch):
    whole, _ = upscaled(pair, tmp_path / "whole.tif", fine=fine, tile=23)
    done = 0

    def until_killed(plan, index, process=upscale.executor.process_tile):
        nonlocal done
        done += 1
        if done > 3:
            raise KeyboardInterrupt
        return process(plan, index)

    out = tmp_path / "resumed.tif"
    with monkeypatch.context() as patch:
        patch.setattr(upscale.executor, "process_tile", until_killed)
        with pytest.raises(KeyboardInterrupt):
            upscaled(pair, out, fine=fine, tile=23, jobs=1)
    fit_file = tmp_path / "resumed.tif.part" / upscale.FINE_STAGE_FILE
    assert fit_file.exists()
    # A second fit fails.
    monkeypatch.setattr(fine_stage_fit, "fit_fine_stage", None)
    sha256 = FineStage.read(fit_file, load_model("regression")).sha256
    again, summary = upscaled(pair, out, fine=fine, tile=23, resume=True)
    np.testing.assert_array_equal(again, whole)
    assert summary["refinement"]["sha256"] == sha256 == embedded_provenance(out)["refinement"]["sha256"]


@pytest.mark.parametrize("fine", ["finenet", "backprojection-pixel"])
def test_the_accessor_and_a_cluster_make_the_same(pair, tmp_path, fine):
    whole, _ = upscaled(pair, tmp_path / "whole.tif", fine=fine, tile=23)
    scene, guide = (rioxarray.open_rasterio(p) for p in pair[:2])
    options = {"model": "regression", "fine": fine, "psf": Psf.from_mtf(4), "tile": 23, "dtype": "float32"}
    lazy = scene.dualsr.upscale(rgb=guide, **options)
    np.testing.assert_array_equal(lazy.compute().to_numpy(), whole)
    workers = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with LocalCluster(**workers) as cluster, Client(cluster) as client:
        far, _ = upscaled(pair, tmp_path / "far.tif", fine=fine, tile=23, client=client)
    np.testing.assert_array_equal(far, whole)


@pytest.mark.parametrize("fine", REFINED)
def test_a_shrinkage_factor_of_0_changes_nothing(pair, tmp_path, fine, monkeypatch):
    plain, _ = upscaled(pair, tmp_path / "plain.tif")
    monkeypatch.setattr("dualsr_geo.engine.fine_stage.fit.fine_stage_shrinkage", lambda _: 0.0)
    refined, summary = upscaled(pair, tmp_path / "p.tif", fine=fine)
    # The tiles have another size.
    assert apart(refined, plain) <= 1e-5
    assert summary["refinement"]["share"] == 0
    assert summary["refinement"]["wald_pairs"]


@pytest.mark.parametrize("fine", ["backprojection", "backprojection-pixel"])
@pytest.mark.parametrize("ratio", [2, 4])
def test_back_projection_needs_no_guide(pair, tmp_path, fine, ratio):
    options = {"guided": False, "model": "interpolation", "scale": ratio, "psf": Psf.from_mtf(ratio)}
    refined, summary = upscaled(pair, tmp_path / "p.tif", fine=fine, **options)
    plain, _ = upscaled(pair, tmp_path / "plain.tif", **options)
    assert 0 < apart(refined, plain) < 0.2
    assert (summary["refinement"]["angle_deg"] is None) == (fine == "backprojection-pixel")


@pytest.mark.parametrize("fine", REFINED)
def test_holes_of_scene_and_guide_stay_holes(tmp_path, fine):
    sample = synthetic.make((40, 33), bands=5, seed=2)
    scene, guide = sample.scene.copy(), sample.guide.copy()
    scene[:, 10:17, 5:12] = np.nan
    guide[:, :, 100:] = np.nan
    placed = synthetic.write(tmp_path, shape=(40, 33), bands=5, guide="rgb", seed=2)
    for path, values in zip(placed, (scene, guide), strict=False):
        with rasterio.open(path) as file:
            profile = {**file.profile, "dtype": "float32", "nodata": np.nan}
        with rasterio.open(path, "w", **profile) as file:
            file.write(values)
    refined, _ = upscaled(placed, tmp_path / "p.tif", fine=fine, tile=20)
    plain, _ = upscaled(placed, tmp_path / "q.tif", tile=20)
    np.testing.assert_array_equal(np.isnan(refined), np.isnan(plain))
    changed = np.nan_to_num(np.abs(refined - plain)).max((0, 1))
    # Beyond the guide only the closed form changes values.
    assert changed[104:].max() < 0.2 * changed[:100].max()


def test_sfpn_is_both_its_stages(pair, tmp_path):
    torch.save({"model": slow.tame(slow.state_coarsenet(8, 3))}, tmp_path / "n4.pth")
    save(tmp_path / "n4.safetensors", *convert(tmp_path / "n4.pth", 4))
    plain, _ = upscaled(pair, tmp_path / "plain.tif", model=str(tmp_path / "n4.safetensors"))
    refined, summary = upscaled(pair, tmp_path / "p.tif", model=str(tmp_path / "n4.safetensors"), fine="finenet")
    assert apart(refined, plain) > 1e-4
    assert [pair["ratio"] for pair in summary["refinement"]["wald_pairs"]] == [4]


def test_a_scene_without_a_whole_crop_is_fitted_on_filled_ones(tmp_path):
    placed = synthetic.write(tmp_path, shape=(29, 34), bands=5, guide="pan", seed=2)
    with rasterio.open(placed[0]) as file:
        values, profile = file.read().astype(np.float32), {**file.profile, "dtype": "float32", "nodata": np.nan}
    values[:, ::13, ::13] = np.nan
    with rasterio.open(placed[0], "w", **profile) as file:
        file.write(values)
    refined, summary = upscaled(placed, tmp_path / "p.tif", fine="finenet")
    assert summary["refinement"]["steps"] > 0
    assert np.isfinite(refined[:, 4:48]).all()


def test_a_scene_too_small_to_be_degraded_is_not_corrected(tmp_path, monkeypatch):
    placed = synthetic.write(tmp_path, shape=(9, 6), bands=4, guide="pan", seed=1)
    for fine in REFINED:
        refined, summary = upscaled(placed, tmp_path / f"{fine}.tif", fine=fine)
        assert summary["refinement"]["share"] == 0
        assert summary["refinement"]["wald_pairs"] == []
        assert np.isfinite(refined).all()


def test_the_cost_of_a_fit_does_not_grow_with_the_scene():
    """The sample of a scene with 625 times the pixels is no larger."""
    areas = [sum(w.shape[0] * w.shape[1] for w in sample_windows((n, 2 * n))) for n in (400, 2000, 10000)]
    assert len(set(areas)) == 1


def test_the_summary_states_the_shrinkage_factor(pair, tmp_path):
    words = [
        "upscale",
        pair[0],
        "--rgb",
        pair[1],
        "-o",
        tmp_path / "p.tif",
        "--model",
        "regression",
        "--fine",
        "finenet",
    ]
    ran = CliRunner().invoke(main, [*map(str, words), "--tile", "64"], catch_exceptions=False)
    assert ran.exit_code == 0
    assert "Fine stage: used at 80% strength (finenet), chosen by testing on this scene\n" in ran.output
    ran = CliRunner().invoke(main, [*map(str, words), "--overwrite", "--json"], catch_exceptions=False)
    assert json.loads(ran.output)["refinement"]["share"] == 0.8


@pytest.mark.parametrize(
    ("options", "summary"),
    [
        ({"fine": "finenet", "guided": False}, "--fine finenet compares with a guide, and none is given. Give --rgb"),
        ({"fine": "finenet", "model": "bicubic"}, "compares with a guide, and `bicubic` takes none"),
        ({"fine": "backprojection", "scale": 3, "psf": None}, "half the ratio too, and 3 has no half"),
    ],
)
def test_impossible_fine_stages_are_refused(pair, tmp_path, options, summary):
    with pytest.raises(OptionError, match=summary):
        upscaled(pair, tmp_path / "p.tif", **options)
