"""JPEG images are recognised by their blocks."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from dualsr_geo.fusion.guide_noise.compression import is_compressed


def image(shape=(203, 231), seed=0) -> np.ndarray:
    """Texture of several scales, 8 bit, (band, y, x)."""
    rng = np.random.default_rng(seed)
    planes = [sum(s * gaussian_filter(rng.standard_normal(shape), s) for s in (0.7, 2, 6)) for _ in range(3)]
    shared = sum(s * gaussian_filter(rng.standard_normal(shape), s) for s in (0.7, 2, 6))
    cube = np.stack([shared + 0.2 * p for p in planes])
    return np.round(128 + 40 * cube / cube.std()).clip(0, 255).astype(np.uint8)


def jpeg(cube: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(cube.transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).transpose(2, 0, 1).astype(np.float32)


def check(cube: np.ndarray) -> bool:
    return is_compressed([np.asarray(cube, np.float32)], [np.isfinite(cube).all(0)])


@pytest.mark.parametrize("quality", [60, 75, 90])
@pytest.mark.parametrize("first", [(0, 0), (3, 5)])
def test_jpeg_is_recognised_wherever_a_window_begins(quality, first):
    cube = jpeg(image(), quality)[:, first[0] :, first[1] :]
    cube[:, :20, 40:70] = np.nan
    assert check(cube)


@pytest.mark.parametrize("seed", range(5))
def test_other_images_are_not(seed):
    cube = image(seed=seed).astype(np.float32)
    rng = np.random.default_rng(seed)
    assert not check(cube)
    assert not check(cube + 3 * rng.standard_normal(cube.shape))
    assert not check(np.floor(cube / 16))


def test_a_resampled_jpeg_and_a_small_one_are_not_recognised():
    cube = jpeg(image(), 75)
    assert not check(zoom(cube, (1, 0.83, 0.83), order=3))
    assert not check(cube[:, :40])


@pytest.mark.parametrize("margin", [13, 18, 20])
def test_the_edge_of_a_guide_is_no_edge_of_a_block(margin):
    # A window of the survey reaches beyond a small guide; filled with a constant, it looked like the blocks of JPEG.
    cube = image((96, 104)).astype(np.float32)
    around = ((0, 0), (margin, margin), (margin, margin))
    assert not check(np.pad(cube, around, constant_values=np.nan))
    assert check(np.pad(jpeg(image((96, 104)), 75), around, constant_values=np.nan))


@pytest.mark.parametrize("seed", range(12))
def test_a_small_clean_guide_is_not_recognised_by_chance(seed):
    assert not check(image((64, 71), seed))


def test_a_constant_image_and_one_without_values_are_not():
    assert not check(np.ones((3, 100, 100)))
    assert not check(np.full((3, 100, 100), np.nan))
