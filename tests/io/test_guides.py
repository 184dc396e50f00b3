"""The guide on the target grid: exact on its lattice, seamless off it, NaN where it is not."""

from __future__ import annotations

import json
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import dask.array as da
import numpy as np
import pytest
import rasterio
import rasterio.warp
import xarray as xr
import zarr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from scipy.ndimage import correlate1d, fourier_shift, gaussian_filter

from dualsr_geo.errors import GridError
from dualsr_geo.io.alignment import align_guides
from dualsr_geo.io.guides import MARGIN_PX
from dualsr_geo.io.readers.array_sources import ArraySource, ZarrSource
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.raster import grid
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.packing import Decoding, Packing
from dualsr_geo.raster.scene import Scene
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.shift import SHIFT_SUPPORT_PX, shift_image

UTM = "EPSG:32633"
EAST, NORTH = 380_000.0, 5_812_000.0


def utm(gsd, shape, east=EAST, north=NORTH, angle=0.0):
    turn = Affine.translation(east, north) @ Affine.rotation(angle)
    return GeoBox(shape, turn @ Affine.scale(gsd, -gsd), UTM)


def image(shape, seed=0, sigma=0.8):
    """Random texture of mean 100 and std of some 20, shape (band, y, x)."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return (gaussian_filter(noise, (0, sigma, sigma)) * 60 + 100).astype(np.float32)


def scene_of(array, box):
    """Wrap an array as a scene on a grid."""
    count = array.shape[0]
    plain = Decoding((1.0,) * count, (0.0,) * count, (None,) * count)
    source = ArraySource(xr.DataArray(array, dims=("band", "y", "x")), plain)
    packing = Packing("float32", (1.0,) * count, (0.0,) * count)
    return Scene(source, box, (Band(),) * count, packing)


def file_of(path, array, box, **more):
    """Write an array as GeoTIFF and open it as a scene."""
    count, height, width = array.shape
    scales, mask = more.pop("scales", None), more.pop("mask", None)
    alpha = more.pop("alpha", False)
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": array.dtype}
    with rasterio.open(path, "w", crs=str(box.crs), transform=box.affine, **profile, **more) as file:
        file.write(array)
        if scales is not None:
            file.scales, file.offsets = scales
        if mask is not None:
            file.write_mask(mask)
        if alpha:
            file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    return open_scene(path)


def whole(box):
    return Window(0, box.shape[0], 0, box.shape[1])


def centres(box):
    """Map coordinates of pixel centres."""
    rows, columns = np.indices(tuple(box.shape)) + 0.5
    t = box.affine
    return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f


def by_gdal(path, target, resampling, finer):
    """Warp a file with GDAL as one piece."""
    scale = min(1.0, 1 / finer)
    with (
        rasterio.open(path) as file,
        WarpedVRT(
            file,
            crs=str(target.crs),
            transform=target.affine,
            height=target.shape[0],
            width=target.shape[1],
            resampling=resampling,
            tolerance=1e-6,
            nodata=math.nan,
            dtype="float32",
            XSCALE=scale,
            YSCALE=scale,
            UNIFIED_SRC_NODATA="NO",
        ) as warped,
    ):
        return warped.read()


@dataclass(frozen=True)
class Watched:
    """A source that notes which windows are read."""

    inner: ArraySource
    windows: list[Window]

    @property
    def shape(self):
        return self.inner.shape

    def read(self, window, bands=None):
        self.windows.append(window)
        return self.inner.read(window, bands)


def watched(scene):
    windows = []
    return Scene(Watched(scene.source, windows), scene.geobox, scene.bands, scene.packing), windows


# On the target's lattice.

TARGET = utm(2, (33, 47))


def spread(array, row, column, window):
    """Cut a window of the target from an array whose first pixel is at (row, column), NaN outside."""
    rows, columns = np.arange(window.y0, window.y1) - row, np.arange(window.x0, window.x1) - column
    inside = ((rows >= 0) & (rows < array.shape[1]))[:, None] & ((columns >= 0) & (columns < array.shape[2]))
    picked = array[:, rows.clip(0, array.shape[1] - 1)[:, None], columns.clip(0, array.shape[2] - 1)]
    return np.where(inside, picked, np.nan)


any_window = st.builds(
    lambda y, x, h, w: Window(y, y + h, x, x + w),
    st.integers(-70, 90),
    st.integers(-70, 110),
    st.integers(1, 60),
    st.integers(1, 60),
)


@given(any_window, st.integers(-50, 40), st.integers(-60, 40))
def test_a_guide_on_the_lattice_is_read_to_the_bit_wherever_the_window_is(window, row, column):
    array = image((2, 45, 63))
    place = TARGET.affine @ Affine.translation(min(column, 46), min(row, 32))
    row, column = min(row, 32), min(column, 46)
    if row + 45 <= 0 or column + 63 <= 0:
        return
    guide = align_guides([scene_of(array, GeoBox((45, 63), place, UTM))], TARGET)
    np.testing.assert_array_equal(guide.read(window), spread(array, row, column, window))


def test_every_kind_of_source_reads_the_same_on_the_lattice(tmp_path):
    stored = (image((2, 45, 63)) * 50).astype(np.uint16)
    stored[:, 5:9, 7:20] = 0
    box = utm(2, (45, 63), EAST - 10, NORTH + 6)
    raster = file_of(tmp_path / "g.tif", stored, box, nodata=0, scales=((0.01, 0.02), (1.0, -1.0)))
    store = zarr.create_array(tmp_path / "g.zarr/v", shape=stored.shape, chunks=(1, 16, 16), dtype="uint16")
    store[:] = stored
    decoding = Decoding((0.01, 0.02), (1.0, -1.0), (0.0, 0.0))
    zarr_source = ZarrSource(str(tmp_path / "g.zarr"), "v", (0, 1, 2), indices=(0, 1), size=(45, 63), decoding=decoding)
    lazy = xr.DataArray(da.from_array(stored, chunks=(1, 20, 20)), dims=("band", "y", "x"))
    want = stored * np.array([0.01, 0.02])[:, None, None] + np.array([1.0, -1.0])[:, None, None]
    want[stored == 0] = np.nan
    window = Window(-9, 40, -3, 61)
    for source in (raster.source, zarr_source, ArraySource(lazy, decoding)):
        scene = Scene(source, box, raster.bands, raster.packing)
        guide = align_guides([scene], TARGET)
        assert guide.count == 2
        got = guide.read(window)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, spread(want.astype(np.float32), -3, -5, window))


def test_both_south_up_share_a_lattice_and_a_single_one_is_turned():
    array = image((1, 33, 47))
    up = GeoBox((33, 47), TARGET.affine @ Affine.translation(0, 33) @ Affine.scale(1, -1), UTM)
    same = align_guides([scene_of(array, up)], up)
    np.testing.assert_array_equal(same.read(whole(up)), array)
    turned = align_guides([scene_of(array, TARGET)], up)
    np.testing.assert_allclose(turned.read(whole(up)), array[:, ::-1], rtol=1e-5)


# Off the lattice.


def geographic(shape=(700, 800)):
    """Return a grid in degrees over the place, a pixel of 3.4 m x 3.3 m."""
    return GeoBox(shape, Affine(5e-5, 0, 13.22, 0, -3e-5, 52.452), "EPSG:4326")


@pytest.mark.parametrize("gsd", [3.0, 10.0])
def test_a_guide_in_degrees_is_what_gdal_makes_of_the_whole_file(tmp_path, gsd):
    box, target = geographic(), utm(gsd, (131, 93), EAST + 300, NORTH - 200)
    array = image((3, 700, 800))
    array[:, 330:345, 400:430] = np.nan
    array[1, 360:380, 400:440] = np.nan
    scene = file_of(tmp_path / "g.tif", array, box, nodata=math.nan)
    finer = grid.gsd(target) / grid.gsd(box, like=target)
    method = Resampling.average if finer > 1.5 else Resampling.cubic
    want = by_gdal(tmp_path / "g.tif", target, method, finer)
    got = align_guides([scene], target).read(whole(target))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert np.isnan(want[1]).sum() > np.isnan(want[0]).sum() > 0
    np.testing.assert_array_equal(np.isnan(got[0]), np.isnan(got[2]))


def test_a_guide_in_degrees_is_where_rasterio_reproject_puts_it():
    box, target = geographic(), utm(10, (131, 93), EAST + 300, NORTH - 200)
    array = image((1, 700, 800), sigma=12) * 50
    want = np.full((1, 131, 93), np.nan, np.float32)
    rasterio.warp.reproject(
        array,
        want,
        src_transform=box.affine,
        src_crs="EPSG:4326",
        src_nodata=np.nan,
        dst_transform=target.affine,
        dst_crs=UTM,
        resampling=Resampling.average,
    )
    got = align_guides([scene_of(array, box)], target).read(whole(target))
    # reproject places pixels to an eighth of a guide pixel only.
    slope = max(np.abs(np.diff(array, axis=a)).max() for a in (1, 2))
    np.testing.assert_allclose(got, want, atol=0.25 * slope)
    assert want.std() > 3 * slope


def test_a_function_of_place_comes_back_at_the_target_s_pixel_centres():
    def hill(lon, lat):
        return np.sin(lon * 2e3) + np.cos(lat * 3e3)

    box, target = geographic(), utm(3, (131, 93), EAST + 300, NORTH - 200, angle=-20)
    array = hill(*centres(box))[None].astype(np.float32)
    got = align_guides([scene_of(array, box)], target).read(whole(target))
    lon, lat = rasterio.warp.transform(UTM, "EPSG:4326", *(c.ravel() for c in centres(target)))
    np.testing.assert_allclose(got[0].ravel(), hill(np.array(lon), np.array(lat)), atol=4e-3)


@pytest.mark.parametrize("angle", [0.0, 25.0, -90.0])
@pytest.mark.parametrize(("guide_gsd", "near"), [(9.8, 1e-3), (7.0, 0.05), (2.0, 0.2)])
def test_a_plane_stays_a_plane_under_rotation(angle, guide_gsd, near):
    target = utm(10, (31, 43), EAST + 700, NORTH - 700, angle)
    guide = utm(guide_gsd, (round(1500 / guide_gsd), round(1600 / guide_gsd)), EAST + 0.3, NORTH + 1.1)

    def plane(x, y):
        return (x - EAST) * 0.1 + (NORTH - y) * 0.03

    got = align_guides([scene_of(plane(*centres(guide))[None].astype(np.float32), guide)], target)
    # On a slope of 0.1 a metre. GDAL's widened kernels are sampled, its averages taken over the
    # upright box around a rotated pixel: a twentieth of a pixel, and a fifth.
    np.testing.assert_allclose(got.read(whole(target))[0], plane(*centres(target)), atol=near)


def test_a_much_finer_guide_is_averaged_not_decimated():
    array = image((2, 5 * 33, 5 * 47), sigma=0)
    scene = scene_of(array, utm(0.4, array.shape[1:]))
    means = array.reshape(2, 33, 5, 47, 5).mean((2, 4))
    got = align_guides([scene], TARGET).read(whole(TARGET))
    np.testing.assert_allclose(got, means, rtol=1e-5)


def test_a_guide_half_a_pixel_off_is_interpolated_by_cubic_convolution():
    array = image((1, 60, 70))
    scene = scene_of(array, utm(2, (60, 70), EAST - 21, NORTH + 20))
    got = align_guides([scene], TARGET).read(whole(TARGET))
    half = correlate1d(array, np.array([-1, 9, 9, -1]) / 16, axis=2, origin=-1)
    # correlate1d takes samples x-1..x+2 for the place x + 1/2; the target starts 10.5 px in.
    np.testing.assert_allclose(got, half[:, 10:43, 10:57], rtol=1e-5)


def test_a_guide_of_13_cm_for_a_scene_of_70_cm():
    scene, guide = utm(0.70, (41, 33)), utm(0.13, (250, 200), EAST - 0.9, NORTH + 0.7)
    ratio = grid.choose_ratio(None, scene, guide)
    target = grid.refine(scene, ratio)
    assert ratio == 5
    assert grid.gsd(target) == pytest.approx(0.14)
    # 0.14 m from 0.13 m: cubic, with the kernel as wide as the target's pixel, so noise is damped.
    array = image((1, 250, 200), sigma=0)
    got = align_guides([scene_of(array, guide)], target).read(whole(target))
    assert np.isfinite(got).all()
    assert 0.6 * array.std() < got.std() < 0.95 * array.std()
    assert abs(got.mean() - array.mean()) < 0.02 * array.std()


@pytest.mark.parametrize("gsd", [3.0, 10.0])
@pytest.mark.parametrize("target_angle", [0.0, 25.0])
def test_no_seams_a_window_is_a_part_of_the_whole(gsd, target_angle):
    target = utm(gsd, (131, 93), EAST + 500, NORTH - 400, target_angle)
    array = image((2, 700, 800))
    array[0, 380:400, 450:480] = np.nan
    guide = align_guides([scene_of(array, geographic())], target)
    everything = guide.read(whole(target).grown(40))
    assert 0 < np.isnan(everything).sum() < 0.4 * everything.size
    for window in (
        Window(0, 37, 0, 93),
        Window(-40, 50, 61, 133),
        Window(64, 65, 5, 6),
        Window(100, 131, 3, 90),
    ):
        part = everything[:, *window.within(whole(target).grown(40)).slices]
        got = guide.read(window)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(part))
        np.testing.assert_allclose(got, part, rtol=0, atol=1e-4)


def test_a_window_that_needs_much_is_read_in_pieces_that_fit_without_seams(monkeypatch):
    target = utm(10, (61, 43), EAST + 500, NORTH - 400)
    scene, windows = watched(scene_of(image((2, 700, 800)), geographic()))
    guide = align_guides([scene], target)
    at_once = guide.read(whole(target))
    assert len(windows) == 1
    del windows[:]
    monkeypatch.setattr("dualsr_geo.io.guides.MAX_VALUES", 20_000)
    np.testing.assert_allclose(guide.read(whole(target)), at_once, rtol=0, atol=1e-4)
    assert len(windows) >= 4
    assert max(2 * w.shape[0] * w.shape[1] for w in windows) <= 20_000


def test_a_target_pixel_that_holds_more_than_fits_is_still_read(monkeypatch):
    monkeypatch.setattr("dualsr_geo.io.guides.MAX_VALUES", 10)
    target = utm(10, (2, 3), EAST + 500, NORTH - 400)
    guide = align_guides([scene_of(image((1, 700, 800)), geographic())], target)
    assert np.isfinite(guide.read(whole(target))).all()


def test_a_large_guide_costs_only_the_window():
    huge = da.zeros((1, 400_000, 400_000), chunks=(1, 1000, 1000), dtype=np.float32)
    box = utm(2, huge.shape[1:], EAST - 300_001, NORTH + 300_001)
    scene, windows = watched(scene_of(huge, box))
    got = align_guides([scene], TARGET).read(whole(TARGET))
    np.testing.assert_array_equal(got, 0)
    assert [max(w.shape) for w in windows] == [47 + 2 * MARGIN_PX + 1]


@pytest.mark.parametrize("gsd", [2.0, 0.7])
def test_where_the_guide_does_not_reach_is_nan(gsd):
    """A guide over the western half, with real data past the target's western edge."""
    width = round(52 / gsd)
    scene = scene_of(image((1, round(80 / gsd), width)), utm(gsd, (round(80 / gsd), width), EAST - 10, NORTH + 6))
    got = align_guides([scene], TARGET).read(Window(-3, 33, -5, 47))
    reach = round((width * gsd - 10) / 2) + 5
    assert np.isfinite(got[:, :, : reach - 1]).all()
    assert np.isnan(got[:, :, reach + 1 :]).all()
    assert np.isnan(align_guides([scene], TARGET).read(Window(0, 9, 500, 520))).all()


