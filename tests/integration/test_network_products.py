"""Products of networks, from weights file to GeoTIFF and DataArray: in tiles, with every fine stage."""

from __future__ import annotations

import hashlib

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
from dualsr_geo.errors import InputError, OptionError, ScaleError
from dualsr_geo.evaluation.evaluate import evaluate
from dualsr_geo.io.writers.output_records import read_record
from dualsr_geo.models.checkpoint_import import convert
from dualsr_geo.models.loading import load_model
from dualsr_geo.models.weights import save

pytestmark = pytest.mark.filterwarnings("ignore:Blur and shift of the guide:dualsr_geo.errors.DualSRWarning")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    states = {"r2": slow.state_coarsr(2, 8, batch_norm=False), "r4": slow.state_coarsr(4, 8, batch_norm=True)}
    for name, state in {**states, "n4": slow.state_coarsenet(8, 3), "n2": slow.state_coarsenet(8, 3)}.items():
        torch.save({"model": slow.tame(state)}, folder / f"{name}.pth")
        save(folder / f"{name}.safetensors", *convert(folder / f"{name}.pth", int(name[1]) if "n" in name else None))
    return {p.stem: p for p in folder.glob("*.safetensors")}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Scene and guide of an awkward size, 53 x 70 lr pixels, 7 bands, ratio 4."""
    return synthetic.write(tmp_path_factory.mktemp("inputs"), shape=(53, 70), bands=7, guide="rgb", seed=5)


def physical(path):
    with rasterio.open(path) as file:
        return file.read().astype(np.float32) * np.asarray(file.scales, np.float32)[:, None, None]


def upscaled(pair, out, *, guided=False, **wishes):
    said = dualsr_geo.upscale(
        pair[0],
        out,
        rgb=pair[1] if guided else None,
        dtype="float32",
        psf=Psf.from_mtf(wishes.pop("ratio", 4)),
        **wishes,
    )
    return physical(out), said


def span(values):
    return float(values.max() - values.min())


@pytest.mark.parametrize("name", ["r2", "r4"])
@pytest.mark.parametrize("fine", ["none", "consistency", "backprojection"])
def test_coarsr_in_tiles_is_coarsr_whole(pair, files, tmp_path, name, fine):
    ratio = int(name[1])
    half = {"half_model": str(files["r2"])} if (name, fine) == ("r4", "backprojection") else {}
    wishes = {"model": str(files[name]), "fine": fine, "ratio": ratio, **half}
    whole, said = upscaled(pair, tmp_path / "whole.tif", tile=128, **wishes)
    assert (said["model"], said["fine"], said["scale"]) == (name, fine, ratio)
    for tile in (16, 23):
        tiled, _ = upscaled(pair, tmp_path / f"{tile}.tif", tile=tile, **wishes)
        assert np.abs(tiled - whole).max() <= 1e-5 * span(whole)


def test_a_product_is_what_the_network_says(pair, files, tmp_path):
    made, _ = upscaled(pair, tmp_path / "p.tif", model=str(files["r4"]))
    scene = physical(pair[0])
    wanted = load_model(files["r4"])(scene / scene.max()) * scene.max()
    np.testing.assert_allclose(made, np.maximum(wanted, scene.min()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("published", [False, True])
def test_a_guided_product_is_what_the_network_says(pair, files, tmp_path, published):
    made, said = upscaled(
        pair, tmp_path / "p.tif", guided=True, model=str(files["n4"]), published=published, coregister="off"
    )
    scene, guide = physical(pair[0]), physical(pair[1])
    wanted = load_model(files["n4"], published)(scene / scene.max(), guide / guide.max()) * scene.max()
    np.testing.assert_allclose(made, np.maximum(wanted, scene.min()), rtol=1e-4, atol=1e-5)
    assert said["guide"]["coverage"] == 1


@pytest.mark.parametrize("fine", ["consistency", "backprojection"])
def test_coarsenet_in_tiles(pair, files, tmp_path, fine):
    half = {"half_model": str(files["n2"])} if fine == "backprojection" else {}
    wishes = {"model": str(files["n4"]), "fine": fine, **half}
    whole, _ = upscaled(pair, tmp_path / "whole.tif", guided=True, tile=129, **wishes)
    tiled, _ = upscaled(pair, tmp_path / "tiled.tif", guided=True, tile=18, **wishes)
    assert np.abs(tiled - whole).max() <= 1e-4 * span(whole)


def test_the_consistent_product_degrades_to_the_scene(pair, files, tmp_path):
    made, said = upscaled(pair, tmp_path / "p.tif", model=str(files["r4"]), fine="consistency")
    scene = physical(pair[0])
    degraded = operator(Psf.from_mtf(4), (53, 70)).degrade(torch.from_numpy(made)).numpy()
    rmse = np.sqrt(np.mean((degraded - scene) ** 2))
    # Each tile leaves out the pixels whose blur reaches beyond its core.
    assert said["consistency"]["rmse"] == pytest.approx(rmse, rel=0.1)
    loose, _ = upscaled(pair, tmp_path / "q.tif", model=str(files["r4"]))
    before = operator(Psf.from_mtf(4), (53, 70)).degrade(torch.from_numpy(loose)).numpy()
    assert rmse < 0.2 * np.sqrt(np.mean((before - scene) ** 2))


def test_the_accessor_makes_what_the_command_writes(pair, files, tmp_path):
    out = tmp_path / "cli.tif"
    words = [
        "upscale",
        pair[0],
        "--model",
        files["r4"],
        "-o",
        out,
        "--fine",
        "backprojection",
        "--half-model",
        files["r2"],
    ]
    done = CliRunner().invoke(main, [*map(str, words), "--tile", "32", "--quiet"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with rioxarray.open_rasterio(pair[0]) as scene:
        lazy = scene.dualsr.upscale(model=str(files["r4"]), fine="backprojection", half_model=str(files["r2"]), tile=32)
        made = lazy.values
    with rasterio.open(out) as written, rasterio.open(pair[0]) as given:
        np.testing.assert_array_equal(made, written.read())
        assert written.bounds == given.bounds
        assert written.crs == given.crs
        assert (written.width, written.height) == (280, 212)


def test_a_guide_that_ends_fades_to_bicubic(pair, files, tmp_path):
    with rasterio.open(pair[1]) as guide:
        values, profile = guide.read(), guide.profile
        half = {**profile, "width": 140, "driver": "GTiff"}
    for key in ("blockxsize", "blockysize", "tiled"):
        half.pop(key, None)
    with rasterio.open(tmp_path / "west.tif", "w", **half) as out:
        out.write(values[:, :, :140])
    cut = pair[0], tmp_path / "west.tif"
    wishes = {"model": str(files["n4"]), "tile": 18, "coregister": "off"}
    made, said = upscaled(cut, tmp_path / "p.tif", guided=True, **wishes)
    assert said["guide"]["coverage"] == pytest.approx(0.5, abs=0.01)
    plain, _ = upscaled(pair, tmp_path / "b.tif", model="bicubic", scale=4)
    np.testing.assert_allclose(made[:, :, 170:], plain[:, :, 170:], atol=0.02 * span(plain))
    full, _ = upscaled(pair, tmp_path / "f.tif", guided=True, **wishes)
    assert np.abs(made - full)[:, :, :60].max() <= 0.02 * span(full)
    assert np.abs(made - full)[:, :, 170:].max() > 0.1 * span(full)


def test_bfloat16_is_close(pair, files, tmp_path):
    exact, _ = upscaled(pair, tmp_path / "a.tif", model=str(files["r4"]))
    close, _ = upscaled(pair, tmp_path / "b.tif", model=str(files["r4"]), precision="bfloat16")
    scene = physical(pair[0])
    assert 0 < np.abs(exact - close).max() <= 1e-3 * scene.max()


def test_on_a_cluster_the_same_bytes(pair, files, tmp_path):
    alone = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with LocalCluster(**alone) as cluster, Client(cluster) as client:
        dualsr_geo.upscale(pair[0], tmp_path / "far.tif", model=str(files["r2"]), tile=32, client=client)
    dualsr_geo.upscale(pair[0], tmp_path / "near.tif", model=str(files["r2"]), tile=32)
    assert (tmp_path / "far.tif").read_bytes() == (tmp_path / "near.tif").read_bytes()


def test_the_product_says_which_weights(pair, files, tmp_path):
    wishes = {"model": str(files["r4"]), "published": True, "fine": "backprojection", "half_model": str(files["r2"])}
    upscaled(pair, tmp_path / "p.tif", **wishes)
    found = read_record(str(tmp_path / "p.tif"), "GTiff", "lineage")
    assert found["weights_sha256"] == sha256(files["r4"])
    assert found["parameters"]["weights"] == {
        "sha256": sha256(files["r4"]),
        "published": True,
        "precision": "float32",
    }
    assert found["parameters"]["half_weights"]["sha256"] == sha256(files["r2"])


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_judge_takes_weights(pair, files):
    found = evaluate(pair[0], scale=2, models=["bicubic", str(files["r2"])])
    assert set(found["models"]) == {"bicubic", str(files["r2"])}
    assert found["models"][str(files["r2"])]["psnr_db"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scale", "2"], "weights of `r4` sharpen 4 times, not 2. Give --scale 4"),
        (["--bidx", "1..4"], "`coarsr` reads 5 bands at a time, the scene has 4"),
        (["--half-model", "bicubic"], "--half-model bicubic applies only to --fine backprojection"),
        (
            ["--fine", "backprojection"],
            "needs the result of ratio 2 too. Give weights of coarsr for ratio 2 as --half-model",
        ),
        (["--fine", "finest"], "no fine stage `finest`"),
    ],
)
def test_what_does_not_fit_is_one_line(pair, files, tmp_path, words, said):
    command = ["upscale", str(pair[0]), "--model", str(files["r4"]), "-o", str(tmp_path / "p.tif"), *words]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_guides_that_do_not_fit(pair, files, tmp_path):
    with pytest.raises(OptionError, match="`n4` takes all detail from a guide, and none is given"):
        dualsr_geo.upscale(pair[0], tmp_path / "p.tif", model=str(files["n4"]))
    with pytest.raises(InputError, match="guide has 6 bands, the weights of `n4` were trained for 3"):
        dualsr_geo.upscale(pair[0], tmp_path / "p.tif", rgb=[pair[1], pair[1]], model=str(files["n4"]))
    with pytest.raises(
        OptionError, match="--tile 32 is no whole number of the network's blocks of 3 lr pixels. Give 30 or 33"
    ):
        dualsr_geo.upscale(pair[0], tmp_path / "p.tif", rgb=pair[1], model=str(files["n4"]), tile=32)
    with pytest.raises(ScaleError):
        dualsr_geo.upscale(pair[0], tmp_path / "p.tif", rgb=pair[1], model=str(files["n4"]), scale=3)


def test_too_few_bands_with_data(pair, files, tmp_path):
    with rasterio.open(pair[0]) as scene:
        values, profile = scene.read(), scene.profile
        scales = scene.scales
    profile |= {"driver": "GTiff", "nodata": 0}
    values[3:] = 0
    with rasterio.open(tmp_path / "s.tif", "w", **profile) as out:
        out.write(values)
        out.scales = scales
    with pytest.raises(InputError, match="`coarsr` reads 5 bands at a time, the scene has 3 with data"):
        dualsr_geo.upscale(tmp_path / "s.tif", tmp_path / "p.tif", model=str(files["r4"]))
    assert [p.name for p in tmp_path.iterdir()] == ["s.tif"]
