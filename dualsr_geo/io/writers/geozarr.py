"""Georeferencing of a Zarr group: coordinates, CF attributes, and the proj and spatial conventions.

xarray, rioxarray, odc-geo and GDAL up to 3.12 read CF; newer readers look for `proj:` and `spatial:`. The
grid mapping is named in the attributes, because xarray drops it when a user gives an encoding.
"""

from __future__ import annotations

import base64
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr_cm.proj
import zarr_cm.spatial
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from zarr.abc.store import Store

from dualsr_geo.io.storage.zarr_groups import RECORDS
from dualsr_geo.io.writers.multiscales.layout import Level, multiscales_attrs
from dualsr_geo.io.writers.output_spec import OutputSpec
from dualsr_geo.raster import grid
from dualsr_geo.raster.packing import Packing
from dualsr_geo.serialization import plain_values

CF_VERSION = "1.11"
# Registration of the conventions of CF in Zarr, https://github.com/zarr-conventions/CF; zarr-cm does not have it.
CF_REGISTRATION = {
    "uuid": "77c308c7-4db2-4774-8b2d-aa37e9997db6",
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/CF/refs/tags/v1/schema.json",
    "spec_url": f"https://cfconventions.org/Data/cf-conventions/cf-conventions-{CF_VERSION}/cf-conventions.html",
    "name": "CF",
    "version": CF_VERSION,
    "description": "Climate and Forecast conventions for self-describing geospatial data",
}
CONVENTIONS = "zarr_conventions"
# Attributes of a level that `multiscales` repeats.
POSITION = ("spatial:transform", "spatial:shape")
# CF standard name of a central wavelength.
WAVELENGTH_NAME = "sensor_band_central_radiation_wavelength"


@dataclass(frozen=True)
class Coordinate:
    """A coordinate variable."""

    name: str
    dims: tuple[str, ...]
    values: NDArray[Any]
    attrs: Mapping[str, Any]


def write_geozarr_metadata(
    folder: Path | Store, spec: OutputSpec, records: Mapping[str, Any], levels: Sequence[Level] = ()
) -> None:
    """Add coordinates and attributes to a group of bare arrays and to its overviews, and consolidate its metadata.

    May be called again on a group where it was interrupted.

    Parameters
    ----------
    folder : Path or zarr Store
        A Zarr v3 group that holds the arrays of `spec.variables`.
    spec : OutputSpec
    records : mapping
        ``"lineage"`` and ``"survey"``, JSON; kept as the attribute ``dualsr`` of the group.
    levels : sequence of Level
        The overviews in the group.
    """
    group = zarr.open_group(folder, mode="r+", zarr_format=3, use_consolidated=False)
    positions = {"": _describe(group, spec)}
    for level in levels:
        positions[level.path] = _describe(group[level.path], level.spec)
    tags = {"gdal_metadata": plain_values(spec.tags)} if spec.tags else {}
    attrs = {**group.attrs.asdict(), RECORDS: dict(records), **tags}
    group.attrs.put(multiscales_attrs(attrs, spec, levels, positions) if levels else attrs)
    with warnings.catch_warnings():
        # Consolidated metadata is not in the v3 specification, but xarray and GDAL read it.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(group.store, zarr_format=3)


def _describe(group: Any, spec: OutputSpec) -> dict[str, Any]:
    """Write coordinates, and the attributes of the arrays and of the group itself; return its position on the map."""
    coordinates = [*band_coordinates(spec), *grid_coordinates(spec.geobox)]
    for coordinate in coordinates:
        array = group.create_array(
            coordinate.name,
            shape=coordinate.values.shape,
            chunks=coordinate.values.shape,
            dtype=coordinate.values.dtype if coordinate.values.dtype != object else str,
            dimension_names=coordinate.dims,
            attributes=dict(coordinate.attrs),
            overwrite=True,
        )
        array[...] = coordinate.values
    auxiliary = [c.name for c in coordinates if c.dims != (c.name,)]
    for variable in spec.variables:
        group[variable.name].attrs.put(with_cf(variable_attrs(variable, auxiliary)))
    attrs = map_attrs(spec.geobox)
    group.attrs.put(with_cf({"Conventions": f"CF-{CF_VERSION}", **attrs}))
    return {name: attrs[name] for name in POSITION}