def test_masks_alpha_scale_and_band_choice_hold_on_another_grid(tmp_path):
    box, target = utm(0.5, (160, 220), EAST - 5, NORTH + 5), TARGET
    array = np.clip(image((3, 160, 220), sigma=3) + 20, 1, 255).astype(np.uint8)
    mask = np.full((160, 220), 255, np.uint8)
    mask[40:90, 60:130] = 0
    masked = file_of(tmp_path / "mask.tif", array, box, mask=mask, scales=((0.5,) * 3, (-7.0,) * 3))
    rgba = file_of(tmp_path / "alpha.tif", np.concatenate([array, mask[None]]), box, alpha=True)
    true = np.where(mask, array, np.nan).astype(np.float32)
    want = align_guides([scene_of(true, box)], target).read(whole(target))
    assert np.isnan(want).any()
    got = align_guides([masked], target).read(whole(target))
    np.testing.assert_allclose(got, want * 0.5 - 7, rtol=1e-5)
    guide = align_guides([rgba.select([2, 0])], target)
    assert guide.count == 2
    np.testing.assert_allclose(guide.read(whole(target)), want[[2, 0]], rtol=1e-5)


def test_bands_have_their_own_holes():
    array = image((2, 160, 220))
    array[0, 40:90, 60:130] = np.nan
    guide = align_guides([scene_of(array, utm(0.5, (160, 220), EAST - 5, NORTH + 5))], TARGET)
    got = guide.read(whole(TARGET))
    assert np.isnan(got[0]).any()
    assert np.isfinite(got[1]).all()


