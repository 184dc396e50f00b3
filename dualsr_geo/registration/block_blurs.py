"""The blur and the shift of a scene against its guide, block by block, and what the blocks agree on.

Another date, relief and local displacement differ from place to place, and all of them widen the blur that explains
most of the whole scene; the sensor's blur is the same everywhere. So where blocks differ by more than their errors, a
low quantile of their widths is nearer to the sensor's blur than a fit to all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.degradation.psf_spread import PsfSpread
from dualsr_geo.registration.guide_regression import RIM_LR, Array, GuideRegression, RegressionBlock, inside
from dualsr_geo.registration.standard_errors import DERIVATIVE_STEPS, scaled_residual

# Side of the blocks without their rim, lr pixels, and the share of their pixels that must be valid.
SIDE_LR = 12
MIN_VALID_SHARE = 0.7
# Components of the scene that predict the guide in a block: few, so that they cannot absorb a shift.
COMPONENT_COUNT = 6
# Gauss-Newton steps, the largest step of shift (hr pixels) and of the logarithm of width, and the step that ends them.
STEPS = 6
MAX_STEPS = (1.0, 1.0, 0.3, 0.3)
LAST_STEP = 0.003
# Levenberg's damping at the start, its factor, and how often a step is shortened.
DAMPING, DAMPING_FACTOR, SHORTENINGS = 1e-2, 5.0, 4
# A block counts if the standard errors of its widths are below this, lr pixels.
MAX_ERROR_LR = 0.15
# A part of every standard error that the fit does not show, lr pixels.
LEAST_ERROR_LR = 0.01
# So many blocks are needed.
MIN_BLOCKS = 6
# Blocks differ where the deviation of their widths beyond their errors exceeds this, lr pixels: of clean pairs it is 0.004 at
# most, of real ones 0.015 to 0.1.
MIN_SPREAD_LR = 0.012
# The same of their shifts: of clean pairs it is 0.01 at most, of displaced ones 0.05 and more.
MIN_SHIFT_SPREAD_LR = 0.03
# The quantile of the blocks' widths, weighted by precision. Of displaced guides it is within 0.02 lr pixels of the truth,
# where one fit is up to 0.15 too wide; the lowest tenth is too narrow by up to 0.1.
QUANTILE = 0.25
# Distance of the quartiles of a normal distribution of unit deviation.
QUARTILE_RANGE = 1.349
# The start of the search, lr pixels, as `blur_estimation.START_SIGMA_LR`.
START_SIGMA_LR = 0.42


@dataclass(frozen=True)
class BlockBlurs:
    """The blurs of the blocks of a scene.

    Attributes
    ----------
    shift_px, sigma_px : array, shape (block, 2)
        Along y and x, hr pixels.
    shift_error_px, sigma_error_px : array, shape (block, 2)
        Their standard errors.
    ratio : int
    """

    shift_px: Array
    sigma_px: Array
    shift_error_px: Array
    sigma_error_px: Array
    ratio: int

    @property
    def spread(self) -> PsfSpread:
        """Deviation of widths and shifts over the blocks, beyond their errors."""
        pairs = ((self.sigma_px, self.sigma_error_px), (self.shift_px, self.shift_error_px))
        (sy, sx), (dy, dx) = (self._deviation(v, e) for v, e in pairs)
        return PsfSpread((sy, sx), (dy, dx))

    @property
    def enough(self) -> bool:
        """Whether there are enough blocks to compare."""
        return len(self.sigma_px) >= MIN_BLOCKS

    @property
    def differ(self) -> bool:
        """Whether widths or shifts differ by more than their errors, in enough blocks."""
        if not self.enough:
            return False
        spread, ratio = self.spread, self.ratio
        return max(spread.sigma_px) > MIN_SPREAD_LR * ratio or max(spread.shift_px) > MIN_SHIFT_SPREAD_LR * ratio

    @property
    def narrow(self) -> Psf:
        """The Gaussian of the blocks' narrow widths, at their median shift."""
        (sy, sx), (dy, dx) = self._quantiles(self.sigma_px, QUANTILE), self._quantiles(self.shift_px, 0.5)
        return Psf.gaussian(self.ratio, (sy, sx), (dy, dx))

    def _weights(self) -> Array:
        least = LEAST_ERROR_LR * self.ratio
        return np.asarray(1 / (self.sigma_error_px**2 + least**2))

    def _deviation(self, values: Array, errors: Array) -> tuple[float, float]:
        """Return the deviation of values beyond their errors, from quartiles: a few flat blocks are far off."""
        high, low, noise = (
            np.array(self._quantiles(v, share)) for v, share in ((values, 0.75), (values, 0.25), (errors, 0.5))
        )
        y, x = np.sqrt((((high - low) / QUARTILE_RANGE) ** 2 - noise**2).clip(0)).tolist()
        return y, x

    def _quantiles(self, values: Array, share: float) -> tuple[float, float]:
        y, x = (_quantile(v, w, share) for v, w in zip(values.T, self._weights().T, strict=True))
        return y, x


