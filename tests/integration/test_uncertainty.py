"""Runs with uncertainty, from disk to disk: what is written, that it is the same bytes, and what is refused."""

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

BANDS = 18  # more than a chunk of 16, and no multiple of it
CHOSEN = {"model": "regression", "tile": 16, "uncertainty": True}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return synthetic.write(tmp_path_factory.mktemp("inputs"), shape=(21, 34), bands=BANDS, guide="rgb", seed=5)


@pytest.fixture(scope="module")
def cog(inputs, tmp_path_factory):
    place = tmp_path_factory.mktemp("cog") / "p.tif"
    said = dualsr_geo.upscale(inputs[0], place, rgb=inputs[1], report=place.with_suffix(".html"), **CHOSEN)
    return place, said


def bytes_of(product):
    files = [product] if product.is_file() else sorted(f for f in product.rglob("*") if f.is_file())
    return [hashlib.sha256(f.read_bytes()).hexdigest() for f in files]


# ---- GeoTIFF -----------------------------------------------------------------------------


def test_a_cog_has_a_sigma_for_every_band_after_all_bands(cog, inputs):
    place, _ = cog
    assert cog_validate(place)[0]
    with rasterio.open(place) as made, rasterio.open(inputs[0]) as scene:
        assert made.count == 2 * BANDS
        assert made.descriptions[:BANDS] == scene.descriptions
        assert made.descriptions[BANDS:] == tuple(f"{d} sigma" for d in scene.descriptions)
        assert set(made.dtypes) == set(scene.dtypes)
        assert made.units == scene.units * 2
        assert made.scales == scene.scales * 2
        assert made.tags(BANDS + 3)["STANDARD_DEVIATION_OF"] == "3"
        assert made.read(range(BANDS + 1, 2 * BANDS + 1)).min() > 0


def test_it_is_the_product_without_it_beside_more_bands(cog, inputs, tmp_path):
    plain = tmp_path / "plain.tif"
    dualsr_geo.upscale(inputs[0], plain, rgb=inputs[1], **{**CHOSEN, "uncertainty": False})
    with rasterio.open(cog[0]) as made, rasterio.open(plain) as without:
        np.testing.assert_array_equal(made.read(without.indexes), without.read())


def test_read_again_it_has_its_own_bands_unless_others_are_asked_for(cog):
    place, said = cog
    assert open_scene(place).count == BANDS
    sigma = open_scene(place, bidx=f"{BANDS + 1}..{2 * BANDS}")
    means = sigma.source.read(Window(0, 84, 0, 136)).mean((1, 2))
    # Rounded up to steps of 1e-4.
    np.testing.assert_allclose(means, said["uncertainty"]["mean_per_band"], atol=1.01e-4)


def test_lineage_and_report_tell_of_it(cog):
    place, said = cog
    with rasterio.open(place) as made:
        lineage = made.tags(ns="DUALSR")["LINEAGE"]
    assert '"uncertainty": true' in lineage
    assert said["uncertainty"]["guided"]["wald_ratio"] == 4
    page = place.with_suffix(".html").read_text()
    assert "Mean standard deviation of the error" in page
    assert 'data-kind="uncertainty"' in page


# ---- Zarr --------------------------------------------------------------------------------


def test_a_zarr_has_the_same_beside_the_scene(cog, inputs, tmp_path):
    place = tmp_path / "p.zarr"
    dualsr_geo.upscale(inputs[0], place, rgb=inputs[1], report=tmp_path / "p.html", **CHOSEN)
    stored = xr.open_zarr(place, mask_and_scale=False, decode_coords="all")
    assert list(stored.data_vars) == ["scene", "uncertainty"]
    assert stored.scene.attrs["ancillary_variables"] == "uncertainty"
    assert stored.uncertainty.attrs["long_name"] == "standard deviation of the error of scene"
    assert stored.uncertainty.rio.crs == stored.scene.rio.crs
    assert stored.uncertainty.rio.transform() == stored.scene.rio.transform()
    with rasterio.open(cog[0]) as made:
        np.testing.assert_array_equal(stored.uncertainty, made.read(range(BANDS + 1, 2 * BANDS + 1)))
    assert open_scene(place).count == BANDS
    assert open_scene(f"{place}/uncertainty").count == BANDS
    assert 'data-kind="uncertainty"' in (tmp_path / "p.html").read_text()