def test_several_guides_are_stacked_along_band():
    pan, rgb = image((1, 33, 47)), image((3, 160, 220), seed=1)
    scenes = [scene_of(pan, TARGET), scene_of(rgb, utm(0.5, (160, 220), EAST - 5, NORTH + 5))]
    both = align_guides(scenes, TARGET)
    window = Window(-4, 20, 3, 60)
    assert both.count == 4
    np.testing.assert_array_equal(both.read(window)[:1], align_guides(scenes[:1], TARGET).read(window))
    np.testing.assert_array_equal(both.read(window)[1:], align_guides(scenes[1:], TARGET).read(window))


# Without a georeference.


@pytest.mark.parametrize("guide_ratio", [2, 3, 5])
def test_a_bare_guide_covers_a_bare_scene(guide_ratio):
    scene = GeoBox((7, 11), Affine.identity(), None)
    target = grid.refine(scene, 3)
    array = image((1, 7 * guide_ratio, 11 * guide_ratio))
    guide = align_guides([scene_of(array, GeoBox(array.shape[1:], Affine.identity(), None))], target)
    got = guide.read(whole(target))
    assert np.isfinite(got).all()
    if guide_ratio == 3:
        np.testing.assert_array_equal(got, array)
    assert np.isnan(guide.read(Window(22, 23, 0, 33))).all()


