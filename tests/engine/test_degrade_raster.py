"""Degrading a raster: an own computation by scipy, holes, grid, packing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine import degrade_raster
from dualsr_geo.engine.degrade_raster import degrade, degrade_window
from dualsr_geo.errors import OptionError, OutputError, ScaleError
from dualsr_geo.raster.windows import Tiling

GRID = Affine(2, 0, 389000, 0, -2, 5820000)


def raster(path: Path, values: NDArray[Any], **more: Any) -> Path:
    count, height, width = values.shape
    edit = more.pop("edit", lambda _: None)
    profile = {"driver": "GTiff", "dtype": values.dtype, "crs": "EPSG:32633", "transform": GRID, **more}
    with rasterio.open(path, "w", count=count, height=height, width=width, **profile) as target:
        target.write(values)
        edit(target)
    return path


def noise(shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def by_scipy(values: NDArray[Any], ratio: int, gain: float) -> NDArray[np.float64]:
    """Blur by a sampled Gaussian at the coarse pixels' centres, edges repeated, and take every `ratio`-th."""
    height, width = (n // ratio * ratio for n in values.shape[1:])
    sigma = ratio / math.pi * math.sqrt(-2 * math.log(gain))
    half = math.ceil(7 * sigma)
    # Even ratios have their centre between two pixels.
    at = np.arange(-half, half + 1) if ratio % 2 else np.arange(-half, half) + 0.5
    weights = np.exp(-0.5 * (at / sigma) ** 2)
    weights /= weights.sum()
    out = values[:, :height, :width].astype(np.float64)
    for axis in (1, 2):
        out = ndimage.correlate1d(out, weights, axis=axis, mode="nearest")
    first = ratio // 2
    return out[:, first::ratio, first::ratio]


@pytest.mark.parametrize("ratio", [2, 3, 4, 5])
@pytest.mark.parametrize("gain", [0.1, 0.3])
def test_it_is_a_gaussian_blur_and_decimation(ratio: int, gain: float, tmp_path: Path) -> None:
    values = noise((3, 53, 71))
    summary = degrade(raster(tmp_path / "a.tif", values), tmp_path / "b.tif", scale=ratio, mtf_gain=gain)
    with rasterio.open(summary["output"]) as product:
        np.testing.assert_allclose(product.read(), by_scipy(values, ratio, gain), atol=2e-6)
        assert product.transform == GRID @ Affine.scale(ratio)
        assert product.shape == (53 // ratio, 71 // ratio) == tuple(summary["shape"])


def test_a_frequency_at_the_coarse_nyquist_is_damped_to_the_gain(tmp_path: Path) -> None:
    x = np.arange(120)
    wave = 0.5 + 0.4 * np.cos(np.pi * (x - 1.5) / 4) * np.ones((1, 40, 1))
    summary = degrade(raster(tmp_path / "a.tif", wave.astype("float32")), scale=4, mtf_gain=0.27)
    with rasterio.open(summary["output"]) as product:
        middle = product.read(1)[5, 5:-5]
    assert np.ptp(middle) / 0.8 == pytest.approx(0.27, rel=0.01)


def test_tiles_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = noise((2, 90, 127))
    source = raster(tmp_path / "a.tif", values)
    degrade(source, tmp_path / "whole.tif", scale=3)
    monkeypatch.setattr(degrade_raster, "TILE_SIDE", 8)
    degrade(source, tmp_path / "tiled.tif", scale=3)
    with rasterio.open(tmp_path / "whole.tif") as a, rasterio.open(tmp_path / "tiled.tif") as b:
        np.testing.assert_allclose(a.read(), b.read(), atol=2e-6)
    assert len(Tiling((30, 42), 8, 0)) == 24


@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_holes_are_computed_from_valid_pixels_only(seed: int, ratio: int) -> None:
    values = noise((2, 9 * ratio, 11 * ratio), seed)
    rng = np.random.default_rng(seed)
    holes = ndimage.uniform_filter(rng.random(values.shape[1:]), 5) > 0.52
    holed = np.where(holes, np.nan, values)
    op = operator(Psf.from_mtf(ratio), (9, 11))
    got = degrade_window(holed, op).numpy()
    share = by_scipy(~holes[None] * 1.0, ratio, 0.3)[0]
    clear = np.abs(share - 0.5) > 1e-4
    np.testing.assert_array_equal(np.isnan(got[:, clear]), np.broadcast_to(share < 0.5, (2, 9, 11))[:, clear])
    want = by_scipy(np.where(holes, 0, values), ratio, 0.3) / share
    valid = np.isfinite(got)
    np.testing.assert_allclose(got[valid], want[valid], atol=1e-5)
    if holes.any() and not holes.all():
        valid = values[:, ~holes]
        assert np.nanmin(got, initial=1) >= valid.min() - 1e-5
        assert np.nanmax(got, initial=0) <= valid.max() + 1e-5


@pytest.mark.parametrize("form", ["b.tif", "b.tiff", "b.zarr"])
def test_packing_and_metadata_come_through(form: str, tmp_path: Path) -> None:
    values = np.rint(noise((2, 40, 52)) * 9000).astype("int16")
    values[:, :8, :8] = -32768

    def pack(target: Any) -> None:
        target.scales, target.offsets = (1e-4,) * 2, (0.1,) * 2
        target.descriptions = ("one", "two")

    source = raster(tmp_path / "a.tif", values, nodata=-32768, edit=pack)
    summary = degrade(source, tmp_path / form, scale=4)
    from dualsr_geo.io.scenes import open_scene
    from dualsr_geo.raster.windows import Window

    before, after = open_scene(source), open_scene(summary["output"])
    assert after.packing == before.packing
    assert [b.name for b in after.bands] == ["one", "two"]
    assert after.geobox.crs == before.geobox.crs
    physical = after.source.read(Window(0, 10, 0, 13))
    assert np.isnan(physical[:, :1, :1]).all()
    want = by_scipy(values * 1e-4 + 0.1, 4, 0.3)
    np.testing.assert_allclose(physical[:, 4:, 4:], want[:, 4:, 4:], atol=0.6e-4)


def test_a_masked_scene_without_nodata_gets_one(tmp_path: Path) -> None:
    mask = np.full((20, 24), 255, np.uint8)
    mask[4:12, 4:12] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        source = raster(tmp_path / "a.tif", np.full((1, 20, 24), 7, np.uint8), edit=lambda t: t.write_mask(mask))
    summary = degrade(source, scale=4)
    with rasterio.open(summary["output"]) as product:
        assert product.nodata == 0
        stored = product.read(1)
    assert (stored[1:3, 1:3] == 0).all()
    assert (stored == 7).sum() == 30 - 4


def test_what_cannot_be_degraded_is_said(tmp_path: Path) -> None:
    source = raster(tmp_path / "a.tif", noise((1, 20, 24)))
    with pytest.raises(ScaleError, match=r"--scale 1 .*20 x 24.*2\.\.20"):
        degrade(source, scale=1)
    with pytest.raises(ScaleError, match=r"--scale 21 .*20 x 24"):
        degrade(source, scale=21)
    with pytest.raises(OptionError, match="1.2"):
        degrade(source, scale=2, mtf_gain=1.2)
    with pytest.raises(OptionError, match=r"--nodata 0\.5"):
        degrade(source, scale=2, dtype="uint8", nodata=0.5)
    (tmp_path / "a_d2.tif").touch()
    with pytest.raises(OutputError, match="--overwrite"):
        degrade(source, scale=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "a_d2.tif"]


def test_a_store_degrades_as_a_file(tmp_path: Path) -> None:
    values = noise((2, 20, 24))
    y, x = 5820000 - 2 * (np.arange(20) + 0.5), 389000 + 2 * (np.arange(24) + 0.5)
    cube = xr.Dataset({"v": (("band", "y", "x"), values)}, {"y": y, "x": x})
    cube.to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    summary = degrade(tmp_path / "a.zarr", scale=2)
    assert summary["output"] == str(tmp_path / "a_d2.tif")
    with rasterio.open(summary["output"]) as product:
        np.testing.assert_allclose(product.read(), by_scipy(values, 2, 0.3), atol=2e-6)
