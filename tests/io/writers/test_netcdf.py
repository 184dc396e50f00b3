"""netCDF products: what xarray, rioxarray, GDAL and this program read of them."""

import json

import h5py
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from affine import Affine
from delivered import counts, raster

from dualsr_geo import open_scene, upscale
from dualsr_geo.errors import OptionError, OutputError, ResumeError
from dualsr_geo.io.describe import describe
from dualsr_geo.raster.windows import Window

NM = (450.0, 550.25, 650.5)


@pytest.fixture
def scene(tmp_path):
    raster(tmp_path / "s.tif", counts(1, (3, 40, 52)), 8.0)
    with rasterio.open(tmp_path / "s.tif", "r+") as file:
        # Thirds have no exact value: the grid must come back to the last bit.
        file.transform = Affine(10 / 3, 0, 399999.1, 0, -10 / 3, 5799999.7)
        file.descriptions = ("blue", "green", "red")
        for i, nm in enumerate(NM, 1):
            file.update_tags(i, wavelength=str(nm), wavelength_units="nanometers", fwhm="20")
    return tmp_path / "s.tif"


def made(scene, name="o.nc", **options):
    path = scene.with_name(name)
    upscale(scene, path, **{"scale": 2, "model": "interpolation", **options})
    return path


def whole(path):
    opened = open_scene(path)
    return opened, opened.source.read(Window(0, opened.shape[0], 0, opened.shape[1]))


@pytest.mark.parametrize("options", [{}, {"uncertainty": True}])
def test_values_grid_and_bands_are_those_of_the_cog(scene, options):
    (product, values), (cog, expected) = whole(made(scene, **options)), whole(made(scene, "o.tif", **options))
    np.testing.assert_array_equal(values, expected)
    assert product.geobox == cog.geobox
    assert tuple(product.geobox.affine) == tuple(cog.geobox.affine)
    assert [(b.wavelength_nm, b.fwhm_nm) for b in product.bands] == [(b.wavelength_nm, b.fwhm_nm) for b in cog.bands]
    assert (product.packing.dtype, product.packing.nodata) == (cog.packing.dtype, cog.packing.nodata)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_xarray_rioxarray_and_gdal_open_it(scene):
    path, cog = made(scene, uncertainty=True), made(scene, "o.tif", uncertainty=True)
    with rasterio.open(cog) as file:
        expected, transform = file.read(), file.transform
    for engine in ("h5netcdf", "netcdf4"):
        with xr.open_dataset(path, engine=engine, decode_coords="all") as dataset:
            assert set(dataset.data_vars) == {"s", "uncertainty"}
            np.testing.assert_array_equal(dataset["s"], expected[:3])
            np.testing.assert_array_equal(dataset["uncertainty"], expected[3:])
            assert dataset["s"].dims == ("band", "y", "x")
            assert list(dataset["wavelength"].values) == list(NM)
            assert dataset["wavelength"].attrs["units"] == "nm"
            assert [str(n) for n in dataset["band_name"].values] == ["blue", "green", "red"]
            assert dataset["s"].attrs["ancillary_variables"] == "uncertainty"
            assert dataset.attrs["Conventions"] == "CF-1.11"
            assert dataset.attrs["source"].startswith("dualsr-geo ")
            assert dataset.rio.crs == rasterio.CRS.from_epsg(32633)
            assert dataset.rio.transform().almost_equals(transform)
    with rioxarray.open_rasterio(path) as opened:
        np.testing.assert_array_equal(opened["s"], expected[:3])
    with rasterio.open(f'NETCDF:"{path}":s') as file:
        np.testing.assert_array_equal(file.read(), expected[:3])
        assert file.crs == rasterio.CRS.from_epsg(32633)
        assert file.transform.almost_equals(transform)