def test_a_bare_guide_of_another_extent_is_refused():
    target = grid.refine(GeoBox((7, 11), Affine.identity(), None), 3)
    scene = scene_of(image((1, 28, 43)), GeoBox((28, 43), Affine.identity(), None))
    with pytest.raises(GridError, match=r"28 x 43 pixels.*scene's 7 x 11"):
        align_guides([scene], target)


def test_images_in_a_plane_without_crs_are_placed_by_their_affine():
    target = GeoBox((6, 8), Affine(2, 0, 100, 0, 2, 50), None)
    # The guide's affine is the identity, as pixel coordinates of a frame that both share.
    rows, columns = np.indices((80, 130)) + 0.5
    scene = scene_of((columns + 3 * rows)[None].astype(np.float32), GeoBox((80, 130), Affine.identity(), None))
    x, y = centres(target)
    np.testing.assert_allclose(align_guides([scene], target).read(whole(target))[0], x + 3 * y, rtol=1e-6)


@pytest.mark.parametrize("shape", [(33, 47), (35, 49)])
def test_a_guide_without_crs_for_a_scene_with_one_is_refused(shape):
    scene = scene_of(image((1, *shape)), GeoBox(shape, TARGET.affine, None))
    with pytest.raises(GridError, match="The scene has a CRS and the guide has none"):
        align_guides([scene], TARGET)


