"""The store, its marks, and what becomes of it: refused, interrupted, finished, read back."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import odc.geo.xr  # noqa: F401  registers .odc
import pytest
import rasterio
import rioxarray
import xarray as xr
import zarr
import zarr_cm.proj
import zarr_cm.spatial
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as RasterioWindow
from rio_cogeo import cog_validate

from dualsr_geo.errors import OptionError, OutputError, ResumeError, TileError
from dualsr_geo.io.writers.destination import destination_at
from dualsr_geo.io.writers.output_records import is_same_output
from dualsr_geo.io.writers.output_spec import OutputSpec, chunk_side, format_of
from dualsr_geo.io.writers.tiff_header import missing_block
from dualsr_geo.io.writers.tile_store import TileStore
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.windows import Tiling, Window
from dualsr_geo.version import __version__

pytestmark = [
    # rioxarray 0.19 and odc-geo 0.5 multiply affines by `*`, which affine 3 deprecates.
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]

FORMATS = {"COG": "out.tif", "GTiff": "out.tiff", "Zarr": "out.zarr"}
NORTH_UP = Affine(2.5, 0, 500000.25, 0, -2.5, 4_200_000.5)
ROTATED = NORTH_UP @ Affine.rotation(17)
SOUTH_UP = Affine(2.5, 0, 500000.25, 0, 2.5, 4_200_000.5)
IDENTITY = {"scene": "a.tif", "scale": 4, "model": {"sha256": "ab"}, "nodata": float("nan")}


def a_layout(path: Path | str, form: str = "COG", **changes: Any) -> OutputSpec:
    count, shape = changes.pop("count", 5), changes.pop("shape", (70, 131))
    affine, crs = changes.pop("affine", NORTH_UP), changes.pop("crs", "EPSG:32631")
    bands = (
        Band("first", 450.25, 9.5, unit="1", color="blue", tags={"note": 'a < "b"'}),
        Band(None, 512.34, None, good=False, unit="1", tags={"STATISTICS_MEAN": "3"}),
        *(Band(f"B{i}", 600.0 + i, 10.0, unit="1") for i in range(2, count)),
    )[:count]
    return OutputSpec(
        **{
            "destination": destination_at(path, form),
            "geobox": GeoBox(shape, affine, crs),
            "bands": bands,
            "packing": Packing("uint16", (1e-4,) * count, (0.0,) * count, 0),
            "tags": {"": {"ACQUIRED": "2022-07-24"}, "ENVI": {"bbl": "{1, 0}", "sensor": "ä & <b>"}},
            "attrs": {"standard_name": "surface_bidirectional_reflectance"},
            "name": "reflectance",
            "tile": 64,
            **changes,
        }
    )


def values_of(layout: OutputSpec, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    made = (rng.random(layout.shape) * 250).astype(layout.packing.dtype)
    made[:, :20, 64:] = 0 if layout.packing.nodata is None else layout.packing.nodata
    return made


def tiles_of(layout: OutputSpec) -> Tiling:
    return Tiling(layout.shape[1:], layout.tile, 0)


def fill(store: TileStore, values: NDArray[Any], order: int = 1) -> None:
    for tile in list(tiles_of(store.spec))[::order]:
        if tile.index not in store.done():
            for bands in store.band_ranges():
                store.write(tile.core, bands, values[(bands, *tile.core.slices)])
            store.mark(tile.index, {"overshoot": np.int64(3)})


def make(layout: OutputSpec, order: int = 1, overwrite: bool = False) -> NDArray[Any]:
    store = TileStore.begin(layout, IDENTITY, resume=False, overwrite=overwrite)
    values = values_of(layout)
    fill(store, values, order)
    store.finish({"software": "dualsr-geo"}, {"shift": [0.25, -1.5], "blur": float("nan")})
    return values


def digest(place: Path) -> str:
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    sums = [(str(p.relative_to(place)), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files]
    return json.dumps(sums)


# Where a region may lie


@given(tile=st.integers(1, 4100))
def test_a_chunk_divides_the_tile_and_is_neither_tiny_nor_huge(tile: int) -> None:
    side = chunk_side(tile)
    assert tile % side == 0
    small = [d for d in range(64, 513) if tile % d == 0]
    assert (
        side in small
        if small
        else side == min(d for d in range(1, tile + 1) if tile % d == 0 and (d > 512 or d == tile))
    )


@pytest.mark.parametrize(("tile", "side"), [(512, 256), (1024, 256), (384, 192), (520, 260), (300, 300), (2018, 1009)])
def test_chunks_of_usual_tiles(tile: int, side: int) -> None:
    assert chunk_side(tile) == side


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.tuples(st.integers(1, 60), st.integers(1, 60)), tile=st.integers(9, 40), count=st.integers(1, 35))
def test_every_tile_is_accepted_and_the_store_holds_what_was_written(
    tmp_path: Path, shape: tuple[int, int], tile: int, count: int
) -> None:
    layout = a_layout(tmp_path / "s.zarr", "Zarr", shape=shape, count=count, tile=tile)
    store = TileStore.begin(layout, {}, resume=False, overwrite=True)
    values = values_of(layout)
    fill(store, values)
    held = zarr.open_array(store.spec.destination.folder / "store.zarr" / "reflectance", mode="r")
    assert np.array_equal(held[...], values)
    assert sorted(store.done()) == list(range(layout.tiles))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_region_is_accepted_exactly_if_no_chunk_is_shared(tmp_path: Path, data: st.DataObject) -> None:
    layout = a_layout(tmp_path / "r.zarr", "Zarr", shape=(50, 47), count=20, tile=10)
    store = TileStore.begin(layout, {}, resume=True, overwrite=True)
    spans = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2))) for n in layout.shape]
    (b0, b1), (y0, y1), (x0, x1) = spans
    values = np.ones((b1 - b0, y1 - y0, x1 - x0), "uint16")
    ends = zip(spans, layout.shape, layout.chunks, strict=True)
    whole = all(a < b and a % c == 0 and (b % c == 0 or b == n) for (a, b), n, c in ends)
    if whole:
        store.write(Window(y0, y1, x0, x1), slice(b0, b1), values)
    else:
        with pytest.raises(ValueError, match="chunk borders"):
            store.write(Window(y0, y1, x0, x1), slice(b0, b1), values)


def test_values_of_another_type_or_shape_are_refused(tmp_path: Path) -> None:
    store = TileStore.begin(a_layout(tmp_path / "a.tif"), {}, resume=False, overwrite=False)
    window, bands = Window(0, 64, 0, 64), slice(0, 5)
    with pytest.raises(ValueError, match=r"float64 \(5, 64, 64\).*uint16 \(5, 64, 64\)"):
        store.write(window, bands, np.ones((5, 64, 64)))
    with pytest.raises(ValueError, match=r"uint16 \(5, 64, 63\)"):
        store.write(window, bands, np.ones((5, 64, 63), "uint16"))


# Where a product may lie


def test_the_format_follows_the_suffix_unless_asked() -> None:
    assert [format_of(p, None) for p in ("a.tif", "b.TIFF", "c.zarr")] == ["COG", "COG", "Zarr"]
    assert format_of("a.tif", "gtiff") == "GTiff"
    with pytest.raises(OptionError, match=r"`\.png`.*--format COG, GTiff or Zarr"):
        format_of("a.png", None)
    with pytest.raises(OptionError, match="--format ENVI cannot"):
        format_of("a.tif", "ENVI")


@pytest.mark.parametrize("form", FORMATS)
def test_a_product_is_replaced_only_with_overwrite(tmp_path: Path, form: str) -> None:
    layout = a_layout(tmp_path / FORMATS[form], form)
    make(layout)
    before = digest(Path(layout.path))
    with pytest.raises(OutputError, match=rf"{FORMATS[form]} exists\. Give --overwrite"):
        TileStore.begin(layout, IDENTITY, resume=True, overwrite=False)
    other = TileStore.begin(layout, {"other": 1}, resume=False, overwrite=True)
    fill(other, values_of(layout, seed=1))
    assert digest(Path(layout.path)) == before
    other.finish({}, None)
    assert digest(Path(layout.path)) != before
    make(layout, overwrite=True)
    assert digest(Path(layout.path)) == before
    assert os.listdir(tmp_path) == [FORMATS[form]]


def test_places_that_cannot_hold_the_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(layout: OutputSpec) -> None:
        TileStore.begin(layout, {}, resume=False, overwrite=True)

    with pytest.raises(OutputError, match="nowhere.*does not exist"):
        begin(a_layout(tmp_path / "nowhere" / "a.tif"))
    (tmp_path / "photos.zarr").mkdir()
    (tmp_path / "photos.zarr" / "cat.jpg").write_text("cat")
    with pytest.raises(OutputError, match=r"photos\.zarr exists and is not Zarr"):
        begin(a_layout(tmp_path / "photos.zarr", "Zarr"))
    with pytest.raises(OutputError, match=r"photos\.zarr is a folder and COG is a file"):
        begin(a_layout(tmp_path / "photos.zarr", "COG"))
    (tmp_path / "b.tif.part").mkdir()
    (tmp_path / "b.tif.part" / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match=r"b\.tif\.part .*not ours"):
        begin(a_layout(tmp_path / "b.tif"))
    with pytest.raises(OptionError, match="--co COMPRESS=LZW: Zarr takes no"):
        begin(a_layout(tmp_path / "c.zarr", "Zarr", options=(("COMPRESS", "LZW"),)))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="is not writable"):
        begin(a_layout(tmp_path / "a.tif"))
    assert (tmp_path / "photos.zarr" / "cat.jpg").exists()
    assert (tmp_path / "b.tif.part" / "thesis.tex").exists()


# Interrupted and resumed


def test_a_run_continues_only_with_what_it_had(tmp_path: Path) -> None:
    layout = a_layout(tmp_path / "a.tif")
    store = TileStore.begin(layout, IDENTITY, resume=True, overwrite=False)
    store.remember("survey", {"gain": [0.1, float("nan")]})
    store.mark(0, {"n": 1})
    again = TileStore.begin(layout, IDENTITY, resume=True, overwrite=False)
    assert again.done() == {0: {"n": 1}}
    assert again.record()["survey"]["gain"][0] == 0.1
    changed = {**IDENTITY, "scale": 2, "model": {"sha256": "cd"}}
    with pytest.raises(ResumeError, match=r'model\.sha256 was "ab", is "cd"; scale was 4, is 2\..*--resume'):
        TileStore.begin(layout, changed, resume=True, overwrite=False)
    with pytest.raises(ResumeError, match=r"store\.tile was 64, is 32"):
        TileStore.begin(a_layout(tmp_path / "a.tif", tile=32), IDENTITY, resume=True, overwrite=False)
    assert TileStore.begin(layout, changed, resume=False, overwrite=False).done() == {}


def test_a_run_of_another_version_is_refused(tmp_path: Path) -> None:
    store = TileStore.begin(a_layout(tmp_path / "a.tif"), IDENTITY, resume=False, overwrite=False)
    record = store.spec.destination.folder / "run.json"
    document = json.loads(record.read_text())
    document["identity"]["dualsr_geo"] = "0.1.0"
    record.write_text(json.dumps(document))
    refused = (
        rf"a\.tif\.part was begun by dualsr-geo 0\.1\.0, and dualsr-geo {re.escape(__version__)} cannot continue it\. "
        r"Finish it with dualsr-geo 0\.1\.0, or leave --resume out to start again\."
    )
    with pytest.raises(ResumeError, match=refused):
        TileStore.begin(store.spec, IDENTITY, resume=True, overwrite=False)
    assert TileStore.begin(store.spec, IDENTITY, resume=False, overwrite=False).done() == {}


def test_marks_without_their_array_are_not_believed(tmp_path: Path) -> None:
    store = TileStore.begin(a_layout(tmp_path / "a.tif"), IDENTITY, resume=False, overwrite=False)
    store.mark(0, {})
    (store.spec.destination.folder / "store.zarr" / "reflectance" / "zarr.json").unlink()
    assert TileStore.begin(store.spec, IDENTITY, resume=True, overwrite=False).done() == {}


def test_what_killed_writers_leave_is_swept_on_resume(tmp_path: Path) -> None:
    store = TileStore.begin(a_layout(tmp_path / "a.tif"), IDENTITY, resume=False, overwrite=False)
    left = [
        store.spec.destination.folder / p
        for p in ("store.zarr/reflectance/c.12.partial", "done/0.json.1.partial", "stage.tif")
    ]
    for file in left:
        file.write_text("half")
    TileStore.begin(store.spec, IDENTITY, resume=True, overwrite=False)
    assert not any(file.exists() for file in left)


def test_nothing_is_finished_while_tiles_are_missing(tmp_path: Path) -> None:
    store = TileStore.begin(a_layout(tmp_path / "a.tif"), IDENTITY, resume=False, overwrite=False)
    for index in (0, 1, 3, 4, 5):
        store.mark(index, {})
    with pytest.raises(TileError, match="1 of 6 tiles.*tile 2"):
        store.finish({}, None)
    assert not Path(store.spec.path).exists()


WRITER = """
import sys; sys.path[:0] = [{here!r}, {root!r}]
import test_tile_store as t
from pathlib import Path
layout = t.a_layout({path!r}, {form!r}, shape=(200, 310), tile=64, count=20)
store = t.TileStore.begin(layout, t.IDENTITY, resume=True, overwrite=False)
print("begun", flush=True)
t.fill(store, t.values_of(layout))
store.finish({{"software": "dualsr-geo"}}, None)
"""


@pytest.mark.parametrize("form", FORMATS)
def test_killed_runs_resume_to_identical_bytes(tmp_path: Path, form: str) -> None:
    here, root = str(Path(__file__).parent), str(Path(__file__).parents[3])
    rest = np.random.default_rng(len(form)).uniform(0.02, 0.15, 2)
    (tmp_path / "killed").mkdir()
    place = tmp_path / "killed" / FORMATS[form]
    code = WRITER.format(here=here, root=root, path=str(place), form=form)
    stopped = 0
    for pause in rest:
        run = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE)
        assert run.stdout is not None
        run.stdout.readline()
        time.sleep(pause)
        run.send_signal(signal.SIGKILL)
        stopped += run.wait() == -signal.SIGKILL
        run.stdout.close()
        if place.exists():
            break
    assert stopped >= 1
    # Killed between the product's last rename and the end of the cleaning, it leaves its folder beside a whole product.
    published = place.exists()
    whole = tmp_path / FORMATS[form]
    for path in (place, whole):
        layout = a_layout(path, form, shape=(200, 310), tile=64, count=20)
        if not path.exists():
            store = TileStore.begin(layout, IDENTITY, resume=True, overwrite=False)
            fill(store, values_of(layout), order=-1)
            store.finish({"software": "dualsr-geo"}, None)
    assert digest(place).replace("killed/", "") == digest(whole)
    assert published or [p.name for p in place.parent.iterdir()] == [place.name]


def test_a_replacement_killed_between_its_renames_is_undone(tmp_path: Path) -> None:
    layout = a_layout(tmp_path / "out.zarr", "Zarr")
    make(layout)
    store = TileStore.begin(layout, IDENTITY, resume=False, overwrite=True)
    os.replace(layout.path, store.spec.destination.folder / "old.zarr")
    with pytest.raises(OutputError, match="exists"):
        TileStore.begin(layout, IDENTITY, resume=False, overwrite=False)
    assert is_same_output(layout, IDENTITY)


@pytest.mark.parametrize("form", FORMATS)
def test_the_order_of_tiles_leaves_no_trace(tmp_path: Path, form: str) -> None:
    sums = []
    for order, folder in ((1, "a"), (-1, "b")):
        (tmp_path / folder).mkdir()
        make(a_layout(tmp_path / folder / FORMATS[form], form, shape=(530, 120)), order)
        sums.append(digest(tmp_path / folder / FORMATS[form]))
    assert sums[0] == sums[1]


def test_a_store_travels_to_other_processes(tmp_path: Path) -> None:
    store = TileStore.begin(a_layout(tmp_path / "a.tif"), IDENTITY, resume=False, overwrite=False)
    assert pickle.loads(pickle.dumps(store)) == store


def test_a_product_is_recognised_by_what_made_it(tmp_path: Path) -> None:
    for form, name in FORMATS.items():
        layout = a_layout(tmp_path / name, form)
        assert not is_same_output(layout, IDENTITY)
        make(layout)
        assert is_same_output(layout, IDENTITY)
        assert not is_same_output(layout, {**IDENTITY, "scale": 2})
    other = a_layout(tmp_path / FORMATS["COG"], options=(("COMPRESS", "LZW"),))
    assert not is_same_output(other, IDENTITY)


# The product read back


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326", "+proj=laea +lat_0=51 +lon_0=9.5 +datum=WGS84", None])
@pytest.mark.parametrize("affine", [NORTH_UP, ROTATED, SOUTH_UP])
@pytest.mark.parametrize("form", ["COG", "GTiff"])
def test_a_tiff_says_what_the_layout_said(tmp_path: Path, form: str, affine: Affine, crs: str | None) -> None:
    layout = a_layout(tmp_path / FORMATS[form], form, affine=affine, crs=crs)
    values = make(layout)
    with rasterio.open(layout.path) as product:
        assert np.array_equal(product.read(), values)
        assert np.allclose(product.transform, affine, rtol=1e-12, atol=1e-9)
        assert product.crs == (None if crs is None else rasterio.crs.CRS.from_user_input(crs))
        assert product.nodata == 0
        assert product.compression.name == "zstd"
        assert product.descriptions[:3] == ("first", "Band 2 (512.3 nm)", "B2")
        assert product.scales == (1e-4,) * 5
        assert product.units == ("1",) * 5
        assert [c.name for c in product.colorinterp[:2]] == ["blue", "undefined"]
        assert product.tags(1) == {
            "note": 'a < "b"',
            "wavelength": "450.25",
            "wavelength_units": "nanometers",
            "fwhm": "9.5",
        }
        assert product.tags(2) == {"wavelength": "512.34", "wavelength_units": "nanometers", "bbl": "0"}
        assert product.tags(1, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.45025", "FWHM_UM": "0.0095"}
        assert product.tags(ns="ENVI") == layout.tags["ENVI"]
        assert product.tags()["ACQUIRED"] == "2022-07-24"
        assert product.tags()["standard_name"] == "surface_bidirectional_reflectance"
        assert "DUALSR_ROOM" not in product.tags()
        notes = product.tags(ns="DUALSR")
    assert json.loads(notes["LINEAGE"])["software"] == "dualsr-geo"
    assert json.loads(notes["SURVEY"]) == {"shift": [0.25, -1.5], "blur": "nan"}
    assert os.listdir(tmp_path) == [FORMATS[form]]
    with rioxarray.open_rasterio(layout.path) as seen:
        assert seen.rio.transform().almost_equals(affine, precision=1e-6)
        assert seen.rio.nodata == 0


@pytest.mark.parametrize("point", ["Point", "Area"])
def test_point_and_area_rasters_keep_their_place(tmp_path: Path, point: str) -> None:
    layout = a_layout(tmp_path / "a.tif", tags={"": {"AREA_OR_POINT": point}})
    make(layout)
    with rasterio.open(layout.path) as product:
        assert product.tags()["AREA_OR_POINT"] == point
        assert product.transform == layout.geobox.affine


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("form", FORMATS)
def test_every_stored_type_comes_back(tmp_path: Path, form: str, dtype: str) -> None:
    nodata = float("nan") if dtype.startswith("float") else 7
    packing = Packing(dtype, (1.0, 2.0), (0.5, 0.0), nodata)
    layout = a_layout(tmp_path / FORMATS[form], form, count=2, packing=packing)
    store = TileStore.begin(layout, {}, resume=False, overwrite=False)
    values = (np.random.default_rng(1).random(layout.shape) * 100).astype(dtype)
    values[0, :3] = nodata
    fill(store, values)
    store.finish({}, None)
    if form == "Zarr":
        seen = xr.open_zarr(layout.path, mask_and_scale=False)["reflectance"]
        assert np.array_equal(seen.values, values, equal_nan=dtype.startswith("float"))
        assert seen.dtype == dtype
        assert seen.attrs["scales"] == [1.0, 2.0]
        assert np.isnan(xr.open_zarr(layout.path)["reflectance"][0, :3]).all()
        return
    with rasterio.open(layout.path) as product:
        assert np.array_equal(product.read(), values, equal_nan=dtype.startswith("float"))
        assert product.dtypes[0] == dtype
        assert product.scales == (1.0, 2.0)
        assert product.offsets == (0.5, 0.0)
        assert not product.dataset_mask()[:3].any() or product.read_masks(1)[:3].sum() == 0


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326", None])
@pytest.mark.parametrize("affine", [NORTH_UP, SOUTH_UP])
@pytest.mark.parametrize("reading", [{}, {"decode_coords": "all"}, {"mask_and_scale": False}])
def test_a_zarr_product_opens_in_xarray_rioxarray_and_odc(
    tmp_path: Path, reading: dict[str, Any], affine: Affine, crs: str | None
) -> None:
    layout = a_layout(tmp_path / "out.zarr", "Zarr", affine=affine, crs=crs)
    values = make(layout)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        dataset = xr.open_zarr(layout.path, **reading)
    seen = dataset["reflectance"]
    expected = values if reading.get("mask_and_scale") is False else np.where(values == 0, np.nan, values * 1e-4)
    assert np.allclose(seen.values, expected, equal_nan=True)
    assert seen.rio.crs == (None if crs is None else rasterio.crs.CRS.from_user_input(crs))
    assert seen.rio.transform() == affine
    assert seen.odc.geobox == layout.geobox
    assert seen.wavelength.values[:2].tolist() == [450.25, 512.34]
    assert np.isnan(seen.fwhm.values[1])
    assert seen.band_name.values[:3].tolist() == ["first", "", "B2"]
    assert seen.good_band.values.tolist() == [1, 0, 1, 1, 1]
    assert seen.band.values.tolist() == [1, 2, 3, 4, 5]
    assert seen.attrs["standard_name"] == "surface_bidirectional_reflectance"
    assert dataset.attrs["dualsr"]["survey"] == {"shift": [0.25, -1.5], "blur": "nan"}
    # Through rioxarray and back.
    seen.rio.to_raster(tmp_path / "through.tif")
    with rasterio.open(tmp_path / "through.tif") as through:
        assert through.transform == affine
        assert through.crs == seen.rio.crs


def test_a_rotated_zarr_product_keeps_its_affine_and_has_no_1d_coordinates(tmp_path: Path) -> None:
    layout = a_layout(tmp_path / "out.zarr", "Zarr", affine=ROTATED)
    make(layout)
    seen = xr.open_zarr(layout.path)["reflectance"]
    assert seen.rio.transform() == ROTATED
    assert seen.rio.crs.to_epsg() == 32631
    assert "x" not in seen.coords


@pytest.mark.parametrize("crs", ["EPSG:32631", "+proj=laea +lat_0=51 +lon_0=9.5 +datum=WGS84"])
def test_zarr_metadata_follows_the_conventions(tmp_path: Path, crs: str) -> None:
    layout = a_layout(tmp_path / "out.zarr", "Zarr", crs=crs)
    make(layout)
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
        with rasterio.open(f'ZARR:"{layout.path}":/reflectance') as seen:
            assert seen.crs == rasterio.crs.CRS.from_user_input(crs)
            assert seen.nodata == 0


# COG and creation options


@pytest.mark.parametrize("shape", [(33, 47), (512, 512), (513, 200), (1100, 1301), (90, 2100)])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_cog_is_valid_with_overviews_of_valid_pixels(tmp_path: Path, shape: tuple[int, int], dtype: str) -> None:
    nodata = float("nan") if dtype == "float32" else 0
    packing = Packing(dtype, (1.0,) * 2, (0.0,) * 2, nodata)
    layout = a_layout(tmp_path / "a.tif", shape=shape, count=2, tile=200, packing=packing)
    values = make(layout)
    valid, errors, notes = cog_validate(layout.path, strict=True)
    assert (valid, errors, notes) == (True, [], [])
    with rasterio.open(layout.path) as product:
        assert np.array_equal(product.read(), values, equal_nan=True)
        assert bool(product.overviews(1)) == (max(shape) > 512)
        if not product.overviews(1):
            return
        half = product.read(1, out_shape=tuple(-(-n // 2) for n in shape), masked=True)
    full = np.ma.masked_invalid(values[0]) if dtype == "float32" else np.ma.masked_equal(values[0], 0)
    even = full[: shape[0] // 2 * 2, : shape[1] // 2 * 2]
    blocks = even.reshape(shape[0] // 2, 2, shape[1] // 2, 2).astype(float).mean(axis=(1, 3))
    seen = half[: shape[0] // 2, : shape[1] // 2]
    # An odd side makes GDAL's halves a little wider than two pixels.
    if shape[0] % 2 == 0 and shape[1] % 2 == 0:
        assert np.array_equal(seen.mask, np.ma.getmaskarray(blocks))
        assert np.abs(seen - blocks).max() <= 0.51
    else:
        assert seen.compressed().min() >= full.compressed().min()


def test_a_missing_block_is_seen(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("form", FORMATS)
def test_a_product_of_nothing_but_nodata(tmp_path: Path, form: str) -> None:
    layout = a_layout(tmp_path / FORMATS[form], form, shape=(600, 1100))
    store = TileStore.begin(layout, {}, resume=False, overwrite=False)
    fill(store, np.zeros(layout.shape, "uint16"))
    store.finish({}, None)
    with rioxarray.open_rasterio(layout.path) if form != "Zarr" else xr.open_zarr(layout.path) as seen:
        assert not np.nan_to_num(seen["reflectance"].values if form == "Zarr" else seen.values).any()


def test_creation_options_override_the_defaults(tmp_path: Path) -> None:
    for form in ("COG", "GTiff"):
        options = (
            ("compress", "DEFLATE"),
            ("BLOCKSIZE", "256"),
            ("LEVEL", "9"),
            ("OVERVIEW_RESAMPLING", "nearest"),
        )
        layout = a_layout(tmp_path / FORMATS[form], form, shape=(600, 530), options=options)
        values = make(layout)
        with rasterio.open(layout.path) as product:
            assert np.array_equal(product.read(), values)
            assert product.compression.name == "deflate"
            assert product.block_shapes[0] == (256, 256)
    layout = a_layout(tmp_path / "p.tif", "GTiff", shape=(600, 530), options=(("INTERLEAVE", "PIXEL"), ("TILED", "NO")))
    values = make(layout)
    with rasterio.open(layout.path) as product:
        assert np.array_equal(product.read(), values)
        assert product.interleaving.name == "pixel"
        assert product.block_shapes[0][1] == 530


def test_a_sparse_product_may_lack_blocks(tmp_path: Path) -> None:
    layout = a_layout(tmp_path / "a.tif", options=(("SPARSE_OK", "YES"),))
    store = TileStore.begin(layout, {}, resume=False, overwrite=False)
    fill(store, np.zeros(layout.shape, "uint16"))
    store.finish({}, None)
    assert missing_block(Path(layout.path)) == "block 0_0 of band 1"


def test_options_that_gdal_would_ignore_are_refused_before_the_work(tmp_path: Path) -> None:
    for name, value in (("COMPRESS", "MAGIC"), ("OVERVIEW_RESAMPLING", "best")):
        with pytest.raises(OptionError, match=f"--co {name}={value} is unknown. Give"):
            make(a_layout(tmp_path / "a.tif", options=((name, value),)))
    assert not list(tmp_path.iterdir())


def test_an_option_that_gdal_refuses_keeps_the_tiles(tmp_path: Path) -> None:
    layout = a_layout(tmp_path / "a.tif", options=(("BLOCKSIZE", "17"),))
    with pytest.raises(OutputError, match=r"(?s)could not write .*a\.tif.*--co.*--resume") as caught:
        make(layout)
    assert "\n" not in str(caught.value)
    assert not Path(layout.path).exists()
    better = a_layout(tmp_path / "a.tif")
    store = TileStore.begin(better, IDENTITY, resume=True, overwrite=False)
    assert len(store.done()) == layout.tiles
    store.finish({}, None)
    assert is_same_output(better, IDENTITY)


def test_sidecars_of_a_replaced_product_go_with_it(tmp_path: Path) -> None:
    layout = a_layout(tmp_path / "a.tif")
    make(layout)
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset/>")
    make(layout, overwrite=True)
    assert os.listdir(tmp_path) == ["a.tif"]


# The disk is full


def test_a_full_disk_while_tiles_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TileStore.begin(a_layout(tmp_path / "a.tif"), IDENTITY, resume=False, overwrite=False)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match=rf"disk is full at {re.escape(str(tmp_path))}.*a\.tif\.part.*--resume"):
        store.mark(0, {})
    monkeypatch.undo()
    assert store.done() == {}
    assert not list(store.spec.destination.folder.rglob("*.partial"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("spare", [4096, 200_000, 1_500_000, 2_600_000])
def test_a_full_disk_while_finishing_keeps_the_tiles(small_disk: Path, form: str, spare: int) -> None:
    layout = a_layout(small_disk / FORMATS[form], form, shape=(610, 530), count=4)
    store = TileStore.begin(layout, IDENTITY, resume=False, overwrite=False)
    values = np.random.default_rng(0).integers(1, 60000, layout.shape, "uint16")
    fill(store, values)
    free = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(max(0, free.f_bavail * free.f_bsize - spare)))
    if form == "Zarr" and spare > 4096:
        store.finish({}, None)
        assert is_same_output(layout, IDENTITY)
        return
    with pytest.raises(OutputError, match=r"disk is full at .*The finished tiles are kept.*--resume") as caught:
        store.finish({}, None)
    assert "\n" not in str(caught.value)
    assert not Path(layout.path).exists()
    (small_disk / "filler").unlink()
    again = TileStore.begin(layout, IDENTITY, resume=True, overwrite=False)
    assert len(again.done()) == layout.tiles
    if form != "Zarr":
        # Three times the product is more than this disk has.
        return
    again.finish({}, None)
    assert is_same_output(layout, IDENTITY)


def test_a_full_disk_while_a_tile_is_written(small_disk: Path) -> None:
    layout = a_layout(small_disk / "a.tif", shape=(2000, 1990), count=4, tile=256)
    store = TileStore.begin(layout, IDENTITY, resume=False, overwrite=False)
    with pytest.raises(OutputError, match="disk is full"):
        fill(store, np.random.default_rng(0).integers(1, 60000, layout.shape, "uint16"))
    assert 0 < len(store.done()) < layout.tiles


def test_windows_of_a_cog_match_the_store_where_tiles_do_not_fit_blocks(tmp_path: Path) -> None:
    layout = a_layout(tmp_path / "a.tif", shape=(600, 577), count=17, tile=330)
    values = make(layout)
    with rasterio.open(layout.path) as product:
        seen = product.read(window=RasterioWindow(300, 500, 277, 100))
    assert np.array_equal(seen, values[:, 500:, 300:])
