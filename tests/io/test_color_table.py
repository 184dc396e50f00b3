"""Guides that are stored as a color table are their colors."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

import dualsr_geo
from dualsr_geo.errors import DualSRWarning
from dualsr_geo.io.scenes import Scene, open_guides, open_scene
from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.raster.windows import Window

GRID = Affine(2, 0, 380_000, 0, -2, 5_812_000)


def write(path: Path, values: NDArray[Any], transform: Affine = GRID, colors: NDArray[Any] | None = None) -> Path:
    """Write bands, (band, y, x), with a color table (index, red green blue alpha) where one is given."""
    count, height, width = values.shape
    # Of these formats only PNG keeps transparent colors.
    driver = "PNG" if path.suffix == ".png" else "GTiff"
    profile = {"driver": driver, "dtype": values.dtype, "crs": "EPSG:32633", "transform": transform}
    with rasterio.open(path, "w", count=count, height=height, width=width, **profile) as target:
        target.write(values)
        if colors is not None:
            target.write_colormap(1, {i: tuple(map(int, color)) for i, color in enumerate(colors)})
    return path


@pytest.fixture
def colors() -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    return np.concatenate([rng.integers(0, 256, (256, 3)), np.full((256, 1), 255)], 1).astype(np.uint8)


@pytest.fixture
def indices() -> NDArray[np.uint8]:
    return np.random.default_rng(6).integers(0, 256, (1, 17, 23)).astype(np.uint8)


def guide_of(path: Path) -> Scene:
    """Open a guide; no warning is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (guide,) = open_guides(path)
    return guide


def test_indices_become_red_green_and_blue(tmp_path: Path, colors: NDArray[Any], indices: NDArray[Any]) -> None:
    guide = guide_of(write(tmp_path / "guide.tif", indices, colors=colors))
    assert [band.name for band in guide.bands] == ["red", "green", "blue"]
    expected = colors[indices[0], :3].transpose(2, 0, 1)
    window = Window(3, 16, 5, 23)
    np.testing.assert_array_equal(guide.source.read(window), expected[(slice(None), *window.slices)])
    np.testing.assert_array_equal(guide.source.read(window, [2]), expected[(slice(2, 3), *window.slices)])
    blue = pickle.loads(pickle.dumps(guide.select([2]).source.crop(window)))  # made here
    np.testing.assert_array_equal(blue.thumbnail(0, window.shape), expected[(2, *window.slices)])
    shifted = guide.source.normalized(Normalization((10.0, 20.0, 30.0), 2.0)).read(window)
    origins = np.array([10.0, 20.0, 30.0])[:, None, None]
    np.testing.assert_allclose(shifted, (expected[(slice(None), *window.slices)] - origins) / 2)


def test_a_transparent_color_is_missing_and_a_gray_table_is_one_band(tmp_path: Path, indices: NDArray[Any]) -> None:
    gray = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, 1)
    gray[:, 3] = 255
    gray[7, 3] = 0
    indices[0, 2, 3] = 7
    guide = guide_of(write(tmp_path / "guide.png", indices, colors=gray))
    values = guide.source.read(Window(0, 17, 0, 23))
    assert values.shape == (1, 17, 23)
    assert guide.source.masked
    np.testing.assert_array_equal(values[0], np.where(indices[0] == 7, np.nan, indices[0]))


def test_as_a_scene_a_color_table_is_a_map_of_labels(
    tmp_path: Path, colors: NDArray[Any], indices: NDArray[Any]
) -> None:
    path = write(tmp_path / "classes.tif", indices, colors=colors)
    with pytest.warns(DualSRWarning, match=r"classes.tif looks like a map of labels \(colour table\)"):
        scene = open_scene(path)
    assert scene.count == 1


def test_the_product_is_that_of_the_colors(tmp_path: Path, colors: NDArray[Any]) -> None:
    y, x = np.mgrid[:48, :60]
    index = (127 + 60 * np.sin(y / 5) * np.cos(x / 4) + 60 * ((y // 9 + x // 7) % 2)).astype(np.uint8)
    order = np.argsort(colors[:, :3].sum(1))
    smooth = colors[order]
    rgb = smooth[index, :3].transpose(2, 0, 1)
    scene = rgb.reshape(3, 12, 4, 15, 4).mean((2, 4)).astype(np.float32)
    low = write(tmp_path / "scene.tif", scene)
    fine = GRID @ Affine.scale(0.25)
    products = []
    for name, guide in (
        ("indexed", write(tmp_path / "indexed.tif", index[None], fine, smooth)),
        ("rgb", write(tmp_path / "rgb.tif", rgb, fine)),
    ):
        dualsr_geo.upscale(low, tmp_path / f"{name}_out.tif", rgb=guide, model="regression")
        with rasterio.open(tmp_path / f"{name}_out.tif") as product:
            products.append(product.read())
    np.testing.assert_array_equal(*products)