def test_a_guide_elsewhere_is_refused_with_its_extent():
    scene = scene_of(image((1, 33, 47)), utm(2, (33, 47), EAST + 5000))
    with pytest.raises(GridError, match=r"guide covers x 385000\.\.385094.*do not overlap"):
        align_guides([scene], TARGET)


# Travelling and laziness.


def test_guides_travel_and_serve_many_threads(tmp_path):
    box, target = geographic(), utm(3, (61, 43), EAST + 100, NORTH - 100)
    scene = file_of(tmp_path / "g.tif", image((2, 700, 800)), box)
    guide = pickle.loads(pickle.dumps(align_guides([scene, scene], target)))
    want = guide.read(whole(target))
    assert np.isfinite(want).all()
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(guide.read, [whole(target)] * 12):
            np.testing.assert_array_equal(got, want)


def test_the_fingerprint_is_json_and_tells_sources_and_places_apart():
    array = image((1, 33, 47))
    scenes = [
        scene_of(array, TARGET),
        scene_of(array + 1, TARGET),
        scene_of(array, utm(2, (33, 47), EAST + 2)),
        scene_of(array, utm(2, (33, 47), EAST + 1)),
        scene_of(array, utm(2, (33, 47), EAST + 0.5)),
    ]
    prints = [json.dumps(align_guides([s], TARGET).fingerprint()) for s in scenes]
    prints.append(json.dumps(align_guides(scenes, TARGET).fingerprint()))
    assert len(set(prints)) == 6
    assert prints[0] == json.dumps(align_guides([scene_of(array, TARGET)], TARGET).fingerprint())


