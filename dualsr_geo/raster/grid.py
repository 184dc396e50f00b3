"""Grids: GSD, ratio, nested and coarser grids of a GeoBox.

A grid is an `odc.geo` GeoBox: CRS, affine (of pixel corners) and shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox, Geometry
from pyproj.exceptions import ProjError

from dualsr_geo.errors import GridError, ScaleError, excerpt

# A guide that other software resampled to "0.5 m" has 0.5 m within a fraction of a percent, so a ratio
# of 3.98 counts as 4.
RATIO_TOLERANCE = 0.01
# Grids that differ by less over the whole target share one lattice: resampling would blur more than it
# corrects. (The pan and MS images of WorldView-2 as Maxar delivers them differ by 0.04 px.)
SAME_LATTICE_PX = 0.05


def refine(box: GeoBox, ratio: int) -> GeoBox:
    """Return the target grid: the same extent with pixels `ratio` times smaller.

    Parameters
    ----------
    box : GeoBox
        The scene's grid; rotated and south-up grids keep their orientation.
    ratio : int
        GSD lr / GSD hr.

    Returns
    -------
    GeoBox
        Its affine is the scene's divided by the ratio, to the last bit.
    """
    t = box.affine
    affine = Affine(t.a / ratio, t.b / ratio, t.c, t.d / ratio, t.e / ratio, t.f)
    height, width = box.shape
    return GeoBox((height * ratio, width * ratio), affine, box.crs)


def coarsen(box: GeoBox, ratio: int) -> GeoBox:
    """Return the grid with pixels `ratio` times larger from the same corner; a remainder is left out."""
    t = box.affine
    affine = Affine(t.a * ratio, t.b * ratio, t.c, t.d * ratio, t.e * ratio, t.f)
    height, width = box.shape
    return GeoBox((height // ratio, width // ratio), affine, box.crs)


def pixel_centres(box: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the y and the x of the pixel centres of a grid that is not rotated.

    `GeoBox.coordinates` adds half a pixel to the corner first, which rounds once more: its last bit may
    differ, and so would the coordinates of products.
    """
    t, (height, width) = box.affine, box.shape
    return t.f + t.e * (np.arange(height, dtype=np.float64) + 0.5), t.c + t.a * (
        np.arange(width, dtype=np.float64) + 0.5
    )


def is_bare(box: GeoBox) -> bool:
    """Say whether a grid has no georeference at all: no CRS and pixel coordinates."""
    return box.crs is None and box.affine.almost_equals(Affine.identity())


def gsd(box: GeoBox, like: GeoBox | None = None) -> float:
    """Return the side of a pixel, in units of the CRS of `like`, at the centre of `like`.

    The side is the root of the pixel's area, so that oblong pixels have one.
    """
    if like is None or like.crs is None or box.crs is None or box.crs == like.crs:
        return math.sqrt(abs(box.affine.determinant))
    # A degree at the centre of `like` is not as long as one at the centre of a larger guide.
    height, width = like.shape
    to_box, to_like = _transformer(like.crs, box.crs), _transformer(box.crs, like.crs)
    x, y = ~box.affine @ to_box(*(like.affine @ (width / 2, height / 2)))
    origin, *others = (to_like(*(box.affine @ (x + i, y + j))) for i, j in ((0, 0), (1, 0), (0, 1)))
    (ax, ay), (bx, by) = ((_turned(px - origin[0], like.crs), py - origin[1]) for px, py in others)
    side = math.sqrt(abs(ax * by - ay * bx))
    if not 0 < side < math.inf:
        raise GridError(
            f"The pixels of the guide ({crs_name(box)}) have no size in the CRS of the scene ({crs_name(like)}) there, as at "
            "a pole. Warp both to one CRS of that place (gdalwarp -t_srs)."
        )
    return side


def _transformer(source: CRS, target: CRS) -> Callable[[float, float], tuple[float, float]]:
    """Return the transformation of positions from one CRS to another.

    Raises
    ------
    GridError
        If there is none, as from a local CRS.
    """
    try:
        transform: Callable[[float, float], tuple[float, float]] = source.transformer_to_crs(target)
    except ProjError as error:
        raise _no_transformation(source, target) from error
    return transform


def _no_transformation(source: CRS, target: CRS) -> GridError:
    names = (f"EPSG:{crs.epsg}" if crs.epsg else excerpt(str(crs.proj.name)) for crs in (source, target))
    return GridError(
        f"No transformation leads from the CRS of one image to that of the other ({' and '.join(names)}), as from a local "
        "one. Set the right CRS of both (rio edit-info --crs), or warp one to the CRS of the other (gdalwarp)."
    )


def _turned(difference: float, crs: CRS) -> float:
    """Return a difference along x, of longitudes across the antimeridian the shorter way round."""
    return (difference + 180) % 360 - 180 if crs.geographic and abs(difference) > 180 else difference


def unit(box: GeoBox) -> str:
    """Return the unit that `gsd` is in: ``"m"``, ``"degree"``, ... or ``"px"`` without CRS."""
    if box.crs is None:
        return "px"
    # The name that pyproj has; odc-geo has that of CF, "degrees_north".
    name = str(box.crs.proj.axis_info[0].unit_name)
    return "m" if name in ("metre", "meter") else name


def crs_name(box: GeoBox) -> str | None:
    """Return the CRS as ``"EPSG:32633"``, as WKT where it has no code, or None."""
    if box.crs is None:
        return None
    return f"EPSG:{box.crs.epsg}" if box.crs.epsg else str(box.crs.to_wkt())


