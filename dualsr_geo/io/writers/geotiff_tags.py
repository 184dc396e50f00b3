"""Metadata of a GeoTIFF: tags of the dataset by domain, and names, units, colours and spectra of its bands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rasterio.enums import ColorInterp
from rasterio.io import DatasetWriter

from dualsr_geo.io.writers.output_spec import OutputSpec, band_title
from dualsr_geo.io.writers.tiff_header import PLACEHOLDER, placeholder_for
from dualsr_geo.raster.bands import Band

# GDAL writes these domains itself; those of the scene describe the scene.
RESERVED_DOMAINS = {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "DUALSR"}

# Attributes that other parts of a TIFF hold.
STRUCTURAL_ATTRS = {
    "_FillValue", "missing_value", "scale_factor", "add_offset", "scales", "offsets",
    "grid_mapping", "coordinates", "zarr_conventions", "dualsr", "long_name", "units",
}  # fmt: skip


def write_tags(target: DatasetWriter, spec: OutputSpec, records: Mapping[str, Any], *, is_copied: bool) -> None:
    """Write all metadata but the grid and the dtype, and a placeholder in a file that GDAL copies."""
    domains = dataset_tags(spec, records)
    for domain, items in domains.items():
        target.update_tags(ns=domain or None, **items)
    if is_copied:
        target.update_tags(**{PLACEHOLDER: placeholder_for(domains)})
    target.scales, target.offsets = spec.packing.scales, spec.packing.offsets
    target.units = tuple(band.unit or "" for band in spec.bands)
    target.colorinterp = tuple(ColorInterp.__members__.get(b.color, ColorInterp.undefined) for b in spec.bands)
    for index, band in enumerate(spec.bands, 1):
        _write_band_tags(target, index, band)


def dataset_tags(spec: OutputSpec, records: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the tags of the dataset by domain: those of the scene, the CF attributes, and our records."""
    domains = {d: dict(items) for d, items in spec.tags.items() if d not in RESERVED_DOMAINS}
    attrs = {k: str(v) for k, v in spec.attrs.items() if _is_tag(k, v)}
    domains[""] = attrs | domains.get("", {})
    if spec.geobox.crs is None:
        # GDAL would write an invented local CRS to hold it.
        domains[""].pop("AREA_OR_POINT", None)
    domains[""] |= product_tags(records)
    texts = {k.upper(): json.dumps(v, sort_keys=True) for k, v in records.items() if v is not None}
    return {**domains, "DUALSR": texts}


def product_tags(records: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that say of a product, to any program, what made it; without a time, so that bytes repeat."""
    provenance = records.get("lineage") or {}
    tags = {"TIFFTAG_SOFTWARE": "software", "DUALSR_MODEL": "model", "DUALSR_SCALE": "scale"}
    return {tag: str(provenance[key]) for tag, key in tags.items() if provenance.get(key) is not None}


def _is_tag(name: str, value: object) -> bool:
    scalar = isinstance(value, str | int | float) and not name.startswith(("proj:", "spatial:"))
    return scalar and name not in STRUCTURAL_ATTRS


def _write_band_tags(target: DatasetWriter, index: int, band: Band) -> None:
    name = band_title(band, index)
    if name is not None:
        target.set_band_description(index, name)
    # Statistics are those of the pixels of the scene.
    tags = {k: v for k, v in band.tags.items() if not k.startswith("STATISTICS_")}
    target.update_tags(index, **{**tags, **spectral_tags(band)})
    lengths_nm = {"CENTRAL_WAVELENGTH_UM": band.wavelength_nm, "FWHM_UM": band.fwhm_nm}
    imagery = {k: f"{v / 1000:.12g}" for k, v in lengths_nm.items() if v is not None}
    if imagery:
        target.update_tags(index, ns="IMAGERY", **imagery)


def spectral_tags(band: Band) -> dict[str, str]:
    """Return wavelength, FWHM and quality of a band in the tags that ENVI's readers and EnMAP-Box read."""
    tags: dict[str, str] = {}
    if band.wavelength_nm is not None:
        tags |= {"wavelength": f"{band.wavelength_nm:.12g}", "wavelength_units": "nanometers"}
    if band.fwhm_nm is not None:
        tags |= {"fwhm": f"{band.fwhm_nm:.12g}", "wavelength_units": "nanometers"}
    if not band.good:
        tags["bbl"] = "0"
    return tags