def test_near_holds_no_more_than_the_window_needs_and_reads_the_same():
    window = Window(10, 20, -6, 30)
    boxes = [utm(gsd, (300, 400), EAST - 20, NORTH + 20) for gsd in (2.0, 0.7)]
    scenes = [scene_of(image((1, 300, 400)), box) for box in boxes]
    for scene in scenes:
        near = align_guides([scene], TARGET).near(window)
        assert np.prod(near.source.shape) < 0.1 * 300 * 400
    both = align_guides(scenes, TARGET)
    np.testing.assert_allclose(both.near(window).read(window), both.read(window), rtol=0, atol=1e-4)


# Moving by a fraction of a pixel.

fractions = st.floats(-3, 3)


def limited(shape, edge, seed=3):
    """Return a periodic image with nothing above `edge` of the Nyquist frequency."""
    noise = np.fft.fft2(np.random.default_rng(seed).normal(size=shape))
    fy, fx = np.abs(np.fft.fftfreq(shape[0])), np.abs(np.fft.fftfreq(shape[1]))
    noise[np.maximum(fy[:, None], fx[None]) > edge / 2] = 0
    return np.fft.ifft2(noise).real


def catmull_rom(plane, dy, dx):
    for axis, f in ((0, dy), (1, dx)):
        weights = [
            0.5 * (-f + 2 * f**2 - f**3),
            0.5 * (2 - 5 * f**2 + 3 * f**3),
            0.5 * (f + 4 * f**2 - 3 * f**3),
            0.5 * (-(f**2) + f**3),
        ]
        plane = correlate1d(plane, weights, axis=axis, mode="wrap", origin=-1)
    return plane