def test_the_last_value_of_a_type_without_nodata_is_data(tmp_path):
    values = counts(1, (2, 24, 24))
    values[0, 3:9, 3:9] = 65535
    raster(tmp_path / "s.tif", values, 8.0)
    product, read = whole(made(tmp_path / "s.tif", model="bicubic"))
    assert product.packing.nodata is None
    assert np.isfinite(read).all()
    assert read.max() == 65535


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint8", 0), ("int16", -32768), ("float32", np.nan), ("float64", -9999), ("uint32", None)]
)
def test_types_and_nodata(dtype, nodata, tmp_path):
    values = counts(1, (2, 24, 24)).astype(dtype)
    if nodata is not None:
        values[:, :5, :7] = nodata
    raster(tmp_path / "s.tif", values, 8.0, **({} if nodata is None else {"nodata": nodata}))
    (_, read), (_, expected) = (whole(made(tmp_path / "s.tif", name, model="bicubic")) for name in ("o.nc", "o.tif"))
    np.testing.assert_array_equal(read, expected)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_scene_without_a_crs(tmp_path):
    raster(tmp_path / "s.tif", counts(1, (2, 24, 30)), 1.0, crs=None)
    with rasterio.open(tmp_path / "s.tif", "r+") as file:
        file.transform = Affine.identity()
    (product, read), (cog, expected) = (whole(made(tmp_path / "s.tif", n, model="bicubic")) for n in ("o.nc", "o.tif"))
    np.testing.assert_array_equal(read, expected)
    assert product.geobox == cog.geobox


def test_provenance_resume_overwrite_and_bytes(scene):
    path = made(scene)
    first = path.read_bytes()
    assert describe(path)["made_by"]["model"] == "interpolation"
    with pytest.raises(OutputError, match=r"o\.nc exists. Give --overwrite"):
        made(scene)
    assert upscale(scene, path, scale=2, model="interpolation", resume=True)["already_finished"]
    with pytest.raises((OutputError, ResumeError)):
        made(scene, scale=3, resume=True)
    made(scene, overwrite=True)
    assert path.read_bytes() == first
    assert not list(scene.parent.glob("*.part"))
    with h5py.File(path) as file:
        assert json.loads(file["dualsr"].attrs["lineage"])["scale"] == 2
    # Sharpened once more, it hands on none of its own records.
    upscale(path, scene.with_name("again.tif"), scale=2, model="bicubic")
    with rasterio.open(scene.with_name("again.tif")) as file:
        assert file.tags()["DUALSR_MODEL"] == "bicubic"
        assert not any("lineage" in name.lower() for name in file.tags())


def test_creation_options(scene):
    small, large = made(scene, creation={"ZLEVEL": "9"}), made(scene, "l.nc", creation={"COMPRESS": "NONE"})
    assert small.stat().st_size < large.stat().st_size
    np.testing.assert_array_equal(whole(small)[1], whole(large)[1])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"creation": {"COMPRESS": "ZSTD"}}, "COMPRESS=ZSTD is unknown. Give one of DEFLATE, NONE"),
        ({"creation": {"ZLEVEL": "0"}}, "ZLEVEL=0 is unknown"),
        ({"creation": {"TILED": "YES"}}, "TILED=YES: netCDF takes COMPRESS"),
    ],
)
def test_what_it_cannot_hold_is_refused_before_the_work(scene, options, why):
    with pytest.raises(OptionError, match=why):
        made(scene, **options)
    assert not list(scene.parent.glob("o.*"))


def test_scales_of_their_own_and_rotation_are_refused(scene):
    with rasterio.open(scene, "r+") as file:
        file.scales = (0.1, 0.2, 0.3)
    with pytest.raises(OptionError, match="different scales.*--dtype float32"):
        made(scene)
    assert whole(made(scene, dtype="float32"))[0].packing.dtype == "float32"
    with rasterio.open(scene, "r+") as file:
        file.scales = (1, 1, 1)
        file.transform = Affine.rotation(30) * file.transform
    with pytest.raises(OptionError, match="grid is rotated"):
        made(scene, overwrite=True)


def test_scale_and_offset(scene):
    with rasterio.open(scene, "r+") as file:
        file.scales, file.offsets = (1e-4,) * 3, (-0.1,) * 3
    (product, read), (_, expected) = (whole(made(scene, name)) for name in ("o.nc", "o.tif"))
    np.testing.assert_array_equal(read, expected)
    assert product.packing.scales == (1e-4,) * 3
