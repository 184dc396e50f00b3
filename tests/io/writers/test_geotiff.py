"""COGs and GeoTIFFs read back: values, metadata, overviews, blocks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
from affine import Affine
from outputs import (
    FORMATS,
    NORTH_UP,
    ROTATED,
    SOUTH_UP,
    a_spec,
    write_output,
    write_tiles,
)
from rasterio.windows import Window as RasterioWindow
from rio_cogeo import cog_validate

from dualsr_geo.io.writers.tiff_header import missing_block
from dualsr_geo.io.writers.tile_store import TileStore
from dualsr_geo.raster.packing import Packing

pytestmark = [
    # rioxarray 0.19 and odc-geo 0.5 multiply affines by `*`, which affine 3 deprecates.
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326", "+proj=laea +lat_0=51 +lon_0=9.5 +datum=WGS84", None])
@pytest.mark.parametrize("affine", [NORTH_UP, ROTATED, SOUTH_UP])
@pytest.mark.parametrize("form", ["COG", "GTiff"])
def test_a_tiff_has_the_grid_and_metadata_of_its_specification(
    tmp_path: Path, form: str, affine: Affine, crs: str | None
) -> None:
    spec = a_spec(tmp_path / FORMATS[form], form, affine=affine, crs=crs)
    values = write_output(spec)
    with rasterio.open(spec.path) as dataset:
        assert np.array_equal(dataset.read(), values)
        assert np.allclose(dataset.transform, affine, rtol=1e-12, atol=1e-9)
        assert dataset.crs == (None if crs is None else rasterio.crs.CRS.from_user_input(crs))
        assert dataset.nodata == 0
        assert dataset.compression.name == "zstd"
        assert dataset.descriptions[:3] == ("first", "Band 2 (512.3 nm)", "B2")
        assert dataset.scales == (1e-4,) * 5
        assert dataset.units == ("1",) * 5
        assert [c.name for c in dataset.colorinterp[:2]] == ["blue", "undefined"]
        assert dataset.tags(1) == {
            "note": 'a < "b"',
            "wavelength": "450.25",
            "wavelength_units": "nanometers",
            "fwhm": "9.5",
        }
        assert dataset.tags(2) == {"wavelength": "512.34", "wavelength_units": "nanometers", "bbl": "0"}
        assert dataset.tags(1, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.45025", "FWHM_UM": "0.0095"}
        assert dataset.tags(ns="ENVI") == spec.tags["ENVI"]
        assert dataset.tags()["ACQUIRED"] == "2022-07-24"
        assert dataset.tags()["standard_name"] == "surface_bidirectional_reflectance"
        assert "DUALSR_ROOM" not in dataset.tags()
        notes = dataset.tags(ns="DUALSR")
    assert json.loads(notes["LINEAGE"])["software"] == "dualsr-geo"
    assert json.loads(notes["SURVEY"]) == {"shift": [0.25, -1.5], "blur": "nan"}
    assert os.listdir(tmp_path) == [FORMATS[form]]
    with rioxarray.open_rasterio(spec.path) as output:
        assert output.rio.transform().almost_equals(affine, precision=1e-6)
        assert output.rio.nodata == 0


@pytest.mark.parametrize("point", ["Point", "Area"])
def test_point_and_area_rasters_keep_their_place(tmp_path: Path, point: str) -> None:
    spec = a_spec(tmp_path / "a.tif", tags={"": {"AREA_OR_POINT": point}})
    write_output(spec)
    with rasterio.open(spec.path) as dataset:
        assert dataset.tags()["AREA_OR_POINT"] == point
        assert dataset.transform == spec.geobox.affine


@pytest.mark.parametrize("shape", [(33, 47), (512, 512), (513, 200), (1100, 1301), (90, 2100)])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_cog_is_valid_with_overviews_of_valid_pixels(tmp_path: Path, shape: tuple[int, int], dtype: str) -> None:
    nodata = float("nan") if dtype == "float32" else 0
    packing = Packing(dtype, (1.0,) * 2, (0.0,) * 2, nodata)
    spec = a_spec(tmp_path / "a.tif", shape=shape, count=2, tile=200, packing=packing)
    values = write_output(spec)
    valid, errors, notes = cog_validate(spec.path, strict=True)
    assert (valid, errors, notes) == (True, [], [])
    with rasterio.open(spec.path) as dataset:
        assert np.array_equal(dataset.read(), values, equal_nan=True)
        assert bool(dataset.overviews(1)) == (max(shape) > 512)
        if not dataset.overviews(1):
            return
        half = dataset.read(1, out_shape=tuple(-(-n // 2) for n in shape), masked=True)
    full = np.ma.masked_invalid(values[0]) if dtype == "float32" else np.ma.masked_equal(values[0], 0)
    even = full[: shape[0] // 2 * 2, : shape[1] // 2 * 2]
    blocks = even.reshape(shape[0] // 2, 2, shape[1] // 2, 2).astype(float).mean(axis=(1, 3))
    output = half[: shape[0] // 2, : shape[1] // 2]
    # An odd side makes GDAL's halves a little wider than two pixels.
    if shape[0] % 2 == 0 and shape[1] % 2 == 0:
        assert np.array_equal(output.mask, np.ma.getmaskarray(blocks))
        assert np.abs(output - blocks).max() <= 0.51
    else:
        assert output.compressed().min() >= full.compressed().min()


def test_a_missing_block_is_found(tmp_path: Path) -> None:
    place = tmp_path / "sparse.tif"
    form = {"count": 3, "dtype": "uint8", "tiled": True, "blockxsize": 16, "blockysize": 16}
    with rasterio.open(
        place, "w", driver="GTiff", width=70, height=33, interleave="band", sparse_ok=True, **form
    ) as file:
        file.write(np.ones((3, 33, 70), "uint8"))
    assert missing_block(place) is None
    with rasterio.open(
        place, "w", driver="GTiff", width=70, height=33, interleave="band", sparse_ok=True, **form
    ) as file:
        file.write(np.ones((33, 70), "uint8"), 1)
        file.write(np.ones((32, 70), "uint8"), 2, window=RasterioWindow(0, 0, 70, 32))
    assert missing_block(place) == "block 0_2 of band 2"


def test_a_sparse_output_may_lack_blocks(tmp_path: Path) -> None:
    spec = a_spec(tmp_path / "a.tif", options=(("SPARSE_OK", "YES"),))
    store = TileStore.begin(spec, {}, resume=False, overwrite=False)
    write_tiles(store, np.zeros(spec.shape, "uint16"))
    store.finish({}, None)
    assert missing_block(Path(spec.path)) == "block 0_0 of band 1"


def test_windows_of_a_cog_match_the_store_where_tiles_do_not_fit_blocks(tmp_path: Path) -> None:
    spec = a_spec(tmp_path / "a.tif", shape=(600, 577), count=17, tile=330)
    values = write_output(spec)
    with rasterio.open(spec.path) as dataset:
        output = dataset.read(window=RasterioWindow(300, 500, 277, 100))
    assert np.array_equal(output, values[:, 500:, 300:])
