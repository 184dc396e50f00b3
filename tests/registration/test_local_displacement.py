"""A guide displaced place by place: the field as a value, its estimate, and what it wins back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import wald_cases  # noqa: F401  # adds the path of the benchmark
from affine import Affine
from displaced import displaced, random_field
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dualsr_geo import synthetic, upscale
from dualsr_geo.errors import OptionError
from dualsr_geo.evaluation import metrics
from dualsr_geo.io.guides import DisplacedGuide
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration import field_estimation, local_displacement
from dualsr_geo.registration.displacement_field import SUPPORT_PX, DisplacementField, bspline_basis
from dualsr_geo.serialization import from_json, to_json
from dualsr_geo.surveying.sampling import SurveyOptions

RATIO, RIM = 4, 2
LOCAL = SurveyOptions(RATIO, coregister="local")


@pytest.fixture(scope="module")
def made() -> synthetic.Sample:
    return synthetic.make((44, 57), bands=7, seed=6)


def found(scene, guide, *, rim: int = 0) -> DisplacementField | None:
    """Estimate a field from a whole scene; the guide reaches `rim` hr pixels beyond it."""
    shape, margin = scene.shape[1:], local_displacement.margin(RATIO)
    wide = np.pad(guide, ((0, 0), (margin - rim,) * 2, (margin - rim,) * 2), constant_values=np.nan)
    return local_displacement.estimate_local_displacement(
        local_displacement.windows(shape), [scene], [wide], shape, LOCAL
    )


@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.tuples(st.integers(4, 11), st.integers(4, 11)),
    st.data(),
)
def test_a_field_survives_json_and_stays_within_its_coefficients(shape, nodes, data):
    values = data.draw(arrays(np.float32, (2, *nodes), elements=st.floats(-8, 8, width=32)))
    field = DisplacementField(shape, values)
    again = from_json(DisplacementField, json.loads(json.dumps(to_json(field))))
    assert again.shape == field.shape
    np.testing.assert_array_equal(again.nodes, field.nodes)
    everywhere = field.at(Window(-20, shape[0] + 20, -20, shape[1] + 20))
    assert np.abs(everywhere).max() <= field.largest_px + 1e-5
    assert field.summary()["largest_px"] <= np.hypot(field.largest_px, field.largest_px) + 1e-3


@given(st.integers(4, 12), st.floats(0.5, 4000), st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9))
def test_splines_share_out_every_place_beyond_the_ends_too(count, length, places):
    shares = bspline_basis(np.array(places), length, count)
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-9)


def test_a_field_of_one_shift_moves_a_plane_by_it():
    field = field_estimation.constant_field((19, 26), RATIO, (1.25, -2.5))
    window, margin = Window(7, 38, 11, 52), field.margin_px
    y, x = np.mgrid[window.y0 - margin : window.y1 + margin, window.x0 - margin : window.x1 + margin].astype(np.float32)
    # Far from its ends a spline continues a plane exactly.
    moved = field.moved(np.stack([y, 3 * x]), window)
    rows, columns = np.mgrid[window.slices]
    np.testing.assert_allclose(moved, np.stack([rows + 1.25, 3 * (columns - 2.5)]), atol=2e-3)


def test_windows_of_a_moved_guide_are_pieces_of_the_whole():
    field = random_field((83, 117), 3, 5)
    around = field.margin_px
    rng = np.random.default_rng(2)
    guide = rng.random((2, 83 + 2 * around, 117 + 2 * around), np.float32)
    guide[:, 40:47, 60:71] = np.nan
    whole = field.moved(guide, Window(0, 83, 0, 117))
    for window in (Window(0, 83, 0, 117), Window(13, 54, 29, 30), Window(30, 61, 77, 117)):
        rows, columns = (slice(s.start, s.stop + 2 * around) for s in window.slices)
        part = field.moved(guide[:, rows, columns], window)
        np.testing.assert_array_equal(np.isnan(part), np.isnan(whole[(slice(None), *window.slices)]))
        np.testing.assert_allclose(part, whole[(slice(None), *window.slices)], atol=1e-5)
    # A hole keeps its size, and nothing rings beyond the values there were.
    assert np.isnan(whole).sum() == pytest.approx(2 * 7 * 11, rel=0.2)
    assert SUPPORT_PX < around


def test_bending_undoes_a_displacement(made):
    field = random_field(made.guide.shape[1:], 2, 3)
    guide = displaced(made.guide, field)
    wide = np.pad(guide, ((0, 0), (field.margin_px,) * 2, (field.margin_px,) * 2), mode="reflect")
    back = field.moved(wide, Window(0, made.guide.shape[1], 0, made.guide.shape[2]))
    inner = np.s_[:, 12:-12, 12:-12]
    assert np.abs(guide - made.guide)[inner].mean() > 10 * np.abs(back - made.guide)[inner].mean()


@pytest.mark.parametrize("intervals", [2, 4])
def test_a_smooth_field_is_found(made, intervals):
    field = random_field(made.guide.shape[1:], intervals, intervals)
    guide = displaced(made.guide, field)
    estimate = found(made.scene, guide)
    assert estimate is not None
    everywhere = Window(0, guide.shape[1], 0, guide.shape[2])
    wrong, away = ((f.at(everywhere)[:, 12:-12, 12:-12]) for f in (estimate, field))
    assert np.sqrt(((wrong - away) ** 2).mean()) < 0.2 * np.sqrt((away**2).mean())


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.5, -2.0)])
def test_a_guide_that_is_not_displaced_is_not_moved(shift):
    for noise in (0.0, 0.02):
        sample = synthetic.make((36, 45), bands=7, seed=8, shift_px=shift, noise=noise)
        assert found(sample.scene, sample.guide) is None


def test_a_guide_of_something_else_or_nowhere_has_no_field(made):
    other = np.random.default_rng(0).random(made.guide.shape).astype(np.float32)
    assert found(made.scene, other) is None
    assert found(made.scene, np.full_like(made.guide, np.nan)) is None


@settings(max_examples=60)
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_what_is_read_is_bounded_disjoint_and_inside(height, width):
    places = local_displacement.windows((height, width))
    assert sum(w.shape[0] * w.shape[1] for w in places) <= 2**16
    for i, w in enumerate(places):
        assert 0 <= w.y0 < w.y1 <= height
        assert 0 <= w.x0 < w.x1 <= width
        assert all(w.y1 <= o.y0 or o.y1 <= w.y0 or w.x1 <= o.x0 or o.x1 <= w.x0 for o in places[:i])


# ---- from files --------------------------------------------------------------------------


def written(sample, guide, folder):
    """Write a scene without its rim, and all of a guide."""
    grid = Affine(8, 0, 500_000, 0, -8, 4_000_000)
    scene = sample.scene[:, RIM:-RIM, RIM:-RIM]
    for name, values, transform in (
        ("scene.tif", scene, grid @ Affine.translation(RIM, RIM)),
        ("guide.tif", guide, grid @ Affine.scale(1 / RATIO)),
    ):
        profile = {"driver": "GTiff", "dtype": "float32", "crs": "EPSG:32633", "transform": transform}
        shape = dict(zip(("count", "height", "width"), values.shape, strict=True))
        with rasterio.open(folder / name, "w", **profile, **shape) as file:
            file.write(values)
    return folder / "scene.tif", folder / "guide.tif"


def values_of(path):
    with rasterio.open(path) as file:
        return file.read()


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("displaced")
    field = random_field(made.guide.shape[1:], 2, 9)
    (folder / "displaced").mkdir()
    written(made, displaced(made.guide, field), folder / "displaced")
    written(made, made.guide, folder)
    return folder


def ergas(made, path):
    edge = RIM * RATIO
    return metrics.ergas(values_of(path), made.reference[:, edge:-edge, edge:-edge], ratio=RATIO)


def test_four_fifths_of_the_loss_are_won_back_and_nothing_is_lost(made, folder):
    run = {"model": "regression", "overwrite": True}
    upscale(folder / "scene.tif", folder / "still.tif", rgb=folder / "guide.tif", **run)
    upscale(folder / "scene.tif", folder / "local.tif", rgb=folder / "guide.tif", coregister="local", **run)
    np.testing.assert_array_equal(values_of(folder / "still.tif"), values_of(folder / "local.tif"))
    guide = folder / "displaced" / "guide.tif"
    left = upscale(folder / "scene.tif", folder / "left.tif", rgb=guide, **run)
    estimate = upscale(folder / "scene.tif", folder / "won.tif", rgb=guide, coregister="local", **run)
    assert left["guide"]["field"] is None
    assert 0.5 < estimate["guide"]["field"]["rms_px"] <= estimate["guide"]["field"]["largest_px"] < 5
    still, lost, won = (ergas(made, folder / f"{n}.tif") for n in ("still", "left", "won"))
    assert lost > 1.5 * still
    assert lost - won > 0.8 * (lost - still)


def test_tiles_and_the_lazy_array_are_the_whole(folder):
    guide = folder / "displaced" / "guide.tif"
    run = {"model": "regression", "coregister": "local", "overwrite": True}
    upscale(folder / "scene.tif", folder / "whole.tif", rgb=guide, tile=512, **run)
    upscale(folder / "scene.tif", folder / "tiled.tif", rgb=guide, tile=16, **run)
    whole, tiled = (values_of(folder / n) for n in ("whole.tif", "tiled.tif"))
    assert np.abs(whole - tiled).max() <= 1e-5 * np.ptp(whole)
    import rioxarray  # registers what opens the arrays below

    scene, pan = (rioxarray.open_rasterio(p, chunks={"y": 30, "x": 50}) for p in (folder / "scene.tif", guide))
    lazy = scene.dualsr.upscale(rgb=pan, model="regression", coregister="local", tile=512)
    np.testing.assert_allclose(lazy.compute(scheduler="single-threaded").to_numpy(), whole, atol=1e-5 * np.ptp(whole))


def test_an_unknown_way_is_refused(folder):
    with pytest.raises(OptionError, match="--coregister elastic is not known. Give auto, local or off."):
        upscale(folder / "scene.tif", folder / "x.tif", rgb=folder / "guide.tif", coregister="elastic")


def test_a_displaced_guide_is_a_guide():
    class Ramp:
        count = 1

        def read(self, window):
            y, x = np.mgrid[window.y0 : window.y1, window.x0 : window.x1]
            return (y + 1000 * x).astype(np.float32)[None]

        def near(self, window):
            self.requested = window
            return self

        def fingerprint(self):
            return {"name": "ramp"}

    field = field_estimation.constant_field((30, 40), RATIO, (2.0, 0.0))
    guide = DisplacedGuide(Ramp(), field)
    window = Window(20, 27, 30, 41)
    y, x = np.mgrid[window.slices]
    np.testing.assert_allclose(guide.read(window)[0], y + 2 + 1000 * x, rtol=1e-4)
    assert guide.near(window).guide.requested == window.grown(field.margin_px)
    other = replace(guide, field=field_estimation.constant_field((30, 40), RATIO, (2.5, 0.0)))
    assert guide.fingerprint() != other.fingerprint()
