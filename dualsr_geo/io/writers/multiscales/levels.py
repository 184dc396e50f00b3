"""The levels of overviews: their grids, their places in the group, and their description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import zarr_cm.multiscales
from affine import Affine
from odc.geo.geobox import GeoBox

from dualsr_geo.io.writers.creation_options import overview_levels, requested_options
from dualsr_geo.io.writers.output_spec import OutputSpec

# Group of the overviews; a level is a group in it, named by its factor.
GROUP = "overviews"
# Each level is this many times coarser than the one before.
STEP = 2
AVERAGE, NEAREST = "AVERAGE", "NEAREST"


@dataclass(frozen=True)
class Level:
    """A level of overviews.

    Attributes
    ----------
    factor : int
        Its pixel size over that of the product.
    spec : OutputSpec
        The product on the grid of the level.
    source : str
        Path of the group that it is computed from; empty for the product itself.
    """

    factor: int
    spec: OutputSpec
    source: str

    @property
    def path(self) -> str:
        """Path of its group in that of the product."""
        return f"{GROUP}/{self.factor}"


def has_overviews(spec: OutputSpec) -> bool:
    """Return whether a Zarr product is to have overviews: where they are requested, as they take a third of the disk."""
    return spec.format == "Zarr" and requested_options(spec).get("OVERVIEWS", "NONE").upper() != "NONE"


def resampling_of(spec: OutputSpec) -> str:
    """Return ``"AVERAGE"`` or ``"NEAREST"``."""
    return requested_options(spec).get("OVERVIEW_RESAMPLING", AVERAGE).upper()


def levels_of(spec: OutputSpec) -> list[Level]:
    """Return the levels of a product, finest first: until both sides are as small as those of a COG's last overview."""
    levels, source = [], ""
    for factor in overview_levels(spec.shape[1:]) if has_overviews(spec) else ():
        level = Level(factor, replace(spec, geobox=_coarser(spec.geobox, factor)), source)
        levels.append(level)
        source = level.path
    return levels


def _coarser(box: GeoBox, factor: int) -> GeoBox:
    """Return a grid of larger pixels from the same corner, which covers all of a grid."""
    height, width = (-(-int(n) // factor) for n in box.shape)
    return GeoBox((height, width), box.affine @ Affine.scale(factor), box.crs)


def multiscales_attrs(
    attrs: Mapping[str, Any], spec: OutputSpec, levels: Sequence[Level], map_attrs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return attributes of a group with those of the convention multiscales, version 0.1.

    Parameters
    ----------
    attrs : mapping
        Other attributes of the group.
    spec : OutputSpec
        The product.
    levels : sequence of Level
        At least one.
    map_attrs : mapping
        Attributes ``spatial:transform`` and ``spatial:shape`` by path of a group; empty for the product.
    """
    names = [variable.name for variable in spec.variables]
    # Entries may have attributes of other conventions.
    layout: list[Any] = [{"asset": name, **map_attrs[""]} for name in names]
    layout += [_entry(level, name, map_attrs[level.path]) for level in levels for name in names]
    data = zarr_cm.multiscales.create(layout=layout, resampling_method=resampling_of(spec).lower())
    return dict(zarr_cm.multiscales.insert(attrs, data))


def _entry(level: Level, name: str, position: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of an array; the axes are those of the arrays: band, y, x."""
    # The centre of a pixel of the level, in pixels of its source.
    offset = (STEP - 1) / STEP
    return {
        "asset": f"{level.path}/{name}",
        "derived_from": f"{level.source}/{name}".lstrip("/"),
        "transform": {"scale": [1.0, float(STEP), float(STEP)], "translation": [0.0, offset, offset]},
        **position,
    }