def _quantile(values: Array, weights: Array, share: float) -> float:
    order = np.argsort(values)
    weights = weights[order]
    at = (np.cumsum(weights) - weights / 2) / weights.sum()
    return float(np.interp(share, at, values[order]))


def estimate_block_blurs(blocks: Sequence[RegressionBlock], ratio: int, shift_px: tuple[float, float]) -> BlockBlurs:
    """Estimate blur and shift in every block of a sample that determines them.

    Parameters
    ----------
    blocks : sequence of RegressionBlock
        The sample.
    ratio : int
    shift_px : (float, float)
        Where the search starts, hr pixels.
    """
    start = np.array([*shift_px, *[math.log(START_SIGMA_LR * ratio)] * 2])
    optima = [_fitted(GuideRegression([part], ratio), start) for part in _parts(blocks, ratio)]
    parameters, errors = (np.array([f[i] for f in optima]).reshape(-1, 4) for i in (0, 1))
    sigma = np.exp(parameters[:, 2:])
    sigma_error = sigma * errors[:, 2:]
    clear = (sigma_error < MAX_ERROR_LR * ratio).all(1)
    return BlockBlurs(parameters[clear, :2], sigma[clear], errors[clear, :2], sigma_error[clear], ratio)


def _parts(blocks: Sequence[RegressionBlock], ratio: int) -> Iterator[RegressionBlock]:
    """Yield the parts of a sample, whose insides do not overlap."""
    side = SIDE_LR + 2 * RIM_LR
    for block in blocks:
        height, width = block.weight.shape
        for y in range(0, height - side + 1, SIDE_LR):
            for x in range(0, width - side + 1, SIDE_LR):
                rows, columns = slice(y, y + side), slice(x, x + side)
                fine = slice(y * ratio, (y + side) * ratio), slice(x * ratio, (x + side) * ratio)
                weight = block.weight[rows, columns]
                if inside(weight).sum() >= MIN_VALID_SHARE * SIDE_LR**2:
                    yield RegressionBlock(
                        block.components[:COMPONENT_COUNT, rows, columns], block.guide[:, *fine], weight
                    )


def _fitted(fit: GuideRegression, start: Array) -> tuple[Array, Array]:
    """Return shift and logarithm of width by Gauss-Newton steps, and their standard errors; (4,) each."""
    parameters, residual, damping = start, scaled_residual(fit, start).ravel(), DAMPING
    curvature = np.zeros((4, 4))
    for _ in range(STEPS):
        slopes = _slopes(fit, parameters)
        curvature = slopes @ slopes.T
        for _ in range(SHORTENINGS):
            # Along what a flat block does not determine, no step is made.
            damped = curvature + damping * np.diag(np.diag(curvature)) + 1e-12 * np.eye(4)
            step = np.clip(-np.linalg.solve(damped, slopes @ residual), *(s * np.array(MAX_STEPS) for s in (-1, 1)))
            moved = scaled_residual(fit, parameters + step).ravel()
            if moved @ moved < residual @ residual:
                parameters, residual, damping = parameters + step, moved, damping / DAMPING_FACTOR
                break
            damping *= DAMPING_FACTOR
        else:
            break
        if np.abs(step).max() < LAST_STEP:
            break
    freedom = max(residual.size - fit.basis.shape[1], 1)
    return parameters, _errors(curvature, float(residual @ residual) / freedom)


def _slopes(fit: GuideRegression, parameters: Array) -> Array:
    """Return the derivatives of the residual, (parameter, pixel)."""
    out = []
    for index, step in enumerate(DERIVATIVE_STEPS):
        move = np.zeros(4)
        move[index] = step
        difference = scaled_residual(fit, parameters + move) - scaled_residual(fit, parameters - move)
        out.append(difference.ravel() / (2 * step))
    return np.stack(out)


def _errors(curvature: NDArray[np.float64], variance: float) -> Array:
    """Return the standard errors of the parameters; infinite of a block that does not determine them."""
    if np.linalg.cond(curvature) > 1 / np.finfo(float).eps:
        return np.full(4, np.inf)
    return np.sqrt(np.diag(np.linalg.inv(curvature)).clip(0) * variance)
