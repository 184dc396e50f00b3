"""The metadata of a file that a product keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Domains that describe the file, not the acquisition, or that do not apply to a finer grid.
LAYOUT_DOMAINS = {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "RPC", "GEOLOCATION", "TIFF"}

_LAYOUT_ITEMS = re.compile(
    # ENVI: geometry, and what bands and packing hold.
    r"samples|lines|bands|header_offset|file_type|data_type|interleave|byte_order|map_info|"
    r"coordinate_system_string|[xy]_start|band_names|wavelength|wavelength_units|fwhm|bbl|default_bands|"
    r"data_ignore_value|reflectance_scale_factor|data_(gain|offset)_values|Band_\d+|"
    # netCDF: dimensions, and the attributes of every variable, which the bands carry.
    r"NETCDF_DIM_.*|(?!NC_GLOBAL#)[^#]*#.*|NC_GLOBAL#(dualsr_.*|Conventions|source)"
)

# Attributes of a variable that are in the bands, the packing, the grid or the tags of a scene.
_SCENE_ATTRS = re.compile(
    r"scale_factor|add_offset|scales|offsets|_FillValue|missing_value|nodata|nodatavals|_Unsigned|"
    r"units|band_units|band_tags|color_interpretation|grid_mapping|coordinates|crs|_CRS|transform|res|"
    r"is_tiled|AREA_OR_POINT|zarr_conventions|(proj|spatial):.*"
)


def useful_tags(items: Mapping[str, str]) -> dict[str, str]:
    """Return the GDAL metadata items that describe the acquisition."""
    return {k.removeprefix("NC_GLOBAL#"): v for k, v in items.items() if not _LAYOUT_ITEMS.fullmatch(k)}


def useful_attrs(attrs: Mapping[Any, object]) -> dict[str, object]:
    """Return the attributes of a variable that no other part of a scene holds."""
    return {
        str(k): v for k, v in attrs.items() if not (_SCENE_ATTRS.fullmatch(str(k)) or _LAYOUT_ITEMS.fullmatch(str(k)))
    }
