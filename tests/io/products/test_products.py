"""Products as delivered: small ones in their providers' layouts, read against plain rasterio, h5py and scipy."""

import os
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import delivered
import h5py
import numpy as np
import pytest
import rasterio
import scipy.io
from click.testing import CliRunner

from dualsr_geo.cli import main
from dualsr_geo.engine.options import Options
from dualsr_geo.engine.preparation import dry_run
from dualsr_geo.engine.upscale import upscale
from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.describe import describe
from dualsr_geo.io.products import registry
from dualsr_geo.io.scenes import open_delivered, open_guides, open_scene
from dualsr_geo.raster import grid
from dualsr_geo.raster.windows import Window


def whole(scene):
    height, width = scene.shape
    return scene.source.read(Window(0, height, 0, width))


def plane(path):
    with rasterio.open(path) as file:
        return file.read(1)


def cave(folder, name="scene", version=5, count=31, shape=(33, 47), **more):
    """A cube (y, x, band) as MATLAB has it; CAVE and Harvard have 31 bands."""
    cube = delivered.counts(9, (count, *shape)).transpose(1, 2, 0)
    path = folder / f"{name}.mat"
    if version == 5:
        scipy.io.savemat(path, {"ref": cube, **more})
    else:
        with h5py.File(path, "w") as file:
            for key, value in {"ref": cube, **more}.items():
                file[key] = value.transpose()
    return path, cube.transpose(2, 0, 1)


MAKE = {
    "sentinel2": delivered.sentinel2,
    "landsat": delivered.landsat,
    "enmap": delivered.enmap,
    "prisma": delivered.prisma,
    "emit": lambda folder: delivered.emit(folder)[0],
    "maxar": delivered.maxar,
    "matlab": lambda folder: cave(folder, version=7.3)[0],
}


def opened(kind, folder):
    return open_delivered(MAKE[kind](folder), sensor="cave" if kind == "matlab" else None)


# ---- what holds of every kind ------------------------------------------------------------


@pytest.mark.parametrize("kind", MAKE)
def test_a_path_looks_like_one_kind_only(kind, tmp_path):
    path = MAKE[kind](tmp_path)
    assert [kind in k.__name__ for k in registry.READERS if k.looks_like(path)] == [True]


@pytest.mark.parametrize("kind", MAKE)
def test_windows_and_bands_are_parts_of_the_whole(kind, tmp_path):
    scene = opened(kind, tmp_path).scene
    everything = whole(scene)
    height, width = scene.shape
    assert everything.shape == (scene.count, height, width)
    window, bands = Window(3, height - 2, 5, width - 4), [scene.count - 1, 0, 2]
    np.testing.assert_array_equal(scene.source.read(window, bands), everything[bands, 3 : height - 2, 5 : width - 4])
    chosen = scene.select([2, 0])
    np.testing.assert_array_equal(whole(chosen), everything[[2, 0]])
    assert [b.wavelength_nm for b in chosen.bands] == [scene.bands[i].wavelength_nm for i in (2, 0)]
    assert set(scene.source.thumbnail(1, (4, 5)).ravel()) <= set(everything[1].ravel()) or kind == "emit"


@pytest.mark.parametrize("kind", MAKE)
def test_sources_travel_and_notice_a_changed_file(kind, tmp_path):
    scene = opened(kind, tmp_path).scene
    again = pickle.loads(pickle.dumps(scene))
    np.testing.assert_array_equal(whole(again), whole(scene))
    before = again.source.fingerprint()
    assert before == scene.source.fingerprint()
    os.utime(scene.source.files_read()[0], ns=(1, 1))
    assert scene.source.fingerprint() != before


