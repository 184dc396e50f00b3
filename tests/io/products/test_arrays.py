"""Files of arrays without metadata: MATLAB, NumPy and HDF5, and the wavelengths that a user gives."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io

from dualsr_geo import open_scene, upscale
from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.io.products import registry
from dualsr_geo.io.scenes import open_delivered
from dualsr_geo.raster.windows import Window

REAL = Path(__file__).parents[4] / "shared/data"
NM = np.linspace(400, 2500, 12)


@pytest.fixture
def cube():
    """Bands, rows and columns."""
    return np.random.default_rng(3).integers(1, 4000, (12, 21, 34)).astype("uint16")


def whole(scene):
    height, width = scene.shape
    return scene.source.read(Window(0, height, 0, width))


def save(path, **arrays):
    """Write arrays as MATLAB (.mat), MATLAB 7.3 (.v73.mat), NumPy or HDF5 has them."""
    if path.name.endswith(".v73.mat") or path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = np.atleast_2d(values).transpose() if path.suffix == ".mat" else np.asarray(values)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, arrays)
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        np.save(path, next(iter(arrays.values())))
    return path


FILES = ("s.mat", "s.v73.mat", "s.npy", "s.npz", "s.h5")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_shortest_axis_has_the_bands(name, axis, cube, tmp_path):
    path = save(tmp_path / name, data=np.moveaxis(cube, 0, axis))
    delivery = open_delivered(path)
    np.testing.assert_array_equal(whole(delivery.scene), cube.astype("float32"))
    window = Window(3, 9, 20, 34)
    np.testing.assert_array_equal(
        delivery.scene.source.read(window, [5, 2]), cube[[5, 2], 3:9, 20:34].astype("float32")
    )
    assert delivery.scene.bands[0].name is delivery.scene.bands[0].wavelength_nm is None
    assert (delivery.scene.packing.dtype, delivery.sensor) == ("uint16", "")
    assert "12 bands (the shortest axis) of 21 x 34 pixels" in delivery.notes[0]
    assert [r.__name__ for r in registry.READERS if r.looks_like(path)] == [
        "dualsr_geo.io.products.arrays." + {"mat": "matlab", "h5": "hdf5"}.get(name.rpartition(".")[2], "numpy_files")
    ]


@pytest.mark.parametrize("name", FILES)
def test_a_square_image_may_have_more_bands_than_rows(name, tmp_path):
    values = np.random.default_rng(1).random((20, 20, 31)).astype("float32")
    scene = open_scene(save(tmp_path / name, data=values))
    np.testing.assert_array_equal(whole(scene), values.transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["s.mat", "s.v73.mat", "s.npz", "s.h5"])
def test_the_axis_of_the_files_wavelengths_has_the_bands(name, tmp_path):
    values = np.random.default_rng(1).random((7, 31, 40)).astype("float32")
    scene = open_scene(save(tmp_path / name, data=values, wavelengths=np.linspace(0.4, 1, 31)))
    np.testing.assert_array_equal(whole(scene), values.transpose(1, 0, 2))
    assert [scene.bands[i].wavelength_nm for i in (0, 30)] == [400, 1000]


@pytest.mark.parametrize("name", ["s.mat", "s.v73.mat", "s.npz", "s.h5"])
@pytest.mark.parametrize("bands_first", [True, False])
def test_a_matrix_of_bands_by_pixels(name, bands_first, cube, tmp_path):
    # MATLAB's pixels follow each other down the columns, NumPy's along the rows.
    pixels = cube.transpose(0, 2, 1) if "mat" in name else cube
    matrix = pixels.reshape(12, -1)
    path = save(tmp_path / name, Y=matrix if bands_first else matrix.T, nRow=21.0, nCol=34.0, A=np.ones((2, 714)))
    scene = open_scene(path)
    np.testing.assert_array_equal(whole(scene), cube.astype("float32"))
    np.testing.assert_array_equal(scene.source.read(Window(4, 20, 1, 30), [7]), cube[[7], 4:20, 1:30].astype("float32"))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(scene.source)).read(Window(0, 21, 0, 34)), whole(scene))


@pytest.mark.parametrize("name", ["s.mat", "s.v73.mat", "s.npz", "s.h5"])
def test_an_array_is_named(name, cube, tmp_path):
    path = save(tmp_path / name, ms=cube.transpose(1, 2, 0), pan=np.ones((42, 68)), text=np.float64(3))
    assert open_scene(f"{path}#pan").shape == (42, 68)
    assert open_scene(f"{path}#ms").count == 12
    with pytest.raises(InputError, match=r"holds no cube `no`: `ms` 21 x 34 x 12, `pan` 42 x 68"):
        open_scene(f"{path}#no")


@pytest.mark.parametrize("name", ["s.mat", "s.v73.mat", "s.npz"])
def test_the_largest_cube_is_opened_and_the_others_are_listed(name, cube, tmp_path):
    path = save(tmp_path / name, small=cube[:4], large=cube)
    delivery = open_delivered(path)
    assert delivery.scene.count == 12
    assert "also holds `small` 4 x 21 x 34" in delivery.notes[0]
    save(path, one=cube, two=cube)
    with pytest.raises(InputError, match=rf"holds 2 cubes of the same size: .*Give one of them, e.g. {path.name}#one"):
        open_scene(path)


def test_bands_of_a_sensor_that_the_file_lists(cube, tmp_path):
    path = save(tmp_path / "s.mat", data=cube, SlectBands=np.r_[4.0:10, 30:36])
    scene = open_scene(path, sensor="aviris-classic")
    full = open_scene(path, wavelengths="aviris-classic:4..9,30..35")
    assert [b.wavelength_nm for b in scene.bands] == [b.wavelength_nm for b in full.bands]
    assert scene.bands[0].name == "4"
    path = save(tmp_path / "t.mat", data=cube)
    with pytest.raises(
        OptionError, match=r"aviris-classic has 224 bands, but t.mat holds `data` 12 x 21 x 34.*--wavelengths"
    ):
        open_scene(path, sensor="aviris-classic")
    given = open_scene(path, sensor="aviris-classic", wavelengths="aviris-classic:4..9,30..35")
    assert given.sensor.sensor == "aviris-classic"


GIVEN = {
    "a line each": "\n".join(map(str, NM)),
    "with a header, um": "wavelength_um\n" + "\n".join(f"{v / 1000}" for v in NM),
    "without a unit, um": "\n".join(f"{v / 1000}" for v in NM),
    "numbered, with FWHM": "band;center (nm);fwhm\n" + "\n".join(f"{i};{v};10" for i, v in enumerate(NM, 1)),
    "numbered, no header": "\n".join(f"{i} {v}" for i, v in enumerate(NM, 1)),
    "FWHM first": "fwhm,wavelength\n" + "\n".join(f"10,{v}" for v in NM),
    "a single line": ", ".join(map(str, NM)),
    "comments": "# nm\n\n" + "\n".join(map(str, NM)),
    "ENVI": "ENVI\nbands = 12\nwavelength units = Micrometers\nwavelength = {\n"
    + ",\n".join(f"{v / 1000}" for v in NM)
    + "}\n",
}


@pytest.mark.parametrize("kind", GIVEN)
def test_wavelengths_of_a_file(kind, cube, tmp_path):
    path = save(tmp_path / "s.npy", data=cube)
    (tmp_path / "w.csv").write_text(GIVEN[kind])
    scene = open_scene(path, wavelengths=tmp_path / "w.csv")
    np.testing.assert_allclose([b.wavelength_nm for b in scene.bands], NM)
    assert scene.bands[3].fwhm_nm == (10 if "FWHM" in kind else None)


@pytest.mark.parametrize("given", ["400:2500", "0.4:2.5", "400:2500:12", tuple(NM), np.array(NM), list(NM / 1000)])
def test_wavelengths_of_a_range_or_numbers(given, cube, tmp_path):
    scene = open_scene(save(tmp_path / "s.npy", data=cube), wavelengths=given)
    np.testing.assert_allclose([b.wavelength_nm for b in scene.bands], NM)


def test_wavelengths_choose_the_axis(tmp_path):
    values = np.random.default_rng(1).random((7, 31, 40)).astype("float32")
    assert open_scene(save(tmp_path / "s.npy", data=values), wavelengths="400:1000:31").shape == (7, 40)


WRONG = (
    ("no.csv", "no.csv does not exist"),
    ("400", "400 does not exist"),
    ("400:400", "no range"),
    ("400:2500:1", "for 1 bands"),
    ("0.4:2500", "not of one unit"),
    ("400:90000", "no wavelength from 100 to 20000 nm"),
    ([500, 400], "lists 2 wavelengths, but the scene has 12 bands"),
    ([400, 500] * 6, "in no order: they rise 6 times, fall 5 times"),
    ([400] * 12, "repeat 11 times"),
    ([np.nan] * 12, "nan, which is no wavelength"),
    ([-400.0, *NM[1:]], "not of one unit"),
    ([], "lists 0 wavelengths"),
    ("aviris-classic:1..12,300", "does not select bands of aviris-classic, which has bands 1 to 224"),
)


@pytest.mark.parametrize(("given", "why"), WRONG)
def test_wrong_wavelengths_are_one_line(given, why, tmp_path, cube):
    with rasterio.open(
        tmp_path / "s.tif", "w", driver="GTiff", count=12, height=21, width=34, dtype="uint16", crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 0, 0, -10, 0),
    ) as file:  # fmt: skip
        file.write(cube)
    with pytest.raises((InputError, OptionError), match=why) as caught:
        open_scene(tmp_path / "s.tif", wavelengths=given)
    assert "\n" not in str(caught.value)
    assert open_scene(tmp_path / "s.tif", bidx="2", wavelengths=NM).bands[0].wavelength_nm == pytest.approx(NM[1])


@pytest.mark.parametrize("text", ["", "a\nb\n", "1 2\n3\n", "\x00\x01", "nm\n"])
def test_a_file_without_wavelengths_is_one_line(text, cube, tmp_path):
    path = save(tmp_path / "s.npy", data=cube)
    (tmp_path / "w.csv").write_text(text)
    with pytest.raises((InputError, OptionError), match="--wavelengths"):
        open_scene(path, wavelengths=tmp_path / "w.csv")


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data is not here")
@pytest.mark.parametrize(
    ("file", "shape"),
    [
        ("hyperspectral/abu-airport-4.mat", (191, 100, 100)),
        ("hyperspectral/hsitk_a_hsi_img_for_VI_demo.mat", (224, 90, 90)),
        ("hyperspectral/jasperRidge2_R198.mat", (198, 100, 100)),
        ("hyperspectral/lren_sandiego_plane.mat", (189, 100, 100)),
        ("hyperspectral/moffett.mat", (184, 50, 50)),
        ("hyperspectral/samson.mat", (156, 95, 95)),
        ("multispectral/pnn_imgWV2.mat", (8, 320, 320)),
        ("multispectral/dsen2_S2A_MSIL1C_20170527_T33UUB.mat", (4, 600, 600)),
    ],
)
def test_published_cubes_open_and_sharpen(file, shape, tmp_path):
    scene = open_scene(REAL / file)
    assert (scene.count, *scene.shape) == shape
    # The scene is smooth along rows as along columns, which pixels in a wrong order are not.
    band = scene.source.read(Window(0, *shape[1:2], 0, *shape[2:]), [shape[0] // 3])[0].astype(float)
    steps = [np.abs(np.diff(band, axis=a)).mean() for a in (0, 1)]
    assert max(steps) < (3 if "abu" in file else 1.6) * min(steps) < 1.6 * band.std()
    upscale(REAL / file, tmp_path / "o.tif", scale=2, model="bicubic", bidx="3..4" if shape[0] < 9 else "40..41")
    with rasterio.open(tmp_path / "o.tif") as product:
        assert product.shape == (2 * shape[1], 2 * shape[2])