def require_same_world(scene: GeoBox, guide: GeoBox, name: str = "guide") -> None:
    """Check that scene and guide can be placed on one map and overlap there.

    Parameters
    ----------
    scene, guide : GeoBox
    name : str
        Of the guide in messages, where there are several.

    Raises
    ------
    GridError
        If only one of them has a CRS, or they do not overlap.
    """
    if (scene.crs is None) != (guide.crs is None):
        has, lacks = ("scene", name) if guide.crs is None else (name, "scene")
        raise GridError(
            f"The {has} has a CRS and the {lacks} has none, so their places cannot be compared. "
            f"Set the CRS of the {lacks} (rio edit-info --crs), or remove that of the {has}."
        )
    scene_extent, guide_extent = scene.extent, guide.extent
    if scene.crs is not None and guide.crs is not None:
        # In the guide's CRS first: a global guide has no extent in the scene's UTM zone.
        if not _disjoint(_in_crs(scene_extent, guide.crs).boundingbox, guide_extent.boundingbox):
            return
        guide_extent = _in_crs(guide_extent, scene.crs)
    scene_box, guide_box = scene_extent.boundingbox, guide_extent.boundingbox
    if _disjoint(scene_box, guide_box):
        raise GridError(
            f"The {name} covers {_sides(guide_box)}, the scene {_sides(scene_box)} ({unit(scene)}): "
            "they do not overlap. Give a guide of the same place as --rgb."
        )


def _in_crs(extent: Geometry, crs: CRS) -> Geometry:
    try:
        return extent.to_crs(crs)
    except ProjError as error:
        assert extent.crs is not None
        raise _no_transformation(extent.crs, crs) from error


def _sides(box: BoundingBox) -> str:
    return f"x {box.left:.10g}..{box.right:.10g}, y {box.bottom:.10g}..{box.top:.10g}"


def _disjoint(a: BoundingBox, b: BoundingBox) -> bool:
    """Say whether two boxes do not overlap; one that is not finite overlaps with none."""
    if not np.all(np.isfinite((*a.bbox, *b.bbox))):
        return True
    return bool(a.right <= b.left or b.right <= a.left or a.top <= b.bottom or b.top <= a.bottom)


def largest_ratio(scene: GeoBox, guide: GeoBox) -> int:
    """Return the largest integer not above the GSD ratio of scene and guide.

    Raises
    ------
    GridError
        If the guide is not at least twice as sharp as the scene.
    """
    scene_gsd, guide_gsd = gsd(scene), gsd(guide, like=scene)
    ratio = math.floor(scene_gsd / guide_gsd * (1 + RATIO_TOLERANCE))
    if ratio < 2:
        name = unit(scene)
        raise GridError(
            f"A pixel of the guide is {guide_gsd:.4g} {name}, one of the scene {scene_gsd:.4g} {name}: "
            f"the guide must be at least twice as sharp. Give a guide of {scene_gsd / 2:.4g} {name} or finer "
            "as --rgb, or leave --rgb out and give --scale."
        )
    return ratio


def choose_ratio(scale: int | None, scene: GeoBox, guide: GeoBox | None) -> int:
    """Return the ratio to use: `scale` if it is given and possible, else the largest that the guide allows.

    Raises
    ------
    ScaleError
        If `scale` is below 2, above what the guide allows, or missing without a guide.
    """
    if scale is not None and scale < 2:
        raise ScaleError(f"--scale {scale} does not sharpen. Give an integer of 2 or more.")
    if guide is None:
        if scale is None:
            raise ScaleError("Without a guide the scale is not known. Give --scale, e.g. --scale 4.")
        return scale
    limit = largest_ratio(scene, guide)
    if scale is not None and scale > limit:
        scene_gsd, guide_gsd, name = gsd(scene), gsd(guide, like=scene), unit(scene)
        raise ScaleError(
            f"--scale {scale} would give pixels of {scene_gsd / scale:.4g} {name}, but the guide has "
            f"{guide_gsd:.4g} {name}, which allows up to --scale {limit}. "
            f"Give --scale {limit} or less, or a sharper guide as --rgb."
        )
    return limit if scale is None else scale


def offset_px(target: GeoBox, other: GeoBox) -> tuple[int, int] | None:
    """Return the row and column of `other` at the target's first pixel, if both share one lattice.

    Pixels must agree in CRS, size and rotation, and coincide within `SAME_LATTICE_PX` over the whole
    target; otherwise None.
    """
    if target.crs != other.crs:
        return None
    to_other = ~other.affine @ target.affine
    height, width = target.shape
    drift = max(abs(to_other.a - 1), abs(to_other.e - 1), abs(to_other.b), abs(to_other.d))
    column, row = round(to_other.c), round(to_other.f)
    deviation = max(abs(to_other.c - column), abs(to_other.f - row)) + drift * max(height, width)
    return (row, column) if deviation < SAME_LATTICE_PX else None


def same_extent(scene: GeoBox, guide_shape: tuple[int, int]) -> GeoBox:
    """Return the grid of an array that covers exactly the scene's extent.

    Used where neither guide nor scene has a georeference.

    Raises
    ------
    GridError
        If the shapes are no common integer multiple.
    """
    (height, width), (rows, columns) = scene.shape, guide_shape
    if rows % height or columns % width or rows // height != columns // width:
        raise GridError(
            f"Neither image has a georeference, and the guide's {rows} x {columns} pixels are no "
            f"common multiple of the scene's {height} x {width}. "
            "Crop --rgb to the scene's extent, or georeference both."
        )
    return refine(scene, rows // height)
