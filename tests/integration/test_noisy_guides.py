"""Noisy guides from disk to disk and in a notebook: the same tiles, the same option, one record."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.cli import main
from dualsr_geo.errors import OptionError

NOISE = 0.02


@pytest.fixture(scope="module")
def sample():
    return synthetic.make((47, 61), bands=9, guide="rgb", seed=4)


@pytest.fixture(scope="module")
def arrays(sample):
    """Scene and noisy guide, the guide with a corner that is missing."""
    scene, guide = synthetic.as_dataarray(sample), synthetic.as_dataarray(sample, "guide").copy()
    guide += NOISE * np.random.default_rng(0).standard_normal(guide.shape).astype(np.float32)
    guide[:, :17, :30] = np.nan
    return scene, guide


@pytest.fixture(scope="module")
def files(arrays, tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy")
    for name, array in zip(("scene", "guide"), arrays, strict=True):
        array.rio.to_raster(folder / f"{name}.tif")
    return folder


@pytest.mark.parametrize("tile", [16, 29])
def test_tiled_equals_whole(arrays, tile):
    scene, guide = arrays
    whole, tiled = (scene.dualsr.upscale(rgb=guide, scale=4, tile=t, model="regression").values for t in (61, tile))
    assert np.abs(tiled - whole).max() <= 1e-5 * np.ptp(scene.values)


def test_the_option_is_the_same_everywhere_and_denoising_is_recorded(arrays, files):
    scene, guide = arrays
    runner, products = CliRunner(), {}
    for choice in ("auto", "off"):
        out = files / f"{choice}.tif"
        words = ["upscale", "scene.tif", "--rgb", "guide.tif", "-o", out, "--model", "regression", "--denoise", choice]
        words[1], words[3] = files / words[1], files / words[3]
        done = runner.invoke(main, [*map(str, words), "--tile", "24", "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        noise = json.loads(done.stdout)["guide"].get("noise")
        with rasterio.open(out) as product:
            products[choice] = product.read()
        lazy = scene.dualsr.upscale(rgb=guide, scale=4, model="regression", denoise=choice).values
        assert np.abs(lazy - products[choice]).max() <= 1e-5 * np.ptp(scene.values)
        if choice == "off":
            assert noise is None
            continue
        assert noise["std_per_band"] == pytest.approx([NOISE] * 3, rel=0.15)
        assert min(noise["filter_std_per_band"]) > 0
        assert noise["white"]
    assert np.abs(products["auto"] - products["off"]).max() > 0.01


def test_an_unknown_choice_is_refused(files):
    with pytest.raises(OptionError, match="--denoise maybe is not known. Give auto or off"):
        dualsr_geo.upscale(files / "scene.tif", rgb=files / "guide.tif", denoise="maybe")


@pytest.mark.parametrize("fine", ["finenet", "backprojection-pixel"])
def test_fitted_fine_stages_take_a_denoised_guide(arrays, fine):
    scene, guide = arrays
    products = [
        scene.dualsr.upscale(rgb=guide, scale=4, model="regression", fine=fine, tile=t).values for t in (61, 24)
    ]
    assert np.isfinite(products[0]).all()
    assert np.abs(products[1] - products[0]).max() <= 1e-5 * np.ptp(scene.values)
