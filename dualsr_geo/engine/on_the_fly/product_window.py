"""Windows of a product as a user gives them: a window of rasterio, or bounds in a CRS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import ProjError

from dualsr_geo.argument_types import wrong
from dualsr_geo.errors import GridError, InputError, excerpt
from dualsr_geo.raster.windows import Window

# Points along each side of bounds that are put into the CRS of the product.
OUTLINE_POINTS = 21
# Part of a pixel by which rounding may move bounds.
ROUNDING_PX = 1e-6
EXPECTED = "a rasterio.windows.Window, or bounds (left, bottom, right, top)"


def product_window(window: Any, target: GeoBox, crs: Any = None) -> Window:
    """Return a window of the product.

    Parameters
    ----------
    window : rasterio.windows.Window, or sequence of float
        A window in pixels of the product, or bounds (left, bottom, right, top).
    target : GeoBox
        The grid of the product.
    crs : CRS, str or int, optional
        Of the bounds; by default that of the product.

    Returns
    -------
    Window
        Of bounds: the pixels that they touch, as far as there are any.

    Raises
    ------
    InputError
        If the window is not inside the product, or the bounds do not touch it.
    """
    height, width = (int(n) for n in target.shape)
    if hasattr(window, "col_off"):
        return _whole_pixels(window, (height, width))
    if isinstance(window, str | bytes) or not isinstance(window, Sequence | np.ndarray) or len(window) != 4:
        raise wrong("window", window, EXPECTED)
    try:
        bounds = tuple(float(v) for v in window)
    except (TypeError, ValueError):
        raise wrong("window", window, EXPECTED) from None
    return _touched(bounds, target, crs)


def _whole_pixels(window: Any, shape: tuple[int, int]) -> Window:
    numbers = [float(v) for v in (window.row_off, window.height, window.col_off, window.width)]
    if not all(v.is_integer() for v in numbers):
        raise InputError(
            f"{window} does not begin and end between pixels. Round it: window.round_offsets().round_lengths()."
        )
    y, height, x, width = (int(v) for v in numbers)
    if height < 1 or width < 1:
        raise InputError(f"{window} has no pixel. Give a window of 1 x 1 or more.")
    if y < 0 or x < 0 or y + height > shape[0] or x + width > shape[1]:
        raise InputError(
            f"{window} is not inside the product, which has {shape[0]} rows and {shape[1]} columns. Give its part that is: "
            f"window.intersection(Window(0, 0, {shape[1]}, {shape[0]}))."
        )
    return Window(y, y + height, x, x + width)


def _touched(bounds: tuple[float, ...], target: GeoBox, crs: Any) -> Window:
    left, bottom, right, top = bounds
    if not all(map(math.isfinite, bounds)) or left >= right or bottom >= top:
        raise InputError(f"The bounds {excerpt(bounds)} have no area. Give (left, bottom, right, top).")
    x, y = _outline(bounds)
    other = None if crs is None else _crs(crs)
    if other is not None and target.crs is None:
        raise GridError(f"`crs` is {excerpt(str(crs))}, and the scene has no CRS. Leave it out, or give the scene one.")
    if other is not None and target.crs is not None and other != target.crs:
        x, y = other.transformer_to_crs(target.crs)(x, y)
    window = _covered(target, x, y)
    if min(window.shape) < 1:
        box = target.boundingbox
        raise InputError(
            f"The bounds {excerpt(bounds)} are outside of the product, which has x {box.left:.10g}..{box.right:.10g}, "
            f"y {box.bottom:.10g}..{box.top:.10g}. Give others, or their `crs`."
        )
    return window


def touched_window(bounds: tuple[float, ...], target: GeoBox) -> Window:
    """Return the pixels of the product that bounds in its CRS touch, (left, bottom, right, top); there may be none."""
    return _covered(target, *_outline(bounds))


def _covered(target: GeoBox, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Window:
    columns, rows = _pixels(target, x, y)
    height, width = (int(n) for n in target.shape)
    return Window(*_whole(rows), *_whole(columns)).clipped((height, width))


def _crs(given: Any) -> CRS:
    try:
        return CRS(given)
    except (ProjError, TypeError, ValueError) as error:
        raise InputError(f"`crs` is {excerpt(given)}, no CRS ({excerpt(str(error))}). Give e.g. 'EPSG:4326'.") from None


def _outline(bounds: tuple[float, ...]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    left, bottom, right, top = bounds
    xs, ys = np.linspace(left, right, OUTLINE_POINTS), np.linspace(bottom, top, OUTLINE_POINTS)
    grid = np.meshgrid(xs, ys)
    return grid[0].ravel(), grid[1].ravel()


def _pixels(
    target: GeoBox, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    inverse = ~target.affine
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    return inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f


def _whole(positions: np.ndarray[Any, Any]) -> tuple[int, int]:
    if not positions.size:
        return 0, 0
    # Positions far beyond any grid would not fit an integer.
    low, high = (float(np.clip(v, -(2**31), 2**31)) for v in (positions.min(), positions.max()))
    return math.floor(low + ROUNDING_PX), math.ceil(high - ROUNDING_PX)
