"""A user-defined function of openEO that sharpens the coarse bands of a cube chunk by chunk, without seams.

The survey comes first, once for the whole scene, e.g. ``dualsr_geo.survey("scene.tif", "survey.json", guide="fine.tif")``; every chunk
then has the same estimates. The cube is on the grid of the product, as openEO loads bands of several pixel sizes: coarse bands
with nearest neighbour, fine bands as they are. Chunks need an overlap of ``survey.overlap`` pixels or more:

    udf = openeo.UDF.from_file("openeo_udf.py", context={
        "survey": "survey.json", "scene_bands": ["B05", "B06"], "guide_bands": ["B02", "B03", "B04", "B08"], "overlap": 80,
    })
    sharp = cube.apply_neighborhood(udf, size=[{"dimension": d, "value": 256, "unit": "px"} for d in "xy"],
                                    overlap=[{"dimension": d, "value": 80, "unit": "px"} for d in "xy"])

Sizes and overlap are multiples of the ratio of pixel sizes. The result has the scene's bands, sharpened.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import dualsr_geo
from dualsr_geo import StoredSurvey


def apply_datacube(cube: xr.DataArray, context: dict[str, Any]) -> xr.DataArray:
    """Sharpen a chunk of a cube.

    Parameters
    ----------
    cube : DataArray, dims (bands, y, x) or (t, bands, y, x)
        With overlap; pixels beyond the scene are left out of account, and are NaN in the result.
    context : dict
        survey : path of the survey or its JSON; scene_bands, guide_bands : labels, in the order of the survey; overlap : pixels.

    Returns
    -------
    DataArray, dims as of the cube
        The scene's bands, sharpened, in 32-bit floats.
    """
    survey = _survey(json.dumps(context["survey"]))
    overlap = int(context.get("overlap", survey.overlap))
    if overlap < survey.overlap:
        raise ValueError(f"The overlap of {overlap} pixels would leave seams. Give {survey.overlap} or more.")
    if "t" in cube.dims:
        return xr.concat([_sharpened(cube.isel(t=i), survey, context) for i in range(cube.sizes["t"])], "t")
    return _sharpened(cube, survey, context)


@lru_cache(maxsize=8)
def _survey(given: str) -> StoredSurvey:
    value = json.loads(given)
    return StoredSurvey.from_json(
        json.loads(Path(value).read_text(encoding="utf-8")) if isinstance(value, str) else value
    )


def _sharpened(cube: xr.DataArray, survey: StoredSurvey, context: dict[str, Any]) -> xr.DataArray:
    cube = cube.transpose("bands", "y", "x")
    scene = cube.sel(bands=context["scene_bands"])
    guide = cube.sel(bands=context["guide_bands"]) if context.get("guide_bands") else None
    out = xr.full_like(scene, np.nan, dtype=np.float32)
    rows, columns = (_whole_pixels(cube, survey, axis) for axis in (1, 0))
    if rows.stop > rows.start and columns.stop > columns.start:
        block = scene.isel(y=rows, x=columns)
        sharp = dualsr_geo.sharpen_chunk(survey, _coarse(block, survey.scale), guide)
        # By place: the chunk may reach beyond the scene, where there is no product.
        first_y, first_x = (np.abs(out[d].to_numpy() - sharp[d].to_numpy()[0]).argmin() for d in "yx")
        out[:, first_y : first_y + sharp.sizes["y"], first_x : first_x + sharp.sizes["x"]] = sharp.to_numpy()
    return out


def _whole_pixels(cube: xr.DataArray, survey: StoredSurvey, axis: int) -> slice:
    """Return the part of an axis (0: x, 1: y) that consists of whole pixels of the scene, none beyond the scene."""
    origin, step = (survey.grid.transform[i] for i in ((5, 4) if axis else (2, 0)))
    ratio, centres = survey.scale, cube["y" if axis else "x"].to_numpy()
    first = round((centres[0] - origin) / (step / ratio) - 0.5)
    last = min(first + len(centres), survey.grid.shape[0 if axis else 1] * ratio)
    start = max(0, -(-first // ratio) * ratio)
    return slice(start - first, max(start, last // ratio * ratio) - first)


def _coarse(block: xr.DataArray, ratio: int) -> xr.DataArray:
    """Return the values of the scene's pixels, each of which the cube has ratio x ratio times, on their own grid."""
    middle = ratio // 2
    values = block[:, middle::ratio, middle::ratio]
    centres = {d: block[d].to_numpy().reshape(-1, ratio).mean(1) for d in "yx"}
    return values.assign_coords(centres)