def with_cf(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes that state, in the way of the other conventions of Zarr, that they follow CF."""
    return {**attrs, CONVENTIONS: [*attrs.get(CONVENTIONS, ()), CF_REGISTRATION]}


def band_coordinates(spec: OutputSpec) -> list[Coordinate]:
    """Return the band numbers from 1 and, where the bands have them, names, wavelengths, FWHM and quality."""
    bands = spec.bands
    coordinates = [Coordinate("band", ("band",), np.arange(1, len(bands) + 1), {})]
    if any(b.name is not None for b in bands):
        names = np.array([b.name or "" for b in bands], dtype=object)
        coordinates.append(Coordinate("band_name", ("band",), names, {}))
    lengths = (("wavelength", [b.wavelength_nm for b in bands], {"units": "nm", "standard_name": WAVELENGTH_NAME}),
               ("fwhm", [b.fwhm_nm for b in bands], {"units": "nm"}))  # fmt: skip
    for name, values, attrs in lengths:
        if any(v is not None for v in values):
            coordinates.append(Coordinate(name, ("band",), np.array(values, dtype="float64"), attrs))
    if not all(b.good for b in bands):
        coordinates.append(Coordinate("good_band", ("band",), np.array([b.good for b in bands], dtype="int8"), {}))
    return coordinates


def grid_coordinates(box: GeoBox) -> list[Coordinate]:
    """Return x and y of the pixel centres, unless the grid is rotated, and the grid mapping."""
    t = box.affine
    mapping: dict[str, Any] = {}
    if box.crs is not None:
        wkt = box.crs.proj.to_wkt()
        mapping = {**box.crs.proj.to_cf(), "crs_wkt": wkt, "spatial_ref": wkt}
    mapping["GeoTransform"] = " ".join(repr(float(v)) for v in (t.c, t.a, t.b, t.f, t.d, t.e))
    coordinates = [Coordinate("spatial_ref", (), np.array(0), plain_values(mapping))]
    if t.b == t.d == 0:
        axes = {} if box.crs is None else {axis["axis"]: axis for axis in box.crs.proj.cs_to_cf()}
        y, x = grid.pixel_centres(box)
        coordinates.append(Coordinate("y", ("y",), y, axes.get("Y", {"axis": "Y"})))
        coordinates.append(Coordinate("x", ("x",), x, axes.get("X", {"axis": "X"})))
    return coordinates


def variable_attrs(spec: OutputSpec, auxiliary: Sequence[str]) -> dict[str, Any]:
    """Return the CF and map attributes of a variable, given its auxiliary coordinates."""
    bands = spec.bands
    attrs = {k: plain_values(v) for k, v in spec.attrs.items() if not k.startswith(("proj:", "spatial:"))}
    units = {b.unit for b in bands}
    if len(units) == 1 and None not in units:
        attrs["units"] = units.pop()
    elif len(units) > 1:
        attrs["band_units"] = [b.unit or "" for b in bands]
    if any(b.color != "undefined" for b in bands):
        attrs["color_interpretation"] = [b.color for b in bands]
    if any(b.tags for b in bands):
        attrs["band_tags"] = [plain_values(b.tags) for b in bands]
    links = {"grid_mapping": "spatial_ref", "coordinates": " ".join(auxiliary)}
    return {**attrs, **links, **packing_attrs(spec.packing), **map_attrs(spec.geobox)}


def packing_attrs(packing: Packing) -> dict[str, Any]:
    """Return nodata, scale and offset: CF's attributes, or lists by band where bands differ."""
    attrs: dict[str, Any] = {}
    if packing.nodata is not None:
        attrs["_FillValue"] = _fill_text(packing.nodata) if packing.is_float else int(packing.nodata)
    scales, offsets = set(packing.scales), set(packing.offsets)
    if len(scales) > 1 or len(offsets) > 1:
        return {**attrs, "scales": list(packing.scales), "offsets": list(packing.offsets)}
    if (scales, offsets) != ({1.0}, {0.0}):
        attrs |= {"scale_factor": float(packing.scales[0]), "add_offset": float(packing.offsets[0])}
    return attrs


def map_attrs(box: GeoBox) -> dict[str, Any]:
    """Return the attributes of the spatial and proj conventions, version 0.1."""
    t, edge = box.affine, box.extent.boundingbox
    spatial = zarr_cm.spatial.create(
        dimensions=["y", "x"],
        transform=[float(v) for v in (t.a, t.b, t.c, t.d, t.e, t.f)],
        shape=[int(n) for n in box.shape],
        bbox=[float(v) for v in (edge.left, edge.bottom, edge.right, edge.top)],
        registration="pixel",
    )
    attrs = zarr_cm.spatial.insert({}, spatial)
    if box.crs is None:
        return dict(attrs)
    code = box.crs.proj.to_authority()
    proj = zarr_cm.proj.create(wkt2=box.crs.proj.to_wkt()) if code is None else zarr_cm.proj.create(code=":".join(code))
    return dict(zarr_cm.proj.insert(attrs, proj))


def _fill_text(nodata: float) -> str:
    """Return a float nodata as xarray encodes it in Zarr v3: eight little-endian bytes in base64."""
    return base64.standard_b64encode(struct.pack("<d", nodata)).decode()