@pytest.mark.parametrize("kind", MAKE)
def test_stored_values_are_what_physical_ones_are_packed_as(kind, tmp_path):
    scene = opened(kind, tmp_path).scene
    values, packing = whole(scene).astype(np.float64), scene.packing
    steps = (values - np.array(packing.offsets)[:, None, None]) / np.array(packing.scales)[:, None, None]
    finite = np.isfinite(steps)
    assert finite.any()
    if not packing.is_float:
        np.testing.assert_allclose(steps[finite], np.round(steps[finite]), atol=0.05)
        info = np.iinfo(packing.dtype)
        assert info.min <= steps[finite].min()
        assert steps[finite].max() <= info.max


@pytest.mark.parametrize("kind", ["sentinel2", "landsat", "prisma", "maxar"])
def test_own_guides_are_on_the_scene_and_are_sharper(kind, tmp_path):
    delivery = opened(kind, tmp_path)
    (guide,) = delivery.guides
    grid.require_same_world(delivery.scene.geobox, guide.geobox)
    ratio = grid.largest_ratio(delivery.scene.geobox, guide.geobox)
    assert ratio == {"sentinel2": 2, "landsat": 2, "prisma": 6, "maxar": 4}[kind]


@pytest.mark.parametrize("kind", ["enmap", "prisma", "emit", "landsat"])
def test_a_given_nodata_value_takes_precedence(kind, tmp_path):
    path = MAKE[kind](tmp_path)
    plain = open_scene(path)
    stored = float(np.nanmedian(whole(plain)[0]) - plain.packing.offsets[0]) / plain.packing.scales[0]
    value = stored if plain.packing.is_float else round(stored)
    scene = open_scene(path, nodata=value)
    assert scene.packing.nodata == pytest.approx(value)
    assert np.isfinite(whole(scene)[-1]).all() or kind == "emit"


# ---- Sentinel-2 --------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "offset"), [("L2A", -1000), ("L1C", -1000)])
def test_sentinel2_reflectance_is_as_documented(level, offset, tmp_path):
    safe = delivered.sentinel2(tmp_path, level, offset=offset)
    delivery = open_delivered(safe)
    assert [b.name for b in delivery.scene.bands] == ["B05", "B06", "B07", "B8A", "B11", "B12"]
    folder = "R20m/" if level == "L2A" else ""
    stored = plane(next(safe.glob(f"GRANULE/*/IMG_DATA/{folder}*_B11*.jp2")))
    np.testing.assert_allclose(whole(delivery.scene)[4], (stored.astype(float) + offset) / 10000, atol=1e-6)
    assert (delivery.sensor, delivery.level) == ("sentinel-2a", level)
    assert [b.wavelength_nm for b in delivery.scene.bands][3:5] == [864.7, 1613.7]
    # Three of the response's values, 1 nm apart, reach half of its largest.
    assert delivery.scene.bands[0].fwhm_nm == 3
    assert "baseline 05.09, offset -1000" in delivery.notes[0]


def test_sentinel2_before_baseline_4_has_no_offset(tmp_path):
    delivery = open_delivered(delivered.sentinel2(tmp_path, baseline="03.01", offset=None))
    assert set(delivery.scene.packing.offsets) == {0.0}
    assert "baseline 03.01, no offset" in delivery.notes[0]


def test_sentinel2_offset_missing_from_a_new_baseline(tmp_path):
    with pytest.raises(InputError, match="baseline 05.09.*no BOA_ADD_OFFSET"):
        open_scene(delivered.sentinel2(tmp_path, offset=None))


def test_sentinel2_bands_by_gsd(tmp_path):
    safe = delivered.sentinel2(tmp_path)
    wide = open_delivered(safe, gsd=60)
    # L2A also has copies of the 20 m bands at 60 m.
    assert [b.name for b in wide.scene.bands] == ["B01", "B09"]
    assert grid.largest_ratio(wide.scene.geobox, wide.guides[0].geobox) == 6
    fine = open_delivered(safe, gsd=10)
    assert ([b.name for b in fine.scene.bands], fine.guides) == (["B02", "B03", "B04", "B08"], ())
    with pytest.raises(OptionError, match=r"--gsd 30 m.*10 m \(B02, B03, B04, B08\); 20 m .*; 60 m \(B01, B09\)"):
        open_scene(safe, gsd=30)


