"""netCDF as an output, standard deviations in a second file, and several scenes of `info`: what is in the way."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from delivered import counts, raster
from hostile_case import Case, check

UPSCALE = ("--scale", "2", "--model", "interpolation")


def upscale(*words, prepare=lambda _: None, **options):
    def make(folder):
        raster(folder / "s.tif", counts(1, (3, 48, 48)), 8.0, **options)
        prepare(folder)
        return ["upscale", "s.tif", *UPSCALE, *words]

    return make


def info(*names):
    def make(folder):
        raster(folder / "s.tif", counts(1, (3, 24, 24)), 8.0)
        (folder / "b.tif").write_bytes(b"II*\0 no more")
        return ["info", *names]

    return make


def packed(folder):
    with rasterio.open(folder / "s.tif", "r+") as file:
        file.scales = (1.0, 0.5, 0.1)


def bands_last(folder):
    nm = np.linspace(400, 1000, 7)
    cube = xr.DataArray(np.ones((20, 26, 7)), dims=("y", "x", "wavelength"), coords={"wavelength": nm})
    cube.to_dataset(name="a").to_netcdf(folder / "s.nc")
    return ["upscale", "s.nc", *UPSCALE, "-o", "o.tif"]


def itself(folder):
    raster(folder / "t.tif", counts(1, (3, 48, 48)), 8.0)
    with rasterio.open(folder / "t.tif") as file:
        xr.DataArray(file.read(), dims=("band", "y", "x")).to_dataset(name="a").to_netcdf(folder / "s.nc")
    return ["upscale", "s.nc", *UPSCALE, "-o", "s.nc", "--overwrite"]


CASES = (
    Case("a folder of the name", upscale("-o", "o.nc", prepare=lambda f: (f / "o.nc").mkdir()), error=r"o\.nc exists"),
    Case("a folder to replace", upscale("-o", "o.nc", "--overwrite", prepare=lambda f: (f / "o.nc").mkdir()), error="is a folder"),
    Case("a file of the name", upscale("-o", "o.nc", prepare=lambda f: (f / "o.nc").write_text("mine")), error=r"o\.nc exists"),
    Case("no folder", upscale("-o", "no/o.nc"), error="no"),
    Case("the scene itself", itself, error="is the input"),
    Case("an option of GeoTIFF", upscale("-o", "o.nc", "--co", "TILED=YES"), error="netCDF takes COMPRESS=DEFLATE"),
    Case("a level of 99", upscale("-o", "o.nc", "--co", "ZLEVEL=99"), error="ZLEVEL=99 is unknown"),
    Case("a level of text", upscale("-o", "o.nc", "--co", "ZLEVEL=\u0661"), error="is unknown"),
    Case("scales of the bands", upscale("-o", "o.nc", prepare=packed), error="different scales.*--dtype float32"),
    Case("scales of the bands, as floats", upscale("-o", "o.nc", "-t", "float32", prepare=packed)),
    Case("a report of the name", upscale("-o", "o.nc", "--report", "r.nc"), error="product"),
    Case("bands in the last dimension", bands_last, error="bands in its last dimension"),
    Case("a suffix of old netCDF", upscale("-o", "o.cdf"), error="--format COG, GTiff, netCDF or Zarr"),
    Case("a second file that exists", upscale("-o", "o.tif", "--uncertainty", "separate", prepare=lambda f: (f / "o_sigma.tif").write_text("mine")), error=r"o_sigma\.tif exists"),
    Case("a second file that is a folder", upscale("-o", "o.tif", "--uncertainty", "separate", "--overwrite", prepare=lambda f: (f / "o_sigma.tif").mkdir()), error=r"o_sigma\.tif is a folder"),
    Case("a second file", upscale("-o", "o.tif", "--uncertainty", "separate")),
    Case("uncertainty of another word", upscale("-o", "o.tif", "--uncertainty=both"), error="both", code=2),
    Case("one broken scene of two", info("s.tif", "b.tif"), error="1 of 2 scenes cannot be opened"),
    Case("a scene twice", info("s.tif", "s.tif")),
    Case("a plot of two scenes", info("s.tif", "s.tif", "--blur", "--plot", "p.png"), error="of one scene", code=2),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)
