"""Writing a netCDF-4 file with CF attributes from the stored tiles, in memory that does not grow with the scene.

netCDF-4 is HDF5 whose datasets have dimension scales, so h5py writes it, and no netCDF library is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dualsr_geo.errors import OptionError, OutputError
from dualsr_geo.io.storage.remote_file import local_or_remote
from dualsr_geo.io.writers.geozarr import Coordinate, band_coordinates, grid_coordinates, map_attrs, variable_attrs
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.raster import grid
from dualsr_geo.raster.windows import Tiling, Window
from dualsr_geo.serialization import plain_values

# The driver's name in GDAL, and the suffix of its files.
FORMAT, SUFFIX = "netCDF", ".nc"
# Side of a chunk of the file, of one band, pixels.
CHUNK_PX = 256
# Values that are written at once, bytes.
PIECE_BYTES = 16 << 20
# HDF5 holds attributes below 64 KiB next to each other; longer texts are continued in further attributes.
TEXT_BYTES = 60_000
# Creation options, as GDAL's driver has them.
COMPRESSIONS = ("DEFLATE", "NONE")
DEFAULT_LEVEL, LEVELS = 1, range(1, 10)
# Name of a dimension without a coordinate variable, which the netCDF library recognises.
BARE_DIMENSION = "This is a netCDF dimension but not a netCDF variable.%10d"
# Group whose attributes are the records of a product: as those of the file they would fill the screen of gdalinfo.
GROUP = "dualsr"
# Attributes of the file that state how it was made.
STATEMENT = ("source", "dualsr_model", "dualsr_scale", "Conventions")


def require_options(spec: OutputSpec) -> None:
    """Check, before the work, that the file can hold the output, and its creation options.

    Raises
    ------
    OptionError
        If bands have scales of their own, the type is none of netCDF, or an option is unknown.
    """
    packing = spec.packing
    if len(set(packing.scales)) > 1 or len(set(packing.offsets)) > 1:
        raise OptionError(
            "The bands are stored with different scales, and a variable of netCDF has one. Give --dtype float32, or "
            "--format COG."
        )
    if np.dtype(packing.dtype).itemsize == 2 and packing.is_float:
        raise OptionError(f"The output would be {packing.dtype}, which netCDF does not hold. Give --dtype float32.")
    if spec.geobox.affine.b or spec.geobox.affine.d:
        raise OptionError("The grid is rotated, and netCDF has coordinates of rows and columns. Give --format COG.")
    names = {"COMPRESS": COMPRESSIONS, "ZLEVEL": tuple(map(str, LEVELS))}
    for name, value in spec.options:
        choices = names.get(name.upper())
        if choices is None:
            raise OptionError(f"--co {name}={value}: netCDF takes COMPRESS=DEFLATE, COMPRESS=NONE and ZLEVEL=1 to 9.")
        if value.upper() not in choices:
            raise OptionError(f"--co {name}={value} is unknown. Give one of {', '.join(choices)}.")


def make_netcdf(spec: OutputSpec, arrays: Sequence[Any], records: Mapping[str, Any]) -> Path:
    """Write values and metadata as a netCDF-4 file in the work directory.

    Parameters
    ----------
    spec : OutputSpec
    arrays : sequence of zarr.Array, shape (band, y, x)
        Packed values of each of `spec.variables`.
    records : mapping
        ``"lineage"`` and ``"survey"``, JSON; kept as attributes of the group `GROUP`.

    Returns
    -------
    Path
        The file.
    """
    output = spec.destination.folder / f"product{SUFFIX}"
    output.unlink(missing_ok=True)
    # Neither times nor the order of a hash are in the file, so that its bytes repeat.
    with _hdf5_errors(spec), h5py.File(output, "w", libver=("earliest", "v110"), track_order=True) as file:
        coordinates = [*band_coordinates(spec), *_grid_coordinates(file, spec)]
        for coordinate in coordinates:
            _write_coordinate(file, coordinate)
        auxiliary = [c.name for c in coordinates if c.dims != (c.name,)]
        for variable, array in zip(spec.variables, arrays, strict=True):
            attrs = {**variable_attrs(variable, auxiliary), **_statements(variable)}
            left_out = {*map_attrs(spec.geobox), *(("grid_mapping",) if grid.is_bare(spec.geobox) else ())}
            attrs = {k: v for k, v in attrs.items() if k not in left_out}
            _write_variable(file, variable, array, attrs)
        _write_attrs(file, {"Conventions": "CF-1.11", **_global_tags(spec), **_statement(records)})
        _write_attrs(file.create_group(GROUP, track_order=True), _record_attrs(records))
    return output


def read_record(path: str, key: str) -> dict[str, Any]:
    """Return the ``"lineage"`` or ``"survey"`` of a file; raises KeyError or ValueError if it carries none."""
    with h5py.File(local_or_remote(path), "r") as file:
        attrs, parts = file[GROUP].attrs, list[str]()
        while (part := attrs.get(_part_name(key, len(parts)))) is not None:
            parts.append(part.decode() if isinstance(part, bytes) else str(part))
    return dict(json.loads("".join(parts)))


def _part_name(key: str, index: int) -> str:
    return key if index == 0 else f"{key}_{index + 1}"


def ancillary_variables(path: str) -> tuple[str, ...]:
    """Return the names of the variables that describe others, such as standard deviations."""
    with h5py.File(local_or_remote(path), "r") as file:
        texts = [d.attrs.get("ancillary_variables") for d in file.values() if isinstance(d, h5py.Dataset)]
    return tuple(t.decode() if isinstance(t, bytes) else str(t) for t in texts if t is not None)


def _grid_coordinates(file: h5py.File, spec: OutputSpec) -> list[Coordinate]:
    """Return the coordinates of the grid; of one without georeference none, but dimensions.

    GDAL would take rows that are counted downwards as a grid whose first row is in the south.
    """
    if not grid.is_bare(spec.geobox):
        return grid_coordinates(spec.geobox)
    for name, size in zip(("y", "x"), spec.shape[1:], strict=True):
        file.create_dataset(name, (size,), "f4", fill_time="never").make_scale(BARE_DIMENSION % size)
    return []


def _statements(spec: OutputSpec) -> dict[str, Any]:
    """Return what the attributes of Zarr state in another form here: the nodata value in the type of the values."""
    nodata = spec.packing.nodata
    return {} if nodata is None else {"_FillValue": np.dtype(spec.packing.dtype).type(nodata)}


def _write_coordinate(file: h5py.File, coordinate: Coordinate) -> None:
    values = coordinate.values
    if values.dtype == object:
        # Text of one length, as netCDF's strings are read by all its libraries.
        values = np.array([str(v) for v in values], dtype=h5py.string_dtype("utf-8"))
    dataset = file.create_dataset(coordinate.name, data=values)
    if coordinate.dims == (coordinate.name,):
        dataset.make_scale(coordinate.name)
    else:
        _attach(file, dataset, coordinate.dims)
    _write_attrs(dataset, coordinate.attrs)


def _write_variable(file: h5py.File, spec: OutputSpec, array: Any, attrs: Mapping[str, Any]) -> None:
    requested = {name.upper(): value.upper() for name, value in spec.options}
    compressed = requested.get("COMPRESS", "DEFLATE") == "DEFLATE"
    _, height, width = spec.shape
    dataset = file.create_dataset(
        spec.name,
        spec.shape,
        spec.packing.dtype,
        chunks=(1, min(height, CHUNK_PX), min(width, CHUNK_PX)),
        compression="gzip" if compressed else None,
        compression_opts=int(requested.get("ZLEVEL", DEFAULT_LEVEL)) if compressed else None,
        shuffle=compressed,
        # Without it libraries take the type's largest value as missing.
        fill_time="never" if spec.packing.nodata is None else "ifset",
        fillvalue=None if spec.packing.nodata is None else np.dtype(spec.packing.dtype).type(spec.packing.nodata),
    )
    _attach(file, dataset, ("band", "y", "x"))
    _write_attrs(dataset, attrs)
    for bands, window in _pieces(spec):
        region = (bands, *window.slices)
        dataset[region] = array[region]


def _attach(file: h5py.File, dataset: h5py.Dataset, dims: Sequence[str]) -> None:
    for axis, name in enumerate(dims):
        dataset.dims[axis].attach_scale(file[name])


def _pieces(spec: OutputSpec) -> Iterator[tuple[slice, Window]]:
    """Yield the bands and windows of the values, in whole chunks of the file and of bands of the stored tiles."""
    count, height, width = spec.shape
    depth = spec.chunks[0]
    rows = max(1, PIECE_BYTES // (depth * width * np.dtype(spec.packing.dtype).itemsize) // CHUNK_PX) * CHUNK_PX
    side = max(CHUNK_PX, min(rows, CHUNK_PX * 16))
    for first in range(0, count, depth):
        for tile in Tiling((height, width), side, 0):
            yield slice(first, min(first + depth, count)), tile.core


def _global_tags(spec: OutputSpec) -> dict[str, Any]:
    """Return the tags of the scene, those of the default domain by their names."""
    return {
        (name if not domain else f"{domain}_{name}").replace("/", "_"): str(value)
        for domain, items in spec.tags.items()
        for name, value in items.items()
        if name not in STATEMENT
    }


def _statement(records: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of the file that state how it was made; without a time, so that bytes repeat."""
    provenance = records.get("lineage") or {}
    keys = {"source": "software", "dualsr_model": "model", "dualsr_scale": "scale"}
    return {name: provenance[key] for name, key in keys.items() if provenance.get(key) is not None}