def test_sentinel2_faults_are_named(tmp_path):
    safe = delivered.sentinel2(tmp_path)
    image = next(safe.glob("GRANULE/*/IMG_DATA/R20m/*_B8A_20m.jp2"))
    image.rename(tmp_path / "elsewhere.jp2")
    with pytest.raises(InputError, match=r"lacks band B8A.*R20m/\*_B8A_20m.jp2"):
        open_scene(safe)
    assert open_scene(safe, gsd=60).count == 2
    granule = image.parents[2]
    shutil.copytree(granule, granule.with_name("L2A_T33UVB_A041632_20230612T100026"))
    with pytest.raises(InputError, match="holds 2 granules"):
        open_scene(safe)
    (safe / "MTD_MSIL2A.xml").write_text("<cut")
    with pytest.raises(InputError, match="MTD_MSIL2A.xml cannot be read"):
        open_scene(safe)
    (safe / "MTD_MSIL2A.xml").unlink()
    with pytest.raises(InputError, match="neither MTD_MSIL2A.xml nor MTD_MSIL1C.xml"):
        open_scene(safe)


# ---- Landsat -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["txt", "json"])
def test_landsat_level_1_is_reflectance_under_its_sun(form, tmp_path):
    folder = delivered.landsat(tmp_path, form=form)
    delivery = open_delivered(folder)
    assert [b.name for b in delivery.scene.bands] == ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9"]
    stored = plane(folder / f"{folder.name}_B4.TIF").astype(float)
    # The sun stands at 30 degrees, whose sine is 1/2.
    np.testing.assert_allclose(whole(delivery.scene)[3], 2 * (2e-5 * stored - 0.1), atol=1e-6)
    pan = plane(folder / f"{folder.name}_B8.TIF").astype(float)
    np.testing.assert_allclose(whole(delivery.guides[0])[0], 2 * (2e-5 * pan - 0.1), atol=1e-6)
    assert (delivery.sensor, delivery.level) == ("landsat-8", "L1TP")


def test_landsat_level_2_takes_the_numbers_of_its_own_level(tmp_path):
    folder = delivered.landsat(tmp_path, "L2SP", spacecraft="LANDSAT_9")
    delivery = open_delivered(next(folder.glob("*_MTL.txt")))
    stored = plane(folder / f"{folder.name}_SR_B7.TIF").astype(float)
    np.testing.assert_allclose(whole(delivery.scene)[6], 0.0000275 * stored - 0.2, atol=1e-6)
    assert (delivery.guides, delivery.sensor) == ((), "landsat-9")
    assert "without band 8" in delivery.without_guide


# Waves as smooth as these do not show the sensor's blur, which is said.
@pytest.mark.filterwarnings("ignore::dualsr_geo.errors.DualSRWarning")
def test_landsat_pan_on_a_grid_half_a_pixel_off_is_on_the_scene(tmp_path):
    folder = delivered.landsat(tmp_path, shape=(64, 75))
    summary = upscale(folder, tmp_path / "out.tif", model="regression", overwrite=True)
    assert (summary["scale"], summary["shape"]) == (2, [128, 150])
    assert max(np.abs(summary["guide"]["shift_px"])) < 0.25
    assert summary["guide"]["coverage"] > 0.95


def test_landsat_faults_are_named(tmp_path):
    folder = delivered.landsat(tmp_path)
    (folder / f"{folder.name}_B3.TIF").unlink()
    with pytest.raises(InputError, match=f"lacks band 3: there is no {folder.name}_B3.TIF"):
        open_scene(folder)
    (folder / f"{folder.name}_B8.TIF").unlink()
    with pytest.raises(OptionError, match="--gsd 15 m.*30 m"):
        open_scene(folder, gsd=15)
    document = folder / f"{folder.name}_MTL.txt"
    document.write_text(document.read_text().replace("LANDSAT_8", "LANDSAT_6"))
    with pytest.raises(InputError, match="LANDSAT_6; MSS, TM, ETM\\+ and OLI of LANDSAT_1 to LANDSAT_9 are supported"):
        open_scene(folder)
    document.write_text(document.read_text().replace("    SPACECRAFT_ID", "    OTHER"))
    with pytest.raises(InputError, match="has no SPACECRAFT_ID"):
        open_scene(folder)
    document.unlink()
    for band in folder.glob("*_B*.TIF"):
        band.unlink()
    with pytest.raises(InputError, match=r"holds no \*_MTL.txt"):
        open_scene(folder)


