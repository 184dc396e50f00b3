"""A smooth displacement field: how far a guide's content lies from where it belongs, place by place.

It is kept as the coefficients of a cubic B-spline, so it is small, smooth, and at any place the same
from whatever window it is asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates, spline_filter

from dualsr_geo.raster.windows import Window

DEGREE = 3
# A guide is interpolated by a quintic spline: of the splines it keeps most (CAVE moved by 3 px and back: 61.9 dB,
# cubic 59.9, linear 51.0). Its prefilter forgets by 0.43 a pixel: 1e-6 after these.
ORDER = 5
SUPPORT_PX = 16


@dataclass(frozen=True)
class DisplacementField:
    """Where a guide's content lies.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of the target grid that the field spans, hr pixels.
    nodes : array, shape (2, node row, node column)
        B-spline coefficients of how far the content lies below (0) and right of (1) where it belongs,
        hr pixels; evenly spaced, the outer ones one interval beyond the scene.
    """

    shape: tuple[int, int]
    nodes: NDArray[np.float32]

    @property
    def largest_px(self) -> float:
        """A bound of the displacement along an axis, hr pixels: no B-spline leaves its coefficients."""
        return float(np.abs(self.nodes).max())

    @property
    def margin_px(self) -> int:
        """How many hr pixels beyond a window `moved` looks."""
        return math.ceil(self.largest_px) + SUPPORT_PX

    def limited(self, farthest_px: float) -> DisplacementField:
        """Return the field with no coefficient beyond this, hr pixels."""
        return replace(self, nodes=np.clip(self.nodes, -farthest_px, farthest_px))

    def at(self, window: Window) -> NDArray[np.float64]:
        """Return the displacement of a window's pixels, (2, Y, X), hr pixels; beyond the grid its edge goes on.

        Parameters
        ----------
        window : Window
            Of the target grid, hr pixels.
        """
        rows, columns = (np.arange(a, b) + 0.5 for a, b in ((window.y0, window.y1), (window.x0, window.x1)))
        _, ny, nx = self.nodes.shape
        along_y, along_x = bspline_basis(rows, self.shape[0], ny), bspline_basis(columns, self.shape[1], nx)
        return np.asarray(along_y @ self.nodes.astype(np.float64) @ along_x.T)

    def moved(self, guide: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
        """Move a guide's content to where it belongs: ``out[y, x] = guide[y + dy(y, x), x + dx(y, x)]``.

        Parameters
        ----------
        guide : array, shape (guide band, Y + 2 * margin, X + 2 * margin)
            Of the window and `margin_px` around it, NaN where the guide does not reach.
        window : Window
            Of the target grid, hr pixels.

        Returns
        -------
        array, shape (guide band, Y, X)
            NaN where the nearest sample is missing; a missing sample counts as the nearest one.
        """
        margin, (height, width) = self.margin_px, window.shape
        places = self.at(window)
        places[0] += np.arange(height)[:, None] + margin
        places[1] += np.arange(width) + margin
        out = np.empty((len(guide), height, width), np.float32)
        row, column = np.rint(places).astype(int)
        for band, plane in zip(out, guide, strict=True):
            band[:] = _interpolated(plane, places, plane[row, column])
        return out

    def summary(self) -> dict[str, Any]:
        """Return what is worth saying of it: its mean, and how long it is over a grid of 64 x 64 places, hr pixels."""
        (height, width), (_, ny, nx) = self.shape, self.nodes.shape
        y, x = ((np.arange(64) + 0.5) / 64 * n for n in (height, width))
        away = bspline_basis(y, height, ny) @ self.nodes.astype(np.float64) @ bspline_basis(x, width, nx).T
        longest = np.hypot(*away)
        return {
            "mean_px": [round(float(a.mean()), 3) for a in away],
            "rms_px": round(float(np.sqrt((longest**2).mean())), 3),
            "largest_px": round(float(longest.max()), 3),
            "nodes": [ny, nx],
        }


def bspline_basis(places: NDArray[np.floating], length: float, count: int) -> NDArray[np.float64]:
    """Return the values of `count` cubic B-splines over 0..length, shape (place, count); rows sum to 1.

    Parameters
    ----------
    places : array, shape (place,)
        Those beyond an end count as that end.
    length : float
    count : int
        4 or more.
    """
    knots = np.arange(-DEGREE, count + 1) * (length / (count - DEGREE))
    # The last knot of the span itself, but for rounding.
    inside = np.clip(places, 0, knots[-DEGREE - 1])
    return np.asarray(BSpline.design_matrix(inside, knots, DEGREE).toarray())


def _interpolated(
    plane: NDArray[np.float32], places: NDArray[np.float64], nearest: NDArray[np.float32]
) -> NDArray[np.float32]:
    known = np.isfinite(plane)
    if known.all():
        return _spline(plane, places)
    total = _spline(np.where(known, plane, np.float32(0)), places)
    return np.asarray(total + (1 - _spline(known.astype(np.float32), places)) * nearest)


def _spline(plane: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
    smooth = spline_filter(plane, ORDER, output=np.float64, mode="mirror")
    made = map_coordinates(smooth, places, order=ORDER, mode="mirror", prefilter=False)
    return np.asarray(made, np.float32)
