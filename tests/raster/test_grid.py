"""Grids: exact refinement, GSD across CRSs, ratio rules, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import rasterio.transform
import rasterio.warp
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from dualsr_geo.errors import GridError, ScaleError
from dualsr_geo.raster import grid

UTM = "EPSG:32633"
EAST, NORTH = 379_995.3, 5_812_340.7


def box(gsd: float, shape: tuple[int, int], crs: str | None = UTM, **turn: float) -> GeoBox:
    angle, south_up = turn.get("angle", 0.0), turn.get("south_up", 0.0)
    flip = Affine.scale(gsd, gsd if south_up else -gsd)
    return GeoBox(shape, Affine.translation(EAST, NORTH) @ Affine.rotation(angle) @ flip, crs)


def degrees(gsd: float, shape: tuple[int, int], west: float, north: float) -> GeoBox:
    return GeoBox(shape, Affine(gsd, 0, west, 0, -gsd, north), "EPSG:4326")


odd = st.integers(0, 300).map(lambda n: 2 * n + 1)
ratios = st.integers(2, 49)
boxes = st.builds(
    lambda gsd, shape, angle, south_up: box(gsd, shape, angle=angle, south_up=south_up),
    st.floats(0.05, 1000),
    st.tuples(odd, odd),
    st.sampled_from([0.0, 17.3, -90.0]),
    st.booleans(),
)


@given(boxes, ratios)
def test_refine_divides_the_affine_to_the_last_bit(scene, ratio):
    fine, t = grid.refine(scene, ratio), scene.affine
    assert tuple(fine.affine)[:6] == (t.a / ratio, t.b / ratio, t.c, t.d / ratio, t.e / ratio, t.f)
    assert fine.shape == (scene.shape[0] * ratio, scene.shape[1] * ratio)
    assert fine.crs == scene.crs


@given(boxes, ratios)
def test_refine_keeps_the_extent(scene, ratio):
    fine = grid.refine(scene, ratio)
    ours = rasterio.transform.array_bounds(*scene.shape, scene.affine)
    theirs = rasterio.transform.array_bounds(*fine.shape, fine.affine)
    # The far corner is rounded once by the division, once by the product: below a millionth of a pixel.
    np.testing.assert_allclose(theirs, ours, rtol=1e-15, atol=1e-6 * grid.gsd(fine))


@given(boxes, ratios)
def test_coarsen_undoes_refine(scene, ratio):
    back = grid.coarsen(grid.refine(scene, ratio), ratio)
    assert back.shape == scene.shape
    np.testing.assert_allclose(tuple(back.affine), tuple(scene.affine), rtol=1e-15)


def test_coarsen_cuts_a_remainder():
    wide = grid.coarsen(box(2, (11, 9)), 4)
    assert wide.shape == (2, 2)
    assert tuple(wide.affine)[:6] == (8, 0, EAST, 0, -8, NORTH)


def test_a_pixel_grid_without_crs_is_bare_and_a_map_is_not():
    assert grid.is_bare(GeoBox((3, 5), Affine.identity(), None))
    assert not grid.is_bare(GeoBox((3, 5), Affine.scale(2), None))
    assert not grid.is_bare(GeoBox((3, 5), Affine.identity(), UTM))


def test_gsd_is_the_side_of_a_square_of_the_same_area():
    assert grid.gsd(box(0.7, (3, 5), angle=31.0)) == pytest.approx(0.7)
    oblong = GeoBox((3, 5), Affine(2, 0, EAST, 0, -8, NORTH), UTM)
    assert grid.gsd(oblong) == pytest.approx(4)


def test_gsd_in_another_crs_is_what_rasterio_measures():
    scene, guide = box(10, (41, 33)), degrees(1e-5, (300, 500), 13.2, 52.45)
    x, y = scene.affine @ (33 / 2, 41 / 2)
    (lon,), (lat,) = rasterio.warp.transform(UTM, "EPSG:4326", [x], [y])
    xs, ys = rasterio.warp.transform("EPSG:4326", UTM, [lon, lon + 1e-5, lon], [lat, lat, lat - 1e-5])
    area = (xs[1] - xs[0]) * (ys[2] - ys[0]) - (ys[1] - ys[0]) * (xs[2] - xs[0])
    assert grid.gsd(guide, like=scene) == pytest.approx(math.sqrt(abs(area)), rel=1e-4)


def test_gsd_is_measured_at_the_scene_however_far_the_guide_reaches():
    scene = box(10, (41, 33))
    small, globe = degrees(1e-3, (60, 60), 13.2, 52.47), degrees(1e-3, (180_000, 360_000), -180, 90)
    assert grid.gsd(globe, like=scene) == pytest.approx(grid.gsd(small, like=scene))


@pytest.mark.parametrize(
    ("crs", "name"), [(UTM, "m"), ("EPSG:4326", "degree"), ("EPSG:2263", "US survey foot"), (None, "px")]
)
def test_units_have_their_names(crs, name):
    assert grid.unit(GeoBox((3, 5), Affine.identity(), crs)) == name


@pytest.mark.parametrize(
    ("scene", "guide", "ratio"),
    [(30, 10, 3), (2, 0.5, 4), (0.70, 0.13, 5), (10, 2.51, 4), (10, 2.49, 4), (3.97, 2, 2), (4.9, 0.1, 49)],
)
def test_the_ratio_is_the_largest_integer_that_the_guide_allows(scene, guide, ratio):
    assert grid.largest_ratio(box(scene, (41, 33)), box(guide, (99, 77))) == ratio


@given(st.integers(2, 49), odd, odd)
def test_a_refined_grid_has_its_own_ratio(ratio, height, width):
    scene = box(1.7, (height, width), angle=12.0)
    assert grid.choose_ratio(None, scene, grid.refine(scene, ratio)) == ratio


def test_a_guide_in_degrees_has_its_ratio_on_the_ground():
    # 0.0000225 degrees are 2.50 m northwards and 1.52 m eastwards at 52.4 N: 1.95 m.
    assert grid.largest_ratio(box(10, (41, 33)), degrees(2.25e-5, (500, 500), 13.2, 52.45)) == 5


def test_a_guide_that_is_hardly_sharper_is_refused_with_both_sizes():
    with pytest.raises(GridError, match=r"guide is 6 m, one of the scene 10 m.*Give a guide of 5 m or finer.*--rgb"):
        grid.largest_ratio(box(10, (41, 33)), box(6, (80, 70)))


def test_scale_rules():
    scene, guide = box(0.70, (41, 33)), box(0.13, (199, 177))
    assert grid.choose_ratio(3, scene, guide) == 3
    assert grid.choose_ratio(7, scene, None) == 7
    with pytest.raises(ScaleError, match=r"--scale 1 does not sharpen.*2 or more"):
        grid.choose_ratio(1, scene, guide)
    with pytest.raises(ScaleError, match=r"Without a guide.*Give --scale"):
        grid.choose_ratio(None, scene, None)
    with pytest.raises(ScaleError, match=r"--scale 7 would give pixels of 0\.1 m.*0\.13 m.*up to --scale 5"):
        grid.choose_ratio(7, scene, guide)


@given(boxes, st.integers(2, 9), st.integers(-40, 40), st.integers(-40, 40))
def test_offset_is_found_on_the_same_lattice(scene, ratio, row, column):
    target = grid.refine(scene, ratio)
    moved = target.affine @ Affine.translation(-column, -row)
    assert grid.offset_px(target, GeoBox((50, 70), moved, scene.crs)) == (row, column)


@pytest.mark.parametrize(
    "change",
    [
        Affine.translation(0.5, 0),
        Affine.translation(0, 0.06),
        Affine.scale(1.001),
        Affine.rotation(0.03),
        Affine.scale(1, -1),
        Affine.scale(2),
    ],
)
def test_another_lattice_has_no_offset(change):
    target = box(2, (101, 203))
    assert grid.offset_px(target, GeoBox((50, 70), target.affine @ change, UTM)) is None


def test_another_crs_has_no_offset():
    target = box(2, (101, 203))
    assert grid.offset_px(target, GeoBox((50, 70), target.affine, "EPSG:32632")) is None
    assert grid.offset_px(target, GeoBox((50, 70), target.affine, None)) is None


def test_a_pixel_size_that_drifts_apart_over_the_target_is_another_lattice():
    near, far = box(2, (10, 10)), box(2, (5000, 10))
    other = GeoBox((50, 70), near.affine @ Affine.scale(1 + 2e-5), UTM)
    assert grid.offset_px(near, other) == (0, 0)
    assert grid.offset_px(far, other) is None


def test_guide_and_scene_elsewhere_are_refused_with_both_extents():
    scene, guide = box(10, (100, 50)), box(1, (100, 50))
    away = GeoBox(guide.shape, Affine.translation(90_000, 0) @ guide.affine, UTM)
    message = (
        r"guide covers x 469995\.3\.\.470045\.3, y 5812240\.7\.\.5812340\.7, "
        r"the scene x 379995\.3\.\.380495\.3, y 5811340\.7\.\.5812340\.7 \(m\).*do not overlap.*--rgb"
    )
    with pytest.raises(GridError, match=message):
        grid.require_same_world(scene, away)
    grid.require_same_world(scene, guide)


def test_grids_that_only_touch_do_not_overlap():
    scene = box(10, (100, 50))
    with pytest.raises(GridError, match=r"x 380495\.3\.\.380995\.3"):
        grid.require_same_world(scene, GeoBox((100, 50), scene.affine @ Affine.translation(50, 0), UTM))


@pytest.mark.parametrize(("lacks", "has"), [("guide", "scene"), ("scene", "guide")])
def test_one_crs_of_two_is_refused_naming_the_one_that_lacks(lacks, has):
    crs = {lacks: None, has: UTM}
    with pytest.raises(GridError, match=f"The {has} has a CRS and the {lacks} has none"):
        grid.require_same_world(box(10, (9, 7), crs["scene"]), box(1, (90, 70), crs["guide"]))


def test_worlds_are_compared_across_crs_even_where_one_view_has_no_numbers():
    scene = box(10, (100, 50))
    grid.require_same_world(scene, degrees(1e-5, (5000, 5000), 13.2, 52.45))
    globe = degrees(0.01, (18_000, 36_000), -180, 90)
    grid.require_same_world(scene, globe)
    grid.require_same_world(globe, scene)
    with pytest.raises(GridError, match=r"the scene x 379995\.3\.\.380495\.3.*do not overlap"):
        grid.require_same_world(scene, degrees(1e-5, (5000, 5000), 14.2, 52.45))


def test_bare_images_of_one_extent_get_nested_grids():
    scene = GeoBox((7, 11), Affine.identity(), None)
    assert grid.same_extent(scene, (28, 44)) == grid.refine(scene, 4)


@pytest.mark.parametrize("shape", [(28, 43), (28, 33), (3, 5), (14, 44)])
def test_bare_images_of_different_extents_are_refused_with_both_shapes(shape):
    scene = GeoBox((7, 11), Affine.identity(), None)
    with pytest.raises(GridError, match=f"{shape[0]} x {shape[1]} pixels.*scene's 7 x 11.*Crop --rgb"):
        grid.same_extent(scene, shape)


@pytest.mark.parametrize("affine", [Affine(30 / 7, 0, 364095, 0, -30 / 7, 5809965), Affine(-0.1, 0, 0.3, 0, 0.1, 0.7)])
def test_pixel_centres_are_those_of_odc_geo_and_of_the_affine_to_the_last_bit(affine):
    box = GeoBox((40, 30), affine, "EPSG:32633")
    y, x = grid.pixel_centres(box)
    own = [c.values for c in box.coordinates.values()]
    np.testing.assert_allclose(y, own[0], rtol=1e-14)
    np.testing.assert_allclose(x, own[1], rtol=1e-14, atol=1e-15)
    assert [affine @ (i + 0.5, 0.5) for i in range(30)] == [(v, y[0]) for v in x]