def test_landsat_documents_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="LC08_MTL.txt cannot be read as metadata"):
        open_scene(tmp_path / "LC08_MTL.txt")
    (tmp_path / "LC08_MTL.json").write_text('{"LANDSAT_METADATA_FILE": 3}')
    with pytest.raises(InputError, match="LC08_MTL.json cannot be read as metadata"):
        open_scene(tmp_path / "LC08_MTL.json")


@pytest.mark.parametrize(
    ("make", "document", "good", "name"),
    [
        (delivered.landsat, "*_MTL.txt", "2.0000E-05", "REFLECTANCE_MULT_BAND_1"),
        (delivered.landsat, "*_MTL.txt", "30.00000000", "SUN_ELEVATION"),
        (delivered.sentinel2, "MTD_MSIL2A.xml", "-1000", "BOA_ADD_OFFSET"),
        (delivered.maxar, "*/*.IMD", "2.000", "productGSD"),
    ],
)
def test_metadata_that_are_no_numbers(make, document, good, name, tmp_path):
    folder = make(tmp_path)
    for path in folder.glob(document):
        path.write_text(path.read_text().replace(good, "unknown"))
    with pytest.raises(InputError, match=f"{name} 'unknown', which is not a number"):
        open_scene(folder)


# ---- EnMAP -------------------------------------------------------------------------------


def test_enmap_is_the_same_by_folder_metadata_and_cube(tmp_path):
    folder = delivered.enmap(tmp_path)
    paths = [folder, next(folder.glob("*-METADATA.XML")), next(folder.glob("*-SPECTRAL_IMAGE.TIF"))]
    for path in paths:
        delivery = open_delivered(path)
        with rasterio.open(paths[2]) as file:
            stored = file.read().astype(float)
        stored[stored == -32768] = np.nan
        np.testing.assert_allclose(whole(delivery.scene), stored / 1e4, atol=1e-6)
        assert (delivery.sensor, delivery.level, delivery.scene.name) == ("enmap", "L2A", folder.name)
        assert delivery.scene.bands[0].wavelength_nm == 418.24
        assert delivery.scene.bands[0].fwhm_nm == 6.995
        assert [i for i, b in enumerate(delivery.scene.bands) if not b.good] == [7, 8]
        assert "2 of 12 bands" in delivery.notes[1]


def test_enmap_l1c_is_radiance_by_its_gains(tmp_path):
    folder = delivered.enmap(tmp_path, "L1C", bad=())
    scene = open_scene(folder)
    stored = plane(next(folder.glob("*.TIF"))).astype(float)
    np.testing.assert_allclose(whole(scene)[0], 0.005 * stored - 0.5, rtol=1e-5)
    assert scene.packing.scales[3] == 3.005


def test_enmap_faults_are_named(tmp_path):
    with pytest.raises(InputError, match="12 bands, but .*METADATA.XML describes 11"):
        open_scene(delivered.enmap(tmp_path / "a", described=11))
    with pytest.raises(InputError, match="level L1B.*Give a product of level L2A or L1C"):
        open_scene(delivered.enmap(tmp_path / "b", "L1B"))
    folder = delivered.enmap(tmp_path / "c")
    with pytest.raises(OptionError, match="--gsd 10 m.*30 m"):
        open_scene(folder, gsd=10)
    cube = next(folder.glob("*.TIF"))
    cube.rename(tmp_path / "elsewhere.tif")
    with pytest.raises(InputError, match="lacks ENMAP.*SPECTRAL_IMAGE.TIF"):
        open_scene(folder)
    (tmp_path / "elsewhere.tif").rename(cube)
    next(folder.glob("*.XML")).unlink()
    with pytest.raises(InputError, match="METADATA.XML does not exist.*rename the cube"):
        open_scene(cube)
    with pytest.raises(InputError, match=r"holds 0 files \*-METADATA.XML"):
        open_scene(folder)


