"""A displacement field, estimated from a scene and its guide.

The degraded guide is regressed on the scene's leading components, as in `psf`; the field that leaves
the least unexplained is found by Gauss-Newton steps on the coefficients of a B-spline. All pixels count
together, so a scene of 24 x 24 pixels can show a field where no block of it could show a shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dualsr_geo.degradation.operators import Operator, operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.displacement_field import DEGREE, DisplacementField, bspline_basis
from dualsr_geo.registration.guide_regression import Array

# An interval of the B-spline is at least so many lr pixels long, and an axis has no more intervals than that.
INTERVAL_LR = 4
MOST_INTERVALS = 8
# What is compared is first smoothed by so many lr pixels: edges are then wide against the displacement.
SMOOTHED_LR = (2.0, 1.0, 0.0, 0.0)
# How stiff the field is, from soft to stiff, beside one without any bend at all: what predicts held-out parts
# best is taken. In units of what the scene says, mean of the coefficients.
STIFFNESS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
# Of a slope against a bend; the slope keeps a place that says nothing near its surroundings.
SLOPE = 1.0
# lr pixels at the scene's rim that the blur sees only in part; one less than for blur, since bends are worst there.
RIM = 1
# Parts of this many lr pixels along a side are held out together, a fold at a time.
PART_LR = 4
FOLDS = 8
# A field is reliable from a shift where it predicts what was held out better by so many standard errors, and
# departs from it by more than moving the guide costs (as `placement.STILL_PX`), root mean square, hr pixels.
ERRORS = 2.0
STILL_PX = 0.1
# Of a guide that the scene explains no better some shows something else, which a field would bend to look alike:
# true fields leave 0.01 unexplained, those of a guide with a changed fifth or quarter 0.25 to 0.5.
UNEXPLAINED = 0.2


@dataclass(frozen=True)
class Patch:
    """A window of the scene beside its guide.

    Attributes
    ----------
    window : Window
        lr pixels.
    components : array, shape (component, y, x)
        Leading spectral components of the scene.
    weight : array, shape (y, x)
        0 where a pixel must not count.
    guide : array, shape (guide band, ratio * y + 2 * margin, ratio * x + 2 * margin)
        NaN where it does not reach.
    margin : int
        hr pixels; no less than any field tried needs.
    """

    window: Window
    components: Array
    weight: Array
    guide: NDArray[np.float32]
    margin: int

    def moved(self, field: DisplacementField) -> NDArray[np.float32]:
        """Return the guide moved to where it belongs, (guide band, ratio * y, ratio * x)."""
        ratio = (self.guide.shape[1] - 2 * self.margin) // self.window.shape[0]
        cut = self.margin - field.margin_px
        inner = slice(cut, -cut or None)
        return field.moved(self.guide[:, inner, inner], self.window.scaled(ratio))


@dataclass(frozen=True)
class FieldEstimate:
    """A fitted field, and how far it is to be believed.

    Attributes
    ----------
    field : DisplacementField
    gain : float
        By what share it lowers what is unexplained of parts that it was not fitted to, against one shift.
    errors : float
        The same, in standard errors.
    unexplained : float
        1 - R2 of the guide on the scene where the field was not fitted, 0..1.
    """

    field: DisplacementField
    gain: float
    errors: float
    unexplained: float

    @property
    def bend_px(self) -> float:
        """Root mean square departure of the field from one shift, hr pixels."""
        around = self.field.nodes - self.field.nodes.mean((1, 2), keepdims=True)
        return float(np.sqrt((around**2).sum(0).mean()))

    @property
    def reliable(self) -> bool:
        """Whether it is reliable from a shift."""
        return self.errors > ERRORS and self.bend_px > STILL_PX and self.unexplained < UNEXPLAINED


def zero_field(shape: tuple[int, int], ratio: int, shift_px: tuple[float, float]) -> DisplacementField:
    """Return a field that is one shift, with the nodes that a scene of this shape (lr pixels) can tell."""
    ny, nx = (min(MOST_INTERVALS, max(1, n // INTERVAL_LR)) + DEGREE for n in shape)
    nodes = np.broadcast_to(np.asarray(shift_px, np.float32)[:, None, None], (2, ny, nx))
    return DisplacementField((shape[0] * ratio, shape[1] * ratio), np.ascontiguousarray(nodes))


def fit_field(patches: Sequence[Patch], psf: Psf, start: DisplacementField, farthest_px: float) -> FieldEstimate:
    """Fit a field to a sample of a scene.

    Parameters
    ----------
    patches : sequence of Patch
    psf : Psf
        Blur of the scene against the guide where `start` brings it.
    start : DisplacementField
    farthest_px : float
        No coefficient leaves this, hr pixels.
    """
    found = FieldEstimate(start.limited(farthest_px), 0.0, 0.0, 1.0)
    for smoothed in SMOOTHED_LR:
        said = _Quadratic.around(found.field, patches, psf, smoothed)
        nodes, gain, errors, unexplained = said.best()
        field = replace(start, nodes=nodes.reshape(start.nodes.shape).astype(np.float32))
        found = FieldEstimate(field.limited(farthest_px), gain, errors, unexplained / len(patches[0].guide))
    return found


@dataclass(frozen=True)
class _Quadratic:
    """What is unexplained of each fold near a field, ``c + 2 b'x + x'Ax`` of its coefficients x.

    Attributes
    ----------
    a, b, c : array, shapes (fold, coefficient, coefficient), (fold, coefficient) and (fold,)
    nodes : (int, int)
        Rows and columns of nodes.
    """

    a: Array
    b: Array
    c: Array
    nodes: tuple[int, int]

    @classmethod
    def around(cls, field: DisplacementField, patches: Sequence[Patch], psf: Psf, smoothed: float) -> _Quadratic:
        """Linearise the moved guide in the coefficients, and the regression with it."""
        rows = [_Rows.of(p, field, psf, smoothed) for p in patches]
        seen, slopes = (np.concatenate([getattr(r, n) for r in rows], -1) for n in ("seen", "slopes"))
        near, fold = np.concatenate([r.near for r in rows]), np.concatenate([r.fold for r in rows])
        scene = np.concatenate([r.components for r in rows], 1)
        known = np.linalg.qr(np.vstack([scene, np.ones(scene.shape[1])]).T)[0]
        at, count = field.nodes.ravel().astype(np.float64), field.nodes.size
        a, b, c = np.zeros((FOLDS, count, count)), np.zeros((FOLDS, count)), np.zeros(FOLDS)
        for plane, slope in zip(seen, slopes, strict=True):
            scale = max(float(np.linalg.norm(plane - plane.mean())), 1e-30)
            lines = np.concatenate([s[:, None] * near for s in slope], 1) / scale
            lines -= known @ (known.T @ lines)
            left = plane / scale
            left = left - known @ (known.T @ left) - lines @ at
            for i in range(FOLDS):
                mine, rest = lines[fold == i], left[fold == i]
                a[i] += mine.T @ mine
                b[i] += mine.T @ rest
                c[i] += rest @ rest
        return cls(a, b, c, (field.nodes.shape[1], field.nodes.shape[2]))

    def best(self) -> tuple[Array, float, float, float]:
        """Return the coefficients that predict best, their gain over one shift, that in errors, and what is left."""
        one = self._held(None)
        tried = {stiff: self._held(stiff) for stiff in STIFFNESS}
        chosen = min(tried, key=lambda stiff: float(tried[stiff].sum()))
        less = one - tried[chosen]
        if less.sum() <= 0:
            return self._solved(self.a.sum(0), self.b.sum(0), None), 0.0, 0.0, float(one.sum())
        errors = less.mean() / max(float(less.std()) / np.sqrt(FOLDS - 1), 1e-30)
        nodes = self._solved(self.a.sum(0), self.b.sum(0), chosen)
        return nodes, float(less.sum() / one.sum()), float(errors), float(tried[chosen].sum())

    def _held(self, stiff: float | None) -> Array:
        """Return what each fold leaves unexplained of a field fitted to the others."""
        a, b, out = self.a.sum(0), self.b.sum(0), np.empty(FOLDS)
        for i in range(FOLDS):
            x = self._solved(a - self.a[i], b - self.b[i], stiff)
            out[i] = self.c[i] + 2 * self.b[i] @ x + x @ self.a[i] @ x
        return out

    def _solved(self, a: Array, b: Array, stiff: float | None) -> Array:
        if stiff is None:
            moves = np.kron(np.eye(2), np.ones((len(b) // 2, 1)))
            return np.asarray(moves @ np.linalg.lstsq(moves.T @ a @ moves, -moves.T @ b, rcond=None)[0])
        level = np.trace(self.a.sum(0)) / np.trace(self._bending)
        rounding = 1e-12 * np.trace(a) / len(a) * np.eye(len(a))
        return np.asarray(np.linalg.solve(a + stiff * level * self._bending + rounding, -b))

    @cached_property
    def _bending(self) -> Array:
        """The energy of second differences, with a little of first ones."""
        (y, yy), (x, xx) = (_differences(n) for n in self.nodes)
        i, j = (np.eye(n) for n in self.nodes)
        plane = np.kron(yy, j) + np.kron(i, xx) + 2 * np.kron(y, x) + SLOPE * (np.kron(y, j) + np.kron(i, x))
        return np.asarray(np.kron(np.eye(2), plane))


def _differences(count: int) -> tuple[Array, Array]:
    first, second = (np.diff(np.eye(count), order, axis=0) for order in (1, 2))
    return first.T @ first, second.T @ second


@dataclass(frozen=True)
class _Rows:
    """The pixels of a patch that count.

    Attributes
    ----------
    components : array, shape (component, pixel)
    seen : array, shape (guide band, pixel)
        The moved guide, degraded.
    slopes : array, shape (guide band, 2, pixel)
        How it changes with the displacement, y and x.
    near : array, shape (pixel, node)
        The B-splines at the pixels' centres.
    fold : array, shape (pixel,)
    """

    components: Array
    seen: Array
    slopes: Array
    near: Array
    fold: NDArray[np.intp]

    @classmethod
    def of(cls, patch: Patch, field: DisplacementField, psf: Psf, smoothed: float) -> _Rows:
        """Move, degrade and differentiate the guide of a patch."""
        moved, window, ratio = patch.moved(field), patch.window, psf.ratio
        there = np.asarray(np.isfinite(moved).all(0))
        centre = moved[:, there].mean(1) if there.any() else np.zeros(len(moved), np.float32)
        filled = np.where(there, moved, centre[:, None, None]) - centre[:, None, None]
        slopes = np.stack(np.gradient(filled, axis=(1, 2)), 1)
        op = operator(psf, window.shape)
        used = patch.weight * _low(op, there[None].astype(np.float32))[0] > 0.999
        used = np.pad(used[RIM:-RIM, RIM:-RIM], RIM)
        y, x = np.nonzero(used)
        return cls(
            _smooth(patch.components, smoothed)[:, used],
            _smooth(_low(op, filled), smoothed)[:, used],
            _smooth(_low(op, slopes), smoothed)[..., used],
            _near(field, y + window.y0 + 0.5, x + window.x0 + 0.5, ratio),
            # A knight's move apart, so that neighbours of a part are never held out with it.
            ((y + window.y0) // PART_LR * 3 + (x + window.x0) // PART_LR * 5) % FOLDS,
        )


def _low(op: Operator, planes: NDArray[np.float32]) -> Array:
    return op.degrade(torch.from_numpy(np.ascontiguousarray(planes))).numpy().astype(np.float64)


def _smooth(planes: Array, width: float) -> Array:
    if not width:
        return planes
    return np.asarray(gaussian_filter(planes, (0,) * (planes.ndim - 2) + (width, width), mode="nearest"))


def _near(field: DisplacementField, y: NDArray[np.floating], x: NDArray[np.floating], ratio: int) -> Array:
    """Return all B-splines at some places, lr pixels; the blur is narrow against them."""
    _, ny, nx = field.nodes.shape
    rows, columns = bspline_basis(y * ratio, field.shape[0], ny), bspline_basis(x * ratio, field.shape[1], nx)
    return np.asarray((rows[:, :, None] * columns[:, None, :]).reshape(len(y), -1))
