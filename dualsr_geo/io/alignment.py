"""Alignment: scenes as guides on the target grid, lazily."""

from __future__ import annotations

from collections.abc import Sequence

from odc.geo.geobox import GeoBox

from dualsr_geo.io.guides import NestedGuide, StackedGuide, WarpedGuide
from dualsr_geo.raster import grid
from dualsr_geo.raster.scene import Scene


def align_guides(scenes: Sequence[Scene], target: GeoBox) -> NestedGuide | WarpedGuide | StackedGuide:
    """Put guides on the target grid, lazily.

    A guide on the target's own lattice is read to the bit. Any other is resampled: averaged where its
    pixels are finer than the target's by more than `raster.resampling.AVERAGE_ABOVE`, else by cubic
    convolution. The cost of a window does not depend on the size of the guide.

    Parameters
    ----------
    scenes : sequence of Scene
        One or more; stacked along band.
    target : GeoBox
        The grid of the product, from `grid.refine`.

    Returns
    -------
    NestedGuide, WarpedGuide or StackedGuide
        A `Guide`.

    Raises
    ------
    GridError
        If a guide is at another place, or only one of guide and scene is georeferenced.
    """
    parts = tuple(_align(scene, target) for scene in scenes)
    return parts[0] if len(parts) == 1 else StackedGuide(parts)


def _align(scene: Scene, target: GeoBox) -> NestedGuide | WarpedGuide:
    box = _box_of(scene, target)
    grid.require_same_world(target, box)
    offset = grid.offset_px(target, box)
    if offset is None:
        return WarpedGuide(scene.source, box, target, grid.gsd(target) / grid.gsd(box, like=target))
    return NestedGuide(scene.source, offset)


def _box_of(guide: Scene, target: GeoBox) -> GeoBox:
    """Return the grid of a guide; where neither image is georeferenced, the guide covers the scene's extent."""
    ratio = round(1 / target.affine.a) if target.affine.a > 0 else 0
    if ratio < 1 or not grid.is_bare(guide.geobox):
        return guide.geobox
    scene = grid.coarsen(target, ratio)
    if not grid.is_bare(scene):
        return guide.geobox
    _, rows, columns = guide.source.shape
    return grid.same_extent(scene, (rows, columns))