# ---- PRISMA ------------------------------------------------------------------------------


def test_prisma_is_one_spectrum_by_wavelength(tmp_path):
    path = delivered.prisma(tmp_path)
    delivery = open_delivered(path)
    waves = [b.wavelength_nm for b in delivery.scene.bands]
    assert waves == sorted(w for w in (*delivered.VNIR_NM, *delivered.SWIR_NM) if w > 0)
    with h5py.File(path) as file:
        fields = file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"]
        for band, nm in zip(whole(delivery.scene), waves, strict=True):
            which = "Vnir" if nm in delivered.VNIR_NM else "Swir"
            listed = delivered.VNIR_NM if which == "Vnir" else delivered.SWIR_NM
            stored = fields[f"{which.upper()}_Cube"][:, listed.index(nm), :].astype(float)
            low, high = (float(file.attrs[f"L2Scale{which}{end}"]) for end in ("Min", "Max"))
            expected = np.where(stored == 0, np.nan, low + stored / 65535 * (high - low))
            np.testing.assert_allclose(band, expected, atol=1e-6)
        pan = file["HDFEOS/SWATHS/PRS_L2D_PCO/Data Fields/Cube"][:] / 65535 * 0.5
    np.testing.assert_allclose(whole(delivery.guides[0])[0], pan, atol=1e-6)
    assert "3 bands of wavelength 0" in delivery.notes[1]


def test_prisma_is_where_its_corner_is_a_pixel_centre(tmp_path):
    path = delivered.prisma(tmp_path)
    for gsd in (30, 5):
        box = open_scene(path, gsd=gsd).geobox
        assert box.crs.epsg == 32633
        assert box.affine @ (0.5, 0.5) == (delivered.EAST, delivered.NORTH)
        assert (box.affine.a, box.affine.e) == (gsd, -gsd)


@pytest.mark.parametrize("level", ["1", "2B", "2C"])
def test_prisma_levels_without_a_map_are_refused(level, tmp_path):
    with pytest.raises(InputError, match=f"is of L{level}, which is not on a map grid. Give the L2D"):
        open_scene(delivered.prisma(tmp_path, level))


def test_prisma_faults_are_named(tmp_path):
    assert open_delivered(delivered.prisma(tmp_path, pan=False)).guides == ()
    with pytest.raises(InputError, match="has no .*SWIR_Cube"):
        open_scene(delivered.prisma(tmp_path, drop=("Swir",)))
    path = delivered.prisma(tmp_path)
    with pytest.raises(OptionError, match=r"--gsd 10 m.*5 m \(PAN\); 30 m \(VNIR, SWIR\)"):
        open_scene(path, gsd=10)
    with h5py.File(path, "a") as file:
        file.attrs["List_Cw_Vnir"] = np.ones(6, "float32")
    with pytest.raises(InputError, match="has 7 bands, but the attributes list 6 wavelengths and 7 widths"):
        open_scene(path)
    with h5py.File(path, "a") as file:
        del file.attrs["Epsg_Code"]
        file.attrs["List_Cw_Vnir"] = np.array(delivered.VNIR_NM, "float32")
    with pytest.raises(InputError, match="no attribute Epsg_Code"):
        open_scene(path)
    path.write_bytes(b"cut short")
    with pytest.raises(InputError, match="cannot be opened"):
        open_scene(path)


# ---- EMIT --------------------------------------------------------------------------------