@pytest.mark.parametrize(("edge", "allowed"), [(0.5, 0.003), (0.7, 0.01), (0.9, 0.12)])
@pytest.mark.parametrize(("dy", "dx"), [(0.5, 0.5), (0.3, 0.1), (0.25, 0.0)])
def test_shift_keeps_detail_near_nyquist_where_catmull_rom_does_not(edge, allowed, dy, dx):
    plane = limited((95, 121), edge)
    true = np.fft.ifft2(fourier_shift(np.fft.fft2(plane), (-dy, -dx))).real
    inner = np.s_[8:-8, 8:-8]

    def wrong(moved):
        return np.sqrt(np.mean((moved - true)[inner] ** 2)) / plane.std()

    ours = wrong(shift_image(plane[None].astype(np.float32), dy, dx)[0])
    assert ours < allowed
    assert ours < 0.5 * wrong(catmull_rom(plane, dy, dx))


def test_shift_by_whole_pixels_is_exact_and_brings_nan_from_outside():
    values = image((2, 9, 13))
    out = shift_image(values, 2, -3)
    np.testing.assert_array_equal(out[:, :7, 3:], values[:, 2:, :10])
    assert np.isnan(out[:, 7:]).all()
    assert np.isnan(out[:, :, :3]).all()
    assert np.isnan(shift_image(values, 40, 0)).all()


@settings(max_examples=40)
@given(fractions, fractions, st.integers(0, 5), st.integers(0, 5), st.booleans())
def test_shift_depends_on_its_support_and_not_on_where_the_window_begins(dy, dx, top, left, holes):
    values = image((1, 45, 51))
    if holes:
        values[:, 20:23, 17:30] = np.nan
        values[:, 3::11, ::7] = np.nan
    margin = SHIFT_SUPPORT_PX + 3
    full = shift_image(values, dy, dx)
    part = shift_image(values[:, top:40, left:45], dy, dx)
    inner = np.s_[:, margin:-margin, margin:-margin]
    np.testing.assert_array_equal(part[inner], full[:, top:40, left:45][inner])


@settings(max_examples=40)
@given(fractions, fractions)
def test_a_hole_moves_along_and_neither_grows_nor_rings_nor_reaches_beyond_the_support(dy, dx):
    values = image((1, 45, 51))
    holed = values.copy()
    holed[:, 20:23, 17:30] = np.nan
    holed[:, 30, 40] = np.nan
    row, column = math.floor(dy + 0.5), math.floor(dx + 0.5)
    moved = np.roll(np.isnan(holed), (-row, -column), (1, 2))
    inner = np.s_[:, 3:-3, 3:-3]
    out, intact = shift_image(holed, dy, dx), shift_image(values, dy, dx)
    np.testing.assert_array_equal(np.isnan(out)[inner], moved[inner])
    reach = gaussian_filter(moved.astype(float), (0, 1, 1), truncate=SHIFT_SUPPORT_PX) > 0
    np.testing.assert_array_equal(out[inner][~reach[inner]], intact[inner][~reach[inner]])
    low, high = np.nanmin(values), np.nanmax(values)
    assert np.nanmin(out) > low - 0.35 * (high - low)
    assert np.nanmax(out) < high + 0.35 * (high - low)


@given(fractions, fractions, st.floats(-1e4, 1e4, width=32))
def test_a_flat_image_stays_flat_to_its_edges_and_holes(dy, dx, level):
    values = np.full((1, 23, 17), level, np.float32)
    values[:, 5:9, 3:7] = np.nan
    out = shift_image(values, dy, dx)
    np.testing.assert_allclose(out[np.isfinite(out)], level, rtol=1e-5, atol=1e-3)
    assert np.isfinite(out).any()


def test_shift_takes_each_band_with_its_own_holes():
    values = image((2, 23, 17))
    values[0, 5:9, 3:7] = np.nan
    out = shift_image(values, 0.4, -0.3)
    for band in range(2):
        np.testing.assert_array_equal(out[band], shift_image(values[band : band + 1], 0.4, -0.3)[0])