# ---- the same bytes ----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_interrupted_and_resumed_on_two_jobs_it_has_the_same_bytes(inputs, tmp_path, monkeypatch, suffix):
    quiet, broken = tmp_path / f"quiet.{suffix}", tmp_path / f"broken.{suffix}"
    dualsr_geo.upscale(inputs[0], quiet, rgb=inputs[1], jobs=1, **CHOSEN)
    real, made = executor.sharpen_tile, []

    def failing(work, tile, *rest):
        for item in real(work, tile, *rest):
            if tile.index == 3 and made:
                raise KeyboardInterrupt
            made.append(item[0])
            yield item

    with monkeypatch.context() as patch:
        patch.setattr(executor, "sharpen_tile", failing)
        with pytest.raises(KeyboardInterrupt):
            dualsr_geo.upscale(inputs[0], broken, rgb=inputs[1], jobs=1, **CHOSEN)
    with pytest.raises(ResumeError, match="uncertainty was true, is absent"):
        dualsr_geo.upscale(inputs[0], broken, rgb=inputs[1], resume=True, **{**CHOSEN, "uncertainty": False})
    dualsr_geo.upscale(inputs[0], broken, rgb=inputs[1], jobs=2, resume=True, **CHOSEN)
    assert bytes_of(quiet) == bytes_of(broken)


def test_the_accessor_gives_the_same_lazily(cog, inputs):
    scene, guide = (rioxarray.open_rasterio(f, chunks={"x": 50, "y": 40}) for f in inputs)
    lazy = scene.dualsr.upscale(rgb=guide, **CHOSEN)
    assert list(lazy.data_vars)[1] == "uncertainty"
    assert lazy.uncertainty.chunks == lazy[next(iter(lazy.data_vars))].chunks
    with rasterio.open(cog[0]) as made:
        np.testing.assert_array_equal(np.concatenate([v.values for v in lazy.data_vars.values()]), made.read())


def test_a_cluster_makes_the_same_bytes(cog, inputs, tmp_path):
    far = tmp_path / "p.tif"
    workers = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with LocalCluster(**workers) as cluster, Client(cluster) as client:
        dualsr_geo.upscale(inputs[0], far, rgb=inputs[1], client=client, **CHOSEN)
    assert bytes_of(far) == bytes_of(cog[0])


def test_a_dataset_of_bands_gets_an_uncertainty_for_each():
    sample = synthetic.make((21, 26), bands=3, seed=4)
    cube = synthetic.as_dataarray(sample)
    dataset = xr.Dataset({f"b{i}": cube.isel(band=i, drop=True) for i in range(3)})
    made = dataset.dualsr.upscale(rgb=synthetic.as_dataarray(sample, "guide"), **CHOSEN)
    assert set(made.data_vars) == {"b0", "b1", "b2", "b0_uncertainty", "b1_uncertainty", "b2_uncertainty"}
    assert made.b1.attrs["ancillary_variables"] == "b1_uncertainty"
    whole = cube.dualsr.upscale(rgb=synthetic.as_dataarray(sample, "guide"), **CHOSEN)
    np.testing.assert_array_equal(made.b1_uncertainty, whole.uncertainty[1])


def test_dates_stay_apart():
    cubes = [synthetic.as_dataarray(synthetic.make((16, 17), bands=3, seed=s)) for s in (1, 2)]
    stack = xr.concat(cubes, dim=xr.DataArray([2020, 2021], dims="time"), join="override")
    made = stack.dualsr.upscale(scale=2, **CHOSEN)
    alone = cubes[1].dualsr.upscale(scale=2, **CHOSEN)
    np.testing.assert_array_equal(made.uncertainty[1], alone.uncertainty)


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
    ("asked", "said"),
    [
        ({"model": "bicubic"}, "not those of `bicubic` with --fine none"),
        ({"model": "regression", "fine": "none"}, "not those of `regression` with --fine none"),
        ({"model": "gsa"}, "not those of `gsa`"),
    ],
)
def test_unknown_errors_are_refused(inputs, tmp_path, asked, said):
    with pytest.raises(OptionError, match=said):
        dualsr_geo.upscale(inputs[0], tmp_path / "p.tif", rgb=inputs[1], uncertainty=True, **asked)


def test_a_scene_too_small_to_be_degraded_is_refused(tmp_path):
    scene, guide = synthetic.write(tmp_path, shape=(7, 30), bands=3)
    with pytest.raises(InputError, match=r"8 x 8 pixels; the scene has 7 x 30"):
        dualsr_geo.upscale(scene, tmp_path / "p.tif", rgb=guide, uncertainty=True)


def test_the_command_line_knows_it(inputs, tmp_path):
    words = ["upscale", str(inputs[0]), "--rgb", str(inputs[1]), "-o", str(tmp_path / "p.tif"), "-q"]
    done = CliRunner().invoke(main, [*words, "--uncertainty", "--model", "regression"])
    assert done.exit_code == 0, done.output
    with rasterio.open(tmp_path / "p.tif") as made:
        assert made.count == 2 * BANDS