def test_emit_pixels_are_those_that_the_table_names(tmp_path):
    path, cube, (table_y, table_x) = delivered.emit(tmp_path)
    delivery = open_delivered(path)
    expected = np.full((cube.shape[2], *table_y.shape), np.nan)
    for y, x in np.ndindex(table_y.shape):
        if table_y[y, x] > 0:
            pixel = cube[table_y[y, x] - 1, table_x[y, x] - 1]
            expected[:, y, x] = np.where(pixel == -9999, np.nan, pixel)
    np.testing.assert_array_equal(whole(delivery.scene), expected.astype("float32"))
    np.testing.assert_array_equal(delivery.scene.source.read(Window(0, 2, 0, 3)), np.nan)
    assert delivery.scene.source.masked
    assert [i for i, b in enumerate(delivery.scene.bands) if not b.good] == [7]
    assert delivery.scene.bands[0].wavelength_nm == 381.0
    assert delivery.scene.geobox.affine @ (0, 0) == (-118.5, 34.75)
    assert (delivery.sensor, delivery.level) == ("emit", "L2A")


def test_emit_faults_are_named(tmp_path):
    assert open_delivered(delivered.emit(tmp_path, variable="radiance")[0]).level == "L1B"
    path = delivered.emit(tmp_path)[0]
    with pytest.raises(OptionError, match="--gsd 60.*one pixel size"):
        open_scene(path, gsd=60)
    path = delivered.emit(tmp_path, drop=("location/glt_y", "sensor_band_parameters/wavelengths"))[0]
    with pytest.raises(InputError, match="has no location/glt_y, sensor_band_parameters/wavelengths"):
        open_scene(path)


# ---- Maxar -------------------------------------------------------------------------------


def test_maxar_is_the_same_by_order_imd_and_til(tmp_path):
    order = delivered.maxar(tmp_path)
    folder = order / "050112345010_01_P001_MUL"
    stored = np.concatenate([_all(f) for f in sorted(folder.glob("*.TIF"))], axis=2)
    for path in (order, folder, next(folder.glob("*.IMD")), next(folder.glob("*.TIL"))):
        delivery = open_delivered(path)
        np.testing.assert_array_equal(whole(delivery.scene), stored)
        assert [b.name for b in delivery.scene.bands][:3] == ["coastal", "blue", "green"]
        assert all(b.wavelength_nm for b in delivery.scene.bands)
        assert (delivery.sensor, delivery.level) == ("worldview-2", "LV2A")
        assert delivery.guides[0].shape == (120, 168)
        corner = delivery.scene.geobox.affine @ (0, 0)
        assert corner == (delivered.EAST, delivered.NORTH)


def _all(path):
    with rasterio.open(path) as file:
        return file.read()


def test_maxar_faults_are_named(tmp_path):
    delivery = open_delivered(delivered.maxar(tmp_path / "a", pan=False))
    assert delivery.guides == ()
    assert "No pan image" in delivery.notes[1]
    with pytest.raises(InputError, match="level LV1B, which is not on a map grid"):
        open_scene(delivered.maxar(tmp_path / "b", level="LV1B"))
    order = delivered.maxar(tmp_path / "c")
    with pytest.raises(OptionError, match=r"--gsd 1 m.*0.5 m \(P\); 2 m \(C, B, G"):
        open_scene(order, gsd=1)
    folder = order / "050112345010_01_P001_MUL"
    tile = next(folder.glob("*R1C2*.TIF"))
    tile.unlink()
    with pytest.raises(InputError, match=f"lists 2 tiles, of which {tile.name} is missing"):
        open_scene(order)
    document = next(folder.glob("*.IMD"))
    document.unlink()
    with pytest.raises(InputError, match="has no IMD file in its folder"):
        open_scene(next(folder.glob("*.TIL")))


def test_maxar_order_of_two_images_asks_for_one(tmp_path):
    order = delivered.maxar(tmp_path)
    first = order / "050112345010_01_P001_MUL"
    shutil.copytree(first, order / "050112345010_01_P002_MUL")
    with pytest.raises(InputError, match="holds 2 multispectral images"):
        open_scene(order)


