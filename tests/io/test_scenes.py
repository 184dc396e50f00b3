"""Whatever GDAL, xarray or Zarr opens becomes a scene."""

import os
import pickle
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
import zarr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from dualsr_geo._compat import is_in_memory
from dualsr_geo.errors import BandError, DualSRWarning, InputError, OptionError
from dualsr_geo.io.readers.dataset_cache import MAX_OPEN_DATASETS, _datasets, open_quietly
from dualsr_geo.io.readers.references import opening
from dualsr_geo.io.scenes import ArraySource, RasterSource, Scene, ZarrSource, open_scene, preview
from dualsr_geo.raster.georeferencing import geobox_of
from dualsr_geo.raster.packing import Decoding
from dualsr_geo.raster.windows import Window

UTM = Affine(30, 0, 364095, 0, -30, 5809965)
WAVELENGTHS = (450.5, 550.0, 650.25)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def whole(scene: Scene) -> NDArray[np.float32]:
    return scene.source.read(Window(0, scene.shape[0], 0, scene.shape[1]))


def write(path: Path, values: NDArray[Any], **options: Any) -> str:
    """Write (band, y, x) with rasterio; `edit` gets the open dataset."""
    edit: Callable[[Any], None] = options.pop("edit", lambda _: None)
    profile = {"driver": "GTiff", "crs": "EPSG:32633", "transform": UTM, **options}
    count, height, width = values.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", count=count, height=height, width=width, dtype=values.dtype, **profile
        ) as dataset:
            dataset.write(values)
            edit(dataset)
    return str(path)


def through_xarray(path: str | Path, **options: Any) -> xr.DataArray:
    array = rioxarray.open_rasterio(path, **options)
    assert isinstance(array, xr.DataArray)
    return array


def cube(rng: np.random.Generator, dtype: str = "int16", shape: tuple[int, int, int] = (3, 17, 23)) -> Any:
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    low, high = (max(info.min + 1, -20000), min(info.max, 20000)) if info else (0, 1)
    return (rng.random(shape) * (high - low) + low).astype(dtype)


# What rasters say


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_every_type_is_read_as_gdal_reads_it(tmp_path: Path, rng: np.random.Generator, dtype: str) -> None:
    values = cube(rng, dtype)
    scene = open_scene(write(tmp_path / "a.tif", values))
    np.testing.assert_array_equal(whole(scene), values.astype("float32"))
    assert scene.packing.dtype == dtype
    assert scene.packing.nodata is None
    assert (scene.shape, scene.count, scene.source.shape, scene.name) == ((17, 23), 3, (3, 17, 23), "a")
    assert scene.geobox == GeoBox((17, 23), UTM, CRS("EPSG:32633"))


def test_scale_offset_and_nodata_give_physical_values(tmp_path: Path, rng: np.random.Generator) -> None:
    values = cube(rng)
    values[0, 3, 4] = values[2, 5, 6] = -32768

    def pack(dataset: Any) -> None:
        dataset.scales, dataset.offsets = (1e-4, 2e-4, 1.0), (0.0, 0.1, -5.0)
        dataset.descriptions, dataset.units = ("blue", "green", "red"), ("1", "1", "K")

    scene = open_scene(write(tmp_path / "a.tif", values, nodata=-32768, edit=pack))
    got = whole(scene)
    scales, offsets = (np.reshape(v, (3, 1, 1)) for v in ((1e-4, 2e-4, 1.0), (0.0, 0.1, -5.0)))
    wanted = np.where(values == -32768, np.nan, values * scales + offsets).astype("float32")
    np.testing.assert_array_equal(got, wanted)
    assert np.isnan(got).sum() == 2
    assert scene.packing.scales == (1e-4, 2e-4, 1.0)
    assert scene.packing.nodata == -32768
    assert [b.name for b in scene.bands] == ["blue", "green", "red"]
    assert [b.unit for b in scene.bands] == ["1", "1", "K"]


@given(st.data())
def test_any_window_and_any_bands_are_the_slice_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / "windows.tif"
    if not path.exists():
        write(
            path,
            cube(np.random.default_rng(1), "uint16", (4, 19, 33)),
            blockxsize=16,
            blockysize=16,
            tiled=True,
        )
        through_xarray(path).rename("v").to_dataset().to_zarr(folder / "windows.zarr", zarr_format=2)
    where = data.draw(st.sampled_from([path, folder / "windows.zarr", through_xarray(path)]))
    scene = open_scene(where)
    y0, x0 = data.draw(st.integers(0, 18)), data.draw(st.integers(0, 32))
    window = Window(y0, data.draw(st.integers(y0 + 1, 19)), x0, data.draw(st.integers(x0 + 1, 33)))
    bands = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))
    with rasterio.open(path) as dataset:
        wanted = dataset.read().astype("float32")[bands][:, *window.slices]
    np.testing.assert_array_equal(scene.source.read(window, bands), wanted)
    chosen = scene.select(bands)
    np.testing.assert_array_equal(chosen.source.read(window), wanted)
    assert chosen.bands == tuple(scene.bands[i] for i in bands)


