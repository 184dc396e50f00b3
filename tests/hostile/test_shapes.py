"""Scenes of absurd shapes."""

import numpy as np
import pytest
import rasterio
from delivered import raster
from hostile_case import Case, check


def scene(shape, name="scene.tif", gsd=8.0, **options):
    """Return a function that writes a scene of random counts and answers with the command that sharpens it."""

    def make(folder):
        cube = np.random.default_rng(1).integers(500, 5000, shape).astype("uint16")
        raster(folder / name, cube, gsd, **options)
        return ["upscale", name, "--scale", "2", "-o", "o.tif"]

    return make


def shaped(height, width):
    """Return a check that the product has a shape and a value in every pixel."""

    def verify(folder, _outcome):
        with rasterio.open(folder / "o.tif") as product:
            assert product.shape == (height, width)
            assert product.read_masks().all()

    return verify


CASES = (
    Case("a scene of 1 x 40", scene((3, 1, 40)), verify=shaped(2, 80)),
    Case("a scene of 40 x 1", scene((3, 40, 1)), verify=shaped(80, 2)),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)
