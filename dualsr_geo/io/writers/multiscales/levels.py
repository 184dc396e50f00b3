"""The levels that a product is to have, and their grids."""

from __future__ import annotations

from dataclasses import replace

from affine import Affine
from odc.geo.geobox import GeoBox

from dualsr_geo.io.writers.creation_options import overview_levels, requested_options
from dualsr_geo.io.writers.multiscales.layout import Level
from dualsr_geo.io.writers.output_spec import OutputSpec

AVERAGE = "AVERAGE"


def has_overviews(spec: OutputSpec) -> bool:
    """Return whether a Zarr product is to have overviews: where they are requested, as they take a third of the disk."""
    return spec.format == "Zarr" and requested_options(spec).get("OVERVIEWS", "NONE").upper() != "NONE"


def levels_of(spec: OutputSpec) -> list[Level]:
    """Return the levels of a product, finest first: until both sides are as small as those of a COG's last overview."""
    levels: list[Level] = []
    resampling = requested_options(spec).get("OVERVIEW_RESAMPLING", AVERAGE).upper()
    for factor in overview_levels(spec.shape[1:]) if has_overviews(spec) else ():
        source = levels[-1].path if levels else ""
        levels.append(Level(factor, replace(spec, geobox=_coarser(spec.geobox, factor)), source, resampling))
    return levels


def _coarser(box: GeoBox, factor: int) -> GeoBox:
    """Return a grid of larger pixels from the same corner, which covers all of a grid."""
    height, width = (-(-int(n) // factor) for n in box.shape)
    return GeoBox((height, width), box.affine @ Affine.scale(factor), box.crs)
