"""The displacement field of a guide against the scene, as coefficients of a cubic B-spline.

So it is small and smooth, and its value at a pixel does not depend on the window in which it is evaluated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

from dualsr_geo.raster.windows import Window

DEGREE = 3
# Order of the spline that interpolates a guide: a quintic one loses least (CAVE shifted by 3 px and back: 61.9 dB,
# cubic 59.9 dB, linear 51.0 dB). The response of its prefilter decays by 0.43 a pixel, to 1e-6 within the support.
SPLINE_ORDER = 5
SUPPORT_PX = 16


@dataclass(frozen=True)
class DisplacementField:
    """The displacement of a guide's content against the scene, downwards and to the right.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of the target grid that the field spans, hr pixels.
    nodes : array, shape (2, node row, node column)
        B-spline coefficients of the displacement along y (0) and x (1), hr pixels; evenly spaced, the
        outer ones one interval beyond the scene.
    """

    shape: tuple[int, int]
    nodes: NDArray[np.float32]

    @property
    def largest_px(self) -> float:
        """A bound of the displacement along an axis, hr pixels: a B-spline stays within its coefficients."""
        return float(np.abs(self.nodes).max())

    @property
    def margin_px(self) -> int:
        """How many hr pixels beyond a window `moved` reads."""
        return math.ceil(self.largest_px) + SUPPORT_PX

    def limited(self, farthest_px: float) -> DisplacementField:
        """Return the field with its coefficients clipped to this distance, hr pixels."""
        return replace(self, nodes=np.clip(self.nodes, -farthest_px, farthest_px))

    def at(self, window: Window) -> NDArray[np.float64]:
        """Return the displacement of a window's pixels, (2, Y, X), hr pixels; beyond the grid that of its edge.

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
        """Return a guide with its displacement undone: ``out[y, x] = guide[y + dy(y, x), x + dx(y, x)]``.

        Parameters
        ----------
        guide : array, shape (guide band, Y + 2 * margin, X + 2 * margin)
            Of the window, with a margin of `margin_px`; NaN where the guide does not reach.
        window : Window
            Of the target grid, hr pixels.

        Returns
        -------
        array, shape (guide band, Y, X)
            NaN where the nearest sample is missing; a missing sample counts as the nearest one.
        """
        margin, (height, width) = self.margin_px, window.shape
        positions = self.at(window)
        positions[0] += np.arange(height)[:, None] + margin
        positions[1] += np.arange(width) + margin
        out = np.empty((len(guide), height, width), np.float32)
        row, column = np.rint(positions).astype(int)
        for band, plane in zip(out, guide, strict=True):
            band[:] = _interpolated(plane, positions, plane[row, column])
        return out

    def summary(self) -> dict[str, Any]:
        """Return mean, root mean square and largest displacement over a grid of 64 x 64 points, hr pixels."""
        (height, width), (_, ny, nx) = self.shape, self.nodes.shape
        y, x = ((np.arange(64) + 0.5) / 64 * n for n in (height, width))
        displacement = bspline_basis(y, height, ny) @ self.nodes.astype(np.float64) @ bspline_basis(x, width, nx).T
        length = np.hypot(*displacement)
        return {
            "mean_px": [round(float(d.mean()), 3) for d in displacement],
            "rms_px": round(float(np.sqrt((length**2).mean())), 3),
            "largest_px": round(float(length.max()), 3),
            "nodes": [ny, nx],
        }


def bspline_basis(positions: NDArray[np.floating], length: float, count: int) -> NDArray[np.float64]:
    """Return the values of `count` cubic B-splines over 0..length, shape (position, count); rows sum to 1.

    Parameters
    ----------
    positions : array, shape (position,)
        Those beyond an end count as that end.
    length : float
    count : int
        4 or more.
    """
    from scipy.interpolate import BSpline  # noqa: PLC0415  # slow, and needed only for local displacements

    knots = np.arange(-DEGREE, count + 1) * (length / (count - DEGREE))
    # The last knot of the span itself, but for rounding.
    inside = np.clip(positions, 0, knots[-DEGREE - 1])
    return np.asarray(BSpline.design_matrix(inside, knots, DEGREE).toarray())


def _interpolated(
    plane: NDArray[np.float32], positions: NDArray[np.float64], nearest: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a plane at some positions; a missing sample counts as the nearest one to the position."""
    valid = np.isfinite(plane)
    if valid.all():
        return _spline(plane, positions)
    total = _spline(np.where(valid, plane, np.float32(0)), positions)
    return np.asarray(total + (1 - _spline(valid.astype(np.float32), positions)) * nearest)


def _spline(plane: NDArray[np.float32], positions: NDArray[np.float64]) -> NDArray[np.float32]:
    coefficients = spline_filter(plane, SPLINE_ORDER, output=np.float64, mode="mirror")
    values = map_coordinates(coefficients, positions, order=SPLINE_ORDER, mode="mirror", prefilter=False)
    return np.asarray(values, np.float32)
