"""What a product keeps of its scene, and what it takes from its guide."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.enums
import rasterio.warp
import rioxarray
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from dualsr_geo import synthetic, upscale
from dualsr_geo.degradation.operators import blur_matrix
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import DualSRWarning, InputError, OutputError
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.shift_description import describe_shift

pytestmark = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning",
    "ignore:Blur and shift of the guide could not be estimated:dualsr_geo.errors.DualSRWarning",
)

UTM = "EPSG:32633"
GRID = Affine(8, 0, 389000, 0, -8, 5820000)
SHAPE = (24, 31)
Array = NDArray[Any]
# What `samples` blurs with; given, where a test is not about the estimate, which takes seconds.
PSF = Psf.from_mtf(4)


def raster(path: Path, values: Array, transform: Affine = GRID, crs: str | None = UTM, **more: Any) -> Path:
    edit: Callable[[Any], None] = more.pop("edit", lambda _: None)
    count, height, width = values.shape
    profile = {"driver": "GTiff", "dtype": values.dtype, "crs": crs, "transform": transform, **more}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", count=count, height=height, width=width, **profile) as target:
            target.write(values)
            edit(target)
    return path


def terrain(
    transform: Affine, shape: tuple[int, int], count: int = 1, fine: int = 1, seed: int = 0
) -> NDArray[np.float64]:
    """Return ground of 0..1, the mean over each pixel of a map; bands are correlated."""
    rng = np.random.default_rng(seed)
    turn, side, phase = rng.uniform(0, np.pi, 40), rng.uniform(2.0, 20.0, 40), rng.uniform(0, 6, 40)
    at = (np.arange(shape[0] * fine) + 0.5) / fine, (np.arange(shape[1] * fine) + 0.5) / fine
    column, row = np.meshgrid(at[1], at[0])
    scale = 8 / abs(transform.a)
    x = (transform.a * column + transform.b * row + transform.c - 389000) / 8 * scale**0
    y = (transform.d * column + transform.e * row + transform.f - 5820000) / 8 * scale**0
    waves = [np.sin((np.cos(t) * x + np.sin(t) * y) * 6.28 / s + p) for t, s, p in zip(turn, side, phase, strict=True)]
    mixing = 0.4 + rng.uniform(-0.2, 0.2, (count, len(waves)))
    ground = np.tensordot(mixing, np.stack(waves), 1) / 8
    ground = 0.5 + 0.45 * np.tanh(ground)
    return ground.reshape(count, shape[0], fine, shape[1], fine).mean((2, 4))


def flat(shape: tuple[int, int] = SHAPE, count: int = 3, low: float = 1000, high: float = 9000) -> Array:
    return low + (high - low) * terrain(GRID, shape, count)


def values_of(path: Path | str) -> NDArray[np.float32]:
    scene = open_scene(path)
    return scene.source.read(Window(0, scene.shape[0], 0, scene.shape[1]))


def stored_of(path: Path | str) -> Array:
    with rasterio.open(path) as dataset:
        return dataset.read()


@pytest.fixture(scope="module")
def sample() -> synthetic.Sample:
    return synthetic.make((40, 47), bands=5, guide="rgb", seed=3)


def write_inputs(sample: synthetic.Sample, folder: Path, guide: Array | None = None) -> tuple[Path, Path]:
    """Write a scene and a guide as floats."""
    fine = GRID @ Affine.scale(1 / sample.ratio)
    sharp = sample.guide if guide is None else guide
    return raster(folder / "scene.tif", sample.scene), raster(folder / "guide.tif", sharp, fine)


def rmse(a: Array, b: Array) -> float:
    return float(np.sqrt(np.nanmean((np.asarray(a, np.float64) - b) ** 2)))


# ---- grid --------------------------------------------------------------------------------

GRIDS = {
    "north-up": GRID,
    "south-up": Affine(8, 0, 389000.5, 0, 8, 5810000.25),
    "rotated": GRID @ Affine.rotation(23),
    "odd": Affine(0.7, 0, 100.1, 0, -0.7, 200.3),
    "oblong": Affine(1 / 3, 0, 17.123456789, 0, -0.7, 45.1),
}


@pytest.mark.parametrize("form", ["out.tif", "out.tiff", "out.zarr"])
@pytest.mark.parametrize("grid", GRIDS)
def test_the_grid_is_the_scenes_to_the_last_bit(grid: str, form: str, tmp_path: Path) -> None:
    t = GRIDS[grid]
    scene = raster(tmp_path / "scene.tif", flat().astype("uint16"), t)
    summary = upscale(scene, tmp_path / form, scale=3, model="bicubic")
    product = open_scene(summary["output"])
    assert product.geobox.affine == Affine(t.a / 3, t.b / 3, t.c, t.d / 3, t.e / 3, t.f)
    assert product.shape == (72, 93) == tuple(summary["shape"])
    assert product.geobox.crs == UTM
    ours, theirs = product.geobox.boundingbox, open_scene(scene).geobox.boundingbox
    np.testing.assert_allclose(ours.bbox, theirs.bbox, rtol=1e-14)


def test_zarr_coordinates_are_pixel_centres(tmp_path: Path) -> None:
    scene = raster(tmp_path / "scene.tif", flat().astype("uint16"))
    upscale(scene, tmp_path / "out.zarr", scale=4, model="bicubic")
    with xr.open_zarr(tmp_path / "out.zarr", decode_coords="all") as product:
        np.testing.assert_array_equal(product.x, 389000 + 2 * (np.arange(124) + 0.5))
        np.testing.assert_array_equal(product.y, 5820000 - 2 * (np.arange(96) + 0.5))
        assert product.rio.crs == UTM


# ---- values ------------------------------------------------------------------------------

PACKINGS = {
    "uint8": (0, 255, 1.0, 0.0),
    "int8": (-100, 127, 0.01, 0.0),
    "uint16": (200, 65000, 1e-4, -0.1),
    "int16": (-3000, 32000, 1e-4, 0.0),
    "uint32": (0, 4e6, 1e-3, 0.0),
    "int32": (-2e6, 2e6, 1e-6, 5.0),
    "float32": (-0.1, 1.9, 1.0, 0.0),
    "float64": (-0.1, 1.9, 1.0, 0.0),
}


@pytest.mark.parametrize("form", ["out.tif", "out.zarr"])
@pytest.mark.parametrize("dtype", PACKINGS)
def test_values_come_back_in_their_own_packing(dtype: str, form: str, tmp_path: Path) -> None:
    low, high, scale, offset = PACKINGS[dtype]
    values = np.rint(flat(low=low, high=high)) if dtype[0] != "f" else flat(low=low, high=high)

    def pack(target: Any) -> None:
        if dtype[0] != "f":
            target.scales, target.offsets = (scale,) * 3, (offset,) * 3

    scene = raster(tmp_path / "scene.tif", values.astype(dtype), edit=pack)
    summary = upscale(scene, tmp_path / form, scale=2)
    product, source = open_scene(summary["output"]), open_scene(scene)
    assert product.packing == source.packing
    sharp, observed = values_of(summary["output"]), values_of(scene)
    spread = float(np.ptp(observed))
    means = sharp.reshape(3, 24, 2, 31, 2).mean((2, 4))
    # The sensor sees less sharply than the mean of a pixel.
    assert rmse(means, observed) < 0.04 * spread
    # Values far from zero, as temperatures, may be lower than the lowest of the scene.
    assert sharp.min() >= observed.min() - (0.25 * spread if observed.min() > spread else 0)
    assert summary["consistency"]["rmse"] < 0.003 * spread + scale * (dtype[0] != "f")


def test_reflectance_above_one_passes(tmp_path: Path) -> None:
    scene = raster(tmp_path / "scene.tif", flat(low=0.2, high=2.5).astype("float32"))
    summary = upscale(scene, tmp_path / "out.tif", scale=2)
    assert values_of(summary["output"]).max() > 2.0
    assert summary["clipped"] == {"below_minimum": summary["clipped"]["below_minimum"], "saturated": 0}


def edge(dark: float, bright: float, dtype: str) -> Array:
    values = np.full((2, *SHAPE), dark)
    values[:, 7:17, 9:22] = bright
    return values.astype(dtype)


def test_overshoot_is_cut_at_the_scenes_minimum_and_counted(tmp_path: Path) -> None:
    scene = raster(tmp_path / "scene.tif", edge(100, 5000, "int16"))
    summary = upscale(scene, tmp_path / "out.tif", scale=4)
    stored = stored_of(summary["output"])
    assert stored.min() == 100
    cut = summary["clipped"]["below_minimum"]
    assert 0 < cut <= (stored == 100).sum()
    assert stored.max() > 5000


def test_saturation_is_clipped_and_counted_and_never_wraps(tmp_path: Path) -> None:
    scene = raster(tmp_path / "scene.tif", edge(60, 255, "uint8"))
    summary = upscale(scene, tmp_path / "out.tif", scale=4)
    stored = stored_of(summary["output"])
    assert 0 < summary["clipped"]["saturated"] <= (stored == 255).sum()
    inside = stored[:, 32:64, 40:84]
    assert inside.min() > 128


def test_values_are_negative_only_where_the_scene_goes_below_zero(tmp_path: Path) -> None:
    values = flat(low=0, high=8000)
    values[:, 4:9, 5:12] = -400
    scene = raster(tmp_path / "scene.tif", values.astype("int16"))
    stored = stored_of(upscale(scene, tmp_path / "out.tif", scale=2)["output"])
    assert stored.min() == -400
    far = np.ones(stored.shape[1:], bool)
    far[2 * 4 - 8 : 2 * 9 + 8, 2 * 5 - 8 : 2 * 12 + 8] = False
    assert (stored[:, far] < 0).mean() < 0.02


def test_a_valid_pixel_never_becomes_nodata(tmp_path: Path) -> None:
    values = edge(1, 5000, "uint16")
    scene = raster(tmp_path / "scene.tif", values, nodata=0)
    stored = stored_of(upscale(scene, tmp_path / "out.tif", scale=4)["output"])
    assert stored.min() == 1


def test_dtype_and_nodata_of_the_product_can_be_chosen(tmp_path: Path) -> None:
    values = flat(low=2000, high=9000).astype("uint16")
    values[:, :3, :4] = 0

    def pack(target: Any) -> None:
        target.scales = (1e-4,) * 3

    scene = raster(tmp_path / "scene.tif", values, nodata=0, edit=pack)
    summary = upscale(scene, tmp_path / "float.tif", scale=2, dtype="float32", nodata=-9.0)
    with rasterio.open(summary["output"]) as product:
        assert (product.dtypes[0], product.nodata, product.scales) == ("float32", -9, (1,) * 3)
        stored = product.read()
    assert (stored[:, :6, :8] == -9).all()
    assert 0.19 < stored[stored != -9].min() < stored.max() < 0.95
    packed = upscale(scene, tmp_path / "int.tif", scale=2, dtype="int16", nodata=-1)
    with rasterio.open(packed["output"]) as product:
        assert (product.dtypes[0], product.nodata, product.scales) == ("int16", -1, (1e-4,) * 3)
        np.testing.assert_allclose(product.read() * 1e-4, np.where(stored == -9, -1e-4, stored), atol=1e-4)


def test_bidx_takes_bands_in_its_order(tmp_path: Path) -> None:
    values = flat(count=4).astype("uint16")
    scene = raster(tmp_path / "scene.tif", values)
    some = stored_of(upscale(scene, tmp_path / "some.tif", scale=2, bidx="4,1..2", model="bicubic")["output"])
    every = stored_of(upscale(scene, tmp_path / "all.tif", scale=2, model="bicubic")["output"])
    np.testing.assert_array_equal(some, every[[3, 0, 1]])


def test_one_band_has_no_spectral_angle(tmp_path: Path) -> None:
    summary = upscale(raster(tmp_path / "a.tif", flat(count=1).astype("uint16")), scale=2)
    assert summary["consistency"]["sam_deg"] is None
    assert summary["consistency"]["rmse"] >= 0


# ---- metadata ----------------------------------------------------------------------------


def named(target: Any) -> None:
    target.scales, target.offsets = (1e-4, 2e-4, 1e-4), (0.0, 0.05, -0.1)
    target.units = ("1", "1", "1")
    target.descriptions = ("blue", "green", "near infrared")
    target.colorinterp = [rasterio.enums.ColorInterp[c] for c in ("blue", "green", "undefined")]
    target.update_tags(ACQUIRED="2022-07-24T10:05:01Z", SUN_ELEVATION="54.2")
    for i, (nm, fwhm) in enumerate(((492.4, 66), (559.8, 36), (832.8, 106)), 1):
        target.update_tags(i, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=str(nm / 1000), FWHM_UM=str(fwhm / 1000))
        target.update_tags(i, detector=str(7 * i))


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    values = flat().astype("uint16")
    values[:, 20:, :5] = 0
    return raster(tmp_path / "scene.tif", values, nodata=0, photometric="minisblack", edit=named)


@pytest.mark.parametrize("form", ["out.tif", "out.tiff", "out.zarr"])
def test_metadata_comes_through(labelled: Path, form: str, tmp_path: Path) -> None:
    summary = upscale(labelled, tmp_path / form, scale=2)
    before, after = open_scene(labelled), open_scene(summary["output"])
    for field in ("name", "wavelength_nm", "fwhm_nm", "unit", "color", "good"):
        assert [getattr(b, field) for b in after.bands] == [getattr(b, field) for b in before.bands], field
    assert [b.tags["detector"] for b in after.bands] == ["7", "14", "21"]
    assert after.packing == before.packing
    assert after.tags[""]["ACQUIRED"] == "2022-07-24T10:05:01Z"
    assert after.tags[""]["SUN_ELEVATION"] == "54.2"


def test_metadata_comes_through_as_gdal_and_xarray_see_it(labelled: Path, tmp_path: Path) -> None:
    upscale(labelled, tmp_path / "out.tif", scale=2)
    with rasterio.open(tmp_path / "out.tif") as product:
        assert product.descriptions == ("blue", "green", "near infrared")
        assert product.scales == (1e-4, 2e-4, 1e-4)
        assert product.offsets == (0.0, 0.05, -0.1)
        assert product.nodatavals == (0, 0, 0)
        assert [c.name for c in product.colorinterp] == ["blue", "green", "undefined"]
        assert float(product.tags(3, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"]) == 0.8328
        assert product.tags()["ACQUIRED"] == "2022-07-24T10:05:01Z"
    upscale(labelled, tmp_path / "out.zarr", scale=2)
    with xr.open_zarr(tmp_path / "out.zarr", mask_and_scale=False) as group:
        array = group["scene"]
        assert [float(v) for v in array.coords["wavelength"]] == [492.4, 559.8, 832.8]
        assert [float(v) for v in array.coords["fwhm"]] == [66, 36, 106]
        assert array.attrs["_FillValue"] == 0


@pytest.mark.parametrize("form", ["out.tif", "out.tiff", "out.zarr"])
def test_the_fourth_band_of_an_8_bit_scene_does_not_become_alpha(form: str, tmp_path: Path) -> None:
    colors = [rasterio.enums.ColorInterp[c] for c in ("red", "green", "blue", "undefined")]

    def paint(target: Any) -> None:
        target.colorinterp = colors

    values = flat(count=4, low=10, high=240).astype("uint8")
    scene = raster(tmp_path / "rgbn.tif", values, photometric="rgb", edit=paint)
    assert open_scene(scene).count == 4
    summary = upscale(scene, tmp_path / form, scale=2)
    assert summary["bands"] == 4
    product = open_scene(summary["output"])
    assert [b.color for b in product.bands] == ["red", "green", "blue", "undefined"]
    assert np.isfinite(values_of(summary["output"])).all()


def test_the_product_carries_its_provenance(sample: synthetic.Sample, tmp_path: Path) -> None:
    scene, guide = write_inputs(sample, tmp_path)
    summary = upscale(scene, tmp_path / "out.tif", rgb=guide)
    with rasterio.open(tmp_path / "out.tif") as product:
        provenance, survey = (json.loads(product.tags(ns="DUALSR")[k]) for k in ("LINEAGE", "SURVEY"))
    for key in ("scale", "model", "fine", "guide", "consistency", "clipped", "psf", "notes"):
        assert provenance[key] == summary[key], key
    assert provenance["inputs"]["scene"]["uri"] == str(scene)
    assert provenance["inputs"]["guide"]["uri"] == str(guide)
    assert provenance["software"].startswith("dualsr-geo ")
    assert len(survey["guide"]["relevance"]) == 5
    again = upscale(scene, tmp_path / "out.zarr", scale=4)
    attrs = json.loads((tmp_path / "out.zarr" / "zarr.json").read_text())["attributes"]
    assert attrs["dualsr"]["lineage"]["consistency"] == again["consistency"]


def test_the_consistency_equals_that_of_an_independent_degradation(sample: synthetic.Sample, tmp_path: Path) -> None:
    scene, guide = write_inputs(sample, tmp_path)
    psf = Psf.from_mtf(4, 0.25)
    summary = upscale(scene, tmp_path / "out.tif", rgb=guide, psf=psf)
    sharp, observed = values_of(tmp_path / "out.tif").astype(float), sample.scene
    by = blur_matrix(psf.taps_y, psf.start_y, 4, 40, 0, 40)
    bx = blur_matrix(psf.taps_x, psf.start_x, 4, 47, 0, 47)
    # Consistency is counted on every fourth row.
    wrong = (np.stack([by @ plane @ bx.T for plane in sharp]) - observed)[:, ::4]
    assert summary["consistency"]["rmse"] == pytest.approx(np.sqrt((wrong**2).mean()), rel=0.01)
    np.testing.assert_allclose(summary["consistency"]["rmse_per_band"], np.sqrt((wrong**2).mean((1, 2))), rtol=0.01)


# ---- nodata ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["out.tif", "out.zarr"])
@pytest.mark.parametrize("guided", [True, False])
def test_no_value_is_made_where_the_scene_has_none(
    guided: bool, form: str, sample: synthetic.Sample, tmp_path: Path
) -> None:
    values = np.rint(sample.scene * 10000).astype("uint16")
    values[:, 10:17, 20:29] = 65535
    values[2, 30:33, 4:9] = 65535
    values[:, 0, 0] = 65535
    _, guide = write_inputs(sample, tmp_path)
    scene = raster(tmp_path / "holed.tif", values, nodata=65535)
    how: dict[str, Any] = {"rgb": guide} if guided else {"scale": 4}
    summary = upscale(scene, tmp_path / form, psf=PSF, **how)
    product = values_of(summary["output"])
    hole = np.kron(values == 65535, np.ones((4, 4), bool))
    np.testing.assert_array_equal(np.isnan(product), hole)


@pytest.mark.parametrize("guided", [True, False])
def test_a_hole_changes_little_around_it_and_nothing_rings(
    guided: bool, sample: synthetic.Sample, tmp_path: Path
) -> None:
    whole, guide = write_inputs(sample, tmp_path)
    values = sample.scene.copy()
    values[:, 14:20, 20:29] = np.nan
    holed = raster(tmp_path / "holed.tif", values)
    how: dict[str, Any] = {"rgb": guide} if guided else {"scale": 4}
    want = values_of(upscale(whole, tmp_path / "a.tif", psf=PSF, **how)["output"])
    got = values_of(upscale(holed, tmp_path / "b.tif", psf=PSF, **how)["output"])
    spread = np.ptp(sample.scene, axis=(1, 2))[:, None, None]
    off = np.abs(got - want) / spread
    distance = ndimage.distance_transform_edt(np.isfinite(got[0]))
    # A lr pixel next to the hole lacks half of its neighbourhood; four lr pixels on, only the candidates' weights, which
    # are those of the whole scene, differ. The guided network of version 0.2 changes one value in 132820 by 0.0604.
    far = off[:, distance > 16]
    assert (far > 0.06).sum() <= (1 if guided else 0)
    assert np.nanmax(far) < 0.065
    assert np.nanmean(far) < 0.001
    assert np.nanmean(off[:, (distance > 0) & (distance <= 4)]) < 0.03
    near = (distance > 0) & (distance <= 16)
    room = 0.1 * spread[:, 0]
    assert (got[:, near] < want[:, near].min(1)[:, None] - room).sum() == 0
    assert (got[:, near] > want[:, near].max(1)[:, None] + room).sum() == 0


def test_a_hole_changes_less_far_away_without_a_network(sample: synthetic.Sample, tmp_path: Path) -> None:
    whole, guide = write_inputs(sample, tmp_path)
    values = sample.scene.copy()
    values[:, 14:20, 20:29] = np.nan
    holed = raster(tmp_path / "holed.tif", values)
    how: dict[str, Any] = {"rgb": guide, "psf": PSF, "model": "regression"}
    want, got = (values_of(upscale(p, tmp_path / f"{p.stem}_out.tif", **how)["output"]) for p in (whole, holed))
    off = np.abs(got - want) / np.ptp(sample.scene, axis=(1, 2))[:, None, None]
    far = off[:, ndimage.distance_transform_edt(np.isfinite(got[0])) > 16]
    assert np.nanmax(far) < 0.05
    assert np.nanmean(far) < 0.001


def test_a_band_without_any_value_stays_empty(sample: synthetic.Sample, tmp_path: Path) -> None:
    values = sample.scene.copy()
    values[3] = np.nan
    _, guide = write_inputs(sample, tmp_path)
    summary = upscale(raster(tmp_path / "gap.tif", values), tmp_path / "out.tif", rgb=guide, psf=PSF)
    product = values_of(summary["output"])
    assert np.isnan(product[3]).all()
    assert np.isfinite(product[[0, 1, 2, 4]]).all()
    assert summary["guide"]["relevance"][3] is None
    assert summary["consistency"]["rmse_per_band"][3] is None
    json.dumps(summary, allow_nan=False)


def test_a_shared_mask_holds(tmp_path: Path) -> None:
    mask = np.full(SHAPE, 255, np.uint8)
    mask[5:9, 3:11] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        scene = raster(tmp_path / "m.tif", flat().astype("uint16"), edit=lambda t: t.write_mask(mask))
    summary = upscale(scene, tmp_path / "out.tif", scale=2)
    product = values_of(summary["output"])
    np.testing.assert_array_equal(
        np.isnan(product), np.broadcast_to(np.kron(mask == 0, np.ones((2, 2))), product.shape)
    )


# ---- guide -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected(sample: synthetic.Sample, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """Return what an exact guide gives."""
    folder = tmp_path_factory.mktemp("exact")
    scene, guide = write_inputs(sample, folder)
    return values_of(upscale(scene, folder / "out.tif", rgb=guide, psf=PSF)["output"])


@pytest.fixture(scope="module")
def unguided(sample: synthetic.Sample, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    folder = tmp_path_factory.mktemp("unguided")
    scene, _ = write_inputs(sample, folder)
    return values_of(upscale(scene, folder / "out.tif", scale=4)["output"])


def test_a_guide_adds_detail(sample: synthetic.Sample, expected: Array, unguided: Array) -> None:
    assert rmse(expected, sample.reference) < 0.75 * rmse(unguided, sample.reference)


@pytest.mark.parametrize("shift", [(1.5, -1.5), (-0.6, 1.1)])
def test_a_displaced_guide_is_measured_and_moved(
    shift: tuple[float, float], sample: synthetic.Sample, expected: Array, tmp_path: Path
) -> None:
    moved = synthetic.make((40, 47), bands=5, guide="rgb", seed=3, shift_px=shift)
    scene, guide = write_inputs(moved, tmp_path)
    summary = upscale(scene, tmp_path / "auto.tif", rgb=guide)
    np.testing.assert_allclose(summary["guide"]["shift_px"], shift, atol=0.1)
    np.testing.assert_allclose(summary["guide"]["moved_px"], shift, atol=0.1)
    inner = np.s_[:, 8:-8, 8:-8]
    auto = rmse(values_of(tmp_path / "auto.tif")[inner], sample.reference[inner])
    assert auto < 1.1 * rmse(expected[inner], sample.reference[inner])
    with pytest.warns(DualSRWarning, match=r"px too .*--coregister auto") as caught:
        left = upscale(scene, tmp_path / "off.tif", rgb=guide, coregister="off")
    words = describe_shift(left["guide"]["shift_px"])
    assert ("too low" in words, "too far right" in words) == (shift[0] > 0, shift[1] > 0)
    assert f"The guide lay {words} (pixels of the product) and was not moved" in str(caught[0].message)
    assert summary["guide"]["shift"].endswith(" and was moved back.")
    assert left["guide"]["shift"].endswith(" and was not moved.")
    assert left["guide"]["moved_px"] == [0, 0]
    np.testing.assert_allclose(left["guide"]["shift_px"], shift, atol=0.1)
    # The product is then displaced as the guide is.
    unmoved = ndimage.shift(values_of(tmp_path / "off.tif"), (0, -shift[0], -shift[1]), order=3, mode="nearest")
    assert rmse(unmoved[inner], sample.reference[inner]) < 1.25 * rmse(expected[inner], sample.reference[inner])


def test_an_exact_guide_stays_where_it_is(sample: synthetic.Sample, tmp_path: Path) -> None:
    scene, guide = write_inputs(sample, tmp_path)
    summary = upscale(scene, tmp_path / "out.tif", rgb=guide)
    assert summary["guide"]["moved_px"] == [0, 0]
    assert np.abs(summary["guide"]["shift_px"]).max() < 0.1
    assert "coverage_by_tile" not in summary["guide"]


def test_a_guide_in_degrees_works_almost_as_well(sample: synthetic.Sample, expected: Array, tmp_path: Path) -> None:
    scene, guide = write_inputs(sample, tmp_path)
    degrees = tmp_path / "degrees.tif"
    with rasterio.open(guide) as source:
        transform, width, height = rasterio.warp.calculate_default_transform(
            source.crs, "EPSG:4326", source.width, source.height, *source.bounds, resolution=1.2e-5
        )
        out = np.full((3, height, width), np.nan, np.float32)
        rasterio.warp.reproject(
            rasterio.band(source, [1, 2, 3]), out, dst_transform=transform, dst_crs="EPSG:4326", dst_nodata=np.nan,
            resampling=rasterio.warp.Resampling.cubic,
        )  # fmt: skip
    raster(degrees, out, transform, "EPSG:4326", nodata=np.nan)
    summary = upscale(scene, tmp_path / "out.tif", rgb=degrees, scale=4)
    assert summary["guide"]["coverage"] > 0.97
    assert np.abs(summary["guide"]["shift_px"]).max() < 0.2
    product = values_of(tmp_path / "out.tif")
    assert np.isfinite(product).all()
    assert rmse(product, sample.reference) < 1.1 * rmse(expected, sample.reference)


def test_a_guide_of_half_the_scene_guides_half(
    sample: synthetic.Sample, expected: Array, unguided: Array, tmp_path: Path
) -> None:
    scene, _ = write_inputs(sample, tmp_path)
    part = sample.guide[:, :, :92]
    guide = raster(tmp_path / "half.tif", part, GRID @ Affine.scale(0.25))
    summary = upscale(scene, tmp_path / "out.tif", rgb=guide, tile=16, psf=PSF)
    assert summary["guide"]["coverage"] == pytest.approx(92 / 188, abs=0.001)
    assert summary["guide"]["coverage_by_tile"] == pytest.approx(np.tile([1, 28 / 64, 0], (3, 1)), abs=0.001)
    product = values_of(tmp_path / "out.tif")
    assert np.isfinite(product).all()
    inside, outside = np.s_[:, :, :72], np.s_[:, :, 112:]
    assert rmse(product[inside], sample.reference[inside]) < 1.1 * rmse(expected[inside], sample.reference[inside])
    assert rmse(product[outside], sample.reference[outside]) < 1.1 * rmse(unguided[outside], sample.reference[outside])


def test_a_guide_with_holes_is_used_as_one_that_ends(sample: synthetic.Sample, tmp_path: Path) -> None:
    scene, _ = write_inputs(sample, tmp_path)
    part = sample.guide.copy()
    part[:, 40:80, 60:100] = -1
    guide = raster(tmp_path / "holed.tif", part, GRID @ Affine.scale(0.25), nodata=-1)
    summary = upscale(scene, tmp_path / "out.tif", rgb=guide, psf=PSF)
    assert summary["guide"]["coverage"] == pytest.approx(1 - 40 * 40 / (160 * 188), abs=0.001)
    assert np.isfinite(values_of(tmp_path / "out.tif")).all()


def test_a_ratio_that_is_no_integer_takes_the_one_below(tmp_path: Path) -> None:
    wide, sharp = (Affine(g, 0, 389000, 0, -g, 5820000) for g in (0.7, 0.13))
    # The waves of `terrain` are 2 to 20 pixels of 8 m long; 0.7 m is a pixel here.
    swell = lambda t, shape, count, fine: terrain(  # noqa: E731
        Affine(t.a * 8 / 0.7, 0, 389000, 0, t.e * 8 / 0.7, 5820000), shape, count, fine
    )
    scene = raster(tmp_path / "scene.tif", swell(wide, SHAPE, 3, 11).astype("float32"), wide)
    guide = raster(tmp_path / "guide.tif", swell(sharp, (130, 167), 1, 3).astype("float32"), sharp)
    summary = upscale(scene, tmp_path / "out.tif", rgb=guide)
    assert summary["scale"] == 5
    with rasterio.open(summary["output"]) as product:
        assert product.transform == Affine(0.7 / 5, 0, 389000, 0, -0.7 / 5, 5820000)
        assert product.shape == (120, 155)
        truth = swell(product.transform, (120, 155), 3, 3)
        inner = np.s_[:, 10:-10, 10:-10]
        assert rmse(product.read()[inner], truth[inner]) < 0.25 * truth.std()


def test_several_guides_are_stacked(sample: synthetic.Sample, expected: Array, tmp_path: Path) -> None:
    scene, _ = write_inputs(sample, tmp_path)
    fine = GRID @ Affine.scale(0.25)
    parts = [raster(tmp_path / f"{i}.tif", sample.guide[i : i + 1], fine) for i in range(3)]
    summary = upscale(scene, tmp_path / "out.tif", rgb=parts, psf=PSF)
    np.testing.assert_array_equal(values_of(summary["output"]), expected)


def test_an_unrelated_band_does_not_get_the_guides_texture(sample: synthetic.Sample, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    smooth = ndimage.gaussian_filter(rng.standard_normal((40, 47)), 1.5)
    thermal = (0.3 + 0.05 * smooth / smooth.std()).astype("float32")
    _, guide = write_inputs(sample, tmp_path)
    scene = raster(tmp_path / "six.tif", np.concatenate([sample.scene, thermal[None]]))
    summary = upscale(scene, tmp_path / "out.tif", rgb=guide)
    product = values_of(tmp_path / "out.tif")

    def detail(plane: Array) -> Array:
        return plane - ndimage.gaussian_filter(plane, 4)

    def likeness(plane: Array) -> float:
        inner = np.s_[8:-8, 8:-8]
        each = [np.corrcoef(detail(plane)[inner].ravel(), detail(g)[inner].ravel())[0, 1] for g in sample.guide]
        return float(np.abs(each).max())

    assert likeness(product[2]) > 0.6
    assert likeness(product[5]) < 0.15
    assert summary["guide"]["relevance"][5] < 0.2 < min(summary["guide"]["relevance"][:5])
    unguided = values_of(upscale(raster(tmp_path / "t.tif", thermal[None]), tmp_path / "t4.tif", scale=4)["output"])
    # Nothing finer than what interpolation makes.
    assert detail(product[5]).std() < 1.3 * detail(unguided[0]).std()


# ---- places and names --------------------------------------------------------------------


def test_a_file_behind_a_vrt_is_an_input_too(tmp_path: Path) -> None:
    raster(tmp_path / "a.tif", flat().astype("uint16"))
    rasterio.shutil.copy(tmp_path / "a.tif", tmp_path / "a.vrt", driver="VRT")
    with pytest.raises(OutputError, match=r"a\.tif is the input"):
        upscale(tmp_path / "a.vrt", tmp_path / "a.tif", scale=2, overwrite=True)


def test_a_scene_without_a_valid_pixel_leaves_nothing_and_spares_the_old_product(tmp_path: Path) -> None:
    scene = raster(tmp_path / "void.tif", np.zeros((2, *SHAPE), np.uint8), nodata=0)
    old = tmp_path / "out.tif"
    old.write_text("old")
    with pytest.raises(InputError, match=r"744 .*--nodata"):
        upscale(scene, old, scale=2, overwrite=True)
    assert old.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["out.tif", "void.tif"]


def test_the_tile_does_not_change_the_product(sample: synthetic.Sample, expected: Array, tmp_path: Path) -> None:
    scene, guide = write_inputs(sample, tmp_path)
    summary = upscale(scene, tmp_path / "out.tif", rgb=guide, tile=17, jobs=2, psf=PSF)
    np.testing.assert_allclose(values_of(summary["output"]), expected, atol=1e-5 * np.ptp(expected))


def test_progress_counts_every_tile(sample: synthetic.Sample, tmp_path: Path) -> None:
    scene, _ = write_inputs(sample, tmp_path)
    progress: list[tuple[int, int]] = []
    upscale(scene, tmp_path / "out.tif", scale=2, tile=16, progress=lambda *at: progress.append(at))
    assert progress == [(i, 9) for i in range(10)]


def test_rioxarray_reads_the_product_as_the_scene(labelled: Path, tmp_path: Path) -> None:
    upscale(labelled, tmp_path / "out.tif", scale=2)
    before = rioxarray.open_rasterio(labelled)
    after = rioxarray.open_rasterio(tmp_path / "out.tif")
    assert isinstance(before, xr.DataArray)
    assert isinstance(after, xr.DataArray)
    assert after.rio.crs == before.rio.crs
    assert after.attrs["long_name"] == before.attrs["long_name"]
    assert after.dtype == before.dtype
