"""Estimation of the displacement field of a guide.

The degraded guide is regressed on the scene's leading components, as in `blur_estimation`; Gauss-Newton steps on
the coefficients of a B-spline minimise the unexplained variance. All pixels contribute to one fit, so that a scene
of 24 x 24 pixels can determine a field, although none of its blocks could determine a shift.
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

# Least length of an interval of the B-spline, lr pixels, and largest number of intervals along an axis.
MIN_INTERVAL_LR = 4
MAX_INTERVALS = 8
# Width of the Gaussian that smooths both images in each step, lr pixels: edges must be wide against the displacement.
SMOOTHING_LR = (2.0, 1.0, 0.0, 0.0)
# Stiffnesses of the field that are compared, together with one shift: the best prediction of held-out parts decides.
# In units of the mean curvature of the unexplained variance.
STIFFNESS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
# Weight of first against second differences of the field; they keep an area without detail near its surroundings.
SLOPE_WEIGHT = 1.0
# lr pixels at the scene's edge whose blur reaches beyond it; one less than for the blur, since the edge determines the
# field's outer nodes.
RIM_LR = 1
# A pixel counts from this weight on: 1 but for rounding.
VALID = 0.999
# Side of the parts that are held out together, lr pixels, and number of folds.
PART_LR = 4
FOLDS = 8
# A field is reliable where it predicts held-out parts better than one shift by so many standard errors, and deviates
# from it by more than an interpolation of the guide costs (as `guide_placement.MIN_SHIFT_PX`), root mean square.
MIN_GAIN_ERRORS = 2.0
MIN_DEVIATION_PX = 0.1
# A guide with more unexplained variance shows a change, which a field would compensate: of true fields 0.01 is
# unexplained, of guides with a changed fifth or quarter 0.25 to 0.5.
MAX_UNEXPLAINED = 0.2


@dataclass(frozen=True)
class Patch:
    """A window of the scene and its guide.

    Attributes
    ----------
    window : Window
        lr pixels.
    components : array, shape (component, y, x)
        Leading spectral components of the scene.
    weight : array, shape (y, x)
        1 where the scene is valid, less elsewhere.
    guide : array, shape (guide band, ratio * y + 2 * margin, ratio * x + 2 * margin)
        NaN where it does not reach.
    margin : int
        hr pixels; at least the `margin_px` of all fields that are compared.
    """

    window: Window
    components: Array
    weight: Array
    guide: NDArray[np.float32]
    margin: int

    def moved(self, field: DisplacementField) -> NDArray[np.float32]:
        """Return the guide with its displacement undone, (guide band, ratio * y, ratio * x)."""
        ratio = (self.guide.shape[1] - 2 * self.margin) // self.window.shape[0]
        cut = self.margin - field.margin_px
        inner = slice(cut, -cut or None)
        return field.moved(self.guide[:, inner, inner], self.window.scaled(ratio))


@dataclass(frozen=True)
class FieldEstimate:
    """A fitted displacement field and its quality on held-out parts.

    Attributes
    ----------
    field : DisplacementField
    gain : float
        Share by which it lowers the unexplained variance of held-out parts, against one shift.
    gain_errors : float
        The same, in standard errors.
    unexplained : float
        1 - R2 of the guide on the scene in held-out parts, 0..1.
    """

    field: DisplacementField
    gain: float
    gain_errors: float
    unexplained: float

    @property
    def deviation_px(self) -> float:
        """Root mean square deviation of the field from one shift, hr pixels."""
        deviation = self.field.nodes - self.field.nodes.mean((1, 2), keepdims=True)
        return float(np.sqrt((deviation**2).sum(0).mean()))

    @property
    def reliable(self) -> bool:
        """Whether the field is distinct from one shift, and the guide shows the scene."""
        return (
            self.gain_errors > MIN_GAIN_ERRORS
            and self.deviation_px > MIN_DEVIATION_PX
            and self.unexplained < MAX_UNEXPLAINED
        )


def constant_field(shape: tuple[int, int], ratio: int, shift_px: tuple[float, float]) -> DisplacementField:
    """Return one shift as a field, with the nodes that a scene of this shape (lr pixels) can determine."""
    ny, nx = (min(MAX_INTERVALS, max(1, n // MIN_INTERVAL_LR)) + DEGREE for n in shape)
    nodes = np.broadcast_to(np.asarray(shift_px, np.float32)[:, None, None], (2, ny, nx))
    return DisplacementField((shape[0] * ratio, shape[1] * ratio), np.ascontiguousarray(nodes))


def fit_field(patches: Sequence[Patch], psf: Psf, start: DisplacementField, farthest_px: float) -> FieldEstimate:
    """Fit a displacement field to a sample of a scene.

    Parameters
    ----------
    patches : sequence of Patch
    psf : Psf
        Blur of the scene against the guide after its displacement by `start` is undone.
    start : DisplacementField
    farthest_px : float
        Bound of the field's coefficients, hr pixels.
    """
    estimate = FieldEstimate(start.limited(farthest_px), 0.0, 0.0, 1.0)
    for smoothing in SMOOTHING_LR:
        quadratic = _Quadratic.around(estimate.field, patches, psf, smoothing)
        nodes, gain, errors, unexplained = quadratic.best()
        field = replace(start, nodes=nodes.reshape(start.nodes.shape).astype(np.float32))
        estimate = FieldEstimate(field.limited(farthest_px), gain, errors, unexplained / len(patches[0].guide))
    return estimate


@dataclass(frozen=True)
class _Quadratic:
    """The unexplained variance of each fold near a field, ``c + 2 b'x + x'Ax`` of its coefficients x.

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
    def around(cls, field: DisplacementField, patches: Sequence[Patch], psf: Psf, smoothing: float) -> _Quadratic:
        """Return the unexplained variance with the guide linearised in the coefficients, at those of a field."""
        pixels = [_Pixels.of(p, field, psf, smoothing) for p in patches]
        guide, slopes = (np.concatenate([getattr(p, n) for p in pixels], -1) for n in ("guide", "slopes"))
        splines, fold = np.concatenate([p.splines for p in pixels]), np.concatenate([p.fold for p in pixels])
        scene = np.concatenate([p.components for p in pixels], 1)
        basis = np.linalg.qr(np.vstack([scene, np.ones(scene.shape[1])]).T)[0]
        coefficients, count = field.nodes.ravel().astype(np.float64), field.nodes.size
        a, b, c = np.zeros((FOLDS, count, count)), np.zeros((FOLDS, count)), np.zeros(FOLDS)
        for plane, slope in zip(guide, slopes, strict=True):
            scale = max(float(np.linalg.norm(plane - plane.mean())), 1e-30)
            jacobian = np.concatenate([s[:, None] * splines for s in slope], 1) / scale
            jacobian -= basis @ (basis.T @ jacobian)
            residual = plane / scale
            residual = residual - basis @ (basis.T @ residual) - jacobian @ coefficients
            for i in range(FOLDS):
                j, r = jacobian[fold == i], residual[fold == i]
                a[i] += j.T @ j
                b[i] += j.T @ r
                c[i] += r @ r
        return cls(a, b, c, (field.nodes.shape[1], field.nodes.shape[2]))

    def best(self) -> tuple[Array, float, float, float]:
        """Return the coefficients that predict held-out parts best, and how well.

        Returns
        -------
        coefficients : array, shape (coefficient,)
        gain : float
            As `FieldEstimate` has it.
        gain_errors : float
            The same, in standard errors.
        unexplained : float
            Variance of held-out parts, summed over guide bands of unit variance.
        """
        shift = self._cross_validated(None)
        fields = {stiffness: self._cross_validated(stiffness) for stiffness in STIFFNESS}
        best = min(fields, key=lambda stiffness: float(fields[stiffness].sum()))
        gain = shift - fields[best]
        if gain.sum() <= 0:
            return self._solved(self.a.sum(0), self.b.sum(0), None), 0.0, 0.0, float(shift.sum())
        errors = gain.mean() / max(float(gain.std()) / np.sqrt(FOLDS - 1), 1e-30)
        nodes = self._solved(self.a.sum(0), self.b.sum(0), best)
        return nodes, float(gain.sum() / shift.sum()), float(errors), float(fields[best].sum())

    def _cross_validated(self, stiffness: float | None) -> Array:
        """Return the unexplained variance of each fold by the field that is fitted to the others, (fold,)."""
        a, b, out = self.a.sum(0), self.b.sum(0), np.empty(FOLDS)
        for i in range(FOLDS):
            x = self._solved(a - self.a[i], b - self.b[i], stiffness)
            out[i] = self.c[i] + 2 * self.b[i] @ x + x @ self.a[i] @ x
        return out

    def _solved(self, a: Array, b: Array, stiffness: float | None) -> Array:
        """Return the coefficients of the least unexplained variance; of one shift if there is no stiffness."""
        if stiffness is None:
            shifts = np.kron(np.eye(2), np.ones((len(b) // 2, 1)))
            return np.asarray(shifts @ np.linalg.lstsq(shifts.T @ a @ shifts, -shifts.T @ b, rcond=None)[0])
        level = np.trace(self.a.sum(0)) / np.trace(self._roughness)
        if level == 0:
            # A guide without slopes, as a constant one, has no displacement.
            return np.zeros(len(b))
        rounding = 1e-12 * np.trace(a) / len(a) * np.eye(len(a))
        return np.asarray(np.linalg.solve(a + stiffness * level * self._roughness + rounding, -b))

    @cached_property
    def _roughness(self) -> Array:
        """The quadratic form of the energy of second differences, and of first ones."""
        (y, yy), (x, xx) = (_differences(n) for n in self.nodes)
        i, j = (np.eye(n) for n in self.nodes)
        plane = np.kron(yy, j) + np.kron(i, xx) + 2 * np.kron(y, x) + SLOPE_WEIGHT * (np.kron(y, j) + np.kron(i, x))
        return np.asarray(np.kron(np.eye(2), plane))


def _differences(count: int) -> tuple[Array, Array]:
    """Return the quadratic forms of the energy of first and second differences along an axis."""
    first, second = (np.diff(np.eye(count), order, axis=0) for order in (1, 2))
    return first.T @ first, second.T @ second


@dataclass(frozen=True)
class _Pixels:
    """The pixels of a patch that count.

    Attributes
    ----------
    components : array, shape (component, pixel)
    guide : array, shape (guide band, pixel)
        Its displacement undone, degraded.
    slopes : array, shape (guide band, 2, pixel)
        The derivative of the guide by the displacement, y and x.
    splines : array, shape (pixel, node)
        The B-splines at the pixels' centres.
    fold : array, shape (pixel,)
        The fold in which a pixel is held out.
    """

    components: Array
    guide: Array
    slopes: Array
    splines: Array
    fold: NDArray[np.intp]

    @classmethod
    def of(cls, patch: Patch, field: DisplacementField, psf: Psf, smoothing: float) -> _Pixels:
        """Move, degrade and differentiate the guide of a patch."""
        moved, window, ratio = patch.moved(field), patch.window, psf.ratio
        valid = np.asarray(np.isfinite(moved).all(0))
        mean = moved[:, valid].mean(1) if valid.any() else np.zeros(len(moved), np.float32)
        filled = np.where(valid, moved, mean[:, None, None]) - mean[:, None, None]
        slopes = np.stack(np.gradient(filled, axis=(1, 2)), 1)
        op = operator(psf, window.shape)
        used = patch.weight * _degraded(op, valid[None].astype(np.float32))[0] > VALID
        used = np.pad(used[RIM_LR:-RIM_LR, RIM_LR:-RIM_LR], RIM_LR)
        y, x = np.nonzero(used)
        return cls(
            _smoothed(patch.components, smoothing)[:, used],
            _smoothed(_degraded(op, filled), smoothing)[:, used],
            _smoothed(_degraded(op, slopes), smoothing)[..., used],
            _splines(field, y + window.y0 + 0.5, x + window.x0 + 0.5, ratio),
            # A knight's move apart, so that neighbouring parts are never held out together.
            ((y + window.y0) // PART_LR * 3 + (x + window.x0) // PART_LR * 5) % FOLDS,
        )


def _degraded(op: Operator, planes: NDArray[np.float32]) -> Array:
    return op.degrade(torch.from_numpy(np.ascontiguousarray(planes))).numpy().astype(np.float64)


def _smoothed(planes: Array, width: float) -> Array:
    if not width:
        return planes
    return np.asarray(gaussian_filter(planes, (0,) * (planes.ndim - 2) + (width, width), mode="nearest"))


def _splines(field: DisplacementField, y: NDArray[np.floating], x: NDArray[np.floating], ratio: int) -> Array:
    """Return all B-splines at positions in lr pixels, (pixel, node); they are wide against the blur."""
    _, ny, nx = field.nodes.shape
    rows, columns = bspline_basis(y * ratio, field.shape[0], ny), bspline_basis(x * ratio, field.shape[1], nx)
    return np.asarray((rows[:, :, None] * columns[:, None, :]).reshape(len(y), -1))
