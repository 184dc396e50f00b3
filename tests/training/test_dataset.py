"""References: whatever a scene is stored as, CAVE's folders, holes, and what validates."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from rasterio.transform import from_origin

from dualsr_geo.errors import DualSRWarning, InputError, OptionError
from dualsr_geo.training.dataset import CAVE_NM, Reference, largest_rectangle, load, split

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def cube(bands=4, shape=(23, 31), seed=0):
    return np.random.default_rng(seed).integers(1, 1000, (bands, *shape)).astype(np.float32)


def tif(path, values, nodata=None, wavelengths=()):
    profile = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": "float32"}
    place = {"crs": "EPSG:32633", "transform": from_origin(389000, 5820000, 10, 10)}
    with rasterio.open(path, "w", driver="GTiff", nodata=nodata, **profile, **place) as file:
        file.write(values)
        for k, nm in enumerate(wavelengths, 1):
            file.update_tags(k, wavelength=str(nm), wavelength_units="nm")
    return path


def pngs(folder, values):
    folder.mkdir(parents=True)
    for k, plane in enumerate(values, 1):
        Image.fromarray(plane.astype(np.uint16)).save(folder / f"{folder.name}_ms_{k:02}.png")
    return folder


def test_scenes_of_a_folder_are_divided_by_their_maximum(tmp_path):
    first, second = cube(seed=1), cube(bands=5, shape=(40, 20), seed=2)
    tif(tmp_path / "a.tif", first, wavelengths=[450, 550, 650, 850])
    xr.DataArray(second, dims=("band", "y", "x"), name="r").to_dataset().to_zarr(
        tmp_path / "b.zarr", consolidated=False
    )
    (tmp_path / "readme.txt").write_text("no scene")
    a, b = load([tmp_path], 16)
    assert (a.name, b.name) == ("a", "b")
    np.testing.assert_allclose(a.cube, first / first.max(), rtol=1e-6)
    np.testing.assert_allclose(b.cube, second / second.max(), rtol=1e-6)
    np.testing.assert_array_equal(a.wavelengths_nm, [450, 550, 650, 850])
    assert b.wavelengths_nm is None


@pytest.mark.parametrize(("bands", "has_wavelengths"), [(31, True), (7, False)])
def test_caves_folders_are_scenes(tmp_path, bands, has_wavelengths):
    values = np.random.default_rng(0).integers(0, 65536, (bands, 19, 24))
    # CAVE is delivered with a folder in each folder.
    pngs(tmp_path / "beads_ms" / "beads_ms", values)
    (reference,) = load([tmp_path], 16)
    assert reference.name == "beads_ms"
    np.testing.assert_allclose(reference.cube, values / 65535, atol=1e-7)
    assert (reference.wavelengths_nm is not None) == has_wavelengths
    if has_wavelengths:
        np.testing.assert_array_equal(reference.wavelengths_nm, CAVE_NM)


def test_a_band_without_values_is_left_out(tmp_path):
    values = cube(wavelengths := 4)
    values[2] = -9
    (reference,) = load(
        [tif(tmp_path / "a.tif", values, nodata=-9, wavelengths=range(400, 400 + 10 * wavelengths, 10))], 16
    )
    np.testing.assert_allclose(reference.cube, values[[0, 1, 3]] / values.max(), rtol=1e-6)
    np.testing.assert_array_equal(reference.wavelengths_nm, [400, 410, 430])


def test_a_scene_with_holes_becomes_blocks_without(tmp_path):
    values = cube(shape=(60, 83))
    values[1, 30, 40] = -9
    with pytest.warns(DualSRWarning, match="a has holes; [5-9][0-9]% of its valid pixels are used"):
        blocks = load([tif(tmp_path / "a.tif", values, nodata=-9)], 16)
    assert len(blocks) > 1
    assert all(np.isfinite(b.cube).all() and min(b.cube.shape[1:]) >= 16 for b in blocks)
    assert len({b.name for b in blocks}) == len(blocks)
    # Every value of a block is the scene's, and no pixel is in two blocks.
    drawn = np.concatenate([b.cube[0].ravel() for b in blocks])
    assert len(drawn) < 60 * 83
    assert set(np.round(drawn * values.max())) <= set(np.round(values[0].ravel()))


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))), st.integers(1, 3))
def test_the_largest_rectangle_is_the_largest(free, least):
    reference = largest_rectangle(free, least)
    areas = [
        (y1 - y0) * (x1 - x0)
        for y0 in range(free.shape[0])
        for y1 in range(y0 + least, free.shape[0] + 1)
        for x0 in range(free.shape[1])
        for x1 in range(x0 + least, free.shape[1] + 1)
        if free[y0:y1, x0:x1].all()
    ]
    if not areas:
        assert reference is None
        return
    assert free[reference.slices].all()
    assert min(reference.shape) >= least
    assert reference.shape[0] * reference.shape[1] == max(areas)


def test_names_decide_what_validates():
    all_ = [Reference(n, cube()) for n in ("a", "b#1", "b#2", "c")]
    learned, validated = split(all_, ["b"], 16)
    assert ([r.name for r in learned], [r.name for r in validated]) == (["a", "c"], ["b#1", "b#2"])


@pytest.mark.parametrize("count", [2, 3, 5, 11])
def test_without_names_about_a_fifth_validates(count):
    all_ = [Reference(str(n), cube()) for n in range(count)]
    learned, validated = split(all_, [], 16)
    assert len(validated) == max(1, count // 5)
    assert sorted(r.name for r in (*learned, *validated)) == sorted(r.name for r in all_)


@pytest.mark.parametrize("shape", [(97, 40), (40, 97)])
def test_a_single_scene_is_cut_in_two(shape):
    values = cube(shape=shape)
    (learned,), (validated,) = split([Reference("a", values)], [], 16)
    joined = np.concatenate([learned.cube, validated.cube], axis=1 if shape[0] > shape[1] else 2)
    np.testing.assert_array_equal(joined, values)
    assert 16 <= min(validated.cube.shape[1:])
    assert validated.cube.size < 0.25 * values.size


def test_mistakes_are_one_clear_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="There is no scene in .*empty"):
        load([tmp_path / "empty"], 16)
    with pytest.raises(InputError, match="nowhere does not exist"):
        load([tmp_path / "nowhere"], 16)
    with pytest.raises(InputError, match="hole.tif has no value above 0"):
        load([tif(tmp_path / "hole.tif", np.full((3, 20, 20), -9, np.float32), nodata=-9)], 16)
    small = tif(tmp_path / "small.tif", cube(shape=(15, 30)))
    with pytest.raises(InputError, match="small has 15 x 30 pixels, a patch has 16 x 16"):
        load([small], 16)
    torn = cube(shape=(30, 30))
    torn[0, ::10, ::10] = -9
    with pytest.raises(InputError, match="torn has no 16 x 16 pixels without nodata"):
        load([tif(tmp_path / "torn.tif", torn, nodata=-9)], 16)
    with pytest.raises(InputError, match="Several references are called small"):
        load([small, small], 16)
    uneven = pngs(tmp_path / "uneven", cube(bands=2))
    Image.fromarray(np.zeros((5, 5), np.uint16)).save(uneven / "z.png")
    with pytest.raises(InputError, match=r"z.png is \(5, 5\), not \(23, 31\)"):
        load([uneven], 16)


def test_impossible_splits_are_refused():
    with pytest.raises(OptionError, match="--validate d is none of the references: a, b"):
        split([Reference("a", cube()), Reference("b", cube())], ["d"], 16)
    with pytest.raises(OptionError, match="--validate names all 1 references"):
        split([Reference("a", cube())], ["a"], 16)
    with pytest.raises(InputError, match="a has 23 x 31 pixels: too few for patches of 16"):
        split([Reference("a", cube())], [], 16)
