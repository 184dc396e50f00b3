"""Runs with uncertainty, from disk to disk: what they write, in the same bytes, and what they refuse."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from click.testing import CliRunner
from dask.distributed import Client, LocalCluster
from rio_cogeo import cog_validate

import dualsr_geo
from dualsr_geo import open_scene, synthetic
from dualsr_geo.cli import main
from dualsr_geo.engine import executor
from dualsr_geo.engine.tiles.encoding import encode_deviation
from dualsr_geo.errors import InputError, OptionError, ResumeError
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.windows import Window

BANDS = 18  # more than a chunk of 16, and not a multiple of it
OPTIONS = {"model": "regression", "tile": 16, "uncertainty": True}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return synthetic.write(tmp_path_factory.mktemp("inputs"), shape=(21, 34), bands=BANDS, guide="rgb", seed=5)


@pytest.fixture(scope="module")
def cog(inputs, tmp_path_factory):
    path = tmp_path_factory.mktemp("cog") / "p.tif"
    result = dualsr_geo.upscale(inputs[0], path, rgb=inputs[1], report=path.with_suffix(".html"), **OPTIONS)
    return path, result


def bytes_of(product):
    files = [product] if product.is_file() else sorted(f for f in product.rglob("*") if f.is_file())
    return [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]


# ---- GeoTIFF -----------------------------------------------------------------------------


def test_a_cog_has_a_sigma_for_every_band_after_all_bands(cog, inputs):
    path, _ = cog
    assert cog_validate(path)[0]
    with rasterio.open(path) as product, rasterio.open(inputs[0]) as scene:
        assert product.count == 2 * BANDS
        assert product.descriptions[:BANDS] == scene.descriptions
        assert product.descriptions[BANDS:] == tuple(f"{d} sigma" for d in scene.descriptions)
        assert set(product.dtypes) == set(scene.dtypes)
        assert product.units == (scene.tags()["units"],) * product.count
        assert product.scales == scene.scales * 2
        assert product.tags(BANDS + 3)["STANDARD_DEVIATION_OF"] == "3"
        assert product.read(range(BANDS + 1, 2 * BANDS + 1)).min() > 0


def test_the_other_bands_are_those_of_a_run_without_it(cog, inputs, tmp_path):
    plain = tmp_path / "plain.tif"
    dualsr_geo.upscale(inputs[0], plain, rgb=inputs[1], **{**OPTIONS, "uncertainty": False})
    with rasterio.open(cog[0]) as product, rasterio.open(plain) as without:
        np.testing.assert_array_equal(product.read(without.indexes), without.read())


def test_a_product_opens_with_the_bands_of_the_scene_unless_others_are_chosen(cog):
    path, result = cog
    assert open_scene(path).count == BANDS
    sigma = open_scene(path, bidx=f"{BANDS + 1}..{2 * BANDS}")
    means = sigma.source.read(Window(0, 84, 0, 136)).mean((1, 2))
    # Rounded up to steps of 1e-4.
    np.testing.assert_allclose(means, result["uncertainty"]["mean_per_band"], atol=1.01e-4)


def test_provenance_and_report_contain_it(cog):
    path, result = cog
    with rasterio.open(path) as product:
        lineage = product.tags(ns="DUALSR")["LINEAGE"]
    assert '"uncertainty": true' in lineage
    assert result["uncertainty"]["guided"]["wald_ratio"] == 4
    page = path.with_suffix(".html").read_text()
    assert "Mean standard deviation of the error" in page
    assert 'data-kind="uncertainty"' in page


# ---- Zarr --------------------------------------------------------------------------------


def test_a_zarr_has_the_same_in_a_variable_of_its_own(cog, inputs, tmp_path):
    path = tmp_path / "p.zarr"
    dualsr_geo.upscale(inputs[0], path, rgb=inputs[1], report=tmp_path / "p.html", **OPTIONS)
    stored = xr.open_zarr(path, mask_and_scale=False, decode_coords="all")
    assert list(stored.data_vars) == ["scene", "uncertainty"]
    assert stored.scene.attrs["ancillary_variables"] == "uncertainty"
    assert stored.uncertainty.attrs["long_name"] == "standard deviation of the error of scene"
    assert stored.uncertainty.rio.crs == stored.scene.rio.crs
    assert stored.uncertainty.rio.transform() == stored.scene.rio.transform()
    with rasterio.open(cog[0]) as product:
        np.testing.assert_array_equal(stored.uncertainty, product.read(range(BANDS + 1, 2 * BANDS + 1)))
    assert open_scene(path).count == BANDS
    assert open_scene(f"{path}/uncertainty").count == BANDS
    assert 'data-kind="uncertainty"' in (tmp_path / "p.html").read_text()


# ---- the same bytes ----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_interrupted_and_resumed_on_two_jobs_it_has_the_same_bytes(inputs, tmp_path, monkeypatch, suffix):
    quiet, broken = tmp_path / f"quiet.{suffix}", tmp_path / f"broken.{suffix}"
    dualsr_geo.upscale(inputs[0], quiet, rgb=inputs[1], jobs=1, **OPTIONS)
    real, tiles = executor.sharpen_tile, []

    def failing(work, tile, *rest):
        for item in real(work, tile, *rest):
            if tile.index == 3 and tiles:
                raise KeyboardInterrupt
            tiles.append(item[0])
            yield item

    with monkeypatch.context() as patch:
        patch.setattr(executor, "sharpen_tile", failing)
        with pytest.raises(KeyboardInterrupt):
            dualsr_geo.upscale(inputs[0], broken, rgb=inputs[1], jobs=1, **OPTIONS)
    with pytest.raises(ResumeError, match="uncertainty was true, is absent"):
        dualsr_geo.upscale(inputs[0], broken, rgb=inputs[1], resume=True, **{**OPTIONS, "uncertainty": False})
    dualsr_geo.upscale(inputs[0], broken, rgb=inputs[1], jobs=2, resume=True, **OPTIONS)
    assert bytes_of(quiet) == bytes_of(broken)


def test_the_accessor_gives_the_same_lazily(cog, inputs):
    scene, guide = (rioxarray.open_rasterio(f, chunks={"x": 50, "y": 40}) for f in inputs)
    lazy = scene.dualsr.upscale(rgb=guide, **OPTIONS)
    assert list(lazy.data_vars)[1] == "uncertainty"
    assert lazy.uncertainty.chunks == lazy[next(iter(lazy.data_vars))].chunks
    with rasterio.open(cog[0]) as product:
        np.testing.assert_array_equal(np.concatenate([v.values for v in lazy.data_vars.values()]), product.read())


def test_a_cluster_makes_the_same_bytes(cog, inputs, tmp_path):
    on_cluster = tmp_path / "p.tif"
    workers = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with LocalCluster(**workers) as cluster, Client(cluster) as client:
        dualsr_geo.upscale(inputs[0], on_cluster, rgb=inputs[1], client=client, **OPTIONS)
    assert bytes_of(on_cluster) == bytes_of(cog[0])


def test_a_dataset_of_bands_gets_an_uncertainty_for_each():
    sample = synthetic.make((21, 26), bands=3, seed=4)
    cube = synthetic.as_dataarray(sample)
    dataset = xr.Dataset({f"b{i}": cube.isel(band=i, drop=True) for i in range(3)})
    product = dataset.dualsr.upscale(rgb=synthetic.as_dataarray(sample, "guide"), **OPTIONS)
    assert set(product.data_vars) == {"b0", "b1", "b2", "b0_uncertainty", "b1_uncertainty", "b2_uncertainty"}
    assert product.b1.attrs["ancillary_variables"] == "b1_uncertainty"
    whole = cube.dualsr.upscale(rgb=synthetic.as_dataarray(sample, "guide"), **OPTIONS)
    np.testing.assert_array_equal(product.b1_uncertainty, whole.uncertainty[1])


def test_dates_are_independent():
    cubes = [synthetic.as_dataarray(synthetic.make((16, 17), bands=3, seed=s)) for s in (1, 2)]
    stack = xr.concat(cubes, dim=xr.DataArray([2020, 2021], dims="time"), join="override")
    product = stack.dualsr.upscale(scale=2, **OPTIONS)
    single = cubes[1].dualsr.upscale(scale=2, **OPTIONS)
    np.testing.assert_array_equal(product.uncertainty[1], single.uncertainty)


# ---- packing -----------------------------------------------------------------------------


def stored(sigma: list[float], *, scale: float = 1.0, offset: float = 0.0, nodata: float | None = None, dtype="uint16"):
    torch = pytest.importorskip("torch")
    packing = Packing(dtype, (scale,), (offset,), nodata)
    return encode_deviation(torch.tensor(sigma).view(1, 1, -1), packing, slice(0, 1), None).ravel().tolist()


def test_integers_are_rounded_up_without_offset():
    assert stored([0.0, 1e-9, 0.00031, 0.25], scale=1e-4, offset=-0.1) == [0, 1, 4, 2500]
    assert stored([0.2, 300.0], dtype="uint8") == [1, 255]
    assert stored([0.2, 3.0], scale=-2.0, dtype="int16", nodata=-1) == [1, 2]


def test_a_sigma_is_never_nodata():
    assert stored([0.0, 0.5, 7.0], nodata=0) == [1, 1, 7]
    assert stored([6.5, 7.5], nodata=7) == [6, 8]


# ---- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"model": "bicubic"}, "not those of `bicubic` with --fine none"),
        ({"model": "regression", "fine": "none"}, "not those of `regression` with --fine none"),
        ({"model": "gsa"}, "not those of `gsa`"),
    ],
)
def test_unknown_errors_are_refused(inputs, tmp_path, keywords, message):
    with pytest.raises(OptionError, match=message):
        dualsr_geo.upscale(inputs[0], tmp_path / "p.tif", rgb=inputs[1], uncertainty=True, **keywords)


def test_a_scene_too_small_to_be_degraded_is_refused(tmp_path):
    scene, guide = synthetic.write(tmp_path, shape=(7, 30), bands=3)
    with pytest.raises(InputError, match=r"8 x 8 pixels; the scene has 7 x 30"):
        dualsr_geo.upscale(scene, tmp_path / "p.tif", rgb=guide, uncertainty=True)


def test_the_command_line_has_the_flag(inputs, tmp_path):
    words = ["upscale", str(inputs[0]), "--rgb", str(inputs[1]), "-o", str(tmp_path / "p.tif"), "-q"]
    result = CliRunner().invoke(main, [*words, "--uncertainty", "--model", "regression"])
    assert result.exit_code == 0, result.output
    with rasterio.open(tmp_path / "p.tif") as product:
        assert product.count == 2 * BANDS
