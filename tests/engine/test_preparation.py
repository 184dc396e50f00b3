"""Preparation of a run: inputs, output path and tile, without computing or writing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from numpy.typing import NDArray
from rasterio.transform import from_origin

from dualsr_geo import Options, synthetic, upscale
from dualsr_geo.engine.preparation import dry_run, open_inputs, prepare
from dualsr_geo.errors import OutputError

OPTIONS = Options(scale=2, model="bicubic")


def write_raster(path: Path, values: NDArray[np.uint16], driver: str = "GTiff") -> Path:
    count, height, width = values.shape
    profile = {"driver": driver, "dtype": values.dtype, "crs": "EPSG:32633", "transform": from_origin(0, 0, 8, 8)}
    with rasterio.open(path, "w", count=count, height=height, width=width, **profile) as file:
        file.write(values)
    return path


@pytest.fixture
def values() -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(1000, 9000, (3, 20, 24)).astype(np.uint16)


def test_the_default_output_is_in_the_directory_of_the_file_that_holds_the_scene(
    values: NDArray[np.uint16], tmp_path: Path
) -> None:
    scene = write_raster(tmp_path / "a.tif", values)
    assert prepare(scene, options=OPTIONS)[1].path == str(tmp_path / "a_x2.tif")
    store = tmp_path / "s.zarr"
    upscale(scene, store, options=OPTIONS)
    for path in (store, store / "a"):
        assert prepare(path, options=OPTIONS)[1].path == str(tmp_path / "s_x2.tif")
    xr.Dataset({"v": (("b", "y", "x"), values), "w": (("b", "y", "x"), values)}).to_netcdf(tmp_path / "n.nc")
    assert prepare(f"NETCDF:{tmp_path / 'n.nc'}:v", options=OPTIONS)[1].path == str(tmp_path / "n_x2.tif")
    envi = write_raster(tmp_path / "e.img", values, driver="ENVI")
    for path in (envi, envi.with_suffix(".hdr")):
        assert prepare(path, options=OPTIONS)[1].path == str(tmp_path / "e_x2.tif")


def test_the_output_may_follow_from_the_ratio(tmp_path: Path) -> None:
    scene, guide = synthetic.write(tmp_path, shape=(20, 24), bands=3, ratio=4)
    plan, spec = prepare(scene, lambda ratio: tmp_path / f"{ratio}.tif", rgb=guide, options=Options())
    assert (plan.ratio, spec.path) == (4, str(tmp_path / "4.tif"))


def test_the_guides_are_opened_in_their_order(tmp_path: Path) -> None:
    scene, guide = synthetic.write(tmp_path, shape=(20, 24), bands=3)
    delivery, guides = open_inputs(scene, [guide, scene], Options())
    assert delivery.scene.name == "scene"
    assert [g.name for g in guides] == [guide.stem, "scene"]
    assert list(open_inputs(scene, None, Options())[1]) == []


def test_a_resumed_run_takes_the_tile_of_the_product(values: NDArray[np.uint16], tmp_path: Path) -> None:
    scene, output = write_raster(tmp_path / "a.tif", values), tmp_path / "b.tif"
    upscale(scene, output, options=OPTIONS, tile=9)
    resumed = Options(scale=2, model="bicubic", resume=True)
    assert prepare(scene, output, options=resumed)[0].sizes.tile == 9
    assert prepare(scene, tmp_path / "c.tif", options=resumed)[0].sizes.tile != 9
    # A finished product is resumed, so it is not in the way.
    assert dry_run(scene, output, options=resumed)["tile"] == 9


def test_a_dry_run_refuses_what_the_run_would_refuse(values: NDArray[np.uint16], tmp_path: Path) -> None:
    scene, output = write_raster(tmp_path / "a.tif", values), tmp_path / "b.tif"
    plan = dry_run(scene, output, options=OPTIONS)
    assert (plan["scale"], plan["shape"], plan["bands"]) == (2, [40, 48], 3)
    assert not output.exists()
    output.touch()
    with pytest.raises(OutputError, match="--overwrite"):
        dry_run(scene, output, options=OPTIONS)
