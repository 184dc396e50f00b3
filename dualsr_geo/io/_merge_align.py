"""Which guide lies how on the target grid: on its lattice, on another grid, or several as one."""

from __future__ import annotations

from collections.abc import Sequence

from odc.geo.geobox import GeoBox

from dualsr_geo.io.guides import Nested, Stacked, Warped
from dualsr_geo.raster import grid
from dualsr_geo.raster.scene import Scene


def on_grid(guides: Sequence[Scene], target: GeoBox) -> Nested | Warped | Stacked:
    """Put guides on the target grid, lazily.

    A guide on the target's own lattice is read as it is, to the bit. Any other is resampled:
    averaged where its pixels are finer than the target's by more than `AVERAGE_ABOVE`, else
    by cubic convolution. A window costs what it covers, whatever the guide's size.

    Beside `Guide`'s own, what is returned has ``near(window)``, the same guide holding no more of
    an array than that window needs, and ``array``, the whole guide as dask array (band, y, x),
    which covers the target grid and `ARRAY_MARGIN_PX` more on every side.

    Parameters
    ----------
    guides : sequence of Scene
        One or more; stacked along band.
    target : GeoBox
        The grid of the product, from `grid.refine`.

    Returns
    -------
    Nested, Warped or Stacked
        A `Guide`.

    Raises
    ------
    GridError
        If a guide lies elsewhere, or only one of guide and scene is georeferenced.
    """
    parts = tuple(_place(guide, target) for guide in guides)
    return parts[0] if len(parts) == 1 else Stacked(parts)


def _place(guide: Scene, target: GeoBox) -> Nested | Warped:
    box = _box_of(guide, target)
    grid.require_same_world(target, box)
    offset = grid.offset_px(target, box)
    if offset is None:
        return Warped(guide.source, box, target, grid.gsd(target) / grid.gsd(box, like=target))
    height, width = target.shape
    return Nested(guide.source, offset, (height, width))


def _box_of(guide: Scene, target: GeoBox) -> GeoBox:
    """Return the guide's grid; beside a bare scene a bare guide covers the scene's extent."""
    ratio = round(1 / target.affine.a) if target.affine.a > 0 else 0
    if ratio < 1 or not grid.is_bare(guide.geobox):
        return guide.geobox
    scene = grid.coarsen(target, ratio)
    if not grid.is_bare(scene):
        return guide.geobox
    _, rows, columns = guide.source.shape
    return grid.same_extent(scene, (rows, columns))
