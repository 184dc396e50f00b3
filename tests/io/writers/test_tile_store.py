"""Tile store: written, interrupted, resumed, finished, on a full disk."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outputs import (
    FORMATS,
    IDENTITY,
    a_spec,
    digest,
    values_of,
    write_output,
    write_tiles,
)

from dualsr_geo.errors import DualSRWarning, TileError
from dualsr_geo.io.writers.stored_values import PUBLISHED
from dualsr_geo.io.writers.tile_store import TileStore
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.windows import Window

pytestmark = [
    # rioxarray 0.19 and odc-geo 0.5 multiply affines by `*`, which affine 3 deprecates.
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.tuples(st.integers(1, 60), st.integers(1, 60)), tile=st.integers(9, 40), count=st.integers(1, 35))
def test_every_tile_is_accepted_and_the_store_holds_its_values(
    tmp_path: Path, shape: tuple[int, int], tile: int, count: int
) -> None:
    spec = a_spec(tmp_path / "s.zarr", "Zarr", shape=shape, count=count, tile=tile)
    store = TileStore.begin(spec, {}, resume=False, overwrite=True)
    values = values_of(spec)
    write_tiles(store, values)
    array = zarr.open_array(store.spec.destination.folder / "store.zarr" / "reflectance", mode="r")
    assert np.array_equal(array[...], values)
    assert sorted(store.done()) == list(range(spec.tiles))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_region_is_accepted_exactly_if_no_chunk_is_shared(tmp_path: Path, data: st.DataObject) -> None:
    spec = a_spec(tmp_path / "r.zarr", "Zarr", shape=(50, 47), count=20, tile=10)
    store = TileStore.begin(spec, {}, resume=True, overwrite=True)
    spans = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2))) for n in spec.shape]
    (b0, b1), (y0, y1), (x0, x1) = spans
    values = np.ones((b1 - b0, y1 - y0, x1 - x0), "uint16")
    ends = zip(spans, spec.shape, spec.chunks, strict=True)
    whole = all(a < b and a % c == 0 and (b % c == 0 or b == n) for (a, b), n, c in ends)
    if whole:
        store.write(Window(y0, y1, x0, x1), slice(b0, b1), values)
    else:
        with pytest.raises(ValueError, match="chunk borders"):
            store.write(Window(y0, y1, x0, x1), slice(b0, b1), values)


def test_values_of_another_type_or_shape_are_refused(tmp_path: Path) -> None:
    store = TileStore.begin(a_spec(tmp_path / "a.tif"), {}, resume=False, overwrite=False)
    window, bands = Window(0, 64, 0, 64), slice(0, 5)
    with pytest.raises(ValueError, match=r"float64 \(5, 64, 64\).*uint16 \(5, 64, 64\)"):
        store.write(window, bands, np.ones((5, 64, 64)))
    with pytest.raises(ValueError, match=r"uint16 \(5, 64, 63\)"):
        store.write(window, bands, np.ones((5, 64, 63), "uint16"))


def test_a_store_can_be_pickled(tmp_path: Path) -> None:
    store = TileStore.begin(a_spec(tmp_path / "a.tif"), IDENTITY, resume=False, overwrite=False)
    assert pickle.loads(pickle.dumps(store)) == store


def test_marks_without_their_array_are_removed(tmp_path: Path) -> None:
    store = TileStore.begin(a_spec(tmp_path / "a.tif"), IDENTITY, resume=False, overwrite=False)
    store.mark(0, {}, {})
    (store.spec.destination.folder / "store.zarr" / "reflectance" / "zarr.json").unlink()
    with pytest.warns(DualSRWarning, match="1 of 1 finished tiles are damaged and are computed again"):
        assert TileStore.begin(store.spec, IDENTITY, resume=True, overwrite=False).done() == {}


def test_partial_files_of_killed_writers_are_removed_on_resume(tmp_path: Path) -> None:
    store = TileStore.begin(a_spec(tmp_path / "a.tif"), IDENTITY, resume=False, overwrite=False)
    partial = [
        store.spec.destination.folder / p
        for p in ("store.zarr/reflectance/c.12.partial", "done/0.json.1.partial", "stage.tif")
    ]
    for file in partial:
        file.write_text("half")
    TileStore.begin(store.spec, IDENTITY, resume=True, overwrite=False)
    assert not any(file.exists() for file in partial)


def test_nothing_is_finished_while_tiles_are_missing(tmp_path: Path) -> None:
    store = TileStore.begin(a_spec(tmp_path / "a.tif"), IDENTITY, resume=False, overwrite=False)
    write_tiles(store, values_of(store.spec))
    (store.spec.destination.folder / "done" / "2.json").unlink()
    with pytest.raises(TileError, match="1 of 6 tiles are not finished or damaged.*tile 2"):
        store.finish({}, None)
    chunk = next((store.spec.destination.folder / "store.zarr" / "reflectance" / "c").rglob("0/0/0"))
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(TileError, match="2 of 6 tiles are not finished or damaged.*tile 0"):
        store.finish({}, None)
    assert not Path(store.spec.path).exists()


WRITER = """
import sys; sys.path[:0] = [{helpers!r}, {root!r}]
import outputs
from dualsr_geo.io.writers.stored_values import PUBLISHED
from dualsr_geo.io.writers.tile_store import TileStore
spec = outputs.a_spec({path!r}, {form!r}, shape=(200, 310), tile=64, count=20)
store = TileStore.begin(spec, outputs.IDENTITY, resume=True, overwrite=False)
print("begun", flush=True)
outputs.write_tiles(store, outputs.values_of(spec))
store.finish({{"software": "dualsr-geo"}}, None)
"""


@pytest.mark.parametrize("form", FORMATS)
def test_killed_runs_resume_to_identical_bytes(tmp_path: Path, form: str) -> None:
    root = Path(__file__).parents[3]
    pauses_s = np.random.default_rng(len(form)).uniform(0.02, 0.15, 2)
    (tmp_path / "killed").mkdir()
    place = tmp_path / "killed" / FORMATS[form]
    code = WRITER.format(helpers=str(root / "tests/helpers"), root=str(root), path=str(place), form=form)
    stopped = 0
    for pause_s in pauses_s:
        run = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE)
        assert run.stdout is not None
        run.stdout.readline()
        time.sleep(pause_s)
        run.send_signal(signal.SIGKILL)
        stopped += run.wait() == -signal.SIGKILL
        run.stdout.close()
        if place.exists():
            break
    assert stopped >= 1
    # Killed between the last rename and the end of the cleaning, a run leaves its folder next to a whole output.
    complete = place.exists()
    whole = tmp_path / FORMATS[form]
    for path in (place, whole):
        spec = a_spec(path, form, shape=(200, 310), tile=64, count=20)
        if not path.exists():
            store = TileStore.begin(spec, IDENTITY, resume=True, overwrite=False)
            write_tiles(store, values_of(spec), order=-1)
            store.finish({"software": "dualsr-geo"}, None)
    assert digest(place).replace("killed/", "") == digest(whole)
    assert complete or [p.name for p in place.parent.iterdir()] == [place.name]


@pytest.mark.parametrize("form", FORMATS)
def test_the_bytes_do_not_depend_on_the_order_of_tiles(tmp_path: Path, form: str) -> None:
    sums = []
    for order, folder in ((1, "a"), (-1, "b")):
        (tmp_path / folder).mkdir()
        write_output(a_spec(tmp_path / folder / FORMATS[form], form, shape=(530, 120)), order)
        sums.append(digest(tmp_path / folder / FORMATS[form]))
    assert sums[0] == sums[1]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("form", FORMATS)
def test_every_stored_type_comes_back(tmp_path: Path, form: str, dtype: str) -> None:
    nodata = float("nan") if dtype.startswith("float") else 7
    packing = Packing(dtype, (1.0, 2.0), (0.5, 0.0), nodata)
    spec = a_spec(tmp_path / FORMATS[form], form, count=2, packing=packing)
    store = TileStore.begin(spec, {}, resume=False, overwrite=False)
    values = (np.random.default_rng(1).random(spec.shape) * 100).astype(dtype)
    values[0, :3] = nodata
    write_tiles(store, values)
    store.finish({}, None)
    if form == "Zarr":
        output = xr.open_zarr(spec.path, mask_and_scale=False)["reflectance"]
        assert np.array_equal(output.values, values, equal_nan=dtype.startswith("float"))
        assert output.dtype == dtype
        assert output.attrs["scales"] == [1.0, 2.0]
        assert np.isnan(xr.open_zarr(spec.path)["reflectance"][0, :3]).all()
        return
    with rasterio.open(spec.path) as dataset:
        assert np.array_equal(dataset.read(), values, equal_nan=dtype.startswith("float"))
        assert dataset.dtypes[0] == dtype
        assert dataset.scales == (1.0, 2.0)
        assert dataset.offsets == (0.5, 0.0)
        assert not dataset.dataset_mask()[:3].any() or dataset.read_masks(1)[:3].sum() == 0


@pytest.mark.parametrize("form", FORMATS)
def test_an_output_of_nodata_only(tmp_path: Path, form: str) -> None:
    spec = a_spec(tmp_path / FORMATS[form], form, shape=(600, 1100))
    store = TileStore.begin(spec, {}, resume=False, overwrite=False)
    write_tiles(store, np.zeros(spec.shape, "uint16"))
    store.finish({}, None)
    with rioxarray.open_rasterio(spec.path) if form != "Zarr" else xr.open_zarr(spec.path) as output:
        assert not np.nan_to_num(output["reflectance"].values if form == "Zarr" else output.values).any()


@pytest.mark.parametrize("fill", [0, 7, float("nan"), None])
@pytest.mark.parametrize("form", FORMATS)
def test_a_chunk_is_stored_unless_it_is_nothing_but_the_fill_value(
    tmp_path: Path, form: str, fill: float | None
) -> None:
    packing = Packing("float32", (1.0,) * 2, (0.0,) * 2, fill)
    spec = a_spec(tmp_path / FORMATS[form], form, count=2, shape=(64, 128), packing=packing)
    store = TileStore.begin(spec, {}, resume=False, overwrite=False)
    empty = 0 if fill is None else fill
    values = np.full((2, 64, 64), empty, "float32")
    assert store.write(Window(0, 64, 0, 64), slice(0, 2), values) == {"reflectance/c/0/0/0": None}
    for place in ((0, 0, 0), (1, 63, 63)):
        part = values.copy()
        part[place] = 3
        (stored,) = store.write(Window(0, 64, 64, 128), slice(0, 2), part).values()
        assert stored is not None
        array = zarr.open_array(spec.destination.folder / "store.zarr" / "reflectance", mode="r")
        assert np.array_equal(array[:, :, 64:], part, equal_nan=True)


@pytest.mark.parametrize(("begun", "finished"), [("COG", "Zarr"), ("Zarr", "COG"), ("COG", "GTiff")])
def test_an_output_in_another_format_keeps_the_tiles(
    tmp_path: Path, begun: str, finished: str, recwarn: pytest.WarningsRecorder
) -> None:
    before, after = (a_spec(tmp_path / "output", form) for form in (begun, finished))
    values = values_of(before)
    write_tiles(TileStore.begin(before, IDENTITY, resume=False, overwrite=False), values)
    store = TileStore.begin(after, IDENTITY, resume=True, overwrite=False)
    assert sorted(store.done()) == list(range(after.tiles))
    store.finish({}, None)
    assert not [w for w in recwarn if issubclass(w.category, DualSRWarning)]
    if finished == "Zarr":
        written = zarr.open_group(after.path, mode="r")["reflectance"]
        assert written.compressors[0].cname == PUBLISHED.cname
        assert np.array_equal(written[...], values)
    else:
        with rasterio.open(after.path) as dataset:
            assert np.array_equal(dataset.read(), values)
