"""Identity of a run, and the records that its output carries: provenance with fingerprint, and survey."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from rasterio.errors import RasterioError

from dualsr_geo.errors import OutputError, ResumeError
from dualsr_geo.io.readers.dataset_cache import open_quietly
from dualsr_geo.io.storage.locations import read_bytes
from dualsr_geo.io.storage.urls import gdal_path
from dualsr_geo.io.storage.zarr_groups import RECORDS, is_zarr
from dualsr_geo.io.writers import netcdf
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.raster.bands import DEVIATION_OF
from dualsr_geo.serialization import differences, flattened, plain_values
from dualsr_geo.version import __version__

# Key of the provenance in outputs.
PROVENANCE = "lineage"


def read_provenance(spec: OutputSpec) -> dict[str, Any] | None:
    """Return the provenance of the output at a destination; None if there is no output of ours."""
    return read_record(spec.path, spec.format, PROVENANCE)


def read_record(path: str, format_: str, key: str) -> dict[str, Any] | None:
    """Return the ``"lineage"`` or ``"survey"`` that an output carries; None if it carries none of ours."""
    try:
        if format_ == netcdf.FORMAT:
            return netcdf.read_record(path, key)
        if format_ == "Zarr":
            document = json.loads(read_bytes(f"{path}/zarr.json", OutputError))
            return dict(document["attributes"][RECORDS][key])
        with open_quietly(gdal_path(path), (), ("GTiff",)) as dataset:
            return dict(json.loads(dataset.tags(ns="DUALSR")[key.upper()]))
    except (OSError, RasterioError, ValueError, KeyError, TypeError, RecursionError):
        return None


def provenance_at(path: str) -> dict[str, Any] | None:
    """Return the provenance of a product of any format; None where there is none of ours."""
    format_ = netcdf.FORMAT if path.lower().endswith(netcdf.SUFFIX) else "Zarr" if is_zarr(path) else "COG"
    return read_record(path, format_, PROVENANCE)


def uncertainty_bands(path: str) -> tuple[int | str, ...]:
    """Return the numbers of the bands of a TIFF that are standard deviations, or the name of the variable that is."""
    try:
        if path.lower().endswith(netcdf.SUFFIX):
            return netcdf.ancillary_variables(path)
        if is_zarr(path):
            attributes = json.loads(read_bytes(f"{path}/zarr.json", OutputError))["consolidated_metadata"]["metadata"]
            # Those of overviews have the same names in groups of their own.
            names = [a["attributes"].get("ancillary_variables") for key, a in attributes.items() if "/" not in key]
            return tuple(str(name) for name in names if name)
        with open_quietly(gdal_path(path), (), ("GTiff",)) as dataset:
            return tuple(i for i in dataset.indexes if DEVIATION_OF in dataset.tags(i))
    except (OSError, RasterioError, ValueError, KeyError, TypeError, AttributeError, OutputError):
        return ()


def is_same_output(spec: OutputSpec, identity: Mapping[str, object]) -> bool:
    """Return whether the finished output of exactly this run is at the destination."""
    expected = fingerprint(spec, identity)
    records = (read_record(place.path, spec.format, PROVENANCE) for place in spec.destinations)
    return all(record is not None and record.get("fingerprint") == expected for record in records)


def fingerprint(spec: OutputSpec, identity: Mapping[str, object]) -> str:
    """Return the SHA-256 of everything that decides the bytes of an output."""
    form = {"format": spec.format, "options": spec.options}
    if spec.deviations_destination is not None:
        form["uncertainty"] = "separate"
    text = json.dumps(plain_values({**full_identity(spec, identity), **form}), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def full_identity(spec: OutputSpec, identity: Mapping[str, object]) -> dict[str, Any]:
    """Return the identity of a run and of the stored values, as JSON."""
    packing = spec.packing
    store = {"shape": spec.shape, "tile": spec.tile, "dtype": packing.dtype, "nodata": packing.nodata}
    ours = {"store": {**store, "name": spec.name}, "dualsr_geo": __version__}
    return {str(k): plain_values(v) for k, v in {**identity, **ours}.items()}


def require_same_run(spec: OutputSpec, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that an interrupted run had the identity of this one.

    Raises
    ------
    ResumeError
        If it was of another version, or another run; the message names what differs.
    """
    old, new = flattened(before), flattened(now)
    if old.get("dualsr_geo") != new["dualsr_geo"]:
        began, this = (v.get("dualsr_geo", "an unknown version") for v in (before, now))
        raise ResumeError(
            f"The interrupted run in {spec.destination.work} was begun by dualsr-geo {began}, and dualsr-geo {this} "
            f"cannot continue it. Finish it with dualsr-geo {began}, or leave --resume out to start again."
        )
    changes = differences(before, now)
    if changes:
        raise ResumeError(
            f"The interrupted run in {spec.destination.work} was another one: {'; '.join(changes)}. "
            "Give its options and inputs, or leave --resume out to start again."
        )
