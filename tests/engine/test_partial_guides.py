"""Guides that cover parts of a scene serve together: better than each, the same in tiles, and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.raster.windows import Window
from dualsr_geo.report.summary import describe_guide

OPTIONS: dict[str, Any] = {"model": "regression", "dtype": "float32", "scale": 4}


@pytest.fixture(scope="module")
def sample() -> synthetic.Sample:
    return synthetic.make((48, 64), bands=8, ratio=4)


@pytest.fixture(scope="module")
def parts(sample: synthetic.Sample) -> list[xr.DataArray]:
    """Return two guides: red and green of the left two thirds, blue of the right two thirds."""
    guide = synthetic.as_dataarray(sample, "guide")
    return [guide[:2, :, :170].rename("left"), guide[2:, :, 86:].rename("right")]


def product(path: str | Path) -> np.ndarray[Any, Any]:
    source = dualsr_geo.open_scene(path).source
    return np.asarray(source.read(Window(0, source.shape[1], 0, source.shape[2])))


def test_two_parts_serve_better_than_each(sample: synthetic.Sample, parts: list[xr.DataArray], tmp_path: Path) -> None:
    scene = synthetic.as_dataarray(sample)
    errors = {}
    for name, guides in {"left": parts[:1], "right": parts[1:], "both": parts}.items():
        result = dualsr_geo.upscale(scene, tmp_path / f"{name}.zarr", guide=guides, **OPTIONS)
        errors[name] = float(np.sqrt(((product(result["output"]) - sample.reference) ** 2).mean()))
    assert errors["both"] < min(errors["left"], errors["right"])
    guide = result["guide"]
    assert guide["coverage"] == 1
    assert guide["coverage_by_guide"] == pytest.approx([170 / 256, 170 / 256], abs=0.001)
    assert "covers 100% of the scene (the guides 66%, 66%)" in describe_guide(guide)[0]


def test_tiles_equal_the_whole_and_threads_the_lazy_product(
    sample: synthetic.Sample, parts: list[xr.DataArray], tmp_path: Path
) -> None:
    scene = synthetic.as_dataarray(sample)
    whole = dualsr_geo.upscale(scene, tmp_path / "whole.zarr", guide=parts, tile=64, **OPTIONS)
    tiled = dualsr_geo.upscale(scene, tmp_path / "tiled.zarr", guide=parts, tile=16, jobs=2, **OPTIONS)
    a, b = product(whole["output"]), product(tiled["output"])
    assert np.abs(a - b).max() < 1e-5 * float(np.ptp(a))
    lazy = scene.dualsr.upscale(guide=[g.chunk(y=50, x=60) for g in parts], tile=16, **OPTIONS)
    np.testing.assert_array_equal(lazy.values, b)


def test_a_part_in_another_crs_serves_too(sample: synthetic.Sample, parts: list[xr.DataArray], tmp_path: Path) -> None:
    warped = parts[1].rio.reproject("EPSG:4326", nodata=np.nan)
    result = dualsr_geo.upscale(
        synthetic.as_dataarray(sample), tmp_path / "a.zarr", guide=[parts[0], warped], **OPTIONS
    )
    assert result["guide"]["coverage"] > 0.95