# ---- MATLAB ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [5, 7.3])
@pytest.mark.parametrize(
    ("sensor", "count", "first"), [("cave", 31, 400), ("harvard", 31, 420), ("chikusei", 128, 363)]
)
def test_mat_by_its_sensor(version, sensor, count, first, tmp_path):
    path, cube = cave(tmp_path, version=version, count=count, lbl=np.ones((33, 47)))
    delivery = open_delivered(path, sensor=sensor)
    np.testing.assert_array_equal(whole(delivery.scene), cube.astype("float32"))
    assert delivery.scene.bands[0].wavelength_nm == pytest.approx(first, abs=1)
    assert (delivery.sensor, delivery.scene.packing.dtype) == (sensor, "uint16")


@pytest.mark.parametrize("version", [5, 7.3])
def test_mat_with_bands_first(version, tmp_path):
    cube = delivered.counts(2, (31, 20, 26), dtype="float64")
    path, _ = cave(tmp_path, version=version, ref=cube)
    np.testing.assert_array_equal(whole(open_scene(path, sensor="cave")), cube.astype("float32"))


@pytest.mark.parametrize("version", [5, 7.3])
def test_mat_of_several_cubes(version, tmp_path):
    other = np.zeros((33, 47, 31))
    path, cube = cave(tmp_path, version=version, other=other)
    with pytest.raises(InputError, match="holds 2 cubes of 31 bands.*scene.mat#"):
        open_scene(path, sensor="cave")
    np.testing.assert_array_equal(whole(open_scene(f"{path}#ref", sensor="cave")), cube.astype("float32"))
    with pytest.raises(InputError, match="holds no cube `rgb`: .*`ref` 33 x 47 x 31"):
        open_scene(f"{path}#rgb", sensor="cave")


@pytest.mark.parametrize("version", [5, 7.3])
def test_mat_faults_are_named(version, tmp_path):
    path, _ = cave(tmp_path, version=version)
    with pytest.raises(OptionError, match="chikusei has 128 bands, but scene.mat holds `ref` 33 x 47 x 31"):
        open_scene(path, sensor="chikusei")
    with pytest.raises(OptionError, match="There is no sensor `cavee`"):
        open_scene(path, sensor="cavee")
    with pytest.raises(OptionError, match="--gsd 10"):
        open_scene(path, sensor="cave", gsd=10)
    with pytest.raises(InputError, match="nothing.mat does not exist"):
        open_scene(tmp_path / "nothing.mat", sensor="cave")
    path.write_bytes(b"no MATLAB file, and longer than its header would be" * 8)
    with pytest.raises(InputError, match="scene.mat is damaged.*Unknown mat file type"):
        open_scene(path, sensor="cave")


# ---- what is no product, and the flow ----------------------------------------------------


def test_a_folder_that_is_no_product(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match="is a folder without a product that can be opened.*MTD_MSIL2A.xml"):
        open_scene(tmp_path)


def test_a_plain_raster_has_no_gsd_to_choose(tmp_path):
    path = delivered.raster(tmp_path / "plain.tif", delivered.counts(1, (3, 9, 11)), 10)
    assert (open_delivered(path).guides, open_delivered(path).sensor) == ((), "")
    with pytest.raises(OptionError, match="--gsd 20.*has one"):
        open_scene(path, gsd=20)


