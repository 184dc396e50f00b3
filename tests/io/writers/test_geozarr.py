"""Zarr groups read back by xarray, rioxarray, odc-geo and GDAL."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  registers .odc
import pytest
import rasterio
import xarray as xr
import zarr_cm.proj
import zarr_cm.spatial
from affine import Affine
from outputs import (
    NORTH_UP,
    ROTATED,
    SOUTH_UP,
    a_spec,
    write_output,
)

pytestmark = [
    # rioxarray 0.19 and odc-geo 0.5 multiply affines by `*`, which affine 3 deprecates.
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326", None])
@pytest.mark.parametrize("affine", [NORTH_UP, SOUTH_UP])
@pytest.mark.parametrize("reading", [{}, {"decode_coords": "all"}, {"mask_and_scale": False}])
def test_a_group_opens_in_xarray_rioxarray_and_odc(
    tmp_path: Path, reading: dict[str, Any], affine: Affine, crs: str | None
) -> None:
    spec = a_spec(tmp_path / "out.zarr", "Zarr", affine=affine, crs=crs)
    values = write_output(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        dataset = xr.open_zarr(spec.path, **reading)
    array = dataset["reflectance"]
    expected = values if reading.get("mask_and_scale") is False else np.where(values == 0, np.nan, values * 1e-4)
    assert np.allclose(array.values, expected, equal_nan=True)
    assert array.rio.crs == (None if crs is None else rasterio.crs.CRS.from_user_input(crs))
    assert array.rio.transform() == affine
    assert array.odc.geobox == spec.geobox
    assert array.wavelength.values[:2].tolist() == [450.25, 512.34]
    assert np.isnan(array.fwhm.values[1])
    assert array.band_name.values[:3].tolist() == ["first", "", "B2"]
    assert array.good_band.values.tolist() == [1, 0, 1, 1, 1]
    assert array.band.values.tolist() == [1, 2, 3, 4, 5]
    assert array.attrs["standard_name"] == "surface_bidirectional_reflectance"
    assert dataset.attrs["dualsr"]["survey"] == {"shift": [0.25, -1.5], "blur": "nan"}
    # Through rioxarray and back.
    array.rio.to_raster(tmp_path / "through.tif")
    with rasterio.open(tmp_path / "through.tif") as through:
        assert through.transform == affine
        assert through.crs == array.rio.crs


def test_a_rotated_group_keeps_its_affine_and_has_no_1d_coordinates(tmp_path: Path) -> None:
    spec = a_spec(tmp_path / "out.zarr", "Zarr", affine=ROTATED)
    write_output(spec)
    array = xr.open_zarr(spec.path)["reflectance"]
    assert array.rio.transform() == ROTATED
    assert array.rio.crs.to_epsg() == 32631
    assert "x" not in array.coords


@pytest.mark.parametrize("crs", ["EPSG:32631", "+proj=laea +lat_0=51 +lon_0=9.5 +datum=WGS84"])
def test_zarr_metadata_follows_the_conventions(tmp_path: Path, crs: str) -> None:
    spec = a_spec(tmp_path / "out.zarr", "Zarr", crs=crs)
    write_output(spec)
    group = json.loads((tmp_path / "out.zarr" / "zarr.json").read_text())
    array = group["consolidated_metadata"]["metadata"]["reflectance"]
    assert array == json.loads((tmp_path / "out.zarr" / "reflectance" / "zarr.json").read_text())
    for meta in (group["attributes"], array["attributes"]):
        zarr_cm.spatial.validate(zarr_cm.spatial.extract(meta)[1])
        zarr_cm.proj.validate(zarr_cm.proj.extract(meta)[1])
        assert meta["spatial:transform"] == [2.5, 0, 500000.25, 0, -2.5, 4_200_000.5]
        assert meta["spatial:bbox"] == [500000.25, 4_200_000.5 - 175, 500000.25 + 327.5, 4_200_000.5]
    assert array["attributes"]["grid_mapping"] == "spatial_ref"
    if rasterio.__gdal_version__ >= "3.11":
        with rasterio.open(f'ZARR:"{spec.path}":/reflectance') as dataset:
            assert dataset.crs == rasterio.crs.CRS.from_user_input(crs)
            assert dataset.nodata == 0