def _record_attrs(records: Mapping[str, Any]) -> dict[str, str]:
    attrs: dict[str, str] = {}
    for key, value in records.items():
        text = json.dumps(plain_values(value), sort_keys=True)
        parts = [text[i : i + TEXT_BYTES] for i in range(0, len(text), TEXT_BYTES)]
        attrs |= {_part_name(key, i): part for i, part in enumerate(parts)}
    return attrs


def _write_attrs(target: h5py.HLObject, attrs: Mapping[str, Any]) -> None:
    """Write attributes as netCDF has them: text of fixed length, numbers, lists of numbers; others as JSON."""
    for name, value in attrs.items():
        if isinstance(value, np.generic | int | float) and not isinstance(value, bool):
            target.attrs[name] = value
        elif isinstance(value, Sequence) and not isinstance(value, str) and _are_numbers(value):
            target.attrs[name] = np.array(value, dtype=np.float64)
        else:
            content = (value if isinstance(value, str) else json.dumps(plain_values(value))).encode()
            target.attrs[name] = np.array(content, dtype=h5py.string_dtype("utf-8", max(1, len(content))))


def _are_numbers(values: Sequence[Any]) -> bool:
    return len(values) > 0 and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


@contextmanager
def _hdf5_errors(spec: OutputSpec) -> Iterator[None]:
    """Raise the errors of HDF5 that have no number of the system as ours; a full disk has one."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise OutputError(f"{spec.path} cannot be written: {' '.join(str(error).split())}. Check the disk.") from error
