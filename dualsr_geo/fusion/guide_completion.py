"""Several guides of which each covers a part: what one lacks is predicted from the others.

A guide that is missing at a pixel is predicted from a guide that is valid there, by the linear regression of its bands
on that guide's where both are valid. The best linear estimate of the scene from all guides, with the prediction in place
of the missing one, is then the best linear estimate from the guide that is there. So one set of regressions serves the
whole scene, and all other steps see one guide that covers what any of its parts covers. Inside the edge of a guide its own
values replace the predicted ones by a ramp, so that there is no seam.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dualsr_geo.raster.windows import Window

# Pixels of the scene on which two guides must both be valid to predict one from the other.
MIN_COMMON_PX = 100
# Ridge of the regression, as a share of the mean variance of the predicting bands: collinear bands stay harmless.
RIDGE = 1e-6
# Least relative weight of a valid guide among several that predict a missing one.
LEAST_WEIGHT = 1e-3

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PartFit:
    """The regression of one guide on another.

    Attributes
    ----------
    target, source : int
        Numbers of the guides, from 0.
    slopes : array, shape (target band, source band)
    intercept : array, shape (target band,)
    explained : float
        Mean share of the variance of the target's bands that the source explains.
    """

    target: int
    source: int
    slopes: Array
    intercept: Array
    explained: float


@dataclass(frozen=True, eq=False)
class GuideCompletion:
    """How the bands of a missing guide are predicted from the guides that are valid.

    Attributes
    ----------
    parts : tuple of int
        Number of bands of each guide.
    mean : array, shape (guide band,)
        Values of a guide that no other predicts.
    fits : tuple of PartFit
        The best one first.
    ramp_px : int
        Half the width of the ramp inside the edge of a guide, hr pixels.
    """

    parts: tuple[int, ...]
    mean: Array
    fits: tuple[PartFit, ...]
    ramp_px: int

    @property
    def margin_px(self) -> int:
        """How many hr pixels around a window `completed` reads."""
        return completion_margin(self.ramp_px)

    @cached_property
    def _rows(self) -> list[slice]:
        """The bands of each guide."""
        ends = np.cumsum(self.parts).tolist()
        return [slice(end - count, end) for end, count in zip(ends, self.parts, strict=True)]

    def coverage(self, guide: Array) -> NDArray[np.float64]:
        """Return the share of a window where each guide is valid, shape (guide,)."""
        return np.array([part.mean() for part in self._valid(guide)])

    def measured(self, guide: Array | None, ratio: int) -> NDArray[np.bool_] | None:
        """Return in which pixels of the scene all guides are measured, (y, x), of a window on the scene's pixels."""
        if guide is None:
            return None
        whole = np.isfinite(guide).all(0)
        height, width = (n // ratio for n in whole.shape)
        return np.asarray(whole.reshape(height, ratio, width, ratio).all((1, 3)))

    def completed(self, guide: Array, window: Window, shape: tuple[int, int]) -> Array:
        """Return a window without its margin, in which the bands of a missing guide are predicted.

        Parameters
        ----------
        guide : array, shape (guide band, Y + 2 * margin, X + 2 * margin)
            NaN where a guide has no value.
        window : Window
            Its place on the target grid, hr pixels; it may leave the grid.
        shape : (int, int)
            Rows and columns of the target grid. Beyond its edges guides are missing as at the edge.

        Returns
        -------
        array, shape (guide band, Y, X)
            NaN where no guide is valid.
        """
        m = self.margin_px
        inner = (slice(m, guide.shape[1] - m), slice(m, guide.shape[2] - m))
        valid = self._valid(guide)
        some = np.logical_or.reduce(valid)
        missing = [some & ~part for part in valid]
        if not any(part.any() for part in missing):
            return guide[:, *inner]
        weights = [self._weight(part, window, shape)[inner] for part in missing]
        valid = [part[inner] for part in valid]
        cut = guide[:, *inner]
        out = cut.copy()
        for part, rows in enumerate(self._rows):
            predicted, has_other = self._predicted(part, cut, valid, weights)
            own = weights[part] * valid[part]
            mixed = np.where(valid[part], cut[rows], 0) * own + predicted * (1 - own)
            out[rows] = np.where(has_other, mixed, cut[rows])
        return out

    def _valid(self, guide: Array) -> list[NDArray[np.bool_]]:
        return [np.asarray(np.isfinite(guide[rows]).all(0)) for rows in self._rows]

    def _weight(self, missing: NDArray[np.bool_], window: Window, shape: tuple[int, int]) -> Array:
        """Return weights of a guide's own values: 0 where it is missing, 1 inside, between them a ramp."""
        if not missing.any():
            return np.ones(missing.shape, np.float32)
        on_grid = window.clipped(shape)
        if not all(on_grid.shape):
            return np.asarray(~missing, np.float32)
        sides = [(on_grid.y0 - window.y0, window.y1 - on_grid.y1), (on_grid.x0 - window.x0, window.x1 - on_grid.x1)]
        absent = np.pad(missing[on_grid.within(window).slices], sides, mode="edge")
        size = 2 * self.ramp_px + 1
        near = ndimage.maximum_filter(absent, size, mode="nearest").astype(np.float64)
        present: Array = (1 - ndimage.uniform_filter(near, size, mode="nearest")).clip(0, 1).astype(np.float32)
        return present

    def _predicted(
        self, part: int, guide: Array, valid: Sequence[NDArray[np.bool_]], weights: Sequence[Array]
    ) -> tuple[Array, NDArray[np.bool_]]:
        """Return the bands of a guide as the others predict them, and where any other is valid."""
        rows = self._rows[part]
        total = np.zeros(guide.shape[1:], np.float32)
        left = np.ones_like(total)
        mean = np.broadcast_to(self.mean[rows, None, None], (self.parts[part], *total.shape))
        out = np.zeros(mean.shape, np.float32)
        for fit in (fit for fit in self.fits if fit.target == part):
            usable = np.where(valid[fit.source], np.maximum(weights[fit.source], LEAST_WEIGHT), 0)
            share, left = left * usable, left * (1 - usable)
            values = np.where(valid[fit.source], guide[self._rows[fit.source]], 0)
            each = np.einsum("ts,syx->tyx", fit.slopes, values) + fit.intercept[:, None, None]
            out += share * each
            total += share
        others = [v for i, v in enumerate(valid) if i != part]
        has_other: NDArray[np.bool_] = np.logical_or.reduce(others)
        return np.where(total > 0, out / np.where(total > 0, total, 1), mean), has_other


def placing_part(guides: Sequence[Array], parts: Sequence[int], sharp: Sequence[int]) -> tuple[int, ...]:
    """Return the bands by which several guides are placed: registration and blur need bands that are measured.

    Predicted bands follow the scene in another way, and bands of larger pixels are blurred themselves.

    Parameters
    ----------
    guides : sequence of array, shape (guide band, Y, X)
        A sample, NaN where a guide has no value.
    parts : sequence of int
        Number of bands of each guide.
    sharp : sequence of int
        Numbers of the guides that are as sharp as the target grid.

    Returns
    -------
    tuple of int
        The bands of all sharp guides where each is valid wherever any is, else those of the one that covers most.
    """
    ends = np.cumsum(parts).tolist()
    rows = [range(end - count, end) for end, count in zip(ends, parts, strict=True)]
    valid = [[np.isfinite(guide[list(each)]).all(0) for each in rows] for guide in guides]
    if all((part == window[0]).all() for window in valid for part in window):
        return tuple(band for part in sharp for band in rows[part])
    largest = max(sharp, key=lambda part: sum(int(window[part].sum()) for window in valid))
    return tuple(rows[largest])


def completion_margin(ratio: int) -> int:
    """Return how many hr pixels around a window a completion reads at a ratio."""
    return 2 * ratio


def fit_completion(guides: Sequence[Array], parts: Sequence[int], ratio: int) -> GuideCompletion:
    """Fit the regressions between guides to a sample.

    Parameters
    ----------
    guides : sequence of array, shape (guide band, ratio * y, ratio * x)
        Windows, NaN where a guide has no value.
    parts : sequence of int
        Number of bands of each guide.
    ratio : int
        Pixels of the scene are compared, which are so many guide pixels wide.
    """
    pixels = np.concatenate([_coarse(guide, ratio) for guide in guides], 1).astype(np.float64)
    ends = np.cumsum(parts).tolist()
    bands = [pixels[end - count : end] for end, count in zip(ends, parts, strict=True)]
    valid = [np.asarray(np.isfinite(part).all(0)) for part in bands]
    fits = [
        fit
        for target in range(len(parts))
        for source in range(len(parts))
        if target != source and (fit := _fit(bands, valid, target, source)) is not None
    ]
    mean = np.concatenate(
        [part[:, v].mean(1) if v.any() else np.zeros(len(part)) for part, v in zip(bands, valid, strict=True)]
    )
    order = sorted(fits, key=lambda fit: -fit.explained)
    return GuideCompletion(tuple(parts), mean.astype(np.float32), tuple(order), ratio)


def _coarse(guide: Array, ratio: int) -> NDArray[np.float64]:
    """Return the means of a guide over pixels of the scene, (guide band, pixel), NaN where one is incomplete."""
    count, height, width = guide.shape
    rows, columns = height // ratio, width // ratio
    blocks = guide[:, : rows * ratio, : columns * ratio].reshape(count, rows, ratio, columns, ratio)
    return np.asarray(blocks.mean((2, 4), dtype=np.float64).reshape(count, -1))


def _fit(
    bands: Sequence[NDArray[np.float64]], valid: Sequence[NDArray[np.bool_]], target: int, source: int
) -> PartFit | None:
    """Return the regression of one guide on another; None where they have too few pixels in common."""
    common = valid[target] & valid[source]
    if int(common.sum()) < max(MIN_COMMON_PX, 4 * len(bands[source])):
        return None
    y, x = bands[target][:, common], bands[source][:, common]
    y_mean, x_mean = y.mean(1, keepdims=True), x.mean(1, keepdims=True)
    yc, xc = y - y_mean, x - x_mean
    gram = xc @ xc.T
    gram += (RIDGE * np.trace(gram) / len(gram) + np.finfo(np.float64).tiny) * np.eye(len(gram))
    slopes = np.linalg.solve(gram, xc @ yc.T).T
    rest = ((yc - slopes @ xc) ** 2).sum(1) / np.maximum((yc**2).sum(1), np.finfo(np.float64).tiny)
    intercept = (y_mean - slopes @ x_mean)[:, 0]
    return PartFit(
        target, source, slopes.astype(np.float32), intercept.astype(np.float32), float(np.clip(1 - rest, 0, 1).mean())
    )
