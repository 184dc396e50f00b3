"""The user-defined function of openEO, driven chunk by chunk as a backend does: the chunks make up the product, without seams."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

import dualsr_geo
from dualsr_geo import StoredSurvey, synthetic
from dualsr_geo.errors import GridError, InputError, KeywordError

UDF = Path(__file__).parents[2] / "examples/openeo/openeo_udf.py"
BANDS, GUIDE = ["s1", "s2", "s3"], ["g1", "g2", "g3"]


def apply_datacube(*args):
    """Run the function as a backend does: from its source."""
    names = {"__name__": "udf"}
    exec(compile(UDF.read_text(), str(UDF), "exec"), names)
    return names["apply_datacube"](*args)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openeo")
    files = synthetic.write(folder, shape=(71, 83), bands=3, guide="rgb", seed=5, ratio=2)
    dualsr_geo.upscale(files[0], folder / "product.tif", guide=files[1], model="regression", format="GTiff")
    survey = dualsr_geo.survey(files[0], folder / "survey.json", guide=files[1], model="regression")
    return folder, survey


def on_grid(path, ratio, labels):
    """Return a raster as openEO loads it on the grid of the product: with nearest neighbour."""
    with rasterio.open(path) as dataset:
        values, t = dataset.read().astype(np.float32), dataset.transform
        values[values == dataset.nodata] = np.nan
    values = values.repeat(ratio, 1).repeat(ratio, 2)
    y = t.f + t.e / ratio * (np.arange(values.shape[1]) + 0.5)
    x = t.c + t.a / ratio * (np.arange(values.shape[2]) + 0.5)
    return xr.DataArray(values, dims=("bands", "y", "x"), coords={"bands": labels, "y": y, "x": x})


@pytest.fixture(scope="module")
def cube(made):
    folder, survey = made
    guide = on_grid(folder / "rgb.tif", 1, GUIDE)
    scene = on_grid(folder / "scene.tif", survey.scale, BANDS)
    return xr.concat([scene, guide.assign_coords(y=scene.y, x=scene.x)], "bands")


def chunked(cube, size, overlap, context):
    """Apply the function to chunks with overlap, NaN beyond the cube, and cut the overlap, as `apply_neighborhood`."""
    (height, width), steps = cube.shape[-2:], [float(cube[d][1] - cube[d][0]) for d in "yx"]
    padded = cube.pad(y=overlap, x=overlap, constant_values=np.nan)
    for d, step, n in zip("yx", steps, (height, width), strict=True):
        padded = padded.assign_coords({d: float(cube[d][0]) + step * (np.arange(n + 2 * overlap) - overlap)})
    out = np.full((len(BANDS), height, width), np.nan, np.float32)
    for y, x in product(range(0, height, size), range(0, width, size)):
        chunk = padded.isel(y=slice(y, y + size + 2 * overlap), x=slice(x, x + size + 2 * overlap))
        values = apply_datacube(chunk, context)
        assert values.sizes["y"] == chunk.sizes["y"]
        rows, columns = slice(y, min(y + size, height)), slice(x, min(x + size, width))
        inner = values.to_numpy()[:, overlap : overlap + rows.stop - y, overlap : overlap + columns.stop - x]
        out[:, rows, columns] = inner
    return out


def test_chunks_make_up_the_product(made, cube):
    folder, survey = made
    overlap = survey.overlap
    context = {"survey": str(folder / "survey.json"), "scene_bands": BANDS, "guide_bands": GUIDE, "overlap": overlap}
    with rasterio.open(folder / "product.tif") as dataset:
        expected = dataset.read()
    for size in (48, 100):
        values = chunked(cube, size, overlap, context)
        assert np.abs(values - expected).max() <= 1
        assert np.count_nonzero(values - expected) <= 1 + 1e-5 * expected.size


def test_a_cube_of_dates_and_a_survey_in_the_context(made, cube):
    folder, survey = made
    context = {"survey": survey.to_json(), "scene_bands": BANDS, "guide_bands": GUIDE}
    dates = xr.concat([cube, cube], xr.Variable("t", [0, 1]))
    values = apply_datacube(json_round(dates), context)
    assert values.dims == ("t", "bands", "y", "x")
    with rasterio.open(folder / "product.tif") as dataset:
        np.testing.assert_array_equal(values.isel(t=1), dataset.read())


def json_round(cube):
    """Return a cube with coordinates that went through text, as some backends send them."""
    return cube.assign_coords({d: json.loads(json.dumps(cube[d].to_numpy().tolist())) for d in "yx"})


def test_too_little_overlap_is_refused(made, cube):
    context = {"survey": str(made[0] / "survey.json"), "scene_bands": BANDS, "guide_bands": GUIDE, "overlap": 8}
    with pytest.raises(ValueError, match=rf"Give {made[1].overlap} or more"):
        apply_datacube(cube, context)


def test_chunks_of_another_grid_or_other_bands_are_refused(made, cube):
    _, survey = made
    ratio = survey.scale
    scene = cube.sel(bands=BANDS)[:, ratio // 2 :: ratio, ratio // 2 :: ratio]
    centres = {d: cube[d].to_numpy().reshape(-1, ratio).mean(1) for d in "yx"}
    scene, guide = scene.assign_coords(centres), cube.sel(bands=GUIDE)
    for wrong, its_guide, error, message in (
        (scene.assign_coords(x=scene.x + 0.3 * float(scene.x[1] - scene.x[0])), guide, GridError, "not on the grid"),
        (scene[:, ::2], guide, GridError, "not on the grid"),
        (scene.drop_vars("x"), guide, GridError, "coordinates x and y"),
        (scene[0], guide, GridError, "coordinates x and y"),
        (scene.assign_coords(x=scene.x + 1e6 * float(scene.x[1] - scene.x[0])), guide, GridError, "outside of"),
        (scene[:2], guide, InputError, "the chunk has 2 and 3"),
        (scene, None, InputError, "the chunk has 3 and 0"),
        (scene, guide[:, 1:].assign_coords(y=guide.y[1:] + 0.5), GridError, "chunk of the guide"),
    ):
        with pytest.raises(error, match=message):
            dualsr_geo.sharpen_chunk(survey, wrong, its_guide)
    with pytest.raises(KeywordError, match="is no survey"):
        dualsr_geo.sharpen_chunk("survey.json", scene, guide)
    assert isinstance(survey, StoredSurvey)
