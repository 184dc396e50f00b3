"""Zeros and nodata: a notebook writes what the command line writes."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr

from dualsr_geo import synthetic, upscale
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import DualSRWarning

# Of xarray, where a masked array is written as integers without a nodata value.
pytestmark = pytest.mark.filterwarnings("ignore:saving variable")

PSF = Psf.from_mtf(4)
HOWS = ({}, {"masked": True}, {"masked": True, "chunks": {"y": 10}}, {"chunks": {"x": 9}})


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A scene of uint16 with single zeros, and no nodata value."""
    folder = tmp_path_factory.mktemp("zeros")
    scene, guide = synthetic.write(folder, shape=(24, 31), bands=3, guide="pan")
    with rasterio.open(scene) as source:
        values, profile = source.read(), source.profile
    values[:, 5, 7] = values[1, 15, 2:5] = 0
    kept = {k: profile[k] for k in ("width", "height", "count", "dtype", "crs", "transform")}
    with rasterio.open(folder / "zeros.tif", "w", driver="GTiff", **kept) as target:
        target.write(values)
    return folder / "zeros.tif", guide


@pytest.fixture(scope="module")
def wanted(pair):
    result = upscale(pair[0], pair[0].with_name("cli.tif"), rgb=pair[1], psf=PSF)
    with rasterio.open(result["output"]) as product:
        assert product.nodata is None
        values = product.read()
    assert values.min() == 0
    return values


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_valid_zeros_stay_and_no_nodata_is_invented(how, pair, wanted, tmp_path):
    sharp = rioxarray.open_rasterio(pair[0], **how).dualsr.upscale(rgb=pair[1], psf=PSF)
    assert not {"_FillValue", "nodata"} & {*sharp.encoding, *sharp.attrs}
    sharp.rio.to_raster(tmp_path / "notebook.tif")
    with rasterio.open(tmp_path / "notebook.tif") as product:
        assert (product.nodata, product.dtypes[0]) == (None, "uint16")
        np.testing.assert_array_equal(product.read(), wanted)
    sharp.to_dataset(name="sharp").to_zarr(tmp_path / "notebook.zarr", consolidated=False)
    upscale(pair[0], tmp_path / "cli.zarr", rgb=pair[1], psf=PSF)
    with (
        xr.open_zarr(tmp_path / "notebook.zarr", mask_and_scale=False, consolidated=False) as got,
        xr.open_zarr(tmp_path / "cli.zarr", mask_and_scale=False, consolidated=False) as cli,
    ):
        np.testing.assert_array_equal(got["sharp"], wanted)
        np.testing.assert_array_equal(next(v for v in cli.values() if v.ndim == 3), wanted)
        assert "_FillValue" not in got["sharp"].attrs


def test_degraded_zeros_stay(pair, tmp_path):
    small = rioxarray.open_rasterio(pair[0], masked=True).dualsr.degrade(scale=2)
    assert "_FillValue" not in small.encoding
    raw = rioxarray.open_rasterio(pair[0]).dualsr.degrade(scale=2)
    np.testing.assert_array_equal(small, raw)


def test_missing_values_of_dask_stay_missing_and_are_warned_of(pair, wanted):
    scene = rioxarray.open_rasterio(pair[0], masked=True)
    hole = scene.copy(data=da.from_array(scene.values.copy(), chunks=(3, 12, 31)))
    hole = hole.where(hole.x > hole.x[4])
    hole.encoding = scene.encoding
    with pytest.warns(DualSRWarning, match=r"are missing \(NaN\).*Give nodata"):
        sharp = hole.dualsr.upscale(rgb=pair[1], psf=PSF).compute()
    np.testing.assert_array_equal(np.isnan(sharp), np.kron(np.isnan(hole), np.ones((1, 4, 4), bool)))
    assert float(sharp.min()) == 0
    stated = hole.dualsr.upscale(rgb=pair[1], psf=PSF, nodata=65535)
    assert stated.encoding["_FillValue"] == 65535


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_a_nodata_value_of_the_user_is_that_of_the_product(how, pair, tmp_path):
    sharp = rioxarray.open_rasterio(pair[0], **how).dualsr.upscale(rgb=pair[1], psf=PSF, nodata=0)
    sharp.rio.to_raster(tmp_path / "notebook.tif")
    upscale(pair[0], tmp_path / "cli.tif", rgb=pair[1], psf=PSF, nodata=0)
    with rasterio.open(tmp_path / "notebook.tif") as got, rasterio.open(tmp_path / "cli.tif") as cli:
        assert got.nodata == cli.nodata == 0
        np.testing.assert_array_equal(got.read(), cli.read())