def test_bidx_takes_bands_as_rio_does(tmp_path: Path, rng: np.random.Generator) -> None:
    values = cube(rng, "uint16", (5, 7, 9))
    path = write(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(whole(open_scene(path, bidx="4,1..2")), values[[3, 0, 1]])
    with pytest.raises(BandError, match="--bidx names band 6, but the scene has bands 1 to 5"):
        open_scene(path, bidx="6")
    array = through_xarray(path)
    np.testing.assert_array_equal(whole(open_scene(array, bidx="5,3")), values[[4, 2]])


def spectral_edit(domain: str | None, items: list[dict[str, str]]) -> Callable[[Any], None]:
    def edit(dataset: Any) -> None:
        for i, tags in enumerate(items, 1):
            dataset.update_tags(i, ns=domain, **tags)

    return edit


@pytest.mark.parametrize(
    ("domain", "keys", "factor"),
    [
        ("IMAGERY", ("CENTRAL_WAVELENGTH_UM", "FWHM_UM", ""), 1e-3),
        (None, ("wavelength", "fwhm", "Nanometers"), 1),
        (None, ("WAVELENGTH", "FWHM", "um"), 1e-3),
        (None, ("wavelength", "fwhm", ""), 1),
        (None, ("wavelength", "fwhm", ""), 1e-3),
    ],
)
def test_wavelengths_from_tags(
    tmp_path: Path, rng: np.random.Generator, domain: str | None, keys: tuple[str, str, str], factor: float
) -> None:
    unit = {"wavelength_units": keys[2]} if keys[2] else {}
    items = [{keys[0]: f"{w * factor:.9g}", keys[1]: f"{7.5 * factor:.9g}", **unit} for w in WAVELENGTHS]
    scene = open_scene(write(tmp_path / "a.tif", cube(rng), edit=spectral_edit(domain, items)))
    assert tuple(b.wavelength_nm for b in scene.bands) == WAVELENGTHS
    assert {b.fwhm_nm for b in scene.bands} == {7.5}


def test_the_imagery_domain_wins_and_the_tags_complete_it(tmp_path: Path, rng: np.random.Generator) -> None:
    def edit(dataset: Any) -> None:
        dataset.update_tags(1, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.5")
        dataset.update_tags(1, wavelength="999", fwhm="6", bbl="0")
        dataset.update_tags(2, wavelength="1000", wavelength_units="Wavenumber")

    one, two, three = open_scene(write(tmp_path / "a.tif", cube(rng), edit=edit)).bands
    assert (one.wavelength_nm, one.fwhm_nm, one.good) == (500.0, 6.0, False)
    assert one.tags == {"wavelength": "999", "fwhm": "6", "bbl": "0"}
    assert (two.wavelength_nm, three.wavelength_nm, three.good) == (None, None, True)


def envi(folder: Path, values: NDArray[Any], **items: str) -> Path:
    path = folder / "cube.img"
    write(path, values, driver="ENVI")
    header = path.with_suffix(".hdr")
    lines = [f"{k.replace('_', ' ')} = {v}" for k, v in items.items()]
    header.write_text(header.read_text() + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(("unit", "factor"), [("Nanometers", 1.0), ("Micrometers", 1e-3)])
def test_envi_header(tmp_path: Path, rng: np.random.Generator, unit: str, factor: float) -> None:
    values = cube(rng, "int16")
    path = envi(
        tmp_path,
        values,
        wavelength_units=unit,
        wavelength="{" + ", ".join(f"{w * factor:.9g}" for w in WAVELENGTHS) + "}",
        fwhm="{" + ", ".join(f"{9 * factor:.9g}" for _ in WAVELENGTHS) + "}",
        bbl="{1, 0, 1}",
        reflectance_scale_factor="10000",
    )
    for where in (path, path.with_suffix(".hdr")):
        scene = open_scene(where)
        np.testing.assert_allclose(whole(scene), values / 10000, rtol=1e-7)
        assert scene.packing.scales == (1e-4,) * 3
        assert tuple(b.wavelength_nm for b in scene.bands) == WAVELENGTHS
        assert [b.fwhm_nm for b in scene.bands] == [9.0] * 3
        assert [b.good for b in scene.bands] == [True, False, True]
        # Written into a product these would be read as facts about it.
        assert not {"reflectance_scale_factor", "samples", "map_info"} & set(scene.tags.get("ENVI", {}))


def test_tags_worth_carrying_come_along(tmp_path: Path, rng: np.random.Generator) -> None:
    def edit(dataset: Any) -> None:
        dataset.update_tags(AREA_OR_POINT="Point", ACQUIRED="2022-07-24")
        dataset.update_tags(ns="MINE", sun="45")

    tags = open_scene(write(tmp_path / "a.tif", cube(rng), edit=edit)).tags
    assert tags == {"": {"AREA_OR_POINT": "Point", "ACQUIRED": "2022-07-24"}, "MINE": {"sun": "45"}}


@pytest.mark.parametrize(
    "transform", [UTM @ Affine.rotation(20), Affine(30, 0, 5e5, 0, 30, 4e6), Affine(2, 0, 1, 0, -3, 9)]
)
def test_rotated_south_up_and_oblong_grids_pass(tmp_path: Path, rng: np.random.Generator, transform: Affine) -> None:
    path = write(tmp_path / "a.tif", cube(rng), transform=transform)
    with rasterio.open(path) as dataset:
        stated = dataset.transform
    assert open_scene(path).geobox.affine == stated
    assert open_scene(through_xarray(path)).geobox.affine == stated


@pytest.mark.parametrize(("driver", "name"), [("PNG", "a.png"), ("GTiff", "a.tif"), ("ENVI", "a.img")])
def test_a_bare_picture_has_no_crs_and_warns_nobody(
    tmp_path: Path, rng: np.random.Generator, driver: str, name: str
) -> None:
    path = write(tmp_path / name, cube(rng, "uint8"), driver=driver, crs=None, transform=Affine.identity())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scene = open_scene(path)
        whole(scene)
    assert scene.geobox.crs is None
    assert scene.geobox.affine == Affine.identity()


# What is not valid


def test_given_nodata_replaces_the_stated_one(tmp_path: Path, rng: np.random.Generator) -> None:
    values = cube(rng, "uint16")
    values[0, 0, 0], values[1, 1, 1] = 7, 9
    path = write(tmp_path / "a.tif", values, nodata=7)
    assert np.argwhere(np.isnan(whole(open_scene(path)))).tolist() == np.argwhere(values == 7).tolist()
    scene = open_scene(path, nodata=9)
    assert np.argwhere(np.isnan(whole(scene))).tolist() == np.argwhere(values == 9).tolist()
    assert scene.packing.nodata == 9
    with pytest.raises(OptionError, match="--nodata -9999 does not fit uint16"):
        open_scene(path, nodata=-9999)


def test_nan_and_infinity_are_invalid_whatever_the_nodata(tmp_path: Path, rng: np.random.Generator) -> None:
    values = cube(rng, "float32")
    values[0, 1, 2], values[1, 2, 3], values[2, 3, 4] = np.nan, np.inf, -9999
    got = whole(open_scene(write(tmp_path / "a.tif", values, nodata=-9999)))
    assert np.argwhere(np.isnan(got)).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]


def test_a_rounded_float_nodata_is_still_nodata() -> None:
    stored = np.array([[[-3.4028235e38, -3.4028231e38, -9999.0, 0.5]]], dtype="float32")
    decoding = Decoding((1.0,), (0.0,), (-3.4028230607370965e38,))
    np.testing.assert_array_equal(np.isnan(decoding.physical(stored, [0])), [[[True, True, False, False]]])


def vrt(path: Path, source: str, extra: str, data_type: str = "Byte") -> str:
    with rasterio.open(source) as dataset:
        (height, width), count = dataset.shape, dataset.count
    bands = "".join(
        f'<VRTRasterBand dataType="{data_type}" band="{i}">{extra}<SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{source}</SourceFilename><SourceBand>{i}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for i in range(1, count + 1)
    )
    path.write_text(f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{bands}</VRTDataset>')
    return str(path)


@pytest.mark.parametrize(("nodata", "text"), [(-9999, "-9999"), (np.nan, "nan"), (0.5, "0.5")])
def test_nodata_that_the_type_cannot_hold_is_ignored_with_a_warning(
    rng: np.random.Generator, nodata: float, text: str
) -> None:
    values = cube(rng, "uint8")
    array = xr.DataArray(values, dims=("band", "y", "x"), attrs={"_FillValue": nodata})
    with pytest.warns(DualSRWarning, match=f"nodata {text}, which uint8 cannot hold; it is ignored"):
        scene = open_scene(array)
    assert scene.packing.nodata is None
    np.testing.assert_array_equal(whole(scene), values)


def test_internal_and_sidecar_masks_hold_for_all_bands(tmp_path: Path, rng: np.random.Generator) -> None:
    values = cube(rng, "uint16")
    valid = rng.random((17, 23)) > 0.3
    for internal in (True, False):
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
            path = write(tmp_path / f"{internal}.tif", values, edit=lambda d: d.write_mask(valid))
        assert os.path.exists(path + ".msk") is not internal
        wanted = np.where(valid, values, np.nan)
        np.testing.assert_array_equal(whole(open_scene(path)), wanted)
        np.testing.assert_array_equal(open_scene(path).source.read(Window(3, 9, 4, 8), [2])[0], wanted[2, 3:9, 4:8])


def test_an_alpha_band_is_a_mask_and_no_band(tmp_path: Path, rng: np.random.Generator) -> None:
    values = cube(rng, "uint8", (4, 17, 23))
    values[3] = np.where(rng.random((17, 23)) > 0.4, 255, 0)
    path = write(tmp_path / "a.tif", values, photometric="RGB", alpha="YES")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scene = open_scene(path)
    assert [b.color for b in scene.bands] == ["red", "green", "blue"]
    np.testing.assert_array_equal(whole(scene), np.where(values[3] > 0, values[:3], np.nan))


def test_an_infrared_band_marked_as_alpha_is_reported_and_can_be_selected(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    values = cube(rng, "uint8", (4, 17, 23))
    path = write(tmp_path / "a.tif", values)
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[3] == ColorInterp.alpha, "GDAL's trap is gone"
    with pytest.warns(DualSRWarning, match=r"Band 4 is marked as alpha .* give --bidx 1\.\.4"):
        assert open_scene(path).count == 3
    np.testing.assert_array_equal(whole(open_scene(path, bidx="1..4")), values)


def test_a_raster_is_opened_once_whatever_bands_and_sensor_are_given(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = cube(rng, "uint16", (8, 17, 23))
    path = write(tmp_path / "a.tif", values, transform=Affine(2, 0, 364095, 0, -2, 5809965))
    opened = []
    monkeypatch.setattr(opening, "open_quietly", lambda uri, *a: opened.append(uri) or open_quietly(uri, *a))
    scene = open_scene(path, bidx="8,2", sensor="worldview-2")
    assert opened == [path]
    assert [b.wavelength_nm for b in scene.bands] == [923.4, 479.1]
    assert scene.sensor is not None
    assert scene.sensor.mtf_gains == (0.27, 0.35)
    np.testing.assert_array_equal(whole(scene), values[[7, 1]])


def test_a_band_marked_as_alpha_is_one_of_the_sensor_where_bidx_names_it(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    values = cube(rng, "uint8", (8, 17, 23))

    def mark(dataset: Any) -> None:
        dataset.colorinterp = [ColorInterp.gray, *[ColorInterp.undefined] * 6, ColorInterp.alpha]

    path = write(tmp_path / "a.tif", values, transform=Affine(2, 0, 364095, 0, -2, 5809965), edit=mark)
    scene = open_scene(path, bidx="8,1", sensor="worldview-2")
    np.testing.assert_array_equal(whole(scene), values[[7, 0]])
    assert [b.wavelength_nm for b in scene.bands] == [923.4, 428.3]


def test_masks_may_differ_by_band(tmp_path: Path, rng: np.random.Generator) -> None:
    values = cube(rng, "uint8")
    source = write(tmp_path / "a.tif", values, crs=None, transform=Affine.identity())
    mask = write(tmp_path / "m.tif", (values > 60).astype("uint8") * 255, crs=None, transform=Affine.identity())
    text = Path(vrt(tmp_path / "a.vrt", source, "")).read_text()
    for i in (1, 2, 3):
        own = (
            f'<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="0">{mask}'
            f"</SourceFilename><SourceBand>{i}</SourceBand></SimpleSource></VRTRasterBand></MaskBand>"
        )
        head = f'<VRTRasterBand dataType="Byte" band="{i}">'
        text = text.replace(head, head + own)
    (tmp_path / "a.vrt").write_text(text)
    np.testing.assert_array_equal(whole(open_scene(tmp_path / "a.vrt")), np.where(values > 60, values, np.nan))


# What is refused


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"nowhere/scene\.tif does not exist"):
        open_scene("nowhere/scene.tif")


def test_a_colon_in_a_file_name_is_no_subdataset(tmp_path: Path, rng: np.random.Generator) -> None:
    values = cube(rng)
    write(tmp_path / "T10:45.tif", values)
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        scene = open_scene("T10:45.tif")
    finally:
        os.chdir(here)
    # Workers may run in another folder.
    np.testing.assert_array_equal(whole(scene), values)


def test_a_damaged_zarr_group_is_one_line(tmp_path: Path, rng: np.random.Generator) -> None:
    cf_zarr(tmp_path / "a.zarr", cube(rng), version=3)
    (tmp_path / "a.zarr" / "zarr.json").write_text('{"zarr_form')
    with pytest.raises(InputError, match=r"a\.zarr cannot be opened as a Zarr group"):
        open_scene(tmp_path / "a.zarr")


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "note.tif"
    path.write_text("no picture")
    with pytest.raises(InputError, match=r"note\.tif cannot be opened: .*Give a raster") as caught:
        open_scene(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("interleave", ["band", "pixel"])
def test_a_truncated_tiff_is_found_at_once(tmp_path: Path, rng: np.random.Generator, interleave: str) -> None:
    path = write(
        tmp_path / "a.tif", cube(rng, "float32", (4, 150, 170)), interleave=interleave, tiled=True,
        blockxsize=64, blockysize=64,
    )  # fmt: skip
    os.truncate(path, os.path.getsize(path) - 2000)
    with pytest.raises(InputError, match=r"a\.tif: rows 128 to 150, columns 128 to 170 cannot be read"):
        open_scene(path)


def test_a_truncated_raw_file_is_found_at_once(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write(tmp_path / "a.img", cube(rng, "float32"), driver="ENVI")
    os.truncate(path, 1000)
    with pytest.raises(InputError, match=r"a\.img cannot be opened"):
        open_scene(path)


@pytest.mark.parametrize("dtype", ["complex64", "complex_int16"])
def test_complex_values_are_refused_by_name(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=5, width=7, count=1, dtype=dtype, transform=UTM, crs="EPSG:32633"
    ):
        pass
    with pytest.raises(InputError, match=f"holds values of type {dtype}"):
        open_scene(path)


def test_ground_control_points_without_a_grid_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    points = [GroundControlPoint(r, c, 10 + c, 50 - r) for r, c in ((0, 0), (5, 0), (0, 7), (5, 7))]
    path = write(tmp_path / "a.tif", cube(rng, "uint8"), transform=Affine.identity(), crs="EPSG:4326", gcps=points)
    with pytest.raises(InputError, match="located by 4 ground control points"):
        open_scene(path)


def test_label_maps_are_reported(tmp_path: Path, rng: np.random.Generator) -> None:
    values = cube(rng, "uint8", (1, 7, 9))
    palette = write(
        tmp_path / "p.tif",
        values,
        photometric="palette",
        edit=lambda d: d.write_colormap(1, {0: (9, 9, 9, 255)}),
    )
    with pytest.warns(DualSRWarning, match="looks like a map of labels .colour table"):
        open_scene(palette)
    thematic = write(tmp_path / "t.tif", values, edit=lambda d: d.update_tags(1, LAYER_TYPE="thematic"))
    with pytest.warns(DualSRWarning, match="looks like a map of labels .LAYER_TYPE=thematic"):
        open_scene(thematic)


# NetCDF and HDF5


def cf_cube(rng: np.random.Generator, **coords: Any) -> xr.Dataset:
    values = rng.random((3, 17, 23)).astype("float32")
    return xr.Dataset(
        {"reflectance": (("band", "y", "x"), values, {"_FillValue": np.float32(-1)})},
        coords={"y": 4e6 - 30.0 * np.arange(17), "x": 5e5 + 30.0 * np.arange(23), **coords},
    )


@pytest.mark.parametrize(("unit", "factor"), [("nm", 1.0), ("um", 1e-3)])
def test_netcdf_wavelengths_of_another_variable(
    tmp_path: Path, rng: np.random.Generator, unit: str, factor: float
) -> None:
    pytest.importorskip("h5netcdf")
    listed = {
        "wavelength": ("band", [w * factor for w in WAVELENGTHS], {"units": unit}),
        "fwhm": ("band", [8 * factor] * 3),
        "good_wavelengths": ("band", [1.0, 0.0, 1.0]),
    }
    dataset = cf_cube(rng, **listed)
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    scene = open_scene(tmp_path / "a.nc")
    np.testing.assert_array_equal(whole(scene), dataset.reflectance)
    assert tuple(b.wavelength_nm for b in scene.bands) == WAVELENGTHS
    assert [b.fwhm_nm for b in scene.bands] == [8.0] * 3
    assert [b.good for b in scene.bands] == [True, False, True]
    assert scene.geobox == GeoBox((17, 23), Affine(30, 0, 499985, 0, -30, 4000015), None)


@pytest.mark.parametrize("sense", [-1, 1])
@pytest.mark.parametrize("attrs", [{}, {"axis": "Y", "standard_name": "projection_y_coordinate"}])
def test_netcdf_rows_are_where_their_coordinates_say(
    tmp_path: Path, rng: np.random.Generator, sense: int, attrs: dict[str, str]
) -> None:
    pytest.importorskip("h5netcdf")
    dataset = cf_cube(rng)
    dataset["y"] = ("y", 4e6 + sense * 30.0 * np.arange(17), attrs)
    dataset["x"].attrs.update({"axis": "X", "standard_name": "projection_x_coordinate"} if attrs else {})
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    scene = open_scene(tmp_path / "a.nc")
    values = whole(pickle.loads(pickle.dumps(scene)))
    for row, column in ((0, 0), (3, 20), (16, 7)):
        x, y = scene.geobox.affine @ (column + 0.5, row + 0.5)
        wanted = dataset.reflectance.sel(x=x, y=y, method="nearest", tolerance=0.01)
        np.testing.assert_array_equal(values[:, row, column], wanted)


def test_netcdf_wavelengths_as_the_dimension(tmp_path: Path, rng: np.random.Generator) -> None:
    pytest.importorskip("h5netcdf")
    dataset = cf_cube(rng).rename(band="wavelength").assign_coords(wavelength=list(WAVELENGTHS))
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    assert tuple(b.wavelength_nm for b in open_scene(tmp_path / "a.nc").bands) == WAVELENGTHS


def test_the_old_style_crs_attribute_is_understood(tmp_path: Path, rng: np.random.Generator) -> None:
    pytest.importorskip("h5netcdf")
    dataset = cf_cube(rng)
    dataset.reflectance.attrs["crs"] = "+init=epsg:32719"
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    assert open_scene(tmp_path / "a.nc").geobox.crs == CRS("EPSG:32719")
    assert open_scene(dataset).geobox.crs == CRS("EPSG:32719")


def test_the_only_subdataset_is_taken_and_several_are_listed(tmp_path: Path, rng: np.random.Generator) -> None:
    h5py = pytest.importorskip("h5py")
    values = cube(rng)
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["data/cube"], file["data/lines"], file["data/time"] = values, np.ones((9, 1)), np.ones((17, 1))
    np.testing.assert_array_equal(whole(open_scene(tmp_path / "one.h5")), values)
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for i in range(7):
            file[f"data/cube{i}"] = values[:, : 10 + i]
    with pytest.raises(InputError, match=r"holds 7 rasters.*cube6 \(16 x 23 px, bands: 3\).*and 2 more") as caught:
        open_scene(tmp_path / "many.h5")
    first = str(caught.value).split("scene: ")[1].split(" (")[0]
    np.testing.assert_array_equal(whole(open_scene(first)), values[:, :16])


# Zarr


def cf_zarr(path: Path, values: NDArray[Any], *, version: int, **attrs: Any) -> xr.Dataset:
    """Write as CF has it: packed values, grid mapping, band coordinates."""
    box = GeoBox(values.shape[1:], UTM, CRS("EPSG:32633"))
    mapping = {"crs_wkt": box.crs.to_wkt() if box.crs else "", "GeoTransform": "364095 30 0 5809965 0 -30"}
    dataset = xr.Dataset(
        {"cube": (("band", "y", "x"), values, {"grid_mapping": "spatial_ref", **attrs})},
        coords={
            "spatial_ref": ((), 0, mapping),
            "wavelength": ("band", np.array(WAVELENGTHS), {"units": "nm"}),
            "fwhm": ("band", np.array([8.0, 9.0, np.nan])),
            "good_band": ("band", np.array([1, 1, 0], dtype="int8")),
            "band_name": ("band", np.array(["b1", "b2", "b3"])),
            "y": UTM.f - 30 * (np.arange(values.shape[1]) + 0.5),
            "x": UTM.c + 30 * (np.arange(values.shape[2]) + 0.5),
        },
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.to_zarr(path, zarr_format=version, encoding={"cube": {"chunks": (2, 8, 8)}})
    return dataset


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_groups_give_physical_values_and_bands(tmp_path: Path, rng: np.random.Generator, version: int) -> None:
    values = cube(rng)
    values[1, 2, 3] = -32768
    cf_zarr(
        tmp_path / "a.zarr", values, version=version, _FillValue=np.int16(-32768), scale_factor=1e-4,
        add_offset=0.25, units="1", standard_name="surface_bidirectional_reflectance",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scene = open_scene(tmp_path / "a.zarr")
        got = whole(scene)
    assert isinstance(scene.source, ZarrSource)
    np.testing.assert_array_equal(got, np.where(values == -32768, np.nan, values * 1e-4 + 0.25).astype("float32"))
    assert scene.packing.scales == (1e-4,) * 3
    assert (scene.packing.dtype, scene.packing.nodata, scene.packing.offsets[0]) == ("int16", -32768, 0.25)
    assert scene.geobox == GeoBox((17, 23), UTM, CRS("EPSG:32633"))
    assert tuple(b.wavelength_nm for b in scene.bands) == WAVELENGTHS
    assert [b.fwhm_nm for b in scene.bands] == [8.0, 9.0, None]
    assert [b.good for b in scene.bands] == [True, True, False]
    assert [(b.name, b.unit) for b in scene.bands] == [("b1", "1"), ("b2", "1"), ("b3", "1")]
    assert scene.attrs == {"standard_name": "surface_bidirectional_reflectance"}
    assert scene.name == "a"


@pytest.mark.parametrize("order", [("y", "x", "band"), ("time", "band", "y", "x"), ("y", "x")])
def test_zarr_axes_in_any_order(tmp_path: Path, rng: np.random.Generator, order: tuple[str, ...]) -> None:
    values = xr.DataArray(cube(rng, "float32"), dims=("band", "y", "x"), name="v")
    stored = values[0] if "band" not in order else values.expand_dims("time")
    if "time" not in order and "band" in order:
        stored = stored[0]
    stored.transpose(*order).to_dataset().to_zarr(tmp_path / "a.zarr", zarr_format=2)
    scene = open_scene(tmp_path / "a.zarr")
    wanted = values.to_numpy()[: scene.count]
    np.testing.assert_array_equal(whole(scene), wanted)
    assert scene.count == (1 if order == ("y", "x") else 3)


def test_several_zarr_variables_are_listed_and_one_can_be_named(tmp_path: Path, rng: np.random.Generator) -> None:
    values = cube(rng, "float32")
    names = ("radiance", "reflectance")
    dataset = xr.Dataset({n: (("band", "y", "x"), values + i) for i, n in enumerate(names)})
    dataset["mask"] = (("y", "x"), values[0])
    dataset.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(InputError, match=r"holds 2 variables.*a\.zarr/radiance; .*a\.zarr/reflectance"):
        open_scene(tmp_path / "a.zarr")
    np.testing.assert_array_equal(whole(open_scene(tmp_path / "a.zarr" / "reflectance")), values + 1)


def test_a_zarr_group_without_a_grid_says_what_it_has(tmp_path: Path) -> None:
    xr.Dataset({"v": (("station", "time"), np.ones((3, 4)))}).to_zarr(tmp_path / "a.zarr", zarr_format=2)
    with pytest.raises(InputError, match=r"station \(3\), time \(4\)"):
        open_scene(tmp_path / "a.zarr")


def test_a_replaced_zarr_is_read_again(tmp_path: Path, rng: np.random.Generator) -> None:
    first, second = cube(rng, "float32"), cube(rng, "float64", (3, 17, 23))
    for values in (first, second):
        shutil.rmtree(tmp_path / "a.zarr", ignore_errors=True)
        cf_zarr(tmp_path / "a.zarr", values, version=3)
        np.testing.assert_array_equal(whole(open_scene(tmp_path / "a.zarr")), values.astype("float32"))


def test_a_damaged_zarr_chunk_is_reported_in_one_line(tmp_path: Path, rng: np.random.Generator) -> None:
    cf_zarr(tmp_path / "a.zarr", cube(rng), version=3)
    chunk = tmp_path / "a.zarr" / "cube" / "c" / "1" / "2" / "2"
    chunk.write_bytes(chunk.read_bytes()[:5])
    with pytest.raises(InputError, match=r"a\.zarr: `cube` cannot be read"):
        open_scene(tmp_path / "a.zarr")


# xarray


@pytest.mark.parametrize("options", [{}, {"masked": True}, {"mask_and_scale": True}, {"chunks": 8}])
@pytest.mark.parametrize("scales", [(1e-4,) * 3, (1e-4, 2e-4, 1.0)])
def test_rioxarray_arrays_equal_their_file_however_opened(
    tmp_path: Path, rng: np.random.Generator, options: dict[str, Any], scales: tuple[float, ...]
) -> None:
    values = cube(rng)
    values[1, 2, 3] = -32768

    def pack(dataset: Any) -> None:
        dataset.scales, dataset.offsets = scales, (0.0, 0.0, 0.0)
        dataset.descriptions = ("a", "b", "c")

    path = write(tmp_path / "a.tif", values, nodata=-32768, edit=pack)
    file = open_scene(path)
    with through_xarray(path, **options) as array:
        scene = open_scene(array)
        np.testing.assert_allclose(whole(scene), whole(file), rtol=2e-6)
        assert scene.packing == file.packing
        assert scene.geobox == file.geobox
        assert [b.name for b in scene.bands] == ["a", "b", "c"]
        turned = open_scene(array.isel(band=[2, 0]))
        np.testing.assert_allclose(whole(turned), whole(file)[[2, 0]], rtol=2e-6)
        assert turned.packing == file.packing.select((2, 0))
        assert [b.name for b in turned.bands] == ["c", "a"]


def test_scale_attributes_left_over_from_arithmetic_are_not_applied_again(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    values = cube(rng)
    path = write(tmp_path / "a.tif", values, edit=lambda d: setattr(d, "scales", (1e-4,) * 3))
    array = through_xarray(path)
    scaled = (array * np.float32(1e-4)).assign_attrs(array.attrs)
    assert scaled.attrs["scale_factor"] == 1e-4
    scene = open_scene(scaled)
    np.testing.assert_allclose(whole(scene), values * 1e-4, rtol=1e-6)
    assert (scene.packing.dtype, scene.packing.scales) == ("float32", (1.0,) * 3)


@pytest.mark.parametrize(
    "dims",
    [("band", "y", "x"), ("y", "x", "bands"), ("wavelength", "lat", "lon"), ("latitude", "longitude", "z")],
)
def test_dimensions_of_any_name_and_order(rng: np.random.Generator, dims: tuple[str, str, str]) -> None:
    values = cube(rng, "float32")
    order = ["y" if d[:3] in ("y", "lat") else "x" if d[:3] in ("x", "lon") else "band" for d in dims]
    array = xr.DataArray(values, dims=("band", "y", "x")).transpose(*order)
    scene = open_scene(xr.DataArray(array.values, dims=dims))
    assert isinstance(scene.source, ArraySource)
    assert scene.source.array.shape == (3, 17, 23)
    np.testing.assert_array_equal(whole(scene), values)


def test_cf_axis_attributes_name_the_spatial_dimensions(rng: np.random.Generator) -> None:
    coords = {
        "nord": ("nord", 9.0 - np.arange(9), {"axis": "Y"}),
        "ost": ("ost", np.arange(5.0), {"axis": "X"}),
    }
    scene = open_scene(xr.DataArray(rng.random((9, 5)), dims=("nord", "ost"), coords=coords))
    assert (scene.count, scene.shape) == (1, (9, 5))
    assert scene.geobox.affine == Affine(1, 0, -0.5, 0, -1, 9.5)


def test_unknown_or_too_many_dimensions_are_named(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="has the dimensions a, b, of which none are recognised as y and x"):
        open_scene(xr.DataArray(rng.random((3, 4)), dims=("a", "b")))
    with pytest.raises(InputError, match=r"time \(2\), band \(3\), y \(4\), x \(5\).*isel\(time=0\)"):
        open_scene(xr.DataArray(rng.random((2, 3, 4, 5)), dims=("time", "band", "y", "x")))
    with pytest.raises(InputError, match="holds values of type complex128"):
        open_scene(xr.DataArray(np.ones((3, 4), complex), dims=("y", "x")))


def test_wavelengths_from_coordinates_and_their_units(rng: np.random.Generator) -> None:
    array = xr.DataArray(
        rng.random((3, 4, 5)),
        dims=("band", "y", "x"),
        coords={
            "wavelength": ("band", np.array(WAVELENGTHS) / 1000, {"units": "um"}),
            "fwhm": ("band", [0.008] * 3),
            "good_wavelengths": ("band", [1, 1, 0]),
        },
    )
    scene = open_scene(array)
    assert tuple(b.wavelength_nm for b in scene.bands) == WAVELENGTHS
    assert [b.fwhm_nm for b in scene.bands] == [8.0] * 3
    assert [b.good for b in scene.bands] == [True, True, False]
    assert open_scene(array[1]).bands[0].wavelength_nm == WAVELENGTHS[1]
    renamed = array.drop_vars("wavelength").rename(band="wavelength").assign_coords(wavelength=list(WAVELENGTHS))
    assert tuple(b.wavelength_nm for b in open_scene(renamed).bands) == WAVELENGTHS


def test_an_envi_file_through_rioxarray_says_the_same_of_its_bands(tmp_path: Path, rng: np.random.Generator) -> None:
    path = envi(tmp_path, cube(rng), wavelength="{" + ", ".join(map(str, WAVELENGTHS)) + "}", bbl="{1, 0, 1}")
    with through_xarray(path) as array:
        scene = open_scene(array)
    wanted = [(b.wavelength_nm, b.good) for b in open_scene(path).bands]
    assert [(b.wavelength_nm, b.good) for b in scene.bands] == wanted == [(450.5, True), (550, False), (650.25, True)]
    assert not {"samples", "lines", "bbl", "Band_1", "wavelength"} & set(scene.attrs)


def test_a_dataset_of_one_variable_a_band(rng: np.random.Generator) -> None:
    values = cube(rng, "int16")
    values[0, 1, 1] = -1
    variables = {
        "red": (("y", "x"), values[0], {"scale_factor": 0.5, "_FillValue": -1, "wavelength": 650.0}),
        "nir": (("y", "x"), values[1], {"add_offset": 3.0, "units": "1", "wavelength": 850.0}),
    }
    coords = {"y": 100.0 - 10 * np.arange(17), "x": 10.0 * np.arange(23)}
    scene = open_scene(xr.Dataset({**variables, "spatial_ref": ((), 0, {"crs_wkt": "EPSG:32633"})}, coords))
    wanted = np.stack([np.where(values[0] == -1, np.nan, values[0] * 0.5), values[1] + 3.0])
    np.testing.assert_array_equal(whole(scene), wanted)
    assert [(b.name, b.wavelength_nm, b.unit) for b in scene.bands] == [
        ("red", 650.0, None),
        ("nir", 850.0, "1"),
    ]
    assert (scene.packing.scales, scene.packing.offsets, scene.packing.dtype) == (
        (0.5, 1.0),
        (0.0, 3.0),
        "int16",
    )
    assert scene.geobox == GeoBox((17, 23), Affine(10, 0, -5, 0, -10, 105), CRS("EPSG:32633"))


def test_variables_on_different_grids_are_refused(rng: np.random.Generator) -> None:
    a = xr.DataArray(rng.random((4, 5)), dims=("y", "x"))
    b = xr.DataArray(rng.random((4, 5)), dims=("lat", "lon"), coords={"lat": np.arange(4.0), "lon": np.arange(5.0)})
    with pytest.raises(InputError, match="are on different grids .a 4 x 5, b 4 x 5"):
        open_scene(xr.Dataset({"a": a, "b": b}))


# Georeferencing of xarray objects


def on_grid(transform: Affine, shape: tuple[int, int], dtype: str = "float64") -> xr.DataArray:
    rows, columns = shape
    return xr.DataArray(
        np.zeros((1, rows, columns), "float32"),
        dims=("band", "y", "x"),
        coords={
            "y": (transform.f + transform.e * (np.arange(rows) + 0.5)).astype(dtype),
            "x": (transform.c + transform.a * (np.arange(columns) + 0.5)).astype(dtype),
            "spatial_ref": ((), 0, {"GeoTransform": " ".join(repr(v) for v in transform.to_gdal())}),
        },
    )


@given(st.integers(0, 30), st.integers(0, 30), st.sampled_from([0.3, 1 / 3, 30.0]), st.sampled_from([1, -1]))
def test_a_stale_geotransform_is_moved_to_the_coordinates(row: int, column: int, size: float, sense: int) -> None:
    transform = Affine(size, 0, 499990.1, 0, sense * size, 4.2e6)
    part = on_grid(transform, (40, 50))[:, row:, column:]
    # To the last bit: what the affine algebra gives, not what rounded coordinates would.
    assert geobox_of(part, {}, "it").affine == transform @ Affine.translation(column, row)


def test_coordinates_rule_where_the_geotransform_cannot_be_moved() -> None:
    transform = Affine(30, 0, 5e5, 0, -30, 4.2e6)
    strided = on_grid(transform, (40, 50))[:, ::2, ::3]
    assert geobox_of(strided, {}, "it").affine == Affine(90, 0, 5e5 - 30, 0, -60, 4.2e6 + 15)


def test_float32_coordinates_do_not_spoil_a_stated_transform() -> None:
    transform = Affine(0.3, 0, 499990.1, 0, -0.3, 4200011.7)
    assert geobox_of(on_grid(transform, (40, 50), "float32"), {}, "it").affine == transform


def test_a_rotated_grid_is_moved_by_its_two_dimensional_coordinates(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write(tmp_path / "a.tif", cube(rng), transform=UTM @ Affine.rotation(20))
    with through_xarray(path) as array, rasterio.open(path) as dataset:
        part = open_scene(array[:, 4:9, 5:12])
        assert part.geobox.affine.almost_equals(dataset.transform @ Affine.translation(5, 4), 1e-6)


def test_coordinates_without_attributes_give_the_grid_and_degrees_give_the_crs() -> None:
    coords = {
        "lat": ("lat", 50 - 0.25 * np.arange(7), {"units": "degrees_north"}),
        "lon": ("lon", 10 + 0.5 * np.arange(9), {"units": "degrees_east"}),
    }
    box = open_scene(xr.DataArray(np.zeros((7, 9)), dims=("lat", "lon"), coords=coords)).geobox
    assert box == GeoBox((7, 9), Affine(0.5, 0, 9.75, 0, -0.25, 50.125), CRS("EPSG:4326"))


@pytest.mark.parametrize("coords", [{}, {"y": np.arange(4), "x": np.arange(5)}])
def test_pixel_numbers_are_no_place(coords: dict[str, Any]) -> None:
    box = open_scene(xr.DataArray(np.zeros((4, 5)), dims=("y", "x"), coords=coords)).geobox
    assert (box.crs, box.affine) == (None, Affine.identity())


def test_uneven_coordinates_are_refused_with_their_steps() -> None:
    array = xr.DataArray(np.zeros((4, 3)), dims=("y", "x"), coords={"y": [0.0, 1, 2, 4], "x": [0.0, 1, 2]})
    with pytest.raises(InputError, match="`y` is not evenly spaced, its steps go from 1 to 2"):
        open_scene(array)


def test_the_spatial_and_proj_conventions_suffice() -> None:
    attrs = {"spatial:transform": [10, 0, 7e5, 0, -10, 5e6], "proj:code": "EPSG:32631"}
    box = open_scene(xr.DataArray(np.zeros((4, 5)), dims=("y", "x"), attrs=attrs)).geobox
    assert box == GeoBox((4, 5), Affine(10, 0, 7e5, 0, -10, 5e6), CRS("EPSG:32631"))


def test_an_unknown_crs_is_quoted() -> None:
    array = xr.DataArray(np.zeros((4, 5)), dims=("y", "x"), attrs={"crs": "EPSG:99999"})
    with pytest.raises(InputError, match="the CRS 'EPSG:99999', which PROJ does not understand"):
        open_scene(array)


# Sources travel, and leave nothing open


def kinds(folder: Path, values: NDArray[Any]) -> list[Any]:
    path = write(folder / "a.tif", values)
    cf_zarr(folder / "a.zarr", values, version=3)
    return [path, folder / "a.zarr", through_xarray(path, chunks=8)]


def test_a_scene_survives_pickling_and_its_fingerprint_with_it(tmp_path: Path, rng: np.random.Generator) -> None:
    values = cube(rng)
    for where in kinds(tmp_path, values):
        scene = open_scene(where)
        whole(scene)
        copy = pickle.loads(pickle.dumps(scene))
        np.testing.assert_array_equal(whole(copy), values)
        assert copy.source.fingerprint() == scene.source.fingerprint()
        assert copy.geobox == scene.geobox
        if not isinstance(scene.source, ArraySource):
            assert len(pickle.dumps(scene)) < 20_000


def test_a_changed_file_has_another_fingerprint(tmp_path: Path, rng: np.random.Generator) -> None:
    path, store, _ = kinds(tmp_path, cube(rng))
    before = [open_scene(w).source.fingerprint() for w in (path, store)]
    os.utime(path, ns=(1, 1))
    os.utime(store / "cube" / "c" / "0" / "0" / "0", ns=(1, 2**62))
    assert [open_scene(w).source.fingerprint() == b for w, b in zip((path, store), before, strict=True)] == [False] * 2
    one, other = cube(rng), cube(rng)
    dims = ("band", "y", "x")
    prints = [open_scene(xr.DataArray(v, dims=dims)).source.fingerprint() for v in (one, one.copy(), other)]
    assert prints[0] == prints[1] != prints[2]


def test_bands_are_part_of_the_fingerprint(tmp_path: Path, rng: np.random.Generator) -> None:
    for where in kinds(tmp_path, cube(rng)):
        scene = open_scene(where)
        assert scene.select([0, 2]).source.fingerprint() != scene.select([0, 1]).source.fingerprint()


def test_a_fingerprint_does_not_read_what_xarray_has_not_read(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write(tmp_path / "a.tif", cube(rng))
    with through_xarray(path) as array:
        source = open_scene(array).source
        assert source.fingerprint()["size"] == os.path.getsize(path)
        assert isinstance(source, ArraySource)
        assert not is_in_memory(source.array.variable)


def test_open_datasets_are_few_and_a_replaced_file_is_opened_again(tmp_path: Path, rng: np.random.Generator) -> None:
    values = cube(rng)
    for i in range(MAX_OPEN_DATASETS + 3):
        open_scene(write(tmp_path / f"{i}.tif", values))
    assert len(_datasets.open) == MAX_OPEN_DATASETS
    scene = open_scene(tmp_path / "0.tif")
    write(tmp_path / "0.tif", values + 1)
    os.utime(tmp_path / "0.tif", ns=(5, 5))
    np.testing.assert_array_equal(whole(scene), values + 1)


def test_threads_read_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    values = cube(rng, "uint16", (5, 60, 70))
    wrong: list[str] = []
    for where in kinds(tmp_path, values[:3]):
        scene = open_scene(where)

        def check(scene: Scene = scene) -> None:
            for y in range(0, 60, 7):
                window = Window(y, min(y + 7, 60), 3, 66)
                if not np.array_equal(scene.source.read(window), values[:3, y : y + 7, 3:66]):
                    wrong.append(f"{scene.source} {y}")

        threads = [threading.Thread(target=check) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_dask_array_is_not_computed_by_opening(rng: np.random.Generator) -> None:
    dask_array = pytest.importorskip("dask.array")
    touched: list[tuple[Any, ...]] = []

    def block(block_info: Any = None) -> NDArray[Any]:
        touched.append(block_info[None]["chunk-location"])
        return np.ones((3, 8, 8), "float32")

    lazy = dask_array.map_blocks(block, chunks=((3,), (8, 8), (8, 8, 8)), dtype="float32", meta=np.empty(0))
    touched.clear()
    scene = open_scene(xr.DataArray(lazy, dims=("band", "y", "x")))
    assert touched == []
    assert scene.source.read(Window(2, 5, 9, 12)).shape == (3, 3, 3)
    assert touched == [(0, 0, 1)]


def test_a_preview_shows_where_data_is(tmp_path: Path) -> None:
    values = np.zeros((3, 40, 60), "int16")
    values[1, :, :30] = 5
    values[1, 20:, 30:] = -32768
    path = write(tmp_path / "a.tif", values, nodata=-32768)
    cf_zarr(tmp_path / "a.zarr", values, version=2, _FillValue=np.int16(-32768))
    for where in (path, tmp_path / "a.zarr", through_xarray(path)):
        scene = open_scene(where)
        thumbnail = preview(scene, 1, (4, 6))
        np.testing.assert_array_equal(thumbnail, [[5, 5, 5, 0, 0, 0]] * 2 + [[5, 5, 5, np.nan, np.nan, np.nan]] * 2)
        np.testing.assert_array_equal(preview(scene, 1, (100, 200)), whole(scene)[1])


def test_raster_sources_tell_their_files(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write(tmp_path / "a.tif", cube(rng, "uint8"), crs=None, transform=Affine.identity())
    scene = open_scene(vrt(tmp_path / "a.vrt", path, ""))
    assert isinstance(scene.source, RasterSource)
    assert {os.path.basename(f) for f in scene.source.files} == {"a.vrt", "a.tif"}


def test_zarr_sources_hold_no_array(tmp_path: Path, rng: np.random.Generator) -> None:
    cf_zarr(tmp_path / "a.zarr", cube(rng), version=3)
    source = open_scene(tmp_path / "a.zarr").source
    assert not any(isinstance(v, zarr.Array) for v in vars(source).values())
