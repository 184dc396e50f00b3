"""Levels of overviews and their description by the convention multiscales, version 0.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import zarr_cm.multiscales

from dualsr_geo.io.writers.output_spec import OutputSpec

# Group of the overviews; a level is a group in it, named by its factor.
GROUP = "overviews"
# Each level is this many times coarser than the one before.
STEP = 2


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
    resampling : str
        ``"AVERAGE"`` or ``"NEAREST"``.
    """

    factor: int
    spec: OutputSpec
    source: str
    resampling: str

    @property
    def path(self) -> str:
        """Path of its group in that of the product."""
        return f"{GROUP}/{self.factor}"


def multiscales_attrs(
    attrs: Mapping[str, Any], spec: OutputSpec, levels: Sequence[Level], positions: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return attributes of a group with those of the convention.

    Parameters
    ----------
    attrs : mapping
        Other attributes of the group.
    spec : OutputSpec
        The product.
    levels : sequence of Level
        At least one.
    positions : mapping
        Attributes ``spatial:transform`` and ``spatial:shape`` by path of a group; empty for the product.
    """
    names = [variable.name for variable in spec.variables]
    # Entries may have attributes of other conventions.
    layout: list[Any] = [{"asset": name, **positions[""]} for name in names]
    layout += [_entry(level, name, positions[level.path]) for level in levels for name in names]
    data = zarr_cm.multiscales.create(layout=layout, resampling_method=levels[0].resampling.lower())
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
