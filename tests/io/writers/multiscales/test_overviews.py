"""Overviews of Zarr products: averages of valid values, described by the conventions, read by xarray and GDAL."""

import itertools
import json
import tracemalloc

import numpy as np
import obstore
import odc.geo.xr  # noqa: F401  registers .odc
import pytest
import rasterio
import rioxarray  # noqa: F401  registers .rio
import xarray as xr
import zarr
import zarr_cm.multiscales
from affine import Affine
from outputs import IDENTITY, NORTH_UP, a_spec, tiles_of, values_of, write_output, write_tiles
from zarr.storage import ObjectStore

from dualsr_geo.errors import OptionError
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.writers.geozarr import CF_REGISTRATION, write_geozarr_metadata
from dualsr_geo.io.writers.multiscales.levels import levels_of
from dualsr_geo.io.writers.multiscales.overviews import averaged, write_overviews
from dualsr_geo.io.writers.output_records import uncertainty_bands
from dualsr_geo.io.writers.tile_store import TileStore
from dualsr_geo.raster.packing import Packing

ON = (("overviews", "auto"),)
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


def large(path, **changes):
    return a_spec(path, "Zarr", **{"count": 3, "shape": (533, 1101), "options": ON, "tile": 256, **changes})


def slow_average(plane, nodata):
    """Return the averages of 2 x 2 valid values, one after another."""
    height, width = plane.shape
    result = np.full((-(-height // 2), -(-width // 2)), np.nan)
    for y, x in itertools.product(*map(range, result.shape)):
        block = plane[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].astype(float)
        valid = block[np.isfinite(block) & (block != (np.nan if nodata is None else nodata))]
        result[y, x] = valid.mean() if valid.size else np.nan
    return result


@pytest.mark.parametrize("shape", [(8, 6), (7, 5), (1, 1), (2, 9)])
@pytest.mark.parametrize("packing", [
    Packing("uint16", (1.0,), (0.0,), 0), Packing("int16", (1.0,), (0.0,), -9999), Packing("uint8", (1.0,), (0.0,), None),
    Packing("float32", (1.0,), (0.0,), float("nan")), Packing("float32", (1.0,), (0.0,), -1), Packing("float64", (1.0,), (0.0,), None),
    Packing("uint32", (1.0,), (0.0,), 2**32 - 1),
], ids=str)  # fmt: skip
def test_averages_are_those_of_the_valid_values(packing, shape):
    rng = np.random.default_rng(sum(shape))
    plane = rng.integers(0, 200, shape).astype(packing.dtype)
    if packing.nodata is not None:
        plane[rng.random(shape) < 0.4] = packing.nodata
    expected, result = slow_average(plane, packing.nodata), averaged(plane, packing)
    assert result.dtype == plane.dtype
    missing = np.isnan(expected)
    if packing.nodata is not None:
        np.testing.assert_array_equal(result[missing], np.array(packing.nodata, plane.dtype))
    tolerance = 1e-6 if packing.is_float else 0.5
    np.testing.assert_allclose(result[~missing].astype(float), expected[~missing], rtol=1e-6, atol=tolerance)


def test_an_average_of_valid_values_is_never_nodata():
    plane = np.array([[4, 6], [4, 6]], np.uint8)
    assert averaged(plane, Packing("uint8", (1.0,), (0.0,), 5)).tolist() == [[4]]
    largest = np.full((2, 2), 2**32 - 2, np.uint32)
    assert averaged(largest, Packing("uint32", (1.0,), (0.0,), 0)).tolist() == [[2**32 - 2]]


@pytest.mark.filterwarnings("ignore:Scales differ")
def test_levels_are_georeferenced_groups_that_xarray_opens(tmp_path):
    spec = large(tmp_path / "out.zarr", uncertainty=True)
    store = TileStore.begin(spec, IDENTITY, resume=False, overwrite=False)
    values = values_of(spec)
    doubled = np.concatenate([values, values_of(spec, 1)])
    write_both(store, doubled)
    store.finish({"software": "dualsr-geo"}, None)
    assert [level.path for level in levels_of(spec)] == ["overviews/2", "overviews/4"]
    whole = xr.open_zarr(spec.path)
    plane, expected = values[0], []
    for factor in (2, 4):
        plane = averaged(plane, spec.packing)
        level = xr.open_zarr(spec.path, group=f"overviews/{factor}")
        array = level["reflectance"]
        np.testing.assert_allclose(array[0], np.where(plane == 0, np.nan, plane * 1e-4))
        assert array.rio.crs == whole["reflectance"].rio.crs
        assert array.rio.transform() == NORTH_UP @ Affine.scale(factor)
        assert array.odc.geobox.shape == plane.shape
        assert array.attrs["ancillary_variables"] == "uncertainty"
        assert level["uncertainty"].attrs["standard_name"] == "surface_bidirectional_reflectance standard_error"
        assert array.wavelength.values[:2].tolist() == [450.25, 512.34]
        expected.append(plane)
    # The product itself is read as before.
    assert open_scene(spec.path).geobox == spec.geobox
    assert uncertainty_bands(spec.path) == ("uncertainty",)
    np.testing.assert_array_equal(zarr.open_array(f"{spec.path}/reflectance")[:], values)
    if rasterio.__gdal_version__ >= "3.11":
        for factor, level in zip((2, 4), expected, strict=True):
            with rasterio.open(f'ZARR:"{spec.path}":/overviews/{factor}/reflectance') as dataset:
                np.testing.assert_array_equal(dataset.read(1), level)
                assert dataset.transform == NORTH_UP @ Affine.scale(factor)
                assert dataset.nodata == 0


def write_both(store, values):
    """Write the tiles of values and of standard deviations, stacked along the bands."""
    count = store.spec.shape[0]
    for tile in tiles_of(store.spec):
        chunks = {}
        for first in (0, count):
            bands = slice(first, first + count)
            chunks |= store.write(tile.core, bands, values[(bands, *tile.core.slices)])
        store.mark(tile.index, {}, chunks)


@pytest.mark.parametrize("crs", ["EPSG:32631", None])
def test_the_metadata_follow_multiscales_and_cf(tmp_path, crs):
    spec = large(tmp_path / "out.zarr", crs=crs)
    write_output(spec)
    group = json.loads((tmp_path / "out.zarr" / "zarr.json").read_text())
    attributes, arrays = group["attributes"], group["consolidated_metadata"]["metadata"]
    zarr_cm.multiscales.validate_group_metadata({k: group[k] for k in ("zarr_format", "node_type", "attributes")})
    layout = attributes["multiscales"]["layout"]
    assert [entry["asset"] for entry in layout] == ["reflectance", "overviews/2/reflectance", "overviews/4/reflectance"]
    assert [entry.get("derived_from") for entry in layout] == [None, *(entry["asset"] for entry in layout[:2])]
    for entry in layout:
        array = arrays[entry["asset"]]
        assert array["shape"][1:] == entry["spatial:shape"] == array["attributes"]["spatial:shape"]
        assert entry["spatial:transform"] == array["attributes"]["spatial:transform"]
    # A pixel of a level in coordinates of its source: scale and offset are those of the centres.
    transform = layout[1]["transform"]
    centres = 2.0 * np.arange(4) + 0.5
    np.testing.assert_array_equal(transform["scale"][2] * np.arange(4) + transform["translation"][2], centres)
    # Conventions are registered in the group, in the arrays, and in the groups of the levels.
    for node in (
        attributes,
        *(arrays[p]["attributes"] for p in ("reflectance", "overviews/2", "overviews/4/reflectance")),
    ):
        assert CF_REGISTRATION in node["zarr_conventions"]
        assert len({c["uuid"] for c in node["zarr_conventions"]}) == len(node["zarr_conventions"])
    assert {c["name"] for c in attributes["zarr_conventions"]} >= {"CF", "multiscales", "spatial"}
    assert attributes["Conventions"] == "CF-1.11"
    assert arrays["reflectance"]["attributes"]["grid_mapping"] == "spatial_ref"


def test_a_product_without_overviews_has_none(tmp_path):
    for name, changes in {
        "off.zarr": {"options": ()},
        "none.zarr": {"options": (("OVERVIEWS", "NONE"),)},
        "small.zarr": {"shape": (70, 131)},
    }.items():
        write_output(large(tmp_path / name, **changes))
        group = json.loads((tmp_path / name / "zarr.json").read_text())
        assert "multiscales" not in group["attributes"]
        assert not (tmp_path / name / "overviews").exists()


def test_a_run_that_is_continued_leaves_no_overviews_of_another(tmp_path):
    spec = large(tmp_path / "out.zarr")
    store = TileStore.begin(spec, IDENTITY, resume=False, overwrite=False)
    write_tiles(store, values_of(spec))
    group = zarr.open_group(store._work.values(), mode="r+")
    group.create_array("overviews/2/reflectance", shape=(3, 4, 5), dtype="uint8")
    again = large(tmp_path / "out.zarr", options=())
    TileStore.begin(again, IDENTITY, resume=True, overwrite=False).finish({}, None)
    assert not (tmp_path / "out.zarr" / "overviews").exists()


def test_nearest_takes_values_as_they_are(tmp_path):
    spec = large(tmp_path / "out.zarr", options=(*ON, ("OVERVIEW_RESAMPLING", "nearest")))
    values = write_output(spec)
    np.testing.assert_array_equal(zarr.open_array(f"{spec.path}/overviews/4/reflectance")[:], values[:, ::4, ::4])
    assert (
        json.loads((tmp_path / "out.zarr" / "zarr.json").read_text())["attributes"]["multiscales"]["resampling_method"]
        == "nearest"
    )


def test_large_integers_are_not_rounded(tmp_path):
    spec = large(tmp_path / "out.zarr", packing=Packing("int64", (1.0,) * 3, (0.0,) * 3, None))
    store = TileStore.begin(spec, IDENTITY, resume=False, overwrite=False)
    values = np.full(spec.shape, 2**62 + 1, np.int64)
    write_tiles(store, values)
    store.finish({}, None)
    assert np.unique(zarr.open_array(f"{spec.path}/overviews/2/reflectance")[:]).tolist() == [2**62 + 1]


def test_the_memory_does_not_grow_with_the_product(tmp_path):
    peaks = []
    for side in (1024, 2048):
        spec = large(tmp_path / f"{side}.zarr", count=1, shape=(side, side))
        store = TileStore.begin(spec, IDENTITY, resume=False, overwrite=False)
        values = np.broadcast_to(np.uint16(7), spec.shape)
        write_tiles(store, values)
        tracemalloc.start()
        store.finish({}, None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + (1 << 20)


@pytest.mark.parametrize(("option", "text"), [
    (("COMPRESS", "LZW"), "Zarr takes only OVERVIEWS and OVERVIEW_RESAMPLING"),
    (("OVERVIEWS", "2"), "--co OVERVIEWS=2 is unknown for Zarr. Give --co OVERVIEWS=AUTO or --co OVERVIEWS=NONE"),
    (("OVERVIEW_RESAMPLING", "CUBIC"), "Give --co OVERVIEW_RESAMPLING=AVERAGE or --co OVERVIEW_RESAMPLING=NEAREST"),
])  # fmt: skip
def test_other_options_are_refused(tmp_path, option, text):
    with pytest.raises(OptionError, match=text):
        write_output(large(tmp_path / "out.zarr", options=(option,)))


def test_overviews_are_written_in_a_store_and_replaced_when_a_run_repeats_it(tmp_path):
    spec, store = large(tmp_path / "out.zarr"), ObjectStore(obstore.store.MemoryStore())
    values = values_of(spec)
    group = zarr.open_group(store, mode="w", zarr_format=3)
    chunks, names = spec.chunks, ("band", "y", "x")
    group.create_array("reflectance", data=values, chunks=chunks, fill_value=0, dimension_names=names)
    for _ in range(2):
        write_geozarr_metadata(store, spec, {"lineage": {}}, write_overviews(store, spec))
    level = xr.open_zarr(store, group="overviews/2", mask_and_scale=False)["reflectance"]
    np.testing.assert_array_equal(level[2], averaged(values[2], spec.packing))