def test_a_plugin_s_sensor_brings_its_kind(tmp_path, monkeypatch):
    (tmp_path / "toy_kind.py").write_text(
        "from dualsr_geo.io.products.delivery import Delivery\n"
        "from dualsr_geo.io.readers.gdal import open_raster\n"
        "def looks_like(path): return path.suffix == '.toy'\n"
        "def open_delivery(path, **options): return Delivery(open_raster(str(path), bidx=None, nodata=None).scene, (), 'toy', 'L9')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "find", lambda _: SimpleNamespace(opener="toy_kind:open_delivery"))
    path = delivered.raster(tmp_path / "scene.toy", delivered.counts(1, (2, 9, 11)), 10)
    options = {"gsd": None, "nodata": None}
    assert registry.open_product(str(path), sensor="toy", **options).level == "L9"
    assert registry.open_product(str(path), sensor=None, **options) is None


def test_a_sensor_that_contradicts_the_product(tmp_path):
    with pytest.raises(OptionError, match="704.1 nm.*landsat-8"):
        open_scene(delivered.sentinel2(tmp_path), sensor="landsat-8")


def test_as_a_guide_a_product_lends_its_sharpest_bands(tmp_path):
    (guide,) = open_guides(delivered.sentinel2(tmp_path))
    assert [b.name for b in guide.bands] == ["B02", "B03", "B04", "B08"]
    (guide,) = open_guides(delivered.enmap(tmp_path))
    assert guide.count == 12


@pytest.mark.filterwarnings("ignore::dualsr_geo.errors.DualSRWarning")
def test_upscale_uses_the_product_s_own_bands_and_says_so(tmp_path, monkeypatch):
    safe = delivered.sentinel2(tmp_path, sides=(120, 168))
    monkeypatch.chdir(safe)
    done = CliRunner().invoke(main, ["upscale", ".", "--model", "regression"])
    assert done.exit_code == 0, done.output
    assert "Opened as sentinel-2a L2A: B05, B06, B07, B8A, B11, B12 at 20 m." in done.output
    assert "Guided by the product's own B02, B03, B04, B08 at 10 m." in done.output
    assert "baseline 05.09, offset -1000" in done.output
    with rasterio.open(tmp_path / f"{safe.stem}_x2.tif") as file:
        assert (file.shape, file.count, file.dtypes[0]) == ((120, 168), 6, "uint16")
        assert file.offsets == (-0.1,) * 6
        assert file.transform.a == 10
    mean = whole(open_scene(tmp_path / f"{safe.stem}_x2.tif")).mean()
    assert mean == pytest.approx(whole(open_scene(safe)).mean(), rel=1e-3)


def test_a_guide_that_is_given_wins(tmp_path):
    safe = delivered.sentinel2(tmp_path)
    sharp = delivered.raster(tmp_path / "sharp.tif", delivered.counts(10, (1, 120, 168)), 5)
    planned = dry_run(safe, tmp_path / "out.tif", rgb=sharp, options=Options())
    assert (planned["scale"], planned["guide_bands"]) == (4, 1)
    assert not any("own" in line for line in planned["opened"])
    planned = dry_run(safe, tmp_path / "out.tif", options=Options(gsd=60))
    assert (planned["scale"], planned["guide_bands"], planned["bands"]) == (6, 4, 2)


def test_info_and_usage(tmp_path):
    run = CliRunner()
    safe = str(delivered.sentinel2(tmp_path))
    description = describe(safe)
    assert description["product"]["sensor"] == "sentinel-2a"
    assert (description["guide"]["bands"], description["largest_scale"]) == (4, 2)
    assert "product: sentinel-2a L2A" in run.invoke(main, ["info", safe, "--gsd", "60"]).output
    # A product without sharper bands still needs --scale; by then it is opened.
    done = run.invoke(main, ["upscale", str(delivered.enmap(tmp_path))])
    assert (done.exit_code, "Give --scale" in done.output) == (1, True)
    done = run.invoke(main, ["upscale", safe, "--gsd", "30"])
    assert (done.exit_code, "none of the pixel sizes" in done.output) == (1, True)


@pytest.mark.data
def test_real_sentinel2_pixels_through_the_layout(tmp_path):
    data = Path(__file__).parents[4] / "shared/data"
    if not data.exists():
        pytest.skip(f"{data} is not there")
    safe, cubes = delivered.real_sentinel2(tmp_path, data)
    delivery = open_delivered(safe)
    np.testing.assert_allclose(whole(delivery.scene), cubes[20] / 1e4, atol=1e-6)
    np.testing.assert_allclose(whole(delivery.guides[0]), cubes[10] / 1e4, atol=1e-6)
