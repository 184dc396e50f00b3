"""What a product of the accessor states of how it was made."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr

from dualsr_geo import __version__, synthetic, upscale
from dualsr_geo.errors import DualSRWarning

NAMES = {"dualsr_version", "dualsr_model", "dualsr_parameters", "dualsr_shift", "dualsr_consistency", "dualsr_warnings"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attributes")
    return synthetic.write(folder, shape=(60, 60), bands=4, guide="pan", shift_px=(1.5, -2.0))


@pytest.fixture(scope="module")
def sharp(pair):
    return rioxarray.open_rasterio(pair[0], masked=True).dualsr.upscale(rgb=pair[1], tile=16).compute()


@pytest.fixture(scope="module")
def result(pair):
    return upscale(pair[0], pair[0].with_name("cli.tif"), rgb=pair[1], tile=16)


def test_a_computed_product_states_what_a_run_to_a_file_reports(sharp, result):
    assert {name for name in sharp.attrs if name.startswith("dualsr_")} == NAMES
    assert sharp.attrs["dualsr_version"] == f"dualsr-geo {__version__}"
    assert sharp.attrs["dualsr_model"] == "auto, fine stage consistency"
    assert json.loads(sharp.attrs["dualsr_parameters"])["scale"] == 4
    assert sharp.attrs["dualsr_shift"][0].split("; ")[0] == result["guide"]["shift"].removesuffix(".")
    assert "lay 1.5 px too low and 2.0 px too far left" in sharp.attrs["dualsr_shift"][0]
    assert f"{result['consistency']['rmse']:.3g} (RMSE)" in sharp.attrs["dualsr_consistency"][0]
    assert sharp.attrs["dualsr_warnings"] == (result["notes"] or ["none"])


def test_attributes_survive_writing(sharp, tmp_path):
    sharp.rio.to_raster(tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as product:
        tags = product.tags()
    assert tags["dualsr_shift"] == sharp.attrs["dualsr_shift"][0]
    assert NAMES <= set(tags)
    sharp.to_dataset(name="sharp").to_zarr(tmp_path / "a.zarr", consolidated=False)
    sharp.to_dataset(name="sharp").to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with (
        xr.open_zarr(tmp_path / "a.zarr", consolidated=False) as zarr,
        xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as netcdf,
    ):
        for stored in (zarr, netcdf):
            assert list(np.atleast_1d(stored.sharp.attrs["dualsr_shift"])) == sharp.attrs["dualsr_shift"]
    copied = pickle.loads(pickle.dumps(sharp)).attrs
    assert copied == sharp.attrs
    assert type(copied["dualsr_shift"]) is list


def test_before_it_is_computed_a_product_states_what_is_known(pair):
    scene = rioxarray.open_rasterio(pair[0])
    lazy = scene.dualsr.upscale(rgb=pair[1], fine="none")
    assert lazy.attrs["dualsr_model"] == "auto, fine stage none"
    assert lazy.attrs["dualsr_shift"] == lazy.attrs["dualsr_consistency"]
    assert "measured when the product is computed" in str(lazy.attrs["dualsr_shift"])
    # A part surveys the scene, and has not the consistency of the whole.
    part = scene.dualsr.upscale(rgb=pair[1], tile=16, fine="none")
    corner = part[:, :8, :8].compute()
    assert "too low" in str(corner.attrs["dualsr_shift"])
    assert "measured when" in str(corner.attrs["dualsr_consistency"])
    assert "dualsr_shift" not in scene.dualsr.upscale(scale=2).attrs


def test_a_product_warns_as_the_command_line_does(pair):
    scene = rioxarray.open_rasterio(pair[0])
    with pytest.warns(DualSRWarning, match="lay 1.5 px too low .* was not moved"):
        off = scene.dualsr.upscale(rgb=pair[1], coregister="off").compute()
    assert "was not moved" in off.attrs["dualsr_warnings"][0]
