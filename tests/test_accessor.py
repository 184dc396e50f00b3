"""`.dualsr`: the product of the command line, lazily, in the form of the scene."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from numpy.typing import NDArray

import dualsr_geo  # noqa: F401  # registers .dualsr
from dualsr_geo import synthetic, upscale
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import BandError, GridError, InputError, OptionError, ScaleError

pytestmark = [
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Blur and shift of the guide:dualsr_geo.errors.DualSRWarning"),
]

PSF = Psf.from_mtf(4)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    scene, guide = synthetic.write(folder, shape=(24, 31), bands=4, guide="rgb")
    with rasterio.open(scene, "r+") as target:
        values = target.read()
        values[:, 3:6, 20:25] = values[1, 15, 2:5] = synthetic.NODATA
        target.write(values)
    return scene, guide


@pytest.fixture(scope="module")
def stored(pair: tuple[Path, Path]) -> NDArray[np.uint16]:
    """Return the values of the product of `upscale`."""
    out = pair[0].with_name("product.tif")
    upscale(pair[0], out, rgb=pair[1], psf=PSF)
    with rasterio.open(out) as product:
        values: NDArray[np.uint16] = product.read()
    return values


def opened(path: Path, **how: Any) -> xr.DataArray:
    array = rioxarray.open_rasterio(path, **how)
    assert isinstance(array, xr.DataArray)
    return array


FORMS = {
    "raw": {},
    "masked": {"masked": True},
    "decoded": {"mask_and_scale": True},
    "raw dask": {"chunks": {"band": 2, "y": 9, "x": 10}},
    "decoded dask": {"mask_and_scale": True, "chunks": {"band": -1, "y": 11, "x": 31}},
}


def require_equal(got: NDArray[Any], want: NDArray[Any], form: str) -> None:
    """Compare bit for bit; values that xarray decodes are rounded to float32 twice, and may differ by one step."""
    if not form.startswith("decoded"):
        np.testing.assert_array_equal(got, want)
        return
    off = np.abs(got.astype(int) - want)
    assert off.max() <= 1
    assert (off > 0).mean() < 0.002


@pytest.mark.parametrize("form", FORMS)
def test_the_product_equals_that_of_upscale(
    form: str, pair: tuple[Path, Path], stored: NDArray[np.uint16], tmp_path: Path
) -> None:
    scene = opened(pair[0], **FORMS[form])
    sharp = scene.dualsr.upscale(rgb=pair[1], psf=PSF)
    assert sharp.chunks is not None
    assert sharp.dtype == scene.dtype
    sharp.rio.to_raster(tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as product, rasterio.open(pair[0]) as source:
        require_equal(product.read(), stored, form)
        assert (product.dtypes, product.nodata) == (source.dtypes, source.nodata)
        assert product.scales == source.scales
        assert product.crs == source.crs
        assert product.transform == source.transform @ source.transform.scale(0.25)


@pytest.mark.parametrize("form", FORMS)
def test_any_guide_gives_the_same(form: str, pair: tuple[Path, Path], stored: NDArray[np.uint16]) -> None:
    for guide in (opened(pair[1], **FORMS[form]), [opened(pair[1])[i : i + 1] for i in range(3)], str(pair[1])):
        sharp = opened(pair[0]).dualsr.upscale(rgb=guide, psf=PSF)
        require_equal(sharp.values, stored, form)


def test_tiles_and_chunks_do_not_change_the_product(pair: tuple[Path, Path], stored: NDArray[np.uint16]) -> None:
    sharp = opened(pair[0], chunks={"y": 7}).dualsr.upscale(rgb=pair[1], psf=PSF, tile=16, jobs=1)
    assert sharp.chunks[1:] == ((64, 32), (64, 60))
    off = np.abs(sharp.values.astype(int) - stored)
    assert off.max() <= 1
    assert (off > 0).mean() < 0.002


def test_unlabelled_floats_come_back_as_floats(pair: tuple[Path, Path]) -> None:
    sample = synthetic.make((24, 31), bands=4)
    scene, guide = synthetic.as_dataarray(sample), synthetic.as_dataarray(sample, "guide")
    sharp = scene.dualsr.upscale(rgb=guide, psf=PSF)
    assert (sharp.dtype, sharp.name, sharp.shape) == (np.float32, "reflectance", (4, 96, 124))
    np.testing.assert_array_equal(sharp.wavelength, scene.wavelength)
    np.testing.assert_array_equal(sharp.fwhm, scene.fwhm)
    assert sharp.wavelength.attrs == {"units": "nm"}
    with_nan = scene.where(scene.x < 389200)
    product = with_nan.dualsr.upscale(rgb=guide, psf=PSF).values
    np.testing.assert_array_equal(np.isnan(product), np.kron(np.isnan(with_nan), np.ones((1, 4, 4), bool)))


# ---- labels ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_grid_coordinates_encoding_and_attributes_are_right(form: str, pair: tuple[Path, Path]) -> None:
    scene = opened(pair[0], **FORMS[form])
    sharp = scene.dualsr.upscale(scale=4)
    assert sharp.dims == scene.dims
    np.testing.assert_array_equal(sharp.x, 389000 + 2 * (np.arange(124) + 0.5))
    np.testing.assert_array_equal(sharp.y, 5820000 - 2 * (np.arange(96) + 0.5))
    np.testing.assert_array_equal(sharp.band, scene.band)
    assert sharp.rio.crs == scene.rio.crs
    assert sharp.rio.bounds() == scene.rio.bounds()
    assert sharp.rio.transform() == scene.rio.transform() @ scene.rio.transform().scale(0.25)
    assert {k: v for k, v in sharp.attrs.items() if not k.startswith("dualsr_")} == scene.attrs
    packing = {"_FillValue", "scale_factor", "add_offset", "rasterio_dtype", "dtype"}
    assert {k: sharp.encoding.get(k) for k in packing} == {k: scene.encoding.get(k) for k in packing}
    assert not {"chunks", "preferred_chunks", "source"} & set(sharp.encoding)
    assert sharp.name == scene.name


def test_the_scene_is_not_changed(pair: tuple[Path, Path]) -> None:
    scene = opened(pair[0], mask_and_scale=True)
    before = scene.copy(deep=True)
    scene.dualsr.upscale(scale=2).compute()
    scene.dualsr.degrade(scale=2).compute()
    xr.testing.assert_identical(scene, before)
    assert scene.encoding == before.encoding


def test_names_of_dimensions_are_kept(pair: tuple[Path, Path], stored: NDArray[np.uint16]) -> None:
    scene = opened(pair[0]).rename({"x": "lon", "y": "lat", "band": "wl"}).transpose("lat", "lon", "wl")
    sharp = scene.dualsr.upscale(rgb=pair[1], psf=PSF)
    assert set(sharp.dims) == {"lat", "lon", "wl"}
    np.testing.assert_array_equal(sharp.transpose("wl", "lat", "lon").values, stored)


def test_another_dtype_has_its_own_packing(pair: tuple[Path, Path], tmp_path: Path) -> None:
    scene = opened(pair[0])
    sharp = scene.dualsr.upscale(scale=2, dtype="float32", nodata=-1.0)
    result = upscale(pair[0], tmp_path / "cli.tif", scale=2, dtype="float32", nodata=-1.0)
    sharp.rio.to_raster(tmp_path / "array.tif")
    with rasterio.open(result["output"]) as want, rasterio.open(tmp_path / "array.tif") as got:
        np.testing.assert_array_equal(got.read(), want.read())
        assert (got.scales, got.offsets, got.nodata) == (want.scales, want.offsets, want.nodata)


def test_holes_without_a_nodata_value_stay_holes(pair: tuple[Path, Path]) -> None:
    scene = opened(pair[0], mask_and_scale=True)
    del scene.encoding["_FillValue"]
    sharp = scene.dualsr.upscale(scale=2)
    hole = np.kron(np.isnan(scene), np.ones((1, 2, 2), bool))
    assert hole.any()
    np.testing.assert_array_equal(np.isnan(sharp.values), hole)
    assert sharp.encoding["_FillValue"] == 0
    assert sharp.encoding["dtype"] == "uint16"


# ---- laziness ----------------------------------------------------------------------------


def never(*_: Any, **__: Any) -> NDArray[Any]:
    raise RuntimeError("computed")


def bomb(like: xr.DataArray) -> xr.DataArray:
    """Return the array with values that cannot be computed."""
    lazy = da.zeros_like(da.from_array(like.values, chunks=(-1, 8, 8))).map_blocks(never, dtype=like.dtype)
    return like.copy(data=lazy)


@pytest.mark.parametrize("what", ["scene", "guide"])
def test_nothing_is_computed_before_compute(what: str) -> None:
    sample = synthetic.make((24, 31), bands=3)
    scene, guide = synthetic.as_dataarray(sample), synthetic.as_dataarray(sample, "guide")
    sharp = bomb(scene).dualsr.upscale(rgb=guide) if what == "scene" else scene.dualsr.upscale(rgb=bomb(guide))
    part = sharp[:, :8, :8]
    with pytest.raises(RuntimeError, match="computed"):
        part.compute()


def test_degrade_is_lazy() -> None:
    small = bomb(synthetic.as_dataarray(synthetic.make((24, 31), bands=3))).dualsr.degrade(scale=3)
    assert small.shape == (3, 8, 10)
    with pytest.raises(RuntimeError, match="computed"):
        small.compute()


@pytest.mark.parametrize("form", ["raw", "raw dask"])
def test_keys_follow_from_the_inputs(form: str, pair: tuple[Path, Path]) -> None:
    def name(**changes: Any) -> str:
        scene = opened(pair[0], **FORMS[form]).compute() if form == "raw" else opened(pair[0], **FORMS[form])
        return str(scene.dualsr.upscale(rgb=str(pair[1]), **changes).data.name)

    if form == "raw dask":
        # rioxarray gives the chunks of a file new names whenever it opens the file.
        scene = opened(pair[0], **FORMS[form])
        names = [scene.dualsr.upscale(rgb=str(pair[1])).data.name for _ in range(2)]
        assert names[0] == names[1]
        return
    assert name() == name()
    assert len({name(), name(psf=PSF), name(fine="none"), name(model="bicubic"), name(coregister="off")}) == 5


def test_a_part_is_computed_without_the_rest(pair: tuple[Path, Path], stored: NDArray[np.uint16]) -> None:
    sharp = opened(pair[0]).dualsr.upscale(rgb=pair[1], psf=PSF, tile=8)
    part = sharp[:, 40:50, 3:20]
    graph = dask.optimize(part.data)[0].__dask_graph__()
    assert len(dict(graph)) < len(dict(sharp.data.__dask_graph__()))
    assert np.abs(part.values.astype(int) - stored[:, 40:50, 3:20]).max() <= 1


# ---- datasets and stacks -----------------------------------------------------------------


def test_a_dataset_of_bands_is_one_scene(pair: tuple[Path, Path], stored: NDArray[np.uint16]) -> None:
    scene = opened(pair[0])
    bands = xr.Dataset(
        {f"B{i}": scene[i].drop_vars("band").assign_attrs(name=f"B{i}") for i in range(4)}, attrs={"title": "x"}
    )
    sharp = bands.dualsr.upscale(rgb=pair[1], psf=PSF)
    assert list(sharp.data_vars) == ["B0", "B1", "B2", "B3"]
    assert sharp.attrs["title"] == "x"
    assert sharp.attrs["dualsr_model"].startswith("auto")
    assert not any(name.startswith("dualsr_") for band in sharp.values() for name in band.attrs)
    for i, (name, band) in enumerate(sharp.items()):
        np.testing.assert_array_equal(band.values, stored[i])
        assert band.dims == ("y", "x")
        assert band.attrs["name"] == name
    assert sharp.rio.crs == scene.rio.crs


def test_each_band_of_a_dataset_keeps_its_packing(pair: tuple[Path, Path]) -> None:
    scene = opened(pair[0], mask_and_scale=True)
    plain = scene.dualsr.upscale(rgb=pair[1], psf=PSF)
    values = {f"B{i}": scene[i].drop_vars("band") for i in range(4)}
    for i, band in enumerate(values.values()):
        band.encoding = {"dtype": "uint16", "scale_factor": 1e-4 * (i + 1), "_FillValue": 65535}
    sharp = xr.Dataset(values).dualsr.upscale(rgb=pair[1], psf=PSF)
    for i, band in enumerate(sharp.values()):
        np.testing.assert_allclose(band.values, plain[i].values, atol=1e-4 * (i + 2))
        assert band.encoding["scale_factor"] == pytest.approx(1e-4 * (i + 1))


def test_a_dataset_of_one_cube_is_that_cube(pair: tuple[Path, Path], stored: NDArray[np.uint16]) -> None:
    scene = opened(pair[0])
    sharp = scene.to_dataset(name="refl").dualsr.upscale(rgb=opened(pair[1]).to_dataset(name="rgb"), psf=PSF)
    np.testing.assert_array_equal(sharp["refl"].values, stored)
    assert sharp.refl.rio.crs == scene.rio.crs


def test_a_stack_of_dates_is_sharpened_date_by_date(pair: tuple[Path, Path], stored: NDArray[np.uint16]) -> None:
    scene = opened(pair[0])
    times = np.array(["2024-05-01", "2024-06-01"], "datetime64[ns]")
    stack = xr.concat([scene, scene[:, ::-1].assign_coords(y=scene.y)], dim=xr.Variable("time", times))
    rgb = opened(pair[1])
    guides = xr.concat([rgb, rgb[:, ::-1].assign_coords(y=rgb.y)], dim=xr.Variable("time", times))
    sharp = stack.dualsr.upscale(rgb=guides, psf=PSF)
    assert sharp.dims == ("time", "band", "y", "x")
    np.testing.assert_array_equal(sharp.time, times)
    np.testing.assert_array_equal(sharp[0].values, stored)
    second = stack.isel(time=1).dualsr.upscale(rgb=guides.isel(time=1), psf=PSF)
    np.testing.assert_array_equal(sharp[1].values, second.values)
    assert sharp.rio.crs == scene.rio.crs
    assert sharp.rio.transform() == scene.rio.transform() @ scene.rio.transform().scale(0.25)
    assert sharp.encoding.get("_FillValue", sharp.attrs.get("_FillValue")) == 65535
    one_guide = stack.dualsr.upscale(rgb=rgb, psf=PSF)
    np.testing.assert_array_equal(one_guide[0].values, stored)


def test_a_dataset_of_stacked_bands_works(pair: tuple[Path, Path], stored: NDArray[np.uint16]) -> None:
    scene = opened(pair[0])
    stack = xr.concat([scene, scene], dim="time")
    bands = xr.Dataset({f"B{i}": stack.isel(band=i, drop=True) for i in range(4)})
    sharp = bands.dualsr.upscale(rgb=pair[1], psf=PSF)
    assert sharp["B2"].dims == ("time", "y", "x")
    np.testing.assert_array_equal(sharp["B2"].values[1], stored[2])


@pytest.mark.parametrize("form", ["bands", "cube"])
def test_a_dataset_with_uncertainty_is_planned_once(
    form: str, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dualsr_geo.engine import plan

    scene, whole, planned = opened(pair[0]), plan.plan_run, []
    monkeypatch.setattr(plan, "plan_run", lambda *args: planned.append(args) or whole(*args))
    names = [f"B{i}" for i in range(4)] if form == "bands" else ["refl"]
    variables = (
        {name: scene.isel(band=i, drop=True) for i, name in enumerate(names)} if form == "bands" else {"refl": scene}
    )
    sharp = xr.Dataset(variables).dualsr.upscale(rgb=pair[1], psf=PSF, uncertainty=True)
    assert len(planned) == 1
    assert list(sharp.data_vars) == [*names, *(f"{name}_uncertainty" for name in names)]
    for name in names:
        assert sharp[name].attrs["ancillary_variables"] == f"{name}_uncertainty"
        assert sharp[f"{name}_uncertainty"].attrs["long_name"] == f"standard deviation of the error of {name}"


# ---- degrade and mistakes ----------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_degrade_equals_the_command(form: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    from dualsr_geo.engine.degrade_raster import degrade

    degrade(pair[0], tmp_path / "cli.tif", scale=5, mtf_gain=0.25)
    small = opened(pair[0], **FORMS[form]).dualsr.degrade(scale=5, mtf_gain=0.25)
    small.rio.to_raster(tmp_path / "array.tif")
    with rasterio.open(tmp_path / "cli.tif") as want, rasterio.open(tmp_path / "array.tif") as got:
        np.testing.assert_array_equal(got.read(), want.read())
        assert got.transform == want.transform
        assert got.nodata == want.nodata


def test_mistakes_are_reported_before_compute(pair: tuple[Path, Path]) -> None:
    scene, guide = opened(pair[0]), opened(pair[1])
    with pytest.raises(ScaleError, match="--scale 1 "):
        scene.dualsr.upscale(scale=1)
    with pytest.raises(ScaleError, match="up to --scale 4"):
        scene.dualsr.upscale(scale=5, rgb=guide)
    with pytest.raises(ScaleError, match="Give --scale"):
        scene.dualsr.upscale()
    with pytest.raises(BandError, match="band 9, .* 1 to 4"):
        scene.dualsr.upscale(scale=2, bidx="9")
    with pytest.raises(GridError, match="do not overlap"):
        scene.dualsr.upscale(rgb=guide.assign_coords(x=guide.x + 9000).rio.write_transform())
    with pytest.raises(OptionError, match="magic"):
        scene.dualsr.upscale(scale=2, model="magic")
    with pytest.raises(TypeError, match="scael"):
        scene.dualsr.upscale(scael=2)
    with pytest.raises(ScaleError, match="25 cannot degrade 24 x 31"):
        scene.dualsr.degrade(scale=25)
    with pytest.raises(InputError, match="complex64"):
        scene.astype("complex64").dualsr.upscale(scale=2)
    with pytest.raises(InputError, match="no variable|on a grid|dimensions"):
        xr.Dataset({"a": ("time", [1.0, 2.0])}).dualsr.upscale(scale=2)
    with pytest.raises(InputError, match="no variable|on a grid|dimensions"):
        xr.Dataset().dualsr.upscale(scale=2)


def test_an_empty_scene_fails_when_computed(pair: tuple[Path, Path]) -> None:
    scene = opened(pair[0])
    with pytest.raises(InputError, match="no valid pixel in 744"):
        scene.copy(data=np.full_like(scene.values, 65535)).dualsr.upscale(scale=2).compute()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, dualsr_geo; print(sorted({'torch', 'rasterio', 'scipy', 'skimage', 'zarr'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- quicklooks and scores ---------------------------------------------------------------


def test_a_quicklook_shows_the_visible_bands_and_no_nodata():
    cube = synthetic.as_dataarray(synthetic.make((30, 41), bands=31, seed=1)).copy()
    cube[:, 4:9, 20:] = np.nan
    picture = cube.dualsr.quicklook()
    assert picture.size == (41, 30)
    pixels = np.asarray(picture.convert("RGBA"))
    assert (pixels[4:9, 20:, 3] == 0).all()
    assert (pixels[10:, :, 3] == 255).all()
    # Red is the band nearest to 640 nm.
    red = cube.values[np.abs(cube.wavelength.values - 640).argmin()]
    valid = np.isfinite(red)
    assert np.corrcoef(pixels[..., 0][valid], red[valid])[0, 1] > 0.95


def test_a_quicklook_has_the_bands_and_the_length_of_its_arguments():
    cube = synthetic.as_dataarray(synthetic.make((60, 30), bands=5, seed=1)).chunk(x=10)
    assert cube.dualsr.quicklook([3], longest=20).size == (10, 20)
    assert cube.dualsr.quicklook([5, 3, 1]).size == (30, 60)
    variables = xr.Dataset({f"b{i}": cube.isel(band=i, drop=True) for i in range(5)})
    assert variables.dualsr.quicklook(longest=30).size == (15, 30)


def test_invalid_bands_and_several_dates_are_errors():
    cube = synthetic.as_dataarray(synthetic.make((20, 20), bands=5, seed=1))
    for bands in ([0, 1, 2], [1, 2], [6]):
        with pytest.raises(BandError, match=r"within 1\.\.5"):
            cube.dualsr.quicklook(bands)
    dates = xr.concat([cube, cube], dim="time")
    for call in (dates.dualsr.quicklook, lambda: dates.dualsr.evaluate(scale=2)):
        with pytest.raises(InputError, match=r"2 dates.*isel\(time=0\)"):
            call()
