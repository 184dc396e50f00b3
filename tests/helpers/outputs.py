"""Outputs to write in tests: their specification, values and bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from dualsr_geo.io.writers.destination import destination_at
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.io.writers.tile_store import TileStore
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.windows import Tiling

FORMATS = {"COG": "out.tif", "GTiff": "out.tiff", "Zarr": "out.zarr"}
NORTH_UP = Affine(2.5, 0, 500000.25, 0, -2.5, 4_200_000.5)
ROTATED = NORTH_UP @ Affine.rotation(17)
SOUTH_UP = Affine(2.5, 0, 500000.25, 0, 2.5, 4_200_000.5)
IDENTITY = {"scene": "a.tif", "scale": 4, "model": {"sha256": "ab"}, "nodata": float("nan")}


def a_spec(path: Path | str, form: str = "COG", **changes: Any) -> OutputSpec:
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


def values_of(spec: OutputSpec, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    values = (rng.random(spec.shape) * 250).astype(spec.packing.dtype)
    values[:, :20, 64:] = 0 if spec.packing.nodata is None else spec.packing.nodata
    return values


def tiles_of(spec: OutputSpec) -> Tiling:
    return Tiling(spec.shape[1:], spec.tile, 0)


def write_tiles(store: TileStore, values: NDArray[Any], order: int = 1) -> None:
    for tile in list(tiles_of(store.spec))[::order]:
        if tile.index not in store.done():
            chunks = {}
            for bands in store.band_ranges():
                chunks |= store.write(tile.core, bands, values[(bands, *tile.core.slices)])
            store.mark(tile.index, {"overshoot": np.int64(3)}, chunks)


def write_output(spec: OutputSpec, order: int = 1, overwrite: bool = False) -> NDArray[Any]:
    store = TileStore.begin(spec, IDENTITY, resume=False, overwrite=overwrite)
    values = values_of(spec)
    write_tiles(store, values, order)
    store.finish({"software": "dualsr-geo"}, {"shift": [0.25, -1.5], "blur": float("nan")})
    return values


def digest(place: Path) -> str:
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    sums = [(str(p.relative_to(place)), hashlib.sha256(p.read_bytes()).hexdigest()) for p in files]
    return json.dumps(sums)
