"""Fidelity of spectral indices, against whole arrays of numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.degradation.operators import blur_matrix
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.raster.windows import Window

RATIO, SHAPE = 4, (40, 44)
# NIR, red, green and red edge of the synthetic bands, in the order of the formulae.
PAIRS = {"ndvi": (7, 4), "ndwi": (2, 7), "ndre": (7, 5)}
WAVELENGTHS = (443.0, 490.0, 560.0, 620.5, 665.0, 705.0, 780.0, 842.0)
PSF = Psf.from_mtf(RATIO)


def scene_and_guide(hole: bool = False) -> tuple[xr.DataArray, xr.DataArray]:
    sample = synthetic.make(SHAPE, bands=len(WAVELENGTHS), ratio=RATIO)
    scene = synthetic.as_dataarray(sample).assign_coords(wavelength=("band", list(WAVELENGTHS)))
    scene[:, :4, :4] = 0.0
    if hole:
        scene[:, 10:20, 25:40] = np.nan
    return scene, synthetic.as_dataarray(sample, "guide")


def whole_array_errors(product: NDArray[Any], scene: NDArray[Any], pair: tuple[int, int]) -> dict[str, float]:
    """Return the errors of an index of the degraded product on every fourth row of the scene."""
    y, x = (
        blur_matrix(taps, start, RATIO, n, 0, n)
        for taps, start, n in ((PSF.taps_y, PSF.start_y, SHAPE[0]), (PSF.taps_x, PSF.start_x, SHAPE[1]))
    )
    first, second = (product[i].astype(np.float64) for i in pair)
    least = 0.01 * float(np.nanmean(scene[list(pair)].sum(0, dtype=np.float64)))
    fine = first + second >= least
    weight = y @ fine @ x.T
    with np.errstate(invalid="ignore", divide="ignore"):
        averaged = (y @ np.where(fine, (first - second) / (first + second), 0) @ x.T) / weight
        a, b = (y @ np.nan_to_num(plane) @ x.T for plane in (first, second))
        c, d = (scene[i].astype(np.float64) for i in pair)
        ours, theirs = (a - b) / (a + b), (c - d) / (c + d)
        valid = (a + b >= least) & (c + d >= least) & (weight >= 0.5)
    rows = np.zeros(SHAPE, bool)
    rows[::4] = True
    at = valid & rows
    error, mean_error = (ours - theirs)[at], (averaged - theirs)[at]
    return {
        "pixels": int(at.sum()),
        "bias": error.mean(),
        "rmse": np.sqrt((error**2).mean()),
        "averaged": {"bias": mean_error.mean(), "rmse": np.sqrt((mean_error**2).mean())},
    }


@pytest.mark.parametrize(("model", "hole"), [("regression", False), ("bicubic", False), ("bicubic", True)])
def test_errors_are_those_of_whole_arrays(tmp_path: Path, model: str, hole: bool) -> None:
    scene, guide = scene_and_guide(hole)
    path = tmp_path / "product.zarr"
    result = dualsr_geo.upscale(
        scene, path, rgb=guide, model=model, psf=PSF, coregister="off", changes="off", tile=64, dtype="float32"
    )
    product = dualsr_geo.open_scene(path).source
    whole = product.read(Window(0, SHAPE[0] * RATIO, 0, SHAPE[1] * RATIO))
    assert set(result["indices"]) == set(PAIRS)
    for name, pair in PAIRS.items():
        measured, expected = result["indices"][name], whole_array_errors(whole, scene.values, pair)
        assert measured["pixels"] == expected["pixels"]
        for key in ("bias", "rmse"):
            assert measured["averaged"][key] == pytest.approx(expected["averaged"][key], rel=1e-3, abs=1e-6)
            # Next to a hole the bands are degraded as they are filled there, and this oracle knows only the product.
            assert hole or measured[key] == pytest.approx(expected[key], rel=1e-3, abs=1e-6)
